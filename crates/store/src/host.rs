//! Writing the edge feed. Every function draws its revision before it touches a row of `edge_entries`: see
//! `next_edge_revision` in the migrations for why.

use mtasts_model::{CertificateId, DomainId, OrderId, PolicyVersionId, Revision, TenantId, Timestamp, feed::Challenge};
use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use crate::{
    StoreError, sql,
    stored::{At, revision_column, to_json},
};

/// A policy host's row.
#[derive(Debug, FromQueryResult)]
pub(crate) struct HostRow {
    pub(crate) domain_id: Option<Uuid>,
    pub(crate) version_id: Option<Uuid>,
    pub(crate) certificate_id: Option<Uuid>,
    revision: i64,
}

impl HostRow {
    pub(crate) fn is_held_by(&self, domain: DomainId) -> bool {
        self.domain_id == Some(domain.as_uuid())
    }

    pub(crate) fn revision(&self, domain: DomainId) -> Result<Revision, StoreError> {
        At { table: "edge_entries", row: domain.as_uuid() }.revision("revision", self.revision)
    }
}

pub(crate) async fn read(db: &impl ConnectionTrait, name: &str) -> Result<Option<HostRow>, StoreError> {
    let sql = "SELECT domain_id, version_id, certificate_id, revision FROM edge_entries
        WHERE name = $1 AND kind = 'host'";
    sql::one(db, sql, vec![name.into()]).await
}

/// Draws the next revision, and holds the feed until the transaction ends.
pub(crate) async fn draw_revision(db: &impl ConnectionTrait) -> Result<Revision, StoreError> {
    let row = sql::row(db, "SELECT next_edge_revision() AS revision", vec![]).await?;
    let number: i64 = row.ok_or(StoreError::NotFound)?.try_get("", "revision")?;
    At { table: "edge_entries", row: Uuid::nil() }.revision("revision", number)
}

/// A host that is served changes to a newer version of its policy at once. None when nothing is served for the domain.
pub(crate) async fn change_version(
    db: &impl ConnectionTrait,
    name: &str,
    domain: DomainId,
    version: PolicyVersionId,
    now: Timestamp,
) -> Result<Option<Revision>, StoreError> {
    let is_served = |row: &HostRow| row.is_held_by(domain) && row.version_id.is_some();
    if !read(db, name).await?.is_some_and(|row| is_served(&row)) {
        return Ok(None);
    }
    let revision = draw_revision(db).await?;
    // Again, now that nobody else can write: another registration may have taken the name meanwhile.
    let Some(before) = read(db, name).await?.filter(is_served) else { return Ok(None) };
    let sql = "UPDATE edge_entries SET version_id = $1, revision = $2, changed_at = $3,
            traceparent = (SELECT traceparent FROM policy_versions WHERE id = $1)
        WHERE name = $4 AND kind = 'host'";
    let values = vec![version.as_uuid().into(), revision_column(revision).into(), now.into(), name.into()];
    sql::execute(db, sql, values).await?;
    version_left(db, before.version_id, now).await?;
    version_entered(db, version, now).await?;
    Ok(Some(revision))
}

/// Puts content into a host that the domain holds, and returns from which revision on it is there.
pub(crate) async fn fill(
    db: &impl ConnectionTrait,
    name: &str,
    domain: DomainId,
    (version, certificate): (PolicyVersionId, CertificateId),
    now: Timestamp,
) -> Result<Revision, StoreError> {
    let held = |row: Option<HostRow>| row.filter(|row| row.is_held_by(domain)).ok_or(StoreError::HostNotHeld);
    let wanted = (Some(version.as_uuid()), Some(certificate.as_uuid()));
    let row = held(read(db, name).await?)?;
    if (row.version_id, row.certificate_id) == wanted {
        return row.revision(domain);
    }
    let revision = draw_revision(db).await?;
    let before = held(read(db, name).await?)?;
    let sql = "UPDATE edge_entries SET version_id = $1, certificate_id = $2, revision = $3, changed_at = $4,
            traceparent = CASE WHEN version_id IS DISTINCT FROM $1
                THEN (SELECT traceparent FROM policy_versions WHERE id = $1) END
        WHERE name = $5 AND kind = 'host'";
    let values = vec![
        version.as_uuid().into(),
        certificate.as_uuid().into(),
        revision_column(revision).into(),
        now.into(),
        name.into(),
    ];
    sql::execute(db, sql, values).await?;
    if before.version_id != wanted.0 {
        version_left(db, before.version_id, now).await?;
    }
    if before.certificate_id != wanted.1 {
        certificate_in_feed(db, before.certificate_id, false).await?;
    }
    version_entered(db, version, now).await?;
    certificate_in_feed(db, wanted.1, true).await?;
    Ok(revision)
}

/// Gives an empty place to a domain, or to nobody. What was there leaves the feed. Under a drawn revision only.
pub(crate) async fn hand_over(
    db: &impl ConnectionTrait,
    name: &str,
    to: Option<(DomainId, TenantId)>,
    revision: Revision,
    now: Timestamp,
) -> Result<(), StoreError> {
    if let Some(before) = read(db, name).await? {
        version_left(db, before.version_id, now).await?;
        certificate_in_feed(db, before.certificate_id, false).await?;
    }
    let sql = "INSERT INTO edge_entries (name, kind, revision, changed_at, domain_id, tenant_id)
        VALUES ($1, 'host', $2, $3, $4, $5)
        ON CONFLICT (name, kind) DO UPDATE SET revision = excluded.revision, changed_at = excluded.changed_at,
            domain_id = excluded.domain_id, tenant_id = excluded.tenant_id, version_id = NULL, certificate_id = NULL";
    let values = vec![
        name.into(),
        revision_column(revision).into(),
        now.into(),
        to.map(|(domain, _)| domain.as_uuid()).into(),
        to.map(|(_, tenant)| tenant.as_uuid()).into(),
    ];
    sql::execute(db, sql, values).await?;
    Ok(())
}

/// Gives the edges the answer to a challenge of a name that the domain holds.
pub(crate) async fn publish_challenge(
    db: &impl ConnectionTrait,
    name: &str,
    (domain, tenant): (DomainId, TenantId),
    order: OrderId,
    challenge: &Challenge,
    now: Timestamp,
) -> Result<Revision, StoreError> {
    let revision = draw_revision(db).await?;
    if !read(db, name).await?.is_some_and(|row| row.is_held_by(domain)) {
        return Err(StoreError::HostNotHeld);
    }
    let sql = "INSERT INTO edge_entries (name, kind, revision, changed_at, domain_id, tenant_id, challenge, order_id)
        VALUES ($1, 'challenge', $2, $3, $4, $5, $6, $7)
        ON CONFLICT (name, kind) DO UPDATE SET revision = excluded.revision, changed_at = excluded.changed_at,
            domain_id = excluded.domain_id, tenant_id = excluded.tenant_id, challenge = excluded.challenge,
            order_id = excluded.order_id";
    let values = vec![
        name.into(),
        revision_column(revision).into(),
        now.into(),
        domain.as_uuid().into(),
        tenant.as_uuid().into(),
        to_json(challenge)?.into(),
        order.as_uuid().into(),
    ];
    sql::execute(db, sql, values).await?;
    Ok(revision)
}

/// Whose answer to a challenge is to go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ChallengeOf {
    /// This order's; a later order's stays.
    Order(OrderId),
    /// Any of this domain's.
    Domain(DomainId),
    /// Anybody's but this domain's, which has just taken the name.
    OthersThan(DomainId),
}

/// Takes an answer out of the feed, if it is there. Draws a revision only then.
pub(crate) async fn remove_challenge(
    db: &impl ConnectionTrait,
    name: &str,
    whose: ChallengeOf,
    now: Timestamp,
) -> Result<(), StoreError> {
    // `order_id` is there if and only if `challenge` is, and the API's role may read it.
    let (condition, id) = match whose {
        ChallengeOf::Order(order) => ("order_id = $2", order.as_uuid()),
        ChallengeOf::Domain(domain) => ("order_id IS NOT NULL AND domain_id = $2", domain.as_uuid()),
        ChallengeOf::OthersThan(domain) => ("order_id IS NOT NULL AND domain_id <> $2", domain.as_uuid()),
    };
    let there = format!("SELECT 1 AS there FROM edge_entries WHERE name = $1 AND kind = 'challenge' AND {condition}");
    if sql::row(db, &there, vec![name.into(), id.into()]).await?.is_none() {
        return Ok(());
    }
    let revision = draw_revision(db).await?;
    let remove = format!(
        "UPDATE edge_entries SET challenge = NULL, order_id = NULL, revision = $3, changed_at = $4
        WHERE name = $1 AND kind = 'challenge' AND {condition}"
    );
    let values = vec![name.into(), id.into(), revision_column(revision).into(), now.into()];
    sql::execute(db, &remove, values).await?;
    Ok(())
}

async fn version_left(db: &impl ConnectionTrait, version: Option<Uuid>, now: Timestamp) -> Result<(), StoreError> {
    if let Some(version) = version {
        let sql = "UPDATE policy_versions SET unfed_at = $1 WHERE id = $2";
        sql::execute(db, sql, vec![now.into(), version.into()]).await?;
    }
    Ok(())
}

async fn version_entered(
    db: &impl ConnectionTrait,
    version: PolicyVersionId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE policy_versions SET fed_at = COALESCE(fed_at, $1), unfed_at = NULL WHERE id = $2";
    sql::execute(db, sql, vec![now.into(), version.as_uuid().into()]).await?;
    Ok(())
}

async fn certificate_in_feed(
    db: &impl ConnectionTrait,
    certificate: Option<Uuid>,
    in_feed: bool,
) -> Result<(), StoreError> {
    if let Some(certificate) = certificate {
        let sql = "UPDATE certificates SET in_feed = $1 WHERE id = $2";
        sql::execute(db, sql, vec![in_feed.into(), certificate.into()]).await?;
    }
    Ok(())
}
