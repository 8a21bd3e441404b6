//! Reading domains with all that the API shows of them, in one query.

use mtasts_model::{Condition, DomainId, PolicyVersionId, TenantId, Timestamp};
use sea_orm::{ConnectionTrait, FromQueryResult, QueryResult, Value};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::{CertificateSummary, DomainView, PolicyVersion, StoreError, entity::policy_version, sql, stored::At};

/// All columns of a version `v`, for `policy_version::Model` with the prefix `v_`.
pub(crate) const VERSION_COLUMNS: &str = "
    v.id AS v_id, v.tenant_id AS v_tenant_id, v.domain_id AS v_domain_id, v.seq AS v_seq, v.policy_id AS v_policy_id,
    v.policy_text AS v_policy_text, v.mode AS v_mode, v.max_age AS v_max_age, v.reason AS v_reason,
    v.forced AS v_forced, v.created_by AS v_created_by, v.created_at AS v_created_at, v.served_at AS v_served_at,
    v.verified_at AS v_verified_at, v.published_at AS v_published_at, v.superseded_at AS v_superseded_at,
    v.fed_at AS v_fed_at, v.unfed_at AS v_unfed_at";

/// Columns of a domain `d` and its neighbours. Sub-queries touch as many rows as one domain has.
const COLUMNS: &str = "
    d.id, d.tenant_id, d.name, d.label, d.state, d.mx_source, d.preferred_mode, d.preferred_max_age, d.created_at,
    d.nudged_at, d.delegation, d.mx, d.confirmed_version_id, d.report_uris, d.withdraw_requested_at, d.zone,
    d.removal_forced_at, d.removal_ground, d.gone_at,
    d.next_zone, d.former_zone,
    c.not_before AS c_not_before, c.not_after AS c_not_after, c.serial AS c_serial, c.issuer AS c_issuer,
    (SELECT jsonb_agg(jsonb_build_object('kind', k.kind, 'status', k.status, 'reason', k.reason,
            'message', k.message, 'since', k.since))
        FROM domain_conditions k WHERE k.domain_id = d.id) AS conditions,
    (SELECT jsonb_agg(t.tag ORDER BY t.tag) FROM domain_tags t WHERE t.domain_id = d.id) AS tags,
    CASE WHEN d.state = 'withdrawing' THEN
        (SELECT max(l.last_served_at + w.max_age * interval '1 second')
            FROM served_ledger l JOIN policy_versions w ON w.id = l.version_id
            WHERE l.domain_id = d.id AND w.mode <> 'none')
    END AS safe_to_remove_at";

const NEIGHBOURS: &str = "
    LEFT JOIN policy_versions v ON v.id = d.version_id
    LEFT JOIN certificates c ON c.id = d.certificate_id";

pub(crate) async fn by_id(db: &impl ConnectionTrait, id: DomainId) -> Result<Option<DomainView>, StoreError> {
    let sql = format!("SELECT {COLUMNS}, {VERSION_COLUMNS} FROM domains d {NEIGHBOURS} WHERE d.id = $1");
    sql::row(db, &sql, vec![id.as_uuid().into()]).await?.map(|row| view(&row)).transpose()
}

pub(crate) async fn by_name(db: &impl ConnectionTrait, name: &str) -> Result<Option<DomainView>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS}, {VERSION_COLUMNS} FROM domains d {NEIGHBOURS} WHERE d.name = $1 AND d.state <> 'gone'"
    );
    sql::row(db, &sql, vec![name.into()]).await?.map(|row| view(&row)).transpose()
}

/// The domains of a page: its rows are found by `page`, their neighbours are read afterwards.
pub(crate) async fn of_page(
    db: &impl ConnectionTrait,
    page: &str,
    order: &str,
    values: Vec<Value>,
) -> Result<Vec<DomainView>, StoreError> {
    let sql = format!("SELECT {COLUMNS}, {VERSION_COLUMNS} FROM ({page}) d {NEIGHBOURS} ORDER BY {order}");
    sql::rows(db, &sql, values).await?.iter().map(view).collect()
}

/// As [`mtasts_model::Status`] is serialised, and as the table checks it.
pub(crate) fn status_word(status: mtasts_model::Status) -> &'static str {
    match status {
        mtasts_model::Status::True => "True",
        mtasts_model::Status::False => "False",
        mtasts_model::Status::Unknown => "Unknown",
    }
}

/// In the order in which a new domain meets them.
pub(crate) fn conditions(at: At, column: Option<Json>) -> Result<Vec<Condition>, StoreError> {
    let mut conditions: Vec<Condition> = at.json_or_none("conditions", column)?.unwrap_or_default();
    conditions.sort_by_key(|condition| condition.kind);
    Ok(conditions)
}

fn view(row: &QueryResult) -> Result<DomainView, StoreError> {
    let id: Uuid = row.try_get("", "id")?;
    let at = At { table: "domains", row: id };
    let text = |column: &str| row.try_get::<String>("", column);
    let word = |column: &str| row.try_get::<Option<String>>("", column);
    let json = |column: &str| row.try_get::<Option<Json>>("", column);
    let time = |column: &str| row.try_get::<Option<Timestamp>>("", column);
    let version = policy_version::Model::from_query_result_optional(row, "v_")?;
    let certificate = match (time("c_not_before")?, time("c_not_after")?) {
        (Some(not_before), Some(not_after)) => {
            Some(CertificateSummary { not_before, not_after, serial: text("c_serial")?, issuer: text("c_issuer")? })
        }
        _ => None,
    };
    Ok(DomainView {
        id: DomainId::from_uuid(id),
        tenant_id: TenantId::from_uuid(row.try_get("", "tenant_id")?),
        name: at.mail_domain("name", &text("name")?)?,
        label: at.label(&text("label")?)?,
        zones: at.zones(&text("zone")?, word("next_zone")?.as_deref(), word("former_zone")?.as_deref())?,
        state: at.state(&text("state")?)?,
        mx_source: at.mx_source(&text("mx_source")?)?,
        preferred_mode: at.mode("preferred_mode", &text("preferred_mode")?)?,
        preferred_max_age: at.max_age("preferred_max_age", row.try_get("", "preferred_max_age")?)?,
        created_at: row.try_get("", "created_at")?,
        nudged_at: row.try_get("", "nudged_at")?,
        conditions: conditions(at, json("conditions")?)?,
        version: version.map(PolicyVersion::try_from).transpose()?,
        published_version: row.try_get::<Option<Uuid>>("", "confirmed_version_id")?.map(PolicyVersionId::from_uuid),
        delegation_seen: at.json_or_none("delegation", json("delegation")?)?,
        mx_seen: at.json_or_none("mx", json("mx")?)?,
        certificate,
        tags: at.json_or_none("tags", json("tags")?)?.unwrap_or_default(),
        report_uris: at.report_uris(row.try_get("", "report_uris")?)?,
        safe_to_remove_at: time("safe_to_remove_at")?,
        withdraw_requested_at: time("withdraw_requested_at")?,
        forced_removal: time("removal_forced_at")?
            .zip(word("removal_ground")?)
            .map(|(at_time, ground)| Ok::<_, StoreError>((at_time, at.removal_ground(&ground)?)))
            .transpose()?,
        gone_at: time("gone_at")?,
    })
}
