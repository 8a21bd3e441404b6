//! How much memory a sweep takes.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use mtasts_dns::{
    provider::{Applied, BoxError, Mark, Observed, ProviderError, RecordChange, ZoneProvider},
    sweep::{Desired, DesiredSet, SweepLimits, SweepReport, sweep},
};
use mtasts_model::{
    ZoneName,
    feed::{
        RecordData,
        RecordType::{self, Txt},
    },
};

use super::fakes::data;

/// A zone as desired, of which nothing is kept anywhere.
struct Synthetic {
    name: ZoneName,
    count: usize,
    looks: AtomicUsize,
}

impl Synthetic {
    fn label(number: usize) -> String {
        format!("{number:026}._mta-sts.sts.test")
    }

    fn number(name: &str) -> usize {
        name[..26].parse().unwrap()
    }

    fn data(number: usize) -> RecordData {
        data(&format!("v=STSv1; id={number:020};"))
    }

    fn desired(number: usize) -> DesiredSet {
        DesiredSet { name: Self::label(number), record_type: Txt, data: Self::data(number), settled: true }
    }
}

#[async_trait]
impl ZoneProvider for Synthetic {
    fn zone(&self) -> &ZoneName {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "synthetic"
    }

    fn batch_size(&self) -> usize {
        100
    }

    async fn check(&self) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn read(&self, _: &str, _: RecordType) -> Result<Option<Observed>, ProviderError> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        Ok(None)
    }

    async fn apply(&self, changes: &[RecordChange]) -> Result<Vec<Result<Applied, ProviderError>>, ProviderError> {
        panic!("nothing is to be repaired, least of all {changes:?}")
    }

    fn list(&self) -> BoxStream<'_, Result<Observed, ProviderError>> {
        let observed = |number| Observed {
            name: Self::label(number),
            record_type: Txt,
            data: Self::data(number),
            mark: Mark::Unread,
            reference: None,
        };
        stream::iter((0..self.count).rev()).map(move |number| Ok(observed(number))).boxed()
    }

    fn authoritative(&self) -> Vec<SocketAddr> {
        Vec::new()
    }
}

#[async_trait]
impl Desired for Synthetic {
    async fn at(&self, names: &[String]) -> Result<Vec<DesiredSet>, BoxError> {
        Ok(names.iter().map(|name| Self::desired(Self::number(name))).collect())
    }

    async fn after(&self, after: Option<(&str, RecordType)>, limit: u32) -> Result<Vec<DesiredSet>, BoxError> {
        let start = after.map_or(0, |(name, _)| Self::number(name) + 1);
        Ok((start..self.count.min(start + limit as usize)).map(Self::desired).collect())
    }
}

/// The most memory that this process has had so far, in bytes (proc(5)).
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Sweeps a zone of that many sets that is as desired, and gives by how many bytes the process grew.
async fn growth(count: usize) -> u64 {
    let zone = Synthetic { name: "sts.test".parse().unwrap(), count, looks: AtomicUsize::new(0) };
    let before = peak_memory();
    let report = sweep(&zone, &zone, SweepLimits::default()).await.unwrap();
    let count = count as u64;
    assert_eq!(report, SweepReport { observed: count, desired: count, ..SweepReport::default() });
    assert_eq!(zone.looks.load(Ordering::SeqCst), 0, "what agrees is not looked at again");
    peak_memory() - before
}

/// Eight bytes for each set, at most thrice while the list of them grows, and a few chunks.
fn bound(count: usize) -> u64 {
    count as u64 * 24 + 4 * 1024 * 1024
}

#[tokio::test]
async fn a_zone_of_200_000_sets_is_swept_in_little_memory() {
    let growth = growth(200_000).await;
    assert!(growth <= bound(200_000), "{growth} bytes");
}

#[tokio::test]
#[ignore = "takes a while; run it when the sweep's loops change"]
async fn a_zone_of_a_million_sets_is_swept_in_little_memory() {
    let growth = growth(1_000_000).await;
    println!("a sweep of a million sets took {growth} bytes");
    assert!(growth <= bound(1_000_000), "{growth} bytes");
}
