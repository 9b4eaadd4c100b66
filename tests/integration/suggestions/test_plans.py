"""PostgreSQL can answer each question by its index, and does so by itself once there are many books."""

import math
import re
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from suggestions.book_store import BookStore
from suggestions.encoder import DIMENSIONS, MODEL
from suggestions.queries import BY_WORDS, NEAREST_TO_TASTE, NEAREST_TO_VECTOR, SESSION
from tests.support.postgres import PostgresServer
from utils.catalogue import load_catalogue

CATALOGUE = load_catalogue()
BY_NEARNESS = "Index Scan using book_embeddings_by_nearness"
VECTOR = str([1.0] * 2 + [0.0] * (DIMENSIONS - 2))
QUESTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "taste": (NEAREST_TO_TASTE, {"model": MODEL, "basket": ["Dune"], "bought": ["Emma"], "limit": 40}),
    "vector": (NEAREST_TO_VECTOR, {"model": MODEL, "vector": VECTOR, "limit": 20, "distance_max": 2.0}),
}
# Far more than the catalogue: each with a direction of its own.
MANY = """
    WITH numbers AS (SELECT generate_series(1, 4000) AS number), made AS (
        INSERT INTO books (book_id, title, author, year, subjects, description, words)
        SELECT 'made-' || number, 'Made ' || number, 'Nobody', 2000, '{}', '', to_tsvector('english', 'w' || number)
        FROM numbers RETURNING book_id
    )
    INSERT INTO book_embeddings (book_id, model, text_sha256, embedding)
    SELECT book_id, %(model)s, '', (
        SELECT array_agg(random() - 0.5) FROM generate_series(1, %(dimensions)s) WHERE book_id IS NOT NULL
    )::vector
    FROM made
"""


@pytest.fixture
async def connection(postgres: PostgresServer) -> AsyncIterator[psycopg.Connection[Any]]:
    """To a database with the catalogue, and some vector for each of its books."""
    store = BookStore(postgres.dsn)
    await store.open()
    await store.seed(CATALOGUE, timeout_s=20)
    for number, book in enumerate(CATALOGUE):
        angle = number / len(CATALOGUE)
        vector = [math.cos(angle), math.sin(angle), *[0.0] * (DIMENSIONS - 2)]
        await store.save_vector(book, vector, timeout_s=5)
    await store.close()
    with psycopg.connect(postgres.dsn, options=SESSION, autocommit=True) as connection:
        connection.execute("ANALYZE")
        yield connection


def plan(connection: psycopg.Connection[Any], question: str, named: dict[str, Any]) -> str:
    return "\n".join(line for (line,) in connection.execute(f"EXPLAIN {question}", named).fetchall())


@pytest.mark.parametrize(("question", "named"), QUESTIONS.values(), ids=QUESTIONS)
def test_few_books_are_compared_one_by_one_and_the_index_gives_the_same(
    connection: psycopg.Connection[Any], question: str, named: dict[str, Any]
) -> None:
    assert BY_NEARNESS not in plan(connection, question, named)
    exact = connection.execute(question, named).fetchall()
    assert exact
    with connection.transaction():
        connection.execute("SET LOCAL enable_seqscan = off")
        connection.execute("SET LOCAL enable_sort = off")
        assert BY_NEARNESS in plan(connection, question, named)
        found = connection.execute(question, named).fetchall()
    # An approximate index: nearly all of them, however many the filter takes away.
    assert len(found) == len(exact)
    assert len({*found} & {*exact}) >= 0.9 * len(exact)


@pytest.mark.slow
def test_many_books_are_searched_by_the_index(connection: psycopg.Connection[Any]) -> None:
    connection.execute(MANY, {"model": MODEL, "dimensions": DIMENSIONS})
    connection.execute("ANALYZE")
    for question, named in QUESTIONS.values():
        assert BY_NEARNESS in plan(connection, question, named)
    assert re.search("Index Scan on books_by_words", plan(connection, BY_WORDS, {"words": "w77 w78", "limit": 5}))
    rows = connection.execute(QUESTIONS["taste"][0], QUESTIONS["taste"][1]).fetchall()
    assert len(rows) == 40
    assert not {"dune", "emma"} & {row[0] for row in rows}
