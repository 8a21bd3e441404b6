-- Which key of the ring each secret is sealed under, so that keys can be rotated (ADR 16).
--
-- Each column of sealed messages gets one beside it that names the message's key: indexed, so that what is left under an
-- old key is found without a look at the rest, and with a foreign key, so that a key's entry in `sealing_keys` cannot go
-- while anything is sealed under it. What is in no known format (nothing that the service writes) has no name there.

-- A role of its own for the exchange: who may read domains and policies need not be able to exchange secrets, and who
-- exchanges them sees nothing but ids. Made as the others are, see 0001.
DO $$
DECLARE
    tries integer;
BEGIN
    FOR tries IN 1..50 LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'mtasts_keeper') THEN
                CREATE ROLE mtasts_keeper NOLOGIN NOINHERIT;
            END IF;
            IF NOT EXISTS (
                SELECT FROM pg_auth_members
                WHERE roleid = 'mtasts_keeper'::regrole AND member = current_user::regrole
            ) AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
                GRANT mtasts_keeper TO CURRENT_USER;
            END IF;
            EXIT;
        EXCEPTION
            WHEN duplicate_object OR unique_violation OR internal_error OR undefined_object THEN
                IF tries = 50 THEN RAISE; END IF;
                PERFORM pg_sleep(0.02);
        END;
    END LOOP;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO mtasts_keeper', current_schema());
END
$$;

-- Keys under which something is sealed, or was until lately. A process without one of them does not start.
CREATE TABLE sealing_keys (
    id text COLLATE "C" PRIMARY KEY,
    first_used_at timestamptz NOT NULL,
    -- Replicas of edges may hold secrets under it until they have come so far in the edge feed.
    edges_until bigint NOT NULL DEFAULT 0
);

-- As `mtasts_certs::seal` writes it: format 1, the length of the key's id, the id.
CREATE FUNCTION sealed_key_id(sealed bytea) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN length(sealed) > 2 AND get_byte(sealed, 0) = 1 THEN
        substring(encode(substring(sealed FROM 3 FOR get_byte(sealed, 1)), 'escape') FROM '^[a-z0-9-]{1,32}$')
    END
$$;

-- As the owner, so that no role needs a right to the table. The lock holds off `DELETE` until the secret is there: after
-- that the foreign key does.
CREATE FUNCTION note_sealing_key(key_id text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF key_id IS NOT NULL THEN
        PERFORM FROM sealing_keys WHERE id = key_id FOR KEY SHARE;
        IF NOT FOUND THEN
            INSERT INTO sealing_keys (id, first_used_at) VALUES (key_id, now()) ON CONFLICT DO NOTHING;
        END IF;
    END IF;
END
$$;
REVOKE EXECUTE ON FUNCTION note_sealing_key(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION note_sealing_key(text) TO mtasts_api, mtasts_worker, mtasts_keeper;

CREATE FUNCTION note_key_of_sealed_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM note_sealing_key(sealed_key_id(NEW.sealed_key));
    RETURN NEW;
END
$$;
CREATE FUNCTION note_key_of_sealed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM note_sealing_key(sealed_key_id(NEW.sealed));
    RETURN NEW;
END
$$;
CREATE FUNCTION note_key_of_former_sealed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM note_sealing_key(sealed_key_id(NEW.former_sealed));
    RETURN NEW;
END
$$;

DO $$
DECLARE
    secret record;
    function_name text;
BEGIN
    FOREACH function_name IN ARRAY ARRAY[
        'sealed_key_id(bytea)', 'note_sealing_key(text)', 'note_key_of_sealed_key()', 'note_key_of_sealed()',
        'note_key_of_former_sealed()'
    ] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', function_name, current_schema());
    END LOOP;
    FOR secret IN
        SELECT * FROM (VALUES
            ('certificates', 'sealed_key', 'sealed_under', 'id'),
            ('acme_orders', 'sealed_key', 'sealed_under', 'id'),
            ('acme_accounts', 'sealed', 'sealed_under', 'issuer'),
            ('webhooks', 'sealed', 'sealed_under', 'id'),
            ('webhooks', 'former_sealed', 'former_sealed_under', 'id'),
            ('dns_credentials', 'sealed', 'sealed_under', 'id')
        ) AS t (table_name, sealed, under, key)
    LOOP
        -- Filled by the database itself: row-level security that is forced does not hide what is there from that.
        EXECUTE format('ALTER TABLE %I ADD COLUMN %I text COLLATE "C" GENERATED ALWAYS AS (sealed_key_id(%I)) STORED',
            secret.table_name, secret.under, secret.sealed);
        EXECUTE format('CREATE INDEX %I ON %I (%I, %I)', secret.table_name || '_by_' || secret.under,
            secret.table_name, secret.under, secret.key);
        IF secret.table_name <> 'acme_accounts' THEN
            EXECUTE format('ALTER TABLE %I NO FORCE ROW LEVEL SECURITY', secret.table_name);
        END IF;
        EXECUTE format('INSERT INTO sealing_keys (id, first_used_at)
            SELECT DISTINCT %1$I, now() FROM %2$I WHERE %1$I IS NOT NULL ON CONFLICT DO NOTHING',
            secret.under, secret.table_name);
        -- contract: 0.1.0 the column is new, and a trigger makes the entry that it refers to before the row is there
        EXECUTE format('ALTER TABLE %I ADD FOREIGN KEY (%I) REFERENCES sealing_keys', secret.table_name, secret.under);
        IF secret.table_name <> 'acme_accounts' THEN
            EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', secret.table_name);
        END IF;
        EXECUTE format('CREATE TRIGGER %I BEFORE INSERT OR UPDATE OF %I ON %I
            FOR EACH ROW WHEN (NEW.%I IS NOT NULL) EXECUTE FUNCTION %I()',
            secret.table_name || '_note_' || secret.under, secret.sealed, secret.table_name, secret.sealed,
            'note_key_of_' || secret.sealed);
    END LOOP;
END
$$;

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['certificates', 'acme_orders', 'webhooks', 'dns_credentials', 'edge_entries'] LOOP
        EXECUTE format(
            'CREATE POLICY keeper ON %I TO mtasts_keeper
                USING ((SELECT current_user = ''mtasts_keeper''))
                WITH CHECK ((SELECT current_user = ''mtasts_keeper''))', table_name);
    END LOOP;
END
$$;

GRANT SELECT ON sealing_keys TO mtasts_api, mtasts_worker, mtasts_edge, mtasts_keeper;
GRANT DELETE, UPDATE (edges_until) ON sealing_keys TO mtasts_keeper;
GRANT SELECT (id, tenant_id, domain_id, sealed_key, sealed_under), UPDATE (sealed_key)
    ON certificates, acme_orders TO mtasts_keeper;
GRANT SELECT (issuer, sealed, sealed_under), UPDATE (sealed) ON acme_accounts TO mtasts_keeper;
GRANT SELECT (id, tenant_id, sealed, sealed_under, former_sealed, former_sealed_under), UPDATE (sealed, former_sealed)
    ON webhooks TO mtasts_keeper;
GRANT SELECT (id, tenant_id, sealed, sealed_under), UPDATE (sealed) ON dns_credentials TO mtasts_keeper;
-- A certificate that is sealed anew goes to the edges once more.
GRANT SELECT (name, kind, revision, certificate_id), UPDATE (revision, changed_at) ON edge_entries TO mtasts_keeper;
GRANT SELECT (id, kind, name, position) ON nodes TO mtasts_keeper;
GRANT USAGE ON SEQUENCE edge_revisions TO mtasts_keeper;
GRANT SELECT ON edge_revisions TO mtasts_keeper;
