//! What a step brings about, as data: recorded afterwards in one transaction under the lease.

use mtasts_model::{
    CertificateId, OrderId, PolicyVersionId, ReportUri, Timestamp, ZoneName,
    feed::Challenge,
    lifecycle::{DelegationSeen, DomainZones, MxSeen, RenewalTrouble, WatchProblem},
    migration,
    rollout::Action,
};
use mtasts_store::{NewCertificate, NewVersion, SpareIds, StoreError};
use serde_json::Value as Json;

pub(crate) use mtasts_model::causes;

/// What was found or done.
#[derive(Debug)]
pub(crate) enum Finding {
    Delegation(DelegationSeen),
    FirstVersion {
        version: NewVersion,
        mx: Option<MxSeen>,
    },
    /// With ids for the version that follows, where the tenant chose to have MX hosts followed.
    Mx {
        seen: MxSeen,
        follow: Option<SpareIds>,
    },
    /// There was no room at an MX host: nothing is known that was not before. Come back then.
    MxPutOff {
        until: Timestamp,
    },
    /// What a look from outside came to.
    Watched {
        version: PolicyVersionId,
        at: Timestamp,
        problem: Option<WatchProblem>,
        report: Json,
    },
    /// A certificate's end is near, and why it is not renewed.
    Expiring {
        certificate: CertificateId,
        days: u16,
        trouble: RenewalTrouble,
    },
    /// What follows for a rollout plan, decided on this state of it and this version.
    Rollout {
        action: Action,
        decided_on: (i64, PolicyVersionId),
        ids: SpareIds,
    },
    /// What follows for an MX migration, decided on this state of it and this version.
    Migration {
        action: migration::Action,
        decided_on: (i64, PolicyVersionId),
        ids: SpareIds,
    },
    /// Nothing follows any more.
    Nothing,
    TakeHost,
    ReleaseHost,
    ServeHost {
        version: PolicyVersionId,
        certificate: CertificateId,
    },
    OrderDrafted {
        order: OrderId,
        issuer: String,
        sealed_key: Vec<u8>,
    },
    OrderPlaced {
        order: OrderId,
        url: String,
        expires_at: Option<Timestamp>,
    },
    ChallengeForEdges {
        order: OrderId,
        challenge: Challenge,
    },
    ChallengeInZone {
        order: OrderId,
        name: String,
        value: String,
    },
    OrderAnswered {
        order: OrderId,
    },
    OrderReady {
        order: OrderId,
    },
    OrderFinalizing {
        order: OrderId,
    },
    /// Nothing has changed yet: ask again then.
    OrderWait {
        order: OrderId,
        until: Timestamp,
    },
    /// The order is over without a certificate. `failure` is held against issuance as a whole.
    OrderClosed {
        order: OrderId,
        problem: String,
        validation_failed: bool,
        failure: Option<Failure>,
    },
    CertificateIssued {
        order: OrderId,
        certificate: NewCertificate,
    },
    Advice {
        certificate: CertificateId,
        renew_at: Timestamp,
        advice_due_at: Option<Timestamp>,
    },
    Served {
        version: PolicyVersionId,
    },
    Verified {
        version: PolicyVersionId,
    },
    RecordsWritten {
        version: PolicyVersionId,
        /// To which zones.
        zones: DomainZones,
    },
    /// With the tenant's report addresses that were in them.
    RecordsConfirmed {
        version: PolicyVersionId,
        report_uris: Vec<ReportUri>,
    },
    RecordsRemoved,
    ZoneEntered {
        zone: ZoneName,
    },
    ZoneLeft {
        zone: ZoneName,
    },
    Finished,
}

impl Finding {
    /// How the step ended, for metrics.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::OrderWait { .. } => "waiting",
            Self::MxPutOff { .. } => "put_off",
            Self::OrderClosed { .. } => "closed",
            _ => "done",
        }
    }
}

/// Why a step did not bring about what it should; the planner backs off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// A stable word in CamelCase.
    pub(crate) reason: &'static str,
    /// For people: what is so and what to do.
    pub(crate) message: String,
    /// Not to be tried again before.
    pub(crate) retry_after: Option<Timestamp>,
}

impl Failure {
    pub(crate) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry_after: None }
    }

    /// With the whole chain of causes as its message.
    pub(crate) fn caused(reason: &'static str, error: &dyn std::error::Error) -> Self {
        Self::new(reason, causes(error))
    }

    pub(crate) fn until(mut self, retry_after: Option<Timestamp>) -> Self {
        self.retry_after = retry_after;
        self
    }
}

/// Why a step gave no finding.
#[derive(Debug)]
pub(crate) enum StepError {
    /// To be recorded against the step.
    Failed(Failure),
    /// The store is the trouble: nothing can be recorded.
    Store(StoreError),
}

impl From<Failure> for StepError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
