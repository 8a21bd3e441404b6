//! From questions to records: retries, what counts as conclusive, and the walk along CNAMEs.

use std::net::SocketAddr;

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{DNSClass, Name, RData, RecordType as WireType},
};
use mtasts_model::feed::RecordData;

use super::{Caa, Lookup, MAX_CNAME_HOPS, Negative, ResolveError, Resolver, TlsaSet};
use crate::{
    exchange::{exchange, question},
    name, wire,
};

impl Resolver {
    /// The CNAME's target, or why there is none.
    pub(super) async fn cname_of(&self, name: &Name) -> Result<Result<Name, Negative>, ResolveError> {
        let (server, answer) = self.ask(name, WireType::CNAME).await?;
        // The alias counts even beside NXDOMAIN, which then speaks of its target (RFC 6604 §3).
        match alias(&answer, name) {
            Some(target) => Ok(Ok(target.clone())),
            None => negative(server, &answer, name).map(Err),
        }
    }

    /// Records of one type, at the end of the aliases.
    pub(super) async fn records(&self, name: &Name, wire_type: WireType) -> Result<Lookup<Vec<RData>>, ResolveError> {
        let mut walk = Walk::from(name.clone());
        loop {
            let asked = walk.at().clone();
            let (server, answer) = self.ask(&asked, wire_type).await?;
            loop {
                let found: Vec<RData> = data_of(&answer, walk.at(), wire_type).map(|(_, data)| data.clone()).collect();
                if !found.is_empty() {
                    return Ok(Lookup::Found(found));
                }
                let Some(target) = alias(&answer, walk.at()) else { break };
                walk.step(target.clone())?;
            }
            if *walk.at() == asked {
                return negative(server, &answer, &asked).map(Lookup::from);
            }
            // The answer ends at an alias. A resolver that went on itself says what it found at the end; from anybody
            // else the end is simply where its own zone ends, so the target is asked for.
            let resolved = answer.metadata.recursion_available;
            let says_absent = answer.metadata.response_code == ResponseCode::NXDomain || has_soa(&answer);
            if resolved && says_absent {
                return negative(server, &answer, walk.at()).map(Lookup::from);
            }
        }
    }

    /// TLSA records, and whether the resolver validated the answer.
    pub(super) async fn tlsa_of(&self, name: &Name) -> Result<Lookup<TlsaSet>, ResolveError> {
        let (server, answer) = self.ask(name, WireType::TLSA).await?;
        // The resolver followed the aliases (RFC 6698 §A.2.1.1), and AD speaks of the whole answer.
        let of_this_type = answer.answers.iter().filter_map(|record| match &record.data {
            RData::TLSA(tlsa) => Some(tlsa.to_string().to_ascii_lowercase()),
            _ => None,
        });
        let records: Vec<String> = of_this_type.collect();
        if records.is_empty() {
            return negative(server, &answer, name).map(Lookup::from);
        }
        Ok(Lookup::Found(TlsaSet { records, authenticated: answer.metadata.authentic_data }))
    }

    /// Records of one type from one authoritative server.
    pub(super) async fn records_at(
        &self,
        server: SocketAddr,
        name: &Name,
        wire_type: WireType,
    ) -> Result<Lookup<RecordData>, ResolveError> {
        let question = question(name, wire_type, false);
        let mut attempt = 1;
        let answer = loop {
            match exchange(server, &question, self.0.timeout).await {
                Ok(answer) => break answer,
                Err(error) if attempt >= self.0.attempts => return Err(ResolveError::exchange(server, error)),
                Err(_) => attempt += 1,
            }
        };
        check_code(server, &answer)?;
        if !answer.metadata.authoritative {
            return Err(ResolveError::NotAuthoritative { server, name: name::text(name) });
        }
        if wire_type != WireType::CNAME
            && let Some(target) = alias(&answer, name)
        {
            return Err(ResolveError::UnexpectedAlias { name: name::text(name), target: name::text(target) });
        }
        let records: Vec<(u32, String)> = data_of(&answer, name, wire_type)
            .filter_map(|(ttl, data)| wire::value(data).map(|(_, value)| (ttl, value)))
            .collect();
        match records.iter().map(|(ttl, _)| *ttl).min() {
            Some(ttl) => {
                Ok(Lookup::Found(RecordData { ttl, values: records.into_iter().map(|(_, value)| value).collect() }))
            }
            None => negative(server, &answer, name).map(Lookup::from),
        }
    }

    /// The first usable answer: NOERROR or NXDOMAIN. Otherwise the last failure.
    async fn ask(&self, name: &Name, wire_type: WireType) -> Result<(SocketAddr, Message), ResolveError> {
        let mut failure = ResolveError::NoUpstreams { reason: "it names none".to_owned() };
        for _ in 0..self.0.attempts {
            for &server in &self.0.upstreams {
                let answer = exchange(server, &question(name, wire_type, true), self.0.timeout).await;
                match answer.map_err(|error| ResolveError::exchange(server, error)) {
                    Ok(answer) => match check_code(server, &answer) {
                        Ok(()) => return Ok((server, answer)),
                        Err(error) => failure = error,
                    },
                    Err(error) => failure = error,
                }
                tracing::debug!(%server, %name, %wire_type, %failure, "a question failed");
            }
        }
        Err(failure)
    }
}

/// The names met along CNAMEs.
pub(super) struct Walk {
    start: Name,
    targets: Vec<Name>,
}

impl From<Name> for Walk {
    fn from(start: Name) -> Self {
        Self { start, targets: Vec::new() }
    }
}

impl Walk {
    /// Where the walk stands.
    pub(super) fn at(&self) -> &Name {
        self.targets.last().unwrap_or(&self.start)
    }

    /// Goes on to the alias's target. Names compare without case.
    pub(super) fn step(&mut self, target: Name) -> Result<(), ResolveError> {
        if self.start == target || self.targets.contains(&target) {
            return Err(ResolveError::CnameLoop { name: name::text(&self.start), at: name::text(&target) });
        }
        if self.targets.len() >= MAX_CNAME_HOPS {
            return Err(ResolveError::CnameChainTooLong { name: name::text(&self.start) });
        }
        self.targets.push(target);
        Ok(())
    }

    /// All but the start.
    pub(super) fn targets(&self) -> Vec<String> {
        self.targets.iter().map(name::text).collect()
    }
}

fn check_code(server: SocketAddr, answer: &Message) -> Result<(), ResolveError> {
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(()),
        code => Err(ResolveError::Failed { server, code: code.to_string() }),
    }
}

/// Reads an answer without records. A server that neither resolves nor is authoritative knows nothing of absence.
fn negative(server: SocketAddr, answer: &Message, name: &Name) -> Result<Negative, ResolveError> {
    let metadata = &answer.metadata;
    let referral = !metadata.authoritative
        && !has_soa(answer)
        && answer.authorities.iter().any(|record| record.record_type() == WireType::NS);
    if referral || !(metadata.authoritative || metadata.recursion_available) {
        return Err(ResolveError::Inconclusive { server, name: name::text(name) });
    }
    Ok(match metadata.response_code {
        ResponseCode::NXDomain => Negative::NxDomain,
        _ => Negative::NoData,
    })
}

fn has_soa(answer: &Message) -> bool {
    answer.authorities.iter().any(|record| record.record_type() == WireType::SOA)
}

fn data_of<'a>(
    answer: &'a Message,
    owner: &'a Name,
    wire_type: WireType,
) -> impl Iterator<Item = (u32, &'a RData)> + 'a {
    answer
        .answers
        .iter()
        .filter(move |record| {
            record.record_type() == wire_type && record.dns_class == DNSClass::IN && record.name == *owner
        })
        .map(|record| (record.ttl, &record.data))
}

fn alias<'a>(answer: &'a Message, owner: &'a Name) -> Option<&'a Name> {
    data_of(answer, owner, WireType::CNAME).find_map(|(_, data)| match data {
        RData::CNAME(target) => Some(&target.0),
        _ => None,
    })
}

/// A CAA record's parts.
pub(super) fn caa(data: &RData) -> Option<Caa> {
    match data {
        RData::CAA(caa) => Some(Caa {
            critical: caa.issuer_critical,
            tag: caa.tag.to_ascii_lowercase(),
            value: String::from_utf8_lossy(&caa.value).into_owned(),
        }),
        _ => None,
    }
}
