//! Reading records: all of a name, or all of the zone page by page.

use std::collections::{HashSet, VecDeque};

use futures_util::{StreamExt, stream, stream::BoxStream};

use super::{
    Cloudflare,
    endpoint::{Id, ListRecords, RecordQuery},
    failure::{CallError, Failure},
    record::{Record, observed},
    transport::Api,
};
use crate::provider::{Observed, ProviderError};

/// Records a page. The API gives up to 5000; fewer, so that a page of the largest records fits into what is read.
pub(super) const PAGE: u32 = 2000;
/// Pages that are read about one name or of one type, against an API that never ends.
const MAX_PAGES: u32 = 5;

/// Some records, and the number of the page after them.
async fn page(
    api: &Api,
    zone: &Id,
    mut query: RecordQuery<'_>,
    number: u32,
) -> Result<(Vec<Record>, Option<u32>), Failure> {
    (query.page, query.per_page) = (number, PAGE);
    let answer = api.call(ListRecords { zone, query }).await?;
    let records = answer.result.0;
    let full = records.len() >= PAGE as usize;
    let more = match answer.info.and_then(|info| info.total_pages) {
        Some(total) => number < total && !records.is_empty(),
        None => full,
    };
    Ok((records, more.then_some(number + 1)))
}

/// All records that the query asks for, or `None` if there are too many to look at.
pub(super) async fn few(api: &Api, zone: &Id, query: RecordQuery<'_>) -> Result<Option<Vec<Record>>, Failure> {
    let mut records = Vec::new();
    let mut next = Some(1);
    while let Some(number) = next {
        if number > MAX_PAGES {
            return Ok(None);
        }
        let (found, following) = page(api, zone, query.clone(), number).await?;
        records.extend(found);
        next = following;
    }
    Ok(Some(records))
}

/// All records at one name, whatever their type.
pub(super) async fn at(api: &Api, zone: &Id, name: &str) -> Result<Vec<Record>, Failure> {
    let found = few(api, zone, RecordQuery { name: Some(name), ..RecordQuery::default() }).await?;
    // The API allows 8192 characters for a name and type.
    let mut records =
        found.ok_or_else(|| Failure::broken(CallError::Other("one name has more records than can be")))?;
    records.retain(|record| record.owner_name() == name);
    Ok(records)
}

/// Where a listing of the whole zone stands.
struct Walk<'a> {
    provider: &'a Cloudflare,
    next: Option<u32>,
    /// The records of the name at which the last page ended: more of them may follow.
    name: Vec<Record>,
    ready: VecDeque<Observed>,
}

/// Every set of the zone. Records that are created or deleted meanwhile move others between pages, so that a set may be
/// missed or come twice; who acts on a listing reads the set before.
pub(super) fn all(provider: &Cloudflare) -> BoxStream<'_, Result<Observed, ProviderError>> {
    let walk = Walk { provider, next: Some(1), name: Vec::new(), ready: VecDeque::new() };
    stream::try_unfold(walk, move |mut walk| async move {
        loop {
            if let Some(set) = walk.ready.pop_front() {
                return Ok(Some((set, walk)));
            }
            match walk.next {
                Some(number) => walk.turn(number).await.map_err(|failure| failure.into_error(&provider.zone))?,
                None if walk.name.is_empty() => return Ok(None),
                None => walk.finish_name(),
            }
        }
    })
    .boxed()
}

impl Walk<'_> {
    async fn turn(&mut self, number: u32) -> Result<(), Failure> {
        let provider = self.provider;
        let zone = provider.zone_id().await?;
        let ends_with = Some(provider.zone.as_str());
        let query = RecordQuery { name_ends_with: ends_with, order: Some("name"), ..RecordQuery::default() };
        let (records, next) = page(&provider.api, zone, query, number).await?;
        self.next = next;
        for record in records {
            if self.name.first().is_some_and(|first| first.owner_name() != record.owner_name()) {
                self.finish_name();
            }
            self.name.push(record);
        }
        Ok(())
    }

    /// No more records of this name will come: its sets are whole.
    fn finish_name(&mut self) {
        let mut seen = HashSet::new();
        let mut records = std::mem::take(&mut self.name);
        records.retain(|record| {
            seen.insert(record.id.as_str().to_owned()) && self.provider.contains(&record.owner_name())
        });
        for kind in mtasts_model::feed::RecordType::ALL {
            let set: Vec<_> = records.iter().filter(|record| record.record_type() == Some(kind)).collect();
            self.ready.extend(observed(&set, &self.provider.marker));
        }
    }
}
