-- What the daily looks from outside came to: the latest one of each domain, with its report, and a row for each day (UTC) on
-- which there was any, kept for 60 days.

CREATE TABLE domain_watches (
    domain_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    looked_at timestamptz NOT NULL,
    -- The policy version that was looked for.
    version_id uuid NOT NULL REFERENCES policy_versions,
    -- Looks in a row that found something wrong.
    failures integer NOT NULL CHECK (failures >= 0),
    -- What is held to be so: one look that fails is made again before it is believed. Null until there is a verdict.
    good boolean,
    code text COLLATE "C",
    message text,
    report jsonb NOT NULL,
    FOREIGN KEY (domain_id, tenant_id) REFERENCES domains (id, tenant_id),
    CHECK ((failures = 0) = (code IS NULL) AND (code IS NULL) = (message IS NULL))
) WITH (fillfactor = 80);

CREATE TABLE watch_days (
    domain_id uuid NOT NULL,
    day date NOT NULL,
    tenant_id uuid NOT NULL,
    looks integer NOT NULL,
    failed integer NOT NULL,
    last_looked_at timestamptz NOT NULL,
    -- The last look of the day that failed, and why; null when none did.
    last_failed_at timestamptz,
    code text COLLATE "C",
    message text,
    PRIMARY KEY (domain_id, day),
    FOREIGN KEY (domain_id, tenant_id) REFERENCES domains (id, tenant_id)
) WITH (fillfactor = 80);
CREATE INDEX watch_days_by_day ON watch_days (day);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['domain_watches', 'watch_days'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant ON %I FOR SELECT TO mtasts_api
                USING (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::uuid)', table_name);
        EXECUTE format(
            'CREATE POLICY worker ON %I TO mtasts_worker
                USING ((SELECT current_user = ''mtasts_worker''))
                WITH CHECK ((SELECT current_user = ''mtasts_worker''))', table_name);
        EXECUTE format('GRANT SELECT ON %I TO mtasts_api', table_name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO mtasts_worker', table_name);
    END LOOP;
END
$$;

-- The fewest days before its end that the tenant was told of, while it is not renewed.
ALTER TABLE certificates ADD COLUMN told_days smallint;
GRANT UPDATE (told_days) ON certificates TO mtasts_worker;

-- How much proof for `enforce` a tenant wants; null, and without a row: as the installation has it.
CREATE TABLE policy_settings (
    tenant_id uuid PRIMARY KEY REFERENCES tenants,
    mx_days integer CHECK (mx_days >= 0),
    testing_days integer CHECK (testing_days >= 0),
    sessions bigint CHECK (sessions >= 0),
    reporters integer CHECK (reporters >= 0),
    failures_per_thousand integer CHECK (failures_per_thousand BETWEEN 0 AND 1000),
    changed_at timestamptz NOT NULL
);
ALTER TABLE policy_settings ENABLE ROW LEVEL SECURITY;
ALTER TABLE policy_settings FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON policy_settings TO mtasts_api
    USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE ON policy_settings TO mtasts_api;

-- A removal that the operator forces, for law or abuse, does not wait until no sender can need the domain.
ALTER TABLE domains ADD COLUMN removal_forced_at timestamptz;
ALTER TABLE domains ADD COLUMN removal_ground text COLLATE "C" CHECK (removal_ground IN ('law', 'abuse'));
-- contract: 0.1.0 both columns are new, and it never writes them
ALTER TABLE domains ADD CHECK ((removal_forced_at IS NULL) = (removal_ground IS NULL));
-- When nothing of it was left: for 30 days from then on its CNAMEs are looked for, which lead nowhere. And when the tenant was
-- last told of any.
ALTER TABLE domains ADD COLUMN gone_at timestamptz;
ALTER TABLE domains ADD COLUMN still_delegated_told_at timestamptz;
GRANT UPDATE (removal_forced_at, removal_ground) ON domains TO mtasts_api;
GRANT UPDATE (gone_at, still_delegated_told_at) ON domains TO mtasts_worker;
