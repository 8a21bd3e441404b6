//! What is known about one domain, as gathered from the store in one read.

use chrono::NaiveDate;

use crate::{
    clock::Timestamp,
    condition::Condition,
    feed::Revision,
    ids::{CertificateId, DomainId, OrderId, PolicyVersionId, TenantId},
    label::{Label, ZoneName},
    lifecycle::{Attempts, WatchFacts},
    migration::{self, MigrationFacts},
    name::{HostName, MailDomain},
    policy::{Mode, Policy},
    policy_id::PolicyId,
    rollout::{Next, RolloutFacts, Situation, next},
};

/// All that the planner looks at.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainFacts {
    /// Which registration.
    pub domain_id: DomainId,
    /// Whose.
    pub tenant_id: TenantId,
    /// The mail domain.
    pub name: MailDomain,
    /// Our side of the delegation. Its bytes also seed the jitter.
    pub label: Label,
    /// In which of the service's zones its records stand.
    pub zones: DomainZones,
    /// When it was registered.
    pub created_at: Timestamp,
    /// Whether the domain is to be served or withdrawn.
    pub purpose: Purpose,
    /// Since when nothing is left of it; None for a domain that is not gone, or was never served.
    pub gone_at: Option<Timestamp>,
    /// When somebody last asked to look again at once (registration, verify-now, a mode change).
    pub nudged_at: Timestamp,
    /// The latest conclusive look at the customer's CNAMEs. A look that could not resolve leaves it as it was.
    pub delegation: Option<DelegationSeen>,
    /// What the edges are told about `mta-sts.<domain>`.
    pub host: HostFacts,
    /// The live order, if any (at most one per domain: invariant 9).
    pub order: Option<OrderFacts>,
    /// When the latest failed validations of this name were, whoever ordered, within the last hour.
    pub failed_validations: Vec<Timestamp>,
    /// The newest proved certificate.
    pub certificate: Option<CertificateFacts>,
    /// Who chooses the MX patterns.
    pub mx_source: MxSource,
    /// The newest policy version: what is to be served. None until the MX hosts were found, or a policy was set.
    pub version: Option<VersionFacts>,
    /// What the service's zone says for this domain.
    pub record: RecordFacts,
    /// The edges' positions.
    pub edges: EdgeFacts,
    /// The latest conclusive look at the MX hosts.
    pub mx: Option<MxSeen>,
    /// The latest time that a look at them found no room.
    pub mx_put_off: Option<MxPutOff>,
    /// What the served ledger says.
    pub ledger: LedgerFacts,
    /// What the looks from outside came to.
    pub watch: Option<WatchFacts>,
    /// What senders report on the domain.
    pub reports: ReportFacts,
    /// The rollout plan, if there is one.
    pub rollout: Option<RolloutFacts>,
    /// The MX migration under way, if there is one.
    pub migration: Option<MigrationFacts>,
    /// Failures by step since its last success.
    pub attempts: Attempts,
    /// The conditions as they were last shown, for their `since`.
    pub conditions: Vec<Condition>,
}

/// TLS reports on the domain (RFC 8460), by the last day that any speaks of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReportFacts {
    /// Of any sender.
    pub last_day: Option<NaiveDate>,
    /// Of one that has proved who it is.
    pub last_verified_day: Option<NaiveDate>,
}

/// The service's zones in which a domain has its records: one, but for the time of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainZones {
    /// The one that the customer is told to point at.
    pub home: ZoneName,
    /// The one that it moves to: its records are written there as well, and once they are read back it is the home.
    pub next: Option<ZoneName>,
    /// The one that it came from, where its records stay until no CNAME has led there for long.
    pub former: Option<ZoneName>,
}

impl DomainZones {
    /// At home in this zone, and not moving.
    pub fn at(home: ZoneName) -> Self {
        Self { home, next: None, former: None }
    }

    /// All of them, the home first.
    pub fn all(&self) -> impl Iterator<Item = &ZoneName> {
        std::iter::once(&self.home).chain(&self.next).chain(&self.former)
    }
}

/// What the domain is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Serve it.
    Live,
    /// Take it back safely (RFC 8461 §8.3). The newest version has mode `none`.
    Withdraw {
        /// When the tenant asked for it.
        since: Timestamp,
        /// Whether the operator has forced it, for law or abuse: then nobody is waited for.
        forced: bool,
    },
    /// Nothing is left to do; the label stays spent.
    Gone,
}

/// One of the customer's CNAMEs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "seen", rename_all = "kebab-case")]
pub enum CnameSeen {
    /// It leads to this domain's label, directly or through other CNAMEs.
    Ours,
    /// There is no CNAME (NXDOMAIN or NODATA).
    Missing,
    /// It leads to another label in our zone: another registration of the same name.
    OtherLabel {
        /// Where it leads.
        target: String,
    },
    /// It leads elsewhere.
    Elsewhere {
        /// Where it leads.
        target: String,
    },
}

/// A conclusive look at the delegation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DelegationSeen {
    /// `mta-sts.<d>`.
    pub policy_host: CnameSeen,
    /// `_mta-sts.<d>`.
    pub sts_record: CnameSeen,
    /// `_smtp._tls.<d>`.
    pub tls_rpt_record: CnameSeen,
    /// `_acme-challenge.mta-sts.<d>`: optional.
    pub acme_challenge: CnameSeen,
    /// When it was looked at.
    pub at: Timestamp,
    /// Since when, without a break, `policy_host` has not been [`CnameSeen::Ours`]; None while it is.
    pub lost_since: Option<Timestamp>,
    /// Since when, without a break, the CNAMEs have led to the domain's home among the service's zones, and none of them
    /// to another.
    #[serde(default)]
    pub home_since: Option<Timestamp>,
}

/// What the edge feed says for the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// Who holds the name's one place in the feed.
    pub owner: HostOwner,
    /// What is served, if this domain owns the place and something is.
    pub content: Option<HostContentRef>,
    /// The revision of the place's latest change; ZERO when it never had one.
    pub revision: Revision,
    /// When that change was.
    pub changed_at: Option<Timestamp>,
}

/// Who holds the name's place in the edge feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostOwner {
    /// Nobody.
    Nobody,
    /// This registration.
    Ours,
    /// Another registration of the same name.
    Other,
}

/// What the feed tells the edges to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostContentRef {
    /// The policy version.
    pub version_id: PolicyVersionId,
    /// The certificate.
    pub certificate_id: CertificateId,
}

/// A live order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderFacts {
    /// Our id.
    pub id: OrderId,
    /// How far it has come.
    pub state: OrderState,
    /// When the state was entered.
    pub since: Timestamp,
    /// Not to be polled before (the CA's Retry-After).
    pub not_before: Option<Timestamp>,
}

/// How far an order has come. The key is persisted with `Drafted`, the URL with `Placed`: each before the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderState {
    /// Key drawn and persisted, nothing asked of the CA.
    Drafted,
    /// The CA knows it; its URL is persisted.
    Placed,
    /// The answer to its challenge is in the feed (or, for dns-01, in the zone) as of this revision.
    ChallengePublished {
        /// Every in-service edge must have it before the CA is told to look.
        revision: Revision,
    },
    /// The CA was told to look.
    Answered,
    /// Validated: the CSR may be sent.
    Ready,
    /// The CSR was sent.
    Finalizing,
}

/// The newest proved certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Our id.
    pub id: CertificateId,
    /// When it expires.
    pub not_after: Timestamp,
    /// When to renew (ARI, or 1/3 of the lifetime left).
    pub renew_at: Timestamp,
    /// When to ask the CA again for its advice (RFC 9773); None where the CA has no ARI.
    pub advice_due_at: Option<Timestamp>,
    /// The fewest days before its end that the tenant was told of: see [`crate::lifecycle::EXPIRY_ALERT_DAYS`].
    pub told_days: Option<u16>,
}

/// Who chooses the MX patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MxSource {
    /// `mx: auto`: the hosts that were found at registration.
    Auto,
    /// The tenant lists them.
    Listed,
    /// New hosts in DNS are taken in by themselves, as far as [`crate::drift::followed`] lets them.
    Follow,
}

/// The newest policy version and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionFacts {
    /// Our id.
    pub id: PolicyVersionId,
    /// The id of its TXT record.
    pub policy_id: PolicyId,
    /// Its policy.
    pub policy: Policy,
    /// When it was made.
    pub created_at: Timestamp,
    /// When every in-service edge was first seen to serve it.
    pub served_at: Option<Timestamp>,
    /// When it was fetched as a sender would, byte for byte.
    pub verified_at: Option<Timestamp>,
    /// When the record with its id was read back from all authoritative servers.
    pub published_at: Option<Timestamp>,
}

/// What was written to the service's zone for this domain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordFacts {
    /// The version whose id was last wanted in the zone (it may or may not have arrived).
    pub written: Option<PolicyVersionId>,
    /// When that was.
    pub written_at: Option<Timestamp>,
    /// The version whose id was last read back.
    pub confirmed: Option<PolicyVersionId>,
    /// When the records were last read back and found right.
    pub confirmed_at: Option<Timestamp>,
    /// When the records were last removed.
    pub removed_at: Option<Timestamp>,
    /// Whether the TLSRPT record set differs from what was last written (the tenant changed its report addresses).
    pub reports_stale: bool,
    /// Whether one of the domain's zones was not written to with the others.
    pub zones_stale: bool,
    /// Whether a DNS provider has yet to take what was last written.
    pub pending: bool,
    /// Why a provider does not take it.
    pub problem: Option<RecordProblem>,
}

/// Why a DNS provider does not take a record set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordProblem {
    /// A stable word in CamelCase.
    pub reason: String,
    /// For people: what is so and what to do.
    pub message: String,
}

/// The edges' positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EdgeFacts {
    /// The lowest position that an in-service edge has acknowledged; None when no edge is in service.
    pub acknowledged: Option<Revision>,
}

/// A conclusive look at the MX hosts (the MX record set was resolved; hosts may have failed).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MxSeen {
    /// In order of preference. Empty for a null MX (RFC 7505) or none.
    pub hosts: Vec<MxHostSeen>,
    /// When the domain's hosts were gone through.
    pub at: Timestamp,
}

impl MxSeen {
    /// When this host, one of [`Self::hosts`], was connected to.
    pub fn looked_at(&self, host: &MxHostSeen) -> Timestamp {
        host.looked_at.unwrap_or(self.at)
    }

    /// The time that all of it is at least as new as: when the host was connected to that was not for the longest.
    pub fn oldest_look(&self) -> Timestamp {
        self.hosts.iter().map(|host| self.looked_at(host)).min().unwrap_or(self.at)
    }
}

/// A look at the MX hosts that waits for room at one of them. Says nothing about the domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MxPutOff {
    /// When there was none.
    pub at: Timestamp,
    /// When to come back.
    pub until: Timestamp,
}

/// One MX host as a sender sees it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MxHostSeen {
    /// The host.
    pub host: HostName,
    /// The MX preference (RFC 5321 §5.1).
    pub preference: u16,
    /// What is wrong; None when STARTTLS with a valid certificate for the host works on every address.
    pub failure: Option<MxFailure>,
    /// When it was connected to, where that was not for this domain: what a host answers is shared by all whose mail goes
    /// there. None: when the domain's hosts were gone through ([`MxSeen::looked_at`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_at: Option<Timestamp>,
}

/// Why an MX host would fail a sender that enforces.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MxFailure {
    /// A stable word, such as `starttls-not-supported` (RFC 8460 §4.3 where it has one).
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

/// What the served ledger says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LedgerFacts {
    /// The largest (last served + max_age) over all versions whose mode is not `none`; None when none was ever served.
    pub needed_until: Option<Timestamp>,
    /// The newest moment that every in-service edge's flushed lines cover; withdrawal waits for it to pass the
    /// moment at which the `none` version was served everywhere.
    pub complete_until: Option<Timestamp>,
}

impl DomainFacts {
    /// The word of somebody who has asked, since the last look at the MX hosts, to look at once. A registration is no word
    /// on the hosts, and one from the future is of a clock that was set back.
    pub fn mx_nudge(&self, now: Timestamp) -> Option<Timestamp> {
        let new = self.nudged_at > self.created_at && self.mx.as_ref().is_none_or(|seen| seen.at < self.nudged_at);
        (new && self.nudged_at <= now).then_some(self.nudged_at)
    }

    /// What follows for the MX migration, and when to look again.
    pub fn migration_next(&self, now: Timestamp) -> (Option<migration::Action>, Option<Timestamp>) {
        match (&self.migration, &self.version) {
            (Some(facts), Some(version)) => migration::next(&version.policy, self.mx.as_ref(), facts, now),
            _ => (None, None),
        }
    }

    /// What follows for the rollout plan; None where there is none, or no policy.
    pub fn rollout_next(&self, now: Timestamp) -> Option<Next> {
        let (facts, version) = (self.rollout.as_ref()?, self.version.as_ref()?);
        let (policy, published) = (&version.policy, version.published_at.is_some());
        Some(next(&Situation { policy, published, mx: self.mx.as_ref(), facts }, now))
    }

    /// The mode that the newest version asks for.
    pub fn mode(&self) -> Option<Mode> {
        self.version.as_ref().map(|version| version.policy.mode())
    }
}
