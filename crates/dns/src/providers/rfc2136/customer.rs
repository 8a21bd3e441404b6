//! A customer's own zone on a server that takes dynamic updates.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, RecordType as WireType},
};
use mtasts_model::{clock::Clock, feed::RecordType};

use super::{
    connection::{Connection, Primary},
    plan::{LONGEST_TTL, cut},
    refusal::{Asked, again},
    update,
};
use crate::{
    name::{self, InvalidName},
    provider::{CustomerZone, Pace, ProviderError, StandingRecord},
    tsig::TsigKey,
    wire,
};

/// What is looked for at a name. A question for ANY may be answered by any part (RFC 8482).
const LOOKED_FOR: [WireType; 7] =
    [WireType::CNAME, WireType::A, WireType::AAAA, WireType::TXT, WireType::MX, WireType::CAA, WireType::NS];

/// Looks and writes before we say that somebody else is quicker.
const MOST_TRIES: u32 = 3;

/// Where a customer's zone is kept.
#[derive(Debug, Clone)]
pub struct CustomerConfig {
    /// The zone, with or without the trailing dot.
    pub zone: String,
    /// The primary server. Whoever takes this from a customer checks that it is no address of our own network.
    pub server: SocketAddr,
    /// The key that may update the zone.
    pub key: Option<TsigKey>,
    /// For each connection and each exchange.
    pub timeout: Duration,
}

/// A customer's zone, reached by DNS UPDATE (RFC 2136).
pub struct Rfc2136Customer {
    zone: String,
    primary: Primary,
}

impl Rfc2136Customer {
    /// Fails if the zone's name is none.
    pub fn new(config: CustomerConfig, pace: Arc<Pace>, clock: Arc<dyn Clock>) -> Result<Self, InvalidName> {
        let zone = name::parse(&config.zone.to_ascii_lowercase())?;
        let CustomerConfig { server, key, timeout, .. } = config;
        Ok(Self { zone: name::text(&zone), primary: Primary { zone, server, key, pace, clock, timeout } })
    }

    fn parse(&self, text: &str) -> Result<Name, ProviderError> {
        let name = name::parse(text)?;
        // A reader compares names without case, and tells of them in lower case.
        let name = name.to_lowercase();
        if self.primary.zone.zone_of(&name) {
            return Ok(name);
        }
        Err(ProviderError::NameOutsideZone { name: name::text(&name), zone: self.zone.clone() })
    }
}

impl Primary {
    /// Everything of the usual types at these names that the zone itself has, not a wildcard.
    pub(super) async fn all_standing(
        &self,
        connection: &mut Connection<'_>,
        names: &[Name],
    ) -> Result<Vec<StandingRecord>, ProviderError> {
        let asked: Vec<_> = names.iter().flat_map(|name| LOOKED_FOR.map(|kind| (name, kind))).collect();
        let answers = self.answers(connection, &asked).await?;
        let mut standing = Vec::new();
        for (name, answers) in names.iter().zip(answers.chunks(LOOKED_FOR.len())) {
            let mut found = Vec::new();
            for (answer, kind) in answers.iter().zip(LOOKED_FOR) {
                let answer = answer.as_ref().map_err(again)?;
                found.extend(answer.records.iter().map(|(ttl, data)| StandingRecord {
                    name: name::text(name),
                    record_type: kind.to_string(),
                    value: shown(data),
                    ttl: *ttl,
                }));
            }
            if !found.is_empty() && self.is_in_use(connection, name).await? {
                standing.extend(found);
            }
        }
        Ok(standing)
    }
}

/// As in a zone file, except that names have no trailing dot.
fn shown(data: &RData) -> String {
    match (wire::value(data), data) {
        (Some((RecordType::Txt, text)), _) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        (Some((_, value)), _) => value,
        (None, RData::MX(mx)) => format!("{} {}", mx.preference, name::text(&mx.exchange)),
        (None, RData::NS(ns)) => name::text(&ns.0),
        (None, other) => other.to_string(),
    }
}

#[async_trait]
impl CustomerZone for Rfc2136Customer {
    fn zone(&self) -> &str {
        &self.zone
    }

    async fn standing(&self, names: &[String]) -> Result<Vec<StandingRecord>, ProviderError> {
        let names: Vec<_> = names.iter().map(|name| self.parse(name)).collect::<Result<_, _>>()?;
        self.primary.all_standing(&mut Connection::new(&self.primary), &names).await
    }

    /// A CNAME with this very target that stands there already is as good as one that was created: so a repetition
    /// after a lost answer succeeds.
    async fn create_cname(&self, name: &str, target: &str, ttl: u32) -> Result<(), ProviderError> {
        let owner = self.parse(name)?;
        let target = name::text(&name::parse(target)?);
        let data = wire::data(RecordType::Cname, &target)
            .map_err(|error| ProviderError::Refused { reason: error.to_string() })?;
        let mut connection = Connection::new(&self.primary);
        for _ in 0..MOST_TRIES {
            let add = update::add(&owner, ttl.min(LONGEST_TTL), data.clone());
            let free = vec![update::not_in_use(&owner)];
            match self.primary.update(&mut connection, free, vec![add]).await? {
                ResponseCode::NoError => return Ok(()),
                ResponseCode::YXDomain => {}
                code => return Err(self.primary.refusal(Asked::Update, code)),
            }
            let standing = self.primary.all_standing(&mut connection, std::slice::from_ref(&owner)).await?;
            match standing.as_slice() {
                [one] if one.record_type == "CNAME" && one.value == target => return Ok(()),
                // Somebody has just removed what was in the way.
                [] if !self.primary.is_in_use(&mut connection, &owner).await? => {}
                found => {
                    let found: Vec<_> =
                        found.iter().map(|record| format!("{} {}", record.record_type, record.value)).collect();
                    let found = if found.is_empty() { "records of another type".to_owned() } else { found.join(", ") };
                    let (name, record_type) = (name::text(&owner), RecordType::Cname);
                    return Err(ProviderError::Conflict { name, record_type, wanted: target, found: cut(&found) });
                }
            }
        }
        let reason = format!("{} is changed by somebody else again and again", name::text(&owner));
        Err(ProviderError::Unavailable { retry_after: None, source: reason.into() })
    }
}
