//! A Cloudflare of our own: the DNS part of its API v4 on a loopback port, as its documentation and its official SDK
//! describe it, with the real rules about records, and faults on demand. It answers DNS for its zones too.
//!
//! It is strict: a request with a field, a parameter or a header that the documentation does not know gets the error
//! that it deserves, and is remembered, so that the test fails at its end.

mod dns;
mod faults;
mod routes;
mod schema;
mod serve;
mod zone;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    net::{TcpListener, UdpSocket},
    task::JoinHandle,
};

use self::{faults::Faults, zone::Zone};
pub use self::{
    faults::{Calls, Fault},
    zone::CloudflareRecord,
};

/// What an unnamed plan allows in one batch.
const BATCH_LIMIT: usize = 200;

/// The fake. Dropping it stops it, and panics if a request broke the rules of the API.
#[derive(Debug)]
pub struct FakeCloudflare {
    shared: Arc<Shared>,
    api: SocketAddr,
    dns: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

/// One request that arrived.
#[derive(Debug, Clone)]
pub struct SeenRequest {
    /// Such as `GET`.
    pub method: String,
    /// Beneath the API's own path, such as `zones/…/dns_records/batch`.
    pub path: String,
    /// As it came.
    pub query: String,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    zones: Vec<Zone>,
    tokens: Vec<Token>,
    faults: Faults,
    latency: Duration,
    requests: Vec<SeenRequest>,
    complaints: Vec<String>,
    /// Grows with each write of a record; also the clock of `modified_on`, and the source of ids.
    revision: u64,
}

#[derive(Debug)]
struct Token {
    text: String,
    /// Names.
    zones: Vec<String>,
    is_revoked: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn zone(&mut self, name: &str) -> &mut Zone {
        let zone = self.zones.iter_mut().find(|zone| zone.name == name);
        zone.unwrap_or_else(|| panic!("the fake has no zone {name}: add_zone() first"))
    }

    fn tick(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }
}

impl FakeCloudflare {
    /// Starts one on free ports of this machine, in the current runtime.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("no port: {error}"));
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("no port: {error}"));
        let (Ok(api), Ok(dns)) = (listener.local_addr(), socket.local_addr()) else {
            panic!("a bound socket has no address")
        };
        let shared = Arc::new(Shared::default());
        let tasks = vec![
            tokio::spawn(serve::run(listener, Arc::clone(&shared))),
            tokio::spawn(dns::run(socket, Arc::clone(&shared))),
        ];
        Self { shared, api, dns, tasks }
    }

    /// Where its API is; what the real one has at `https://api.cloudflare.com/client/v4/`.
    pub fn url(&self) -> String {
        format!("http://{}/client/v4/", self.api)
    }

    /// Where it answers DNS (UDP).
    pub fn dns(&self) -> SocketAddr {
        self.dns
    }

    /// Adds an empty zone, with room for as many records as wanted; gives its id.
    pub fn add_zone(&self, name: &str) -> String {
        let mut state = self.shared.state();
        let id = zone::id('2', state.tick());
        state.zones.push(Zone::new(id.clone(), name));
        id
    }

    /// A new token that may read and edit these zones.
    pub fn add_token(&self, zones: &[&str]) -> String {
        let mut state = self.shared.state();
        let text = format!("token-{:034}", state.tick());
        let zones = zones.iter().map(|&zone| zone.to_owned()).collect();
        state.tokens.push(Token { text: text.clone(), zones, is_revoked: false });
        text
    }

    /// From now on nobody gets in with this token.
    pub fn revoke_token(&self, token: &str) {
        for known in self.shared.state().tokens.iter_mut().filter(|known| known.text == token) {
            known.is_revoked = true;
        }
    }

    /// How many records the zone's plan allows.
    pub fn set_quota(&self, zone: &str, records: usize) {
        self.shared.state().zone(zone).quota = records;
    }

    /// Every request waits that long before it is looked at.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.state().latency = latency;
    }

    /// Lets the first of `calls` after `spared` others go wrong. Several faults are used up in the order in which they
    /// were asked for.
    pub fn fail(&self, calls: Calls, spared: usize, fault: Fault) {
        self.shared.state().faults.add(calls, spared, fault);
    }

    /// Creates a record as somebody does in the dashboard. `content` is kept as it is; a CAA's is like
    /// `0 issue "ca.example"`. Gives its id.
    pub fn put_record(&self, zone: &str, kind: &str, name: &str, content: &str, comment: Option<&str>) -> String {
        let mut state = self.shared.state();
        let tick = state.tick();
        let record = CloudflareRecord::by_hand(tick, kind, name, content, comment);
        let id = record.id.clone();
        state.zone(zone).insert(record);
        id
    }

    /// Changes records of a zone as somebody does in the dashboard.
    pub fn edit_records(&self, zone: &str, mut edit: impl FnMut(&mut CloudflareRecord)) {
        let mut state = self.shared.state();
        state.tick();
        state.zone(zone).records_mut().for_each(&mut edit);
    }

    /// Deletes those records that are not to be kept.
    pub fn keep_records(&self, zone: &str, keep: impl Fn(&CloudflareRecord) -> bool) {
        let mut state = self.shared.state();
        state.tick();
        state.zone(zone).retain(keep);
    }

    /// All records of a zone, by name.
    pub fn records(&self, zone: &str) -> Vec<CloudflareRecord> {
        self.shared.state().zone(zone).records().cloned().collect()
    }

    /// A number that grows with each record that is written.
    pub fn revision(&self) -> u64 {
        self.shared.state().revision
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.shared.state().requests.clone()
    }

    /// The requests that broke the rules of the API, which are forgotten by this.
    pub fn take_complaints(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.state().complaints)
    }
}

impl Drop for FakeCloudflare {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        let complaints = self.take_complaints();
        assert!(
            complaints.is_empty() || std::thread::panicking(),
            "Cloudflare would not have understood {} request(s): {complaints:#?}",
            complaints.len()
        );
    }
}

/// What the API answers instead of a result.
#[derive(Debug, Clone)]
struct Refusal {
    status: u16,
    code: u32,
    message: String,
    chain: Option<(u32, String)>,
    /// The request itself is wrong, whatever the zone holds.
    is_complaint: bool,
}

impl Refusal {
    fn new(status: u16, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), chain: None, is_complaint: false }
    }

    /// A request that no client of the API should send.
    fn complaint(code: u32, message: impl Into<String>) -> Self {
        Self { is_complaint: true, ..Self::new(400, code, message) }
    }

    fn json(&self) -> Value {
        let mut error = serde_json::json!({"code": self.code, "message": self.message});
        if let Some((code, message)) = &self.chain {
            error["error_chain"] = serde_json::json!([{"code": code, "message": message}]);
        }
        serde_json::json!({"success": false, "errors": [error], "messages": [], "result": null})
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    /// Sends a request by hand and gives the status line and the error codes.
    async fn send(fake: &FakeCloudflare, head: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(fake.api).await.unwrap();
        let length = body.len();
        let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
        let request = format!(
            "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn requests_that_the_documentation_does_not_know_are_refused_and_remembered() {
        let fake = FakeCloudflare::start().await;
        let zone = fake.add_zone("sts.test");
        let open = format!("authorization: Bearer {}\r\n", fake.add_token(&["sts.test"]));
        let json = format!("{open}content-type: application/json\r\n");
        let (list, batch) = (format!("/client/v4/zones/{zone}/dns_records"), "/batch");
        let good = r#""type":"TXT","name":"a.sts.test","content":"\"a\"","ttl":60"#;
        for (head, body, code) in [
            (format!("GET {list}\n"), String::new(), 9106),
            (format!("GET {list}\nauthorization: Basic eDp5\r\n"), String::new(), 6003),
            (format!("GET {list}?nmae=a\n{open}"), String::new(), 6003),
            (format!("GET {list}?per_page=9999\n{open}"), String::new(), 6003),
            (format!("POST {list}\n{open}"), format!("{{{good}}}"), 9207),
            (format!("POST {list}\n{json}"), format!("{{{good},\"coment\":\"x\"}}"), 9207),
            (format!("POST {list}\n{json}"), good.replace("60", "\"60\""), 9207),
            (format!("POST {list}\n{json}"), format!("{{{}}}", good.replace("60", "30")), 9021),
            (format!("POST {list}\n{json}"), format!("{{{}}}", good.replace("\\\"", "")), 9009),
            (format!("POST {list}{batch}\n{json}"), format!("{{\"post\":[{{{good}}}]}}"), 9207),
            (format!("POST {list}{batch}\n{json}"), format!("{{\"patches\":[{{{good}}}]}}"), 9207),
            (format!("GET /client/v4/user\n{open}"), String::new(), 7000),
        ] {
            let answer = send(&fake, &head, &body).await;
            assert!(
                answer.starts_with("HTTP/1.1 40") && answer.contains(&format!("\"code\":{code}")),
                "{head}: {answer}"
            );
            assert_eq!(fake.take_complaints().len(), 1, "{head} {body}");
        }
        assert!(fake.records("sts.test").is_empty());
        let answer = send(&fake, &format!("POST {list}\n{json}"), &format!("{{{good}}}")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[tokio::test]
    #[should_panic(expected = "Cloudflare would not have understood 1 request(s)")]
    async fn a_request_that_breaks_the_rules_fails_the_test_at_its_end() {
        let fake = FakeCloudflare::start().await;
        send(&fake, "GET /client/v4/zones\n", "").await;
    }
}
