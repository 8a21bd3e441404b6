//! The change feeds, as edges and nameservers read them.

mod prune;

use mtasts_model::{
    CertificateId, DomainId, Mode, PolicyVersionId, Revision, TenantId, Timestamp,
    feed::{EdgeChange, EdgeEntry, HostContent, Page, ZoneChange},
    name::MailDomain,
};
use sea_orm::FromQueryResult;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::{Store, StoreError, der, recovery::LEAP, sql, stored::revision_column, zone};

/// The longest page.
const MAX_PAGE: u32 = 1_000;

/// The page by the index on `revision` first, what its rows name afterwards by primary keys: LIMIT 1 keeps the planner
/// from reading whole tables for it. The marks are read in the same snapshot, in a row of their own, since
/// there may be no change.
const EDGE_PAGE: &str = "
    SELECT e.name, e.kind, e.revision, e.tenant_id, e.domain_id, e.version_id, e.certificate_id, e.challenge, e.traceparent,
        v.mode, v.max_age, v.policy_text, c.chain, c.sealed_key, c.not_after, f.floor, f.drawn, f.newest
    FROM (SELECT floor, (SELECT last_value FROM edge_revisions) AS drawn,
            (SELECT max(revision) FROM edge_entries) AS newest FROM feed_floors WHERE feed = 'edge') f
    LEFT JOIN (SELECT * FROM edge_entries WHERE revision > $1 ORDER BY revision LIMIT $2) e ON true
    LEFT JOIN LATERAL (SELECT mode, max_age, policy_text FROM policy_versions WHERE id = e.version_id LIMIT 1) v ON true
    LEFT JOIN LATERAL (SELECT chain, sealed_key, not_after FROM certificates WHERE id = e.certificate_id LIMIT 1) c ON true
    ORDER BY e.revision";

const ZONE_PAGE: &str = "
    SELECT z.name, z.type AS record_type, z.revision, z.ttl, z.record_values, f.floor, f.drawn, f.newest
    FROM (SELECT floor, (SELECT last_value FROM zone_revisions) AS drawn,
            (SELECT max(revision) FROM zone_records) AS newest FROM feed_floors WHERE feed = 'zone') f
    LEFT JOIN (SELECT * FROM zone_records WHERE revision > $1 ORDER BY revision LIMIT $2) z ON true
    ORDER BY z.revision";

#[derive(Debug, FromQueryResult)]
struct EdgeRow {
    name: Option<String>,
    kind: Option<String>,
    revision: Option<i64>,
    tenant_id: Option<Uuid>,
    domain_id: Option<Uuid>,
    version_id: Option<Uuid>,
    certificate_id: Option<Uuid>,
    challenge: Option<Json>,
    traceparent: Option<String>,
    mode: Option<String>,
    max_age: Option<i32>,
    policy_text: Option<String>,
    chain: Option<Vec<u8>>,
    sealed_key: Option<Vec<u8>>,
    not_after: Option<Timestamp>,
    floor: i64,
    drawn: i64,
    newest: Option<i64>,
}

#[derive(Debug, FromQueryResult)]
struct ZonePageRow {
    name: Option<String>,
    record_type: Option<String>,
    revision: Option<i64>,
    ttl: Option<i64>,
    record_values: Option<Json>,
    floor: i64,
    drawn: i64,
    newest: Option<i64>,
}

impl Store {
    /// What has changed for the edges after a position, in order; at most 1,000 changes.
    ///
    /// [`StoreError::FeedWentBack`] for a reader that is ahead of the feed: the database was restored from a backup, and
    /// what the reader has is newer. It goes on once [`Self::finish_recovery`] has put revisions above it.
    pub async fn edge_changes(&self, after: Revision, limit: u32) -> Result<Page<EdgeChange>, StoreError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let values = vec![revision_column(after).into(), i64::from(limit).into()];
        let rows = sql::all::<EdgeRow>(self.db(), EDGE_PAGE, values).await?;
        let marks = rows.first().map(|row| Marks { floor: row.floor, drawn: row.drawn, newest: row.newest });
        let read = Read::of(rows.iter().filter_map(|row| row.revision));
        let changes = rows.into_iter().filter_map(readable_edge_change).collect();
        page("edge_entries", changes, &read, marks, after, limit)
    }

    /// What has changed for the nameservers after a position, in order; at most 1,000 changes. Readers ahead of the
    /// feed are refused, as with [`Self::edge_changes`].
    pub async fn zone_changes(&self, after: Revision, limit: u32) -> Result<Page<ZoneChange>, StoreError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let values = vec![revision_column(after).into(), i64::from(limit).into()];
        let rows = sql::all::<ZonePageRow>(self.db(), ZONE_PAGE, values).await?;
        let marks = rows.first().map(|row| Marks { floor: row.floor, drawn: row.drawn, newest: row.newest });
        let read = Read::of(rows.iter().filter_map(|row| row.revision));
        let changes = rows.into_iter().filter_map(|row| readable(zone_change(row)).flatten()).collect();
        page("zone_records", changes, &read, marks, after, limit)
    }
}

/// The rows of a page, those included that say nothing to the reader.
struct Read {
    count: usize,
    last: Option<i64>,
}

impl Read {
    fn of(revisions: impl Iterator<Item = i64>) -> Self {
        let (count, last) = revisions.fold((0, None), |(count, _), revision| (count + 1, Some(revision)));
        Self { count, last }
    }
}

/// One row that cannot be read must not keep all followers from all that comes after it. Whoever is called to look at
/// it finds its table, column and key in the log.
fn readable<T>(change: Result<T, StoreError>) -> Option<T> {
    change
        .inspect_err(|error| {
            let table = if let StoreError::UnreadableRow { table, .. } = error { *table } else { "unknown" };
            metrics::counter!("mtasts_store_unreadable_rows_total", "table" => table).increment(1);
            tracing::error!(error = error as &dyn std::error::Error, "a row of a feed cannot be read; it is left out");
        })
        .ok()
}

/// What stands in the place of a row that cannot be read: nothing is served for its name.
fn readable_edge_change(row: EdgeRow) -> Option<EdgeChange> {
    let name = row.name.as_deref().and_then(|name| MailDomain::from_stored(name).ok());
    let revision = row.revision.and_then(|revision| u64::try_from(revision).ok()).map(Revision::new);
    let gone = match row.kind.as_deref() {
        Some("host") => Some(EdgeEntry::HostGone),
        Some("challenge") => Some(EdgeEntry::ChallengeGone),
        _ => None,
    };
    match readable(edge_change(row)) {
        Some(change) => change,
        None => Some(EdgeChange { revision: revision?, domain: name?, entry: gone?, trace: None }),
    }
}

/// How far the feed goes, as of one snapshot.
struct Marks {
    floor: i64,
    /// At least what was drawn last: after a crash or a recovery from archived WAL a sequence goes on up to 32 above that.
    drawn: i64,
    /// The highest revision of a row.
    newest: Option<i64>,
}

impl Marks {
    /// Whether no reader of this feed can have come so far. What was read is a row's revision, and the row still stands
    /// there, or moved up, or was forgotten and has raised the floor. Only after the leap of a recovery are followers above
    /// all rows, and then far below what was drawn.
    fn are_behind(&self, after: i64) -> bool {
        after > self.floor.max(self.newest.unwrap_or(0)) && after.saturating_add(LEAP / 2) > self.drawn
    }
}

fn page<T>(
    table: &'static str,
    changes: Vec<T>,
    read: &Read,
    marks: Option<Marks>,
    after: Revision,
    limit: u32,
) -> Result<Page<T>, StoreError> {
    let marks = marks.ok_or(StoreError::NotFound)?;
    let floor = number(table, "floor", "feed_floors", marks.floor)?;
    if marks.are_behind(revision_column(after)) {
        let drawn = number(table, "revision", "newest", marks.newest.unwrap_or(0))?;
        return Err(StoreError::FeedWentBack { read: after, drawn });
    }
    let position = read.last.map_or(Ok(after), |last| number(table, "revision", "last of a page", last))?;
    let more = u32::try_from(read.count).is_ok_and(|count| count >= limit);
    // All up to the floor is committed: whoever has read to the end has come there, whether or not a row stands so far up.
    Ok(Page { position: if more { position } else { position.max(floor) }, more, floor, changes })
}

fn number(table: &'static str, column: &'static str, row: &str, number: i64) -> Result<Revision, StoreError> {
    let number = u64::try_from(number).map_err(|error| StoreError::unreadable(table, column, row, error))?;
    Ok(Revision::new(number))
}

/// Why a row of a feed says nothing.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("the row names something that is not there")]
    Dangling,
    #[error("unknown word {0:?}")]
    Word(String),
}

/// None for the row that a page without changes has.
fn edge_change(row: EdgeRow) -> Result<Option<EdgeChange>, StoreError> {
    const TABLE: &str = "edge_entries";
    let (Some(name), Some(kind), Some(revision)) = (&row.name, &row.kind, row.revision) else { return Ok(None) };
    let domain = MailDomain::from_stored(name).map_err(|error| StoreError::unreadable(TABLE, "name", name, error))?;
    let revision = number(TABLE, "revision", name, revision)?;
    let trace = row.traceparent.as_ref().and_then(|trace| trace.parse().ok());
    let entry = match kind.as_str() {
        "host" if row.version_id.is_none() => match row.domain_id {
            Some(holder) => EdgeEntry::HostHeld { domain_id: DomainId::from_uuid(holder) },
            None => EdgeEntry::HostGone,
        },
        "challenge" => match row.challenge {
            None => EdgeEntry::ChallengeGone,
            Some(challenge) => EdgeEntry::Challenge(
                serde_json::from_value(challenge)
                    .map_err(|error| StoreError::unreadable(TABLE, "challenge", name, error))?,
            ),
        },
        "host" => {
            let name = name.clone();
            let content = host_content(row, &name)?;
            EdgeEntry::Host(Box::new(content.ok_or_else(|| dangling(&name))?))
        }
        other => return Err(StoreError::unreadable(TABLE, "kind", name, Unfit::Word(other.to_owned()))),
    };
    Ok(Some(EdgeChange { revision, domain, entry, trace }))
}

fn dangling(name: &str) -> StoreError {
    StoreError::unreadable("edge_entries", "version_id", name, Unfit::Dangling)
}

fn host_content(row: EdgeRow, name: &str) -> Result<Option<HostContent>, StoreError> {
    let (Some(version_id), Some(mode), Some(max_age), Some(policy_text)) =
        (row.version_id, row.mode, row.max_age, row.policy_text)
    else {
        return Ok(None);
    };
    let (Some(certificate_id), Some(chain), Some(sealed_key), Some(not_after)) =
        (row.certificate_id, row.chain, row.sealed_key, row.not_after)
    else {
        return Ok(None);
    };
    let (Some(tenant_id), Some(domain_id)) = (row.tenant_id, row.domain_id) else { return Ok(None) };
    Ok(Some(HostContent {
        tenant_id: TenantId::from_uuid(tenant_id),
        domain_id: DomainId::from_uuid(domain_id),
        version_id: PolicyVersionId::from_uuid(version_id),
        mode: mode.parse::<Mode>().map_err(|error| StoreError::unreadable("policy_versions", "mode", name, error))?,
        max_age: u32::try_from(max_age)
            .map_err(|error| StoreError::unreadable("policy_versions", "max_age", name, error))?,
        policy_text,
        certificate_id: CertificateId::from_uuid(certificate_id),
        chain: der::split(&chain).map_err(|error| StoreError::unreadable("certificates", "chain", name, error))?,
        sealed_key,
        not_after,
    }))
}

fn zone_change(row: ZonePageRow) -> Result<Option<ZoneChange>, StoreError> {
    const TABLE: &str = "zone_records";
    let (Some(name), Some(record_type), Some(revision)) = (row.name, row.record_type, row.revision) else {
        return Ok(None);
    };
    Ok(Some(ZoneChange {
        revision: number(TABLE, "revision", &name, revision)?,
        set: zone::set(&name, row.ttl, row.record_values)?,
        record_type: zone::record_type(&name, &record_type)?,
        name,
    }))
}
