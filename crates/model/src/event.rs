//! Events: what happened to a tenant's domains, in the form in which tenants are told of it.
//!
//! An event tells that something changed and what it is about; whoever needs more asks the API. It never holds a secret.

use std::{fmt, str::FromStr};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::{
    ArrivalId, CertificateId, ConditionKind, DomainId, HostName, MailDomain, MaxAge, Mode, MxPattern, PolicyId,
    PolicyVersionId, ProposalId, ReportKind, Status, Timestamp, WebhookId,
};

/// The version of the payloads' form. Members may be added to a version; none is removed or changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// Why a text is no type of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no type of event")]
pub struct EventTypeError;

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident = $word:literal;)+) => {
        /// What an event is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventType {
            $($(#[$doc])* $variant,)+
        }

        impl EventType {
            /// All of them, in the order in which they are shown.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word in the API, in payloads and in the store.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        /// An event's content, by its type.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "type", content = "data")]
        pub enum EventData {
            $($(#[$doc])* #[serde(rename = $word)] $variant($variant),)+
        }

        impl EventData {
            /// Its type.
            pub fn event_type(&self) -> EventType {
                match self {
                    $(Self::$variant(_) => EventType::$variant,)+
                }
            }
        }

        $(impl From<$variant> for EventData {
            fn from(data: $variant) -> Self {
                Self::$variant(data)
            }
        })+
    };
}

events! {
    /// A domain was registered.
    DomainCreated = "domain.created";
    /// A domain is being taken back: mode `none` is served until no sender can hold another policy.
    DomainWithdrawing = "domain.withdrawing";
    /// A domain is gone: nothing of it is served or published any more.
    DomainRemoved = "domain.removed";
    /// A domain is gone, and CNAMEs of it lead here still.
    DomainStillDelegated = "domain.still_delegated";
    /// The status of one of a domain's conditions is another one.
    ConditionChanged = "domain.condition_changed";
    /// A policy version was made.
    PolicyChanged = "policy.changed";
    /// A policy version is served by every edge, and its id was read back from DNS.
    PolicyPublished = "policy.published";
    /// A domain has a new certificate.
    CertificateIssued = "certificate.issued";
    /// The first attempt, since the last success, to renew a domain's certificate has failed.
    RenewalFailed = "certificate.renewal_failed";
    /// A certificate comes to its end and is not renewed.
    CertificateExpiring = "certificate.expiring";
    /// Looks from outside, as a sender's, do not find what senders are meant to find.
    CheckFailed = "domain.check_failed";
    /// A look from outside finds again what senders are meant to find.
    CheckRecovered = "domain.check_recovered";
    /// DNS names MX hosts that the policy does not cover, and others than before.
    DriftFound = "drift.found";
    /// Senders report a failure that a domain never had before.
    FailureNew = "report.failure_new";
    /// More sessions of a day failed than the tenant puts up with, or no longer so.
    FailureRate = "report.failure_rate";
    /// An organisation that used to report on a domain does so no more.
    ReporterSilent = "report.reporter_silent";
    /// An organisation that was silent reports again.
    ReporterBack = "report.reporter_back";
    /// Something that arrived as a report could not be read.
    ReportQuarantined = "report.quarantined";
    /// Another policy would follow from the MX hosts in DNS than the one that there is.
    ProposalMade = "proposal.made";
    /// A rollout plan is about to take its next step.
    RolloutPromoting = "rollout.promoting";
    /// A rollout plan has taken a step.
    RolloutPromoted = "rollout.promoted";
    /// A rollout plan stands still.
    RolloutPaused = "rollout.paused";
    /// Failures jumped, and a rollout plan has taken the policy back to `testing`.
    RolloutFellBack = "rollout.fell_back";
    /// A rollout plan is at its end.
    RolloutCompleted = "rollout.completed";
    /// Somebody asked for a test of a webhook.
    WebhookTest = "webhook.test";
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for EventType {
    type Err = EventTypeError;

    fn from_str(text: &str) -> Result<Self, EventTypeError> {
        Self::ALL.iter().copied().find(|known| known.as_str() == text).ok_or(EventTypeError)
    }
}

/// What is posted to a webhook.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Payload<'a, D> {
    /// The event's type.
    #[serde(rename = "type")]
    pub event_type: &'a str,
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// When it happened.
    pub timestamp: Timestamp,
    /// Its content: the `data` of an [`EventData`].
    pub data: &'a D,
}

/// Which domain an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventDomain {
    /// Its id.
    pub domain_id: DomainId,
    /// Its name.
    pub domain: MailDomain,
}

/// See [`EventType::DomainCreated`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainCreated {
    /// Which.
    #[serde(flatten)]
    pub domain: EventDomain,
}

/// See [`EventType::DomainWithdrawing`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainWithdrawing {
    /// Which.
    #[serde(flatten)]
    pub domain: EventDomain,
}

/// See [`EventType::DomainRemoved`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainRemoved {
    /// Which.
    #[serde(flatten)]
    pub domain: EventDomain,
}

/// See [`EventType::DomainStillDelegated`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainStillDelegated {
    /// Which.
    #[serde(flatten)]
    pub domain: EventDomain,
    /// The names whose CNAMEs are to be removed.
    pub remove_records: Vec<String>,
    /// Since when nothing is served there.
    pub gone_at: Timestamp,
}

/// See [`EventType::ConditionChanged`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionChanged {
    /// Whose.
    #[serde(flatten)]
    pub domain: EventDomain,
    /// Which condition.
    pub condition: ConditionKind,
    /// Its status until now.
    pub status_before: Status,
    /// Its status since.
    pub status: Status,
    /// A stable word, as in the condition.
    pub reason: String,
    /// A sentence for people, as in the condition.
    pub message: String,
}

/// See [`EventType::PolicyChanged`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyChanged {
    /// Whose.
    #[serde(flatten)]
    pub domain: EventDomain,
    /// The new version.
    pub version_id: PolicyVersionId,
    /// The id that its TXT record will have.
    pub policy_id: PolicyId,
    /// The mode of the version before; None: this is the first one.
    pub mode_before: Option<Mode>,
    /// Its mode.
    pub mode: Mode,
}

/// See [`EventType::PolicyPublished`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyPublished {
    /// Whose.
    #[serde(flatten)]
    pub domain: EventDomain,
    /// The version.
    pub version_id: PolicyVersionId,
    /// The id in its TXT record.
    pub policy_id: PolicyId,
    /// Its mode.
    pub mode: Mode,
}

/// See [`EventType::CertificateIssued`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateIssued {
    /// Whose.
    #[serde(flatten)]
    pub domain: EventDomain,
    /// The new certificate.
    pub certificate_id: CertificateId,
    /// Until when it is valid.
    pub not_after: Timestamp,
    /// Whether it takes the place of another one.
    pub renewal: bool,
}

/// See [`EventType::RenewalFailed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewalFailed {
    /// Whose.
    #[serde(flatten)]
    pub domain: EventDomain,
    /// The certificate that stays in use.
    pub certificate_id: CertificateId,
    /// Until when it is valid.
    pub not_after: Timestamp,
    /// A stable word for what went wrong.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

/// See [`EventType::CertificateExpiring`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateExpiring {
    /// Whose.
    #[serde(flatten)]
    pub domain: EventDomain,
    /// The certificate that is in use.
    pub certificate_id: CertificateId,
    /// Until when it is valid.
    pub not_after: Timestamp,
    /// How many whole days are left.
    pub days_left: u32,
    /// A stable word for why it was not renewed.
    pub reason: String,
    /// A sentence for people: what the CA said, if it said anything.
    pub message: String,
    /// A sentence for people.
    pub what_to_do: String,
}

/// See [`EventType::CheckFailed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckFailed {
    /// Whose.
    #[serde(flatten)]
    pub domain: EventDomain,
    /// The policy version that was looked for.
    pub version_id: PolicyVersionId,
    /// A stable word for what a sender would stumble over.
    pub code: String,
    /// A sentence for people: what is so and what to do.
    pub message: String,
}

/// See [`EventType::CheckRecovered`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRecovered {
    /// Whose.
    #[serde(flatten)]
    pub domain: EventDomain,
    /// The policy version that was looked for.
    pub version_id: PolicyVersionId,
}

/// See [`EventType::DriftFound`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftFound {
    /// Whose.
    #[serde(flatten)]
    pub domain: EventDomain,
    /// The MX hosts in DNS that no pattern of the policy covers.
    pub uncovered_mx: Vec<HostName>,
    /// The mode of the policy: with `enforce`, senders that honour it do not deliver to these hosts.
    pub mode: Mode,
}

/// See [`EventType::FailureNew`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureNew {
    /// Whose.
    #[serde(flatten)]
    pub domain: EventDomain,
    /// The result type (RFC 8460 §4.3), or what the sender wrote in its place.
    pub result: String,
    /// The MX host that it happened at; None where the report names none.
    pub receiving_mx: Option<String>,
    /// The first day on which it is reported.
    pub first_day: NaiveDate,
    /// Sessions that failed so, as far as is known.
    pub sessions: u64,
    /// Whether a report says so that has proved where it comes from.
    pub verified: bool,
}

/// Whether something that is watched is too high, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// It is, since this day.
    Raised,
    /// It is not any more.
    Cleared,
}

/// See [`EventType::FailureRate`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailureRate {
    /// Whose.
    #[serde(flatten)]
    pub domain: EventDomain,
    /// Whether the rate is above the threshold, or no longer.
    pub state: AlertState,
    /// The day (UTC) whose sessions say so.
    pub day: NaiveDate,
    /// Sessions of the day that were good.
    pub good: u64,
    /// Sessions of the day that failed.
    pub failed: u64,
    /// The share of those that failed, in percent.
    pub rate_percent: f64,
    /// The threshold, in percent.
    pub threshold_percent: u32,
}

/// See [`EventType::ReporterSilent`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReporterSilent {
    /// On which domain it reported.
    #[serde(flatten)]
    pub domain: EventDomain,
    /// Reports of this kind.
    pub kind: ReportKind,
    /// The organisation, by its own words.
    pub organization: String,
    /// The last day that it reported on.
    pub last_day: NaiveDate,
}

/// See [`EventType::ReporterBack`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReporterBack {
    /// On which domain it reports.
    #[serde(flatten)]
    pub domain: EventDomain,
    /// Reports of this kind.
    pub kind: ReportKind,
    /// The organisation, by its own words.
    pub organization: String,
    /// The last day that it reported on before it fell silent.
    pub last_day: NaiveDate,
    /// The newest day that it reports on.
    pub day: NaiveDate,
}

/// See [`EventType::ReportQuarantined`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportQuarantined {
    /// To whose address it was sent.
    #[serde(flatten)]
    pub domain: EventDomain,
    /// How many there are since the last event of this kind.
    pub arrivals: u32,
    /// The newest of them.
    pub arrival_id: ArrivalId,
    /// A stable word for what is wrong with that one.
    pub reason: String,
}

/// See [`EventType::ProposalMade`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalMade {
    /// Whose.
    #[serde(flatten)]
    pub domain: EventDomain,
    /// Which.
    pub proposal_id: ProposalId,
    /// The MX hosts in DNS that the policy does not cover.
    pub new_mx: Vec<HostName>,
    /// The patterns of the policy that no MX host in DNS matches.
    pub gone_mx: Vec<MxPattern>,
    /// The mode of the policy.
    pub mode: Mode,
}

/// See [`EventType::RolloutPromoting`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutPromoting {
    /// Whose.
    #[serde(flatten)]
    pub domain: EventDomain,
    /// Which step, from 1.
    pub step: u32,
    /// The mode that the policy will have.
    pub mode: Mode,
    /// The `max_age` that it will have.
    pub max_age: MaxAge,
    /// When.
    pub at: Timestamp,
}

/// See [`EventType::RolloutPromoted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutPromoted {
    /// Whose.
    #[serde(flatten)]
    pub domain: EventDomain,
    /// Which step, from 1.
    pub step: u32,
    /// The mode of the policy.
    pub mode: Mode,
    /// Its `max_age`.
    pub max_age: MaxAge,
    /// The version.
    pub version_id: PolicyVersionId,
}

/// See [`EventType::RolloutPaused`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutPaused {
    /// Whose.
    #[serde(flatten)]
    pub domain: EventDomain,
    /// At which step, from 1.
    pub step: u32,
    /// A stable word.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

/// See [`EventType::RolloutFellBack`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutFellBack {
    /// Whose.
    #[serde(flatten)]
    pub domain: EventDomain,
    /// From which step, from 1.
    pub step: u32,
    /// A stable word.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// The version in mode `testing`.
    pub version_id: PolicyVersionId,
}

/// See [`EventType::RolloutCompleted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutCompleted {
    /// Whose.
    #[serde(flatten)]
    pub domain: EventDomain,
}

/// See [`EventType::WebhookTest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookTest {
    /// Which webhook is tested.
    pub webhook_id: WebhookId,
}

impl EventData {
    /// The domain that it is about, if it is about one.
    pub fn domain(&self) -> Option<&EventDomain> {
        match self {
            Self::DomainCreated(data) => Some(&data.domain),
            Self::DomainWithdrawing(data) => Some(&data.domain),
            Self::DomainRemoved(data) => Some(&data.domain),
            Self::DomainStillDelegated(data) => Some(&data.domain),
            Self::ConditionChanged(data) => Some(&data.domain),
            Self::PolicyChanged(data) => Some(&data.domain),
            Self::PolicyPublished(data) => Some(&data.domain),
            Self::CertificateIssued(data) => Some(&data.domain),
            Self::RenewalFailed(data) => Some(&data.domain),
            Self::CertificateExpiring(data) => Some(&data.domain),
            Self::CheckFailed(data) => Some(&data.domain),
            Self::CheckRecovered(data) => Some(&data.domain),
            Self::DriftFound(data) => Some(&data.domain),
            Self::FailureNew(data) => Some(&data.domain),
            Self::FailureRate(data) => Some(&data.domain),
            Self::ReporterSilent(data) => Some(&data.domain),
            Self::ReporterBack(data) => Some(&data.domain),
            Self::ReportQuarantined(data) => Some(&data.domain),
            Self::ProposalMade(data) => Some(&data.domain),
            Self::RolloutPromoting(data) => Some(&data.domain),
            Self::RolloutPromoted(data) => Some(&data.domain),
            Self::RolloutPaused(data) => Some(&data.domain),
            Self::RolloutFellBack(data) => Some(&data.domain),
            Self::RolloutCompleted(data) => Some(&data.domain),
            Self::WebhookTest(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock, SeededEntropy};

    #[test]
    fn a_type_reads_back_as_itself_and_nothing_else_is_one() {
        for known in EventType::ALL {
            assert_eq!(known.as_str().parse(), Ok(*known));
        }
        assert!("domain".parse::<EventType>().is_err());
        assert!("Domain.Created".parse::<EventType>().is_err());
    }

    #[test]
    fn content_says_its_type_and_is_flat() {
        let domain = EventDomain {
            domain_id: DomainId::draw(ManualClock::default().now(), &SeededEntropy::new(1)),
            domain: MailDomain::from_stored("example.com").unwrap(),
        };
        let data = EventData::from(ConditionChanged {
            domain: domain.clone(),
            condition: ConditionKind::MxReady,
            status_before: Status::True,
            status: Status::False,
            reason: "HostFails".to_owned(),
            message: "A host fails.".to_owned(),
        });
        let json = serde_json::to_value(&data).unwrap();
        assert_eq!(json["type"], data.event_type().as_str());
        assert_eq!(json["data"]["domain"], "example.com");
        assert_eq!(json["data"]["domain_id"], domain.domain_id.to_string());
        assert_eq!(json["data"]["status_before"], "True");
        assert_eq!(serde_json::from_value::<EventData>(json).unwrap(), data);
    }
}
