-- Migrations from old MX hosts to new ones. The latest of each domain; its end is in the audit log and in the versions.

CREATE TABLE mx_migrations (
    domain_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    -- Patterns, as in policies.
    from_mx jsonb NOT NULL,
    to_mx jsonb NOT NULL,
    state text COLLATE "C" NOT NULL CHECK (state IN ('under-way', 'done', 'cancelled', 'overruled')),
    -- The first version with both.
    version_id uuid NOT NULL REFERENCES policy_versions,
    created_at timestamptz NOT NULL,
    -- From when on MX records may name the new hosts alone, as far as the edges have reported.
    safe_to_point_mx_at timestamptz,
    -- Since when looks have found none of the old hosts.
    absent_since timestamptz,
    confirmed_at timestamptz,
    ended_at timestamptz,
    -- Drawn anew with each change, so that what was decided on one state is never done to another.
    revision bigint NOT NULL,
    FOREIGN KEY (domain_id, tenant_id) REFERENCES domains (id, tenant_id),
    CHECK ((state = 'under-way') = (ended_at IS NULL))
);
CREATE SEQUENCE mx_migration_revisions;

ALTER TABLE mx_migrations ENABLE ROW LEVEL SECURITY;
ALTER TABLE mx_migrations FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON mx_migrations TO mtasts_api
    USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);
CREATE POLICY worker ON mx_migrations TO mtasts_worker
    USING ((SELECT current_user = 'mtasts_worker')) WITH CHECK ((SELECT current_user = 'mtasts_worker'));
GRANT SELECT, INSERT, UPDATE ON mx_migrations TO mtasts_api;
GRANT SELECT, UPDATE ON mx_migrations TO mtasts_worker;
GRANT USAGE ON SEQUENCE mx_migration_revisions TO mtasts_api, mtasts_worker;
