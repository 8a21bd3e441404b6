//! A customer's own zone at Cloudflare.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use mtasts_model::feed::RecordType;
use secrecy::SecretString;
use url::Url;

use super::{
    endpoint::{CreateRecord, Id},
    failure::Failure,
    find_zone, is_inside, listing,
    record::{Record, RecordBody, canonical, clamped},
    transport::Api,
};
use crate::provider::{CustomerZone, Pace, ProviderError, StandingRecord};

/// What is written beside the CNAMEs of a delegation.
const COMMENT: &str = "mtasts delegation";
/// Zones that are tried on the way up from a domain, the ones with the fewest labels.
const MAX_STEPS: usize = 8;

/// How to get at a customer's zone.
#[derive(Debug)]
pub struct CloudflareCustomerConfig {
    /// Where the API is, such as [`super::CloudflareConfig::API`].
    pub api_url: Url,
    /// The customer's API token with the permissions Zone:Read and DNS:Edit for the zone.
    pub token: SecretString,
    /// How fast the API is asked.
    pub pace: Arc<Pace>,
    /// For one request, from the first byte to the last.
    pub timeout: Duration,
}

/// A zone that a customer's token opens.
pub struct CloudflareCustomer {
    api: Api,
    zone: String,
    id: Id,
}

impl CloudflareCustomer {
    /// Finds the zone that the domain is in: its own, or that of a domain above it.
    /// [`ProviderError::ZoneNotFound`] names the domain if the token shows none.
    pub async fn find(domain: &str, config: CloudflareCustomerConfig) -> Result<Self, ProviderError> {
        let api = Api::new(&config.api_url, config.token, config.pace, config.timeout)?;
        let domain = domain.trim_end_matches('.').to_ascii_lowercase();
        for zone in above(&domain) {
            match find_zone(&api, zone).await {
                Ok(Some(id)) => return Ok(Self { api, zone: zone.to_owned(), id }),
                Ok(None) => {}
                Err(failure) => return Err(failure.of_zone(&domain)),
            }
        }
        Err(ProviderError::ZoneNotFound { zone: domain })
    }

    fn check(&self, name: &str) -> Result<(), ProviderError> {
        crate::name::parse(name)?;
        if is_inside(name, &self.zone) {
            return Ok(());
        }
        Err(ProviderError::NameOutsideZone { name: name.to_owned(), zone: self.zone.clone() })
    }

    async fn at(&self, name: &str) -> Result<Vec<Record>, ProviderError> {
        self.check(name)?;
        listing::at(&self.api, &self.id, name).await.map_err(|failure| failure.of_zone(&self.zone))
    }

    /// Whether the CNAME stands there as wanted; anything else is a conflict, and nothing is `false`.
    async fn stands(&self, name: &str, target: &str) -> Result<bool, ProviderError> {
        let found = self.at(name).await?;
        match found.as_slice() {
            [] => Ok(false),
            [one] if one.record_type() == Some(RecordType::Cname) && one.value() == target => Ok(true),
            _ => Err(conflict(name, target, &found)),
        }
    }
}

/// The domain and those above it, down to two labels: nobody has a zone of a top-level domain here.
fn above(domain: &str) -> Vec<&str> {
    let ends = domain.match_indices('.').map(|(at, _)| &domain[at + 1..]);
    let mut zones: Vec<_> = std::iter::once(domain).chain(ends).filter(|zone| zone.contains('.')).collect();
    zones.split_off(zones.len().saturating_sub(MAX_STEPS))
}

#[async_trait]
impl CustomerZone for CloudflareCustomer {
    fn zone(&self) -> &str {
        &self.zone
    }

    async fn standing(&self, names: &[String]) -> Result<Vec<StandingRecord>, ProviderError> {
        let mut standing = Vec::new();
        for name in names {
            standing.extend(self.at(name).await?.iter().map(|record| StandingRecord {
                name: record.owner_name(),
                record_type: record.kind.clone(),
                value: record.value(),
                ttl: record.seconds(),
            }));
        }
        Ok(standing)
    }

    /// That it stands there already, as wanted, is no conflict, so that a repetition after a lost answer succeeds.
    async fn create_cname(&self, name: &str, target: &str, ttl: u32) -> Result<(), ProviderError> {
        let target = canonical(RecordType::Cname, target)
            .map_err(|error| ProviderError::Refused { reason: error.to_string() })?;
        if self.stands(name, &target).await? {
            return Ok(());
        }
        let record = RecordBody::new(name, RecordType::Cname, &target, clamped(ttl), COMMENT);
        match self.api.call(CreateRecord { zone: &self.id, record: &record }).await {
            Ok(_) => Ok(()),
            // Created by somebody since the look.
            Err(Failure::Refused(refusal)) if refusal.exists() && self.stands(name, &target).await? => Ok(()),
            Err(failure) => Err(failure.of_zone(&self.zone)),
        }
    }
}

fn conflict(name: &str, target: &str, found: &[Record]) -> ProviderError {
    let found: Vec<_> = found.iter().map(|record| format!("{} {}", record.kind, record.value())).collect();
    ProviderError::Conflict {
        name: name.to_owned(),
        record_type: RecordType::Cname,
        wanted: format!("CNAME {target}"),
        found: found.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_looked_for_from_the_domain_upwards() {
        assert_eq!(above("mail.eu.example.com"), ["mail.eu.example.com", "eu.example.com", "example.com"]);
        assert_eq!(above("example.com"), ["example.com"]);
        assert_eq!(above("localhost"), Vec::<&str>::new());
        let deep = format!("{}example.com", "a.".repeat(100));
        assert_eq!((above(&deep).len(), above(&deep).last()), (MAX_STEPS, Some(&"example.com")));
    }
}
