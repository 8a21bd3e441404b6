//! Signed zones, as validators see them.

mod answers;
mod property;
mod rollover;
mod validators;

use std::sync::Arc;

use hickory_proto::{
    op::Message,
    rr::{Name, RData, RecordType},
};
use mtasts_model::{SystemEntropy, feed::RecordType as FeedType};
use mtasts_nameserver::{
    DnssecConfig, KeyKind, KeyRole, NameserverConfig, SigningKey, StaticRecord, draw_key, ds_record,
};

use crate::support::{Running, TestFeed, ZONE, config, question, until};

/// A key whose role can be changed, as an operator does who keeps it sealed.
struct Kept {
    pkcs8: Vec<u8>,
    kind: KeyKind,
}

impl Kept {
    fn draw(kind: KeyKind) -> Self {
        let (_, pkcs8) = draw_key(&SystemEntropy, kind).unwrap();
        Self { pkcs8: pkcs8.to_vec(), kind }
    }

    fn with(&self, role: KeyRole) -> SigningKey {
        SigningKey::from_pkcs8(&self.pkcs8, self.kind, role).unwrap()
    }

    fn active(&self) -> SigningKey {
        self.with(KeyRole::Active)
    }

    fn published(&self) -> SigningKey {
        self.with(KeyRole::Published)
    }

    /// Its DS record, as text.
    fn anchor(&self) -> String {
        ds_record(&ZONE.parse().unwrap(), &self.active()).unwrap().expect("an entry point")
    }
}

fn signed_config(keys: Vec<SigningKey>) -> NameserverConfig {
    let mut config = config();
    // A set whose canonical form differs from what is sent in every way there is: case, order, and twice the same.
    config.static_records.extend(["20 B.Mail.example", "10 A.mail.EXAMPLE", "20 b.mail.example"].map(|value| {
        StaticRecord { name: "Mixed.sts.example".into(), record_type: "MX".into(), value: value.into(), ttl: Some(30) }
    }));
    // So that of the wildcard's types one is configured alone, one comes by the feed alone, and one by both.
    config.caa.clear();
    config.dnssec = Some(DnssecConfig::new(keys));
    config
}

/// Every kind of record that the zone can hold.
fn full_feed() -> Arc<TestFeed> {
    let long = "y".repeat(700);
    let feed = TestFeed::with(&[("abc._mta-sts.sts.example", "v=STSv1; id=1;"), ("a.b.sts.example", &long)]);
    feed.offer("two._mta-sts.sts.example", Some(&["b", "a", ""]));
    feed.offer_values("*.edge.sts.example", FeedType::A, Some(&["198.51.100.2", "198.51.100.1"]));
    feed.offer_values(
        "*.edge.sts.example",
        FeedType::Caa,
        Some(&["0 issue \"ca.test; accounturi=https://ca.test/1\""]),
    );
    feed.offer_values("in.sts.example", FeedType::Cname, Some(&["abc._mta-sts.sts.example"]));
    feed.offer_values("wild.sts.example", FeedType::Cname, Some(&["x.edge.sts.example"]));
    feed.offer_values("dead.sts.example", FeedType::Cname, Some(&["nobody.sts.example"]));
    feed
}

async fn serving(config: NameserverConfig) -> Running {
    let server = Running::start(config, full_feed()).await;
    until("the feed has been read", || server.nameserver.ready()).await;
    server
}

/// With DO set.
fn signed_question(name: &str, record_type: RecordType) -> Message {
    let mut message = question(ZONE, record_type);
    message.queries[0].set_name(escaped(name));
    message.edns.as_mut().unwrap().set_dnssec_ok(true);
    message
}

/// Reads `\ddd`, also where the library would rather not have the octet.
fn escaped(text: &str) -> Name {
    let mut labels = vec![Vec::new()];
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        let label = labels.last_mut().unwrap();
        match octet {
            b'\\' => {
                let digits: String = octets.by_ref().take(3).map(char::from).collect();
                label.push(digits.parse().unwrap());
            }
            b'.' => labels.push(Vec::new()),
            other => label.push(other),
        }
    }
    Name::from_labels(labels.iter().map(Vec::as_slice)).unwrap()
}

fn types(records: &[hickory_proto::rr::Record]) -> Vec<RecordType> {
    records.iter().map(hickory_proto::rr::Record::record_type).collect()
}

fn nsec(answer: &Message) -> Option<&hickory_proto::dnssec::rdata::NSEC> {
    answer.authorities.iter().chain(&answer.answers).find_map(|record| match &record.data {
        RData::DNSSEC(hickory_proto::dnssec::rdata::DNSSECRData::NSEC(nsec)) => Some(nsec),
        _ => None,
    })
}
