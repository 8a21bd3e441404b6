//! Looks at MX hosts that many domains share, over a real database, DNS and SMTP.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::TimeDelta;
use mtasts_model::{
    CheckId, Clock, ConditionKind, HostName, MailDomain, Status, SystemEntropy, TenantId, Timestamp, check::CheckWanted,
};
use mtasts_probe::{
    MxProber, ProbeConfig, Timeouts,
    inspect::{Inspector, Pacer},
    roots,
};
use mtasts_store::{Actor, DomainView, MxHostTurn, NewCheck};
use mtasts_testkit::wait_until;
use mtasts_worker::{CheckConfig, CheckDeps, CheckWorker, Worker, Zones, shared_pacer};
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::world::{PATIENCE, Running, World, config, status};

const MX: &str = "mx.provider.test";
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An MX host for many domains.
struct MailHost {
    port: u16,
    /// Its own root.
    root: CertificateDer<'static>,
    /// Connections so far.
    connections: Arc<AtomicUsize>,
    /// Whether it offers STARTTLS.
    secure: Arc<AtomicBool>,
    /// Whether it says anything.
    silent: Arc<AtomicBool>,
}

impl MailHost {
    async fn start() -> Self {
        let key = KeyPair::generate().unwrap();
        let names = (0..20).map(|number| format!("mx{number}.provider.test")).chain([MX.to_owned()]);
        let certificate = CertificateParams::new(names.collect::<Vec<_>>()).unwrap().self_signed(&key).unwrap();
        let root = certificate.der().clone();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        let tls = tls.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let tls = TlsAcceptor::from(Arc::new(tls.with_single_cert(vec![root.clone()], private).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let made = Self {
            port: listener.local_addr().unwrap().port(),
            root,
            connections: Arc::default(),
            secure: Arc::new(AtomicBool::new(true)),
            silent: Arc::default(),
        };
        let (connections, secure, silent) =
            (Arc::clone(&made.connections), Arc::clone(&made.secure), Arc::clone(&made.silent));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                if silent.load(Ordering::SeqCst) {
                    tokio::spawn(async move {
                        sleep(Duration::from_mins(5)).await;
                        drop(stream);
                    });
                } else {
                    tokio::spawn(converse(stream, tls.clone(), secure.load(Ordering::SeqCst)));
                }
            }
        });
        made
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn converse(stream: TcpStream, tls: TlsAcceptor, secure: bool) -> std::io::Result<()> {
    let mut plain = BufReader::new(stream);
    plain.write_all(b"220 mx.provider.test ESMTP\r\n").await?;
    let hello: &[u8] = if secure { b"250-mx.provider.test\r\n250 STARTTLS\r\n" } else { b"250 mx.provider.test\r\n" };
    for answer in [hello, b"220 go ahead\r\n"] {
        let mut line = String::new();
        plain.read_line(&mut line).await?;
        if line == "QUIT\r\n" {
            return plain.write_all(b"221 bye\r\n").await;
        }
        plain.write_all(answer).await?;
    }
    let mut secured = tls.accept(plain.into_inner()).await?;
    let mut heard = [0; 64];
    let _ = secured.read(&mut heard).await?;
    secured.write_all(b"221 bye\r\n").await
}

struct Scene {
    world: World,
    host: MailHost,
    tenant: TenantId,
}

impl Scene {
    async fn new() -> Self {
        let world = World::new().await;
        world.customers.addresses(MX, &[LOCALHOST]);
        let tenant = world.tenant().await;
        Self { host: MailHost::start().await, world, tenant }
    }

    fn probe(&self) -> ProbeConfig {
        let second = Duration::from_secs(1);
        let roots = Arc::new(roots(std::slice::from_ref(&self.host.root)).unwrap());
        let timeouts = Timeouts { mx_host: Duration::from_secs(4), ..self.world.probe_config().timeouts };
        let timeouts = Timeouts { reply: second * 3, ..timeouts };
        ProbeConfig { smtp_port: self.host.port, roots, timeouts, ..self.world.probe_config() }
    }

    /// A worker as a process of its own: with its own pacer, which shares the pace with all others.
    fn worker(&self, name: &str) -> Running {
        self.worker_paced(name, self.pacer())
    }

    fn pacer(&self) -> Arc<Pacer> {
        shared_pacer(self.world.store.clone(), Arc::new(self.world.clock.clone()))
    }

    fn worker_paced(&self, name: &str, pacer: Arc<Pacer>) -> Running {
        let zones = Zones::one(Arc::new(self.world.zone.provider()));
        let mut deps = self.world.deps(Arc::new(self.world.ca.clone()), zones);
        deps.mx_prober = MxProber::new(self.probe(), self.world.resolver(), pacer).unwrap();
        deps.inspector = Inspector::new(self.probe(), self.world.resolver(), Arc::default());
        Running::new(Worker::new(config(name), deps))
    }

    /// A domain whose mail goes to this host. It is not delegated: its MX hosts are looked at all the same.
    async fn domain(&self, name: &str, host: &str) -> DomainView {
        self.world.register_with_mx(self.tenant, name, &[(10, host)]).await
    }

    async fn looked(&self, domain: &DomainView) -> DomainView {
        self.world.view_when(domain, "its MX hosts were looked at", |view| view.mx_seen.is_some()).await
    }

    /// The next look after a verify-now.
    async fn looked_again(&self, domain: &DomainView) -> DomainView {
        let before = self.world.view(domain).await.mx_seen.unwrap().at;
        self.world.verify(domain).await;
        self.world
            .view_when(domain, "they were looked at again", |view| {
                view.mx_seen.as_ref().is_some_and(|seen| seen.at > before)
            })
            .await
    }
}

fn failure(view: &DomainView) -> Option<&str> {
    let failure = view.mx_seen.as_ref().unwrap().hosts[0].failure.as_ref();
    failure.map(|failure| failure.code.as_str())
}

fn connected_at(view: &DomainView) -> Timestamp {
    view.mx_seen.as_ref().unwrap().oldest_look()
}

#[tokio::test]
async fn two_hundred_domains_of_two_workers_on_one_host_are_one_connection() {
    let scene = Scene::new().await;
    for number in 0..200 {
        scene.domain(&format!("customer{number}.test"), MX).await;
    }
    let _workers = [scene.worker("first"), scene.worker("second")];
    let world = &scene.world;
    // Two hundred domains have a thousand steps to go, each a few transactions.
    wait_until(PATIENCE * 4, "all domains were looked at", async || {
        world.count("domains WHERE mx IS NOT NULL").await == 200
    })
    .await;
    assert_eq!(scene.host.connections(), 1);
    assert_eq!(world.count("domains WHERE mx @? '$.hosts[*].failure.code'").await, 0);
    assert_eq!(world.count("mx_days").await, 200, "each domain has its own proof");
    let times = "(SELECT DISTINCT first_seen_at, last_seen_at FROM mx_days) looks WHERE first_seen_at = last_seen_at";
    assert_eq!(world.count(times).await, 1, "of one and the same look");
    assert_eq!(world.count("step_failures WHERE kind = 'probe-mx'").await, 0, "to wait is no failure");
}

#[tokio::test]
async fn the_hosts_of_a_domain_are_kept_in_order_of_preference_each_with_its_own_look() {
    let scene = Scene::new().await;
    let world = &scene.world;
    world.customers.addresses("unknown.provider.test", &[LOCALHOST]);
    let _worker = scene.worker("first");
    let first = scene.looked(&scene.domain("customer.test", MX).await).await;
    world.clock.advance(TimeDelta::minutes(20));
    let hosts = [(20, "unknown.provider.test"), (10, MX)];
    let domain = world.register_with_mx(scene.tenant, "both.test", &hosts).await;
    let both = scene.looked(&domain).await;
    let seen = both.mx_seen.as_ref().unwrap();
    let hosts: Vec<_> = seen.hosts.iter().map(|mx| (mx.preference, mx.host.as_str(), mx.failure.is_none())).collect();
    assert_eq!(hosts, [(10, MX, true), (20, "unknown.provider.test", false)]);
    assert_eq!(seen.looked_at(&seen.hosts[0]), connected_at(&first));
    assert_eq!(seen.looked_at(&seen.hosts[1]), seen.at);
}

#[tokio::test]
async fn a_host_that_turns_bad_is_seen_within_the_hour_and_one_that_is_mended_when_the_tenant_asks() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let _worker = scene.worker("first");
    let first = scene.looked(&scene.domain("first.test", MX).await).await;
    let passed_at = connected_at(&first);
    assert_eq!((scene.host.connections(), failure(&first)), (1, None));

    scene.host.secure.store(false, Ordering::SeqCst);
    world.clock.advance(TimeDelta::minutes(50));
    let second = scene.looked(&scene.domain("second.test", MX).await).await;
    assert_eq!((scene.host.connections(), failure(&second)), (1, None), "the look is 50 minutes old");
    assert_eq!(connected_at(&second), passed_at, "and says so");
    let day = world.database.psql("SELECT DISTINCT first_seen_at = last_seen_at FROM mx_days").await;
    assert_eq!(day.trim(), "t", "nobody has looked twice");

    world.clock.advance(TimeDelta::minutes(11));
    let second = scene.looked_again(&second).await;
    assert_eq!((scene.host.connections(), failure(&second)), (2, Some("starttls-not-supported")));
    assert_eq!(connected_at(&second), second.mx_seen.as_ref().unwrap().at, "a look of its own");
    // The other domain is told by the same look.
    let third = scene.looked(&scene.domain("third.test", MX).await).await;
    assert_eq!((scene.host.connections(), failure(&third)), (2, Some("starttls-not-supported")));

    // Whoever has mended it need not wait.
    scene.host.secure.store(true, Ordering::SeqCst);
    world.clock.advance(TimeDelta::minutes(2));
    let third = scene.looked_again(&third).await;
    assert_eq!((scene.host.connections(), failure(&third)), (3, None));
    // And whoever is told by ten minutes later that it fails was told by a look that is no older.
    scene.host.secure.store(false, Ordering::SeqCst);
    world.clock.advance(TimeDelta::minutes(61));
    let second = scene.looked_again(&second).await;
    assert_eq!((scene.host.connections(), failure(&second)), (4, Some("starttls-not-supported")));
    world.clock.advance(TimeDelta::minutes(11));
    scene.looked(&scene.domain("fourth.test", MX).await).await;
    assert_eq!(scene.host.connections(), 5);
}

#[tokio::test]
async fn a_worker_that_dies_at_a_host_holds_the_others_up_for_its_claim_alone() {
    let scene = Scene::new().await;
    let world = &scene.world;
    scene.host.silent.store(true, Ordering::SeqCst);
    let domain = scene.domain("customer.test", MX).await;
    let first = scene.worker("first");
    world.wait_until("the first is at the host", async || scene.host.connections() == 1).await;
    first.kill().await;
    scene.host.silent.store(false, Ordering::SeqCst);

    // The domain's lease goes to another, who finds the host taken.
    world.clock.advance(TimeDelta::seconds(6));
    let _second = scene.worker("second");
    world
        .wait_until("the look is put off", async || {
            world.count("domain_schedule WHERE mx_put_off_until > mx_put_off_at").await == 1
        })
        .await;
    assert_eq!(scene.host.connections(), 1, "while the claim lasts");
    let view = world.view(&domain).await;
    assert_eq!(status(&view, ConditionKind::MxReady), (Status::Unknown, "NotProbed"));
    assert_eq!(world.count("step_failures WHERE kind = 'probe-mx'").await, 0);
    assert_eq!(world.count("events WHERE type LIKE '%mx%'").await, 0);
    // The longest that a look takes here, and the claim's slack.
    world.clock.advance(TimeDelta::seconds(3 * 4 + 15 + 10));
    let view = scene.looked(&domain).await;
    assert_eq!((scene.host.connections(), failure(&view)), (2, None));
}

#[tokio::test]
async fn where_checks_have_used_up_the_pace_a_look_is_put_off_and_nothing_said_of_the_domain() {
    let scene = Scene::new().await;
    let world = &scene.world;
    // What checks do, in whatever process: ahead of now, so that no turn comes back while the test looks.
    let ahead = world.clock.now() + TimeDelta::minutes(2);
    while world.store.pace_probe(LOCALHOST, 30, ahead).await.unwrap().is_ok() {}
    let domain = scene.domain("customer.test", MX).await;
    // A look that failed some time ago.
    let failed = "INSERT INTO step_failures (domain_id, tenant_id, kind, failures, last_at, reason, message)
        SELECT id, tenant_id, 'probe-mx', 3, now() - interval '2 hours', 'MxUnresolvable', 'm' FROM domains";
    world.database.psql(failed).await;
    let _worker = scene.worker("first");
    world
        .wait_until("the look is put off", async || {
            world.count("domain_schedule WHERE mx_put_off_until > mx_put_off_at").await == 1
        })
        .await;
    assert_eq!(scene.host.connections(), 0);
    let view = world.view(&domain).await;
    assert_eq!(status(&view, ConditionKind::MxReady), (Status::False, "MxUnresolvable"), "as it was");
    assert_eq!(view.mx_seen, None);
    let failures = "step_failures WHERE kind = 'probe-mx' AND failures = 3";
    assert_eq!(world.count(failures).await, 1, "neither a failure more nor those forgotten that there were");
    assert_eq!(world.count("mx_host_looks WHERE claim_token IS NOT NULL").await, 0, "the turn was given back");
    // There is room again.
    world.clock.advance(TimeDelta::minutes(3));
    scene.looked(&domain).await;
    assert_eq!((scene.host.connections(), world.count("step_failures WHERE kind = 'probe-mx'").await), (1, 0));
}

#[tokio::test]
async fn looks_by_many_names_at_one_machine_and_checks_keep_one_pace_together() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let mut domains = Vec::new();
    for number in 0..20 {
        let name = format!("mx{number}.provider.test");
        world.customers.addresses(&name, &[LOCALHOST]);
        domains.push(scene.domain(&format!("customer{number}.test"), &name).await);
    }
    let begun = world.clock.now();
    let _workers = [scene.worker("first"), scene.worker("second")];
    let under_way = || world.count("domain_schedule WHERE mx_put_off_at IS NOT NULL");
    world.wait_until("some are put off", async || under_way().await > 0 && scene.host.connections() >= 10).await;
    // A burst of ten, and one more every two seconds.
    let seconds = (world.clock.now() - begun).num_seconds();
    let allowed = 10 + usize::try_from(seconds).unwrap() / 2 + 1;
    assert!(scene.host.connections() <= allowed, "{} after {seconds} s", scene.host.connections());
    assert!(world.store.pace_probe(LOCALHOST, 30, begun).await.unwrap().is_err(), "checks find no room either");

    // A check of a tenant, in a process of its own, at the same machine.
    let until = world.clock.now() + TimeDelta::minutes(2);
    while world.store.pace_probe(LOCALHOST, 30, until).await.unwrap().is_ok() {}
    let deps = CheckDeps {
        store: world.store.clone(),
        probe: scene.probe(),
        resolver: world.resolver(),
        pacer: scene.pacer(),
        clock: Arc::new(world.clock.clone()),
        entropy: Arc::new(SystemEntropy),
    };
    let checks = CheckWorker::new(CheckConfig { deadline: Duration::from_secs(4), ..CheckConfig::default() }, deps);
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { checks.run(stop).await }
    });
    let id = CheckId::draw(world.clock.now(), &SystemEntropy);
    let domain = MailDomain::from_stored("customer0.test").unwrap();
    let new = NewCheck { id, domain, wanted: CheckWanted::Inspection { mx_hosts: true } };
    let mut tx = world.api.tenant_tx(scene.tenant).await.unwrap();
    tx.ask_for_check(&new, 100, &Actor::operator(), world.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
    world
        .wait_until("the check has found no room", async || {
            world.count("checks WHERE report::text LIKE '%\"paced\"%'").await == 1
        })
        .await;
    stop.cancel();
    running.await.unwrap();

    // All come to their look in the end.
    world
        .wait_until("all were looked at", async || {
            world.clock.advance(TimeDelta::minutes(3));
            world.count("domains WHERE mx IS NOT NULL").await == 20
        })
        .await;
    assert_eq!(world.count("step_failures WHERE kind = 'probe-mx'").await, 0);
    let turn = world.store.mx_host_turn(&HostName::parse(MX).unwrap(), |_| true, until, until).await.unwrap();
    assert!(matches!(turn, MxHostTurn::Ours(_)), "nobody's mail goes there: {turn:?}");
}
