-- Looks at any domain that tenants ask for. A row is asked for by the API, carried out by a worker under a lease, and
-- kept for a week.

CREATE TABLE checks (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants,
    domain text COLLATE "C" NOT NULL,
    -- What is asked for, with its options.
    wanted jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    -- When it may be claimed; while a worker has it, when its lease ends.
    due_at timestamptz NOT NULL,
    lease_token bigint,
    attempts integer NOT NULL DEFAULT 0,
    started_at timestamptz,
    finished_at timestamptz,
    -- The worst that was found.
    severity text COLLATE "C",
    report jsonb,
    -- The policy and its records, if they were asked for and can be built.
    generated jsonb,
    -- Why there is nothing of what was asked for.
    code text COLLATE "C",
    message text,
    CHECK (finished_at IS NULL OR report IS NOT NULL OR code IS NOT NULL),
    CHECK ((code IS NULL) = (message IS NULL))
);
CREATE INDEX checks_by_tenant ON checks (tenant_id, id);
CREATE INDEX checks_unfinished ON checks (due_at) WHERE finished_at IS NULL;

ALTER TABLE checks ENABLE ROW LEVEL SECURITY;
ALTER TABLE checks FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON checks TO mtasts_api
    USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);
CREATE POLICY worker ON checks TO mtasts_worker
    USING ((SELECT current_user = 'mtasts_worker')) WITH CHECK ((SELECT current_user = 'mtasts_worker'));
GRANT SELECT, INSERT ON checks TO mtasts_api;
GRANT SELECT, DELETE, UPDATE (due_at, lease_token, attempts, started_at, finished_at, severity, report, generated, code,
    message) ON checks TO mtasts_worker;

-- How soon each host (an address; of IPv6 its /64) may be connected to again by looks that tenants asked for, whoever they
-- are: a token bucket as one time (GCRA). What a crash takes away is a minute of pacing.
CREATE UNLOGGED TABLE probe_paces (
    host inet PRIMARY KEY,
    full_at timestamptz NOT NULL
);
CREATE INDEX probe_paces_full ON probe_paces (full_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON probe_paces TO mtasts_worker;
