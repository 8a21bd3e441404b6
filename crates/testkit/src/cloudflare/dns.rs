//! DNS answers for the fake's zones, so that what is published can be read back.

use std::sync::Arc;

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{
        Name, RData, Record,
        rdata::{A, AAAA, CAA, CNAME, SOA, TXT},
    },
};
use tokio::net::UdpSocket;

use super::{
    Shared,
    zone::{CloudflareRecord, Zone, strings},
};

pub(super) async fn run(socket: UdpSocket, shared: Arc<Shared>) {
    let mut packet = [0; 4096];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut packet).await else { continue };
        let Ok(question) = Message::from_vec(&packet[..length]) else { continue };
        if let Ok(answer) = answer(&shared, &question).to_vec() {
            // Whoever asked may be gone.
            let _ = socket.send_to(&answer, client).await;
        }
    }
}

fn answer(shared: &Shared, question: &Message) -> Message {
    let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    answer.queries.clone_from(&question.queries);
    let Some(query) = question.queries.first() else {
        answer.metadata.response_code = ResponseCode::FormErr;
        return answer;
    };
    let name = query.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
    let state = shared.state();
    let inside = |zone: &&Zone| name == zone.name || name.ends_with(&format!(".{}", zone.name));
    let Some(zone) = state.zones.iter().filter(inside).max_by_key(|zone| zone.name.len()) else {
        answer.metadata.response_code = ResponseCode::Refused;
        return answer;
    };
    answer.metadata.authoritative = true;
    let (records, exists) = at(zone, &name);
    let wanted = query.query_type().to_string();
    for record in records.iter().filter(|record| record.kind == wanted || record.kind == "CNAME") {
        let ttl = if record.ttl == 1 { 300 } else { u32::try_from(record.ttl).unwrap_or(u32::MAX) };
        if let Some(data) = data(record) {
            answer.answers.push(Record::from_rdata(query.name().clone(), ttl, data));
        }
    }
    if answer.answers.is_empty() {
        if !exists {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        let origin = named(&zone.name);
        let serial = u32::try_from(state.revision).unwrap_or(u32::MAX);
        let soa = SOA::new(origin.clone(), origin.clone(), serial, 3600, 600, 86_400, 60);
        answer.authorities.push(Record::from_rdata(origin, 60, RData::SOA(soa)));
    }
    answer
}

/// The records at a name, its own or those of the closest wildcard (RFC 4592 §3.3.1), and whether the name exists.
fn at<'a>(zone: &'a Zone, name: &str) -> (&'a [CloudflareRecord], bool) {
    if zone.has_name(name) || name == zone.name {
        return (zone.at(name), true);
    }
    let mut rest = name;
    while let Some((_, parent)) = rest.split_once('.') {
        let records = zone.at(&format!("*.{parent}"));
        if !records.is_empty() || zone.has_name(parent) || parent == zone.name {
            return (records, !records.is_empty());
        }
        rest = parent;
    }
    (&[], false)
}

fn data(record: &CloudflareRecord) -> Option<RData> {
    let address = if record.proxied { "198.51.100.1" } else { record.content.as_str() };
    Some(match record.kind.as_str() {
        "A" => RData::A(A(address.parse().ok()?)),
        "AAAA" => RData::AAAA(AAAA(record.content.parse().ok()?)),
        "CNAME" => RData::CNAME(CNAME(named(&record.content))),
        "TXT" => {
            let strings = strings(&record.content).unwrap_or_else(|| vec![record.content.clone().into_bytes()]);
            RData::TXT(TXT::from_bytes(strings.iter().map(Vec::as_slice).collect()))
        }
        "CAA" => {
            let data = record.data.as_ref()?;
            let mut caa = CAA::new_issue(data["flags"].as_u64()? & 0x80 != 0, None, Vec::new());
            data["tag"].as_str()?.clone_into(&mut caa.tag);
            caa.value = data["value"].as_str()?.as_bytes().to_vec();
            RData::CAA(caa)
        }
        _ => return None,
    })
}

fn named(name: &str) -> Name {
    Name::from_labels(name.trim_end_matches('.').split('.').map(str::as_bytes))
        .unwrap_or_else(|error| panic!("{name} is no name: {error}"))
}
