//! Logins of the processes' own.

use mtasts_model::{Clock, NodeId, SystemEntropy, TenantId};
use mtasts_store::{Actor, Login, LoginError, NewTenant, NodeKind, Role, Shares, Store, StoreError, make_logins};
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::fixture::{Fixture, LEASE, config, owner_url};

const ROLES: [Role; 4] = [Role::Api, Role::Worker, Role::Edge, Role::Intake];

/// Roles belong to the cluster, which tests share: the names are of this database alone.
fn url(fixture: &Fixture, role: Role, password: &str) -> String {
    let mut url: url::Url = fixture.database.url().parse().unwrap();
    url.set_username(&format!("{}_{}", role.name().unwrap(), fixture.database.name())).unwrap();
    url.set_password(Some(password)).unwrap();
    url.into()
}

fn login(fixture: &Fixture, role: Role, password: &str) -> Login {
    Login::from_url(role, &SecretString::from(url(fixture, role, password))).unwrap()
}

async fn make(fixture: &Fixture, logins: &[Login]) -> Result<(), StoreError> {
    make_logins(&owner_url(&fixture.database), logins, &SystemEntropy).await
}

async fn forget(fixture: &Fixture) {
    for role in ROLES {
        let name = format!("{}_{}", role.name().unwrap(), fixture.database.name());
        fixture.database.psql(&format!("DROP OWNED BY {name}; DROP ROLE {name}")).await;
    }
}

/// The SQLSTATE with which a statement is refused; none if it is not.
async fn refusal(url: &str, sql: &str) -> Option<String> {
    let mut session = PgConnection::connect(url).await.unwrap();
    match session.execute(AssertSqlSafe(sql.to_owned())).await {
        Err(sqlx::Error::Database(error)) => error.code().map(std::borrow::Cow::into_owned),
        Err(other) => panic!("{sql}: {other}"),
        Ok(_) => None,
    }
}

#[tokio::test]
async fn each_login_does_the_work_of_its_role_and_none_of_the_others() {
    let fixture = Fixture::new().await;
    let logins = ROLES.map(|role| login(&fixture, role, "right"));
    make(&fixture, &logins).await.unwrap();
    // Idempotent, also where somebody has given more in between.
    let api = format!("mtasts_api_{}", fixture.database.name());
    fixture.database.psql(&format!("GRANT mtasts_worker TO {api}")).await;
    let again = make(&fixture, &logins).await;
    let version = fixture.database.psql("SELECT current_setting('server_version_num')::integer >= 160000").await;
    if version.trim() == "t" {
        // It is the superuser's to take back.
        let Err(StoreError::Login(LoginError::Granted { login, role, .. })) = again else { panic!("{again:?}") };
        assert_eq!((login, role.as_str()), (api.clone(), "mtasts_worker"));
        fixture.database.psql(&format!("REVOKE mtasts_worker FROM {api}")).await;
        make(&fixture, &logins).await.unwrap();
    } else {
        again.unwrap();
    }

    let connect = async |role| Store::connect(config(url(&fixture, role, "right"), role, 2)).await.unwrap();
    let (api, worker) = (connect(Role::Api).await, connect(Role::Worker).await);
    let (edge, intake) = (connect(Role::Edge).await, connect(Role::Intake).await);
    let id = TenantId::draw(fixture.now(), &SystemEntropy);
    let new = NewTenant { id, name: "a tenant".to_owned(), parent: None };
    api.create_tenant(new, &Actor::operator(), fixture.now()).await.unwrap();
    fixture.domain(&api, id, "example.com").await;
    let claimed = worker.claim_due("a worker", 10, LEASE, fixture.now(), &Shares::default()).await.unwrap();
    assert_eq!(claimed.len(), 1);
    let node = NodeId::draw(fixture.clock.now(), &SystemEntropy);
    edge.register_node(node, NodeKind::Edge, "an edge", fixture.now(), LEASE).await.unwrap();
    intake.ping().await.unwrap();

    for role in ROLES {
        let url = url(&fixture, role, "right");
        for sql in ["SELECT FROM domains", "SELECT FROM nodes", "SELECT FROM acme_accounts", "CREATE TABLE t ()"] {
            assert_eq!(refusal(&url, sql).await.as_deref(), Some("42501"), "{role:?} before SET ROLE: {sql}");
        }
        let owner = "mtasts_test_owner";
        let others = ROLES.into_iter().filter(|other| *other != role).filter_map(Role::name);
        for other in others.chain(["mtasts_keeper", "mtasts_operator", owner]) {
            let sql = format!("SET ROLE {other}");
            assert_eq!(refusal(&url, &sql).await.as_deref(), Some("42501"), "{role:?} as {other}");
        }
        assert_eq!(refusal(&url, &format!("SET ROLE {}", role.name().unwrap())).await, None);
    }
    drop((api, worker, edge, intake));
    forget(&fixture).await;
}

#[tokio::test]
async fn a_password_can_be_changed_and_taken_away_and_the_server_never_sees_it() {
    let fixture = Fixture::new().await;
    make(&fixture, &ROLES.map(|role| login(&fixture, role, "first"))).await.unwrap();
    let stored = format!("SELECT rolpassword FROM pg_authid WHERE rolname = 'mtasts_api_{}'", fixture.database.name());
    let first = fixture.database.psql(&stored).await;
    assert!(first.starts_with("SCRAM-SHA-256$4096:"), "{first}");
    make(&fixture, &ROLES.map(|role| login(&fixture, role, "second"))).await.unwrap();
    assert!(PgConnection::connect(&url(&fixture, Role::Api, "first")).await.is_err());
    PgConnection::connect(&url(&fixture, Role::Api, "second")).await.unwrap();
    let bare = url(&fixture, Role::Api, "second").replace(":second@", "@");
    let bare = Login::from_url(Role::Api, &SecretString::from(bare)).unwrap();
    make(&fixture, &[bare]).await.unwrap();
    assert_eq!(fixture.database.psql(&stored).await.trim(), "", "peer or certificate alone");
    assert!(PgConnection::connect(&url(&fixture, Role::Api, "second")).await.is_err());
    forget(&fixture).await;
}

#[tokio::test]
async fn who_may_do_more_is_no_login_and_stays_as_it_was() {
    let fixture = Fixture::new().await;
    let superuser: url::Url = fixture.database.url().parse().unwrap();
    let login = Login::from_url(Role::Api, &SecretString::from(superuser.to_string())).unwrap();
    let name = login.name().to_owned();
    let refused = make(&fixture, &[login]).await;
    assert!(matches!(&refused, Err(StoreError::Login(LoginError::Owner(found))) if *found == name), "{refused:?}");

    let mighty = format!("mighty_{}", fixture.database.name());
    fixture.database.psql(&format!("CREATE ROLE {mighty} CREATEDB")).await;
    let login = Login::from_url(Role::Api, &SecretString::from(format!("postgres://{mighty}:x@db/m"))).unwrap();
    let refused = make(&fixture, &[login]).await;
    assert!(
        matches!(&refused, Err(StoreError::Login(LoginError::MayDoMore(found))) if *found == mighty),
        "{refused:?}"
    );
    let there = format!("SELECT rolcreatedb, rolcanlogin FROM pg_roles WHERE rolname = '{mighty}'");
    assert_eq!(fixture.database.psql(&there).await.trim(), "t|f");
    fixture.database.psql(&format!("DROP ROLE {mighty}")).await;
}
