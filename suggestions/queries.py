"""What is asked of PostgreSQL, as SQL. `<=>` is the cosine distance of pgvector."""

from typing import Final

# HNSW looks at the nearest books first and lets filters take some away: it goes on until the limit is reached.
SESSION: Final = "-c hnsw.iterative_scan=strict_order -c statement_timeout=5s"

# The centre is computed once and then compared, so that the index can be asked for what is near it. A basket says
# twice as much as the past: only the direction of a sum matters to the cosine. Nothing is near an unknown centre.
NEAREST_TO_TASTE: Final = """
    WITH taste AS (
        SELECT avg(embedding) FILTER (WHERE title = ANY(%(basket)s::text[])) AS wanted,
               avg(embedding) FILTER (WHERE title = ANY(%(bought)s::text[])) AS bought
        FROM book_embeddings JOIN books USING (book_id)
        WHERE model = %(model)s AND title = ANY(%(basket)s::text[] || %(bought)s::text[])
    ), centre AS MATERIALIZED (
        SELECT coalesce(wanted + wanted + bought, wanted, bought) AS vector FROM taste
    ), near AS (
        SELECT book_id, embedding <=> (SELECT vector FROM centre) AS distance
        FROM book_embeddings
        WHERE model = %(model)s AND book_id <> ALL(ARRAY(
            SELECT book_id FROM books WHERE title = ANY(%(basket)s::text[] || %(bought)s::text[])
        ))
        ORDER BY distance
        LIMIT %(limit)s
    )
    SELECT book_id, title, author
    FROM near JOIN books USING (book_id)
    WHERE distance IS NOT NULL
    ORDER BY distance, book_id
"""

NEAREST_TO_VECTOR: Final = """
    WITH near AS (
        SELECT book_id, embedding <=> %(vector)s::vector AS distance
        FROM book_embeddings
        WHERE model = %(model)s
        ORDER BY distance
        LIMIT %(limit)s
    )
    SELECT book_id, title, author
    FROM near JOIN books USING (book_id)
    WHERE distance <= %(distance_max)s
    ORDER BY distance, book_id
"""

# Any of the words will do; books with more and rarer places for them come first.
BY_WORDS: Final = """
    SELECT book_id, title, author
    FROM books, CAST(replace(plainto_tsquery('english', %(words)s)::text, '&', '|') AS tsquery) AS query
    WHERE words @@ query
    ORDER BY ts_rank(words, query) DESC, book_id
    LIMIT %(limit)s
"""

# The titles of a customer's latest orders. The table belongs to the order queue, which writes it.
BOUGHT: Final = """
    SELECT DISTINCT item ->> 'title'
    FROM (
        SELECT items FROM order_records
        WHERE customer_hash = %(customer_hash)s AND state = 'approved'
        ORDER BY ended_index DESC
        LIMIT %(orders)s
    ) AS latest, jsonb_array_elements(items) AS item
"""

UPSERT_BOOK: Final = """
    INSERT INTO books AS old (book_id, title, author, year, subjects, description, words)
    VALUES (
        %(book_id)s, %(title)s, %(author)s, %(year)s, %(subjects)s, %(description)s,
        setweight(to_tsvector('english', %(title_words)s), 'A')
            || setweight(to_tsvector('english', %(author_words)s), 'A')
            || setweight(to_tsvector('english', %(subject_words)s), 'B')
            || setweight(to_tsvector('english', %(description_words)s), 'C')
    )
    ON CONFLICT (book_id) DO UPDATE
    SET (title, author, year, subjects, description, words) = (
        excluded.title, excluded.author, excluded.year, excluded.subjects, excluded.description, excluded.words
    )
    WHERE (old.title, old.author, old.year, old.subjects, old.description, old.words) IS DISTINCT FROM
        (excluded.title, excluded.author, excluded.year, excluded.subjects, excluded.description, excluded.words)
"""

UPSERT_VECTOR: Final = """
    INSERT INTO book_embeddings (book_id, model, text_sha256, embedding) VALUES (%s, %s, %s, %s::vector)
    ON CONFLICT (book_id, model) DO UPDATE
    SET (text_sha256, embedding) = (excluded.text_sha256, excluded.embedding)
"""
