-- What scripts/bench/reports measures: one tenant with :domains domains, of which the first has a tenth of all that is
-- reported; :rows rows of results, half of each kind, of 60 days, 20 a report; and the sums that go with them: over all
-- domains and of the first one 400 days with as many values as a day may have, of each other domain 30 days with a few.
\set ON_ERROR_STOP on
SET session_replication_role = replica;
SET synchronous_commit = off;
SET maintenance_work_mem = '512MB';

CREATE FUNCTION bench_id(kind text, i bigint) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT (lpad(to_hex(i), 12, '0') || '7' || substr(md5(kind || i), 14, 3) || '8' || substr(md5(kind || i), 18, 15))::uuid $$;
SELECT (extract(epoch FROM date_trunc('day', now()) - interval '60 days') * 1000)::bigint AS start \gset
SELECT make_report_partitions(now() - interval '62 days', now() + interval '1 month');

INSERT INTO tenants SELECT bench_id('tenant', i), 'tenant ' || i, NULL, now() FROM generate_series(1, 2) i;
INSERT INTO labels SELECT translate(substr(md5('label' || i), 1, 25), '0189', 'ghij') || 'a', now()
    FROM generate_series(1, :domains) i;
INSERT INTO domains (id, tenant_id, name, label, state, mx_source, preferred_mode, preferred_max_age, report_uris,
        created_at, nudged_at, zone)
    SELECT bench_id('domain', i), bench_id('tenant', 1), 'd' || i || '.example',
        translate(substr(md5('label' || i), 1, 25), '0189', 'ghij') || 'a', 'active', 'listed', 'testing', 604800, '[]',
        now(), now(), 'sts.example.net'
    FROM generate_series(1, :domains) i;

-- In order of time, as they are read.
CREATE UNLOGGED TABLE bench AS
    SELECT j, at, (lpad(to_hex((:start + at)::bigint), 12, '0') || '7' || substr(md5('report' || j), 14, 3) || '8'
            || substr(md5('report' || j), 18, 15))::uuid AS id,
        bench_id('domain', CASE WHEN j % 10 < 1 THEN 1 ELSE 2 + (j * 7919) % (:domains - 1) END) AS domain,
        (to_timestamp((:start + at) / 1000) AT TIME ZONE 'UTC')::date AS day,
        CASE WHEN j / 2 % 20 = 0 THEN 'Rare ' || j % 100 ELSE 'Organization ' || j % 40 END AS organization,
        (ARRAY['verified', 'verified', 'unsigned', 'anonymous'])[1 + j % 4] AS grade,
        CASE WHEN j % 2 = 0 THEN 'tls-rpt' ELSE 'dmarc' END AS kind
    FROM (SELECT j, j * (60 * 86400000::bigint / (:rows / 20)) AS at FROM generate_series(0::bigint, :rows / 20 - 1) j) n;
CREATE UNIQUE INDEX ON bench (j);

DROP INDEX tls_results_by_domain, tls_results_by_tenant, dmarc_results_by_domain, dmarc_results_by_tenant, reports_by_domain,
    reports_by_tenant, reports_by_arrival, reports_by_domain_day, reports_by_tenant_day;
INSERT INTO reports (id, tenant_id, domain_id, arrival_id, document, kind, via, received_at, grade, grade_reason,
        organization, report_id, begins_at, ends_at, day, good, bad, counts, complete, shared, deviations, body)
    SELECT id, bench_id('tenant', 1), domain, id, 0, kind, 'smtp', now(), grade, 'dkim-pass', organization, 'report ' || j,
        day, day, day, 100, j % 3, true, true, false, 0,
        jsonb_build_object('organization', organization, 'policies', jsonb_build_array(repeat('x', 300)))
    FROM bench ORDER BY j;
INSERT INTO tls_results (report_id, seq, tenant_id, domain_id, day, organization, grade, counts, result, sessions,
        receiving_mx, sending_ip, reason, policy_type)
    SELECT b.id, s, bench_id('tenant', 1), b.domain, b.day, b.organization, b.grade, true,
        (ARRAY['certificate-expired', 'starttls-not-supported', 'validation-failure', 'certificate-host-mismatch'])[1 + s % 4],
        1 + s, 'mx' || s % 3 || '.example.net', '198.51.100.0'::inet + (b.j * 20 + s) % 200, 'a reason', 'sts'
    FROM bench b, generate_series(0, 19) s WHERE b.j % 2 = 0 ORDER BY b.j, s;
INSERT INTO dmarc_results (report_id, seq, tenant_id, domain_id, day, organization, grade, source_ip, messages, disposition,
        dkim, spf, passed, header_from, envelope_from, details)
    SELECT b.id, s, bench_id('tenant', 1), b.domain, b.day, b.organization, b.grade,
        '198.51.100.0'::inet + (b.j * 20 + s) % 200, 1 + s, (ARRAY['none', 'quarantine', 'reject'])[1 + s % 3], 'pass', 'fail',
        s % 5 > 0, 'example.net', 'bounce.example.net', '{"dkim": [], "spf": []}'
    FROM bench b, generate_series(0, 19) s WHERE b.j % 2 = 1 ORDER BY b.j, s;
CREATE INDEX reports_by_domain ON reports (domain_id, id);
CREATE INDEX reports_by_tenant ON reports (tenant_id, id);
CREATE INDEX reports_by_arrival ON reports (arrival_id);
CREATE INDEX reports_by_domain_day ON reports (domain_id, day, id);
CREATE INDEX reports_by_tenant_day ON reports (tenant_id, day, id);
CREATE INDEX tls_results_by_domain ON tls_results (domain_id, day, report_id, seq);
CREATE INDEX tls_results_by_tenant ON tls_results (tenant_id, day, report_id, seq);
CREATE INDEX dmarc_results_by_domain ON dmarc_results (domain_id, day, report_id, seq);
CREATE INDEX dmarc_results_by_tenant ON dmarc_results (tenant_id, day, report_id, seq);
DROP TABLE bench;

-- As workers write them: day by day, all domains of a day together. With few values the second grade is `anonymous`.
INSERT INTO report_days
    SELECT bench_id('tenant', 1), domain, kind, dimension, current_date - ago,
        CASE dimension WHEN 'total' THEN '' ELSE dimension || ' with a value of usual length ' || v END, grade, 3, 100 + v, v
    FROM generate_series(0, 399) ago,
        (VALUES ('tls-rpt', 'total'), ('tls-rpt', 'organization'), ('tls-rpt', 'result'), ('tls-rpt', 'mx'),
            ('tls-rpt', 'sending_ip'), ('tls-rpt', 'failure'), ('tls-rpt', 'policy'), ('dmarc', 'total'),
            ('dmarc', 'organization'), ('dmarc', 'source_ip'), ('dmarc', 'alignment')) d (kind, dimension),
        LATERAL (
            SELECT '00000000-0000-0000-0000-000000000000'::uuid AS domain, v, grade
                FROM generate_series(1, CASE dimension WHEN 'total' THEN 1 WHEN 'result' THEN 12 WHEN 'alignment' THEN 4
                    ELSE 200 END) v, LATERAL (VALUES ('verified'), (CASE WHEN v % 5 = 0 THEN 'anonymous' END)) g (grade)
            UNION ALL
            SELECT bench_id('domain', 1), v, 'verified'
                FROM generate_series(1, CASE dimension WHEN 'total' THEN 1 WHEN 'result' THEN 12 WHEN 'alignment' THEN 4
                    ELSE 60 END) v
            UNION ALL
            SELECT bench_id('domain', i), v, 'verified' FROM generate_series(2, :domains) i, generate_series(1, 2) v
                WHERE ago < 30 AND dimension NOT IN ('mx', 'policy', 'alignment') AND (dimension <> 'total' OR v = 1)
        ) values_of_day
    WHERE grade IS NOT NULL;
INSERT INTO report_months SELECT tenant_id, domain_id, kind, dimension, date_trunc('month', day)::date, value, grade, sum(reports),
    sum(good), sum(bad), min(day), max(day) FROM report_days GROUP BY 1, 2, 3, 4, 5, 6, 7;
INSERT INTO failure_kinds
    SELECT bench_id('tenant', 1), bench_id('domain', i), 'failure with a value of usual length ' || v, '', current_date - 40,
        current_date, now() - interval '40 days', now(), 100, true
    FROM generate_series(1, :domains) i, generate_series(1, CASE WHEN i = 1 THEN 200 ELSE 5 END) v;
INSERT INTO report_arrivals (id, tenant_id, domain_id, kind, via, received_at, peer, octets, digest, state, reason, reports,
        repeated)
    SELECT id, tenant_id, domain_id, kind, via, received_at, '192.0.2.1', 2000, sha256(''),
        CASE WHEN document_number % 100 = 0 THEN 'quarantined' ELSE 'read' END,
        CASE WHEN document_number % 100 = 0 THEN 'not-json' END, 1, 0
    FROM (SELECT *, row_number() OVER () AS document_number FROM reports) r WHERE document_number % 3 = 0 OR document_number % 100 = 0;
RESET session_replication_role;
VACUUM ANALYZE;
