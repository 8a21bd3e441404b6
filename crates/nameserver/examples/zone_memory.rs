//! What a zone of many tenants costs: resident bytes for each record set, the time to read the feed, and the time
//! from a cold start to the first answer from the replica.
//!
//! `cargo run --release -p mtasts-nameserver --example zone_memory -- 1000000`

use std::{error::Error, fs, sync::Arc, time::Duration};

use async_trait::async_trait;
use mtasts_dns::{Lookup, Resolver, ResolverConfig};
use mtasts_model::{
    Label, SystemClock, SystemEntropy,
    clock::SeededEntropy,
    feed::{Page, RecordData, RecordType, Revision, ZoneChange},
};
use mtasts_nameserver::{FeedError, NameServer, Nameserver, NameserverConfig, ZoneFeed};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// As many record sets as asked for, made up while they are read, so that only the nameserver's memory is measured.
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
                name: name(number),
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

fn name(number: u64) -> String {
    format!("{}._mta-sts.sts.example", Label::draw(&SeededEntropy::new(number)).as_str())
}

fn resident_bytes() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let sets = std::env::args().nth(1).map_or(Ok(100_000), |count| count.parse())?;
    let path = std::env::temp_dir().join(format!("mtasts-zone-memory-{}.redb", std::process::id()));
    let mut config = NameserverConfig::new("sts.example".parse()?, vec!["127.0.0.1:0".parse()?]);
    config.name_servers = vec![NameServer { name: "ns.example.net".to_owned(), addresses: Vec::new() }];

    let before = resident_bytes()?;
    for kept in [false, true, true] {
        config.replica_path = kept.then(|| path.clone());
        let warm = kept && path.exists();
        let (start, shutdown) = (Instant::now(), CancellationToken::new());
        let feed = Arc::new(MadeUp { sets });
        let server =
            Nameserver::bind(config.clone(), feed, Arc::new(SystemEntropy), Arc::new(SystemClock), shutdown.clone())
                .await?;
        while !server.ready() {
            sleep(Duration::from_millis(1)).await;
        }
        let upstreams = server.addresses().to_vec();
        let resolver = Resolver::new(ResolverConfig { upstreams, ..ResolverConfig::default() })?;
        let Lookup::Found(_) = resolver.txt(&name(sets)).await? else { return Err("no answer".into()) };
        let from = if warm { "replica" } else { "feed" };
        println!("{sets} record sets from the {from}: first answer after {:?}", start.elapsed());
        if !kept {
            let bytes = resident_bytes()? - before;
            println!("resident: {} bytes for each record set", bytes / sets.max(1));
        }
        while kept && !path.exists() {
            sleep(Duration::from_millis(5)).await;
        }
        if kept && !warm {
            println!("replica written after {:?}: {} bytes", start.elapsed(), fs::metadata(&path)?.len());
        }
        shutdown.cancel();
        server.stopped().await;
    }
    fs::remove_file(&path)?;
    Ok(())
}
