//! How an order goes on. Each state is persisted before the next call to the CA is made, so that whoever takes over
//! resumes the same order (invariant 9).

use mtasts_model::{CertificateId, OrderId, Revision, Timestamp, feed::Challenge};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, EntityTrait};
use serde_json::json;

use super::LeaseTx;
use crate::{
    Channel, NewCertificate, OrderChallenge, StoreError, der,
    entity::{acme_order, certificate},
    host::{self, ChallengeOf},
    sql,
    stored::{revision_column, to_json},
};

impl LeaseTx {
    /// Opens an order with its key. [`StoreError::OrderLive`] when the domain has one already,
    /// [`StoreError::HostNotHeld`] unless it holds its policy host (invariant 3: nothing is issued for others).
    pub async fn draft_order(&mut self, id: OrderId, issuer: &str, sealed_key: &[u8]) -> Result<(), StoreError> {
        if !host::read(&self.tx, &self.domain.name).await?.is_some_and(|row| row.is_held_by(self.lease.domain_id)) {
            return Err(StoreError::HostNotHeld);
        }
        let row = acme_order::ActiveModel {
            id: Set(id.as_uuid()),
            tenant_id: Set(self.lease.tenant_id.as_uuid()),
            domain_id: Set(self.id()),
            issuer: Set(issuer.to_owned()),
            state: Set("drafted".to_owned()),
            since: Set(self.now),
            url: Set(None),
            sealed_key: Set(sealed_key.to_vec()),
            challenge: Set(None),
            challenge_revision: Set(None),
            not_before: Set(None),
            expires_at: Set(None),
            created_at: Set(self.now),
            closed_at: Set(None),
            problem: Set(None),
        };
        match row.insert(&self.tx).await.map_err(StoreError::from) {
            Ok(_) => Ok(()),
            Err(StoreError::Taken { constraint }) if constraint == "acme_orders_live" => Err(StoreError::OrderLive),
            Err(error) => Err(error),
        }
    }

    /// The CA knows the order.
    pub async fn order_placed(
        &mut self,
        id: OrderId,
        url: &str,
        expires_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.enter(id, "placed").await?;
        let sql = "UPDATE acme_orders SET url = $1, expires_at = $2 WHERE id = $3";
        self.must_touch(sql, vec![url.into(), expires_at.into(), id.as_uuid().into()]).await
    }

    /// Gives the edges the answer to a challenge; they have it from the returned revision on.
    /// [`StoreError::HostNotHeld`] unless the domain holds its policy host.
    pub async fn challenge_published(&mut self, id: OrderId, challenge: &Challenge) -> Result<Revision, StoreError> {
        self.enter(id, "challenge-published").await?;
        let owner = (self.lease.domain_id, self.lease.tenant_id);
        let revision = host::publish_challenge(&self.tx, &self.domain.name, owner, id, challenge, self.now).await?;
        self.nudges.insert(Channel::Edge);
        self.keep_challenge(id, &OrderChallenge::Edge { challenge: challenge.clone() }, revision).await?;
        Ok(revision)
    }

    /// Notes that the answer to a dns-01 challenge is in the zone, at this name with this value.
    pub async fn challenge_in_zone(&mut self, id: OrderId, name: &str, value: &str) -> Result<(), StoreError> {
        self.enter(id, "challenge-published").await?;
        let challenge = OrderChallenge::Zone { name: name.to_owned(), value: value.to_owned() };
        // No edge needs to have anything.
        self.keep_challenge(id, &challenge, Revision::ZERO).await
    }

    async fn keep_challenge(
        &self,
        id: OrderId,
        challenge: &OrderChallenge,
        revision: Revision,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE acme_orders SET challenge = $1, challenge_revision = $2 WHERE id = $3";
        let values = vec![to_json(challenge)?.into(), revision_column(revision).into(), id.as_uuid().into()];
        self.must_touch(sql, values).await
    }

    /// The CA was told to look.
    pub async fn order_answered(&mut self, id: OrderId) -> Result<(), StoreError> {
        self.enter(id, "answered").await
    }

    /// Validated: the CSR may be sent.
    pub async fn order_ready(&mut self, id: OrderId) -> Result<(), StoreError> {
        self.enter(id, "ready").await
    }

    /// The CSR was sent.
    pub async fn order_finalizing(&mut self, id: OrderId) -> Result<(), StoreError> {
        self.enter(id, "finalizing").await
    }

    /// The CA asks to wait. A later state forgets it.
    pub async fn order_wait(&mut self, id: OrderId, not_before: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE acme_orders SET not_before = $1 WHERE id = $2 AND domain_id = $3 AND closed_at IS NULL";
        let values = vec![not_before.into(), id.as_uuid().into(), self.id().into()];
        self.if_live(sql, values).await
    }

    /// Closes the order without a certificate, and takes its answer from the edges. `validation_failed`: the CA looked
    /// and was not content, which counts against the name.
    pub async fn order_failed(
        &mut self,
        id: OrderId,
        problem: &str,
        validation_failed: bool,
    ) -> Result<(), StoreError> {
        self.close(id, Some(problem)).await?;
        if validation_failed {
            self.count_failed_validation().await?;
        }
        self.audit("order.fail", json!({ "order": id, "problem": problem })).await
    }

    async fn count_failed_validation(&self) -> Result<(), StoreError> {
        let name = self.domain.name.as_str();
        let count = "INSERT INTO failed_validations (name, at) VALUES ($1, $2)";
        sql::execute(&self.tx, count, vec![name.into(), self.now.into()]).await?;
        // Older ones are of no use to anybody: the limit is per hour.
        let forget = "DELETE FROM failed_validations WHERE name = $1 AND at < $2 - interval '2 hours'";
        sql::execute(&self.tx, forget, vec![name.into(), self.now.into()]).await?;
        Ok(())
    }

    /// Closes the order with its proved certificate, which becomes the domain's newest. The edges go on with the old
    /// one until [`LeaseTx::serve_host`].
    pub async fn certificate_issued(&mut self, id: OrderId, new: NewCertificate) -> Result<(), StoreError> {
        self.close(id, None).await?;
        let order = acme_order::Entity::find_by_id(id.as_uuid()).one(&self.tx).await?.ok_or(StoreError::OrderClosed)?;
        let row = certificate::ActiveModel {
            id: Set(new.id.as_uuid()),
            tenant_id: Set(self.lease.tenant_id.as_uuid()),
            domain_id: Set(self.id()),
            order_id: Set(id.as_uuid()),
            chain: Set(der::join(&new.chain_der)),
            sealed_key: Set(order.sealed_key),
            not_before: Set(new.not_before),
            not_after: Set(new.not_after),
            serial: Set(new.serial),
            issuer: Set(new.issuer),
            renew_at: Set(new.renew_at),
            advice_due_at: Set(new.advice_due_at),
            ari_id: Set(new.ari_id),
            created_at: Set(self.now),
            in_feed: Set(false),
        };
        let row = row.insert(&self.tx).await?;
        self.tell_of_certificate(new.id, row.not_after).await?;
        let newest = "UPDATE domains SET certificate_id = $1 WHERE id = $2";
        self.must_touch(newest, vec![row.id.into(), self.id().into()]).await?;
        let detail = json!({ "certificate": new.id, "order": id, "serial": row.serial, "not_after": row.not_after });
        self.audit("certificate.issue", detail).await
    }

    /// When the CA wants the certificate renewed (RFC 9773), and when to ask again.
    pub async fn renewal_advice(
        &mut self,
        id: CertificateId,
        renew_at: Timestamp,
        advice_due_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE certificates SET renew_at = $1, advice_due_at = $2 WHERE id = $3 AND domain_id = $4";
        let values = vec![renew_at.into(), advice_due_at.into(), id.as_uuid().into(), self.id().into()];
        self.must_touch(sql, values).await
    }

    async fn enter(&self, id: OrderId, state: &str) -> Result<(), StoreError> {
        let sql = "UPDATE acme_orders SET since = CASE WHEN state = $1 THEN since ELSE $2 END, state = $1,
                not_before = NULL
            WHERE id = $3 AND domain_id = $4 AND closed_at IS NULL";
        let values = vec![state.into(), self.now.into(), id.as_uuid().into(), self.id().into()];
        self.if_live(sql, values).await
    }

    async fn close(&mut self, id: OrderId, problem: Option<&str>) -> Result<(), StoreError> {
        let sql = "UPDATE acme_orders SET closed_at = $1, problem = $2
            WHERE id = $3 AND domain_id = $4 AND closed_at IS NULL";
        let values = vec![self.now.into(), problem.into(), id.as_uuid().into(), self.id().into()];
        self.if_live(sql, values).await?;
        self.nudges.insert(Channel::Edge);
        host::remove_challenge(&self.tx, &self.domain.name, ChallengeOf::Order(id), self.now).await
    }

    async fn if_live(&self, sql: &str, values: Vec<sea_orm::Value>) -> Result<(), StoreError> {
        if sql::execute(&self.tx, sql, values).await? == 0 { Err(StoreError::OrderClosed) } else { Ok(()) }
    }
}
