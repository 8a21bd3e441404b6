//! The edge for `scripts/bench/edge`: the real one, fed from a file instead of from a store.
//!
//! ```text
//! bench_edge make <folder> <hosts> [pem]            certificates of a private CA; `pem`: also a file per host
//! bench_edge fill <folder> <replica>                the hosts through the feed into a replica
//! bench_edge serve <folder> <replica> <address> <cached hosts> [tickets]
//! ```
//!
//! `serve` reads commands on its standard input: `change <number of times>` changes the policies of as many hosts, one
//! after the other, and prints how long each took from the commit in the feed to the acknowledgement by the edge.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on should say where")]

use std::{
    fs,
    io::{BufReader, BufWriter, Read, Write},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use mtasts_edge::{Edge, EdgeConfig, EdgeHandle, Feed, FeedError, KeyOpenError, KeyOpener};
use mtasts_model::{
    CertificateId, Clock, DomainId, Entropy, MailDomain, Mode, PolicyVersionId, Revision, SystemClock, SystemEntropy,
    TenantId, Timestamp,
    clock::SeededEntropy,
    feed::{EdgeChange, EdgeEntry, HostContent, Page, ServedLine},
};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::sync::Notify;
use zeroize::Zeroizing;

fn main() {
    metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder().unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["make", folder, hosts, pem @ ..] => make(Path::new(folder), hosts.parse().unwrap(), !pem.is_empty()),
        ["fill", folder, replica] => fill(Path::new(folder), replica.into()),
        ["serve", folder, replica, address, cached, tickets @ ..] => {
            let mut config = config(replica.into(), address, cached.parse().unwrap());
            config.send_tickets = !tickets.is_empty();
            serve(Path::new(folder), config);
        }
        _ => {
            eprintln!("see the head of the source");
            std::process::exit(2);
        }
    }
}

// ---- certificates

fn policy(number: u64, max_age: u32) -> String {
    let mx = format!("mx: mx.{}\r\nmx: *.mx.{}\r\n", domain(number), domain(number));
    format!("version: STSv1\r\nmode: enforce\r\n{mx}max_age: {max_age}\r\n")
}

fn domain(number: u64) -> String {
    format!("d{number:07}.example")
}

fn make(folder: &Path, hosts: u64, pem: bool) {
    fs::create_dir_all(folder.join("pem")).unwrap();
    let ca = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let root_key = KeyPair::generate().unwrap();
    let root = ca("Benchmark Root").self_signed(&root_key).unwrap();
    let root_issuer = Issuer::new(ca("Benchmark Root"), root_key);
    let key = KeyPair::generate().unwrap();
    let intermediate = ca("Benchmark Intermediate").signed_by(&key, &root_issuer).unwrap();
    let issuer = Issuer::new(ca("Benchmark Intermediate"), key);
    fs::write(folder.join("root.pem"), root.pem()).unwrap();
    fs::write(folder.join("intermediate.der"), intermediate.der()).unwrap();
    let mut key = [0; 32];
    SystemEntropy.fill(&mut key);
    fs::write(folder.join("sealing.key"), key).unwrap();
    let mut out = BufWriter::new(fs::File::create(folder.join("hosts.bin")).unwrap());
    for number in 1..=hosts {
        let host = format!("mta-sts.{}", domain(number));
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.clone()]).unwrap();
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages.push(rcgen::ExtendedKeyUsagePurpose::ServerAuth);
        let leaf = params.signed_by(&key, &issuer).unwrap();
        for part in [host.as_bytes(), leaf.der(), &key.serialize_der(), policy(number, 604_800).as_bytes()] {
            out.write_all(&u32::try_from(part.len()).unwrap().to_le_bytes()).unwrap();
            out.write_all(part).unwrap();
        }
        if pem {
            let text = format!("{}{}{}", leaf.pem(), intermediate.pem(), key.serialize_pem());
            fs::write(folder.join(format!("pem/{number:07}.pem")), text).unwrap();
        }
    }
    out.flush().unwrap();
}

// ---- sealing, as the service does it: AES-256-GCM, bound to tenant and domain

struct Sealer(LessSafeKey);

impl Sealer {
    fn read(folder: &Path) -> Self {
        let key = fs::read(folder.join("sealing.key")).unwrap();
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap()))
    }

    fn bound(tenant: TenantId, domain: DomainId) -> Aad<Vec<u8>> {
        Aad::from([*tenant.as_uuid().as_bytes(), *domain.as_uuid().as_bytes()].concat())
    }

    fn seal(&self, tenant: TenantId, domain: DomainId, key: &[u8]) -> Vec<u8> {
        let mut nonce = [0; 12];
        SystemEntropy.fill(&mut nonce);
        let mut sealed = key.to_vec();
        let aad = Self::bound(tenant, domain);
        self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).unwrap();
        [nonce.to_vec(), sealed].concat()
    }
}

impl KeyOpener for Sealer {
    fn open(&self, tenant: TenantId, domain: DomainId, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyOpenError> {
        let (nonce, sealed) = sealed.split_first_chunk::<12>().ok_or_else(|| KeyOpenError::new("too short"))?;
        let mut key = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self
            .0
            .open_in_place(nonce, Self::bound(tenant, domain), &mut key)
            .map_err(|_| KeyOpenError::new("not for this host"))?
            .len();
        key.truncate(length);
        Ok(key)
    }
}

// ---- feeds

/// Reads `hosts.bin` from its beginning to its end. Revision = number of the host.
struct FileFeed {
    reader: Mutex<BufReader<fs::File>>,
    intermediate: Vec<u8>,
    sealer: Sealer,
    ids: SeededEntropy,
    acknowledged: Notify,
}

impl FileFeed {
    fn next(&self) -> Option<(String, HostContent)> {
        let mut reader = self.reader.lock();
        let mut part = || {
            let mut length = [0; 4];
            reader.read_exact(&mut length).ok()?;
            let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
            reader.read_exact(&mut bytes).ok()?;
            Some(bytes)
        };
        let host = String::from_utf8(part()?).unwrap();
        let (leaf, key, policy_text) = (part()?, part()?, String::from_utf8(part()?).unwrap());
        let now = SystemClock.now();
        let (tenant_id, domain_id) = (TenantId::draw(now, &self.ids), DomainId::draw(now, &self.ids));
        let content = HostContent {
            tenant_id,
            domain_id,
            version_id: PolicyVersionId::draw(now, &self.ids),
            mode: Mode::Enforce,
            max_age: 604_800,
            policy_text,
            certificate_id: CertificateId::draw(now, &self.ids),
            chain: vec![leaf, self.intermediate.clone()],
            sealed_key: self.sealer.seal(tenant_id, domain_id, &key),
            not_after: now + chrono::TimeDelta::days(90),
        };
        Some((host.strip_prefix("mta-sts.").unwrap().to_owned(), content))
    }
}

#[async_trait]
impl Feed for FileFeed {
    async fn since(&self, after: Revision, limit: u32) -> Result<Page<EdgeChange>, FeedError> {
        let mut changes = Vec::new();
        while changes.len() < limit as usize {
            let Some((domain, content)) = self.next() else { break };
            changes.push(EdgeChange {
                revision: Revision::new(after.number() + changes.len() as u64 + 1),
                domain: MailDomain::from_stored(&domain).unwrap(),
                entry: EdgeEntry::Host(Box::new(content)),
                trace: None,
            });
        }
        let position = changes.last().map_or(after, |change| change.revision);
        Ok(Page { more: changes.len() == limit as usize, changes, position, floor: Revision::ZERO })
    }

    async fn acknowledge(&self, _: Revision) -> Result<(), FeedError> {
        self.acknowledged.notify_one();
        Ok(())
    }

    async fn flush_served(&self, _: Vec<ServedLine>, _: Option<Timestamp>) -> Result<(), FeedError> {
        Ok(())
    }

    async fn changed(&self) {
        std::future::pending::<()>().await;
    }
}

/// Has nothing new for a filled replica, until it is told to change something.
#[derive(Default)]
struct ChangingFeed {
    pending: Mutex<Option<(Revision, EdgeChange)>>,
    changed: Notify,
    acknowledged: Mutex<Revision>,
    acknowledgement: Notify,
}

#[async_trait]
impl Feed for ChangingFeed {
    async fn since(&self, after: Revision, _: u32) -> Result<Page<EdgeChange>, FeedError> {
        let pending = self.pending.lock().clone().filter(|(revision, _)| *revision > after);
        let position = pending.as_ref().map_or(after, |(revision, _)| *revision);
        let changes = pending.into_iter().map(|(_, change)| change).collect();
        Ok(Page { changes, position, more: false, floor: Revision::ZERO })
    }

    async fn acknowledge(&self, position: Revision) -> Result<(), FeedError> {
        *self.acknowledged.lock() = position;
        self.acknowledgement.notify_one();
        Ok(())
    }

    async fn flush_served(&self, _: Vec<ServedLine>, _: Option<Timestamp>) -> Result<(), FeedError> {
        Ok(())
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }
}

// ---- edges

fn config(replica: PathBuf, address: &str, cached: usize) -> EdgeConfig {
    let mut config = EdgeConfig::new(vec![address.parse().unwrap()], Vec::new(), replica);
    config.workers = NonZeroUsize::MIN;
    config.key_cache_entries = cached;
    config.max_connections_per_address = 30_000;
    config
}

fn file_feed(folder: &Path) -> FileFeed {
    FileFeed {
        reader: Mutex::new(BufReader::new(fs::File::open(folder.join("hosts.bin")).unwrap())),
        intermediate: fs::read(folder.join("intermediate.der")).unwrap(),
        sealer: Sealer::read(folder),
        ids: SeededEntropy::new(1),
        acknowledged: Notify::new(),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn fill(folder: &Path, replica: PathBuf) {
    let began = Instant::now();
    let feed = Arc::new(file_feed(folder));
    let sealer = Arc::new(Sealer::read(folder));
    let edge = Edge::start(config(replica, "127.0.0.1:0", 1), feed.clone(), sealer, Arc::new(SystemClock)).unwrap();
    feed.acknowledged.notified().await;
    println!("filled {} in {:.1} s", edge.position(), began.elapsed().as_secs_f64());
    let _ = edge.shutdown(Duration::from_secs(5)).await;
}

#[tokio::main(flavor = "current_thread")]
async fn serve(folder: &Path, config: EdgeConfig) {
    let began = Instant::now();
    let feed = Arc::new(ChangingFeed::default());
    let edge =
        Edge::start(config, feed.clone(), Arc::new(Sealer::read(folder)), Arc::new(SystemClock)).expect("an edge");
    while !edge.readiness().is_ready() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("ready after {:.1} ms at {}", began.elapsed().as_secs_f64() * 1e3, edge.position());
    let (send, mut commands) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
    while let Some(command) = commands.recv().await {
        match command.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["change", times] => change(folder, &edge, &feed, times.parse().unwrap()).await,
            ["stop"] => break,
            _ => eprintln!("unknown command"),
        }
    }
    let _ = edge.shutdown(Duration::from_secs(5)).await;
}

/// Changes the policies of the first hosts, one after the other.
async fn change(folder: &Path, edge: &EdgeHandle, feed: &ChangingFeed, times: u64) {
    let hosts = file_feed(folder);
    let mut took = Vec::new();
    for number in 1..=times {
        let Some((domain, mut content)) = hosts.next() else { break };
        content.policy_text = policy(number, 604_801);
        let revision = Revision::new(edge.position().number() + 1);
        let change = EdgeChange {
            revision,
            domain: MailDomain::from_stored(&domain).unwrap(),
            entry: EdgeEntry::Host(Box::new(content)),
            trace: None,
        };
        let began = Instant::now();
        *feed.pending.lock() = Some((revision, change));
        feed.changed.notify_one();
        while *feed.acknowledged.lock() < revision {
            feed.acknowledgement.notified().await;
        }
        took.push(began.elapsed());
    }
    took.sort();
    let at = |share: usize| took[(took.len() - 1) * share / 100].as_secs_f64() * 1e3;
    println!("changed {} p50_ms {:.2} p99_ms {:.2} max_ms {:.2}", took.len(), at(50), at(99), at(100));
}
