-- The sums of `report_days` by month: a view of a year would read up to a hundred thousand rows of days.
CREATE TABLE report_months (
    tenant_id uuid NOT NULL,
    -- The nil UUID: over all of the tenant's domains.
    domain_id uuid NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('tls-rpt', 'dmarc')),
    dimension text COLLATE "C" NOT NULL,
    -- Its first day.
    month date NOT NULL CHECK (extract(day FROM month) = 1),
    value text COLLATE "C" NOT NULL CHECK (length(value) <= 300),
    grade text COLLATE "C" NOT NULL,
    reports bigint NOT NULL,
    good bigint NOT NULL,
    bad bigint NOT NULL,
    -- On which days of it the value was reported first and last. They stay when a report is taken back.
    first_day date NOT NULL,
    last_day date NOT NULL,
    PRIMARY KEY (tenant_id, domain_id, kind, dimension, month, value, grade)
) WITH (fillfactor = 80);
CREATE INDEX report_months_by_month ON report_months (month, tenant_id);

INSERT INTO report_months
    SELECT tenant_id, domain_id, kind, dimension, date_trunc('month', day)::date, value, grade,
        least(sum(reports), 9223372036854775807)::bigint, least(sum(good), 9223372036854775807)::bigint,
        least(sum(bad), 9223372036854775807)::bigint, min(day), max(day)
    FROM report_days GROUP BY tenant_id, domain_id, kind, dimension, date_trunc('month', day), value, grade;

ALTER TABLE report_months ENABLE ROW LEVEL SECURITY;
ALTER TABLE report_months FORCE ROW LEVEL SECURITY;
CREATE POLICY worker ON report_months TO mtasts_worker
    USING ((SELECT current_user = 'mtasts_worker')) WITH CHECK ((SELECT current_user = 'mtasts_worker'));
GRANT SELECT, INSERT, UPDATE, DELETE ON report_months TO mtasts_worker;
CREATE POLICY tenant ON report_months FOR SELECT TO mtasts_api
    USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT ON report_months TO mtasts_api;
CREATE POLICY operator_tool ON report_months TO mtasts_operator
    USING ((SELECT current_user = 'mtasts_operator')) WITH CHECK ((SELECT current_user = 'mtasts_operator'));
GRANT SELECT, DELETE ON report_months TO mtasts_operator;
