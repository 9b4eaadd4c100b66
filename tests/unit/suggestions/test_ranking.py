"""Without vectors, books on the same subjects are suggested."""

from suggestions.ranking import on_same_subjects
from utils.catalogue import CatalogueBook


def book(title: str, *subjects: str) -> CatalogueBook:
    return CatalogueBook(title.lower(), title, "Somebody", 2000, 100, 1, subjects, "d" * 40)


CATALOGUE = (book("Cooking", "food"), book("Mars", "space", "war"), book("Moon", "space"), book("War", "space", "war"))


def test_books_that_share_most_subjects_come_first() -> None:
    assert [found.title for found in on_same_subjects(CATALOGUE, ["War"], 3)] == ["Mars", "Moon", "Cooking"]


def test_equals_keep_the_catalogues_order() -> None:
    assert [found.title for found in on_same_subjects(CATALOGUE, ["Moon"], 2)] == ["Mars", "War"]
    assert [found.title for found in on_same_subjects(CATALOGUE, ["unknown"], 2)] == ["Cooking", "Mars"]


def test_basket_itself_is_never_suggested() -> None:
    assert on_same_subjects(CATALOGUE, [book.title for book in CATALOGUE], 3) == ()
