-- The books that suggestions are made from. Prices and stock are not here: the database cluster has the only copy.
CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE IF NOT EXISTS books (
    book_id     text PRIMARY KEY,
    -- Orders name books by title. Checked at commit, so that two books may swap theirs.
    title       text NOT NULL UNIQUE DEFERRABLE INITIALLY DEFERRED,
    author      text NOT NULL,
    year        integer NOT NULL,
    subjects    text[] NOT NULL,
    description text NOT NULL
);

-- What full-text search compares: the words of a book by their weight. Filled with the book itself.
ALTER TABLE books ADD COLUMN IF NOT EXISTS words tsvector;
CREATE INDEX IF NOT EXISTS books_by_words ON books USING gin (words);

-- One vector for each book and model, kept until the text that it was computed from changes.
CREATE TABLE IF NOT EXISTS book_embeddings (
    book_id     text NOT NULL REFERENCES books ON DELETE CASCADE,
    model       text NOT NULL,
    text_sha256 bytea NOT NULL,
    embedding   vector(384) NOT NULL,
    PRIMARY KEY (book_id, model)
);

-- Hierarchical navigable small worlds (Malkov and Yashunin, 2018). The planner takes it once there are more books than
-- are compared one by one in less time, which is the case with a few hundred of them.
CREATE INDEX IF NOT EXISTS book_embeddings_by_nearness ON book_embeddings USING hnsw (embedding vector_cosine_ops);
