//! Strangers who are slow, big or hostile.

use std::time::{Duration, Instant};

use mtasts_model::{Clock, MailDomain, SystemClock};
use mtasts_probe::inspect::{Code, InspectOptions, Inspection, MAX_ADDRESSES, MAX_MX, Pacer, Safety, Severity};

use super::world::{DOMAIN, HOST, MX, RECORD, TLS_RPT, World, codes};
use crate::{dns::Table, policy_host::Answer, support::domain};

/// A look with so long for all of it, and patient in every single step.
fn within(seconds: u64, world: World) -> World {
    let forever = |config: &mut mtasts_probe::ProbeConfig| {
        let hour = Duration::from_hours(1);
        config.timeouts =
            mtasts_probe::Timeouts { connect: hour, handshake: hour, reply: hour, fetch: hour, mx_host: hour };
    };
    let options = InspectOptions {
        deadline: Duration::from_secs(seconds),
        patience: Duration::from_secs(1),
        ..InspectOptions::default()
    };
    World { options, adjust: forever, ..world }
}

async fn timed(seconds: u64, world: World) -> Inspection {
    let served = within(seconds, world).serve().await;
    let started = Instant::now();
    let inspection = served.inspector.inspect(&domain(), served.options, SystemClock.now()).await;
    assert!(started.elapsed() < Duration::from_secs(seconds), "{:?}", started.elapsed());
    inspection
}

#[tokio::test]
async fn a_silent_mx_and_a_policy_host_that_drips_end_at_the_deadline_and_the_rest_is_told() {
    let silent = timed(2, World::new().script(|s| s.delay = Duration::from_mins(10))).await;
    assert_eq!(codes(&silent), ["mx-timeout"]);
    assert!(silent.verdict.published);
    let answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nversion: STSv1\r\n".to_vec();
    let drips = timed(2, World::new().answer(Answer::Drip(answer))).await;
    assert_eq!(codes(&drips), ["policy-host-slow"]);
    assert_eq!(drips.mx.hosts[0].addresses[0].tls.as_ref().map(|tls| tls.verified), Some(true));
}

#[tokio::test]
async fn dns_that_is_away_is_no_look_at_all() {
    let silent = |t: Table| [RECORD, TLS_RPT, HOST, DOMAIN].into_iter().fold(t, Table::silent);
    let inspection = World::new().dns(silent).inspect().await;
    assert!(!inspection.looked);
    assert_eq!(inspection.verdict.enforce, Safety::Unproven);
    let inspection = World::new().dns(|t| t.silent(RECORD).silent(HOST)).inspect().await;
    assert!(inspection.looked);
    let broken = |t: Table| [RECORD, TLS_RPT, HOST, DOMAIN].into_iter().fold(t, Table::failing);
    let inspection = World::new().dns(broken).inspect().await;
    assert!(inspection.looked, "a resolver that says SERVFAIL is there: the zone is broken");
}

#[tokio::test]
async fn hosts_and_addresses_are_counted_off() {
    let many = |mut table: Table| {
        table = table.without(DOMAIN);
        for number in 0..40 {
            let host = format!("mx{number:02}.customer.test");
            table = table.mx(DOMAIN, number, &host);
            table = (1..=12).fold(table, |table, last| table.address(&host, &format!("127.0.0.{last}")));
        }
        table
    };
    let world = World { pacer: Pacer::new(1000, 10_000), ..World::new().dns(many) };
    let inspection = world.inspect().await;
    assert_eq!((inspection.mx.hosts.len(), inspection.mx.records), (MAX_MX, 40));
    assert!(inspection.mx.hosts.iter().all(|host| host.addresses.len() == MAX_ADDRESSES));
    assert_eq!(inspection.mx.hosts[0].host, "mx00.customer.test", "the most preferred ones");
    let found = codes(&inspection);
    assert!(found.contains(&"mx-too-many"), "{found:?}");
    assert!(!found.contains(&"policy-mx-unused"), "not all hosts were seen: {found:?}");
}

#[tokio::test]
async fn an_address_that_is_not_public_is_told_and_not_connected_to() {
    let world = World { adjust: |config| config.allow_private_addresses = false, ..World::new() };
    // Nobody waits for room at an address that is not connected to: two hosts lead to the same one.
    let world = World { pacer: Pacer::new(1, 1), ..world };
    let world = world.dns(|t| {
        let t = t.address(MX, "169.254.169.254").address(MX, "::ffff:127.0.0.1");
        t.mx(DOMAIN, 20, "mx2.customer.test").address("mx2.customer.test", "127.0.0.1")
    });
    let inspection = world.inspect().await;
    assert_eq!(codes(&inspection), ["mx-forbidden", "policy-host-forbidden"]);
    assert_eq!(inspection.findings.iter().filter(|finding| finding.code == Code::MxForbidden).count(), 4);
    assert!(inspection.mx.hosts[0].addresses.iter().all(|address| address.banner.is_none()));
}

#[tokio::test]
async fn a_busy_host_is_left_alone_and_that_is_told() {
    let many = |t: Table| {
        (0..5).fold(t, |t, n| {
            let host = format!("mx{n}.customer.test");
            t.mx(DOMAIN, 20, &host).address(&host, "127.0.0.1")
        })
    };
    let world = World { pacer: Pacer::new(1, 2), ..World::new().dns(many) };
    let options = InspectOptions { patience: Duration::from_millis(500), ..world.options };
    let inspection = World { options, ..world }.inspect().await;
    let paced: Vec<_> = inspection.findings.iter().filter(|finding| finding.code == Code::Paced).collect();
    assert_eq!(paced.len(), 4, "six hosts, two connections a minute");
    assert_eq!(paced[0].severity, Severity::Warning);
}

#[tokio::test]
async fn nothing_that_strangers_say_steers_a_terminal() {
    let evil = "\u{1b}[2J\u{9b}31m\u{7}\u{202e}";
    let record = format!("v=STSv1; id=1{evil};");
    let world = World::new()
        .record(&record)
        .dns(|t| t.txt(TLS_RPT, &format!("v=TLSRPTv1{evil}")).mx(DOMAIN, 5, &format!("{evil}.test")))
        .policy(&format!("version: STSv1\r\nmode: testing{evil}\r\n{evil}: 1\r\nmx: {evil}\r\nmax_age: 1\r\n"))
        .host_tls(|p| p.hostile(HOST))
        .mx_tls(|p| p.hostile("other.test"))
        .script(|s| {
            s.banner = format!("220 {evil}\r\n").into_bytes();
            s.hello = format!("250-{evil}\r\n250 STARTTLS\r\n").into_bytes();
        });
    let inspection = world.inspect().await;
    let policy = inspection.policy.as_ref().unwrap();
    let steers = |text: &str| text.chars().any(|c| c.is_control() || c == '\u{202e}');
    assert!(!steers(&policy.text.replace('\n', "")));
    // A string in JSON that was written with `\u001b` would be one again for whoever reads it.
    let mut value = serde_json::to_value(&inspection).unwrap();
    value["policy"]["text"].take();
    walk(&value, &steers);
    let text = value.to_string();
    assert!(text.contains("\\\\u{1b}"), "it is shown, escaped");
    assert!(codes(&inspection).contains(&"mx-certificate-name"));
}

#[tokio::test]
async fn a_domain_of_the_longest_name_is_looked_at() {
    let label = "a".repeat(60);
    let name = format!("{label}.{label}.{label}.{}.test", "b".repeat(30));
    let domain = MailDomain::from_stored(&name).unwrap();
    let inspection = World::new().inspect_domain(domain).await;
    assert!(codes(&inspection).contains(&"mx-absent"));
}

fn walk(value: &serde_json::Value, steers: &impl Fn(&str) -> bool) {
    match value {
        serde_json::Value::String(text) => assert!(!steers(text), "{text:?}"),
        serde_json::Value::Array(values) => values.iter().for_each(|value| walk(value, steers)),
        serde_json::Value::Object(members) => members.values().for_each(|value| walk(value, steers)),
        _ => {}
    }
}
