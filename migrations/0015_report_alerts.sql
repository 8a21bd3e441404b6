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
