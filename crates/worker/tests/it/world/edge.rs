//! A fake edge: follows the feed, serves what it says over TLS, and acknowledges when the test lets it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::TimeDelta;
use mtasts_certs::{KeyRing, Purpose};
use mtasts_model::{
    Clock, NodeId, Revision, SystemEntropy,
    feed::{Challenge, EdgeEntry, HostContent},
};
use mtasts_store::{Channel, NodeKind, Store};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_rustls::LazyConfigAcceptor;

use super::ShiftedClock;

/// Longer than any shift of the clock: to shift it must not look like the death of this edge.
const LEASE: TimeDelta = TimeDelta::days(100);

#[derive(Default)]
struct State {
    hosts: Mutex<HashMap<String, HostContent>>,
    challenges: Mutex<HashMap<String, Challenge>>,
    /// Every host content in the order of its coming, with the domain's name.
    history: Mutex<Vec<(String, Option<HostContent>)>>,
    holds_back: AtomicBool,
}

pub(crate) struct FakeEdge {
    state: Arc<State>,
    address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl FakeEdge {
    pub(crate) async fn start(store: Store, key_ring: KeyRing, clock: ShiftedClock) -> Self {
        let state = Arc::new(State::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let node = NodeId::draw(clock.now(), &SystemEntropy);
        store.register_node(node, NodeKind::Edge, "edge-1", clock.now(), LEASE).await.unwrap();
        let follow = tokio::spawn(follow(Arc::clone(&state), store, node, clock));
        let serve = tokio::spawn(serve(Arc::clone(&state), listener, key_ring));
        Self { state, address, tasks: vec![follow, serve] }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it follows and serves but does not acknowledge.
    pub(crate) fn hold_back(&self, hold: bool) {
        self.state.holds_back.store(hold, Ordering::SeqCst);
    }

    pub(crate) fn host(&self, name: &str) -> Option<HostContent> {
        self.state.hosts.lock().unwrap().get(name).cloned()
    }

    /// Serves another policy than it was told, until it is told again.
    pub(crate) fn serves_instead(&self, name: &str, text: &str) {
        let mut hosts = self.state.hosts.lock().unwrap();
        text.clone_into(&mut hosts.get_mut(name).unwrap().policy_text);
    }

    pub(crate) fn challenge(&self, name: &str) -> Option<Challenge> {
        self.state.challenges.lock().unwrap().get(name).cloned()
    }

    /// All that it was ever told to serve for the name; None is "nothing any more".
    pub(crate) fn history(&self, name: &str) -> Vec<Option<HostContent>> {
        let history = self.state.history.lock().unwrap();
        history.iter().filter(|(of, _)| of == name).map(|(_, content)| content.clone()).collect()
    }
}

impl Drop for FakeEdge {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn follow(state: Arc<State>, store: Store, node: NodeId, clock: ShiftedClock) {
    let mut nudges = store.nudges(Channel::Edge);
    let mut position = Revision::ZERO;
    loop {
        // A database that is away is asked again.
        let Ok(page) = store.edge_changes(position, 100).await else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        for change in page.changes {
            let name = change.domain.to_string();
            match change.entry {
                EdgeEntry::Host(content) => {
                    state.history.lock().unwrap().push((name.clone(), Some(*content.clone())));
                    state.hosts.lock().unwrap().insert(name, *content);
                }
                // This edge keeps no replica, so it has nothing of a time that the database does not know.
                EdgeEntry::HostGone | EdgeEntry::HostHeld { .. } => {
                    state.history.lock().unwrap().push((name.clone(), None));
                    state.hosts.lock().unwrap().remove(&name);
                }
                EdgeEntry::Challenge(challenge) => {
                    state.challenges.lock().unwrap().insert(name, challenge);
                }
                EdgeEntry::ChallengeGone => {
                    state.challenges.lock().unwrap().remove(&name);
                }
            }
        }
        position = page.position;
        if !state.holds_back.load(Ordering::SeqCst) {
            let _ = store.acknowledge(node, position, clock.now(), LEASE).await;
            let _ = store.flush_served(&[], Some(clock.now()), node).await;
        }
        if !page.more {
            let _ = timeout(Duration::from_millis(50), nudges.changed()).await;
        }
    }
}

async fn serve(state: Arc<State>, listener: TcpListener, key_ring: KeyRing) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (state, key_ring) = (Arc::clone(&state), key_ring.clone());
        tokio::spawn(async move { answer(&state, tcp, &key_ring).await });
    }
}

async fn answer(state: &State, tcp: TcpStream, key_ring: &KeyRing) -> Option<()> {
    let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), tcp).await.ok()?;
    let sni = start.client_hello().server_name()?.to_owned();
    let content = state.hosts.lock().unwrap().get(sni.strip_prefix("mta-sts.")?).cloned()?;
    let (tenant, domain) = (Some(content.tenant_id), Some(content.domain_id));
    let key = key_ring.open(Purpose::CertificateKey, tenant, domain, &content.sealed_key).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.to_vec()));
    let chain = content.chain.iter().cloned().map(CertificateDer::from).collect();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    let mut stream = start.into_stream(Arc::new(config)).await.ok()?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.ok()?);
    }
    let body = &content.policy_text;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all((head + body).as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}
