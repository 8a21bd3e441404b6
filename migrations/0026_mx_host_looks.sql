-- What MX hosts answered, by host. A host's name in EHLO, TLS and certificate is its own, whatever domain's mail goes there, so
-- one look does for all domains of all tenants. Nothing here is a tenant's. What a crash takes away is looked at again.
CREATE UNLOGGED TABLE mx_host_looks (
    host text COLLATE "C" PRIMARY KEY CHECK (length(host) <= 255),
    -- When the last look began that came to an end; null: none did yet.
    looked_at timestamptz,
    -- Why it failed; null where it passed.
    code text COLLATE "C" CHECK (length(code) <= 100),
    message text CHECK (length(message) <= 1000),
    -- What the name led to, for whoever looks into the table.
    addresses inet[] NOT NULL DEFAULT '{}' CHECK (cardinality(addresses) <= 16),
    -- The one who is looking, for so long.
    claim_token bigint,
    claimed_at timestamptz,
    claimed_until timestamptz,
    -- Nobody goes by it any more.
    forget_at timestamptz NOT NULL,
    CHECK ((code IS NULL) = (message IS NULL)),
    CHECK ((claim_token IS NULL) = (claimed_at IS NULL) AND (claim_token IS NULL) = (claimed_until IS NULL))
);
CREATE INDEX mx_host_looks_forget ON mx_host_looks (forget_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON mx_host_looks TO mtasts_worker;

-- When a look at a domain's MX hosts last found no room at one of them, and when it comes back.
ALTER TABLE domain_schedule ADD COLUMN mx_put_off_at timestamptz;
ALTER TABLE domain_schedule ADD COLUMN mx_put_off_until timestamptz;
