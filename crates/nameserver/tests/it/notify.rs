//! NOTIFY, seen by a secondary that acknowledges as it likes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hickory_proto::{
    op::{Message, OpCode, ResponseCode},
    rr::RecordType,
};
use mtasts_dns::tsig::{AnswerSigner, verify_request};
use mtasts_model::{Clock, SystemClock};
use mtasts_nameserver::NameserverConfig;
use tokio::{
    net::UdpSocket,
    time::{Instant, timeout},
};

use crate::{
    secondary::{good_key, peer, serial_of, with_secondary},
    support::{PATIENCE, Running, TestFeed, config, until, with_replica},
};

struct Secondary {
    socket: UdpSocket,
}

struct Notification {
    message: Message,
    from: SocketAddr,
    signer: AnswerSigner,
}

impl Notification {
    fn serial(&self) -> u32 {
        serial_of(&self.message.answers[0])
    }
}

impl Secondary {
    async fn new() -> Self {
        Self { socket: UdpSocket::bind("127.0.0.1:0").await.unwrap() }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// The next notification, checked; `None` when none comes.
    async fn notification(&self, patience: Duration) -> Option<Notification> {
        let mut buffer = vec![0; 4096];
        let (length, from) = timeout(patience, self.socket.recv_from(&mut buffer)).await.ok()?.unwrap();
        let signer = verify_request(&[good_key()], &buffer[..length], SystemClock.now()).unwrap().expect("signed");
        let message = Message::from_vec(&buffer[..length]).unwrap();
        // RFC 1996 §3.7, §3.11.
        assert_eq!(message.metadata.op_code, OpCode::Notify);
        assert!(message.metadata.authoritative);
        assert_eq!(message.queries[0].query_type(), RecordType::SOA);
        assert_eq!(message.queries[0].name().to_string(), "sts.example.");
        Some(Notification { message, from, signer })
    }

    async fn next(&self) -> Notification {
        self.notification(PATIENCE).await.expect("a notification")
    }

    async fn answer(&self, notification: &mut Notification, change: impl FnOnce(&mut Message)) {
        let mut answer = Message::response(notification.message.metadata.id, OpCode::Notify);
        answer.queries.clone_from(&notification.message.queries);
        change(&mut answer);
        let mut octets = answer.to_vec().unwrap();
        notification.signer.sign(&mut octets, SystemClock.now()).unwrap();
        self.socket.send_to(&octets, notification.from).await.unwrap();
    }

    async fn acknowledge(&self, mut notification: Notification) {
        self.answer(&mut notification, |_| ()).await;
    }

    async fn is_left_alone(&self, so_long: Duration) -> bool {
        self.notification(so_long).await.is_none()
    }
}

async fn serving(secondary: &Secondary) -> (Running, Arc<TestFeed>) {
    let feed = TestFeed::with(&[("a._mta-sts.sts.example", "one")]);
    let server = Running::start(with_secondary(&[secondary.address()]), feed.clone()).await;
    (server, feed)
}

#[tokio::test]
async fn a_secondary_is_told_at_the_start_and_after_each_change_until_it_acknowledges() {
    let secondary = Secondary::new().await;
    let (_server, feed) = serving(&secondary).await;
    let first = secondary.next().await;
    assert_eq!(first.serial(), 1);
    // Not answered: it comes again.
    let second = secondary.next().await;
    assert_eq!(second.serial(), 1);
    secondary.acknowledge(second).await;
    assert!(secondary.is_left_alone(Duration::from_secs(4)).await);
    let changed = Instant::now();
    feed.offer("a._mta-sts.sts.example", Some(&["two"]));
    let third = secondary.next().await;
    assert!(changed.elapsed() < Duration::from_secs(2), "{:?}", changed.elapsed());
    assert_eq!(third.serial(), 2);
    secondary.acknowledge(third).await;
}

#[tokio::test]
async fn changes_that_come_together_are_told_of_together() {
    let secondary = Secondary::new().await;
    let (_server, feed) = serving(&secondary).await;
    secondary.acknowledge(secondary.next().await).await;
    let (begun, mut told, mut serial) = (Instant::now(), 0, 1);
    for number in 0..100 {
        feed.offer("a._mta-sts.sts.example", Some(&[&number.to_string()]));
        if let Some(notification) = secondary.notification(Duration::from_millis(20)).await {
            (told, serial) = (told + 1, notification.serial());
            secondary.acknowledge(notification).await;
        }
    }
    while serial < 101 {
        let notification = secondary.next().await;
        assert!(notification.serial() > serial);
        (told, serial) = (told + 1, notification.serial());
        secondary.acknowledge(notification).await;
    }
    assert!(f64::from(told) <= begun.elapsed().as_secs_f64() + 2.0, "{told} in {:?}", begun.elapsed());
}

#[tokio::test]
async fn only_the_secondarys_own_signed_answer_acknowledges() {
    let secondary = Secondary::new().await;
    let (_server, _feed) = serving(&secondary).await;
    let mut first = secondary.next().await;
    // Unsigned, from elsewhere, of another id, or no answer at all.
    let unsigned = Message::response(first.message.metadata.id, OpCode::Notify).to_vec().unwrap();
    secondary.socket.send_to(&unsigned, first.from).await.unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    stranger.send_to(&unsigned, first.from).await.unwrap();
    secondary.socket.send_to(b"no message", first.from).await.unwrap();
    secondary.answer(&mut first, |answer| answer.metadata.id ^= 1).await;
    let mut second = secondary.next().await;
    // A refusal is an answer, and it is asked again.
    secondary.answer(&mut second, |answer| answer.metadata.response_code = ResponseCode::Refused).await;
    let third = secondary.next().await;
    secondary.acknowledge(third).await;
    assert!(secondary.is_left_alone(Duration::from_secs(6)).await);
}

#[tokio::test]
async fn nobody_is_told_of_a_serial_before_the_feed_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zone.redb");
    let secondary = Secondary::new().await;
    let feed = TestFeed::with(&[("a._mta-sts.sts.example", "one")]);
    let server = Running::start(with_replica(&path), feed.clone()).await;
    until("the replica is written", || path.exists()).await;
    server.stop().await;
    feed.set_down(true);
    let transfers = vec![peer(Some(good_key()), &[], &[secondary.address()])];
    let server = Running::start(NameserverConfig { transfers, ..with_replica(&path) }, feed.clone()).await;
    until("the replica is served", || server.nameserver.ready()).await;
    assert!(secondary.is_left_alone(Duration::from_secs(1)).await);
    feed.set_down(false);
    secondary.acknowledge(secondary.next().await).await;
}

#[tokio::test]
async fn a_secondary_that_is_away_does_not_hold_up_another() {
    let (near, away) = (Secondary::new().await, Secondary::new().await);
    let feed = TestFeed::with(&[("a._mta-sts.sts.example", "one")]);
    let transfers =
        vec![peer(Some(good_key()), &[], &[away.address()]), peer(Some(good_key()), &[], &[near.address()])];
    let _server = Running::start(NameserverConfig { transfers, ..config() }, feed.clone()).await;
    for serial in 1..=3 {
        let told = near.next().await;
        assert_eq!(told.serial(), serial);
        near.acknowledge(told).await;
        feed.offer("a._mta-sts.sts.example", Some(&[&serial.to_string()]));
    }
}
