-- Figures of the whole installation, for metrics. One worker at a time takes them, now and then, and every worker shows
-- what was taken last: so a figure does not go stale with the process that took it.
CREATE TABLE fleet_figures (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    -- When they are to be taken next.
    due_at timestamptz NOT NULL,
    -- None were taken yet: both null.
    taken_at timestamptz,
    figures jsonb,
    CHECK ((taken_at IS NULL) = (figures IS NULL))
);
INSERT INTO fleet_figures (due_at) VALUES ('epoch');
GRANT SELECT, UPDATE (due_at, taken_at, figures) ON fleet_figures TO mtasts_worker;

-- Certificates that are served and should be renewed: few, unless something is wrong.
CREATE INDEX certificates_served_by_renewal ON certificates (renew_at) WHERE in_feed;
-- How many deliveries wait, over all webhooks, and since when.
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (due_at) WHERE state = 'pending';
-- How many bulk operations wait.
GRANT SELECT (created_at) ON operations TO mtasts_worker;

-- The trace (W3C traceparent) of whoever made a version, and of whoever last changed what an edge serves: the worker's
-- and the edges' spans join it. Null: it is not exported. Of an entry that changed for another reason, such as a new
-- certificate, as well.
ALTER TABLE policy_versions ADD COLUMN traceparent text CHECK (length(traceparent) = 55);
ALTER TABLE edge_entries ADD COLUMN traceparent text CHECK (length(traceparent) = 55);
GRANT UPDATE (traceparent) ON edge_entries TO mtasts_api;
