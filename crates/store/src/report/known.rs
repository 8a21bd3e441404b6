//! Which reports are there already (RFC 8460 §5.6), and which copy of each is the best.

use std::collections::HashMap;

use mtasts_model::{ArrivalId, DomainId, ReportGrade, ReportId, Timestamp};
use sea_orm::{ConnectionTrait, FromQueryResult};
use serde_json::json;
use uuid::Uuid;

use super::{NewReport, rows::pieces};
use crate::{StoreError, sql};

/// The copy that stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    report: ReportId,
    rank: i16,
    /// None: its row has had its time.
    arrival: Option<ArrivalId>,
}

/// What is to be done with a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is put in, in the place of these.
    New { displaced: Vec<ReportId> },
    /// There is one as good.
    Repeated,
    /// This very arrival has brought it before.
    Again,
}

/// Keys and the reports that stand under them. A verified report stands under two: one that a copy without a signature is
/// known again by, and one with its signer, so that what somebody else has signed never stands in its way.
#[derive(Debug, Default)]
pub(super) struct Known {
    standing: HashMap<(DomainId, [u8; 32]), Standing>,
    changed: HashMap<(DomainId, [u8; 32]), Uuid>,
}

#[derive(Debug, FromQueryResult)]
struct KeyRow {
    domain_id: Uuid,
    key: Vec<u8>,
    report_id: Uuid,
    rank: i16,
    arrival_id: Option<Uuid>,
}

pub(crate) const LOOK: &str = "
    SELECT k.domain_id, k.key, k.report_id, k.rank, (SELECT r.arrival_id FROM reports r WHERE r.id = k.report_id) AS arrival_id
    FROM jsonb_to_recordset($1::jsonb) AS q (domain uuid, key text)
    CROSS JOIN LATERAL (
        SELECT * FROM report_keys WHERE domain_id = q.domain AND key = decode(q.key, 'hex') OFFSET 0) k";

impl Known {
    /// What stands under the keys of these reports.
    pub(super) async fn of(
        db: &impl ConnectionTrait,
        reports: impl Iterator<Item = &NewReport>,
    ) -> Result<Self, StoreError> {
        let mut keys = Vec::new();
        for report in reports {
            for key in std::iter::once(&report.key).chain(&report.signed_key) {
                keys.push(json!({ "domain": report.domain.as_uuid(), "key": hex(key) }));
            }
        }
        let mut known = Self::default();
        for piece in pieces(&keys)? {
            for row in sql::all::<KeyRow>(db, LOOK, vec![piece.into()]).await? {
                let Ok(key) = row.key.try_into() else { continue };
                let standing = Standing {
                    report: ReportId::from_uuid(row.report_id),
                    rank: row.rank,
                    arrival: row.arrival_id.map(ArrivalId::from_uuid),
                };
                known.standing.insert((DomainId::from_uuid(row.domain_id), key), standing);
            }
        }
        Ok(known)
    }

    /// Decides, and remembers the decision for those that follow.
    pub(super) fn decide(&mut self, report: &NewReport, arrival: ArrivalId) -> Decision {
        const VERIFIED: i16 = 2;
        let (rank, plain) = (report.rank(), (report.domain, report.key));
        let signed =
            report.signed_key.filter(|_| report.grade == ReportGrade::Verified).map(|key| (report.domain, key));
        let under_signed = signed.and_then(|key| self.standing.get(&key).copied());
        // What another has signed is another report, and leaves the place under the plain key to it.
        let under_plain = self.standing.get(&plain).copied();
        let rival = match signed {
            Some(_) => under_signed.or(under_plain.filter(|standing| standing.rank < VERIFIED)),
            None => under_plain,
        };
        if let Some(standing) = rival
            && standing.rank >= rank
        {
            return if standing.arrival == Some(arrival) { Decision::Again } else { Decision::Repeated };
        }
        let mut displaced: Vec<ReportId> = rival.map(|standing| standing.report).into_iter().collect();
        let takes_plain = match under_plain {
            None => true,
            Some(standing) if displaced.contains(&standing.report) => true,
            Some(standing) if standing.rank < VERIFIED && rank > standing.rank => {
                displaced.push(standing.report);
                true
            }
            Some(_) => false,
        };
        let standing = Standing { report: report.id, rank, arrival: Some(arrival) };
        for key in signed.into_iter().chain(takes_plain.then_some(plain)) {
            self.standing.insert(key, standing);
            self.changed.insert(key, report.tenant.as_uuid());
        }
        Decision::New { displaced }
    }

    /// Writes down what has changed.
    pub(super) async fn write(self, db: &impl ConnectionTrait, now: Timestamp) -> Result<(), StoreError> {
        let mut rows = Vec::new();
        for ((domain, key), tenant) in &self.changed {
            let Some(standing) = self.standing.get(&(*domain, *key)) else { continue };
            rows.push(json!({ "domain_id": domain.as_uuid(), "key": hex(key), "tenant_id": tenant,
                "report_id": standing.report.as_uuid(), "rank": standing.rank }));
        }
        let sql = "INSERT INTO report_keys (domain_id, key, tenant_id, report_id, rank, at)
            SELECT domain_id, decode(key, 'hex'), tenant_id, report_id, rank, $2
            FROM jsonb_to_recordset($1::jsonb)
                AS r (domain_id uuid, key text, tenant_id uuid, report_id uuid, rank smallint)
            ON CONFLICT (domain_id, key) DO UPDATE
                SET report_id = EXCLUDED.report_id, rank = EXCLUDED.rank, at = EXCLUDED.at";
        for piece in pieces(&rows)? {
            sql::execute(db, sql, vec![piece.into(), now.into()]).await?;
        }
        Ok(())
    }
}

fn hex(octets: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(octets)
}
