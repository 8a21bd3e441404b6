//! The record sets that a zone of the service has besides those of its domains: where `*.edge` leads, and who may issue
//! for the names that lead there.

use std::{collections::HashMap, net::IpAddr};

use mtasts_certs::{CaaIdentity, Issuer};
use mtasts_dns::{Known, ProviderError, RecordChange, ZoneProvider};
use mtasts_model::{
    ZoneName,
    feed::{RecordData, RecordType},
};

use crate::outcome::causes;

/// What a zone holds at `*.edge`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Infrastructure {
    /// Where the edges are reached.
    pub edge_addresses: Vec<IpAddr>,
    /// Who may issue certificates for policy hosts, which inherit it through their CNAME (RFC 8659 §3).
    pub caa: CaaPolicy,
    /// TTL in seconds.
    pub ttl: u32,
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
        Self { edge_addresses: Vec::new(), caa: CaaPolicy::Account, ttl: 300 }
    }
}

/// The types of a zone's own sets.
pub(super) const TYPES: [RecordType; 3] = [RecordType::A, RecordType::Aaaa, RecordType::Caa];

/// The wanted sets by type; None: to be absent. A type that is not in it is not known now.
pub(super) type OwnSets = HashMap<RecordType, Option<RecordData>>;

/// The name that stands for every policy host.
pub(super) fn wildcard(zone: &ZoneName) -> String {
    format!("*.edge.{zone}")
}

impl Infrastructure {
    /// What is wanted, as far as it can be told now.
    pub(super) async fn wanted(&self, issuer: &dyn Issuer) -> OwnSets {
        let set = |values: Vec<String>| (!values.is_empty()).then_some(RecordData { ttl: self.ttl, values });
        let of = |v4: bool| self.edge_addresses.iter().filter(move |ip| ip.is_ipv4() == v4).map(IpAddr::to_string);
        let mut wanted =
            OwnSets::from([(RecordType::A, set(of(true).collect())), (RecordType::Aaaa, set(of(false).collect()))]);
        match &self.caa {
            CaaPolicy::Fixed(values) => {
                wanted.insert(RecordType::Caa, set(values.clone()));
            }
            CaaPolicy::Account => match issuer.caa_identity().await {
                Ok(identity) => {
                    wanted.insert(RecordType::Caa, set(caa(&identity)));
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
        wanted
    }
}

/// Sees that a zone has its own sets.
pub(super) async fn ensure(provider: &dyn ZoneProvider, wanted: &OwnSets) -> Result<(), ProviderError> {
    let name = wildcard(provider.zone());
    let mut changes = Vec::new();
    for record_type in TYPES {
        // Our own nameservers have the addresses from their configuration, before they have ever seen the store.
        let by_configuration = provider.follows_feed() && record_type != RecordType::Caa;
        let Some(set) = wanted.get(&record_type).filter(|_| !by_configuration) else { continue };
        let found = provider.read(&name, record_type).await?;
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
    fn caa_names_the_ca_and_our_account() {
        let identity = CaaIdentity {
            issuer_domains: vec!["ca.test".to_owned()],
            account_uri: Some("https://ca.test/acct/1".to_owned()),
        };
        assert_eq!(caa(&identity), ["0 issue \"ca.test; accounturi=https://ca.test/acct/1\""]);
        assert!(caa(&CaaIdentity::default()).is_empty());
    }
}
