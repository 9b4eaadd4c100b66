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

-- One vector for each book and model, kept until the text that it was computed from changes. There is no index over
-- the vectors: a few hundred are compared one by one in less time than an approximate index takes to be less exact.
CREATE TABLE IF NOT EXISTS book_embeddings (
    book_id     text NOT NULL REFERENCES books ON DELETE CASCADE,
    model       text NOT NULL,
    text_sha256 bytea NOT NULL,
    embedding   vector(384) NOT NULL,
    PRIMARY KEY (book_id, model)
);
