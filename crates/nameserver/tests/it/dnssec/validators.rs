//! Unbound as a validating resolver, and BIND's delv, each with a trust anchor for the zone alone.

use std::{fmt::Write as _, net::SocketAddr, process::Stdio, time::Duration};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RecordType,
};
use mtasts_testkit::{Process, free_port};
use tempfile::TempDir;

use super::signed_question;
use crate::support::{ZONE, send_waiting};

/// Validators ask again and again before they call an answer bogus.
const DEADLINE: Duration = Duration::from_secs(30);

/// Killed when dropped.
pub(super) struct Unbound {
    _process: Process,
    _folder: TempDir,
    address: SocketAddr,
}

impl Unbound {
    /// Asks this server for everything in the zone, and trusts keys with these DS records.
    pub(super) async fn start(server: SocketAddr, anchors: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut text = format!(
            "server:\n interface: 127.0.0.1@{port}\n do-daemonize: no\n use-syslog: no\n logfile: \"\"\n username: \"\"\n \
             chroot: \"\"\n directory: \"{}\"\n pidfile: \"\"\n do-ip6: no\n num-threads: 1\n do-not-query-localhost: no\n \
             module-config: \"validator iterator\"\n val-log-level: 2\n",
            folder.path().display()
        );
        for anchor in anchors {
            writeln!(text, " trust-anchor: {anchor:?}").unwrap();
        }
        let (ip, from) = (server.ip(), server.port());
        writeln!(text, "remote-control:\n control-enable: no\nstub-zone:\n name: {ZONE}\n stub-addr: {ip}@{from}")
            .unwrap();
        let path = folder.path().join("unbound.conf");
        std::fs::write(&path, text).unwrap();
        // Outside of the usual PATH of people who are not root.
        let program = if std::path::Path::new("/usr/sbin/unbound").exists() { "/usr/sbin/unbound" } else { "unbound" };
        let mut process = Process::spawn("unbound", std::process::Command::new(program).args(["-d", "-c"]).arg(&path));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        process.wait_until_ready(DEADLINE, async || tokio::net::TcpStream::connect(address).await.is_ok()).await;
        Self { _process: process, _folder: folder, address }
    }

    pub(super) async fn ask(&self, name: &str, record_type: RecordType) -> Message {
        let mut question = signed_question(name, record_type);
        question.metadata.recursion_desired = true;
        let question = question.to_vec().unwrap();
        let answer = send_waiting(self.address, &question, DEADLINE).await.expect("unbound answers");
        Message::from_vec(&answer).unwrap()
    }

    /// The answer, which Unbound has found to be secure.
    #[track_caller]
    pub(super) fn secure(&self, name: &str, record_type: RecordType) -> impl Future<Output = Message> {
        let caller = std::panic::Location::caller();
        async move {
            let answer = self.ask(name, record_type).await;
            let is_secure = answer.metadata.authentic_data && answer.metadata.response_code == ResponseCode::NoError;
            assert!(is_secure, "{caller}: {name} {record_type} is not secure:\n{answer}");
            answer
        }
    }

    pub(super) async fn is_bogus(&self, name: &str, record_type: RecordType) -> bool {
        let answer = self.ask(name, record_type).await;
        answer.metadata.response_code == ResponseCode::ServFail && answer.answers.is_empty()
    }
}

/// What delv says, with its comments.
pub(super) async fn delv(server: SocketAddr, anchor: &str, name: &str, record_type: RecordType) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("anchors");
    let (_, ds) = anchor.split_once(" DS ").unwrap();
    let (head, digest) = ds.rsplit_once(' ').unwrap();
    std::fs::write(&path, format!("trust-anchors {{ \"{ZONE}.\" static-ds {head} \"{digest}\"; }};")).unwrap();
    let output = tokio::process::Command::new("delv")
        .arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string(), &format!("+root={ZONE}"), "-a"])
        .arg(&path)
        .args(["-q", name, "-t", &record_type.to_string()])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(DEADLINE, output).await.expect("delv ends").expect("delv (bind9-dnsutils) runs");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
