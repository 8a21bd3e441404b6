-- What only an operator does: recovery after a restore (docs/backup.md).

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

-- Tenants: suspended, moved, handed out, erased (ADR 17). By a role of its own, as which no process runs: an API that was
-- broken into can do none of it.
DO $$
DECLARE
    tries integer;
BEGIN
    FOR tries IN 1..50 LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'mtasts_operator') THEN
                CREATE ROLE mtasts_operator NOLOGIN NOINHERIT;
            END IF;
            IF NOT EXISTS (
                SELECT FROM pg_auth_members
                WHERE roleid = 'mtasts_operator'::regrole AND member = current_user::regrole
            ) AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
                GRANT mtasts_operator TO CURRENT_USER;
            END IF;
            EXIT;
        EXCEPTION
            WHEN duplicate_object OR unique_violation OR internal_error OR undefined_object THEN
                IF tries = 50 THEN RAISE; END IF;
                PERFORM pg_sleep(0.02);
        END;
    END LOOP;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO mtasts_operator', current_schema());
END
$$;

ALTER TABLE tenants
    ADD COLUMN suspended_at timestamptz,
    ADD COLUMN suspended_reason text CHECK (length(suspended_reason) BETWEEN 1 AND 500),
    -- contract: 0.1.0 the constraints are on columns that it never writes
    -- What was personal is gone since then; the row stays, so that the log and the bills have something to hang from.
    ADD COLUMN erased_at timestamptz,
    ADD CONSTRAINT tenants_suspension CHECK ((suspended_at IS NULL) = (suspended_reason IS NULL)),
    ADD CONSTRAINT tenants_erased_are_suspended CHECK (erased_at IS NULL OR suspended_at IS NOT NULL);

DO $$
DECLARE
    name text;
    columns text;
    secrets boolean;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_class c
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relrowsecurity
            AND c.relnamespace = current_schema()::regnamespace AND c.relname <> 'audit_events'
    LOOP
        EXECUTE format('CREATE POLICY operator_tool ON %I TO mtasts_operator
            USING ((SELECT current_user = ''mtasts_operator'')) WITH CHECK ((SELECT current_user = ''mtasts_operator''))', name);
        -- Nothing that opens anything is ever read: not a hash, not what is sealed, not an answer that may hold a key.
        SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FILTER (WHERE NOT a.secret), bool_or(a.secret)
        INTO columns, secrets
        FROM (
            SELECT attname, attnum, attname IN ('sealed', 'former_sealed', 'sealed_key') OR (name, attname::text)
                IN (('api_keys', 'hash'), ('digest_tokens', 'hash'), ('idempotency_keys', 'body')) AS secret
            FROM pg_attribute WHERE attrelid = to_regclass(quote_ident(name)) AND attnum > 0 AND NOT attisdropped
        ) a;
        IF secrets THEN
            EXECUTE format('GRANT SELECT (%s) ON %I TO mtasts_operator', columns, name);
        ELSE
            EXECUTE format('GRANT SELECT ON %I TO mtasts_operator', name);
        END IF;
        IF name NOT IN ('tenants', 'audit_heads', 'audit_chain', 'usage_days', 'edge_entries', 'zone_records') THEN
            EXECUTE format('GRANT DELETE ON %I TO mtasts_operator', name);
        END IF;
    END LOOP;
END
$$;
GRANT UPDATE ON tenants TO mtasts_operator;
GRANT UPDATE (version_id, certificate_id) ON domains TO mtasts_operator;
GRANT UPDATE (domain_id, tenant_id) ON edge_entries TO mtasts_operator;
GRANT UPDATE (domain_id) ON zone_records TO mtasts_operator;
GRANT INSERT, UPDATE ON audit_heads TO mtasts_operator;
GRANT INSERT ON audit_chain TO mtasts_operator;
-- A line of the log can be made to say nothing more of a person, and nothing else; its hash stays in the chain.
CREATE POLICY operator_tool ON audit_events FOR SELECT TO mtasts_operator USING ((SELECT current_user = 'mtasts_operator'));
CREATE POLICY operator_adds ON audit_events FOR INSERT TO mtasts_operator
    WITH CHECK ((SELECT current_user = 'mtasts_operator'));
CREATE POLICY operator_erases ON audit_events FOR UPDATE TO mtasts_operator
    USING ((SELECT current_user = 'mtasts_operator'))
    WITH CHECK (actor = 'erased' AND source IS NULL AND request_id IS NULL AND before IS NULL AND after IS NULL);
GRANT SELECT, INSERT, UPDATE (actor, source, request_id, before, after) ON audit_events TO mtasts_operator;
