
CREATE TABLE IF NOT EXISTS order_records (
    order_id           text PRIMARY KEY,
    state              text NOT NULL CHECK (state IN ('approved', 'rejected')),
    -- The queue's log indexes at which the order arrived and ended.
    position           bigint NOT NULL,
    ended_index        bigint NOT NULL,
    -- Keyed hash of the request's body.
    fingerprint        bytea NOT NULL,
    risk_score         integer NOT NULL,
    reasons            jsonb NOT NULL,
    confirmation_code  text NOT NULL,
    -- From here on NULL for an order that verification rejected.
    items              jsonb,
    shipping_cents     bigint,
    amount_cents       bigint,
    payment_method     text,
    payment_brand      text,
    payment_last_four  text,
    suggested_books    jsonb,
    discount_code      text,
    clock              jsonb,
    customer_hash      text,
    accepted_at        timestamptz,
    recorded_at        timestamptz NOT NULL DEFAULT now()
);
-- Packed events (utils.clocks.story).
ALTER TABLE order_records ADD COLUMN IF NOT EXISTS story bytea[] NOT NULL DEFAULT '{}';
CREATE INDEX IF NOT EXISTS order_records_by_age ON order_records (recorded_at, ended_index);
-- Suggestions ask for a customer's latest orders.
CREATE INDEX IF NOT EXISTS order_records_by_customer ON order_records (customer_hash, ended_index)
