//! Looks that tenants ask for, over a real database, DNS and MX hosts.

use std::{net::IpAddr, sync::Arc, time::Duration};

use chrono::TimeDelta;
use mtasts_model::{CheckId, Clock, MailDomain, SystemEntropy, TenantId, check::CheckWanted};
use mtasts_probe::ProbeConfig;
use mtasts_store::{Actor, AskedCheck, Check, CheckState, NewCheck};
use mtasts_testkit::wait_for;
use mtasts_worker::{CheckConfig, CheckDeps, CheckWorker, shared_pacer};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::world::{PATIENCE, World};

struct Checks {
    world: World,
    tenant: TenantId,
}

/// A worker at work; told to stop when it is dropped.
struct Running {
    stop: CancellationToken,
    _task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Checks {
    async fn new() -> Self {
        let world = World::new().await;
        let tenant = world.tenant().await;
        Self { world, tenant }
    }

    fn start(&self, config: CheckConfig, probe: ProbeConfig) -> Running {
        let deps = CheckDeps {
            store: self.world.store.clone(),
            probe,
            resolver: self.world.resolver(),
            pacer: shared_pacer(self.world.store.clone(), Arc::new(self.world.clock.clone())),
            clock: Arc::new(self.world.clock.clone()),
            entropy: Arc::new(SystemEntropy),
        };
        let (worker, stop) = (CheckWorker::new(config, deps), CancellationToken::new());
        let told = stop.clone();
        Running { stop, _task: tokio::spawn(async move { worker.run(told).await }) }
    }

    async fn ask(&self, name: &str, wanted: CheckWanted) -> CheckId {
        let id = CheckId::draw(self.world.clock.now(), &SystemEntropy);
        let new = NewCheck { id, domain: MailDomain::from_stored(name).unwrap(), wanted };
        let mut tx = self.world.api.tenant_tx(self.tenant).await.unwrap();
        let asked = tx.ask_for_check(&new, 100, &Actor::operator(), self.world.clock.now()).await.unwrap();
        assert!(matches!(asked, AskedCheck::Made(_)));
        tx.commit().await.unwrap();
        id
    }

    async fn over(&self, id: CheckId) -> Check {
        wait_for(PATIENCE, "the check is over", async || {
            let check = self.world.api.tenant_tx(self.tenant).await.unwrap().check(id).await.unwrap().unwrap();
            check.finished_at.is_some().then_some(check)
        })
        .await
    }
}

fn quick() -> CheckConfig {
    CheckConfig { deadline: Duration::from_secs(10), poll: Duration::from_millis(100), ..CheckConfig::default() }
}

/// An MX host without STARTTLS; the port that it listens at.
async fn plain_mail_host() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                connection.write_all(b"220 mx.stranger.test ESMTP\r\n").await.unwrap();
                let mut heard = [0; 512];
                while connection.read(&mut heard).await.is_ok_and(|octets| octets > 0) {
                    connection.write_all(b"250 mx.stranger.test\r\n").await.unwrap();
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn a_domain_of_nobody_here_is_looked_at_as_a_sender_would() {
    let checks = Checks::new().await;
    let customers = &checks.world.customers;
    customers.mx("stranger.test", "mx.stranger.test");
    customers.addresses("mx.stranger.test", &[IpAddr::from([127, 0, 0, 1])]);
    customers.txt("_mta-sts.stranger.test", "v=STSv1; id=1; extra");
    let probe = ProbeConfig { smtp_port: plain_mail_host().await, ..checks.world.probe_config() };
    let _worker = checks.start(CheckConfig { poll: Duration::from_secs(20), ..quick() }, probe);
    let whole = checks.ask("stranger.test", CheckWanted::Inspection { mx_hosts: true }).await;
    let named = checks.ask("stranger.test", CheckWanted::Inspection { mx_hosts: false }).await;
    let codes = |check: &Check| -> Vec<String> {
        let findings = check.report.as_ref().unwrap()["findings"].as_array().unwrap();
        findings.iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
    };
    let whole = checks.over(whole).await;
    assert_eq!((whole.state(), whole.severity.as_deref()), (CheckState::Done, Some("error")), "{:?}", whole.problem);
    for code in ["sts-record-malformed", "mx-no-starttls"] {
        assert!(codes(&whole).contains(&code.to_owned()), "{code}: {:?}", codes(&whole));
    }
    let named = checks.over(named).await;
    assert!(codes(&named).contains(&"mx-found".to_owned()) && !codes(&named).contains(&"mx-no-starttls".to_owned()));
    assert_eq!(named.report.unwrap()["verdict"]["hosts"][0]["under_enforce"], "unknown", "it was not connected to");
}

#[tokio::test]
async fn a_policy_is_built_from_live_hosts_or_it_is_told_why_not() {
    let checks = Checks::new().await;
    checks.world.customers.mx("stranger.test", "mx.stranger.test");
    checks.world.customers.addresses("mx.stranger.test", &[IpAddr::from([127, 0, 0, 1])]);
    let probe = ProbeConfig { smtp_port: plain_mail_host().await, ..checks.world.probe_config() };
    let _worker = checks.start(quick(), probe);
    let wanted = |mode: &str| CheckWanted::Policy {
        mode: Some(mode.parse().unwrap()),
        max_age: None,
        rua: vec!["mailto:tls@stranger.test".parse().unwrap()],
        policy_host: None,
    };
    let built = checks.ask("stranger.test", wanted("enforce")).await;
    let nothing = checks.ask("absent.test", wanted("testing")).await;
    let built = checks.over(built).await;
    assert_eq!(built.problem, None);
    let generated = built.generated.unwrap();
    assert_eq!(generated["policy"], "version: STSv1\r\nmode: enforce\r\nmx: mx.stranger.test\r\nmax_age: 604800\r\n");
    assert_eq!(generated["safe"], json!(false), "the host has no STARTTLS");
    assert_eq!(generated["records"][1]["value"], "v=TLSRPTv1; rua=mailto:tls@stranger.test;");
    let nothing = checks.over(nothing).await;
    assert_eq!((nothing.state(), nothing.problem.unwrap().0.as_str()), (CheckState::Failed, "no-mail"));
}

#[tokio::test]
async fn no_address_that_is_not_public_is_connected_to() {
    let checks = Checks::new().await;
    let host = TcpListener::bind("127.0.0.1:0").await.unwrap();
    checks.world.customers.mx("inner.test", "mx.inner.test");
    checks.world.customers.addresses("mx.inner.test", &[IpAddr::from([127, 0, 0, 1])]);
    checks.world.customers.addresses("mta-sts.inner.test", &[IpAddr::from([127, 0, 0, 1])]);
    let port = host.local_addr().unwrap().port();
    let probe = ProbeConfig {
        smtp_port: port,
        policy_port: port,
        allow_private_addresses: false,
        ..checks.world.probe_config()
    };
    let _worker = checks.start(quick(), probe);
    let id = checks.ask("inner.test", CheckWanted::Inspection { mx_hosts: true }).await;
    let report = checks.over(id).await.report.unwrap().to_string();
    assert!(report.contains("mx-forbidden"), "{report}");
    let nobody = tokio::time::timeout(Duration::from_millis(50), host.accept()).await;
    assert!(nobody.is_err(), "it was connected to");
}

#[tokio::test]
async fn a_check_that_has_taken_three_workers_down_is_given_up() {
    let checks = Checks::new().await;
    let id = checks.ask("stranger.test", CheckWanted::Inspection { mx_hosts: true }).await;
    let lease = TimeDelta::minutes(3);
    for _ in 0..3 {
        let now = checks.world.clock.now();
        let claimed = checks.world.store.claim_checks(1, 1, now + lease, now).await.unwrap();
        assert_eq!(claimed.iter().map(|check| check.id).collect::<Vec<_>>(), [id]);
        checks.world.clock.advance(lease);
    }
    let _worker = checks.start(quick(), checks.world.probe_config());
    let check = checks.over(id).await;
    assert_eq!((check.state(), check.problem.unwrap().0.as_str()), (CheckState::Failed, "not-finished"));
    assert_eq!(check.report, None, "nobody has looked once more");
}

#[tokio::test]
async fn without_any_answer_of_dns_nothing_is_said_of_the_domain() {
    let checks = Checks::new().await;
    checks.world.customers.silence(true);
    let _worker = checks.start(quick(), checks.world.probe_config());
    let id = checks.ask("stranger.test", CheckWanted::Inspection { mx_hosts: true }).await;
    let check = checks.over(id).await;
    assert_eq!((check.state(), check.problem.unwrap().0.as_str()), (CheckState::Failed, "not-seen"));
}
