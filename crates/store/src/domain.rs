//! Domains as tenants see them.

use mtasts_model::{
    Condition, ConditionKind, DomainId, Label, MailDomain, MaxAge, Mode, PolicyVersionId, ReportUri, Status, Tag,
    TenantId, Timestamp, ZoneName,
    lifecycle::{DelegationSeen, DomainZones, MxSeen, MxSource},
};

use crate::{NewVersion, PolicyVersion, lease_tx::still_here};

/// How far a registration has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DomainState {
    /// Nothing was ever served for it.
    Pending,
    /// It was given to the edges.
    Active,
    /// It is being taken back safely: mode `none` is served until no sender can need another (RFC 8461 §8.3).
    Withdrawing,
    /// Nothing is left of it but its history; the label stays spent.
    Gone,
}

impl DomainState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Active, Self::Withdrawing, Self::Gone];

    /// The word that the API and the store use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Withdrawing => "withdrawing",
            Self::Gone => "gone",
        }
    }

    /// Whether a domain in this state may still be changed.
    pub(crate) fn is_kept(self) -> bool {
        matches!(self, Self::Pending | Self::Active)
    }
}

/// Why the operator forces a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovalGround {
    /// An order of a court or an authority.
    Law,
    /// The domain or its tenant harms others.
    Abuse,
}

impl RemovalGround {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Law, Self::Abuse];

    /// The word that the API and the store use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Law => "law",
            Self::Abuse => "abuse",
        }
    }
}

/// What a new registration is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDomain {
    /// Drawn by the caller.
    pub id: DomainId,
    /// The mail domain.
    pub name: MailDomain,
    /// Drawn by the caller.
    pub label: Label,
    /// In which of the service's zones it is at home.
    pub zone: ZoneName,
    /// Who chooses the MX patterns.
    pub mx_source: MxSource,
    /// The policy, if the tenant gave one; None: made once the MX hosts are found.
    pub first: Option<NewVersion>,
    /// The mode of the first version for [`MxSource::Auto`].
    pub preferred_mode: Mode,
    /// The `max_age` of the first version for [`MxSource::Auto`].
    pub preferred_max_age: MaxAge,
    /// Where senders send their reports (RFC 8460 §3); empty: no TLSRPT record.
    pub report_uris: Vec<ReportUri>,
}

/// The certificate in use, without its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSummary {
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// Serial number in hexadecimal.
    pub serial: String,
    /// Who issued it.
    pub issuer: String,
}

/// A domain with all that the API shows of it.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainView {
    /// Its id.
    pub id: DomainId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The mail domain.
    pub name: MailDomain,
    /// Our side of the delegation.
    pub label: Label,
    /// In which of the service's zones its records stand.
    pub zones: DomainZones,
    /// How far it has come.
    pub state: DomainState,
    /// Who chooses the MX patterns.
    pub mx_source: MxSource,
    /// The mode of the first version for [`MxSource::Auto`].
    pub preferred_mode: Mode,
    /// The `max_age` of the first version for [`MxSource::Auto`].
    pub preferred_max_age: MaxAge,
    /// Since when.
    pub created_at: Timestamp,
    /// When somebody last asked to look again.
    pub nudged_at: Timestamp,
    /// Its health, in the order of [`ConditionKind::ALL`]. Empty until the worker has first looked.
    pub conditions: Vec<Condition>,
    /// The newest version.
    pub version: Option<PolicyVersion>,
    /// The version whose id was last read back from the zone.
    pub published_version: Option<PolicyVersionId>,
    /// The latest look at the customer's CNAMEs.
    pub delegation_seen: Option<DelegationSeen>,
    /// The latest look at the MX hosts.
    pub mx_seen: Option<MxSeen>,
    /// The newest certificate.
    pub certificate: Option<CertificateSummary>,
    /// Where senders send their reports.
    pub report_uris: Vec<ReportUri>,
    /// The tenant's words on it, in order.
    pub tags: Vec<Tag>,
    /// For a domain that is being withdrawn: until when some sender may hold a policy that needs it, as far as the
    /// edges have reported. Later reports can move it.
    pub safe_to_remove_at: Option<Timestamp>,
    /// When the withdrawal was asked for.
    pub withdraw_requested_at: Option<Timestamp>,
    /// When the operator forced the removal, and why.
    pub forced_removal: Option<(Timestamp, RemovalGround)>,
    /// Since when nothing is left of it.
    pub gone_at: Option<Timestamp>,
}

impl DomainView {
    /// Whether it may still be changed.
    pub fn is_kept(&self) -> bool {
        self.state.is_kept()
    }
}

/// Which domains to list. All given filters must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainFilter {
    /// The newest version's mode.
    pub mode: Option<Mode>,
    /// Conditions, each with a status.
    pub conditions: Vec<(ConditionKind, Status)>,
    /// The state; None: all but [`DomainState::Gone`].
    pub state: Option<DomainState>,
    /// How the name begins (A-labels).
    pub name_prefix: Option<String>,
    /// What stands anywhere in the name (A-labels).
    pub text: Option<String>,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl DomainView {
    /// The names whose CNAMEs were seen to lead here after the domain was gone: they are to be removed.
    pub fn dangling(&self) -> Vec<String> {
        match (&self.delegation_seen, self.gone_at) {
            (Some(seen), Some(gone_at)) if seen.at > gone_at => still_here(&self.name, seen),
            _ => Vec::new(),
        }
    }
}
