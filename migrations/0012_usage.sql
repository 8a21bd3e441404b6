-- Quotas and usage: how many domains each tenant has, how many it may have, and what it had and used day by day.

-- Counted as the transaction commits, by deferred triggers: the lock on a tenant's count is held while the transaction
-- commits and no longer, like that on its audit head, and no application code can forget it. Both triggers lock the
-- audit head first, so that they can be part of no deadlock.
CREATE TABLE domain_counts (
    tenant_id uuid PRIMARY KEY,
    -- All that are not gone.
    domains bigint NOT NULL,
    -- Of these, those whose newest policy has this mode; the rest has no policy yet.
    mode_none bigint NOT NULL,
    mode_testing bigint NOT NULL,
    mode_enforce bigint NOT NULL
) WITH (fillfactor = 50);

ALTER TABLE domains NO FORCE ROW LEVEL SECURITY;
LOCK TABLE domains IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO domain_counts
    SELECT tenant_id, count(*), count(*) FILTER (WHERE mode = 'none'), count(*) FILTER (WHERE mode = 'testing'),
        count(*) FILTER (WHERE mode = 'enforce')
    FROM domains WHERE state <> 'gone' GROUP BY tenant_id;
ALTER TABLE domains FORCE ROW LEVEL SECURITY;

-- `app.domain_limit` is how many domains the tenant may have: set by whoever adds one, after a look without a lock. Here it
-- holds, also against those who looked at the same time; these are told to try again, and then see that it is reached.
CREATE FUNCTION domain_counted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was boolean := TG_OP = 'UPDATE' AND OLD.state <> 'gone';
    is_now boolean := NEW.state <> 'gone';
    old_mode text := CASE WHEN was THEN OLD.mode END;
    new_mode text := CASE WHEN is_now THEN NEW.mode END;
    total bigint;
BEGIN
    PERFORM FROM audit_heads WHERE tenant_id = NEW.tenant_id FOR NO KEY UPDATE;
    FOR tries IN 1..2 LOOP
        UPDATE domain_counts SET
            domains = domains + is_now::integer - was::integer,
            mode_none = mode_none + (new_mode IS NOT DISTINCT FROM 'none')::integer
                - (old_mode IS NOT DISTINCT FROM 'none')::integer,
            mode_testing = mode_testing + (new_mode IS NOT DISTINCT FROM 'testing')::integer
                - (old_mode IS NOT DISTINCT FROM 'testing')::integer,
            mode_enforce = mode_enforce + (new_mode IS NOT DISTINCT FROM 'enforce')::integer
                - (old_mode IS NOT DISTINCT FROM 'enforce')::integer
        WHERE tenant_id = NEW.tenant_id
        RETURNING domains INTO total;
        EXIT WHEN FOUND;
        -- The tenant's first domain.
        INSERT INTO domain_counts VALUES (NEW.tenant_id, 0, 0, 0, 0) ON CONFLICT DO NOTHING;
    END LOOP;
    IF TG_OP = 'INSERT' AND total > nullif(current_setting('app.domain_limit', true), '')::bigint THEN
        RAISE EXCEPTION 'others have used up the quota of domains at this moment' USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN NULL;
END
$$;

-- The roles write the counts because the trigger runs as whoever changes the domain: this holds them to it.
CREATE FUNCTION domain_counts_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() < 2 THEN
        RAISE EXCEPTION 'nothing but a change of a domain moves the counts' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;

-- A temporary table of whoever writes must not stand in for the counts.
DO $$
DECLARE
    function_name text;
BEGIN
    FOREACH function_name IN ARRAY ARRAY['domain_counted()', 'domain_counts_guard()'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', function_name, current_schema());
    END LOOP;
END
$$;

CREATE CONSTRAINT TRIGGER domain_counted_new AFTER INSERT ON domains
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION domain_counted();
CREATE CONSTRAINT TRIGGER domain_counted_changed AFTER UPDATE OF state, mode ON domains
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN ((OLD.state, OLD.mode) IS DISTINCT FROM (NEW.state, NEW.mode)) EXECUTE FUNCTION domain_counted();
CREATE TRIGGER domain_counts_guard BEFORE INSERT OR UPDATE ON domain_counts
    FOR EACH ROW EXECUTE FUNCTION domain_counts_guard();

-- What the operator granted a tenant in place of the installation's defaults, where it is not null.
CREATE TABLE tenant_quotas (
    tenant_id uuid PRIMARY KEY REFERENCES tenants,
    domains bigint CHECK (domains >= 0),
    operations bigint CHECK (operations >= 0),
    api_keys bigint CHECK (api_keys >= 0),
    changed_at timestamptz NOT NULL
);

-- The keys that count for the quota; those that have ended by their time are told when they are counted.
CREATE INDEX api_keys_kept ON api_keys (tenant_id) WHERE revoked_at IS NULL;

-- One row for each day of UTC on which anything is known of a tenant.
CREATE TABLE usage_days (
    tenant_id uuid NOT NULL,
    day date NOT NULL,
    -- The counts as of this moment, the last on this day at which a worker looked; null if none did.
    counted_at timestamptz,
    domains bigint,
    mode_none bigint,
    mode_testing bigint,
    mode_enforce bigint,
    -- Added up as edges report what they have served.
    served_domains bigint NOT NULL DEFAULT 0,
    policy_fetches bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, day)
) WITH (fillfactor = 70);
CREATE INDEX usage_days_by_day ON usage_days (day);

-- The last day on which a domain counted as served, so that it counts once.
CREATE TABLE domain_served_days (
    -- Without a foreign key, like the ledger: what a restored backup does not know must not stop the others.
    domain_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    day date NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX domain_served_days_by_day ON domain_served_days (day);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['domain_counts', 'tenant_quotas', 'usage_days', 'domain_served_days'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
    END LOOP;
    EXECUTE 'CREATE POLICY tenant ON domain_counts TO mtasts_api
        USING (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::uuid)
        WITH CHECK (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::uuid)';
    FOREACH table_name IN ARRAY ARRAY['tenant_quotas', 'usage_days'] LOOP
        EXECUTE format('CREATE POLICY tenant ON %I FOR SELECT TO mtasts_api
            USING (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::uuid)', table_name);
    END LOOP;
    FOREACH table_name IN ARRAY ARRAY['domain_counts', 'usage_days', 'domain_served_days'] LOOP
        EXECUTE format('CREATE POLICY worker ON %I TO mtasts_worker
            USING ((SELECT current_user = ''mtasts_worker'')) WITH CHECK ((SELECT current_user = ''mtasts_worker''))',
            table_name);
    END LOOP;
    FOREACH table_name IN ARRAY ARRAY['usage_days', 'domain_served_days'] LOOP
        EXECUTE format('CREATE POLICY edge ON %I TO mtasts_edge
            USING ((SELECT current_user = ''mtasts_edge'')) WITH CHECK ((SELECT current_user = ''mtasts_edge''))',
            table_name);
    END LOOP;
END
$$;
-- A tenant sees its quotas, and only the operator changes them.
CREATE POLICY operator ON tenant_quotas TO mtasts_api
    USING (current_setting('app.operator', true) = 'on') WITH CHECK (current_setting('app.operator', true) = 'on');

GRANT SELECT, INSERT, UPDATE (domains, mode_none, mode_testing, mode_enforce) ON domain_counts
    TO mtasts_api, mtasts_worker;
GRANT SELECT, INSERT, UPDATE (domains, operations, api_keys, changed_at) ON tenant_quotas TO mtasts_api;
GRANT SELECT ON usage_days TO mtasts_api;
GRANT SELECT, DELETE, INSERT, UPDATE (counted_at, domains, mode_none, mode_testing, mode_enforce) ON usage_days
    TO mtasts_worker;
GRANT SELECT (tenant_id, day, served_domains, policy_fetches),
    INSERT (tenant_id, day, served_domains, policy_fetches), UPDATE (served_domains, policy_fetches)
    ON usage_days TO mtasts_edge;
GRANT SELECT, INSERT, UPDATE (day) ON domain_served_days TO mtasts_edge;
GRANT SELECT (domain_id, day), DELETE ON domain_served_days TO mtasts_worker;
