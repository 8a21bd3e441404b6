-- Tenants in a tree: a provider makes tenants beneath itself and acts for them, never beyond its subtree.

-- From the root down to the parent; empty for a root. Whether a tenant is beneath another is one look at its row.
ALTER TABLE tenants ADD COLUMN ancestors uuid[] NOT NULL DEFAULT '{}';

ALTER TABLE tenants NO FORCE ROW LEVEL SECURITY;
WITH RECURSIVE tree AS (
    SELECT id, ARRAY[]::uuid[] AS ancestors FROM tenants WHERE parent_id IS NULL
    UNION ALL
    SELECT child.id, tree.ancestors || tree.id FROM tree JOIN tenants child ON child.parent_id = tree.id
)
UPDATE tenants t SET ancestors = tree.ancestors FROM tree WHERE tree.id = t.id AND t.parent_id IS NOT NULL;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;

-- A root and four levels beneath it.
ALTER TABLE tenants ADD CONSTRAINT tenants_depth CHECK (cardinality(ancestors) <= 4);

-- Whatever an insertion says, the ancestors follow from the parent, which must be in the inserter's sight. Nobody may
-- update them afterwards, nor the parent: the API's role may update the name alone, and the others nothing.
CREATE FUNCTION tenant_ancestors() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.ancestors := '{}';
    IF NEW.parent_id IS NOT NULL THEN
        SELECT ancestors || id INTO NEW.ancestors FROM tenants WHERE id = NEW.parent_id;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is no such parent' USING ERRCODE = 'foreign_key_violation';
        END IF;
    END IF;
    RETURN NEW;
END
$$;
DO $$
BEGIN
    -- A temporary table of whoever inserts must not stand in for the tenants.
    EXECUTE format('ALTER FUNCTION tenant_ancestors() SET search_path = pg_catalog, %I, pg_temp', current_schema());
END
$$;
CREATE TRIGGER tenant_ancestors BEFORE INSERT ON tenants FOR EACH ROW EXECUTE FUNCTION tenant_ancestors();

-- The customers of a parent, in the order of their ids.
CREATE INDEX tenants_by_parent ON tenants (parent_id, id) WHERE parent_id IS NOT NULL;
DROP INDEX tenants_parent;

-- A tenant's transaction still sees its own row alone. Only one that sets `app.provider` sees what is beneath that
-- tenant, and makes and renames it. The comparison is on a value that stands in the row itself, so that no policy asks
-- another table.
CREATE POLICY provider_reads ON tenants FOR SELECT TO mtasts_api
    USING (nullif(current_setting('app.provider', true), '')::uuid = ANY (ancestors));
CREATE POLICY provider_makes ON tenants FOR INSERT TO mtasts_api
    WITH CHECK (nullif(current_setting('app.provider', true), '')::uuid = ANY (ancestors));
CREATE POLICY provider_renames ON tenants FOR UPDATE TO mtasts_api
    USING (nullif(current_setting('app.provider', true), '')::uuid = ANY (ancestors));
GRANT UPDATE (name) ON tenants TO mtasts_api;

-- Making a customer leaves a line in two logs: `app.customer` names the second, in the transaction that makes it.
CREATE POLICY customer ON audit_events FOR INSERT TO mtasts_api
    WITH CHECK (tenant_id = nullif(current_setting('app.customer', true), '')::uuid);
CREATE POLICY customer ON audit_heads TO mtasts_api
    USING (tenant_id = nullif(current_setting('app.customer', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.customer', true), '')::uuid);
CREATE POLICY customer ON audit_chain FOR INSERT TO mtasts_api
    WITH CHECK (tenant_id = nullif(current_setting('app.customer', true), '')::uuid);
