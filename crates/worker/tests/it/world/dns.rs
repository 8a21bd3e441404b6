//! The customers' DNS, and the resolver in front of it: a table that tests change. Names of our zone's edges lead to
//! loopback; everything that the table does not have is NXDOMAIN.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, CAA, CNAME, MX},
    },
};
use tokio::net::UdpSocket;

use super::{OTHER_ZONE, ZONE};

type Table = Arc<Mutex<HashMap<String, Vec<RData>>>>;

pub(crate) struct CustomerDns {
    table: Table,
    address: SocketAddr,
    fails: Arc<AtomicBool>,
}

impl CustomerDns {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let table = Table::default();
        let answers = Arc::clone(&table);
        let fails = Arc::new(AtomicBool::new(false));
        let failing = Arc::clone(&fails);
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let question = Message::from_vec(&buffer[..length]).unwrap();
                let mut answer = answer(&answers, &question);
                if failing.load(Ordering::SeqCst) {
                    answer = Message::error_msg(question.metadata.id, OpCode::Query, ResponseCode::ServFail);
                }
                let _ = socket.send_to(&answer.to_vec().unwrap(), from).await;
            }
        });
        Self { table, address, fails }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether every question is answered with SERVFAIL.
    pub(crate) fn fail(&self, fail: bool) {
        self.fails.store(fail, Ordering::SeqCst);
    }

    pub(crate) fn cname(&self, name: &str, target: &str) {
        self.set(name, RData::CNAME(CNAME(absolute(target))));
    }

    pub(crate) fn mx(&self, name: &str, host: &str) {
        self.set(name, RData::MX(MX::new(10, absolute(host))));
    }

    /// A CAA record that lets only this CA issue.
    pub(crate) fn caa(&self, name: &str, issuer: &str) {
        let caa = CAA::new_issue(false, Some(absolute(issuer)), Vec::new());
        self.table.lock().unwrap().entry(name.to_owned()).or_default().push(RData::CAA(caa));
    }

    fn set(&self, name: &str, data: RData) {
        self.table.lock().unwrap().insert(name.to_owned(), vec![data]);
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
