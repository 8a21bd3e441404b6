//! A nameserver with many tenants' records for `scripts/bench/nameserver`: serves until it gets SIGTERM or SIGINT.
//!
//! `cargo run --release -p mtasts-nameserver --example bench_nameserver -- PORT SETS [--no-rate-limit | --rate-limit]
//! [--udp-sockets N]`
//!
//! `--rate-limit` counts each answer, against a limit that is never reached. Everybody on loopback may transfer the
//! zone, so that other servers can be given the same one.

use std::{error::Error, net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use mtasts_model::{
    Label, Network, SystemClock, SystemEntropy,
    clock::SeededEntropy,
    feed::{Page, RecordData, RecordType, Revision, ZoneChange},
};
use mtasts_nameserver::{
    CaaValue, FeedError, NameServer, Nameserver, NameserverConfig, RateLimit, TransferPeer, ZoneFeed,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Duration, sleep},
};
use tokio_util::sync::CancellationToken;

/// As many record sets as asked for, made up while they are read.
struct MadeUp {
    sets: u64,
}

#[async_trait]
impl ZoneFeed for MadeUp {
    async fn since(&self, after: Revision, limit: u32) -> Result<Page<ZoneChange>, FeedError> {
        let last = self.sets.min(after.number() + u64::from(limit));
        let changes = (after.number() + 1..=last)
            .map(|number| ZoneChange {
                revision: Revision::new(number),
                name: format!("{}._mta-sts.sts.example", Label::draw(&SeededEntropy::new(number)).as_str()),
                record_type: RecordType::Txt,
                set: Some(RecordData { ttl: 60, values: vec![format!("v=STSv1; id=20261121000000{number:06};")] }),
            })
            .collect();
        Ok(Page { changes, position: Revision::new(last), more: last < self.sets, floor: Revision::ZERO })
    }

    async fn acknowledge(&self, _: Revision) -> Result<(), FeedError> {
        Ok(())
    }

    async fn changed(&self) {
        sleep(Duration::from_mins(1)).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().ok_or("PORT is missing")?.parse()?;
    let sets = arguments.next().ok_or("SETS is missing")?.parse()?;
    let mut config = NameserverConfig::new("sts.example".parse()?, vec![SocketAddr::from(([127, 0, 0, 1], port))]);
    config.name_servers = vec![NameServer { name: "ns.example.net".to_owned(), addresses: Vec::new() }];
    config.edge_addresses = vec!["192.0.2.10".parse()?, "2001:db8::10".parse()?];
    config.caa = vec![CaaValue { flags: 0, tag: "issue".to_owned(), value: "ca.example".to_owned() }];
    let networks = Network::loopback().to_vec();
    config.transfers = vec![TransferPeer { name: "loopback".to_owned(), key: None, networks, notify: Vec::new() }];
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--no-rate-limit" => config.rate_limit = None,
            "--rate-limit" => {
                let all = u32::MAX;
                config.rate_limit = Some(RateLimit {
                    answers_per_second: all,
                    nxdomains_per_second: all,
                    errors_per_second: all,
                    exempt: Vec::new(),
                    ..RateLimit::default()
                });
            }
            "--udp-sockets" => config.limits.udp_sockets = arguments.next().ok_or("N is missing")?.parse()?,
            other => return Err(format!("unknown: {other}").into()),
        }
    }
    let (clock, entropy, shutdown) = (Arc::new(SystemClock), Arc::new(SystemEntropy), CancellationToken::new());
    let server = Nameserver::bind(config, Arc::new(MadeUp { sets }), entropy, clock, shutdown.clone()).await?;
    while !server.ready() {
        sleep(Duration::from_millis(1)).await;
    }
    println!("{sets} record sets at {:?}", server.addresses());
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    shutdown.cancel();
    server.stopped().await;
    Ok(())
}
