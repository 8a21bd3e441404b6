//! What stands in the zone at one name: read from the primary server's authoritative answers.

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{DNSClass, Name, RData, RecordType as WireType},
};
use mtasts_model::feed::RecordData;

use super::{
    connection::{Connection, Primary, question},
    refusal::Asked,
    update,
};
use crate::{
    name,
    provider::{Marker, ProviderError},
    wire,
};

/// What an authoritative answer says of one name and type.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Answer {
    /// TTL and data of each record of the type.
    pub(super) records: Vec<(u32, RData)>,
    /// The target, if the name is an alias.
    pub(super) alias: Option<Name>,
}

/// What stands where a record set of ours shall be.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Standing {
    /// TTL and data of each record of the set.
    pub(super) set: Vec<(u32, RData)>,
    /// The target of a CNAME at the name, also when that is the type of the set.
    pub(super) alias: Option<Name>,
    /// All texts at the marker's name.
    pub(super) marker: Vec<(u32, RData)>,
    /// The target of a CNAME at the marker's name.
    pub(super) marker_alias: Option<Name>,
}

/// Whose a record set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    Ours,
    /// There is no marker.
    Nobody,
    /// Something else stands where the marker would be, such as another installation's marker.
    Another(String),
}

impl Standing {
    pub(super) fn of(set: Answer, marker: Answer) -> Self {
        Self { set: set.records, alias: set.alias, marker: marker.records, marker_alias: marker.alias }
    }

    pub(super) fn owner(&self, marker: &Marker) -> Owner {
        if let Some(target) = &self.marker_alias {
            return Owner::Another(format!("CNAME {}", name::text(target)));
        }
        let Some(data) = values(&self.marker) else { return Owner::Nobody };
        if data.values.contains(&marker.to_string()) {
            Owner::Ours
        } else {
            Owner::Another(format!("TXT {}", data.shown()))
        }
    }

    /// The set as the contract tells it; `None` if there is none.
    pub(super) fn values(&self) -> Option<RecordData> {
        values(&self.set)
    }
}

/// Records of one set as texts, with the smallest TTL.
pub(super) fn values(records: &[(u32, RData)]) -> Option<RecordData> {
    let ttl = records.iter().map(|(ttl, _)| *ttl).min()?;
    let values = records.iter().filter_map(|(_, data)| wire::value(data)).map(|(_, value)| value).collect();
    Some(RecordData { ttl, values })
}

impl Primary {
    /// Reads an answer. An error that speaks of the zone as a whole is the outer one.
    pub(super) fn read_answer(
        &self,
        answer: &Message,
        owner: &Name,
        kind: WireType,
    ) -> Result<Result<Answer, ProviderError>, ProviderError> {
        let code = answer.metadata.response_code;
        if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
            return Err(self.refusal(Asked::Records, code));
        }
        let mut read = Answer::default();
        for record in answer.answers.iter().filter(|record| record.name == *owner && record.dns_class == DNSClass::IN) {
            if let RData::CNAME(target) = &record.data {
                read.alias = Some(target.0.clone());
            }
            if record.record_type() == kind {
                read.records.push((record.ttl, record.data.clone()));
            }
        }
        let found = read != Answer::default();
        // Which zone the server speaks for: the owner of the SOA beside an absence, or of the NS of a referral.
        let speaks_for = answer
            .authorities
            .iter()
            .find(|record| matches!(record.record_type(), WireType::SOA | WireType::NS))
            .map(|record| &record.name);
        match speaks_for {
            Some(other) if !found && *other != self.zone => {
                if self.zone.zone_of(other) {
                    let reason = format!("{} is delegated away from the zone at {other}", name::text(owner));
                    return Ok(Err(ProviderError::Refused { reason }));
                }
                Err(self.refusal(Asked::Records, ResponseCode::NotAuth))
            }
            _ if answer.metadata.authoritative => Ok(Ok(read)),
            _ => Err(self.refusal(Asked::Records, ResponseCode::NotAuth)),
        }
    }

    /// Asks for records of one type at each name.
    pub(super) async fn answers(
        &self,
        connection: &mut Connection<'_>,
        asked: &[(&Name, WireType)],
    ) -> Result<Vec<Result<Answer, ProviderError>>, ProviderError> {
        let questions = asked.iter().map(|(name, kind)| question(name, *kind)).collect();
        let answers = match connection.ask_all(questions).await {
            Ok(answers) => answers,
            Err(failure) => return Err(self.failure(Asked::Records, failure).await),
        };
        answers.iter().zip(asked).map(|(answer, (name, kind))| self.read_answer(answer, name, *kind)).collect()
    }

    /// What stands at each pair of a set's name (with its type) and its marker's name.
    pub(super) async fn standing(
        &self,
        connection: &mut Connection<'_>,
        places: &[(&Name, WireType, &Name)],
    ) -> Result<Vec<Result<Standing, ProviderError>>, ProviderError> {
        let asked: Vec<_> =
            places.iter().flat_map(|&(name, kind, marker)| [(name, kind), (marker, WireType::TXT)]).collect();
        let mut answers = self.answers(connection, &asked).await?.into_iter();
        let mut standing = Vec::with_capacity(places.len());
        while let (Some(set), Some(marker)) = (answers.next(), answers.next()) {
            standing.push(set.and_then(|set| Ok(Standing::of(set, marker?))));
        }
        Ok(standing)
    }

    /// Whether the zone really has records at the name: an answer may have been made from a wildcard (RFC 4592), which
    /// is in nobody's way. A prerequisite tells, because it looks at the zone and not at answers (RFC 2136 §2.4.4).
    pub(super) async fn is_in_use(&self, connection: &mut Connection<'_>, name: &Name) -> Result<bool, ProviderError> {
        match self.update(connection, vec![update::in_use(name)], Vec::new()).await? {
            ResponseCode::NoError => Ok(true),
            ResponseCode::NXDomain => Ok(false),
            code => Err(self.refusal(Asked::Update, code)),
        }
    }
}
