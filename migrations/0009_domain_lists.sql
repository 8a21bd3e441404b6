-- Tags, and the indexes that lists of domains are filtered and ordered by.

-- Both are trusted: the owner of a database may create them. In use by `domain_names` alone.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS btree_gin;

CREATE TABLE domain_tags (
    tenant_id uuid NOT NULL,
    domain_id uuid NOT NULL,
    tag text COLLATE "C" NOT NULL CHECK (tag ~ '^[a-z0-9][a-z0-9:._-]{0,62}$'),
    -- The domain's, which never changes: so one index gives a tag's domains in order of their names.
    name text COLLATE "C" NOT NULL,
    PRIMARY KEY (domain_id, tag),
    FOREIGN KEY (domain_id, tenant_id) REFERENCES domains (id, tenant_id)
);
CREATE INDEX domain_tags_by_id ON domain_tags (tenant_id, tag, domain_id);
CREATE INDEX domain_tags_by_name ON domain_tags (tenant_id, tag, name, domain_id);

CREATE INDEX domains_by_state_and_name ON domains (tenant_id, state, name, id);
CREATE INDEX domains_by_mode_and_name ON domains (tenant_id, mode, name, id) WHERE state <> 'gone';

-- Names once more, to be searched for what stands anywhere in them. The operators that a trigram index serves are not
-- leakproof, so that no such index is ever used beneath row-level security. Here it is: no role has a right to read this
-- table, and its one reader is the function below.
CREATE TABLE domain_names (
    domain_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    name text COLLATE "C" NOT NULL,
    FOREIGN KEY (domain_id, tenant_id) REFERENCES domains (id, tenant_id)
);

ALTER TABLE domains NO FORCE ROW LEVEL SECURITY;
INSERT INTO domain_names SELECT id, tenant_id, name FROM domains;
ALTER TABLE domains FORCE ROW LEVEL SECURITY;
CREATE INDEX domain_names_parts ON domain_names USING gin (tenant_id, name gin_trgm_ops);

CREATE FUNCTION domain_names_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO domain_names VALUES (NEW.id, NEW.tenant_id, NEW.name);
    RETURN NULL;
END
$$;
CREATE TRIGGER domain_names_follow AFTER INSERT ON domains FOR EACH ROW EXECUTE FUNCTION domain_names_follow();

-- The one function that runs as its owner. It takes the tenant from where row-level security takes it, and from nowhere
-- else. The statement is planned for the text that it searches: with a parameter in its place, nothing would be known of
-- how common it is.
CREATE FUNCTION domains_with_name_part(part text, most integer) RETURNS SETOF uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT domain_id FROM domain_names WHERE tenant_id = %L::uuid AND name LIKE %L LIMIT %s',
        nullif(current_setting('app.tenant', true), ''),
        '%' || regexp_replace(part, '([\\%_])', '\\\1', 'g') || '%', most);
END
$$;

DO $$
DECLARE
    function_name text;
    table_name text;
BEGIN
    FOREACH function_name IN ARRAY ARRAY['domain_names_follow()', 'domains_with_name_part(text, integer)'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', function_name, current_schema());
    END LOOP;
    FOREACH table_name IN ARRAY ARRAY['domain_tags', 'domain_names'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
    END LOOP;
END
$$;
CREATE POLICY tenant ON domain_tags TO mtasts_api
    USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);
CREATE POLICY tenant ON domain_names FOR INSERT TO mtasts_api
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);
-- For the function: without a condition, so that nothing stands between it and the index.
CREATE POLICY owner ON domain_names FOR SELECT TO CURRENT_USER USING (true);

GRANT SELECT, INSERT, DELETE ON domain_tags TO mtasts_api;
GRANT INSERT ON domain_names TO mtasts_api;
REVOKE ALL ON FUNCTION domains_with_name_part(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION domains_with_name_part(text, integer) TO mtasts_api;
