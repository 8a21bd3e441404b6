-- What tenants are told of reports by themselves: events, and digests by mail. See docs/alerts.md.

-- What a tenant wants to be told, where it is not what all are. Without a row: the defaults of `store::ReportSettings`.
CREATE TABLE report_settings (
    tenant_id uuid PRIMARY KEY REFERENCES tenants,
    -- Kinds of alert.
    alerts text[] COLLATE "C" NOT NULL,
    -- Failed sessions of a day, in percent of all.
    threshold_percent integer NOT NULL CHECK (threshold_percent BETWEEN 1 AND 100),
    -- A day with fewer says nothing.
    least_sessions bigint NOT NULL CHECK (least_sessions >= 1),
    -- Days without a report of somebody who used to report on most.
    silence_days integer NOT NULL CHECK (silence_days BETWEEN 1 AND 14),
    -- Whether reports that have not proved where they come from move the failure rate and silence.
    count_unverified boolean NOT NULL,
    changed_at timestamptz NOT NULL
);

-- Domains at whose reports somebody has to look, and when. Whoever changes their sums puts them here, in the same
-- transaction; whoever has looked puts them here for the day on which a reporter would be silent.
CREATE TABLE report_alert_queue (
    domain_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    due_at timestamptz NOT NULL,
    -- Arrivals that could not be read and are not told yet, the newest of them, and what is wrong with it.
    quarantined integer NOT NULL DEFAULT 0 CHECK (quarantined >= 0),
    quarantined_arrival uuid,
    quarantined_reason text COLLATE "C",
    CHECK ((quarantined > 0) = (quarantined_arrival IS NOT NULL)),
    CHECK ((quarantined > 0) = (quarantined_reason IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX report_alert_queue_due ON report_alert_queue (due_at);

-- What was told of a domain, so that it is told once. Written in the transaction of the event.
CREATE TABLE report_alerts (
    domain_id uuid NOT NULL,
    alert text COLLATE "C" NOT NULL CHECK (alert IN ('failure_new', 'failure_rate', 'reporter_silent', 'quarantined')),
    -- failure_new: result and MX, by a line feed; reporter_silent: kind and organisation, likewise; else empty.
    subject text COLLATE "C" NOT NULL CHECK (length(subject) <= 600),
    tenant_id uuid NOT NULL,
    -- Whether it is so now: a rate that is too high, a reporter that is silent.
    raised boolean NOT NULL,
    -- The day whose figures say so; of a silent reporter: the last that it reported on.
    day date NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (domain_id, alert, subject)
) WITH (fillfactor = 80);
CREATE INDEX report_alerts_by_tenant ON report_alerts (tenant_id, alert, at) WHERE raised;
CREATE INDEX report_alerts_by_time ON report_alerts (at);
-- Who may have fallen silent, whatever others send in their names.
CREATE INDEX reporters_by_domain ON reporters (domain_id, verified, last_day);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['report_settings', 'report_alert_queue', 'report_alerts'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format('CREATE POLICY worker ON %I TO mtasts_worker
            USING ((SELECT current_user = ''mtasts_worker'')) WITH CHECK ((SELECT current_user = ''mtasts_worker''))',
            table_name);
    END LOOP;
    EXECUTE 'CREATE POLICY tenant ON report_settings TO mtasts_api
        USING (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::uuid)
        WITH CHECK (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::uuid)';
END
$$;
GRANT SELECT, INSERT, UPDATE (alerts, threshold_percent, least_sessions, silence_days, count_unverified, changed_at)
    ON report_settings TO mtasts_api;
GRANT SELECT ON report_settings TO mtasts_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON report_alert_queue, report_alerts TO mtasts_worker;

-- Digests by mail. An address gets nothing but one mail that asks, until its owner has said yes.
CREATE TABLE digest_recipients (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants,
    email text NOT NULL CHECK (length(email) BETWEEN 3 AND 254),
    -- By which it is known again: in lower case.
    email_key text COLLATE "C" NOT NULL CHECK (length(email_key) BETWEEN 3 AND 254),
    frequency text COLLATE "C" NOT NULL CHECK (frequency IN ('daily', 'weekly')),
    -- Kinds of report.
    kinds text[] COLLATE "C" NOT NULL CHECK (cardinality(kinds) > 0),
    state text COLLATE "C" NOT NULL CHECK (state IN ('pending', 'confirmed', 'unsubscribed', 'disabled')),
    -- Why the service itself stopped, or what became of the mail that asks.
    reason text CHECK (length(reason) <= 500),
    created_at timestamptz NOT NULL,
    confirmed_at timestamptz,
    ended_at timestamptz,
    -- When the next digest is due.
    next_at timestamptz,
    UNIQUE (tenant_id, email_key),
    UNIQUE (id, tenant_id),
    CHECK ((state = 'confirmed') = (next_at IS NOT NULL)),
    CHECK ((state IN ('unsubscribed', 'disabled')) = (ended_at IS NOT NULL))
);
CREATE INDEX digest_recipients_due ON digest_recipients (next_at) WHERE next_at IS NOT NULL;

-- Links in mails, by SHA-256. Drawn as a mail is sent, so that they are kept nowhere else.
CREATE TABLE digest_tokens (
    hash bytea PRIMARY KEY CHECK (length(hash) = 32),
    tenant_id uuid NOT NULL,
    recipient_id uuid NOT NULL,
    purpose text COLLATE "C" NOT NULL CHECK (purpose IN ('confirm', 'unsubscribe')),
    expires_at timestamptz NOT NULL,
    FOREIGN KEY (recipient_id, tenant_id) REFERENCES digest_recipients (id, tenant_id) ON DELETE CASCADE
);
CREATE INDEX digest_tokens_by_recipient ON digest_tokens (recipient_id);
CREATE INDEX digest_tokens_by_end ON digest_tokens (expires_at);

-- Mails to send, and those sent. One for each recipient, purpose and period: that is what makes it one.
CREATE TABLE digest_mails (
    recipient_id uuid NOT NULL,
    purpose text COLLATE "C" NOT NULL CHECK (purpose IN ('confirm', 'daily', 'weekly')),
    -- The last day that it speaks of; of a mail that asks: the day on which it was asked for.
    period date NOT NULL,
    tenant_id uuid NOT NULL,
    state text COLLATE "C" NOT NULL CHECK (state IN ('pending', 'sent', 'failed', 'skipped')),
    -- When it is tried next; while a worker has it: when another may take it.
    due_at timestamptz,
    lease_token bigint,
    -- Counted before each, so that one that kills the worker ends.
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    settled_at timestamptz,
    problem text CHECK (length(problem) <= 500),
    PRIMARY KEY (recipient_id, purpose, period),
    FOREIGN KEY (recipient_id, tenant_id) REFERENCES digest_recipients (id, tenant_id) ON DELETE CASCADE,
    CHECK ((state = 'pending') = (due_at IS NOT NULL)),
    CHECK ((state = 'pending') = (settled_at IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX digest_mails_due ON digest_mails (due_at) WHERE state = 'pending';
CREATE INDEX digest_mails_settled ON digest_mails (settled_at) WHERE settled_at IS NOT NULL;

-- Mails of a tenant on a day, for its quota; and mails that ask an address on a day, whoever asked for them.
CREATE TABLE mail_days (
    tenant_id uuid NOT NULL,
    day date NOT NULL,
    mails integer NOT NULL,
    PRIMARY KEY (tenant_id, day)
);
CREATE INDEX mail_days_by_day ON mail_days (day);
CREATE TABLE mail_address_days (
    -- SHA-256 of the address in lower case: nobody's addresses are kept here.
    address bytea NOT NULL CHECK (length(address) = 32),
    day date NOT NULL,
    mails integer NOT NULL,
    PRIMARY KEY (address, day)
);
CREATE INDEX mail_address_days_by_day ON mail_address_days (day);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY[
        'digest_recipients', 'digest_tokens', 'digest_mails', 'mail_days', 'mail_address_days'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format('CREATE POLICY worker ON %I TO mtasts_worker
            USING ((SELECT current_user = ''mtasts_worker'')) WITH CHECK ((SELECT current_user = ''mtasts_worker''))',
            table_name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO mtasts_worker', table_name);
    END LOOP;
    FOREACH table_name IN ARRAY ARRAY['digest_recipients', 'digest_tokens', 'digest_mails'] LOOP
        EXECUTE format(
            'CREATE POLICY tenant ON %I TO mtasts_api
                USING (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::uuid)
                WITH CHECK (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::uuid)', table_name);
    END LOOP;
END
$$;
-- A link is found by whoever knows its hash, before its tenant is known.
CREATE POLICY holder ON digest_tokens FOR SELECT TO mtasts_api
    USING (hash = decode(nullif(current_setting('app.digest_token', true), ''), 'hex'));
GRANT SELECT, INSERT, DELETE, UPDATE (frequency, kinds, state, reason, confirmed_at, ended_at, next_at)
    ON digest_recipients TO mtasts_api;
GRANT SELECT, DELETE ON digest_tokens TO mtasts_api;
GRANT SELECT, INSERT, UPDATE (state, due_at, lease_token, attempts, settled_at, problem) ON digest_mails TO mtasts_api;
