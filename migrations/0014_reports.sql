-- Reports as they were read, and what they add up to. See docs/reports.md.

-- What one document of an arrival says of one domain. A report on several domains makes a row for each.
CREATE TABLE reports (
    -- Drawn as it is read.
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    domain_id uuid NOT NULL,
    arrival_id uuid NOT NULL,
    -- The document in the arrival, from 0.
    document integer NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('tls-rpt', 'dmarc')),
    via text COLLATE "C" NOT NULL CHECK (via IN ('https', 'smtp')),
    received_at timestamptz NOT NULL,
    -- What is known of who sent it: `verified` by DKIM for the organisation, `unsigned`, `failed`, or `anonymous` (HTTPS).
    grade text COLLATE "C" NOT NULL CHECK (grade IN ('verified', 'unsigned', 'failed', 'anonymous')),
    -- The domain that signed, and why it is graded so.
    signer text,
    grade_reason text NOT NULL,
    -- As they are in the report, cut at 255 characters; empty when missing.
    organization text COLLATE "C" NOT NULL CHECK (length(organization) <= 255),
    contact text CHECK (length(contact) <= 255),
    report_id text COLLATE "C" NOT NULL CHECK (length(report_id) <= 255),
    begins_at timestamptz,
    ends_at timestamptz,
    -- The day that its figures count for: that in which the period has its middle, or that of arrival if the period cannot be.
    day date NOT NULL,
    -- TLS: sessions. DMARC: messages that passed, and that did not.
    good bigint NOT NULL CHECK (good >= 0),
    bad bigint NOT NULL CHECK (bad >= 0),
    -- False: it speaks of hosts that receive reports, and its figures are in no sum.
    counts boolean NOT NULL,
    -- False: the document breaks off.
    complete boolean NOT NULL,
    -- The document also speaks of another tenant's domain: its octets are shown to nobody.
    shared boolean NOT NULL,
    deviations integer NOT NULL,
    -- The normal form, of this domain's part alone.
    body jsonb NOT NULL,
    -- What it added to the sums, for taking it back when a better copy comes: lines of the scope (0 the domain, 1 the
    -- tenant), dimension, value, reports, good, bad.
    applied jsonb
) PARTITION BY RANGE (id);
-- For the worker's round from tenant to tenant, and the operator's list.
CREATE INDEX report_arrivals_waiting ON report_arrivals (tenant_id, due_at) WHERE state = 'waiting';
CREATE INDEX report_arrivals_by_reason ON report_arrivals (reason, id) WHERE state = 'quarantined';

CREATE INDEX reports_by_domain ON reports (domain_id, id);
CREATE INDEX reports_by_tenant ON reports (tenant_id, id);
CREATE INDEX reports_by_arrival ON reports (arrival_id);

-- By what a report is known again (RFC 8460 §5.6): SHA-256 of kind, organisation, report id and policy domains. A verified
-- one stands under a second key as well, with its signer in it: what somebody else signs is another report.
CREATE TABLE report_keys (
    domain_id uuid NOT NULL,
    key bytea NOT NULL CHECK (length(key) = 32),
    tenant_id uuid NOT NULL,
    report_id uuid NOT NULL,
    -- How much the copy is worth: a verified and complete one displaces others, so that a forged one cannot stand in its way.
    rank smallint NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (domain_id, key)
);
CREATE INDEX report_keys_by_time ON report_keys (at);

-- One failure detail of a TLS report (RFC 8460 §4.3).
CREATE TABLE tls_results (
    -- The row of `reports`.
    report_id uuid NOT NULL,
    seq integer NOT NULL,
    tenant_id uuid NOT NULL,
    domain_id uuid NOT NULL,
    day date NOT NULL,
    organization text COLLATE "C" NOT NULL,
    grade text COLLATE "C" NOT NULL,
    counts boolean NOT NULL,
    -- As in RFC 8460 §4.3, or what the sender wrote; `not-detailed` is what the summary has and no detail speaks of.
    result text COLLATE "C" NOT NULL CHECK (length(result) <= 100),
    sessions bigint NOT NULL CHECK (sessions >= 0),
    receiving_mx text COLLATE "C",
    receiving_ip inet,
    sending_ip inet,
    -- Of the sending address, if the operator has a database of them.
    country text COLLATE "C",
    asn bigint,
    as_name text,
    reason text,
    additional text,
    -- The policy as the sender saw it: its kind, and our version where it is one of ours.
    policy_type text COLLATE "C" NOT NULL,
    policy_version_id uuid,
    -- Where it speaks of the policy host: whether the fault was the service's, and why it is thought so.
    edge_verdict text COLLATE "C" CHECK (edge_verdict IN ('ours', 'not-ours', 'unclear')),
    edge_reason text COLLATE "C",
    PRIMARY KEY (report_id, seq)
) PARTITION BY RANGE (report_id);
CREATE INDEX tls_results_by_domain ON tls_results (domain_id, day, report_id, seq);
CREATE INDEX tls_results_by_tenant ON tls_results (tenant_id, day, report_id, seq);

-- One record of a DMARC report.
CREATE TABLE dmarc_results (
    report_id uuid NOT NULL,
    seq integer NOT NULL,
    tenant_id uuid NOT NULL,
    domain_id uuid NOT NULL,
    day date NOT NULL,
    organization text COLLATE "C" NOT NULL,
    grade text COLLATE "C" NOT NULL,
    source_ip inet,
    country text COLLATE "C",
    asn bigint,
    as_name text,
    messages bigint NOT NULL CHECK (messages >= 0),
    disposition text COLLATE "C" NOT NULL CHECK (length(disposition) <= 100),
    -- Whether it passed, aligned with the domain in From: `pass`, `fail`, or what the sender wrote.
    dkim text COLLATE "C" NOT NULL CHECK (length(dkim) <= 100),
    spf text COLLATE "C" NOT NULL CHECK (length(spf) <= 100),
    passed boolean NOT NULL,
    header_from text COLLATE "C",
    envelope_from text COLLATE "C",
    -- Each signature and SPF check, aligned or not, and the reasons for which the policy was not applied.
    details jsonb NOT NULL,
    PRIMARY KEY (report_id, seq)
) PARTITION BY RANGE (report_id);
CREATE INDEX dmarc_results_by_domain ON dmarc_results (domain_id, day, report_id, seq);
CREATE INDEX dmarc_results_by_tenant ON dmarc_results (tenant_id, day, report_id, seq);

-- The sums by day. One table for all questions: each row is the sum of one value of one dimension, so that a view reads the
-- rows of its dimension and no others.
CREATE TABLE report_days (
    tenant_id uuid NOT NULL,
    -- The nil UUID: over all of the tenant's domains.
    domain_id uuid NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('tls-rpt', 'dmarc')),
    dimension text COLLATE "C" NOT NULL,
    day date NOT NULL,
    -- Empty in the dimension `total`. At most a few hundred a day of a dimension: the rest counts as `(others)`.
    value text COLLATE "C" NOT NULL CHECK (length(value) <= 300),
    grade text COLLATE "C" NOT NULL,
    reports bigint NOT NULL,
    good bigint NOT NULL,
    bad bigint NOT NULL,
    PRIMARY KEY (tenant_id, domain_id, kind, dimension, day, value, grade)
) WITH (fillfactor = 80);
CREATE INDEX report_days_by_day ON report_days (day, tenant_id);

-- Kinds of failure that a domain has had: since when, and until when.
CREATE TABLE failure_kinds (
    tenant_id uuid NOT NULL,
    domain_id uuid NOT NULL,
    result text COLLATE "C" NOT NULL,
    -- Empty: none named. `(others)`: beyond a few hundred.
    receiving_mx text COLLATE "C" NOT NULL,
    first_day date NOT NULL,
    last_day date NOT NULL,
    -- When the service learned of it.
    first_seen_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    sessions bigint NOT NULL,
    -- Whether a verified report has said so.
    verified boolean NOT NULL,
    PRIMARY KEY (domain_id, result, receiving_mx)
) WITH (fillfactor = 80);
CREATE INDEX failure_kinds_by_tenant ON failure_kinds (tenant_id, first_seen_at);
CREATE INDEX failure_kinds_by_last ON failure_kinds (last_day, tenant_id);

-- Who reports on a domain, and how regularly.
CREATE TABLE reporters (
    tenant_id uuid NOT NULL,
    domain_id uuid NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('tls-rpt', 'dmarc')),
    organization text COLLATE "C" NOT NULL,
    -- Verified or not: an unverified one cannot keep a silent one's name alive.
    verified boolean NOT NULL,
    first_day date NOT NULL,
    last_day date NOT NULL,
    -- The days of the last 64 that it reported on, counted back from `last_day`, which is bit 0.
    days bigint NOT NULL,
    last_seen_at timestamptz NOT NULL,
    -- Since when it is taken as silent.
    silent_since timestamptz,
    PRIMARY KEY (domain_id, kind, organization, verified)
) WITH (fillfactor = 80);
CREATE INDEX reporters_by_last ON reporters (last_day) WHERE silent_since IS NULL;
CREATE INDEX reporters_by_age ON reporters (last_day, tenant_id);
CREATE INDEX reporters_by_tenant ON reporters (tenant_id, kind, organization);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY[
        'reports', 'report_keys', 'tls_results', 'dmarc_results', 'report_days', 'failure_kinds', 'reporters'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format('CREATE POLICY worker ON %I TO mtasts_worker
            USING ((SELECT current_user = ''mtasts_worker'')) WITH CHECK ((SELECT current_user = ''mtasts_worker''))',
            table_name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO mtasts_worker', table_name);
        IF table_name <> 'report_keys' THEN
            EXECUTE format(
                'CREATE POLICY tenant ON %I FOR SELECT TO mtasts_api
                    USING (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::uuid)', table_name);
            EXECUTE format('GRANT SELECT ON %I TO mtasts_api', table_name);
        END IF;
    END LOOP;
END
$$;
-- Retention by plan.
CREATE POLICY worker ON tenant_quotas FOR SELECT TO mtasts_worker USING ((SELECT current_user = 'mtasts_worker'));
GRANT SELECT (tenant_id, report_retention_days) ON tenant_quotas TO mtasts_worker;

-- Of this month and the next two; workers see to those after.
SELECT make_report_partitions(now(), now() + interval '2 months');
