//! A DNS server from a table of data. What the table does not have is NXDOMAIN; `silent` names get no answer.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{
            A, AAAA, CNAME, MX, TLSA, TXT,
            tlsa::{CertUsage, Matching, Selector},
        },
    },
};
use tokio::net::UdpSocket;

#[derive(Default)]
pub(crate) struct Table {
    records: HashMap<String, Vec<RData>>,
    silent: HashSet<String>,
    /// Names that SERVFAIL comes for.
    failing: HashSet<String>,
    /// Names whose answers are called validated.
    validated: HashSet<String>,
}

impl Table {
    pub(crate) fn address(mut self, name: &str, address: &str) -> Self {
        let data = match address.parse().unwrap() {
            IpAddr::V4(v4) => RData::A(A(v4)),
            IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
        };
        self.records.entry(name.to_owned()).or_default().push(data);
        self
    }

    pub(crate) fn mx(mut self, name: &str, preference: u16, host: &str) -> Self {
        let data = RData::MX(MX::new(preference, absolute(host)));
        self.records.entry(name.to_owned()).or_default().push(data);
        self
    }

    pub(crate) fn txt(mut self, name: &str, text: &str) -> Self {
        let strings = text.as_bytes().chunks(255).collect();
        self.records.entry(name.to_owned()).or_default().push(RData::TXT(TXT::from_bytes(strings)));
        self
    }

    pub(crate) fn tlsa(mut self, name: &str, validated: bool) -> Self {
        let data = TLSA::new(CertUsage::DaneEe, Selector::Spki, Matching::Sha256, vec![7; 32]);
        self.records.entry(name.to_owned()).or_default().push(RData::TLSA(data));
        if validated {
            self.validated.insert(name.to_owned());
        }
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.records.remove(name);
        self
    }

    pub(crate) fn cname(mut self, name: &str, target: &str) -> Self {
        self.records.insert(name.to_owned(), vec![RData::CNAME(CNAME(absolute(target)))]);
        self
    }

    pub(crate) fn silent(mut self, name: &str) -> Self {
        self.silent.insert(name.to_owned());
        self
    }

    pub(crate) fn failing(mut self, name: &str) -> Self {
        self.failing.insert(name.to_owned());
        self
    }

    pub(crate) async fn serve(self) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let question = Message::from_vec(&buffer[..length]).unwrap();
                if let Some(answer) = self.answer(&question) {
                    let _ = socket.send_to(&answer.to_vec().unwrap(), from).await;
                }
            }
        });
        addr
    }

    fn answer(&self, question: &Message) -> Option<Message> {
        let query = question.queries.first().unwrap();
        let name = query.name.to_ascii().trim_end_matches('.').to_owned();
        if self.silent.contains(&name) {
            return None;
        }
        let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        answer.metadata.recursion_available = true;
        answer.metadata.authentic_data = question.metadata.authentic_data && self.validated.contains(&name);
        answer.add_query(query.clone());
        if self.failing.contains(&name) {
            answer.metadata.response_code = ResponseCode::ServFail;
            return Some(answer);
        }
        // Along aliases, as a resolver goes; one that does not come to an end answers SERVFAIL.
        let (mut owner, mut name) = (query.name.clone(), name);
        for _ in 0..12 {
            let Some(records) = self.records.get(&name) else {
                answer.metadata.response_code = ResponseCode::NXDomain;
                return Some(answer);
            };
            let wanted = |data: &&RData| [query.query_type, RecordType::CNAME].contains(&data.record_type());
            for data in records.iter().filter(wanted) {
                answer.add_answer(Record::from_rdata(owner.clone(), 60, data.clone()));
            }
            match records.first() {
                Some(RData::CNAME(target)) if query.query_type != RecordType::CNAME => {
                    owner = target.0.clone();
                    owner.to_ascii().trim_end_matches('.').clone_into(&mut name);
                }
                _ => return Some(answer),
            }
        }
        answer.answers.clear();
        answer.metadata.response_code = ResponseCode::ServFail;
        Some(answer)
    }
}

fn absolute(name: &str) -> Name {
    // Label by label: a stranger's names have octets that no zone file would take.
    let labels = name.split('.').filter(|label| !label.is_empty()).map(str::as_bytes);
    let mut name = Name::from_labels(labels).unwrap();
    name.set_fqdn(true);
    name
}
