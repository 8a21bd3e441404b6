-- What the looks at MX hosts came to, by day and host: the proof over days that `enforce` is safe. At most one row for
-- each host of a domain and day (UTC), however often it is looked at; kept for 60 days.

CREATE TABLE mx_days (
    domain_id uuid NOT NULL,
    day date NOT NULL,
    host text COLLATE "C" NOT NULL,
    tenant_id uuid NOT NULL,
    first_seen_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    -- The last look of the day at which it failed, and why; null when it passed at all of them.
    last_failed_at timestamptz,
    failure text COLLATE "C",
    message text,
    PRIMARY KEY (domain_id, day, host),
    FOREIGN KEY (domain_id, tenant_id) REFERENCES domains (id, tenant_id)
) WITH (fillfactor = 80);
CREATE INDEX mx_days_by_day ON mx_days (day);

ALTER TABLE mx_days ENABLE ROW LEVEL SECURITY;
ALTER TABLE mx_days FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON mx_days FOR SELECT TO mtasts_api
    USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);
CREATE POLICY worker ON mx_days TO mtasts_worker
    USING ((SELECT current_user = 'mtasts_worker')) WITH CHECK ((SELECT current_user = 'mtasts_worker'));
GRANT SELECT ON mx_days TO mtasts_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON mx_days TO mtasts_worker;

-- The policy that would follow from the MX hosts as DNS names them: one for each domain at most, replaced when another
-- policy would follow.
CREATE TABLE mx_proposals (
    domain_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    policy_text text NOT NULL,
    proposed_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    dismissed_at timestamptz,
    FOREIGN KEY (domain_id, tenant_id) REFERENCES domains (id, tenant_id)
);

ALTER TABLE mx_proposals ENABLE ROW LEVEL SECURITY;
ALTER TABLE mx_proposals FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON mx_proposals TO mtasts_api
    USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);
CREATE POLICY worker ON mx_proposals TO mtasts_worker
    USING ((SELECT current_user = 'mtasts_worker')) WITH CHECK ((SELECT current_user = 'mtasts_worker'));
GRANT SELECT, DELETE, UPDATE (dismissed_at) ON mx_proposals TO mtasts_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON mx_proposals TO mtasts_worker;
