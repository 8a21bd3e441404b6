//! All that the planner looks at, in one query: one snapshot, and rows of one domain only.

use chrono::TimeDelta;
use mtasts_model::{
    CertificateId, DomainId, OrderId, PolicyVersionId, Revision, TenantId, Timestamp,
    lifecycle::{
        Attempts, CertificateFacts, DomainFacts, EdgeFacts, HostContentRef, HostFacts, HostOwner, LedgerFacts,
        MxPutOff, OrderFacts, Purpose, RecordFacts, RecordProblem, ReportFacts, VersionFacts, WatchFacts, WatchProblem,
    },
    rollout::RolloutFacts,
};
use sea_orm::{ConnectionTrait, FromQueryResult};
use serde_json::Value as Json;
use uuid::Uuid;

use super::Lease;
use crate::{
    DomainState, PolicyVersion, StoreError, domain_rows, entity::policy_version, migration, proof, rollout, sql,
    stored::At,
};

/// `$1` domain, `$2` token, `$3` now, `$4` the edges' grace in seconds, `$5` the hostings that must have the records.
///
/// `lapsed_until`: an edge that has died without a last flush may have served, until it was taken out of service,
/// whatever was in the feed since it last reported. Its successor never tells us, so we take the worst for granted.
/// The same goes for the gap that an edge left which was killed and came back, or was taken out of service by an operator.
/// An edge in service that has not reported yet holds up `complete_until` instead.
const COLUMNS: &str = "
    d.tenant_id, d.name, d.label, d.state, d.created_at, d.nudged_at, d.withdraw_requested_at, d.delegation,
        d.removal_forced_at, d.gone_at,
        d.mx, d.mx_source, d.report_uris, d.written_report_uris, d.written_version_id, d.written_at,
        d.confirmed_version_id, d.confirmed_at, d.removed_at, d.held_until, d.zone, d.next_zone, d.former_zone, d.written_zones,
        h.domain_id AS host_domain_id, h.version_id AS host_version_id, h.certificate_id AS host_certificate_id,
        h.revision AS host_revision, h.changed_at AS host_changed_at,
        s.mx_put_off_at, s.mx_put_off_until,
        o.id AS order_id, o.state AS order_state, o.since AS order_since, o.not_before AS order_not_before,
        o.challenge_revision AS order_challenge_revision,
        c.id AS certificate_id, c.not_after, c.renew_at, c.advice_due_at, c.told_days,
        y.looked_at AS watch_at, y.version_id AS watch_version_id, y.failures AS watch_failures, y.good AS watch_good,
        y.code AS watch_code, y.message AS watch_message,
        (SELECT jsonb_agg(f.at) FROM failed_validations f
            WHERE f.name = d.name AND f.at > $3 - interval '1 hour') AS failed_validations,
        (SELECT jsonb_agg(jsonb_build_object('kind', f.kind, 'failures', f.failures, 'last_at', f.last_at,
                'reason', f.reason, 'message', f.message, 'retry_after', f.retry_after))
            FROM step_failures f WHERE f.domain_id = d.id) AS attempts,
        (SELECT jsonb_agg(jsonb_build_object('kind', k.kind, 'status', k.status, 'reason', k.reason,
                'message', k.message, 'since', k.since))
            FROM domain_conditions k WHERE k.domain_id = d.id) AS conditions,
        (SELECT jsonb_build_object('reason', w.reason, 'message', w.message)
            FROM zone_records r JOIN zone_writes w ON w.name = r.name AND w.type = r.type
            WHERE r.domain_id = d.id AND w.hosting = ANY ($5::text[]) AND w.reason IS NOT NULL LIMIT 1)
            AS write_problem,
        (SELECT jsonb_build_object('reason', z.reason, 'message', z.message)
            FROM zone_records r JOIN zone_hostings z ON z.zone = r.zone
            WHERE r.domain_id = d.id AND z.id = ANY ($5::text[]) AND r.revision > z.position
            ORDER BY z.reason NULLS LAST LIMIT 1) AS waiting,
        (SELECT min(n.position) FROM nodes n
            WHERE n.kind = 'edge' AND n.lease_until + $4 * interval '1 second' > $3) AS acknowledged,
        (SELECT min(n.covered_until) FROM nodes n
            WHERE n.kind = 'edge' AND n.lease_until + $4 * interval '1 second' > $3) AS complete_until,
        (SELECT max(l.last_served_at + w.max_age * interval '1 second')
            FROM served_ledger l JOIN policy_versions w ON w.id = l.version_id
            WHERE l.domain_id = d.id AND w.mode <> 'none') AS ledger_until,
        GREATEST((SELECT max(n.lease_until + $4 * interval '1 second' + w.max_age * interval '1 second')
            FROM policy_versions w CROSS JOIN nodes n
            WHERE w.domain_id = d.id AND w.mode <> 'none' AND n.kind = 'edge'
                AND n.lease_until + $4 * interval '1 second' <= $3 AND n.covered_until < n.lease_until
                AND w.fed_at < n.lease_until + $4 * interval '1 second'
                AND (w.unfed_at IS NULL OR w.unfed_at + $4 * interval '1 second' > n.covered_until)),
            (SELECT max(g.until_at + w.max_age * interval '1 second')
            FROM policy_versions w CROSS JOIN ledger_gaps g
            WHERE w.domain_id = d.id AND w.mode <> 'none' AND w.fed_at < g.until_at
                AND (w.unfed_at IS NULL OR w.unfed_at + $4 * interval '1 second' > g.from_at))) AS lapsed_until,
        (SELECT max(p.last_day) FROM reporters p WHERE p.domain_id = d.id AND p.kind = 'tls-rpt') AS reported_on,
        (SELECT max(p.last_day) FROM reporters p
            WHERE p.domain_id = d.id AND p.kind = 'tls-rpt' AND p.verified) AS verified_report_on,
        EXISTS (SELECT FROM rollouts l WHERE l.domain_id = d.id) AS has_rollout,
        EXISTS (SELECT FROM mx_migrations g WHERE g.domain_id = d.id AND g.state = 'under-way') AS has_migration";

const SOURCE: &str = "
    FROM domain_schedule s
    JOIN domains d ON d.id = s.domain_id
    LEFT JOIN edge_entries h ON h.name = d.name AND h.kind = 'host'
    LEFT JOIN acme_orders o ON o.domain_id = d.id AND o.closed_at IS NULL
    LEFT JOIN certificates c ON c.id = d.certificate_id
    LEFT JOIN policy_versions v ON v.id = d.version_id
    LEFT JOIN domain_watches y ON y.domain_id = d.id
    WHERE s.domain_id = $1 AND s.lease_token = $2";

#[derive(Debug, FromQueryResult)]
struct Row {
    tenant_id: Uuid,
    name: String,
    label: String,
    state: String,
    created_at: Timestamp,
    nudged_at: Timestamp,
    withdraw_requested_at: Option<Timestamp>,
    removal_forced_at: Option<Timestamp>,
    gone_at: Option<Timestamp>,
    delegation: Option<Json>,
    mx: Option<Json>,
    mx_put_off_at: Option<Timestamp>,
    mx_put_off_until: Option<Timestamp>,
    mx_source: String,
    report_uris: Json,
    written_report_uris: Option<Json>,
    written_version_id: Option<Uuid>,
    written_at: Option<Timestamp>,
    confirmed_version_id: Option<Uuid>,
    confirmed_at: Option<Timestamp>,
    removed_at: Option<Timestamp>,
    held_until: Option<Timestamp>,
    zone: String,
    next_zone: Option<String>,
    former_zone: Option<String>,
    written_zones: Option<Json>,
    write_problem: Option<Json>,
    waiting: Option<Json>,
    host_domain_id: Option<Uuid>,
    host_version_id: Option<Uuid>,
    host_certificate_id: Option<Uuid>,
    host_revision: Option<i64>,
    host_changed_at: Option<Timestamp>,
    order_id: Option<Uuid>,
    order_state: Option<String>,
    order_since: Option<Timestamp>,
    order_not_before: Option<Timestamp>,
    order_challenge_revision: Option<i64>,
    certificate_id: Option<Uuid>,
    not_after: Option<Timestamp>,
    renew_at: Option<Timestamp>,
    advice_due_at: Option<Timestamp>,
    told_days: Option<i16>,
    failed_validations: Option<Json>,
    attempts: Option<Json>,
    conditions: Option<Json>,
    acknowledged: Option<i64>,
    complete_until: Option<Timestamp>,
    ledger_until: Option<Timestamp>,
    lapsed_until: Option<Timestamp>,
    reported_on: Option<chrono::NaiveDate>,
    verified_report_on: Option<chrono::NaiveDate>,
    has_rollout: bool,
    has_migration: bool,
    watch_at: Option<Timestamp>,
    watch_version_id: Option<Uuid>,
    watch_failures: Option<i32>,
    watch_good: Option<bool>,
    watch_code: Option<String>,
    watch_message: Option<String>,
}

pub(super) async fn read(
    db: &impl ConnectionTrait,
    lease: &Lease,
    now: Timestamp,
    edge_grace: TimeDelta,
    hostings: &[String],
) -> Result<DomainFacts, StoreError> {
    let grace = edge_grace.as_seconds_f64();
    let values =
        vec![lease.domain_id.as_uuid().into(), lease.token.into(), now.into(), grace.into(), hostings.to_vec().into()];
    let sql = format!("SELECT {COLUMNS}, {} {SOURCE}", domain_rows::VERSION_COLUMNS);
    let row = sql::row(db, &sql, values).await?.ok_or(StoreError::Fenced)?;
    let version = policy_version::Model::from_query_result_optional(&row, "v_")?;
    let row = Row::from_query_result(&row, "")?;
    let (has_rollout, has_migration) = (row.has_rollout, row.has_migration);
    let mut facts = facts(lease.domain_id, row, version.map(PolicyVersion::try_from).transpose()?)?;
    if has_rollout {
        facts.rollout = rollout_facts(db, &facts, now).await?;
    }
    if has_migration {
        facts.migration = migration::facts(db, facts.domain_id.as_uuid(), (now, edge_grace)).await?;
    }
    Ok(facts)
}

/// Read for those few that have a plan, after the rest: what is decided on it is fenced by its revision.
async fn rollout_facts(
    db: &impl ConnectionTrait,
    facts: &DomainFacts,
    now: Timestamp,
) -> Result<Option<RolloutFacts>, StoreError> {
    let Some(view) = rollout::read(db, facts.domain_id.as_uuid()).await? else { return Ok(None) };
    let proof = proof::of(db, (facts.tenant_id, facts.domain_id), facts.mx.as_ref(), now).await?;
    Ok(Some(view.facts(proof)))
}

fn facts(domain_id: DomainId, row: Row, version: Option<PolicyVersion>) -> Result<DomainFacts, StoreError> {
    let at = At { table: "domains", row: domain_id.as_uuid() };
    let record = record(at, &row)?;
    let watch = watch(at, &row)?;
    let zones = at.zones(&row.zone, row.next_zone.as_deref(), row.former_zone.as_deref())?;
    Ok(DomainFacts {
        domain_id,
        tenant_id: TenantId::from_uuid(row.tenant_id),
        name: at.mail_domain("name", &row.name)?,
        label: at.label(&row.label)?,
        zones,
        created_at: row.created_at,
        purpose: purpose(at, &row)?,
        gone_at: row.gone_at,
        nudged_at: row.nudged_at,
        host: host(at, domain_id, &row)?,
        order: order(&row)?,
        certificate: certificate(&row),
        record,
        delegation: at.json_or_none("delegation", row.delegation)?,
        failed_validations: at.json_or_none("failed_validations", row.failed_validations)?.unwrap_or_default(),
        mx_source: at.mx_source(&row.mx_source)?,
        version: version.map(|version| VersionFacts {
            id: version.id,
            policy_id: version.policy_id,
            policy: version.policy,
            created_at: version.created_at,
            served_at: version.served_at,
            verified_at: version.verified_at,
            published_at: version.published_at,
        }),
        edges: EdgeFacts {
            acknowledged: row.acknowledged.map(|position| at.revision("position", position)).transpose()?,
        },
        mx: at.json_or_none("mx", row.mx)?,
        mx_put_off: row.mx_put_off_at.zip(row.mx_put_off_until).map(|(at, until)| MxPutOff { at, until }),
        ledger: LedgerFacts {
            needed_until: row.ledger_until.max(row.lapsed_until).max(row.held_until),
            complete_until: row.complete_until,
        },
        reports: ReportFacts { last_day: row.reported_on, last_verified_day: row.verified_report_on },
        watch,
        rollout: None,
        migration: None,
        attempts: at.json_or_none::<Attempts>("attempts", row.attempts)?.unwrap_or_default(),
        conditions: domain_rows::conditions(at, row.conditions)?,
    })
}

fn record(at: At, row: &Row) -> Result<RecordFacts, StoreError> {
    let zones = [Some(&row.zone), row.next_zone.as_ref(), row.former_zone.as_ref()];
    let written: Option<Vec<String>> = at.json_or_none("written_zones", row.written_zones.clone())?;
    let waiting: Option<Problem> = at.json_or_none("waiting", row.waiting.clone())?;
    let refused: Option<Problem> = at.json_or_none("write_problem", row.write_problem.clone())?;
    Ok(RecordFacts {
        written: row.written_version_id.map(PolicyVersionId::from_uuid),
        written_at: row.written_at,
        confirmed: row.confirmed_version_id.map(PolicyVersionId::from_uuid),
        confirmed_at: row.confirmed_at,
        removed_at: row.removed_at,
        // As written, or else a change would be written again and again until it is confirmed.
        reports_stale: row.written_report_uris.as_ref().is_some_and(|written| *written != row.report_uris),
        // Rows of before there were several zones do not say.
        zones_stale: written.is_some_and(|written| zones.into_iter().flatten().any(|zone| !written.contains(zone))),
        pending: waiting.is_some() || refused.is_some(),
        problem: refused.or(waiting).and_then(Problem::told),
    })
}

/// Null where a provider only has not come to it yet.
#[derive(Debug, serde::Deserialize)]
struct Problem {
    reason: Option<String>,
    message: Option<String>,
}

impl Problem {
    fn told(self) -> Option<RecordProblem> {
        Some(RecordProblem { reason: self.reason?, message: self.message? })
    }
}

fn watch(at: At, row: &Row) -> Result<Option<WatchFacts>, StoreError> {
    let (Some(looked_at), Some(version), Some(failures)) = (row.watch_at, row.watch_version_id, row.watch_failures)
    else {
        return Ok(None);
    };
    let problem = row.watch_code.clone().zip(row.watch_message.clone());
    Ok(Some(WatchFacts {
        at: looked_at,
        version: PolicyVersionId::from_uuid(version),
        failures: At { table: "domain_watches", ..at }.number("failures", failures)?,
        good: row.watch_good,
        problem: problem.map(|(code, message)| WatchProblem { code, message }),
    }))
}

fn purpose(at: At, row: &Row) -> Result<Purpose, StoreError> {
    Ok(match at.state(&row.state)? {
        DomainState::Pending | DomainState::Active => Purpose::Live,
        DomainState::Withdrawing => Purpose::Withdraw {
            since: row.withdraw_requested_at.unwrap_or(row.created_at),
            forced: row.removal_forced_at.is_some(),
        },
        DomainState::Gone => Purpose::Gone,
    })
}

fn host(at: At, domain: DomainId, row: &Row) -> Result<HostFacts, StoreError> {
    let owner = match row.host_domain_id {
        None => HostOwner::Nobody,
        Some(holder) if holder == domain.as_uuid() => HostOwner::Ours,
        Some(_) => HostOwner::Other,
    };
    let content = match (owner, row.host_version_id, row.host_certificate_id) {
        (HostOwner::Ours, Some(version), Some(certificate)) => Some(HostContentRef {
            version_id: PolicyVersionId::from_uuid(version),
            certificate_id: CertificateId::from_uuid(certificate),
        }),
        _ => None,
    };
    let revision = row.host_revision.map_or(Ok(Revision::ZERO), |revision| at.revision("revision", revision))?;
    Ok(HostFacts { owner, content, revision, changed_at: row.host_changed_at })
}

fn order(row: &Row) -> Result<Option<OrderFacts>, StoreError> {
    let (Some(id), Some(state), Some(since)) = (row.order_id, &row.order_state, row.order_since) else {
        return Ok(None);
    };
    let state = At { table: "acme_orders", row: id }.order_state(state, row.order_challenge_revision)?;
    Ok(Some(OrderFacts { id: OrderId::from_uuid(id), state, since, not_before: row.order_not_before }))
}

fn certificate(row: &Row) -> Option<CertificateFacts> {
    Some(CertificateFacts {
        id: CertificateId::from_uuid(row.certificate_id?),
        not_after: row.not_after?,
        renew_at: row.renew_at?,
        advice_due_at: row.advice_due_at,
        told_days: row.told_days.and_then(|days| u16::try_from(days).ok()),
    })
}
