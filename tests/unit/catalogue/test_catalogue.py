"""The data file is what the contract's clients expect, and a broken one is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from utils.catalogue import BOOKS_FILE, CatalogueError, load_catalogue

CONTRACT_STOCK = {
    "Book A": 100,
    "Book B": 75,
    "Book C": 50,
    "Book D": 25,
    "Book E": 10,
    "Book F": 1,
    "Harry Potter": 200,
    "The Great Gatsby": 150,
    "To Kill a Mockingbird": 120,
    "1984": 80,
    "Pride and Prejudice": 90,
}


def test_contract_books_have_the_stock_that_clients_expect() -> None:
    stock = {book.title: book.stock for book in load_catalogue()}
    assert {title: stock[title] for title in CONTRACT_STOCK} == CONTRACT_STOCK


@pytest.mark.parametrize("title", ["Clean Code", "Pragmatic Programmer", "Design Patterns", "Domain-Driven Design"])
def test_programming_books_of_the_contract_are_on_the_shelf(title: str) -> None:
    assert next(book.stock for book in load_catalogue() if book.title == title) > 20


def test_at_least_a_hundred_more_books_stand_beside_the_contracts() -> None:
    assert len(load_catalogue()) >= len(CONTRACT_STOCK) + 4 + 105


def test_no_description_is_used_twice() -> None:
    descriptions = [book.description for book in load_catalogue()]
    assert len(set(descriptions)) == len(descriptions)


def books() -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads(BOOKS_FILE.read_bytes())
    return loaded[:2]


def written(path: Path, content: Any) -> Path:
    file = path / "books.json"
    file.write_text(json.dumps(content))
    return file


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("price_cents", 12.5),
        ("price_cents", 0),
        ("stock", -1),
        ("title", ""),
        ("title", " padded "),
        ("book_id", "No Spaces"),
        ("subjects", []),
        ("description", "too short"),
        ("colour", "unknown fields are mistakes"),
    ],
)
def test_wrong_field_is_named(tmp_path: Path, field: str, value: Any) -> None:
    content = books()
    content[1][field] = value
    with pytest.raises(CatalogueError, match=rf"books\.json is not a catalogue: .*{field}"):
        load_catalogue(written(tmp_path, content))


@pytest.mark.parametrize("field", ["book_id", "title"])
def test_books_cannot_share_an_id_or_a_title(tmp_path: Path, field: str) -> None:
    content = books()
    content[1][field] = content[0][field]
    with pytest.raises(CatalogueError, match=f"2 books with the {field}"):
        load_catalogue(written(tmp_path, content))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="cannot be read"):
        load_catalogue(tmp_path / "books.json")


def test_order_of_the_file_is_kept(tmp_path: Path) -> None:
    content = books()[::-1]
    assert [book.title for book in load_catalogue(written(tmp_path, content))] == ["Book B", "Book A"]
