//! The content of events, for the OpenAPI document: the schemas of the types in `mtasts_model::event`, which know nothing
//! of OpenAPI. A test holds them to what is sent.

use chrono::{DateTime, NaiveDate, Utc};
use utoipa::ToSchema;

use crate::v1::fields::ModeSchema;

macro_rules! payloads {
    ($($(#[$doc:meta])* struct $name:ident as $shown:ident {
        $($(#[$member_doc:meta])* $member:ident: $type:ty,)*
    })+) => {$(
        $(#[$doc])*
        #[derive(ToSchema)]
        #[schema(as = $shown)]
        #[expect(dead_code, reason = "the schema of a type of the model")]
        pub(super) struct $name {
            /// The domain's id.
            #[schema(example = "dom_0190c3a0b1c27d3e8f4051627384950a")]
            domain_id: String,
            /// The domain's name (A-labels).
            #[schema(example = "example.com")]
            domain: String,
            $($(#[$member_doc])* $member: $type,)*
        }
    )+};
}

payloads! {
    /// The domain that was registered.
    struct DomainCreated as DomainCreatedEvent {}

    /// The domain that is being taken back.
    struct DomainWithdrawing as DomainWithdrawingEvent {}

    /// The domain that is gone.
    struct DomainRemoved as DomainRemovedEvent {}

    /// CNAMEs that a domain has left behind.
    struct DomainStillDelegated as DomainStillDelegatedEvent {
        /// The names whose CNAMEs are to be removed.
        #[schema(example = json!(["mta-sts.example.com", "_mta-sts.example.com"]))]
        remove_records: Vec<String>,
        /// Since when nothing is served there.
        gone_at: DateTime<Utc>,
    }

    /// The condition that has another status.
    struct ConditionChanged as ConditionChangedEvent {
        /// Which condition.
        #[schema(value_type = ConditionSchema)]
        condition: String,
        /// Its status until now.
        #[schema(value_type = ConditionStatusSchema)]
        status_before: String,
        /// Its status since.
        #[schema(value_type = ConditionStatusSchema)]
        status: String,
        /// A stable word for programs.
        #[schema(example = "HostFails")]
        reason: String,
        /// A sentence for people: what is so and what to do.
        message: String,
    }

    /// The policy version that was made.
    struct PolicyChanged as PolicyChangedEvent {
        /// The new version's id.
        #[schema(example = "pol_0190c3a0b1c27d3e8f4051627384950a")]
        version_id: String,
        /// The id that the TXT record will have (RFC 8461 §3.1).
        #[schema(example = "20260101000000a1b2c3")]
        policy_id: String,
        /// The mode of the version before; null: this is the first one.
        #[schema(required, value_type = Option<ModeSchema>)]
        mode_before: Option<String>,
        /// Its mode.
        #[schema(value_type = ModeSchema)]
        mode: String,
    }

    /// The policy version that senders find from now on.
    struct PolicyPublished as PolicyPublishedEvent {
        /// The version's id.
        #[schema(example = "pol_0190c3a0b1c27d3e8f4051627384950a")]
        version_id: String,
        /// The id in the TXT record (RFC 8461 §3.1).
        #[schema(example = "20260101000000a1b2c3")]
        policy_id: String,
        /// Its mode.
        #[schema(value_type = ModeSchema)]
        mode: String,
    }

    /// The new certificate.
    struct CertificateIssued as CertificateIssuedEvent {
        /// The certificate's id.
        #[schema(example = "crt_0190c3a0b1c27d3e8f4051627384950a")]
        certificate_id: String,
        /// Until when it is valid.
        not_after: DateTime<Utc>,
        /// Whether it takes the place of another one.
        renewal: bool,
    }

    /// The renewal that failed for the first time since the last success. It is tried again by itself.
    struct RenewalFailed as CertificateRenewalFailedEvent {
        /// The certificate that stays in use.
        #[schema(example = "crt_0190c3a0b1c27d3e8f4051627384950a")]
        certificate_id: String,
        /// Until when it is valid.
        not_after: DateTime<Utc>,
        /// A stable word for programs.
        #[schema(example = "ValidationFailed")]
        reason: String,
        /// A sentence for people.
        message: String,
    }

    /// The certificate that ends and is not renewed.
    struct CertificateExpiring as CertificateExpiringEvent {
        /// The certificate that is in use.
        #[schema(example = "crt_0190c3a0b1c27d3e8f4051627384950a")]
        certificate_id: String,
        /// Until when it is valid.
        not_after: DateTime<Utc>,
        /// How many whole days are left.
        #[schema(example = 13)]
        days_left: u32,
        /// A stable word for why it was not renewed.
        #[schema(example = "ValidationFailed")]
        reason: String,
        /// A sentence for people: what the CA said, if it said anything.
        message: String,
        /// A sentence for people.
        what_to_do: String,
    }

    /// What senders are meant to find and do not.
    struct CheckFailed as DomainCheckFailedEvent {
        /// The policy version that was looked for.
        #[schema(example = "pol_0190c3a0b1c27d3e8f4051627384950a")]
        version_id: String,
        /// A stable word, as in `GET …/checks`.
        #[schema(example = "policy-host-unreachable")]
        code: String,
        /// A sentence for people: what is so and what to do.
        message: String,
    }

    /// What senders find again.
    struct CheckRecovered as DomainCheckRecoveredEvent {
        /// The policy version that was looked for.
        #[schema(example = "pol_0190c3a0b1c27d3e8f4051627384950a")]
        version_id: String,
    }

    /// MX hosts in DNS that the policy does not cover.
    struct DriftFound as DriftFoundEvent {
        /// The hosts.
        #[schema(example = json!(["mx3.example.com"]))]
        uncovered_mx: Vec<String>,
        /// The mode of the policy: with `enforce`, senders that honour it do not deliver to these hosts.
        #[schema(value_type = ModeSchema)]
        mode: String,
    }

    /// The failure that is new. Texts are as the sender wrote them: escape them before you show them.
    struct FailureNew as ReportFailureNewEvent {
        /// The result type (RFC 8460 §4.3), or what the sender wrote in its place.
        #[schema(example = "certificate-expired", max_length = 100)]
        result: String,
        /// The MX host that it happened at; null where the report names none.
        #[schema(required, example = "mx1.example.com")]
        receiving_mx: Option<String>,
        /// The first day (UTC) on which it is reported.
        first_day: NaiveDate,
        /// Sessions that failed so, as far as is known.
        #[schema(minimum = 0)]
        sessions: u64,
        /// Whether a report says so that has proved where it comes from.
        verified: bool,
    }

    /// The day whose sessions were above the threshold, or the first one that is well below it again.
    struct FailureRate as ReportFailureRateEvent {
        /// Whether the rate is above the threshold, or no longer.
        #[schema(value_type = AlertStateSchema)]
        state: String,
        /// The day (UTC).
        day: NaiveDate,
        /// Sessions of the day that were good.
        #[schema(minimum = 0)]
        good: u64,
        /// Sessions of the day that failed.
        #[schema(minimum = 0)]
        failed: u64,
        /// The share of those that failed, in percent.
        #[schema(minimum = 0, maximum = 100, example = 7.25)]
        rate_percent: f64,
        /// The threshold, in percent.
        #[schema(minimum = 1, maximum = 100, example = 5)]
        threshold_percent: u32,
    }

    /// The organisation that reports no more.
    struct ReporterSilent as ReporterSilentEvent {
        /// Reports of this kind.
        #[schema(value_type = ReportKindSchema)]
        kind: String,
        /// The organisation, by its own words: escape them before you show them.
        #[schema(example = "Example Mail", max_length = 255)]
        organization: String,
        /// The last day (UTC) that it reported on.
        last_day: NaiveDate,
    }

    /// The organisation that reports again.
    struct ReporterBack as ReporterBackEvent {
        /// Reports of this kind.
        #[schema(value_type = ReportKindSchema)]
        kind: String,
        /// The organisation, by its own words: escape them before you show them.
        #[schema(example = "Example Mail", max_length = 255)]
        organization: String,
        /// The last day (UTC) that it reported on before it fell silent.
        last_day: NaiveDate,
        /// The newest day (UTC) that it reports on.
        day: NaiveDate,
    }

    /// What could not be read. It is kept, and read again once the service can.
    struct ReportQuarantined as ReportQuarantinedEvent {
        /// How many there are since the last event of this kind.
        #[schema(minimum = 1)]
        arrivals: u32,
        /// The newest of them.
        #[schema(example = "arr_0190c3a0b1c27d3e8f4051627384950a")]
        arrival_id: String,
        /// A stable word for what is wrong with that one.
        #[schema(example = "not-json")]
        reason: String,
    }

    /// The policy that would follow.
    struct ProposalMade as ProposalMadeEvent {
        /// Which proposal.
        #[schema(example = "prp_0190c3a0b1c27d3e8f4051627384950a")]
        proposal_id: String,
        /// The MX hosts in DNS that the policy does not cover.
        #[schema(example = json!(["mx3.example.com"]))]
        new_mx: Vec<String>,
        /// The patterns of the policy that no MX host in DNS matches.
        #[schema(example = json!(["mx1.example.com"]))]
        gone_mx: Vec<String>,
        /// The mode of the policy.
        #[schema(value_type = ModeSchema)]
        mode: String,
    }

    /// The step that follows.
    struct RolloutPromoting as RolloutPromotingEvent {
        /// Which step, from 1.
        #[schema(example = 2)]
        step: u32,
        /// The mode of the policy.
        #[schema(value_type = ModeSchema)]
        mode: String,
        /// Its `max_age`, in seconds.
        #[schema(example = 86_400)]
        max_age: u32,
        /// When it follows: pause the plan until then to prevent it.
        at: DateTime<Utc>,
    }

    /// The step that was taken.
    struct RolloutPromoted as RolloutPromotedEvent {
        /// Which step, from 1.
        #[schema(example = 2)]
        step: u32,
        /// The mode of the policy.
        #[schema(value_type = ModeSchema)]
        mode: String,
        /// Its `max_age`, in seconds.
        #[schema(example = 86_400)]
        max_age: u32,
        /// The version's id.
        #[schema(example = "pol_0190c3a0b1c27d3e8f4051627384950a")]
        version_id: String,
    }

    /// The plan that stands still.
    struct RolloutPaused as RolloutPausedEvent {
        /// At which step, from 1.
        #[schema(example = 2)]
        step: u32,
        /// A stable word for programs.
        #[schema(example = "mx-not-covered")]
        reason: String,
        /// A sentence for people.
        message: String,
    }

    /// The plan that has gone back to `testing`.
    struct RolloutFellBack as RolloutFellBackEvent {
        /// From which step, from 1.
        #[schema(example = 2)]
        step: u32,
        /// A stable word for programs.
        #[schema(example = "mx-not-covered")]
        reason: String,
        /// A sentence for people.
        message: String,
        /// The version's id.
        #[schema(example = "pol_0190c3a0b1c27d3e8f4051627384950a")]
        version_id: String,
    }

    /// The plan that is at its end.
    struct RolloutCompleted as RolloutCompletedEvent {}
}

/// Whether something that is watched is too high, or no longer.
#[derive(ToSchema)]
#[schema(as = AlertState, rename_all = "lowercase")]
#[expect(dead_code, reason = "the schema of `AlertState`, which knows nothing of OpenAPI")]
pub(super) enum AlertStateSchema {
    Raised,
    Cleared,
}

/// Of which kind a report is.
#[derive(ToSchema)]
#[schema(as = EventReportKind)]
#[expect(dead_code, reason = "the schema of `ReportKind`, which knows nothing of OpenAPI")]
pub(super) enum ReportKindSchema {
    #[schema(rename = "tls-rpt")]
    TlsRpt,
    #[schema(rename = "dmarc")]
    Dmarc,
}

/// The webhook that is tested.
#[derive(ToSchema)]
#[schema(as = WebhookTestEvent)]
#[expect(dead_code, reason = "the schema of a type of the model")]
pub(super) struct WebhookTest {
    /// The webhook's id.
    #[schema(example = "whk_0190c3a0b1c27d3e8f4051627384950a")]
    webhook_id: String,
}

/// What a condition is about.
#[derive(ToSchema)]
#[schema(as = ConditionKind)]
#[expect(dead_code, reason = "the schema of `ConditionKind`, which knows nothing of OpenAPI")]
pub(super) enum ConditionSchema {
    Delegated,
    CertificateReady,
    PolicyLive,
    RecordPublished,
    MxReady,
    ReportsArriving,
    /// The rollout plan goes on, or is completed.
    RolloutOnTrack,
    /// A look from outside, as a sender's, found what senders are meant to find.
    PolicyVisible,
}

/// Whether a condition holds.
#[derive(ToSchema)]
#[schema(as = ConditionStatus)]
#[expect(dead_code, reason = "the schema of `Status`, which knows nothing of OpenAPI")]
pub(super) enum ConditionStatusSchema {
    True,
    False,
    Unknown,
}
