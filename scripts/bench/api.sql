-- What scripts/bench/api measures: one tenant with :domains domains beside a thousand with twenty each. Without foreign
-- keys and triggers while it is filled; ids follow from numbers, so that both load generators know them.
\set ON_ERROR_STOP on
SET session_replication_role = replica;
SET synchronous_commit = off;
SET work_mem = '256MB';
SET maintenance_work_mem = '512MB';

-- In order of numbers, as UUIDv7 is in order of time: the first 48 bits are the number, the others random.
CREATE FUNCTION bench_id(kind text, i bigint) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT (lpad(to_hex(i), 12, '0') || '7' || substr(md5(kind || i), 14, 3) || '8' || substr(md5(kind || i), 18, 15))::uuid $$;
CREATE FUNCTION bench_tenant(i bigint, domains bigint) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT bench_id('tenant', CASE WHEN i <= domains THEN 1 ELSE 2 + i % 1000 END) $$;
-- Two words and a number, under eight endings: `shop` is in one name of forty.
CREATE FUNCTION bench_name(i bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (ARRAY['acme', 'blue', 'nord', 'alpha', 'green', 'city', 'fast', 'smart', 'best', 'prime', 'royal', 'metro', 'solar',
            'terra', 'vita', 'zen', 'north', 'south', 'east', 'west'])[1 + (i * 7919) % 20]
        || (ARRAY['shop', 'bank', 'care', 'tech', 'food', 'media', 'travel', 'energy', 'data', 'labs', 'works', 'group',
            'trade', 'legal', 'design', 'motors', 'books', 'music', 'sports', 'garden', 'pharma', 'dental', 'hotel', 'cafe',
            'bikes', 'toys', 'tools', 'print', 'photo', 'clinic', 'school', 'church', 'club', 'gallery', 'studio', 'farm',
            'wine', 'beer', 'pizza', 'shoes'])[1 + (i * 104729) % 40]
        || '-' || to_hex(i) || '.'
        || (ARRAY['com', 'net', 'org', 'de', 'co.uk', 'fr', 'io', 'example'])[1 + (i * 31) % 8] $$;

-- Of 1000: 850 active, 100 pending, 30 withdrawing, 20 gone; 600 testing, 395 enforce, 5 none.
CREATE UNLOGGED TABLE bench AS
    SELECT i, bench_id('domain', i) AS id, bench_tenant(i, :domains) AS tenant, bench_name(i) AS name,
        translate(substr(md5('label' || i), 1, 25), '0189', 'ghij') || 'a' AS label, bench_id('version', i) AS version,
        CASE WHEN h < 850 THEN 'active' WHEN h < 950 THEN 'pending' WHEN h < 980 THEN 'withdrawing' ELSE 'gone' END AS state,
        CASE WHEN g < 600 THEN 'testing' WHEN g < 995 THEN 'enforce' ELSE 'none' END AS mode,
        timestamptz '2026-01-01' + i * interval '1 second' AS at
    FROM (SELECT i, ('x' || substr(md5('state' || i), 1, 7))::bit(28)::int % 1000 AS h,
            ('x' || substr(md5('mode' || i), 1, 7))::bit(28)::int % 1000 AS g
        FROM generate_series(1, :domains + 20000) i) numbers;

INSERT INTO tenants SELECT bench_id('tenant', i), 'tenant ' || i, NULL, now() FROM generate_series(1, 1001) i;
INSERT INTO labels SELECT label, at FROM bench;
INSERT INTO domains (id, tenant_id, name, label, state, mx_source, preferred_mode, preferred_max_age, report_uris,
        created_at, nudged_at, version_id, mode, confirmed_version_id, confirmed_at, zone, mx)
    SELECT id, tenant, name, label, state, 'listed', mode, 604800, jsonb_build_array('mailto:tls@' || name), at, at,
        version, mode, version, at, 'sts.example.net',
        jsonb_build_object('at', at, 'hosts', jsonb_build_array(
            jsonb_build_object('host', 'mx1.' || name, 'preference', 10, 'failure', NULL),
            jsonb_build_object('host', 'mx2.' || name, 'preference', 20, 'failure', NULL)))
    FROM bench ORDER BY i;
INSERT INTO policy_versions (id, tenant_id, domain_id, seq, policy_id, policy_text, mode, max_age, reason, created_by,
        created_at, served_at, verified_at, published_at)
    SELECT version, tenant, id, 1, to_char(at, 'YYYYMMDDHH24MISS') || substr(md5('p' || i), 1, 6),
        E'version: STSv1\r\nmode: ' || mode || E'\r\nmx: mx1.' || name || E'\r\nmx: mx2.' || name
            || E'\r\nmax_age: 604800\r\n', mode, 604800, 'registered', 'worker', at, at, at, at
    FROM bench ORDER BY i;
INSERT INTO domain_schedule (domain_id, tenant_id, wake_at) SELECT id, tenant, timestamptz '2100-01-01' FROM bench ORDER BY i;
-- MxReady is false for one in a hundred, Delegated for one in ten.
INSERT INTO domain_conditions
    SELECT id, tenant, kind, CASE WHEN i % every = 7 THEN 'False' ELSE 'True' END, 'Reason', 'A sentence for people on what is so.', at
    FROM bench, (VALUES ('Delegated', 10), ('MxReady', 100), ('PolicyLive', 10)) kinds (kind, every) ORDER BY i;
-- `eu` is half of all, `customer:<n>` twenty domains each, `vip` one in a thousand.
INSERT INTO domain_tags (tenant_id, domain_id, tag, name)
    SELECT tenant, id, tag, name FROM bench, unnest(ARRAY[
        CASE WHEN i % 2 = 0 THEN 'eu' ELSE 'us' END, 'customer:' || i / 20, CASE WHEN i % 1000 = 3 THEN 'vip' END]) tag
    WHERE tag IS NOT NULL ORDER BY i;
DROP INDEX domain_names_parts;
INSERT INTO domain_names SELECT id, tenant, name FROM bench ORDER BY i;
INSERT INTO domain_counts
    SELECT tenant_id, count(*), count(*) FILTER (WHERE mode = 'none'), count(*) FILTER (WHERE mode = 'testing'),
        count(*) FILTER (WHERE mode = 'enforce')
    FROM domains WHERE state <> 'gone' GROUP BY tenant_id;
CREATE INDEX domain_names_parts ON domain_names USING gin (tenant_id, name gin_trgm_ops);
DROP TABLE bench;
VACUUM ANALYZE;
