//! Whether a tenant's log is what was written, in its order, and all of it.

use std::fmt;

use mtasts_model::{AuditEventId, TenantId};
use sea_orm::{DatabaseTransaction, FromQueryResult};
use uuid::Uuid;

use super::{HASH_LENGTH, canonical::Content};
use crate::{Store, StoreError, sql};

/// So many lines are held at once.
const PAGE: i64 = 100;

/// What became of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainReport {
    /// How many lines, from the first, are as they were written.
    pub sound: u64,
    /// The hash of the last of them; zeros when there is none. Whoever keeps it elsewhere can tell a log that was
    /// rewritten as a whole, head included, which nothing within the database can.
    pub hash: [u8; HASH_LENGTH],
    /// The first thing that is wrong.
    pub fault: Option<ChainFault>,
}

/// What is wrong with a log, and at which line first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainFault {
    /// The line is not as it was written.
    Altered {
        /// Its number.
        seq: u64,
    },
    /// The line is gone, and others follow.
    Missing {
        /// Its number.
        seq: u64,
    },
    /// In the line's place is one that was written later.
    Reordered {
        /// The place's number.
        seq: u64,
    },
    /// This line and all that followed are gone.
    Truncated {
        /// The number of the first that is gone.
        seq: u64,
    },
    /// The lines fit each other, and the head names another end: it was altered, or lines were added around it.
    Head {
        /// The number of the last line that the head should name.
        seq: u64,
    },
    /// There is a line beside the chain.
    Unchained {
        /// Which.
        event: AuditEventId,
    },
}

impl fmt::Display for ChainFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered { seq } => write!(f, "line {seq} was altered"),
            Self::Missing { seq } => write!(f, "line {seq} is missing"),
            Self::Reordered { seq } => write!(f, "line {seq} was reordered: a later one is in its place"),
            Self::Truncated { seq } => write!(f, "the log was truncated: it ends before line {seq}"),
            Self::Head { seq } => write!(f, "the head of the chain was altered: it does not fit line {seq}"),
            Self::Unchained { event } => write!(f, "the line {event} was added beside the chain"),
        }
    }
}

/// A place of the chain.
#[derive(FromQueryResult)]
struct Link {
    seq: i64,
    previous_hash: Vec<u8>,
    hash: Vec<u8>,
    /// None: the line is gone.
    #[sea_orm(nested)]
    content: Option<Content>,
}

#[derive(FromQueryResult)]
struct Head {
    seq: Option<i64>,
    hash: Option<Vec<u8>>,
    last: Option<i64>,
    /// Whether the tenant was.
    erased: Option<bool>,
}

#[derive(FromQueryResult)]
struct EventPage {
    last: Option<Uuid>,
    unchained: Option<Uuid>,
}

/// How far the walk has come.
struct Sound {
    seq: i64,
    hash: Vec<u8>,
}

impl Store {
    /// Walks a tenant's chain from its first line to its head, as a role of the API that sees this tenant alone. Lines
    /// that are added meanwhile are not looked at. A page at a time, each in a transaction of its own: lines never
    /// change, and nobody waits for a long walk.
    pub async fn verify_audit_chain(&self, tenant: TenantId) -> Result<ChainReport, StoreError> {
        let head = self.audit_head(tenant).await?;
        let mut sound = Sound { seq: 0, hash: vec![0; HASH_LENGTH] };
        let fault = match self.walk(tenant, (head.seq.unwrap_or(0), head.erased.unwrap_or(false)), &mut sound).await? {
            Some(fault) => Some(fault),
            None => match fault_at_the_end(&head, &sound) {
                Some(fault) => Some(fault),
                None => self.unchained(tenant).await?,
            },
        };
        let mut hash = [0; HASH_LENGTH];
        hash.copy_from_slice(&sound.hash);
        Ok(ChainReport { sound: number(sound.seq), hash, fault })
    }

    /// Head and end as of one moment.
    async fn audit_head(&self, tenant: TenantId) -> Result<Head, StoreError> {
        let sql = "SELECT h.seq, h.hash, c.last, (SELECT erased_at IS NOT NULL FROM tenants WHERE id = $1) AS erased
            FROM (SELECT max(seq) AS last FROM audit_chain WHERE tenant_id = $1) c
                LEFT JOIN audit_heads h ON h.tenant_id = $1";
        let tx = self.audit_tx(tenant).await?;
        let head = sql::one(&tx, sql, vec![tenant.as_uuid().into()]).await?.ok_or(StoreError::NotFound)?;
        tx.commit().await?;
        Ok(head)
    }

    /// Moves on as long as each line fits the one before; gives the first fault up to this end.
    async fn walk(
        &self,
        tenant: TenantId,
        (end, erased): (i64, bool),
        sound: &mut Sound,
    ) -> Result<Option<ChainFault>, StoreError> {
        loop {
            let links = self.links(tenant, sound.seq, end).await?;
            if links.is_empty() {
                return Ok(None);
            }
            for link in links {
                let due = sound.seq + 1;
                let Some(content) = link.content.as_ref().filter(|_| link.seq == due) else {
                    return Ok(Some(ChainFault::Missing { seq: number(due) }));
                };
                let hash = content.hash(due, &sound.hash);
                // Of a line that was erased with its tenant the hash alone is left, and it must still fit the next.
                let fits = link.hash == hash || (erased && content.is_erased());
                if link.previous_hash != sound.hash || !fits {
                    let seq = number(due);
                    let moved = self.belongs_later(tenant, &link, content, end).await?;
                    return Ok(Some(if moved { ChainFault::Reordered { seq } } else { ChainFault::Altered { seq } }));
                }
                *sound = Sound { seq: due, hash: link.hash };
            }
        }
    }

    /// Whether a line that does not fit its place fits a later one: with that place's hashes, or with those that it
    /// brought along.
    async fn belongs_later(
        &self,
        tenant: TenantId,
        found: &Link,
        content: &Content,
        end: i64,
    ) -> Result<bool, StoreError> {
        let mut after = found.seq;
        loop {
            let links = self.links(tenant, after, end).await?;
            let Some(last) = links.last() else { return Ok(false) };
            after = last.seq;
            if links.iter().any(|place| {
                content.hash(place.seq, &place.previous_hash).as_slice() == place.hash
                    || content.hash(place.seq, &found.previous_hash).as_slice() == found.hash
            }) {
                return Ok(true);
            }
        }
    }

    /// A page of the chain: places after this one and up to the end.
    async fn links(&self, tenant: TenantId, after: i64, end: i64) -> Result<Vec<Link>, StoreError> {
        let sql = "SELECT c.seq, c.previous_hash, c.hash, e.tenant_id, e.id,
                (extract(epoch FROM e.at) * 1000000)::bigint AS at_micros, e.actor, e.source, e.request_id, e.action,
                e.object, e.before::text AS before_text, e.after::text AS after_text
            FROM (SELECT * FROM audit_chain WHERE tenant_id = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4) c
                LEFT JOIN audit_events e ON e.id = c.event_id AND e.tenant_id = c.tenant_id ORDER BY c.seq";
        let tx = self.audit_tx(tenant).await?;
        let values = vec![tenant.as_uuid().into(), after.into(), end.into(), PAGE.into()];
        let links = sql::all(&tx, sql, values).await?;
        tx.commit().await?;
        Ok(links)
    }

    /// A line that no place of the chain names.
    async fn unchained(&self, tenant: TenantId) -> Result<Option<ChainFault>, StoreError> {
        let sql =
            "SELECT max(e.id::text)::uuid AS last, min(e.id::text) FILTER (WHERE c.seq IS NULL)::uuid AS unchained
            FROM (SELECT id, tenant_id FROM audit_events WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3) e
                LEFT JOIN audit_chain c ON c.event_id = e.id AND c.tenant_id = e.tenant_id";
        let mut after = Uuid::nil();
        loop {
            let tx = self.audit_tx(tenant).await?;
            let values = vec![tenant.as_uuid().into(), after.into(), PAGE.into()];
            let page = sql::one::<EventPage>(&tx, sql, values).await?;
            tx.commit().await?;
            match page {
                Some(EventPage { unchained: Some(event), .. }) => {
                    return Ok(Some(ChainFault::Unchained { event: AuditEventId::from_uuid(event) }));
                }
                Some(EventPage { last: Some(last), .. }) => after = last,
                _ => return Ok(None),
            }
        }
    }

    /// As [`crate::TenantTx`] sees the tenant, and to read only.
    async fn audit_tx(&self, tenant: TenantId) -> Result<DatabaseTransaction, StoreError> {
        let tx = self.begin().await?;
        let set = "SELECT set_config('role', 'mtasts_api', true), set_config('app.tenant', $1, true),
            set_config('transaction_read_only', 'on', true)";
        sql::execute(&tx, set, vec![tenant.as_uuid().to_string().into()]).await?;
        Ok(tx)
    }
}

/// What the head says against a walk that found nothing.
fn fault_at_the_end(head: &Head, sound: &Sound) -> Option<ChainFault> {
    let (seq, last) = (head.seq.unwrap_or(0), head.last.unwrap_or(0));
    if last > seq {
        return Some(ChainFault::Head { seq: number(last) });
    }
    if sound.seq < seq {
        return Some(ChainFault::Truncated { seq: number(sound.seq + 1) });
    }
    let fits = head.hash.as_ref().is_none_or(|hash| *hash == sound.hash);
    (!fits).then(|| ChainFault::Head { seq: number(sound.seq) })
}

/// The table holds no number below 0.
fn number(seq: i64) -> u64 {
    u64::try_from(seq).unwrap_or(0)
}
