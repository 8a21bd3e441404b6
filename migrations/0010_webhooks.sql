-- Events, and webhooks by which tenants are told of them.
--
-- An event and its deliveries are written in the transaction of what they tell of: nothing is told that did not happen,
-- and nothing that happened is forgotten. Workers deliver; see `store::webhook` and docs/webhooks.md.

CREATE TABLE events (
    -- A UUIDv7: the order of ids is that of time, and what is old is found by it.
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants,
    type text COLLATE "C" NOT NULL,
    -- What it is about; null: no domain.
    domain_id uuid,
    at timestamptz NOT NULL,
    data jsonb NOT NULL,
    FOREIGN KEY (domain_id, tenant_id) REFERENCES domains (id, tenant_id),
    UNIQUE (id, tenant_id)
);
CREATE INDEX events_by_tenant ON events (tenant_id, id);
CREATE INDEX events_by_type ON events (tenant_id, type, id);
CREATE INDEX events_by_domain ON events (tenant_id, domain_id, id);

CREATE TABLE webhooks (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants,
    url text NOT NULL CHECK (length(url) BETWEEN 1 AND 2048),
    description text NOT NULL CHECK (length(description) <= 200),
    -- Null: all, those of later versions as well.
    event_types text[] COLLATE "C",
    enabled boolean NOT NULL,
    -- Why and when the service itself switched it off.
    disabled_reason text,
    disabled_at timestamptz,
    -- The secret that deliveries are signed with, sealed; and the one before, which signs along for a while.
    sealed bytea CHECK (length(sealed) > 0),
    former_sealed bytea,
    former_until timestamptz,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    -- Shown to nobody since then; the row goes once its deliveries are gone.
    deleted_at timestamptz,
    UNIQUE (id, tenant_id),
    CHECK ((former_sealed IS NULL) = (former_until IS NULL)),
    CHECK ((deleted_at IS NULL) = (sealed IS NOT NULL)),
    CHECK ((disabled_reason IS NULL) = (disabled_at IS NULL))
);
CREATE INDEX webhooks_by_tenant ON webhooks (tenant_id, id) WHERE deleted_at IS NULL;
CREATE INDEX webhooks_by_former ON webhooks (former_until) WHERE former_until IS NOT NULL;
CREATE INDEX webhooks_deleted ON webhooks (id) WHERE deleted_at IS NOT NULL;

CREATE TABLE webhook_deliveries (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    webhook_id uuid NOT NULL,
    event_id uuid NOT NULL,
    state text COLLATE "C" NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    -- When it is tried next; while a worker has it: when another may take it.
    due_at timestamptz,
    -- The fencing token of whoever has it.
    lease_token bigint,
    -- Since it was made, or asked for again.
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    first_attempt_at timestamptz,
    last_attempt_at timestamptz,
    settled_at timestamptz,
    -- Of the last attempt.
    response_status integer,
    response_excerpt text,
    problem text,
    created_at timestamptz NOT NULL,
    FOREIGN KEY (event_id, tenant_id) REFERENCES events (id, tenant_id) ON DELETE CASCADE,
    FOREIGN KEY (webhook_id, tenant_id) REFERENCES webhooks (id, tenant_id),
    CHECK ((state = 'pending') = (due_at IS NOT NULL))
) WITH (fillfactor = 80);
CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (webhook_id, due_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_delivered ON webhook_deliveries (webhook_id, settled_at) WHERE state = 'delivered';
CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_by_state ON webhook_deliveries (webhook_id, state, id);
CREATE INDEX webhook_deliveries_by_event ON webhook_deliveries (event_id);

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['events', 'webhooks', 'webhook_deliveries'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY tenant ON %I TO mtasts_api
                USING (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::uuid)
                WITH CHECK (tenant_id = nullif(current_setting(''app.tenant'', true), '''')::uuid)', table_name);
        EXECUTE format(
            'CREATE POLICY worker ON %I TO mtasts_worker
                USING ((SELECT current_user = ''mtasts_worker''))
                WITH CHECK ((SELECT current_user = ''mtasts_worker''))', table_name);
    END LOOP;
END
$$;

GRANT SELECT, INSERT ON events TO mtasts_api;
GRANT SELECT, INSERT, UPDATE (url, description, event_types, enabled, disabled_reason, disabled_at, sealed, former_sealed,
    former_until, changed_at, deleted_at) ON webhooks TO mtasts_api;
GRANT SELECT, INSERT, UPDATE (state, due_at, lease_token, attempts, first_attempt_at, settled_at) ON webhook_deliveries
    TO mtasts_api;

GRANT SELECT, INSERT, DELETE ON events TO mtasts_worker;
GRANT SELECT, DELETE, UPDATE (enabled, disabled_reason, disabled_at, former_sealed, former_until) ON webhooks
    TO mtasts_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_deliveries TO mtasts_worker;
