-- From PostgreSQL 16 on, who creates a role may grant it to others, and yet not take it on (`createrole_self_grant`). Processes
-- that connect as the owner do take their roles on, and so do `mtasts admin keys`, `tenants` and `recover`. What an administrator
-- has granted without SET, where the owner may not grant it to itself, stays as it is: then each process has a login of its own.
DO $$
DECLARE
    role_name text;
    tries integer;
BEGIN
    IF current_setting('server_version_num')::integer < 160000
        OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RETURN;
    END IF;
    FOREACH role_name IN ARRAY ARRAY[
        'mtasts_api', 'mtasts_worker', 'mtasts_edge', 'mtasts_intake', 'mtasts_keeper', 'mtasts_operator'
    ] LOOP
        FOR tries IN 1..50 LOOP
            BEGIN
                IF NOT pg_has_role(role_name, 'SET') THEN
                    EXECUTE format('GRANT %I TO CURRENT_USER WITH SET TRUE', role_name);
                END IF;
                EXIT;
            EXCEPTION
                WHEN insufficient_privilege THEN
                    EXIT;
                -- Another database's migration writes the same row of the shared catalogue, see 0001.
                WHEN unique_violation OR internal_error THEN
                    IF tries = 50 THEN RAISE; END IF;
                    PERFORM pg_sleep(0.02);
            END;
        END LOOP;
    END LOOP;
END
$$;
