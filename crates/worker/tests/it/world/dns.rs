//! The customers' DNS, and the resolver in front of it: a table that tests change. Names of our zone's edges lead to
//! loopback; everything that the table does not have is NXDOMAIN.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CAA, CNAME, MX, TXT},
    },
};
use tokio::net::UdpSocket;

use super::{OTHER_ZONE, ZONE};

type Table = Arc<Mutex<HashMap<String, Vec<RData>>>>;

/// Names whose answer changes from question to question.
type Rebinding = Arc<Mutex<HashMap<String, VecDeque<Ipv4Addr>>>>;

pub(crate) struct CustomerDns {
    table: Table,
    rebinding: Rebinding,
    address: SocketAddr,
    fails: Arc<AtomicBool>,
    silent: Arc<AtomicBool>,
}

impl CustomerDns {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let table = Table::default();
        let answers = Arc::clone(&table);
        let rebinding = Rebinding::default();
        let changing = Arc::clone(&rebinding);
        let fails = Arc::new(AtomicBool::new(false));
        let failing = Arc::clone(&fails);
        let silent = Arc::new(AtomicBool::new(false));
        let falls_silent = Arc::clone(&silent);
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                if falls_silent.load(Ordering::SeqCst) {
                    continue;
                }
                let question = Message::from_vec(&buffer[..length]).unwrap();
                rebind(&answers, &changing, &question);
                let mut answer = answer(&answers, &question);
                if failing.load(Ordering::SeqCst) {
                    answer = Message::error_msg(question.metadata.id, OpCode::Query, ResponseCode::ServFail);
                }
                let _ = socket.send_to(&answer.to_vec().unwrap(), from).await;
            }
        });
        Self { table, rebinding, address, fails, silent }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether every question is answered with SERVFAIL.
    pub(crate) fn fail(&self, fail: bool) {
        self.fails.store(fail, Ordering::SeqCst);
    }

    /// Whether nothing is answered at all.
    pub(crate) fn silence(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }

    pub(crate) fn cname(&self, name: &str, target: &str) {
        self.set(name, RData::CNAME(CNAME(absolute(target))));
    }

    pub(crate) fn mx(&self, name: &str, host: &str) {
        self.set(name, RData::MX(MX::new(10, absolute(host))));
    }

    /// MX records with their preferences.
    pub(crate) fn mxs(&self, name: &str, hosts: &[(u16, &str)]) {
        let data = hosts.iter().map(|(preference, host)| RData::MX(MX::new(*preference, absolute(host))));
        self.table.lock().unwrap().insert(name.to_owned(), data.collect());
    }

    /// A CAA record that lets only this CA issue.
    pub(crate) fn caa(&self, name: &str, issuer: &str) {
        let caa = CAA::new_issue(false, Some(absolute(issuer)), Vec::new());
        self.table.lock().unwrap().entry(name.to_owned()).or_default().push(RData::CAA(caa));
    }

    /// A name's addresses.
    pub(crate) fn addresses(&self, name: &str, addresses: &[IpAddr]) {
        let data = addresses.iter().map(|address| match address {
            IpAddr::V4(address) => RData::A(A(*address)),
            IpAddr::V6(address) => RData::AAAA(AAAA(*address)),
        });
        self.table.lock().unwrap().insert(name.to_owned(), data.collect());
    }

    /// A name that has each of these addresses for one question, and the last for ever.
    pub(crate) fn rebinds(&self, name: &str, addresses: &[Ipv4Addr]) {
        self.rebinding.lock().unwrap().insert(name.to_owned(), addresses.iter().copied().collect());
    }

    /// A TXT record, in character-strings of 255 octets.
    pub(crate) fn txt(&self, name: &str, value: &str) {
        let strings = value.as_bytes().chunks(255).map(|part| String::from_utf8(part.to_vec()).unwrap()).collect();
        self.set(name, RData::TXT(TXT::new(strings)));
    }

    fn set(&self, name: &str, data: RData) {
        self.table.lock().unwrap().insert(name.to_owned(), vec![data]);
    }
}

/// Puts the next address in place before a question for addresses is answered.
fn rebind(table: &Table, rebinding: &Rebinding, question: &Message) {
    let query = question.queries.first().unwrap();
    let name = query.name.to_ascii().trim_end_matches('.').to_owned();
    if query.query_type != RecordType::A {
        return;
    }
    if let Some(addresses) = rebinding.lock().unwrap().get_mut(&name) {
        let next = if addresses.len() > 1 { addresses.pop_front() } else { addresses.front().copied() };
        table.lock().unwrap().insert(name, next.map(|address| RData::A(A(address))).into_iter().collect());
    }
}

fn answer(table: &Table, question: &Message) -> Message {
    let query = question.queries.first().unwrap();
    let name = query.name.to_ascii().trim_end_matches('.').to_owned();
    let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.recursion_available = true;
    answer.add_query(query.clone());
    let records = if [ZONE, OTHER_ZONE].iter().any(|zone| name.ends_with(&format!(".edge.{zone}"))) {
        Some(vec![RData::A(A(Ipv4Addr::LOCALHOST))])
    } else {
        table.lock().unwrap().get(&name).cloned()
    };
    match records {
        None => answer.metadata.response_code = ResponseCode::NXDomain,
        Some(records) => {
            for data in records {
                if [query.query_type, RecordType::CNAME].contains(&data.record_type()) {
                    answer.add_answer(Record::from_rdata(query.name.clone(), 1, data));
                }
            }
        }
    }
    answer
}

fn absolute(name: &str) -> Name {
    Name::from_ascii(format!("{name}.")).unwrap()
}
