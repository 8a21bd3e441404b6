-- What only an operator does: recovery after a restore (ADR 16, docs/backup.md).

-- Recoveries: one that has no end yet is taken up by the next run.
CREATE TABLE recoveries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at timestamptz NOT NULL,
    finished_at timestamptz
);
CREATE UNIQUE INDEX recoveries_unfinished ON recoveries ((true)) WHERE finished_at IS NULL;

ALTER TABLE domains
    -- When a recovery last looked at it.
    ADD COLUMN recovered_at timestamptz,
    -- Until then senders may hold a policy that a restored database does not know: it counts as if the ledger said so.
    ADD COLUMN held_until timestamptz;
GRANT UPDATE (recovered_at, held_until) ON domains TO mtasts_worker;
