//! DNS UPDATE with real servers: the contract with BIND and Knot, races, signatures, lost answers, lagging secondaries.

mod customer;
mod faults;
mod keys;
mod relays;
mod secondary;
mod transfers;
mod writes;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use mtasts_dns::{
    Known, Marker, Pace, ProviderError, RecordChange, ZoneProvider,
    tsig::{TsigAlgorithm, TsigKey},
};
use mtasts_model::{
    clock::SystemClock,
    feed::{
        RecordData,
        RecordType::{self, Cname, Txt},
    },
};
use mtasts_testkit::{Bind, Knot, free_port};

use crate::{
    contract::{Backend, OTHER_OWNER, OWNER, answered, contract_tests},
    providers::rfc2136::{MOST_CHANGES, Rfc2136, Rfc2136Config},
};

const ZONE: &str = "sts.test";
const TIMEOUT: Duration = Duration::from_secs(5);

mod with_bind {
    super::contract_tests!(super::bind);
}

mod with_knot {
    super::contract_tests!(super::knot);
}

enum Server {
    Bind(Bind),
    Knot(Knot),
}

/// A zone on a real server.
struct Served {
    server: Server,
    provider: Rfc2136,
}

async fn bind() -> Served {
    Served::new(Server::Bind(Bind::start(&[ZONE], &[]).await))
}

async fn knot() -> Served {
    Served::new(Server::Knot(Knot::start(&[ZONE]).await))
}

impl Served {
    fn new(server: Server) -> Self {
        let provider = Rfc2136::new(config_for(&server), Arc::new(SystemClock)).unwrap();
        Self { server, provider }
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    fn config(&self) -> Rfc2136Config {
        config_for(&self.server)
    }

    fn with(&self, change: impl FnOnce(&mut Rfc2136Config)) -> Rfc2136 {
        let mut config = self.config();
        change(&mut config);
        Rfc2136::new(config, Arc::new(SystemClock)).unwrap()
    }

    async fn update(&self, lines: &[&str]) {
        match &self.server {
            Server::Bind(bind) => bind.update(ZONE, lines).await,
            Server::Knot(knot) => knot.update(ZONE, lines).await,
        }
    }

    async fn dig(&self, name: &str, kind: &str) -> Vec<String> {
        match &self.server {
            Server::Bind(bind) => bind.dig(name, kind).await,
            Server::Knot(knot) => knot.dig(name, kind).await,
        }
    }
}

impl Server {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Bind(bind) => bind.address(),
            Self::Knot(knot) => knot.address(),
        }
    }

    fn key(&self) -> (&'static str, String) {
        match self {
            Self::Bind(bind) => bind.key(),
            Self::Knot(knot) => knot.key(),
        }
    }
}

fn config_for(server: &Server) -> Rfc2136Config {
    let (name, secret) = server.key();
    Rfc2136Config {
        zone: ZONE.parse().unwrap(),
        server: server.address(),
        key: Some(TsigKey::new(name, TsigAlgorithm::HmacSha256, &secret.into()).unwrap()),
        marker: Marker::new(OWNER).unwrap(),
        authoritative: vec![server.address()],
        pace: Arc::new(Pace::new(1000.0, 1000)),
        timeout: TIMEOUT,
        batch: MOST_CHANGES,
    }
}

/// A value as in a zone file.
fn in_zone_file(record_type: RecordType, value: &str) -> String {
    match record_type {
        Txt => format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")),
        Cname => format!("{value}."),
        _ => value.to_owned(),
    }
}

#[async_trait]
impl Backend for Served {
    fn provider(&self) -> &dyn ZoneProvider {
        &self.provider
    }

    fn of_another_owner(&self) -> Option<Box<dyn ZoneProvider>> {
        Some(Box::new(self.with(|config| config.marker = Marker::new(OTHER_OWNER).unwrap())))
    }

    fn with_wrong_credential(&self) -> Option<Box<dyn ZoneProvider>> {
        Some(Box::new(self.with(|config| config.key = Some(key("update", TsigAlgorithm::HmacSha256)))))
    }

    fn of_missing_zone(&self) -> Option<Box<dyn ZoneProvider>> {
        Some(Box::new(self.with(|config| config.zone = "absent.test".parse().unwrap())))
    }

    fn of_nobody(&self) -> Option<Box<dyn ZoneProvider>> {
        Some(Box::new(self.with(|config| config.server.set_port(free_port()))))
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn answers_dns(&self) -> bool {
        true
    }

    async fn put_strangers_record(&self, name: &str, record_type: RecordType, values: &[&str]) {
        let lines =
            values.iter().map(|value| format!("add {name} 1 {record_type} {}", in_zone_file(record_type, value)));
        let lines: Vec<_> = lines.collect();
        self.update(&lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }

    async fn edit_record(&self, name: &str, record_type: RecordType, values: &[&str]) {
        self.delete_record(name, record_type).await;
        self.put_strangers_record(name, record_type, values).await;
    }

    async fn delete_record(&self, name: &str, record_type: RecordType) {
        self.update(&[&format!("delete {name} {record_type}")]).await;
    }

    async fn read_raw(&self, name: &str, record_type: RecordType) -> Vec<String> {
        answered(self.address(), name, record_type).await
    }

    async fn writes(&self) -> u64 {
        let soa = self.dig(ZONE, "SOA").await;
        soa[0].split(' ').nth(2).unwrap().parse().unwrap()
    }
}

/// A key that no server has.
fn key(name: &str, algorithm: TsigAlgorithm) -> TsigKey {
    TsigKey::new(name, algorithm, &"bm90IHRoZSBzZWNyZXQgb2YgYW55IHNlcnZlciBoZXJl".into()).unwrap()
}

fn change(name: &str, record_type: RecordType, values: Option<&[&str]>, known: Known) -> RecordChange {
    let set = values.map(|values| RecordData { ttl: 60, values: values.iter().map(|&value| value.into()).collect() });
    RecordChange { name: name.to_owned(), record_type, set, known }
}

fn put(name: &str, value: &str, known: Known) -> RecordChange {
    change(name, Txt, Some(&[value]), known)
}

async fn apply_one(provider: &Rfc2136, change: RecordChange) -> Result<(), ProviderError> {
    provider.apply(&[change]).await.and_then(|mut outcomes| outcomes.remove(0)).map(drop)
}
