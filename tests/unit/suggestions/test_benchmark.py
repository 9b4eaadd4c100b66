"""The benchmark measures what it says, on questions that can be answered."""

import json

import pytest

from benchmarks.suggestions.__main__ import EXPECTED
from benchmarks.suggestions.metrics import Quality, quality, recall_at_5, reciprocal_rank
from utils.catalogue import load_catalogue


def test_every_expected_book_is_in_the_catalogue_and_none_is_in_its_basket() -> None:
    known = {book.book_id for book in load_catalogue()}
    questions = json.loads(EXPECTED.read_bytes())
    assert len(questions["queries"]) + len(questions["baskets"]) >= 60
    for question in (*questions["queries"], *questions["baskets"]):
        basket = question.get("basket", [])
        assert question["expected"]
        assert known >= {*question["expected"], *basket}
        assert not {*question["expected"]} & {*basket}
    assert len({entry["query"] for entry in questions["queries"]}) == len(questions["queries"])


@pytest.mark.parametrize(
    ("books", "expected", "recall", "rank"),
    [
        ("abcdef", "a", 1, 1),
        ("abcdef", "bd", 1, 1 / 2),
        ("abcdef", "xc", 1 / 2, 1 / 3),
        ("abcdef", "f", 0, 1 / 6),
        ("abcdef", "xyz", 0, 0),
        ("abcde", "abcdefg", 1, 1),
        ("", "a", 0, 0),
    ],
)
def test_recall_and_reciprocal_rank(books: str, expected: str, recall: float, rank: float) -> None:
    assert recall_at_5([*books], [*expected]) == recall
    assert reciprocal_rank([*books], [*expected]) == rank


def test_quality_is_the_mean() -> None:
    assert quality([("ab", "b"), ("ab", "x")]) == Quality(0.5, 0.25)
