//! Of whose domain a part of a report speaks.

use std::collections::HashMap;

use mtasts_reports::tls_rpt::PolicyType;
use mtasts_store::HeldDomain;

use super::grade::is_same_organization;

/// To whom a part is put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The domain of the label that it was sent to.
    Own,
    /// Another domain whose policy host is the service's.
    Other(HeldDomain),
    /// Nobody here, or nobody to whom this sender may speak.
    Nobody,
}

/// Who is asked, and who may be told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addressed<'a> {
    /// The name of the label's domain.
    pub(super) own: &'a str,
    /// A label proves that the sender has read the own domain's DNS, and nothing of others': of these only a verified
    /// report is heard.
    pub(super) verified: bool,
    /// Domains whose policy host is the service's, by name.
    pub(super) held: &'a HashMap<String, HeldDomain>,
}

impl Addressed<'_> {
    /// Where a policy of a TLS report goes.
    pub(super) fn policy(&self, kind: &PolicyType, domain: Option<&str>) -> Place {
        match domain {
            None => Place::Own,
            Some(domain) if domain == self.own => Place::Own,
            Some(domain) => match self.other(domain) {
                // RFC 8460 §4.4: the policy domain of DANE is the MX host, which may be anybody's.
                Place::Nobody if *kind == PolicyType::Tlsa => Place::Own,
                other => other,
            },
        }
    }

    /// Where a DMARC report goes: its policy may be published above or below the domain (RFC 7489 §6.6.3, RFC 9989).
    pub(super) fn dmarc(&self, domain: Option<&str>) -> Place {
        match domain {
            None => Place::Own,
            Some(domain) if domain == self.own || is_above_or_below(self.own, domain) => Place::Own,
            Some(domain) => self.other(domain),
        }
    }

    fn other(&self, domain: &str) -> Place {
        self.held.get(domain).filter(|_| self.verified).map_or(Place::Nobody, |held| Place::Other(held.clone()))
    }
}

fn is_above_or_below(one: &str, other: &str) -> bool {
    let below = |lower: &str, upper: &str| lower.strip_suffix(upper).is_some_and(|front| front.ends_with('.'));
    (below(one, other) || below(other, one)) && is_same_organization(one, other)
}

#[cfg(test)]
mod tests {
    use mtasts_model::{DomainId, SystemClock, SystemEntropy, TenantId, clock::Clock};

    use super::*;

    #[test]
    fn parts_go_to_the_labels_domain_and_others_only_if_the_sender_is_verified() {
        use PolicyType::{NoPolicyFound, Sts, Tlsa};
        let now = SystemClock.now();
        let other = HeldDomain {
            name: "other.example".to_owned(),
            domain: DomainId::draw(now, &SystemEntropy),
            tenant: TenantId::draw(now, &SystemEntropy),
        };
        let held = HashMap::from([(other.name.clone(), other.clone())]);
        let to_other = || Place::Other(other.clone());
        for (kind, domain, unverified, verified) in [
            (Sts, Some("shop.example"), Place::Own, Place::Own),
            (NoPolicyFound, Some("shop.example"), Place::Own, Place::Own),
            (Sts, None, Place::Own, Place::Own),
            (Sts, Some("www.shop.example"), Place::Nobody, Place::Nobody),
            (Sts, Some("other.example"), Place::Nobody, to_other()),
            (Sts, Some("stranger.example"), Place::Nobody, Place::Nobody),
            (Tlsa, Some("mx.stranger.example"), Place::Own, Place::Own),
            (Tlsa, Some("other.example"), Place::Own, to_other()),
            (PolicyType::Other("x".to_owned()), Some("mx.stranger.example"), Place::Nobody, Place::Nobody),
        ] {
            for (is_verified, wanted) in [(false, unverified), (true, verified)] {
                let addressed = Addressed { own: "shop.example", verified: is_verified, held: &held };
                assert_eq!(addressed.policy(&kind, domain), wanted, "{kind:?} {domain:?} {is_verified}");
            }
        }
    }

    #[test]
    fn dmarc_reports_go_to_a_domain_above_or_below_within_the_organization() {
        let held = HashMap::new();
        for (own, domain, wanted) in [
            ("shop.example", Some("shop.example"), Place::Own),
            ("shop.example", Some("mail.shop.example"), Place::Own),
            ("mail.shop.example", Some("shop.example"), Place::Own),
            ("shop.example", None, Place::Own),
            ("shop.co.uk", Some("co.uk"), Place::Nobody),
            ("shop.example", Some("othershop.example"), Place::Nobody),
            ("a.github.io", Some("github.io"), Place::Nobody),
        ] {
            let addressed = Addressed { own, verified: true, held: &held };
            assert_eq!(addressed.dmarc(domain), wanted, "{own} {domain:?}");
        }
    }
}
