//! BIND and Knot as secondaries, and dig and kdig as their like.

use std::{fmt::Write as _, fs, net::SocketAddr, process::Command, sync::Arc, time::Duration};

use hickory_proto::rr::RecordType;
use mtasts_model::feed::RecordType as FeedType;
use mtasts_testkit::{Process, free_port, wait_for, wait_until};
use tempfile::TempDir;

use crate::{
    secondary::{Copy, SECRET, Transfer, request, transfer, whole, with_secondary},
    support::{Running, TestFeed, ask, question, text, until},
};

/// Starting, and a first transfer.
const DEADLINE: Duration = Duration::from_secs(30);
/// From a change to a secondary's answer.
const FOLLOWS: Duration = Duration::from_secs(5);
const OTHER_SECRET: &str = "c3RvbGVuIGFuZCBub3QgdGhlIHNhbWUgc2VjcmV0ISE=";

struct Secondary {
    process: Process,
    address: SocketAddr,
    _folder: TempDir,
}

/// Outside of the usual PATH of people who are not root.
fn program(name: &str) -> String {
    let path = format!("/usr/sbin/{name}");
    if fs::exists(&path).unwrap() { path } else { name.to_owned() }
}

fn bind(port: u16, primary: SocketAddr, secret: &str) -> Secondary {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    let text = format!(
        "key \"transfer.test.\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};\n\
         options {{ directory \"{at}\"; pid-file none; session-keyfile none; listen-on port {port} {{ 127.0.0.1; }};\n\
         listen-on-v6 {{ none; }}; recursion no; notify no; dnssec-validation no; allow-transfer {{ 127.0.0.1; }}; }};\n\
         controls {{ }};\n\
         zone \"sts.example\" {{ type secondary; file \"zone\";\n\
         primaries {{ {} port {} key \"transfer.test.\"; }}; }};\n",
        primary.ip(),
        primary.port()
    );
    fs::write(folder.path().join("named.conf"), text).unwrap();
    // A copy, because some systems' AppArmor lets the installed one read only the system's own folders.
    let named = folder.path().join("named");
    fs::copy(program("named"), &named).expect("named (package bind9) is there");
    let mut command = Command::new(named);
    command.args(["-g", "-d", "3", "-n", "1", "-c"]).arg(folder.path().join("named.conf"));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    Secondary { process: Process::spawn("bind", &mut command), address, _folder: folder }
}

fn knot(port: u16, primary: SocketAddr, secret: &str) -> Secondary {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    let mut text = format!(
        "server:\n  rundir: \"{at}\"\n  listen: 127.0.0.1@{port}\n  udp-workers: 1\n  tcp-workers: 1\n  \
         background-workers: 1\nlog:\n  - target: stderr\n    any: info\n"
    );
    write!(text, "database:\n  storage: \"{at}/db\"\n  journal-db-max-size: 50M\n").unwrap();
    text.push_str("  kasp-db-max-size: 5M\n  timer-db-max-size: 5M\n  catalog-db-max-size: 5M\n");
    write!(text, "key:\n  - id: transfer.test\n    algorithm: hmac-sha256\n    secret: {secret}\n").unwrap();
    write!(text, "remote:\n  - id: primary\n    address: {}@{}\n", primary.ip(), primary.port()).unwrap();
    text.push_str("    key: transfer.test\nacl:\n  - id: notify\n    key: transfer.test\n    action: notify\n");
    text.push_str("  - id: transfer\n    address: 127.0.0.1\n    action: transfer\n");
    write!(text, "template:\n  - id: default\n    storage: \"{at}\"\n    journal-max-usage: 50M\n").unwrap();
    text.push_str("zone:\n  - domain: sts.example\n    master: primary\n    acl: [notify, transfer]\n");
    fs::create_dir(folder.path().join("db")).unwrap();
    fs::write(folder.path().join("knot.conf"), text).unwrap();
    let mut command = Command::new(program("knotd"));
    command.arg("-c").arg(folder.path().join("knot.conf"));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    Secondary { process: Process::spawn("knot", &mut command), address, _folder: folder }
}

impl Secondary {
    /// What it serves, by a transfer from it. `None` while it has no zone.
    async fn copy(&self) -> Option<(u32, Copy)> {
        if tokio::net::TcpStream::connect(self.address).await.is_err() {
            return None;
        }
        let transfer = Transfer::begin(self.address, &request(None), None).await.complete().await;
        transfer.ok().map(|transfer| whole(&transfer.records))
    }

    async fn texts(&self, name: &str) -> Vec<String> {
        let answer = ask(self.address, &question(name, RecordType::TXT)).await;
        answer.answers.iter().map(|record| text(&record.data)).collect()
    }
}

async fn follows(start: fn(u16, SocketAddr, &str) -> Secondary, difference: &str) {
    let port = free_port();
    let feed = TestFeed::with(&[]);
    for number in 0..3000 {
        let long = "x".repeat(number % 500);
        feed.offer(&format!("n{number}._mta-sts.sts.example"), Some(&["v=STSv1; id=1;", &long]));
    }
    feed.offer_values("*.edge.sts.example", FeedType::Caa, Some(&["0 issue \"ca.test\""]));
    let server = Running::start(with_secondary(&[([127, 0, 0, 1], port).into()]), feed.clone()).await;
    until("the feed has been read", || server.nameserver.ready()).await;
    let secondary = start(port, server.address(), SECRET);
    let ours = async || whole(&transfer(server.address(), None).await.unwrap());
    let first = wait_for(DEADLINE, "the first transfer", || secondary.copy()).await;
    assert_eq!(first, ours().await);
    assert!(!secondary.process.log().contains(difference));

    // The NOTIFYs from before it was there are repeated at most a few seconds apart.
    for round in 0..4 {
        let name = format!("n{round}._mta-sts.sts.example");
        let value = format!("v=STSv1; id=round{round};");
        feed.offer(&name, Some(&[&value]));
        feed.offer(&format!("n{}._mta-sts.sts.example", 100 + round), None);
        feed.offer(&format!("new{round}._mta-sts.sts.example"), Some(&[&value]));
        let deadline = if round == 0 { DEADLINE } else { FOLLOWS };
        wait_until(deadline, "the secondary has the change", || async {
            secondary.texts(&name).await == [value.as_str()]
        })
        .await;
        assert_eq!(secondary.copy().await.unwrap(), ours().await);
    }
    let log = secondary.process.log();
    assert!(log.contains(difference), "it follows by IXFR:\n{log}");

    // The database is restored: the secondary goes back with it.
    feed.restore(2000);
    wait_until(FOLLOWS, "the secondary has what was restored", || async {
        secondary.copy().await.is_some_and(|(_, copy)| copy.iter().all(|line| !line.contains("n2500.")))
    })
    .await;
    assert_eq!(secondary.copy().await.unwrap(), ours().await);
}

#[tokio::test]
async fn bind_follows_by_notify_and_ixfr() {
    follows(bind, "got incremental response").await;
}

#[tokio::test]
async fn knot_follows_by_notify_and_ixfr() {
    follows(knot, "IXFR, incoming").await;
}

#[tokio::test]
async fn secondaries_with_a_wrong_secret_get_nothing() {
    let feed = TestFeed::with(&[("a._mta-sts.sts.example", "one")]);
    let server = Running::start(with_secondary(&[]), feed).await;
    until("the feed has been read", || server.nameserver.ready()).await;
    for (secondary, complaint) in [
        (bind(free_port(), server.address(), OTHER_SECRET), "BADSIG"),
        (knot(free_port(), server.address(), OTHER_SECRET), "BADSIG"),
    ] {
        wait_until(DEADLINE, "the secondary is refused", || async {
            let log = secondary.process.log();
            // BIND 9.18, BIND 9.20, Knot.
            ["tsig verify failure", "tsig indicates error", "failed", complaint].iter().any(|word| log.contains(word))
        })
        .await;
        assert_eq!(secondary.copy().await, None, "{}", secondary.process.log());
    }
}

async fn tool(name: &str, server: SocketAddr, arguments: &[&str]) -> String {
    let output = tokio::process::Command::new(name)
        .arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string()])
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| panic!("{name} cannot be run: {error}"));
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[tokio::test]
async fn dig_and_kdig_transfer_the_zone_with_the_key_alone() {
    let feed = TestFeed::with(&[("a._mta-sts.sts.example", "one")]);
    for number in 0..2000 {
        feed.offer(&format!("n{number}._mta-sts.sts.example"), Some(&["v=STSv1; id=1;"]));
    }
    let server = Running::start(with_secondary(&[]), Arc::clone(&feed)).await;
    until("the feed has been read", || server.nameserver.ready()).await;
    feed.offer("a._mta-sts.sts.example", Some(&["two"]));
    until("the change is served", || server.nameserver.position().number() == feed.head()).await;
    let key = format!("hmac-sha256:transfer.test:{SECRET}");
    // Two SOAs; the apex' NS, NS, TXT; glue; the report host's two; the wildcard's three; and the feed's.
    let size = 2 + 3 + 1 + 2 + 3 + 2001;
    let dig = tool("dig", server.address(), &["-y", &key, "sts.example", "AXFR"]).await;
    assert!(dig.contains(&format!("XFR size: {size} records")), "{dig}");
    let dig = tool("dig", server.address(), &["-y", &key, "sts.example", "IXFR=2001"]).await;
    assert!(dig.contains("XFR size: 6 records") && dig.contains("\"two\""), "{dig}");
    let kdig = tool("kdig", server.address(), &["-y", &key, "sts.example", "AXFR"]).await;
    assert!(kdig.contains(&format!("{size} record")) && !kdig.contains("WARNING"), "{kdig}");
    for name in ["dig", "kdig"] {
        let wrong = format!("hmac-sha256:transfer.test:{OTHER_SECRET}");
        for arguments in [vec!["sts.example", "AXFR"], vec!["-y", &wrong, "sts.example", "AXFR"]] {
            let refused = tool(name, server.address(), &arguments).await;
            assert!(!refused.contains("_mta-sts"), "{refused}");
        }
    }
}
