-- The roles as which the processes work. They cannot log in: a login is granted one of them and does SET ROLE.
-- Roles belong to the whole cluster, so they may be there already, and another database's migration may be making
-- them at this moment: hence the loop. A login without CREATEROLE finds them made and granted by an administrator.
DO $$
DECLARE
    role_name text;
    tries integer;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['mtasts_api', 'mtasts_worker', 'mtasts_edge', 'mtasts_intake'] LOOP
        FOR tries IN 1..50 LOOP
            BEGIN
                IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
                    EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', role_name);
                END IF;
                IF NOT EXISTS (
                    SELECT FROM pg_auth_members
                    WHERE roleid = role_name::regrole AND member = current_user::regrole
                ) AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
                    EXECUTE format('GRANT %I TO CURRENT_USER', role_name);
                END IF;
                EXIT;
            EXCEPTION
                -- Somebody was faster, or is writing the same row of the shared catalogue.
                WHEN duplicate_object OR unique_violation OR internal_error OR undefined_object THEN
                    IF tries = 50 THEN RAISE; END IF;
                    PERFORM pg_sleep(0.02);
            END;
        END LOOP;
    END LOOP;
END
$$;
