-- Least grants, and row-level security on every table that holds a tenant's rows.
--
-- FORCE binds the owner as well: a migration that must change tenants' rows says
-- `ALTER TABLE … NO FORCE ROW LEVEL SECURITY`, changes them, and forces again, all in its one transaction.

DO $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO mtasts_api, mtasts_worker, mtasts_edge, mtasts_intake', current_schema());
END
$$;

-- An API process sees nothing until a transaction names a tenant. After a transaction that did, a pooled connection
-- reads the setting as '' and not as null: hence nullif.
DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY[
        'api_keys', 'domains', 'policy_versions', 'acme_orders', 'certificates', 'domain_schedule',
        'domain_conditions', 'edge_entries', 'served_ledger', 'audit_events', 'idempotency_keys'
    ] LOOP
        EXECUTE format(
            'CREATE POLICY tenant ON %I TO mtasts_api
                USING (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::uuid)
                WITH CHECK (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::uuid)', table_name);
    END LOOP;
    FOREACH table_name IN ARRAY ARRAY[
        'tenants', 'api_keys', 'domains', 'policy_versions', 'acme_orders', 'certificates', 'domain_schedule',
        'domain_conditions', 'step_failures', 'edge_entries', 'zone_records', 'served_ledger', 'audit_events',
        'idempotency_keys'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
    END LOOP;
    -- The worker serves all tenants. A policy holds for members of its role as well, and the owner is one, so that one
    -- login may be enough for a whole installation: hence the comparison. It is a sub-select so that it is made once, and
    -- the planner takes it for a coin toss; bare, it is taken to hold for one row in 200, and makes for bad plans.
    FOREACH table_name IN ARRAY ARRAY[
        'domains', 'policy_versions', 'acme_orders', 'certificates', 'domain_schedule', 'domain_conditions',
        'step_failures', 'edge_entries', 'zone_records'
    ] LOOP
        EXECUTE format(
            'CREATE POLICY worker ON %I TO mtasts_worker
                USING ((SELECT current_user = ''mtasts_worker''))
                WITH CHECK ((SELECT current_user = ''mtasts_worker''))', table_name);
    END LOOP;
END
$$;

-- Tenants see themselves; the operator sees and makes all.
CREATE POLICY tenant ON tenants FOR SELECT TO mtasts_api
    USING (id = nullif(current_setting('app.tenant', true), '')::uuid);
CREATE POLICY operator ON tenants TO mtasts_api
    USING (current_setting('app.operator', true) = 'on') WITH CHECK (current_setting('app.operator', true) = 'on');
CREATE POLICY operator ON audit_events FOR INSERT TO mtasts_api
    WITH CHECK (current_setting('app.operator', true) = 'on');
-- A key is found by whoever knows its hash, before its tenant is known.
CREATE POLICY key_holder_reads ON api_keys FOR SELECT TO mtasts_api
    USING (hash = decode(nullif(current_setting('app.key_hash', true), ''), 'hex'));
CREATE POLICY key_holder_stamps ON api_keys FOR UPDATE TO mtasts_api
    USING (hash = decode(nullif(current_setting('app.key_hash', true), ''), 'hex'));

CREATE POLICY worker ON audit_events FOR INSERT TO mtasts_worker WITH CHECK ((SELECT current_user = 'mtasts_worker'));
CREATE POLICY worker ON served_ledger FOR SELECT TO mtasts_worker USING ((SELECT current_user = 'mtasts_worker'));
CREATE POLICY worker ON idempotency_keys TO mtasts_worker USING ((SELECT current_user = 'mtasts_worker'));

-- Edges see what is in the feed, and what it names, and nothing of the past.
CREATE POLICY edge ON edge_entries FOR SELECT TO mtasts_edge USING ((SELECT current_user = 'mtasts_edge'));
CREATE POLICY edge ON policy_versions FOR SELECT TO mtasts_edge
    USING ((SELECT current_user = 'mtasts_edge') AND fed_at IS NOT NULL AND unfed_at IS NULL);
CREATE POLICY edge ON certificates FOR SELECT TO mtasts_edge USING ((SELECT current_user = 'mtasts_edge') AND in_feed);
CREATE POLICY edge ON zone_records FOR SELECT TO mtasts_edge USING ((SELECT current_user = 'mtasts_edge'));
CREATE POLICY edge ON served_ledger TO mtasts_edge
    USING ((SELECT current_user = 'mtasts_edge')) WITH CHECK ((SELECT current_user = 'mtasts_edge'));

-- api
GRANT SELECT, INSERT ON tenants, audit_events, domains, policy_versions, idempotency_keys TO mtasts_api;
GRANT SELECT ON domain_conditions, served_ledger TO mtasts_api;
GRANT DELETE ON idempotency_keys TO mtasts_api;
GRANT SELECT, INSERT, UPDATE (last_used_at, revoked_at) ON api_keys TO mtasts_api;
GRANT INSERT ON labels TO mtasts_api;
GRANT UPDATE (state, report_uris, nudged_at, withdraw_requested_at, version_id, mode, mx_source) ON domains TO mtasts_api;
-- Invariant 2: of a version nothing but stamps is ever updated, by nobody.
GRANT UPDATE (superseded_at, fed_at, unfed_at) ON policy_versions TO mtasts_api;
GRANT SELECT (id, tenant_id, domain_id, not_before, not_after, serial, issuer) ON certificates TO mtasts_api;
GRANT SELECT (id, tenant_id, domain_id, state, closed_at, challenge_revision), UPDATE (closed_at, problem) ON acme_orders TO mtasts_api;
GRANT SELECT, INSERT ON domain_schedule TO mtasts_api;
GRANT UPDATE (wake_at, woken, lease_token, lease_until) ON domain_schedule TO mtasts_api;
GRANT SELECT (name, kind, revision, changed_at, domain_id, tenant_id, version_id, certificate_id, order_id)
    ON edge_entries TO mtasts_api;
GRANT UPDATE (revision, changed_at, version_id, challenge, order_id) ON edge_entries TO mtasts_api;
GRANT USAGE ON SEQUENCE edge_revisions TO mtasts_api;

-- worker
GRANT SELECT ON domains, policy_versions, certificates, served_ledger, nodes, feed_floors TO mtasts_worker;
GRANT UPDATE (state, nudged_at, delegation, mx, version_id, mode, certificate_id, written_version_id, written_at,
    confirmed_version_id, confirmed_at, written_report_uris, removed_at) ON domains TO mtasts_worker;
GRANT INSERT, UPDATE (served_at, verified_at, published_at, superseded_at, fed_at, unfed_at)
    ON policy_versions TO mtasts_worker;
GRANT INSERT, DELETE, UPDATE (renew_at, advice_due_at, in_feed) ON certificates TO mtasts_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON acme_orders TO mtasts_worker;
GRANT SELECT, INSERT, DELETE ON failed_validations TO mtasts_worker;
GRANT SELECT, INSERT, UPDATE (sealed, created_at) ON acme_accounts TO mtasts_worker;
GRANT SELECT, INSERT, UPDATE ON token_buckets TO mtasts_worker;
GRANT SELECT, UPDATE ON domain_schedule TO mtasts_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON domain_conditions, step_failures TO mtasts_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON edge_entries, zone_records TO mtasts_worker;
GRANT UPDATE (floor) ON feed_floors TO mtasts_worker;
GRANT INSERT ON audit_events TO mtasts_worker;
GRANT SELECT (created_at), DELETE ON idempotency_keys TO mtasts_worker;
GRANT DELETE ON nodes TO mtasts_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON ledger_gaps TO mtasts_worker;
GRANT USAGE ON SEQUENCE lease_tokens, edge_revisions, zone_revisions TO mtasts_worker;

-- edge
GRANT SELECT ON edge_entries, zone_records, feed_floors, edge_revisions, zone_revisions TO mtasts_edge;
GRANT SELECT (id, tenant_id, domain_id, mode, max_age, policy_text, fed_at, unfed_at) ON policy_versions TO mtasts_edge;
GRANT SELECT (id, tenant_id, domain_id, chain, sealed_key, not_after, in_feed) ON certificates TO mtasts_edge;
GRANT SELECT, INSERT, UPDATE, DELETE ON nodes TO mtasts_edge;
GRANT SELECT, INSERT, UPDATE ON ledger_gaps TO mtasts_edge;
GRANT SELECT, INSERT, UPDATE ON served_ledger TO mtasts_edge;
