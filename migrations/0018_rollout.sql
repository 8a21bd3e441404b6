-- Rollout plans: from `testing` to `enforce` with a growing max_age. One for each domain at most.

CREATE TABLE rollouts (
    domain_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    plan jsonb NOT NULL,
    -- From 0.
    step integer NOT NULL CHECK (step >= 0),
    entered_at timestamptz,
    announced_for timestamptz,
    progress text COLLATE "C" NOT NULL
        CHECK (progress IN ('running', 'held', 'paused', 'overruled', 'fell-back', 'completed')),
    -- Why it stands still.
    code text,
    message text,
    -- Drawn anew with each change, so that what was decided on one state is never done to another.
    revision bigint NOT NULL,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    FOREIGN KEY (domain_id, tenant_id) REFERENCES domains (id, tenant_id),
    CHECK ((progress IN ('paused', 'fell-back')) = (code IS NOT NULL AND message IS NOT NULL))
) WITH (fillfactor = 80);
CREATE SEQUENCE rollout_revisions;

ALTER TABLE rollouts ENABLE ROW LEVEL SECURITY;
ALTER TABLE rollouts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON rollouts TO mtasts_api
    USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);
CREATE POLICY worker ON rollouts TO mtasts_worker
    USING ((SELECT current_user = 'mtasts_worker')) WITH CHECK ((SELECT current_user = 'mtasts_worker'));
GRANT SELECT, INSERT, UPDATE, DELETE ON rollouts TO mtasts_api;
GRANT SELECT, UPDATE ON rollouts TO mtasts_worker;
GRANT USAGE ON SEQUENCE rollout_revisions TO mtasts_api, mtasts_worker;
