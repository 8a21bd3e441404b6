//! `mtasts admin keys`, the gate at the start, and a key ring that Vault has wrapped.

mod vault;

use std::{fs, path::PathBuf, time::Duration};

use data_encoding::HEXLOWER;
use mtasts_certs::{KeyRing, Purpose};
use mtasts_model::{DomainId, TenantId};
use mtasts_testkit::{Process, TestDatabase, free_port};
use secrecy::SecretString;
use serde_json::{Value, json};

use self::vault::{FakeVault, Mood, NAMESPACE, TOKEN};
use crate::service::{BINARY, OPERATOR_TOKEN, clean, get, mtasts};

const TENANT: &str = "019000000000700080000000000000a1";
const DOMAIN: &str = "019000000000700080000000000000d1";

/// A migrated database and a configuration.
struct Setup {
    database: TestDatabase,
    folder: tempfile::TempDir,
    api: u16,
}

impl Setup {
    async fn new() -> Self {
        let setup =
            Self { database: TestDatabase::create().await, folder: tempfile::tempdir().unwrap(), api: free_port() };
        setup.configure("", "");
        let (code, _, err) = setup.run(&["migrate"]);
        assert_eq!(code, Some(0), "{err}");
        setup
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, key_ring: &str, more: &str) {
        let secrets = if key_ring.is_empty() { String::new() } else { format!("[secrets]\nkey_ring = \"{key_ring}\"") };
        let text = format!(
            "data_dir = \"{}\"\n[database]\nurl = \"{}\"\n[api]\nlisten = [\"127.0.0.1:{}\"]\n\
             operator_token = \"{OPERATOR_TOKEN}\"\n{secrets}\n{more}\n",
            self.folder.path().display(),
            self.database.url(),
            self.api
        );
        fs::write(self.path("mtasts.toml"), text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let config = self.path("mtasts.toml");
        let output = mtasts(&[arguments, &["--config", config.to_str().unwrap()]].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    async fn start_api(&self) -> Process {
        let admin = free_port();
        let mut command = std::process::Command::new(BINARY);
        clean(&mut command);
        command.args(["api", "--config"]).arg(self.path("mtasts.toml"));
        command.env("MTASTS__ADMIN__LISTEN", format!("127.0.0.1:{admin}"));
        let mut process = Process::spawn("api", &mut command);
        process
            .wait_until_ready(Duration::from_mins(1), async || {
                get(&format!("http://127.0.0.1:{admin}/readyz"), &[]).await.is_some_and(|(status, _)| status == 200)
            })
            .await;
        process
    }

    async fn post(&self, path: &str, token: &str, body: Value) -> Value {
        let url = format!("http://127.0.0.1:{}{path}", self.api);
        let authorization = format!("Authorization: Bearer {token}");
        let body = body.to_string();
        let arguments = ["-X", "POST", "-H", &authorization, "-H", "Content-Type: application/json", "-d", &body];
        let (status, text) = get(&url, &arguments).await.unwrap();
        assert_eq!(status, 201, "{text}");
        serde_json::from_str(&text).unwrap()
    }
}

/// A key of 32 octets.
fn key(octet: u8) -> String {
    data_encoding::BASE64.encode(&[octet; 32])
}

fn ring(text: &str) -> KeyRing {
    KeyRing::parse(&SecretString::from(text)).unwrap()
}

fn tenant() -> TenantId {
    format!("ten_{TENANT}").parse().unwrap()
}

fn domain() -> DomainId {
    format!("dom_{DOMAIN}").parse().unwrap()
}

/// Where each secret is, and what it is bound to.
type Bound = (&'static str, Purpose, Option<TenantId>, Option<DomainId>);

fn places() -> [Bound; 6] {
    [
        ("SELECT encode(sealed_key, 'hex') FROM certificates", Purpose::CertificateKey, Some(tenant()), Some(domain())),
        ("SELECT encode(sealed_key, 'hex') FROM acme_orders", Purpose::CertificateKey, Some(tenant()), Some(domain())),
        ("SELECT encode(sealed, 'hex') FROM acme_accounts", Purpose::AcmeAccount, None, None),
        ("SELECT encode(sealed, 'hex') FROM webhooks", Purpose::WebhookSecret, Some(tenant()), None),
        ("SELECT encode(former_sealed, 'hex') FROM webhooks", Purpose::WebhookSecret, Some(tenant()), None),
        ("SELECT encode(sealed, 'hex') FROM dns_credentials", Purpose::ProviderToken, Some(tenant()), None),
    ]
}

/// One secret in each place, sealed under the ring's current key. What they hang from is left out.
async fn fill(database: &TestDatabase, ring: &KeyRing) {
    let [certificate, order, account, webhook, former, credential] =
        places().map(|(place, purpose, tenant, domain)| {
            format!("'\\x{}'", HEXLOWER.encode(&ring.seal(purpose, tenant, domain, place.as_bytes())))
        });
    database
        .psql(&format!(
            "SET session_replication_role = replica;
             INSERT INTO acme_orders (id, tenant_id, domain_id, issuer, state, since, sealed_key, created_at)
                VALUES (gen_random_uuid(), '{TENANT}', '{DOMAIN}', 'i', 'drafted', now(), 'x', now());
             INSERT INTO certificates (id, tenant_id, domain_id, order_id, chain, sealed_key, not_before, not_after, serial,
                issuer, renew_at, created_at) VALUES (gen_random_uuid(), '{TENANT}', '{DOMAIN}', gen_random_uuid(), '', 'x',
                now(), now(), '', '', now(), now());
             INSERT INTO webhooks (id, tenant_id, url, description, enabled, sealed, created_at, changed_at)
                VALUES (gen_random_uuid(), '{TENANT}', 'u', '', true, 'x', now(), now());
             INSERT INTO dns_credentials (id, tenant_id, name, provider, settings, sealed, created_at)
                VALUES (gen_random_uuid(), '{TENANT}', 'n', 'cloudflare', '{{}}', 'x', now())"
        ))
        .await;
    // Apart: what is new in a transaction is held to its foreign keys with every change.
    database
        .psql(&format!(
            "INSERT INTO acme_accounts VALUES ('i', {account}, now());
             UPDATE acme_orders SET sealed_key = {order};
             UPDATE certificates SET sealed_key = {certificate};
             UPDATE webhooks SET sealed = {webhook}, former_sealed = {former}, former_until = now() + interval '1 day';
             UPDATE dns_credentials SET sealed = {credential}"
        ))
        .await;
}

/// Panics unless each secret opens with this ring alone.
async fn opens(database: &TestDatabase, ring: &KeyRing) {
    for (place, purpose, tenant, domain) in places() {
        let sealed = HEXLOWER.decode(database.psql(place).await.trim().as_bytes()).unwrap();
        let opened = ring.open(purpose, tenant, domain, &sealed);
        assert_eq!(opened.map(|plain| plain.to_vec()), Ok(place.as_bytes().to_vec()), "{place}");
    }
}

#[tokio::test]
async fn a_rotation_seals_everything_anew_and_only_then_may_a_process_start_without_the_former_key() {
    let setup = Setup::new().await;
    let (former, both, new) =
        (format!("k1:{}", key(1)), format!("k2:{},k1:{}", key(2), key(1)), format!("k2:{}", key(2)));
    fill(&setup.database, &ring(&former)).await;

    setup.configure(&new, "");
    for role in ["api", "worker", "edge"] {
        let (code, _, err) = setup.run(&[role]);
        assert_eq!(code, Some(1), "{role}");
        assert!(err.contains("secrets are sealed under keys that the key ring lacks: k1"), "{role}: {err}");
    }
    let (code, out, err) = setup.run(&["admin", "keys", "rotate"]);
    assert_eq!((code, out.as_str()), (Some(1), ""), "what does not open is not touched: {err}");
    opens(&setup.database, &ring(&former)).await;

    setup.configure(&both, "");
    let (code, out, err) = setup.run(&["admin", "keys", "status"]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(out.lines().filter(|line| line.starts_with("k1  ") && line.ends_with(" 1")).count(), 6, "{out}");
    assert!(out.contains("k1: needed by 6 secrets"), "{out}");
    // Two operators at once: each secret is exchanged once.
    let (one, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| setup.run(&["admin", "keys", "rotate"]));
        (setup.run(&["admin", "keys", "rotate"]), other.join().unwrap())
    });
    assert!(one.0 == Some(0) || other.0 == Some(0), "{one:?} {other:?}");
    opens(&setup.database, &ring(&new)).await;
    let (code, out, err) = setup.run(&["admin", "keys", "rotate"]);
    assert_eq!((code, out.as_str()), (Some(0), ""), "nothing is left to do: {err}");
    let (_, out, _) = setup.run(&["admin", "keys", "status"]);
    assert!(!out.contains("k1") && out.contains("k2, the current one: needed by 6 secrets"), "{out}");

    setup.configure(&new, "");
    drop(setup.start_api().await);
}

#[tokio::test]
async fn a_secret_that_does_not_open_stays_as_it_is_and_keeps_its_key() {
    let setup = Setup::new().await;
    fill(&setup.database, &ring(&format!("k1:{}", key(1)))).await;
    let foreign = ring(&format!("k1:{}", key(9))).seal(Purpose::WebhookSecret, Some(tenant()), None, b"x");
    let foreign = HEXLOWER.encode(&foreign);
    setup.database.psql(&format!("UPDATE webhooks SET sealed = '\\x{foreign}'")).await;
    setup.configure(&format!("k2:{},k1:{}", key(2), key(1)), "");
    let (code, out, err) = setup.run(&["admin", "keys", "rotate"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(err.contains("1 secrets are left under former keys"), "{err}");
    assert!(out.contains("k1: must stay in the key ring for now"), "{out}");
    assert_eq!(setup.database.psql("SELECT encode(sealed, 'hex') FROM webhooks").await.trim(), foreign);
    let left =
        "SELECT (SELECT count(*) FROM certificates WHERE sealed_under = 'k1') + (SELECT count(*) FROM acme_accounts
        WHERE sealed_under = 'k1')";
    assert_eq!(setup.database.psql(left).await.trim(), "0", "the others are done all the same");
}

impl Setup {
    /// A configuration with this Vault.
    fn with_vault(&self, vault: &FakeVault, key_ring: &str, more: &str) {
        fs::write(self.path("token"), format!("{TOKEN}\n")).unwrap();
        fs::write(self.path("ca.pem"), vault.ca_pem()).unwrap();
        let more = format!(
            "[vault]\naddress = \"{}\"\nnamespace = \"{NAMESPACE}\"\nmount = \"kms/transit\"\nkey = \"ring\"\n\
             token_file = \"{}\"\nca_file = \"{}\"\ntimeout_seconds = 1\n{more}",
            vault.address(),
            self.path("token").display(),
            self.path("ca.pem").display()
        );
        self.configure(key_ring, &more);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_that_vault_has_wrapped_is_opened_at_the_start_and_vault_is_not_needed_afterwards() {
    let setup = Setup::new().await;
    let vault = FakeVault::start().await;
    setup.with_vault(&vault, "", "");
    let (code, out, err) = setup.run(&["admin", "keys", "draw"]);
    assert_eq!(code, Some(0), "{err}");
    let drawn = out.trim().to_owned();
    let (id, wrapped) = drawn.split_once(':').unwrap();
    assert!(wrapped.starts_with("vault:v1:"), "{drawn}");

    let former = ring(&format!("k1:{}", key(1)));
    fill(&setup.database, &former).await;
    setup.with_vault(&vault, &format!("{drawn},k1:{}", key(1)), "");
    let (code, _, err) = setup.run(&["admin", "keys", "rotate"]);
    assert_eq!(code, Some(0), "{err}");
    let opened = ring(&format!("{id}:{}", vault.plaintext(wrapped)));
    opens(&setup.database, &opened).await;

    setup.with_vault(&vault, &drawn, "");
    let asked = vault.asked();
    let api = setup.start_api().await;
    assert_eq!(vault.asked(), asked + 1, "once for each wrapped key");
    drop(vault);
    let tenant = setup.post("/v1/tenants", OPERATOR_TOKEN, json!({"name": "Example"})).await;
    let keys = format!("/v1/tenants/{}/api-keys", tenant["id"].as_str().unwrap());
    let made = setup.post(&keys, OPERATOR_TOKEN, json!({"name": "test"})).await;
    setup.post("/v1/webhooks", made["key"].as_str().unwrap(), json!({"url": "https://hooks.example.com/in"})).await;
    let under = setup.database.psql("SELECT sealed_under FROM webhooks ORDER BY created_at DESC LIMIT 1").await;
    assert_eq!(under.trim(), id);
    drop(api);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_gives_no_key_is_told_with_its_reason_and_the_token_is_not() {
    let setup = Setup::new().await;
    let vault = FakeVault::start().await;
    setup.with_vault(&vault, "", "");
    let drawn = setup.run(&["admin", "keys", "draw"]).1.trim().to_owned();
    let status = |patience: u32| {
        setup.with_vault(&vault, &drawn, &format!("patience_seconds = {patience}"));
        setup.run(&["admin", "keys", "status"])
    };
    let refused = |mood: Mood, patience: u32, expected: &str| {
        vault.set(mood);
        let (code, _, err) = status(patience);
        assert_eq!(code, Some(1), "{mood:?}");
        assert!(err.contains(expected), "{mood:?}: {err}");
        assert!(!err.contains(TOKEN), "{err}");
    };
    refused(Mood::TokenExpired, 5, "403 Forbidden: permission denied");
    refused(Mood::Sealed, 0, "503 Service Unavailable: Vault is sealed");
    refused(Mood::Silent, 0, "Vault cannot be reached");
    refused(Mood::Verbose, 0, "it is too long");
    refused(Mood::Babbling, 0, "it is no JSON with data");
    refused(Mood::Redirecting, 0, "Vault refused with 307");
    // A Vault that is unsealed a little later is waited for.
    vault.set(Mood::SealedFor(3));
    assert_eq!(status(20).0, Some(0));

    // Another CA, another namespace, no token, a message that is not ours.
    vault.set(Mood::Well);
    let change = |from: &str, to: &str| {
        setup.with_vault(&vault, &drawn, "patience_seconds = 0");
        let text = fs::read_to_string(setup.path("mtasts.toml")).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(setup.path("mtasts.toml"), text.replace(from, to)).unwrap();
        setup.run(&["admin", "keys", "status"])
    };
    let (code, _, err) = change(&format!("namespace = \"{NAMESPACE}\""), "namespace = \"other\"");
    assert!(code == Some(1) && err.contains("permission denied"), "{err}");
    let (code, _, err) = change("vault:v1:", "vault:v1:AAAA");
    assert!(code == Some(1) && err.contains("400 Bad Request"), "{err}");
    let (code, _, err) = change("[vault]\n", "[log]\nlevel = \"info\"\n[vault]\n");
    assert_eq!(code, Some(0), "{err}");
    fs::write(setup.path("ca.pem"), FakeVault::other_ca()).unwrap();
    let (code, _, err) = setup.run(&["admin", "keys", "status"]);
    assert!(code == Some(1) && err.contains("Vault cannot be reached"), "{err}");
    setup.with_vault(&vault, &drawn, "");
    fs::write(setup.path("token"), "\n").unwrap();
    let (code, _, err) = setup.run(&["admin", "keys", "status"]);
    assert!(code == Some(1) && err.contains("has no token in it"), "{err}");
    setup.configure(&drawn, "");
    let (code, _, err) = setup.run(&["admin", "keys", "status"]);
    assert!(code == Some(1) && err.contains("vault.address"), "{err}");
}
