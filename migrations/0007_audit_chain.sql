-- The audit log as one hash chain for each tenant: what was written stays, in its order, or `mtasts admin audit verify`
-- says where it does not.
--
-- A line is chained by a deferred trigger, as the last thing before its transaction commits. So the lock on the tenant's
-- head is held while the transaction commits and no longer, nothing else is ever waited for under it (it can be part
-- of no deadlock), and two tenants never wait for each other. No application code takes part: none can forget it.

CREATE TABLE audit_heads (
    tenant_id uuid PRIMARY KEY,
    -- The last line's; 0 and zeros before there is one.
    seq bigint NOT NULL CHECK (seq >= 0),
    hash bytea NOT NULL CHECK (length(hash) = 32)
) WITH (fillfactor = 50);

CREATE TABLE audit_chain (
    tenant_id uuid NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    event_id uuid NOT NULL CONSTRAINT audit_chain_by_event UNIQUE,
    previous_hash bytea NOT NULL CHECK (length(previous_hash) = 32),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (tenant_id, seq)
);

-- The canonical form of a line: each field with its length in octets before it (four octets, big-endian; -1 for null),
-- so that no two lines have the same. Numbers are eight octets, big-endian; times are microseconds since 1970; texts
-- are UTF-8; JSON is the text that Postgres shows. `store::audit::canonical` writes the same, to verify.
CREATE FUNCTION audit_field(field bytea) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT coalesce(int4send(octet_length(field)) || field, int4send(-1)) $$;

CREATE FUNCTION audit_hash(event audit_events, seq bigint, previous_hash bytea) RETURNS bytea
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT sha256(
        audit_field(convert_to('mtasts audit 1', 'UTF8'))
        || audit_field(uuid_send(event.tenant_id))
        || audit_field(int8send(seq))
        || audit_field(previous_hash)
        || audit_field(uuid_send(event.id))
        || audit_field(int8send((extract(epoch FROM event.at) * 1000000)::bigint))
        || audit_field(convert_to(event.actor, 'UTF8'))
        || audit_field(convert_to(event.source, 'UTF8'))
        || audit_field(convert_to(event.request_id, 'UTF8'))
        || audit_field(convert_to(event.action, 'UTF8'))
        || audit_field(convert_to(event.object, 'UTF8'))
        || audit_field(convert_to(event.before::text, 'UTF8'))
        || audit_field(convert_to(event.after::text, 'UTF8'))) $$;

-- Lines of before are chained here, in order of time: a chain that began with a marker would leave them unprotected for
-- ever, and make two kinds of log to read. What it proves of them is that they have not changed since this migration.
-- The lock that ALTER TABLE takes keeps writers out until the trigger is there.
ALTER TABLE audit_events NO FORCE ROW LEVEL SECURITY;
DO $$
DECLARE
    event audit_events;
    head audit_heads;
BEGIN
    FOR event IN SELECT * FROM audit_events ORDER BY tenant_id, at, id LOOP
        IF head.tenant_id IS DISTINCT FROM event.tenant_id THEN
            IF head.tenant_id IS NOT NULL THEN
                INSERT INTO audit_heads VALUES (head.*);
            END IF;
            head := ROW(event.tenant_id, 0, decode(repeat('00', 32), 'hex'))::audit_heads;
        END IF;
        INSERT INTO audit_chain
            VALUES (event.tenant_id, head.seq + 1, event.id, head.hash, audit_hash(event, head.seq + 1, head.hash))
            RETURNING tenant_id, seq, hash INTO head;
    END LOOP;
    IF head.tenant_id IS NOT NULL THEN
        INSERT INTO audit_heads VALUES (head.*);
    END IF;
END
$$;
ALTER TABLE audit_events FORCE ROW LEVEL SECURITY;

CREATE FUNCTION audit_append() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    head audit_heads;
    line_hash bytea;
BEGIN
    SELECT * INTO head FROM audit_heads WHERE tenant_id = NEW.tenant_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        -- The tenant's first line. Of several transactions that write it at once, one does and the others wait here.
        INSERT INTO audit_heads VALUES (NEW.tenant_id, 0, decode(repeat('00', 32), 'hex')) ON CONFLICT DO NOTHING;
        SELECT * INTO STRICT head FROM audit_heads WHERE tenant_id = NEW.tenant_id FOR NO KEY UPDATE;
    END IF;
    line_hash := audit_hash(NEW, head.seq + 1, head.hash);
    INSERT INTO audit_chain VALUES (NEW.tenant_id, head.seq + 1, NEW.id, head.hash, line_hash);
    UPDATE audit_heads SET seq = head.seq + 1, hash = line_hash WHERE tenant_id = NEW.tenant_id;
    RETURN NULL;
END
$$;

-- The roles write into head and chain, because the trigger runs as whoever adds the line (a function that ran as the
-- owner would be a way around row-level security). So this holds them to it: one step forward, from within the trigger.
CREATE FUNCTION audit_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() < 2
        OR (TG_OP = 'UPDATE' AND (NEW.tenant_id, NEW.seq) IS DISTINCT FROM (OLD.tenant_id, OLD.seq + 1))
    THEN
        RAISE EXCEPTION 'nothing but a new line moves the audit chain' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;

-- A temporary table of whoever writes must not stand in for the chain's.
DO $$
DECLARE
    function_name text;
BEGIN
    FOREACH function_name IN ARRAY ARRAY['audit_append()', 'audit_guard()'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', function_name, current_schema());
    END LOOP;
END
$$;

CREATE CONSTRAINT TRIGGER audit_append AFTER INSERT ON audit_events
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_append();
CREATE TRIGGER audit_guard BEFORE INSERT OR UPDATE ON audit_heads FOR EACH ROW EXECUTE FUNCTION audit_guard();
CREATE TRIGGER audit_guard BEFORE INSERT OR UPDATE ON audit_chain FOR EACH ROW EXECUTE FUNCTION audit_guard();

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['audit_heads', 'audit_chain'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant ON %I TO mtasts_api
                USING (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::uuid)
                WITH CHECK (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::uuid)', table_name);
    END LOOP;
END
$$;
-- The operator and the worker write lines of every tenant. They need the heads for it, which hold hashes and no line.
CREATE POLICY operator ON audit_heads TO mtasts_api
    USING (current_setting('app.operator', true) = 'on') WITH CHECK (current_setting('app.operator', true) = 'on');
CREATE POLICY operator ON audit_chain FOR INSERT TO mtasts_api
    WITH CHECK (current_setting('app.operator', true) = 'on');
CREATE POLICY worker ON audit_heads TO mtasts_worker
    USING ((SELECT current_user = 'mtasts_worker')) WITH CHECK ((SELECT current_user = 'mtasts_worker'));
CREATE POLICY worker ON audit_chain FOR INSERT TO mtasts_worker WITH CHECK ((SELECT current_user = 'mtasts_worker'));

GRANT SELECT, INSERT, UPDATE (seq, hash) ON audit_heads TO mtasts_api, mtasts_worker;
GRANT SELECT, INSERT ON audit_chain TO mtasts_api;
GRANT INSERT ON audit_chain TO mtasts_worker;

-- What the list of the log filters by; ids are in order of time.
CREATE INDEX audit_events_by_object ON audit_events (tenant_id, object COLLATE "C", id);
CREATE INDEX audit_events_by_action ON audit_events (tenant_id, action COLLATE "C", id);
