//! A feed kept in memory, a running nameserver, and raw questions.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use hickory_proto::{
    op::{Edns, Message, Query},
    rr::{Name, RData, RecordType},
};
use mtasts_model::{
    Clock, SystemClock, SystemEntropy,
    feed::{Page, RecordData, RecordType as FeedType, Revision, ZoneChange},
};
use mtasts_nameserver::{
    BindError, CaaValue, FeedError, NameServer, Nameserver, NameserverConfig, StaticRecord, ZoneFeed,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

pub(crate) const ZONE: &str = "sts.example";
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Rows {
    by_key: BTreeMap<(String, FeedType), ZoneChange>,
    head: u64,
    floor: u64,
    down: bool,
    page: Option<u32>,
    acknowledged: Vec<u64>,
    asked_after: Vec<u64>,
}

/// One row for each name and type, as the store keeps them.
#[derive(Default)]
pub(crate) struct TestFeed {
    rows: Mutex<Rows>,
    changed: Notify,
}

impl TestFeed {
    pub(crate) fn with(records: &[(&str, &str)]) -> Arc<Self> {
        let feed = Arc::new(Self::default());
        for (name, value) in records {
            feed.offer(name, Some(&[value]));
        }
        feed
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap()
    }

    /// Puts or removes one set and tells of it.
    pub(crate) fn offer(&self, name: &str, values: Option<&[&str]>) -> u64 {
        let set = values.map(|v| RecordData { ttl: 60, values: v.iter().map(|v| (*v).to_owned()).collect() });
        self.offer_set(name, set)
    }

    pub(crate) fn offer_set(&self, name: &str, set: Option<RecordData>) -> u64 {
        self.offer_typed(name, FeedType::Txt, set)
    }

    /// As [`Self::offer`], for any type.
    pub(crate) fn offer_values(&self, name: &str, record_type: FeedType, values: Option<&[&str]>) -> u64 {
        let set = values.map(|v| RecordData { ttl: 120, values: v.iter().map(|v| (*v).to_owned()).collect() });
        self.offer_typed(name, record_type, set)
    }

    fn offer_typed(&self, name: &str, record_type: FeedType, set: Option<RecordData>) -> u64 {
        let mut rows = self.rows();
        rows.head += 1;
        let change = ZoneChange { revision: Revision::new(rows.head), name: name.to_owned(), record_type, set };
        rows.by_key.insert((name.to_owned(), record_type), change);
        self.changed.notify_one();
        rows.head
    }

    /// The feed's newest revision.
    pub(crate) fn head(&self) -> u64 {
        self.rows().head
    }

    /// Becomes what it was at that revision, as a database that is restored from a backup.
    pub(crate) fn restore(&self, head: u64) {
        let mut rows = self.rows();
        rows.by_key.retain(|_, row| row.revision.number() <= head);
        rows.head = head;
        self.changed.notify_one();
    }

    /// Forgets all tombstones.
    pub(crate) fn purge(&self) {
        let mut rows = self.rows();
        rows.by_key.retain(|_, row| row.set.is_some());
        rows.floor = rows.head;
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.rows().down = down;
        self.changed.notify_one();
    }

    pub(crate) fn pages_of(&self, size: u32) {
        self.rows().page = Some(size);
    }

    pub(crate) fn acknowledged(&self) -> Option<u64> {
        self.rows().acknowledged.last().copied()
    }

    pub(crate) fn asked_after(&self) -> Vec<u64> {
        self.rows().asked_after.clone()
    }
}

#[async_trait]
impl ZoneFeed for TestFeed {
    async fn since(&self, after: Revision, limit: u32) -> Result<Page<ZoneChange>, FeedError> {
        let mut rows = self.rows();
        if rows.down {
            return Err(FeedError::new("the store is away"));
        }
        rows.asked_after.push(after.number());
        let limit = usize::try_from(rows.page.unwrap_or(limit)).unwrap();
        let mut changes: Vec<_> = rows.by_key.values().filter(|row| row.revision > after).cloned().collect();
        changes.sort_by_key(|row| row.revision);
        let more = changes.len() > limit;
        changes.truncate(limit);
        // As the store has it: what was removed and forgotten moves nobody on.
        let position = changes.last().map_or(after, |last| last.revision);
        // A reader ahead of the feed is sent back to the beginning, as the store does it.
        let floor = if after.number() > rows.head { after.number() + 1 } else { rows.floor };
        Ok(Page { changes, position, more, floor: Revision::new(floor) })
    }

    async fn acknowledge(&self, position: Revision) -> Result<(), FeedError> {
        let mut rows = self.rows();
        if rows.down {
            return Err(FeedError::new("the store is away"));
        }
        rows.acknowledged.push(position.number());
        Ok(())
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }
}

pub(crate) fn config() -> NameserverConfig {
    let mut config = NameserverConfig::new(ZONE.parse().unwrap(), vec!["127.0.0.1:0".parse().unwrap()]);
    config.name_servers = vec![
        NameServer { name: format!("ns1.{ZONE}"), addresses: vec!["192.0.2.53".parse().unwrap()] },
        NameServer { name: "ns.elsewhere.example".to_owned(), addresses: vec![] },
    ];
    config.edge_addresses = vec!["192.0.2.10".parse().unwrap(), "2001:db8::10".parse().unwrap()];
    config.caa = vec![CaaValue { flags: 128, tag: "issue".into(), value: "ca.example".into() }];
    let fixed = |name: &str, record_type: &str, value: &str| StaticRecord {
        name: name.to_owned(),
        record_type: record_type.to_owned(),
        value: value.to_owned(),
        ttl: None,
    };
    config.static_records = vec![
        fixed("reports.mail.sts.example", "A", "192.0.2.25"),
        fixed("reports.mail.sts.example", "MX", "10 reports.mail.sts.example"),
        fixed("sts.example", "TXT", "v=spf1 -all"),
    ];
    config
}

/// A nameserver that stops when dropped.
pub(crate) struct Running {
    pub(crate) nameserver: Nameserver,
    shutdown: CancellationToken,
}

impl Running {
    pub(crate) async fn start(config: NameserverConfig, feed: Arc<TestFeed>) -> Self {
        Self::try_start(config, feed).await.unwrap()
    }

    pub(crate) async fn try_start(config: NameserverConfig, feed: Arc<TestFeed>) -> Result<Self, BindError> {
        Self::start_at(config, feed, Arc::new(SystemClock)).await
    }

    pub(crate) async fn start_at(
        config: NameserverConfig,
        feed: Arc<TestFeed>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BindError> {
        let shutdown = CancellationToken::new();
        let nameserver = Nameserver::bind(config, feed, Arc::new(SystemEntropy), clock, shutdown.clone()).await?;
        Ok(Self { nameserver, shutdown })
    }

    /// With the test zone, these records, and the feed read.
    pub(crate) async fn serving(records: &[(&str, &str)]) -> (Self, Arc<TestFeed>) {
        let feed = TestFeed::with(records);
        let running = Self::start(config(), feed.clone()).await;
        until("the feed has been read", || running.nameserver.ready()).await;
        (running, feed)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.nameserver.addresses()[0]
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.nameserver.stopped()).await.expect("it stops");
    }

    pub(crate) async fn ask(&self, name: &str, record_type: RecordType) -> Message {
        ask(self.address(), &question(name, record_type)).await
    }

    /// The TXT values that it answers with, sorted.
    pub(crate) async fn texts(&self, name: &str) -> Vec<String> {
        let answer = self.ask(name, RecordType::TXT).await;
        let mut texts: Vec<String> = answer.answers.iter().map(|record| text(&record.data)).collect();
        texts.sort();
        texts
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub(crate) fn with_replica(path: &Path) -> NameserverConfig {
    NameserverConfig { replica_path: Some(path.to_owned()), ..config() }
}

pub(crate) fn text(data: &RData) -> String {
    match data {
        RData::TXT(txt) => String::from_utf8(txt.txt_data.concat()).unwrap(),
        other => panic!("{other} is no TXT"),
    }
}

/// With EDNS and a payload of 1232.
pub(crate) fn question(name: &str, record_type: RecordType) -> Message {
    let mut message = plain_question(name, record_type);
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    message.set_edns(edns);
    message
}

pub(crate) fn plain_question(name: &str, record_type: RecordType) -> Message {
    let mut message = Message::query();
    let mut query = Query::query(Name::from_ascii(name).unwrap(), record_type);
    query.name.set_fqdn(true);
    message.add_query(query);
    message
}

pub(crate) async fn ask(server: SocketAddr, question: &Message) -> Message {
    Message::from_vec(&send(server, &question.to_vec().unwrap()).await.expect("an answer")).unwrap()
}

/// One packet, and what comes back within a second.
pub(crate) async fn send(server: SocketAddr, packet: &[u8]) -> Option<Vec<u8>> {
    send_waiting(server, packet, Duration::from_secs(5)).await
}

pub(crate) async fn send_waiting(server: SocketAddr, packet: &[u8], patience: Duration) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server).await.unwrap();
    socket.send(packet).await.unwrap();
    let mut buffer = vec![0; 65535];
    let length = timeout(patience, socket.recv(&mut buffer)).await.ok()?.unwrap();
    buffer.truncate(length);
    Some(buffer)
}

pub(crate) async fn over_tcp(stream: &mut TcpStream, packet: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut framed = u16::try_from(packet.len()).unwrap().to_be_bytes().to_vec();
    framed.extend_from_slice(packet);
    stream.write_all(&framed).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// Waits for a condition, and fails after [`PATIENCE`].
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
