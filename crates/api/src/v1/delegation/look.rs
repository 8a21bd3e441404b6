//! What stands in the customer's zone, and what would be done there: shared by plan and apply, so that both judge alike.

use data_encoding::BASE64URL_NOPAD;
use mtasts_model::{Delegation, DnsCredentialId, DomainId, label::DelegationRecord};
use mtasts_store::{DomainState, DomainView};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::{
    auth::TenantScope,
    customer_dns::{OpenZone, Standing, ZoneAccess, open, within},
    problem::{Problem, ProblemKind},
};

/// TTL of the CNAMEs in seconds, as in the zone file.
pub(crate) const TTL: u32 = 3600;
/// What a provider can make us show of one name.
const MAX_STANDING: usize = 20;
const MAX_VALUE: usize = 512;

/// What is done at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// Nothing stands there: the CNAME is created.
    Create,
    /// The CNAME stands there already.
    Keep,
    /// Something else stands there, and is left as it is.
    Refuse,
}

/// A record that stands in your zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = StandingRecord)]
pub(crate) struct StandingBody {
    /// Such as `A`.
    #[schema(example = "A")]
    r#type: String,
    /// As in a zone file.
    #[schema(example = "192.0.2.7")]
    value: String,
}

/// One CNAME, what stands at its name, and what is done there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PlannedRecord)]
pub(crate) struct PlannedRecordBody {
    /// `policy-host`, `sts-record`, `tls-rpt-record` or `acme-challenge`.
    #[schema(example = "policy-host")]
    purpose: &'static str,
    /// `CNAME`.
    #[schema(example = "CNAME")]
    r#type: &'static str,
    /// The name in your zone.
    #[schema(example = "mta-sts.example.com")]
    pub(super) name: String,
    /// Where it is to lead.
    #[schema(example = "4xk7n2d3e5pzk7qn2wq4lq3m6y.edge.sts.example.net")]
    pub(super) target: String,
    /// Seconds.
    #[schema(example = 3600)]
    ttl: u32,
    /// `create`, `keep` or `refuse`.
    pub(super) action: Action,
    /// What stands there now.
    standing: Vec<StandingBody>,
    /// A sentence for people.
    #[schema(example = "The CNAME is created")]
    message: String,
}

/// Whether all of the CNAMEs are meant, or those that everybody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Required,
    All,
}

impl Scope {
    pub(super) fn of(include_optional: bool) -> Self {
        if include_optional { Self::All } else { Self::Required }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::All => "all",
        }
    }
}

/// What was planned, in a text that only this service reads: the scope, and a hash over what stood there and what was
/// to be written. Nothing has to be kept for it, and it says nothing that the plan did not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlanToken {
    pub(super) scope: Scope,
    hash: [u8; 32],
}

impl PlanToken {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (word, hash) = text.split_once('.')?;
        let scope = [Scope::Required, Scope::All].into_iter().find(|scope| scope.word() == word)?;
        let hash = BASE64URL_NOPAD.decode(hash.as_bytes()).ok()?.try_into().ok()?;
        Some(Self { scope, hash })
    }
}

impl std::fmt::Display for PlanToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.scope.word(), BASE64URL_NOPAD.encode(&self.hash))
    }
}

/// What would be done.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) records: Vec<PlannedRecordBody>,
    pub(super) token: PlanToken,
}

impl Plan {
    /// Judges each name by what stands there. Pure.
    pub(super) fn of(
        (domain, credential, zone): (DomainId, DnsCredentialId, &str),
        scope: Scope,
        wanted: &[DelegationRecord],
        mut standing: Vec<Standing>,
    ) -> Self {
        // Providers answer in any order, and two looks at the same must be the same plan.
        standing.sort();
        standing.dedup();
        let records: Vec<_> = wanted
            .iter()
            .map(|record| {
                let here: Vec<_> = standing.iter().filter(|one| one.name.eq_ignore_ascii_case(&record.name)).collect();
                planned(record, &here)
            })
            .collect();
        let described = serde_json::json!([domain, credential, zone, scope.word(), records]);
        let hash = Sha256::digest(described.to_string()).into();
        Self { records, token: PlanToken { scope, hash } }
    }

    pub(super) fn count(&self, action: Action) -> usize {
        self.records.iter().filter(|record| record.action == action).count()
    }

    /// The refusal of a plan that cannot be applied; None if it can.
    pub(super) fn refusal(&self) -> Option<Problem> {
        let refused = self.count(Action::Refuse);
        (refused > 0).then(|| {
            let detail = format!(
                "{refused} of {} names has other records; `records` shows them, and nothing was written",
                self.records.len()
            );
            Problem::new(ProblemKind::DelegationRefused, detail).with("records", self.shown())
        })
    }

    /// For a member of a problem.
    pub(super) fn shown(&self) -> serde_json::Value {
        // Lists of plain texts always serialise.
        serde_json::to_value(&self.records).unwrap_or_default()
    }
}

fn planned(record: &DelegationRecord, here: &[&Standing]) -> PlannedRecordBody {
    let (action, message) = match here {
        [] => (Action::Create, "The CNAME is created".to_owned()),
        [one] if is_wanted(one, &record.target) => (Action::Keep, "The CNAME stands there already".to_owned()),
        several => {
            let found: Vec<_> = several.iter().take(3).map(|one| format!("{} {}", one.record_type, cut(one))).collect();
            let more = if several.len() > 3 { " and more" } else { "" };
            let message = format!(
                "{}{more} stands here, and is not touched: remove it, or set the CNAME yourself",
                found.join(", ")
            );
            (Action::Refuse, message)
        }
    };
    let standing = here
        .iter()
        .take(MAX_STANDING)
        .map(|one| StandingBody { r#type: one.record_type.clone(), value: cut(one) })
        .collect();
    PlannedRecordBody {
        purpose: record.purpose.as_str(),
        r#type: "CNAME",
        name: record.name.clone(),
        target: record.target.clone(),
        ttl: TTL,
        action,
        standing,
        message,
    }
}

fn is_wanted(standing: &Standing, target: &str) -> bool {
    let value = standing.value.strip_suffix('.').unwrap_or(&standing.value);
    standing.record_type.eq_ignore_ascii_case("CNAME") && value.eq_ignore_ascii_case(target)
}

fn cut(standing: &Standing) -> String {
    standing.value.chars().filter(|c| !c.is_control()).take(MAX_VALUE).collect()
}

/// What plan and apply need from the store.
pub(super) struct Subject {
    pub(super) domain: DomainView,
    pub(super) credential: DnsCredentialId,
    pub(super) access: ZoneAccess,
}

impl Subject {
    /// Takes the domain and the credential, for `purpose`. The use is in the audit log before anything is done with it.
    pub(super) async fn take(
        scope: &TenantScope,
        domain: DomainId,
        credential: DnsCredentialId,
        purpose: &'static str,
    ) -> Result<Self, Problem> {
        let mut tx = scope.begin().await?;
        let view = tx.domain(domain).await?.ok_or_else(|| Problem::not_found("domain"))?;
        if matches!(view.state, DomainState::Withdrawing | DomainState::Gone) {
            let detail = "The domain was deleted: leave its records as they are, or remove them once it is gone";
            return Err(Problem::new(ProblemKind::DomainWithdrawing, detail));
        }
        let used = tx.use_dns_credential(credential, (domain, purpose), &scope.actor(), scope.now()).await?;
        let sealed = used.ok_or_else(|| Problem::not_found("DNS credential"))?;
        let dns = scope.state().customer_dns()?;
        let access = open(dns, scope.tenant_id(), sealed).map_err(Problem::internal)?;
        tx.commit().await?;
        Ok(Self { domain: view, credential, access })
    }

    /// Opens the customer's zone, and looks at what stands there.
    pub(super) async fn look(
        &self,
        scope: &TenantScope,
        records: Scope,
        deadline: Instant,
    ) -> Result<(Box<dyn OpenZone>, Plan), Problem> {
        let dns = scope.state().customer_dns()?;
        let zone = within(deadline, "open", dns.zone(&self.access, &self.domain.name)).await?;
        let delegation = Delegation::new(&self.domain.name, &self.domain.label, &self.domain.zones.home);
        let wanted: Vec<_> =
            delegation.records().into_iter().filter(|record| record.required || records == Scope::All).collect();
        let names: Vec<_> = wanted.iter().map(|record| record.name.clone()).collect();
        let standing = within(deadline, "standing", zone.standing(&names)).await?;
        let plan = Plan::of((self.domain.id, self.credential, zone.name()), records, &wanted, standing);
        Ok((zone, plan))
    }
}

#[cfg(test)]
mod tests {
    use mtasts_model::{Label, MailDomain, clock::SeededEntropy};

    use super::*;

    fn wanted() -> Vec<DelegationRecord> {
        let label = Label::draw(&SeededEntropy::new(1));
        let domain = MailDomain::from_stored("customer.test").unwrap();
        Delegation::new(&domain, &label, &"sts.example.net".parse().unwrap()).records()
    }

    fn standing(name: &str, record_type: &str, value: &str) -> Standing {
        Standing { name: name.to_owned(), record_type: record_type.to_owned(), value: value.to_owned() }
    }

    fn plan_for(domain: u128, scope: Scope, standing: Vec<Standing>) -> Plan {
        let id = |number| uuid::Uuid::from_u128(number);
        let about = (DomainId::from_uuid(id(domain)), DnsCredentialId::from_uuid(id(1)), "customer.test");
        Plan::of(about, scope, &wanted(), standing)
    }

    fn plan(standing: Vec<Standing>) -> Plan {
        plan_for(1, Scope::All, standing)
    }

    #[test]
    fn what_is_right_is_kept_what_is_missing_created_and_anything_else_refused() {
        let target = wanted()[0].target.clone();
        let action = |standing: Vec<Standing>| plan(standing).records[0].action;
        let name = "mta-sts.customer.test";
        assert_eq!(action(vec![]), Action::Create);
        assert_eq!(action(vec![standing("other.customer.test", "A", "192.0.2.1")]), Action::Create);
        assert_eq!(action(vec![standing(name, "CNAME", &target)]), Action::Keep);
        assert_eq!(action(vec![standing(name, "CNAME", &format!("{}.", target.to_uppercase()))]), Action::Keep);
        assert_eq!(action(vec![standing(name, "CNAME", "elsewhere.test")]), Action::Refuse);
        assert_eq!(action(vec![standing(name, "TXT", &target)]), Action::Refuse);
        let both = vec![standing(name, "CNAME", &target), standing(name, "A", "192.0.2.1")];
        assert_eq!(action(both), Action::Refuse);
    }

    #[test]
    fn the_token_changes_with_all_that_matters_and_with_nothing_else() {
        let (a, b) =
            (standing("mta-sts.customer.test", "A", "192.0.2.1"), standing("mta-sts.customer.test", "A", "::1"));
        let token = |plan: Plan| plan.token.to_string();
        let base = token(plan(vec![a.clone(), b.clone()]));
        assert_eq!(base, token(plan(vec![b.clone(), a.clone(), a.clone()])));
        assert_ne!(base, token(plan(vec![a.clone()])));
        assert_ne!(base, token(plan_for(2, Scope::All, vec![a.clone(), b.clone()])));
        assert_ne!(base, token(plan_for(1, Scope::Required, vec![a, b])));
        assert_eq!(PlanToken::parse(&base).unwrap().to_string(), base);
        for bad in ["", "all", "all.", "some.AAAA", "all.AAAA", &base[..base.len() - 1]] {
            assert!(PlanToken::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_value_of_a_stranger_is_cut_and_has_no_control_characters() {
        let long = format!("a\u{1b}[2J{}", "x".repeat(10_000));
        let plan = plan(vec![standing("mta-sts.customer.test", "TXT", &long)]);
        let shown = &plan.records[0].standing[0].value;
        assert!(shown.len() <= MAX_VALUE && !shown.contains('\u{1b}'));
        assert!(plan.refusal().is_some());
    }
}
