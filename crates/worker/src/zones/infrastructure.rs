//! The record sets that a zone of the service has besides those of its domains: where `*.edge` leads, who may issue for the
//! names that lead there, and, where the host that takes reports is in the zone, what that needs.

use std::{collections::BTreeMap, net::IpAddr};

use mtasts_certs::{CaaIdentity, Issuer};
use mtasts_dns::{Known, ProviderError, RecordChange, ZoneProvider};
use mtasts_model::{
    HostName, ZoneName,
    feed::{RecordData, RecordType},
};

use crate::outcome::causes;

/// What the zones hold of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Infrastructure {
    /// Where the edges are reached.
    pub edge_addresses: Vec<IpAddr>,
    /// Who may issue certificates for policy hosts, which inherit it through their CNAME (RFC 8659 §3).
    pub caa: CaaPolicy,
    /// The host that takes reports. Its records are in the zone that it lies in, if that is one of the service's.
    pub reports: Option<ReportHost>,
    /// TTL in seconds.
    pub ttl: u32,
}

/// The host that takes reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportHost {
    /// Its name.
    pub host: HostName,
    /// Where it is reached: mail goes to the addresses of a name without MX (RFC 5321 §5.1). Empty: that is not for us to say.
    pub addresses: Vec<IpAddr>,
}

impl ReportHost {
    /// Whether it lies in the zone.
    pub fn is_in(&self, zone: &ZoneName) -> bool {
        self.host.as_str().strip_suffix(zone.as_str()).is_some_and(|rest| rest.ends_with('.'))
    }

    /// Where receivers look whether the host takes DMARC reports on any domain (RFC 7489 §7.1, RFC 9990), and what they find.
    pub fn dmarc_consent(&self) -> (String, &'static str) {
        (format!("*._report._dmarc.{}", self.host), "v=DMARC1;")
    }
}

/// Who may issue for the policy hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaaPolicy {
    /// Our CA, and no account there but ours (RFC 8657 §3).
    Account,
    /// What the operator says, such as `0 issue "ca.example"`.
    Fixed(Vec<String>),
}

impl Default for Infrastructure {
    fn default() -> Self {
        Self { edge_addresses: Vec::new(), caa: CaaPolicy::Account, reports: None, ttl: 300 }
    }
}

/// The types at the wildcard.
pub(super) const TYPES: [RecordType; 3] = [RecordType::A, RecordType::Aaaa, RecordType::Caa];

/// The wanted sets by name and type; None: to be absent. What is not in it is not known now, or not ours to say.
pub(super) type OwnSets = BTreeMap<(String, RecordType), Option<RecordData>>;

/// Whether all that is wanted is known.
pub(super) fn is_complete(own: &OwnSets, zone: &ZoneName) -> bool {
    TYPES.into_iter().all(|record_type| own.contains_key(&(wildcard(zone), record_type)))
}

/// The name that stands for every policy host.
pub(super) fn wildcard(zone: &ZoneName) -> String {
    format!("*.edge.{zone}")
}

impl Infrastructure {
    /// What is wanted in a zone, as far as it can be told now.
    pub(super) async fn wanted(&self, zone: &ZoneName, issuer: &dyn Issuer) -> OwnSets {
        let edges = wildcard(zone);
        let mut wanted = OwnSets::new();
        self.want_addresses(&edges, &self.edge_addresses, &mut wanted);
        match &self.caa {
            CaaPolicy::Fixed(values) => {
                wanted.insert((edges, RecordType::Caa), self.set(values.clone()));
            }
            CaaPolicy::Account => match issuer.caa_identity().await {
                Ok(identity) => {
                    wanted.insert((edges, RecordType::Caa), self.set(caa(&identity)));
                }
                Err(error) => {
                    let error = causes(&error);
                    tracing::warn!(
                        error,
                        "the CA's identity for CAA is not known now; the CAA records stay as they are"
                    );
                }
            },
        }
        if let Some(reports) = self.reports.as_ref().filter(|reports| reports.is_in(zone)) {
            if !reports.addresses.is_empty() {
                self.want_addresses(reports.host.as_str(), &reports.addresses, &mut wanted);
            }
            let (name, text) = reports.dmarc_consent();
            wanted.insert((name, RecordType::Txt), self.set(vec![text.to_owned()]));
        }
        wanted
    }

    fn want_addresses(&self, name: &str, addresses: &[IpAddr], wanted: &mut OwnSets) {
        for (record_type, is_v4) in [(RecordType::A, true), (RecordType::Aaaa, false)] {
            let values = addresses.iter().filter(|ip| ip.is_ipv4() == is_v4).map(IpAddr::to_string).collect();
            wanted.insert((name.to_owned(), record_type), self.set(values));
        }
    }

    fn set(&self, values: Vec<String>) -> Option<RecordData> {
        (!values.is_empty()).then_some(RecordData { ttl: self.ttl, values })
    }
}

/// Sees that a zone has its own sets.
pub(super) async fn ensure(provider: &dyn ZoneProvider, wanted: &OwnSets) -> Result<(), ProviderError> {
    let mut changes = Vec::new();
    for ((name, record_type), set) in wanted {
        let record_type = *record_type;
        // Our own nameservers have the others from their configuration, before they have ever seen the store.
        if provider.follows_feed() && record_type != RecordType::Caa {
            continue;
        }
        let found = provider.read(name, record_type).await?;
        let same = match (&found, set) {
            (Some(found), Some(set)) => found.data.same_values(set),
            (None, None) => true,
            _ => false,
        };
        if !same {
            changes.push(RecordChange { name: name.clone(), record_type, set: set.clone(), known: Known::Perhaps });
        }
    }
    if changes.is_empty() {
        return Ok(());
    }
    for outcome in provider.apply(&changes).await? {
        outcome?;
    }
    tracing::info!(zone = %provider.zone(), sets = changes.len(), "records of the zone's own were written");
    Ok(())
}

/// The CA's names with our account (RFC 8657 §3). Nothing for a CA that does not look at CAA.
fn caa(identity: &CaaIdentity) -> Vec<String> {
    let account = |domain: &String| match &identity.account_uri {
        Some(uri) => format!("0 issue \"{domain}; accounturi={uri}\""),
        None => format!("0 issue \"{domain}\""),
    };
    identity.issuer_domains.iter().map(account).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_reports_is_in_the_zones_that_it_ends_with() {
        let host = HostName::parse("reports.sts.example").unwrap();
        let reports = ReportHost { host, addresses: Vec::new() };
        for (zone, is_in) in [("sts.example", true), ("ts.example", false), ("reports.sts.example", false)] {
            assert_eq!(reports.is_in(&zone.parse().unwrap()), is_in, "{zone}");
        }
    }

    #[test]
    fn caa_names_the_ca_and_our_account() {
        let identity = CaaIdentity {
            issuer_domains: vec!["ca.test".to_owned()],
            account_uri: Some("https://ca.test/acct/1".to_owned()),
        };
        assert_eq!(caa(&identity), ["0 issue \"ca.test; accounturi=https://ca.test/acct/1\""]);
        assert!(caa(&CaaIdentity::default()).is_empty());
    }
}
