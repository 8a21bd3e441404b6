-- Reports as they arrive: stored before they are acknowledged, read later by workers. See docs/reports.md.
--
-- What grows by the month is kept in partitions of a month each, by the ids, which are UUIDv7 and so begin with the time:
-- what has had its time goes with its partition, and a look by id goes to one. Without foreign keys to domains and tenants,
-- like the ledger: what a restored backup does not know must not stop the others.

CREATE TABLE report_arrivals (
    id uuid PRIMARY KEY,
    -- Of the label that it was sent to.
    tenant_id uuid NOT NULL,
    domain_id uuid NOT NULL,
    -- What the address is for; what is in it is known once it is read.
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('tls-rpt', 'dmarc')),
    via text COLLATE "C" NOT NULL CHECK (via IN ('https', 'smtp')),
    received_at timestamptz NOT NULL,
    -- Who delivered it.
    peer inet NOT NULL,
    -- SMTP: the name in EHLO, the sender of the envelope. HTTPS: the user agent, and no sender.
    client_name text CHECK (length(client_name) <= 255),
    envelope_from text CHECK (length(envelope_from) <= 320),
    content_type text CHECK (length(content_type) <= 255),
    -- Null: it came without TLS.
    tls_version text CHECK (length(tls_version) <= 20),
    octets integer NOT NULL CHECK (octets >= 0),
    digest bytea NOT NULL CHECK (length(digest) = 32),
    -- As it came: of a mail all of it, headers as well. Null once its time is over.
    raw bytea,
    state text COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'read', 'quarantined')),
    -- When it is read next; while a worker has it: when another may take it.
    due_at timestamptz,
    lease_token bigint,
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    -- The worst that was wrong with it, by its code and in words. Also of one that was read in part.
    reason text COLLATE "C",
    problem text,
    -- Reports in it that were new, and that were there already.
    reports integer,
    repeated integer,
    read_at timestamptz,
    -- The version of the service that read it last.
    read_by text,
    CHECK ((state = 'waiting') = (due_at IS NOT NULL)),
    CHECK ((state = 'quarantined') <= (reason IS NOT NULL))
) PARTITION BY RANGE (id);
-- Most of it is compressed as it comes.
ALTER TABLE report_arrivals ALTER COLUMN raw SET STORAGE EXTERNAL;
CREATE INDEX report_arrivals_due ON report_arrivals (due_at) WHERE state = 'waiting';
CREATE INDEX report_arrivals_quarantined ON report_arrivals (id) WHERE state = 'quarantined';
CREATE INDEX report_arrivals_by_domain ON report_arrivals (domain_id, id);
CREATE INDEX report_arrivals_by_state ON report_arrivals (tenant_id, state, id);
CREATE INDEX report_arrivals_by_tenant ON report_arrivals (tenant_id, id);

-- What came before, octet for octet. A sender that had no answer sends again.
CREATE TABLE report_digests (
    domain_id uuid NOT NULL,
    digest bytea NOT NULL CHECK (length(digest) = 32),
    arrival_id uuid NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (domain_id, digest)
);
CREATE INDEX report_digests_by_time ON report_digests (at);

-- Arrivals that were taken on this day, for the quota and for the bill.
ALTER TABLE usage_days ADD COLUMN reports bigint NOT NULL DEFAULT 0;
ALTER TABLE tenant_quotas
    ADD COLUMN reports_a_day bigint CHECK (reports_a_day >= 0),
    ADD COLUMN report_retention_days integer CHECK (report_retention_days BETWEEN 1 AND 3650);

-- The first id of a moment, as the bound of a partition.
CREATE FUNCTION first_uuid_at(moment timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || '70008000000000000000')::uuid
$$;

-- Makes the partition for each month from that of `since` to that of `until` in which there is none. Roles other than the
-- owner can make no tables, and partitions are needed while nobody migrates: so this runs as the owner. What it makes
-- depends on nothing but two times, at most 36 months apart.
CREATE FUNCTION make_report_partitions(since timestamptz, until timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    month timestamptz;
    last_month timestamptz := date_trunc('month', until, 'UTC');
    parent text;
    partition text;
    made integer := 0;
BEGIN
    IF since IS NULL OR until IS NULL OR until > since + interval '36 months' THEN
        RAISE EXCEPTION 'at most 36 months' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    month := date_trunc('month', since, 'UTC');
    PERFORM pg_advisory_xact_lock(hashtext('mtasts report partitions'));
    WHILE month <= last_month LOOP
        FOREACH parent IN ARRAY ARRAY['report_arrivals', 'reports', 'tls_results', 'dmarc_results'] LOOP
            partition := format('%s_%s', parent, to_char(month AT TIME ZONE 'UTC', 'YYYY_MM'));
            IF to_regclass(parent) IS NOT NULL AND to_regclass(partition) IS NULL THEN
                EXECUTE format('CREATE TABLE %s.%I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                    (SELECT relnamespace::regnamespace FROM pg_class WHERE oid = parent::regclass), partition, parent,
                    first_uuid_at(month), first_uuid_at((month AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC'));
                -- Nobody has a right to the partition itself; were one given by a mistake, it would show nothing.
                EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', partition);
                EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', partition);
                made := made + 1;
            END IF;
        END LOOP;
        month := (month AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
    END LOOP;
    RETURN made;
END
$$;

-- Drops the partitions of the table that end before `before`, 30 days ago at the latest, and says how many.
CREATE FUNCTION drop_report_partitions(parent text, before timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    partition record;
    dropped integer := 0;
BEGIN
    IF parent NOT IN ('report_arrivals', 'reports', 'tls_results', 'dmarc_results') OR before IS NULL THEN
        RAISE EXCEPTION 'no table of reports' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('mtasts report partitions'));
    FOR partition IN
        SELECT child.relname FROM pg_inherits
            JOIN pg_class child ON child.oid = inhrelid
            WHERE inhparent = parent::regclass AND child.relname ~ '_\d{4}_\d{2}$'
    LOOP
        IF (to_date(right(partition.relname, 7), 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC'
            <= least(before, now() - interval '30 days')
        THEN
            EXECUTE format('DROP TABLE %I', partition.relname);
            dropped := dropped + 1;
        END IF;
    END LOOP;
    RETURN dropped;
END
$$;

DO $$
DECLARE
    signature text;
BEGIN
    FOREACH signature IN ARRAY ARRAY[
        'make_report_partitions(timestamptz, timestamptz)', 'drop_report_partitions(text, timestamptz)'
    ] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', signature, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', signature);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO mtasts_worker', signature);
    END LOOP;
    EXECUTE 'GRANT EXECUTE ON FUNCTION make_report_partitions(timestamptz, timestamptz) TO mtasts_intake';
    FOREACH signature IN ARRAY ARRAY['report_arrivals', 'report_digests'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', signature);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', signature);
        EXECUTE format('CREATE POLICY worker ON %I TO mtasts_worker
            USING ((SELECT current_user = ''mtasts_worker'')) WITH CHECK ((SELECT current_user = ''mtasts_worker''))',
            signature);
        EXECUTE format('CREATE POLICY intake ON %I TO mtasts_intake
            USING ((SELECT current_user = ''mtasts_intake'')) WITH CHECK ((SELECT current_user = ''mtasts_intake''))',
            signature);
    END LOOP;
    FOREACH signature IN ARRAY ARRAY['domains', 'tenant_quotas'] LOOP
        EXECUTE format('CREATE POLICY intake ON %I FOR SELECT TO mtasts_intake
            USING ((SELECT current_user = ''mtasts_intake''))', signature);
    END LOOP;
END
$$;
CREATE POLICY tenant ON report_arrivals FOR SELECT TO mtasts_api
    USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);
CREATE POLICY intake ON usage_days TO mtasts_intake
    USING ((SELECT current_user = 'mtasts_intake')) WITH CHECK ((SELECT current_user = 'mtasts_intake'));

-- An intake can put in what arrives, and read nothing back: not even what it took itself.
GRANT SELECT (id, tenant_id, name, label, state) ON domains TO mtasts_intake;
GRANT SELECT (tenant_id, reports_a_day) ON tenant_quotas TO mtasts_intake;
GRANT INSERT ON report_arrivals TO mtasts_intake;
GRANT SELECT, INSERT ON report_digests TO mtasts_intake;
GRANT SELECT (tenant_id, day, reports), INSERT (tenant_id, day, reports), UPDATE (reports) ON usage_days TO mtasts_intake;

GRANT SELECT, UPDATE (raw, state, due_at, lease_token, attempts, reason, problem, reports, repeated, read_at, read_by), DELETE
    ON report_arrivals TO mtasts_worker;
GRANT SELECT, DELETE ON report_digests TO mtasts_worker;
GRANT SELECT ON report_arrivals TO mtasts_api;
GRANT UPDATE (reports_a_day, report_retention_days) ON tenant_quotas TO mtasts_api;
