//! A database of its own for each test.

use std::{
    collections::hash_map::RandomState,
    env,
    hash::{BuildHasher, Hasher},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::scripts::run_well;

/// Names the superuser's login to a cluster that may be filled with databases.
const VARIABLE: &str = "MTASTS_TEST_POSTGRES";

/// How long a database may take to be dropped before it is left behind.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// A new, empty database; dropped, with all connections to it, when this is.
#[derive(Debug)]
pub struct TestDatabase {
    cluster: String,
    name: String,
}

impl TestDatabase {
    /// Creates it in the cluster that `MTASTS_TEST_POSTGRES` names.
    pub async fn create() -> Self {
        let cluster = env::var(VARIABLE).unwrap_or_else(|_| {
            panic!(
                "{VARIABLE} is not set: start a private cluster by `eval \"$(scripts/test-env)\"`, or run `make test`"
            )
        });
        let name = format!("test_{:016x}", random());
        // template0, because creating from template1 fails while anybody is connected to that.
        let create = format!("CREATE DATABASE {name} TEMPLATE template0");
        run_well("psql", &psql(&cluster, &create), "").await;
        Self { cluster, name }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address, with the login of the cluster's superuser, who owns it.
    pub fn url(&self) -> String {
        with_database(&self.cluster, &self.name)
    }

    /// Its address for a session that has done `SET ROLE role`, so that what the role may not do fails, and row-level
    /// security applies. The role must exist (the migrations make ours).
    pub fn url_as(&self, role: &str) -> String {
        assert!(role.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "not a plain role name: {role}");
        let url = self.url();
        let separator = if url.contains('?') { '&' } else { '?' };
        format!("{url}{separator}options=-c%20role%3D{role}")
    }

    /// Runs statements by psql as the superuser and gives the rows, unaligned, fields parted by `|`.
    pub async fn psql(&self, statements: &str) -> String {
        run_well("psql", &psql(&self.url(), statements), "").await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let dropping = Command::new("psql")
            .args(psql(&self.cluster, &statement))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        // A test may have stopped the cluster on purpose; and the cluster is thrown away as a whole.
        if !dropping.is_ok_and(|mut dropping| ends_well(&mut dropping)) {
            eprintln!("database {} stays behind", self.name);
        }
    }
}

/// Waits for it, but not for long: Postgres drops a database only when every session of the cluster has taken note,
/// and one that is just logging in waits for its client. If that is a task of ours it cannot go on while we wait here,
/// until Postgres gives it up after a minute. Left alone, psql is done once this process has ended.
fn ends_well(dropping: &mut Child) -> bool {
    let start = Instant::now();
    loop {
        match dropping.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if start.elapsed() < DROP_PATIENCE => sleep(Duration::from_millis(10)),
            Ok(None) | Err(_) => return false,
        }
    }
}

fn psql(url: &str, statements: &str) -> [String; 6] {
    ["-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statements, url].map(str::to_owned)
}

/// `url` with another database in its path.
fn with_database(url: &str, name: &str) -> String {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let separator = if query.is_empty() { "" } else { "?" };
    let server = match address.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.split_once('/').map_or(rest, |(server, _)| server)),
        None => panic!("{VARIABLE} must look like postgres://user:password@host:port/postgres"),
    };
    format!("{server}/{name}{separator}{query}")
}

/// 64 bits that differ between tests, also between processes started in the same instant.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait_until;

    #[test]
    fn the_database_in_an_address_is_replaced_and_the_query_kept() {
        assert_eq!(with_database("postgres://u:p@h:5/postgres", "x"), "postgres://u:p@h:5/x");
        assert_eq!(with_database("postgres://u@h:5", "x"), "postgres://u@h:5/x");
        assert_eq!(with_database("postgres://u@h/a?sslmode=disable", "x"), "postgres://u@h/x?sslmode=disable");
    }

    #[tokio::test]
    async fn a_database_is_empty_and_gone_when_dropped() {
        let database = TestDatabase::create().await;
        let other = TestDatabase::create().await;
        assert_eq!(database.psql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").await.trim(), "0");
        let count = format!("SELECT count(*) FROM pg_database WHERE datname = '{}'", database.name());
        assert_eq!(other.psql(&count).await.trim(), "1");
        drop(database);
        // Where another test's login stalls, Postgres may take up to a minute.
        wait_until(Duration::from_secs(90), "it is gone", async || other.psql(&count).await.trim() == "0").await;
    }

    #[test]
    fn a_drop_that_stalls_does_not_hold_up_the_end_of_a_test() {
        // A login that really stalls would hold up all the tests that run at the same time.
        let (start, mut stalled) = (Instant::now(), Command::new("sleep").arg("30").spawn().unwrap());
        assert!(!ends_well(&mut stalled));
        stalled.kill().unwrap();
        stalled.wait().unwrap();
        assert!(start.elapsed() < DROP_PATIENCE * 2, "waited for {:?}", start.elapsed());
        assert!(ends_well(&mut Command::new("true").spawn().unwrap()));
        assert!(!ends_well(&mut Command::new("false").spawn().unwrap()));
    }

    #[tokio::test]
    async fn a_session_can_be_opened_as_a_role_that_is_no_superuser() {
        let database = TestDatabase::create().await;
        let role = format!("role_{}", database.name());
        database.psql(&format!("CREATE ROLE {role} NOLOGIN")).await;
        let url = database.url_as(&role);
        let rows = run_well("psql", &psql(&url, "SELECT current_user, current_setting('is_superuser')"), "").await;
        assert_eq!(rows.trim(), format!("{role}|off"));
        database.psql(&format!("DROP ROLE {role}")).await;
    }
}
