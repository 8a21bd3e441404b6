//! Logins of the processes' own: each a member of its one role, and of no other.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use data_encoding::BASE64;
use mtasts_model::Entropy;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::{Role, StoreError, migrate::owner_session, sql};

/// What Postgres itself uses (`scram_iterations`).
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();
const SALT: usize = 16;

/// The service's own.
const ROLES: [Role; 6] = [Role::Api, Role::Worker, Role::Edge, Role::Intake, Role::Keeper, Role::Operator];

/// A login that is to be, as the URL says by which its process connects.
#[derive(Debug, Clone)]
pub struct Login {
    role: Role,
    name: String,
    /// None: it logs in by a certificate, or as its system user.
    password: Option<SecretString>,
}

/// Why a URL makes no login.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// It cannot be read. Never quotes it.
    #[error("the URL cannot be read")]
    Url,
    /// It says nobody who logs in.
    #[error("the URL names no user")]
    NoUser,
    /// Postgres would keep less of it, or our own role is meant.
    #[error(
        "{0:?} cannot be a login: it needs 1 to 63 characters and must not begin with `pg_` or be a role of the service"
    )]
    Name(String),
    /// How other characters are prepared (RFC 4013) is better left to nobody's guess.
    #[error("the password of {0:?} must consist of visible ASCII characters")]
    Password(String),
    /// It is there already, for something else.
    #[error(
        "{0:?} is there already and may do more than a login of the service (SUPERUSER, CREATEROLE or the like): name another"
    )]
    MayDoMore(String),
    /// It has another role of the service by a grant that is not the owner's to take back (PostgreSQL 16 and later).
    #[error("{login:?} has {role} as well, and only {grantor:?}, who has granted it, or a superuser can revoke it")]
    Granted {
        /// The login.
        login: String,
        /// The role that it has besides its own.
        role: String,
        /// Who has given it.
        grantor: String,
    },
    /// The tables' owner cannot be held to less.
    #[error("{0:?} is the owner's login: give the role one of its own, or no URL")]
    Owner(String),
}

impl Login {
    /// Reads the login out of the URL by which a role's process connects.
    pub fn from_url(role: Role, url: &SecretString) -> Result<Self, LoginError> {
        let url: Url = url.expose_secret().parse().map_err(|_| LoginError::Url)?;
        let decoded = |text: &str| {
            let octets: Vec<u8> = percent_decode(text);
            String::from_utf8(octets).map_err(|_| LoginError::Url)
        };
        let in_query = |key: &str| url.query_pairs().find(|(name, _)| name == key).map(|(_, value)| value.into_owned());
        let name = match url.username() {
            "" => in_query("user").ok_or(LoginError::NoUser)?,
            name => decoded(name)?,
        };
        let password = url.password().map(decoded).transpose()?.or_else(|| in_query("password"));
        let ours = name.starts_with("pg_") || ROLES.iter().any(|role| role.name() == Some(&name));
        if name.is_empty() || name.len() > 63 || name.contains('\0') || ours {
            return Err(LoginError::Name(name));
        }
        let password = password.filter(|password| !password.is_empty());
        if password.as_ref().is_some_and(|password| !password.bytes().all(|byte| (0x21..0x7f).contains(&byte))) {
            return Err(LoginError::Password(name));
        }
        Ok(Self { role, name, password: password.map(SecretString::from) })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The role that it is to have.
    pub fn role(&self) -> Role {
        self.role
    }
}

fn percent_decode(text: &str) -> Vec<u8> {
    url::form_urlencoded::parse(text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D").as_bytes())
        .next()
        .map(|(name, _)| name.into_owned().into_bytes())
        .unwrap_or_default()
}

/// Makes the logins, or puts those right that are there: each may log in, take on its role, and nothing else. Two roles
/// may share a login, which then may take on either. `owner_url` must be allowed to make roles (`CREATEROLE`), and to
/// grant the service's.
pub async fn make_logins(owner_url: &SecretString, logins: &[Login], entropy: &dyn Entropy) -> Result<(), StoreError> {
    // Beside no migration: roles belong to the cluster, and rows of its catalogue cannot be written by two at once.
    let db = owner_session(owner_url).await?;
    let made = make_all(&db, logins, entropy).await;
    let closed = db.close().await;
    made?;
    Ok(closed?)
}

async fn make_all(db: &DatabaseConnection, logins: &[Login], entropy: &dyn Entropy) -> Result<(), StoreError> {
    for login in logins {
        let own = "SELECT current_user = $1 OR session_user = $1 AS own";
        let row = sql::row(db, own, vec![login.name.as_str().into()]).await?.ok_or(StoreError::NotFound)?;
        if row.try_get::<bool>("", "own")? {
            return Err(StoreError::Login(LoginError::Owner(login.name.clone())));
        }
        make(db, login, logins, entropy).await?;
    }
    Ok(())
}

async fn make(db: &DatabaseConnection, login: &Login, all: &[Login], entropy: &dyn Entropy) -> Result<(), StoreError> {
    let name = quoted(&login.name);
    let there =
        sql::row(db, "SELECT 1 AS there FROM pg_roles WHERE rolname = $1", vec![login.name.as_str().into()]).await?;
    if there.is_none() {
        db.execute_unprepared(&format!("CREATE ROLE {name}")).await?;
    }
    // Whoever may do more is there for something else: better refused than stripped of it.
    let excess = "SELECT rolsuper OR rolreplication OR rolbypassrls OR rolcreaterole OR rolcreatedb AS excess
        FROM pg_roles WHERE rolname = $1";
    let row = sql::row(db, excess, vec![login.name.as_str().into()]).await?.ok_or(StoreError::NotFound)?;
    if row.try_get::<bool>("", "excess")? {
        return Err(StoreError::Login(LoginError::MayDoMore(login.name.clone())));
    }
    // The verifier and not the password: statements of this kind end up in the server's log.
    let password = match &login.password {
        Some(password) => format!("'{}'", verifier(password, entropy)),
        None => "NULL".to_owned(),
    };
    db.execute_unprepared(&format!("ALTER ROLE {name} LOGIN NOINHERIT PASSWORD {password}")).await?;
    let roles: Vec<_> =
        all.iter().filter(|other| other.name == login.name).filter_map(|other| other.role.name()).collect();
    let has = memberships(db, &login.name).await?;
    let excess = |has: &[(String, String)]| -> Vec<(String, String)> {
        has.iter().filter(|(role, _)| !roles.contains(&role.as_str())).cloned().collect()
    };
    for (role, _) in excess(&has) {
        db.execute_unprepared(&format!("REVOKE {} FROM {name}", quoted(&role))).await?;
    }
    if let Some((role, grantor)) = excess(&memberships(db, &login.name).await?).into_iter().next() {
        return Err(StoreError::Login(LoginError::Granted { login: login.name.clone(), role, grantor }));
    }
    for role in roles.iter().filter(|role| !has.iter().any(|(had, _)| had == *role)) {
        db.execute_unprepared(&format!("GRANT {role} TO {name}")).await?;
    }
    let database =
        sql::row(db, "SELECT current_database()::text AS name", vec![]).await?.ok_or(StoreError::NotFound)?;
    let database: String = database.try_get("", "name")?;
    db.execute_unprepared(&format!("GRANT CONNECT ON DATABASE {} TO {name}", quoted(&database))).await?;
    Ok(())
}

/// The service's roles that a login has, and who has granted each.
async fn memberships(db: &DatabaseConnection, login: &str) -> Result<Vec<(String, String)>, StoreError> {
    let member_of = "SELECT r.rolname AS role, COALESCE(m.grantor::regrole::text, '') AS grantor
        FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
        WHERE m.member = (SELECT oid FROM pg_roles WHERE rolname = $1)
            AND r.rolname = ANY ($2::text[])";
    let ours: Vec<String> = ROLES.into_iter().filter_map(Role::name).map(str::to_owned).collect();
    let rows = sql::rows(db, member_of, vec![login.into(), ours.into()]).await?;
    rows.iter().map(|row| Ok((row.try_get("", "role")?, row.try_get("", "grantor")?))).collect()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What Postgres keeps of a password (RFC 5803, as in `pg_authid`): `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`.
fn verifier(password: &SecretString, entropy: &dyn Entropy) -> String {
    let mut salt = [0; SALT];
    entropy.fill(&mut salt);
    verifier_with(password.expose_secret().as_bytes(), &salt)
}

fn verifier_with(password: &[u8], salt: &[u8]) -> String {
    let mut salted = [0; digest::SHA256_OUTPUT_LEN];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, salt, password, &mut salted);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let stored = digest::digest(&digest::SHA256, hmac::sign(&key, b"Client Key").as_ref());
    let server = hmac::sign(&key, b"Server Key");
    format!(
        "SCRAM-SHA-256${ITERATIONS}:{}${}:{}",
        BASE64.encode(salt),
        BASE64.encode(stored.as_ref()),
        BASE64.encode(server.as_ref())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(url: &str) -> Result<Login, LoginError> {
        Login::from_url(Role::Api, &SecretString::from(url))
    }

    #[test]
    fn a_login_is_read_out_of_the_url_of_its_process() {
        let made = login("postgres://api%2B1:p%40ss+word@db/mtasts").unwrap();
        assert_eq!(made.name(), "api+1");
        assert_eq!(made.password.unwrap().expose_secret(), "p@ss+word");
        assert!(login("postgres://api@db/mtasts").unwrap().password.is_none());
        let made = login("postgres:///mtasts?host=/run/postgresql&user=api").unwrap();
        assert_eq!((made.name(), made.password.is_none()), ("api", true));
    }

    #[test]
    fn what_cannot_be_a_login_is_refused_and_no_password_is_repeated() {
        assert_eq!(login("postgres://db/mtasts").unwrap_err(), LoginError::NoUser);
        for name in ["mtasts_worker", "mtasts_keeper", "pg_monitor", &"x".repeat(64)] {
            assert_eq!(
                login(&format!("postgres://{name}:hunter2@db/m")).unwrap_err(),
                LoginError::Name(name.to_owned())
            );
        }
        let error = login("postgres://api:hunter2%C3%A4@db/m").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        assert!(!format!("{:?}", login("postgres://api:hunter2@db/m")).contains("hunter2"));
    }

    /// RFC 7677 §3: password `pencil`, its salt, 4096 iterations.
    #[test]
    fn the_verifier_is_that_of_the_rfcs_example() {
        let salt = BASE64.decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let made = verifier_with(b"pencil", &salt);
        assert_eq!(
            made,
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
             wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
    }
}
