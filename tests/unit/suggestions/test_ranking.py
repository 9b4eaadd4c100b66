"""Without vectors, books on the same subjects are suggested; what is in stock and by others comes first."""

from collections import Counter
from collections.abc import Sequence

from hypothesis import given, strategies as st

from suggestions.ranking import BOOKS_BY_AUTHOR_MAX, arranged, on_same_subjects
from utils.catalogue import CatalogueBook
from utils.domain.order import Book


def book(title: str, *subjects: str) -> CatalogueBook:
    return CatalogueBook(title.lower(), title, "Somebody", 2000, 100, 1, subjects, "d" * 40)


CATALOGUE = (book("Cooking", "food"), book("Mars", "space", "war"), book("Moon", "space"), book("War", "space", "war"))


def test_books_that_share_most_subjects_come_first() -> None:
    assert [found.title for found in on_same_subjects(CATALOGUE, ["War"])] == ["Mars", "Moon", "Cooking"]


def test_equals_keep_the_catalogues_order() -> None:
    assert [found.title for found in on_same_subjects(CATALOGUE, ["Moon"])] == ["Mars", "War", "Cooking"]
    assert [found.title for found in on_same_subjects(CATALOGUE, ["unknown"])] == ["Cooking", "Mars", "Moon", "War"]


def test_basket_itself_is_never_suggested() -> None:
    assert on_same_subjects(CATALOGUE, [book.title for book in CATALOGUE]) == ()


def by(*authors: str) -> list[Book]:
    return [Book(str(number), f"Title {number}", author) for number, author in enumerate(authors)]


def numbers(books: Sequence[Book]) -> list[int]:
    return [int(book.book_id) for book in books]


def test_sold_out_books_come_last() -> None:
    assert numbers(arranged(by("A", "B", "C", "D"), {"Title 0", "Title 2"})) == [1, 3, 0, 2]


def test_a_third_book_by_an_author_comes_after_those_by_others() -> None:
    assert numbers(arranged(by("A", "A", "A", "B", "A"), ())) == [0, 1, 3, 2, 4]


def test_each_of_several_authors_counts() -> None:
    assert numbers(arranged(by("A", "A and B", "B", "C, A and D", "B", "D"), ())) == [0, 1, 2, 5, 3, 4]


def test_sold_out_books_take_no_place_from_their_author() -> None:
    assert numbers(arranged(by("A", "A", "A", "B"), {"Title 0", "Title 1"})) == [2, 3, 0, 1]


@given(st.lists(st.sampled_from("ABCD"), max_size=12), st.sets(st.integers(0, 11)), st.integers(0, 12))
def test_nothing_is_lost_and_no_author_has_more_than_his_share_before_others(
    authors: list[str], gone: set[int], limit: int
) -> None:
    books = by(*authors)
    sold_out = {f"Title {number}" for number in gone}
    result = arranged(books, sold_out)
    assert sorted(numbers(result)) == list(range(len(books)))
    in_stock = [book for book in result if book.title not in sold_out]
    assert list(result[: len(in_stock)]) == in_stock
    share = Counter({author: min(count, BOOKS_BY_AUTHOR_MAX) for author, count in _counts(in_stock).items()})
    shown = in_stock[: min(limit, share.total())]
    assert max(_counts(shown).values(), default=0) <= BOOKS_BY_AUTHOR_MAX


def _counts(books: Sequence[Book]) -> Counter[str]:
    return Counter(book.author for book in books)
