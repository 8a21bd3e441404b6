//! A secondary of the tests' own: asks for transfers, checks every signature, and keeps what it was given.

use std::{collections::BTreeSet, net::SocketAddr};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::SOA},
};
use mtasts_dns::tsig::{AnswerVerifier, Trust, TsigAlgorithm, TsigError, TsigErrorCode, TsigKey};
use mtasts_model::{Clock, SystemClock, clock::Timestamp};
use mtasts_nameserver::{NameserverConfig, TransferPeer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::support::{PATIENCE, ZONE, config, plain_question, send};

pub(crate) const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

pub(crate) fn key(name: &str, algorithm: TsigAlgorithm) -> TsigKey {
    TsigKey::new(name, algorithm, &SECRET.into()).unwrap()
}

/// `transfer.test`, hmac-sha256, with [`SECRET`].
pub(crate) fn good_key() -> TsigKey {
    key("transfer.test", TsigAlgorithm::HmacSha256)
}

pub(crate) fn peer(key: Option<TsigKey>, networks: &[&str], notify: &[SocketAddr]) -> TransferPeer {
    let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    TransferPeer { name: "secondary".into(), key, networks, notify: notify.to_vec() }
}

/// The zone of all tests, for a secondary with [`good_key`].
pub(crate) fn with_secondary(notify: &[SocketAddr]) -> NameserverConfig {
    NameserverConfig { transfers: vec![peer(Some(good_key()), &[], notify)], ..config() }
}

/// AXFR, or IXFR with the serial that the secondary has.
pub(crate) fn request(serial: Option<u32>) -> Message {
    request_for(ZONE, serial)
}

pub(crate) fn request_for(zone: &str, serial: Option<u32>) -> Message {
    let record_type = if serial.is_some() { RecordType::IXFR } else { RecordType::AXFR };
    let mut message = plain_question(zone, record_type);
    if let Some(serial) = serial {
        let mut name = Name::from_ascii(zone).unwrap();
        name.set_fqdn(true);
        let soa = SOA::new(Name::root(), Name::root(), serial, 0, 0, 0, 0);
        message.authorities.push(Record::from_rdata(name, 0, RData::SOA(soa)));
    }
    message
}

/// A transfer under way.
pub(crate) struct Transfer {
    stream: TcpStream,
    verifier: Option<AnswerVerifier>,
    id: u16,
    is_authoritative: bool,
    /// All so far.
    pub(crate) records: Vec<Record>,
    pub(crate) messages: usize,
    pub(crate) longest: usize,
}

/// Why there is no transfer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Code(ResponseCode),
    Tsig(TsigErrorCode),
    Closed,
}

impl Transfer {
    pub(crate) async fn begin(server: SocketAddr, request: &Message, key: Option<&TsigKey>) -> Self {
        Self::begin_at(server, request, key, SystemClock.now()).await
    }

    pub(crate) async fn begin_at(
        server: SocketAddr,
        request: &Message,
        key: Option<&TsigKey>,
        signed_at: Timestamp,
    ) -> Self {
        let mut octets = request.to_vec().unwrap();
        let verifier = key.map(|key| key.sign_request(&mut octets, signed_at).unwrap());
        let socket = TcpSocket::new_v4().unwrap();
        // So that the server has to wait for a slow reader.
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(server).await.unwrap();
        stream.write_all(&u16::try_from(octets.len()).unwrap().to_be_bytes()).await.unwrap();
        stream.write_all(&octets).await.unwrap();
        let id = request.metadata.id;
        Self { stream, verifier, id, is_authoritative: true, records: Vec::new(), messages: 0, longest: 0 }
    }

    /// Reads one message.
    pub(crate) async fn message(&mut self) -> Result<(), Refusal> {
        let read = async {
            let mut octets = vec![0; usize::from(self.stream.read_u16().await?)];
            self.stream.read_exact(&mut octets).await?;
            Ok::<_, std::io::Error>(octets)
        };
        let octets = timeout(PATIENCE, read).await.expect("a message in time").map_err(|_| Refusal::Closed)?;
        let message = Message::from_vec(&octets).unwrap();
        assert_eq!(message.metadata.id, self.id);
        if let Some(verifier) = &mut self.verifier {
            match verifier.verify(&octets, SystemClock.now()) {
                Ok(Trust::Verified) => {}
                Err(TsigError::Refused(code)) => {
                    assert_eq!(message.metadata.response_code, ResponseCode::NotAuth);
                    return Err(Refusal::Tsig(code));
                }
                other => panic!("every message is signed: {other:?}"),
            }
        } else {
            assert!(message.signature.is_none());
        }
        let code = message.metadata.response_code;
        if code != ResponseCode::NoError {
            return Err(Refusal::Code(code));
        }
        assert!(!message.metadata.truncation);
        self.is_authoritative &= message.metadata.authoritative;
        self.messages += 1;
        self.longest = self.longest.max(octets.len());
        self.records.extend(message.answers);
        Ok(())
    }

    /// Whether the last record has come: in AXFR the second SOA, in IXFR the fourth, or the only one.
    fn is_complete(&self) -> bool {
        let soas = self.records.iter().filter(|record| record.record_type() == RecordType::SOA).count();
        match self.records.get(1).map(Record::record_type) {
            None => soas == 1,
            Some(RecordType::SOA) => soas == 4,
            Some(_) => soas == 2,
        }
    }

    pub(crate) async fn complete(mut self) -> Result<Self, Refusal> {
        while !self.is_complete() {
            self.message().await?;
        }
        Ok(self)
    }
}

/// All records that come by a transfer with [`good_key`].
pub(crate) async fn transfer(server: SocketAddr, serial: Option<u32>) -> Result<Vec<Record>, Refusal> {
    let transfer = Transfer::begin(server, &request(serial), Some(&good_key())).await;
    let transfer = transfer.complete().await?;
    assert!(transfer.is_authoritative, "RFC 5936 §2.2.1");
    Ok(transfer.records)
}

/// The answer to IXFR over UDP, signed by [`good_key`].
pub(crate) async fn transfer_over_udp(server: SocketAddr, serial: u32) -> Vec<Record> {
    let mut octets = request(Some(serial)).to_vec().unwrap();
    let mut verifier = good_key().sign_request(&mut octets, SystemClock.now()).unwrap();
    let answer = send(server, &octets).await.expect("an answer");
    assert!(answer.len() <= 512, "no EDNS, no more than 512 octets: {}", answer.len());
    assert_eq!(verifier.verify(&answer, SystemClock.now()), Ok(Trust::Verified));
    Message::from_vec(&answer).unwrap().answers
}

pub(crate) fn serial_of(record: &Record) -> u32 {
    match &record.data {
        RData::SOA(soa) => soa.serial,
        other => panic!("{other} is no SOA"),
    }
}

/// What a secondary serves: the records without the SOA, as text.
pub(crate) type Copy = BTreeSet<String>;

fn line(record: &Record) -> String {
    record.to_string()
}

/// What an AXFR holds: each record once, between two equal SOAs.
pub(crate) fn whole(records: &[Record]) -> (u32, Copy) {
    let [first, between @ .., last] = records else { panic!("no transfer: {records:?}") };
    assert_eq!(line(first), line(last));
    let mut copy = Copy::new();
    for record in between {
        assert_ne!(record.record_type(), RecordType::SOA);
        assert!(copy.insert(line(record)), "{record} comes twice");
    }
    (serial_of(first), copy)
}

/// Applies an IXFR answer to what a secondary has, strictly (RFC 1995 §4).
pub(crate) fn apply(copy: &mut Copy, serial: u32, records: &[Record]) -> u32 {
    let soas: Vec<usize> = (0..records.len()).filter(|at| records[*at].record_type() == RecordType::SOA).collect();
    let [0, 1, middle, last] = soas[..] else { panic!("no difference: {records:?}") };
    assert_eq!(last, records.len() - 1);
    assert_eq!(serial_of(&records[1]), serial);
    for record in &records[2..middle] {
        assert!(copy.remove(&line(record)), "{record} is not there to be removed");
    }
    for record in &records[middle + 1..last] {
        assert!(copy.insert(line(record)), "{record} is there already");
    }
    for at in [middle, last] {
        assert_eq!(line(&records[at]), line(&records[0]));
    }
    serial_of(&records[0])
}
