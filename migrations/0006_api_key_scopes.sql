-- What an API key may do, and which key took its place.

-- Keys of before, and keys that a replica of the version before makes during the upgrade, have all scopes.
ALTER TABLE api_keys
    ADD COLUMN scopes text[] COLLATE "C" NOT NULL DEFAULT ARRAY[
        'domains:read', 'domains:write', 'policy:write', 'reports:read', 'keys:write', 'webhooks:write', 'audit:read'],
    ADD COLUMN successor_id uuid,
    ADD CONSTRAINT api_keys_scopes CHECK (cardinality(scopes) > 0),
    ADD CONSTRAINT api_keys_id_tenant UNIQUE (id, tenant_id),
    -- With the tenant, so that no key of another one can be named.
    ADD CONSTRAINT api_keys_successor FOREIGN KEY (successor_id, tenant_id) REFERENCES api_keys (id, tenant_id);

-- Rotation lets a key end earlier. Its scopes never change.
GRANT UPDATE (expires_at, successor_id) ON api_keys TO mtasts_api;
