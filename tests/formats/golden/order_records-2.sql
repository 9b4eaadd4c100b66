
ALTER TABLE order_records
    -- NULL for an order that no operator has taken back.
    ADD COLUMN refund jsonb,
    -- The queue's log index since which the record is as it is; 0 where an earlier program wrote it.
    ADD COLUMN changed_index bigint NOT NULL DEFAULT 0
