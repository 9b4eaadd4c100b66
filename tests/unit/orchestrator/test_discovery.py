"""Search and recommendations over REST: bounded questions, one format of errors, and never more than some at a time."""

from urllib.parse import quote

import pytest

from orchestrator import discovery as module
from orchestrator.discovery import Discovery
from orchestrator.problems import ComponentUnavailable
from tests.unit.orchestrator.fakes import FakeGuide
from tests.unit.orchestrator.test_app import GONE, Shop
from utils.rpc.errors import DeadlineExceeded, InvalidArgument, ResourceExhausted, ServiceError

SEARCH, RECOMMENDATIONS = "/books/search", "/books/recommendations"
BOOKS = [{"bookId": "book-c", "title": "Book C", "author": "C. Author"}]


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_books_are_found_and_the_ranking_is_told(shop: Shop) -> None:
    answer = shop.get(f"{SEARCH}?q=%20white%20whale%20&limit=7", SEARCH)
    assert answer.get_json() == {"books": BOOKS, "ranking": "semantic"}
    shop.get(f"{SEARCH}?q={quote('Gödel')}", SEARCH)
    assert shop.guide.asked == [("white whale", 7), ("Gödel", 20)]


def test_books_are_recommended_for_every_title_of_the_basket(shop: Shop) -> None:
    answer = shop.get(f"{RECOMMENDATIONS}?title=Dune&title=Release%20It%21&limit=20", RECOMMENDATIONS)
    assert answer.get_json() == {"books": BOOKS, "source": "vectors"}
    shop.get(f"{RECOMMENDATIONS}?title=Dune", RECOMMENDATIONS)
    assert shop.guide.asked == [(["Dune", "Release It!"], 20), (["Dune"], 5)]


@pytest.mark.parametrize(
    "question",
    [
        f"{SEARCH}",
        f"{SEARCH}?q=",
        f"{SEARCH}?q=%20%20",
        f"{SEARCH}?q=a&q=b",
        f"{SEARCH}?q={'x' * 201}",
        f"{SEARCH}?q=a%00b",
        f"{SEARCH}?q=a%0Ab",
        f"{SEARCH}?q=a&limit=0",
        f"{SEARCH}?q=a&limit=51",
        f"{SEARCH}?q=a&limit=-1",
        f"{SEARCH}?q=a&limit=1.5",
        f"{SEARCH}?q=a&limit=%D9%A1",
        f"{SEARCH}?q=a&limit=",
        f"{SEARCH}?q=a&limit=1&limit=2",
        f"{RECOMMENDATIONS}",
        f"{RECOMMENDATIONS}?title=",
        f"{RECOMMENDATIONS}?title=Dune&title={'x' * 201}",
        f"{RECOMMENDATIONS}?{'&'.join(['title=Dune'] * 101)}",
        f"{RECOMMENDATIONS}?title=a%07b",
        f"{RECOMMENDATIONS}?title=Dune&limit=21",
    ],
)
def test_questions_beyond_the_limits_are_refused_and_nobody_is_asked(shop: Shop, question: str) -> None:
    answer = shop.get(question, question.partition("?")[0])
    assert answer.status_code == 400
    assert answer.get_json()["error"]["code"] == "query_invalid"
    assert shop.guide.asked == []


@pytest.mark.parametrize("failure", [GONE, DeadlineExceeded("late"), ResourceExhausted("full")])
@pytest.mark.parametrize("question", [f"{SEARCH}?q=whale", f"{RECOMMENDATIONS}?title=Dune"])
def test_suggestions_that_are_away_are_503_and_may_be_asked_again(
    shop: Shop, question: str, failure: ServiceError
) -> None:
    shop.guide.failure = failure
    answer = shop.get(question, question.partition("?")[0])
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "2"
    shop.guide.failure = None
    assert shop.get(question, question.partition("?")[0]).status_code == 200


def test_a_question_that_suggestions_cannot_read_is_our_defect(shop: Shop) -> None:
    shop.guide.failure = InvalidArgument("no")
    assert shop.get(f"{SEARCH}?q=whale", SEARCH).status_code == 500


def test_questions_beyond_the_bound_are_turned_away_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUESTIONS_MAX", 2)
    guide = FakeGuide()
    discovery = Discovery(guide)
    turned_away: list[str] = []

    def ask_more() -> None:
        if len(guide.asked) < 2:
            discovery.search(["second"], [])
            return
        with pytest.raises(ComponentUnavailable) as refused:
            discovery.search(["third"], [])
        turned_away.append(refused.value.message)

    guide.meanwhile = ask_more
    discovery.search(["first"], [])
    assert [question for question, _ in guide.asked] == ["first", "second"]
    assert len(turned_away) == 1
    guide.meanwhile = lambda: None
    assert discovery.search(["fourth"], []).ranking == "semantic"
