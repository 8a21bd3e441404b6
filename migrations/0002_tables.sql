-- Tables, indexes, sequences. Who may do what with them is in 0003_security.sql.
-- Texts that are compared or searched by prefix have COLLATE "C": their operators are leakproof and their indexes
-- serve prefixes, so that row-level security does not stand in the way of an index.

CREATE TABLE tenants (
    id uuid PRIMARY KEY,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    parent_id uuid REFERENCES tenants,
    created_at timestamptz NOT NULL
);
CREATE INDEX tenants_parent ON tenants (parent_id) WHERE parent_id IS NOT NULL;

CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    prefix text NOT NULL,
    hash bytea NOT NULL CONSTRAINT api_keys_hash UNIQUE CHECK (length(hash) = 32),
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);
CREATE INDEX api_keys_by_tenant ON api_keys (tenant_id, id);

-- Every label that was ever drawn. Nothing is ever deleted here: a label that was given up must not come again.
CREATE TABLE labels (
    label text COLLATE "C" PRIMARY KEY,
    drawn_at timestamptz NOT NULL
);

CREATE TABLE domains (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants,
    name text COLLATE "C" NOT NULL,
    label text COLLATE "C" NOT NULL UNIQUE REFERENCES labels,
    state text COLLATE "C" NOT NULL CHECK (state IN ('pending', 'active', 'withdrawing', 'gone')),
    mx_source text NOT NULL,
    preferred_mode text NOT NULL,
    preferred_max_age integer NOT NULL,
    report_uris jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    nudged_at timestamptz NOT NULL,
    withdraw_requested_at timestamptz,
    delegation jsonb,
    mx jsonb,
    -- The newest version, and its mode for listing by it.
    version_id uuid,
    mode text COLLATE "C",
    -- The newest proved certificate.
    certificate_id uuid,
    -- What the service's zone says: last handed to the provider, and last read back.
    written_version_id uuid,
    written_at timestamptz,
    confirmed_version_id uuid,
    confirmed_at timestamptz,
    -- The report addresses in the TLSRPT record that was last written, or seen.
    written_report_uris jsonb,
    removed_at timestamptz,
    -- For foreign keys that hold the tenant together with the domain.
    CONSTRAINT domains_with_tenant UNIQUE (id, tenant_id)
);
-- Per tenant: two tenants may register the same name, and neither learns of the other.
CREATE UNIQUE INDEX domains_live_name ON domains (tenant_id, name) WHERE state <> 'gone';
CREATE INDEX domains_live ON domains (tenant_id, id) WHERE state <> 'gone';
CREATE INDEX domains_by_state ON domains (tenant_id, state, id);
CREATE INDEX domains_by_mode ON domains (tenant_id, mode, id) WHERE state <> 'gone';

CREATE TABLE policy_versions (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    domain_id uuid NOT NULL,
    seq integer NOT NULL CHECK (seq > 0),
    -- Once for ever, over all tenants (invariant 2). Drawn by the service, so nobody learns anything from it.
    policy_id text COLLATE "C" NOT NULL CONSTRAINT policy_versions_policy_id UNIQUE,
    -- The body that is served, byte for byte. `mode` and `max_age` are copies for queries.
    policy_text text NOT NULL,
    mode text COLLATE "C" NOT NULL,
    max_age integer NOT NULL,
    reason text NOT NULL,
    forced text,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    -- From here on stamps: the only columns that may be updated.
    served_at timestamptz,
    verified_at timestamptz,
    published_at timestamptz,
    superseded_at timestamptz,
    -- Since when, and until when, the edge feed names it. In the feed: fed and not unfed.
    fed_at timestamptz,
    unfed_at timestamptz,
    CONSTRAINT policy_versions_domain FOREIGN KEY (domain_id, tenant_id) REFERENCES domains (id, tenant_id),
    CONSTRAINT policy_versions_seq UNIQUE (domain_id, seq)
);
ALTER TABLE domains ADD FOREIGN KEY (version_id) REFERENCES policy_versions;

CREATE TABLE acme_orders (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    domain_id uuid NOT NULL,
    issuer text NOT NULL,
    state text NOT NULL
        CHECK (state IN ('drafted', 'placed', 'challenge-published', 'answered', 'ready', 'finalizing')),
    since timestamptz NOT NULL,
    url text,
    sealed_key bytea NOT NULL,
    challenge jsonb,
    challenge_revision bigint,
    not_before timestamptz,
    expires_at timestamptz,
    created_at timestamptz NOT NULL,
    closed_at timestamptz,
    problem text,
    FOREIGN KEY (domain_id, tenant_id) REFERENCES domains (id, tenant_id)
);
-- Invariant 9.
CREATE UNIQUE INDEX acme_orders_live ON acme_orders (domain_id) WHERE closed_at IS NULL;
CREATE INDEX acme_orders_by_domain ON acme_orders (domain_id);
CREATE INDEX acme_orders_closed ON acme_orders (closed_at) WHERE closed_at IS NOT NULL;

CREATE TABLE certificates (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    domain_id uuid NOT NULL,
    order_id uuid NOT NULL REFERENCES acme_orders,
    -- DER certificates one after the other, leaf first.
    chain bytea NOT NULL,
    sealed_key bytea NOT NULL,
    not_before timestamptz NOT NULL,
    not_after timestamptz NOT NULL,
    serial text NOT NULL,
    issuer text NOT NULL,
    renew_at timestamptz NOT NULL,
    advice_due_at timestamptz,
    ari_id text,
    created_at timestamptz NOT NULL,
    -- Whether the edge feed names it.
    in_feed boolean NOT NULL DEFAULT false,
    FOREIGN KEY (domain_id, tenant_id) REFERENCES domains (id, tenant_id)
);
CREATE INDEX certificates_by_domain ON certificates (domain_id);
CREATE INDEX certificates_by_order ON certificates (order_id);
-- Those that may be forgotten one day.
CREATE INDEX certificates_by_end ON certificates (not_after) WHERE NOT in_feed;
ALTER TABLE domains ADD FOREIGN KEY (certificate_id) REFERENCES certificates;
CREATE INDEX domains_by_certificate ON domains (certificate_id) WHERE certificate_id IS NOT NULL;
CREATE INDEX domains_gone_with_certificate ON domains (id) WHERE state = 'gone' AND certificate_id IS NOT NULL;

-- Failed validations of a name, whoever ordered: the CA counts by name. Rows live for an hour.
CREATE TABLE failed_validations (
    name text COLLATE "C" NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX failed_validations_by_name ON failed_validations (name, at);

CREATE TABLE acme_accounts (
    issuer text COLLATE "C" PRIMARY KEY,
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE token_buckets (
    scope text COLLATE "C" PRIMARY KEY,
    tokens double precision NOT NULL,
    updated_at timestamptz NOT NULL
);

-- Apart from `domains`, because it changes at every step: a narrow row, and one index to maintain.
CREATE TABLE domain_schedule (
    domain_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    wake_at timestamptz,
    -- Set by whoever wakes the domain, cleared by a claim: it tells the settling worker that it must look again.
    woken boolean NOT NULL DEFAULT false,
    lease_token bigint,
    lease_until timestamptz,
    worker text,
    -- While it is leased, due when the lease ends; GREATEST passes over nulls, and is null if both are.
    due_at timestamptz GENERATED ALWAYS AS (GREATEST(wake_at, lease_until)) STORED,
    FOREIGN KEY (domain_id, tenant_id) REFERENCES domains (id, tenant_id)
) WITH (fillfactor = 70);
CREATE INDEX domain_schedule_due ON domain_schedule (due_at) WHERE due_at IS NOT NULL;
CREATE SEQUENCE lease_tokens;

CREATE TABLE domain_conditions (
    domain_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    kind text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL CHECK (status IN ('True', 'False', 'Unknown')),
    reason text NOT NULL,
    message text NOT NULL,
    since timestamptz NOT NULL,
    PRIMARY KEY (domain_id, kind),
    FOREIGN KEY (domain_id, tenant_id) REFERENCES domains (id, tenant_id)
);
CREATE INDEX domain_conditions_by_status ON domain_conditions (tenant_id, kind, status, domain_id);

-- Failures by kind of step since its last success.
CREATE TABLE step_failures (
    domain_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    kind text COLLATE "C" NOT NULL,
    failures integer NOT NULL,
    last_at timestamptz NOT NULL,
    reason text NOT NULL,
    message text NOT NULL,
    retry_after timestamptz,
    PRIMARY KEY (domain_id, kind),
    FOREIGN KEY (domain_id, tenant_id) REFERENCES domains (id, tenant_id)
);

-- What the edges follow: the latest state of each key. One row per policy host, so that a name has one owner.
CREATE TABLE edge_entries (
    name text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('host', 'challenge')),
    revision bigint NOT NULL CONSTRAINT edge_entries_revision UNIQUE,
    changed_at timestamptz NOT NULL,
    -- The owner; none: a tombstone.
    domain_id uuid,
    tenant_id uuid,
    -- A host's content: both or none.
    version_id uuid REFERENCES policy_versions,
    certificate_id uuid REFERENCES certificates,
    -- A challenge's content.
    challenge jsonb,
    order_id uuid,
    PRIMARY KEY (name, kind),
    CHECK ((version_id IS NULL) = (certificate_id IS NULL)),
    CHECK ((domain_id IS NULL) = (tenant_id IS NULL)),
    FOREIGN KEY (domain_id, tenant_id) REFERENCES domains (id, tenant_id)
);
CREATE INDEX edge_entries_by_certificate ON edge_entries (certificate_id) WHERE certificate_id IS NOT NULL;
CREATE INDEX edge_entries_tombstones ON edge_entries (changed_at) WHERE version_id IS NULL AND challenge IS NULL;

-- What our own nameservers follow.
CREATE TABLE zone_records (
    name text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    revision bigint NOT NULL CONSTRAINT zone_records_revision UNIQUE,
    changed_at timestamptz NOT NULL,
    -- Both null: a tombstone.
    ttl bigint,
    record_values jsonb,
    PRIMARY KEY (name, type),
    CHECK ((ttl IS NULL) = (record_values IS NULL))
);
CREATE INDEX zone_records_tombstones ON zone_records (changed_at) WHERE ttl IS NULL;

-- Tombstones at or below the floor may be gone.
CREATE TABLE feed_floors (
    feed text COLLATE "C" PRIMARY KEY,
    floor bigint NOT NULL
);
INSERT INTO feed_floors VALUES ('edge', 0), ('zone', 0);

CREATE SEQUENCE edge_revisions;
CREATE SEQUENCE zone_revisions;

-- Revisions are drawn under a lock that is held until the transaction ends: commit order is revision order, and a
-- reader that has seen revision n can never be overtaken by a smaller one that commits later. Draw first, write the
-- row afterwards: then nobody who waits for the lock holds a row of the feed, and there is no deadlock over these.
CREATE FUNCTION next_edge_revision() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1836344435, 1);
    RETURN nextval('edge_revisions');
END
$$;
CREATE FUNCTION next_zone_revision() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1836344435, 2);
    RETURN nextval('zone_revisions');
END
$$;

CREATE TABLE nodes (
    id uuid PRIMARY KEY,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('edge', 'nameserver')),
    name text NOT NULL,
    position bigint NOT NULL,
    lease_until timestamptz NOT NULL,
    -- All that it served before this moment is in the ledger.
    covered_until timestamptz NOT NULL,
    started_at timestamptz NOT NULL
);

-- Spans of which an edge never told what it served: it was killed, or taken out of service, with lines in memory. What
-- was in the feed in such a span is taken for served until its end (invariant 5).
CREATE TABLE ledger_gaps (
    -- Without a foreign key: the gap outlives the node.
    node_id uuid NOT NULL,
    from_at timestamptz NOT NULL,
    until_at timestamptz NOT NULL,
    PRIMARY KEY (node_id, from_at)
);

CREATE TABLE served_ledger (
    -- Without a foreign key: a line about a version that a restored backup does not know must not stop the others.
    version_id uuid PRIMARY KEY,
    domain_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    last_served_at timestamptz NOT NULL,
    requests bigint NOT NULL
);
CREATE INDEX served_ledger_by_domain ON served_ledger (domain_id);

CREATE TABLE audit_events (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    source text,
    request_id text,
    action text NOT NULL,
    object text NOT NULL,
    before jsonb,
    after jsonb
);
CREATE INDEX audit_events_by_tenant ON audit_events (tenant_id, id);

CREATE TABLE idempotency_keys (
    tenant_id uuid NOT NULL,
    key text COLLATE "C" NOT NULL,
    request_hash bytea NOT NULL,
    status integer NOT NULL,
    body bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
