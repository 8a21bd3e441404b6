-- Credentials that tenants hand over for their own DNS, so that the service sets the delegation's CNAMEs itself.
-- What is secret is sealed before it comes here; `settings` holds nothing secret.

CREATE TABLE dns_credentials (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    provider text COLLATE "C" NOT NULL CHECK (provider IN ('cloudflare', 'rfc2136')),
    -- The one zone that it opens; null for a token that opens several.
    zone text COLLATE "C",
    settings jsonb NOT NULL,
    sealed bytea NOT NULL CHECK (length(sealed) > 0),
    created_at timestamptz NOT NULL,
    last_used_at timestamptz
);
CREATE INDEX dns_credentials_by_tenant ON dns_credentials (tenant_id, id);

ALTER TABLE dns_credentials ENABLE ROW LEVEL SECURITY;
ALTER TABLE dns_credentials FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON dns_credentials TO mtasts_api
    USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);

-- No other role has any right here, and nobody can exchange what was sealed.
GRANT SELECT, INSERT, DELETE, UPDATE (last_used_at) ON dns_credentials TO mtasts_api;
