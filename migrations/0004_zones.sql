-- Several zones of the service, each hosted at one DNS provider or more.
--
-- `zone_records` says what is wanted. Our own nameservers follow it by revision; for a zone that is hosted elsewhere a
-- worker follows it in their place and hands every change to the provider.

-- Processes of the version before know one zone only, and go on writing to it during an upgrade: hence the defaults,
-- which `mtasts migrate` takes from `service.zone`.
DO $$
DECLARE
    service_zone text := COALESCE(nullif(current_setting('mtasts.service_zone', true), ''), 'sts.test');
BEGIN
    EXECUTE format('ALTER TABLE domains ADD COLUMN zone text COLLATE "C" NOT NULL DEFAULT %L', service_zone);
    EXECUTE format('ALTER TABLE zone_records ADD COLUMN zone text COLLATE "C" NOT NULL DEFAULT %L', service_zone);
END
$$;

ALTER TABLE domains
    -- Where it moves to: its records are written there as well, and once they are read back it is `zone`.
    ADD COLUMN next_zone text COLLATE "C",
    -- Where it came from: its records stay until no CNAME has led there for long.
    ADD COLUMN former_zone text COLLATE "C",
    -- The zones to which its records were last written.
    ADD COLUMN written_zones jsonb;
CREATE INDEX domains_by_zone ON domains (zone, id) WHERE state <> 'gone';
CREATE INDEX domains_by_former_zone ON domains (former_zone, id) WHERE former_zone IS NOT NULL AND state <> 'gone';

-- Whose record set it is. Rows of before have none until they are written again.
ALTER TABLE zone_records ADD COLUMN domain_id uuid REFERENCES domains;
CREATE INDEX zone_records_by_domain ON zone_records (domain_id) WHERE domain_id IS NOT NULL;
CREATE INDEX zone_records_by_zone ON zone_records (zone, revision);
CREATE INDEX zone_records_in_order ON zone_records (zone, name, type) WHERE ttl IS NOT NULL;

-- One place where a zone is hosted. Its id is the operator's name for it.
CREATE TABLE zone_hostings (
    id text COLLATE "C" PRIMARY KEY,
    zone text COLLATE "C" NOT NULL,
    -- Every wanted change of the zone up to here was handed to the provider, or failed and is noted in `zone_writes`.
    position bigint NOT NULL DEFAULT 0,
    -- The worker that writes to it: one at a time, fenced by the token.
    writer text NOT NULL,
    lease_token bigint NOT NULL,
    lease_until timestamptz NOT NULL,
    -- Why the provider takes nothing at all.
    reason text,
    message text,
    since timestamptz,
    -- The last sweep that came to its end, and what it found.
    swept_at timestamptz,
    sweep jsonb
);

-- What is known of each record set at a provider.
CREATE TABLE zone_writes (
    hosting text COLLATE "C" NOT NULL REFERENCES zone_hostings ON DELETE CASCADE,
    name text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    -- False: it was handed over, and may or may not have arrived.
    arrived boolean NOT NULL,
    -- What the provider calls it.
    reference text,
    -- Why the provider does not take it, how often it was tried since it last did, and when it is tried again.
    reason text,
    message text,
    tries integer NOT NULL DEFAULT 0,
    retry_at timestamptz,
    PRIMARY KEY (hosting, name, type)
) WITH (fillfactor = 80);
CREATE INDEX zone_writes_due ON zone_writes (hosting, retry_at) WHERE retry_at IS NOT NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON zone_hostings, zone_writes TO mtasts_worker;
GRANT UPDATE (zone, next_zone, former_zone, written_zones) ON domains TO mtasts_worker;
