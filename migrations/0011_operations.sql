-- Bulk operations: many lines in one request, stored with it and carried out afterwards, in chunks.
--
-- A chunk is one transaction: it locks its operation's row, carries lines out, and writes their results. So the row's
-- lock is the lease, and the commit is the fence: a process that dies, hangs or is cut off in the middle of a chunk has
-- done nothing, and the next one begins with the same line.

CREATE SEQUENCE operation_turns;

CREATE TABLE operations (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('batch', 'import')),
    state text COLLATE "C" NOT NULL CHECK (state IN ('queued', 'running', 'done', 'cancelled')),
    -- Who asked, by which request: stands in the audit log with each line's effect.
    actor text NOT NULL,
    source text,
    request_id text,
    total integer NOT NULL CHECK (total > 0),
    succeeded integer NOT NULL DEFAULT 0,
    failed integer NOT NULL DEFAULT 0,
    -- The last line that is done; lines are carried out in order.
    last_line integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    -- Drawn anew with each chunk, for all of a tenant's operations: whoever was served longest ago is next.
    turn bigint NOT NULL DEFAULT nextval('operation_turns'),
    -- How often in a row a chunk could not be committed, and when the next one may be tried.
    failures integer NOT NULL DEFAULT 0,
    not_before timestamptz NOT NULL,
    CONSTRAINT operations_with_tenant UNIQUE (id, tenant_id),
    CHECK ((finished_at IS NULL) = (state IN ('queued', 'running')))
) WITH (fillfactor = 70);
CREATE INDEX operations_by_tenant ON operations (tenant_id, id);
CREATE INDEX operations_by_turn ON operations (turn) WHERE finished_at IS NULL;
CREATE INDEX operations_pending ON operations (tenant_id, id) WHERE finished_at IS NULL;
CREATE INDEX operations_finished ON operations (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE operation_lines (
    operation_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    line integer NOT NULL CHECK (line > 0),
    -- As it came, which need not be UTF-8. Null once it is done, and for a line that was too long to be kept.
    body bytea,
    -- Both null until it is done.
    failed boolean,
    result jsonb,
    PRIMARY KEY (operation_id, line),
    CHECK ((failed IS NULL) = (result IS NULL)),
    FOREIGN KEY (operation_id, tenant_id) REFERENCES operations (id, tenant_id)
);
CREATE INDEX operation_lines_failed ON operation_lines (operation_id, line) WHERE failed;

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['operations', 'operation_lines'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant ON %I TO mtasts_api
                USING (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::uuid)
                WITH CHECK (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::uuid)', table_name);
        -- The worker forgets them.
        EXECUTE format('CREATE POLICY worker ON %I TO mtasts_worker USING ((SELECT current_user = ''mtasts_worker''))',
            table_name);
    END LOOP;
END
$$;

-- Whoever looks for the next chunk does not know whose it is. It sees and locks operations, and none of their lines; from
-- then on the transaction is that tenant's.
CREATE POLICY runner_reads ON operations FOR SELECT TO mtasts_api USING (current_setting('app.runner', true) = 'on');
CREATE POLICY runner_locks ON operations FOR UPDATE TO mtasts_api USING (current_setting('app.runner', true) = 'on');

GRANT SELECT, INSERT ON operations, operation_lines TO mtasts_api;
GRANT UPDATE (state, succeeded, failed, last_line, started_at, finished_at, turn, failures, not_before)
    ON operations TO mtasts_api;
GRANT UPDATE (body, failed, result) ON operation_lines TO mtasts_api;
GRANT USAGE ON SEQUENCE operation_turns TO mtasts_api;
GRANT SELECT (id, finished_at), DELETE ON operations TO mtasts_worker;
GRANT SELECT (operation_id, line), DELETE ON operation_lines TO mtasts_worker;
