//! A table of domains, each broken in one way, with everything that is found but what is well.

use std::sync::Arc;

use futures_util::{StreamExt, future, stream};
use mtasts_model::{Clock, SystemClock};
use mtasts_probe::inspect::{Delivery, Safety, Severity, seen::SmtpOutcome};
use rustls::ServerConfig;

use super::world::{DOMAIN, HOST, MX, POLICY, RECORD, TLS_RPT, Tls, World, codes};
use crate::{
    dns::Table,
    pki::{Pki, self_signed},
    policy_host::{Answer, ok},
    support::domain,
};

const GOOD_RECORD: &str = "v=STSv1; id=1;";

fn policy(mode: &str, mx: &[&str], max_age: u32) -> String {
    let mx = mx.iter().fold(String::new(), |mx, pattern| mx + "mx: " + pattern + "\r\n");
    format!("version: STSv1\r\nmode: {mode}\r\n{mx}max_age: {max_age}\r\n")
}

/// Of the record and of reports.
fn records() -> Vec<(&'static str, World, Vec<&'static str>)> {
    let broken = |what, text, code| (what, World::new().record(text), vec![code]);
    vec![
        ("nothing at all is wrong", World::new(), vec![]),
        ("no record", World::new().dns(|t| t.without(RECORD)), vec!["sts-record-missing"]),
        broken("other records only", "v=spf1 -all", "sts-record-missing"),
        broken("upper case", "V=STSv1; id=1;", "sts-record-case"),
        broken("lower case", "v=stsv1; id=1;", "sts-record-case"),
        broken("no semicolon", "v=STSv1 id=1", "sts-record-no-semicolon"),
        broken("quotes", "\"v=STSv1; id=1;\"", "sts-record-quotes"),
        broken("another version", "v=STS1; id=1;", "sts-record-version"),
        broken("space in front", " v=STSv1; id=1;", "sts-record-spaces"),
        broken("space before the semicolon", "v=STSv1 ; id=1;", "sts-record-spaces"),
        (
            "space before the semicolon, and others beside it",
            World::new().record("v=STSv1 ; id=1;").dns(|t| t.txt(RECORD, "hello")),
            vec!["sts-record-spaces"],
        ),
        broken("space around the equals sign", "v = STSv1; id = 1;", "sts-record-spaces"),
        broken("no id", "v=STSv1;", "sts-record-id"),
        broken("an id with hyphens", "v=STSv1; id=2026-01-01;", "sts-record-id"),
        broken("an id of 33 letters", "v=STSv1; id=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;", "sts-record-id"),
        broken("a field without value", "v=STSv1; id=1; x", "sts-record-malformed"),
        ("two records", World::new().dns(|t| t.txt(RECORD, GOOD_RECORD)), vec!["sts-record-several"]),
        ("others beside it", World::new().dns(|t| t.txt(RECORD, "hello")), vec!["sts-record-other-texts"]),
        (
            "the record at the domain itself",
            World::new().dns(|t| t.without(RECORD).txt(DOMAIN, GOOD_RECORD)),
            vec!["sts-record-elsewhere", "sts-record-missing"],
        ),
        (
            "the record at a doubled name",
            World::new().dns(|t| t.without(RECORD).txt("_mta-sts.customer.test.customer.test", GOOD_RECORD)),
            vec!["sts-record-elsewhere", "sts-record-missing"],
        ),
        (
            "a CNAME to the record",
            World::new().dns(|t| t.without(RECORD).cname(RECORD, "r.sts.test").txt("r.sts.test", GOOD_RECORD)),
            vec![],
        ),
        (
            "a CNAME to nothing",
            World::new().dns(|t| t.without(RECORD).cname(RECORD, "gone.sts.test")),
            vec!["alias-dangling", "sts-record-missing"],
        ),
        (
            "CNAMEs in a circle",
            World::new().dns(|t| t.without(RECORD).cname(RECORD, "a.test").cname("a.test", RECORD)),
            vec!["alias-loop"],
        ),
        (
            "CNAMEs without end",
            World::new().dns(|t| {
                (0..20).fold(t.without(RECORD).cname(RECORD, "0.test"), |t, n| {
                    t.cname(&format!("{n}.test"), &format!("{}.test", n + 1))
                })
            }),
            vec!["alias-too-long"],
        ),
        ("DNS is silent about it", World::new().dns(|t| t.silent(RECORD)), vec!["sts-record-unresolvable"]),
        ("no reports wanted", World::new().dns(|t| t.without(TLS_RPT)), vec!["tls-rpt-missing"]),
        (
            "reports wanted twice",
            World::new().dns(|t| t.txt(TLS_RPT, "v=TLSRPTv1; rua=mailto:a@customer.test")),
            vec!["tls-rpt-several"],
        ),
        (
            "reports to an address without a scheme",
            World::new().dns(|t| t.without(TLS_RPT).txt(TLS_RPT, "v=TLSRPTv1; rua=a@customer.test")),
            vec!["tls-rpt-malformed"],
        ),
        (
            "a misspelt version of the record for reports",
            World::new().dns(|t| t.without(TLS_RPT).txt(TLS_RPT, "v=TLSRPT1; rua=mailto:a@customer.test")),
            vec!["tls-rpt-malformed"],
        ),
    ]
}

/// Of the policy host, its certificate, and the text.
fn policy_hosts() -> Vec<(&'static str, World, Vec<&'static str>)> {
    let text = |what, text: &str, codes: &[&'static str]| (what, World::new().policy(text), codes.to_vec());
    let unserved = |what, world: World, code| (what, world, vec![code]);
    let two_addresses = |t: Table| t.address(HOST, "127.0.0.77");
    let raw = |bytes| World { host_raw: Some(bytes), ..World::new() };
    vec![
        unserved("no policy host", World::new().dns(|t| t.without(HOST)), "policy-host-missing"),
        (
            "a policy host that is a dangling CNAME",
            World::new().dns(|t| t.without(HOST).cname(HOST, "gone.test")),
            vec!["alias-dangling", "policy-host-missing"],
        ),
        unserved(
            "a policy host that DNS is silent about",
            World::new().dns(|t| t.silent(HOST)),
            "policy-host-unresolvable",
        ),
        unserved(
            "a closed port",
            World { adjust: |config| config.policy_port = 1, ..World::new() },
            "policy-host-unreachable",
        ),
        unserved("plain HTTP", raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "policy-host-tls"),
        unserved("a stalled answer", World::new().answer(Answer::Stall), "policy-host-slow"),
        unserved("not found", World::new().status("404 Not Found"), "policy-status"),
        unserved("moved", World::new().status("301 Moved\r\nLocation: https://www.customer.test/"), "policy-redirect"),
        unserved("HTML", World::new().answer(ok("text/html", POLICY)), "policy-content-type"),
        unserved("not HTTP", World::new().answer(Answer::Bytes(b"version: STSv1\r\n".to_vec())), "policy-http"),
        unserved("too long", World::new().policy(&"x".repeat(70_000)), "policy-too-large"),
        (
            "one of two addresses is closed",
            World::new().dns(two_addresses),
            vec!["policy-host-partly", "policy-host-unreachable"],
        ),
        unserved("self-signed", World::new().host_tls(|_| self_signed(HOST, true)), "host-certificate-self-signed"),
        unserved(
            "unknown CA",
            World::new().host_tls(|_| Pki::new().by_an_intermediate(HOST, true)),
            "host-certificate-untrusted",
        ),
        unserved(
            "no intermediate",
            World::new().host_tls(|p| p.by_an_intermediate(HOST, false)),
            "host-certificate-incomplete",
        ),
        ("the whole chain", World::new().host_tls(|p| p.by_an_intermediate(HOST, true)), vec![]),
        unserved("expired", World::new().host_tls(|p| p.expired(HOST)), "host-certificate-expired"),
        unserved("not yet valid", World::new().host_tls(|p| p.not_yet_valid(HOST)), "host-certificate-not-yet-valid"),
        unserved("another name", World::new().host_tls(|p| p.valid("www.customer.test")), "host-certificate-name"),
        unserved("a common name", World::new().host_tls(|p| p.common_name_only(HOST)), "host-certificate-no-san"),
        ("a wildcard", World::new().host_tls(|p| p.valid("*.customer.test")), vec![]),
        ("five days left", World::new().host_tls(|p| p.ends_in(HOST, 5)), vec!["host-certificate-ends"]),
        text(
            "no version",
            &POLICY.replace("version: STSv1\r\n", ""),
            &["policy-key-missing", "policy-version-not-first"],
        ),
        text("another version", &POLICY.replace("STSv1", "STSv2"), &["policy-version"]),
        text("an unknown mode", &POLICY.replace("enforce", "Enforce"), &["policy-mode"]),
        text("no mode", &POLICY.replace("mode: enforce\r\n", ""), &["policy-key-missing"]),
        text("max-age", &POLICY.replace("max_age", "max-age"), &["policy-key-misspelt", "policy-key-missing"]),
        text("a max_age with a unit", &POLICY.replace("604800", "7d"), &["policy-max-age"]),
        text("no mx", &policy("enforce", &[], 604_800), &["policy-mx-missing"]),
        text("nmx", &POLICY.replace("mx: mx", "nmx: mx"), &["policy-key-misspelt", "policy-mx-missing"]),
        text("mx;", &POLICY.replace("mx: mx", "mx; mx"), &["policy-line", "policy-mx-missing"]),
        text("an address as mx", &policy("enforce", &[MX, "192.0.2.1"], 604_800), &["policy-mx-invalid"]),
        text("a byte order mark", &format!("\u{feff}{POLICY}"), &["policy-byte-order-mark"]),
        text("LF alone", &POLICY.replace("\r\n", "\n"), &["policy-style"]),
        text("an HTML page called text", "<html>\r\n</html>\r\n", &["policy-key-missing", "policy-line"]),
        text("a key of nobody", &format!("{POLICY}x-y: 1\r\n"), &["policy-key-unknown"]),
        text("mode twice", &format!("{POLICY}mode: none\r\n"), &["policy-key-repeated"]),
        text(
            "version last",
            &format!("mode: enforce\r\nmx: {MX}\r\nmax_age: 604800\r\nversion: STSv1\r\n"),
            &["policy-version-not-first"],
        ),
        text("an hour", &policy("enforce", &[MX], 3600), &["policy-max-age-too-short"]),
        text("a day", &policy("enforce", &[MX], 86_400), &["policy-max-age-short"]),
        text("two years", &policy("enforce", &[MX], 63_115_200), &["policy-max-age-long"]),
        text("a dot at the end", &policy("enforce", &["mx.customer.test."], 604_800), &["policy-trailing-dot"]),
        text(
            "a wide wildcard",
            &policy("enforce", &[MX, "*.com"], 604_800),
            &["policy-mx-unused", "policy-wide-wildcard"],
        ),
        text("a stale pattern", &policy("enforce", &[MX, "old.customer.test"], 604_800), &["policy-mx-unused"]),
        text("testing", &policy("testing", &[MX], 604_800), &["policy-mode-testing"]),
        text("none with mx", &policy("none", &[MX], 604_800), &["policy-mode-none", "policy-mx-in-none"]),
        text(
            "a host that is not named",
            &policy("enforce", &["mail.customer.test"], 604_800),
            &["mx-not-covered", "policy-mx-unused"],
        ),
        text(
            "a wildcard one label too high",
            &policy("enforce", &["*.test"], 604_800),
            &["mx-below-wildcard", "mx-not-covered", "policy-mx-unused", "policy-wide-wildcard"],
        ),
    ]
}

fn mx_hosts() -> Vec<(&'static str, World, Vec<&'static str>)> {
    let tls = |what, tls: fn(&Pki) -> Arc<ServerConfig>, codes: &[&'static str]| {
        (what, World::new().mx_tls(tls), codes.to_vec())
    };
    let says = |what, change: fn(&mut crate::mx::Script), code| (what, World::new().script(change), vec![code]);
    let mx = |target: &'static str| World::new().dns(move |t| t.without(DOMAIN).mx(DOMAIN, 10, target));
    let with_mx = |target: &'static str| World::new().dns(move |t| t.mx(DOMAIN, 20, target));
    vec![
        (
            "a host deeper than its provider's wildcard",
            World::new()
                .dns(|t| {
                    t.without(DOMAIN).mx(DOMAIN, 0, "x.h-v1.mx.microsoft").address("x.h-v1.mx.microsoft", "127.0.0.1")
                })
                .policy(&policy("enforce", &["*.mx.microsoft"], 604_800))
                .mx_tls(|p| p.valid("*.h-v1.mx.microsoft")),
            vec!["mx-below-wildcard", "mx-not-covered", "policy-mx-unused"],
        ),
        ("neither MX nor address", World::new().dns(|t| t.without(DOMAIN)), vec!["mx-absent", "policy-mx-unused"]),
        ("a null MX", mx("."), vec!["mx-null", "policy-mx-unused"]),
        ("a null MX beside another", with_mx("."), vec!["mx-null-beside-others"]),
        (
            "an address alone",
            World::new()
                .dns(|t| t.without(DOMAIN).address(DOMAIN, "127.0.0.1"))
                .policy(&policy("enforce", &[DOMAIN], 604_800))
                .mx_tls(|p| p.valid(DOMAIN)),
            vec!["mx-implicit"],
        ),
        ("DNS is silent about MX", World::new().dns(|t| t.silent(DOMAIN)), vec!["mx-unresolvable"]),
        ("an address as MX", with_mx("192.0.2.1"), vec!["mx-address-literal"]),
        ("an underscore in MX", with_mx("mx_2.customer.test"), vec!["mx-not-a-host"]),
        ("the same MX twice", with_mx(MX), vec!["mx-repeated"]),
        (
            "an MX that is an alias",
            World::new().dns(|t| t.without(MX).cname(MX, "h.test").address("h.test", "127.0.0.1")),
            vec!["mx-alias"],
        ),
        ("an MX without address", World::new().dns(|t| t.without(MX)), vec!["mx-no-address"]),
        ("an MX that DNS is silent about", World::new().dns(|t| t.silent(MX)), vec!["mx-host-unresolvable"]),
        ("one address closed", World::new().dns(|t| t.address(MX, "127.0.0.77")), vec!["mx-unreachable"]),
        says("a refusal", |s| s.banner = b"554 go away\r\n".to_vec(), "mx-unwilling"),
        says("greylisting", |s| s.banner = b"450 4.7.1 come back later\r\n".to_vec(), "mx-busy"),
        says("silence", |s| s.delay = std::time::Duration::from_mins(1), "mx-timeout"),
        says("HTTP", |s| s.banner = b"HTTP/1.1 400 Bad Request\r\n".to_vec(), "mx-not-smtp"),
        says("no STARTTLS", |s| s.hello = b"250-mx\r\n250 SIZE 1\r\n".to_vec(), "mx-no-starttls"),
        says("STARTTLS refused", |s| s.start_tls = b"454 not now\r\n".to_vec(), "mx-starttls-refused"),
        says("an injection", |s| s.start_tls = b"220 go\r\n250 x\r\n".to_vec(), "mx-data-before-tls"),
        says("no TLS behind STARTTLS", |s| s.no_tls = Some(b"500 what?\r\n".to_vec()), "mx-tls"),
        tls("self-signed", |_| self_signed(MX, false), &["mx-certificate-self-signed"]),
        tls("self-signed as a CA", |_| self_signed(MX, true), &["mx-certificate-self-signed"]),
        tls("unknown CA", |_| Pki::new().by_an_intermediate(MX, true), &["mx-certificate-untrusted"]),
        tls("no intermediate", |p| p.by_an_intermediate(MX, false), &["mx-certificate-incomplete"]),
        tls("expired", |p| p.expired(MX), &["mx-certificate-expired"]),
        tls("not yet valid", |p| p.not_yet_valid(MX), &["mx-certificate-not-yet-valid"]),
        tls("another name", |p| p.valid("mail.customer.test"), &["mx-certificate-name"]),
        tls(
            "expired and another name",
            |p| p.expired("mail.customer.test"),
            &["mx-certificate-expired", "mx-certificate-name"],
        ),
        tls("a common name", |p| p.common_name_only(MX), &["mx-certificate-no-san"]),
        tls("ten days left", |p| p.ends_in(MX, 10), &["mx-certificate-ends"]),
        tls("TLS 1.2", |p| p.tls_1_2_only(MX), &[]),
        (
            "TLSA that DNSSEC validates",
            World::new().dns(|t| t.tlsa("_25._tcp.mx.customer.test", true)),
            vec!["dane-found"],
        ),
        (
            "TLSA that nobody validates",
            World::new().dns(|t| t.tlsa("_25._tcp.mx.customer.test", false)),
            vec!["dane-not-validated"],
        ),
    ]
}

#[tokio::test]
async fn each_way_of_being_broken_is_found_and_nothing_else_is() {
    let cases: Vec<_> = records().into_iter().chain(policy_hosts()).chain(mx_hosts()).collect();
    assert!(cases.len() >= 100, "{}", cases.len());
    let looks = cases.into_iter().map(|(what, world, mut expected)| async move {
        expected.sort_unstable();
        let inspection = world.inspect().await;
        let found = codes(&inspection);
        let told: Vec<_> =
            inspection.findings.iter().map(|f| format!("{} {}: {}", f.code, f.subject, f.sentence)).collect();
        (found != expected).then(|| format!("{what}: {found:?}, not {expected:?}\n{}", told.join("\n")))
    });
    let wrong: Vec<_> = stream::iter(looks).buffered(12).filter_map(future::ready).collect().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[tokio::test]
async fn a_sound_domain_is_told_in_full() {
    let inspection = World::new().inspect().await;
    assert_eq!(codes(&inspection), Vec::<&str>::new());
    assert_eq!(inspection.verdict.enforce, Safety::Safe);
    assert!(inspection.verdict.published && inspection.looked);
    assert_eq!(inspection.verdict.hosts[0].today, Delivery::Delivers);
    assert_eq!(inspection.record.id.as_deref(), Some("20260101000000"));
    assert_eq!(inspection.tls_rpt.rua, ["mailto:reports@customer.test"]);
    let fetched = &inspection.policy_host.addresses[0];
    assert_eq!((fetched.status, fetched.octets), (Some(200), Some(POLICY.len())));
    assert_eq!(fetched.content_type.as_deref(), Some("text/plain"));
    let host = &inspection.mx.hosts[0];
    assert_eq!((host.host.as_str(), host.preference, host.covered), (MX, 10, Some(true)));
    let smtp = &host.addresses[0];
    assert_eq!(smtp.banner.as_deref(), Some("220 mx.customer.test"));
    assert_eq!((smtp.hello.as_deref(), smtp.starttls), (Some("mx.customer.test"), Some(true)));
    let tls = smtp.tls.as_ref().unwrap();
    assert_eq!((tls.version.as_str(), tls.verified, tls.matched.as_deref()), ("TLSv1.3", true, Some(MX)));
    assert_eq!(tls.chain[0].names, [MX]);
    assert!(tls.cipher.contains("AES") || tls.cipher.contains("CHACHA"), "{}", tls.cipher);
}

#[tokio::test]
async fn a_failing_mx_costs_mail_with_enforce_and_not_while_testing() {
    let enforced = World::new().mx_tls(|p| p.expired(MX)).inspect().await.verdict;
    assert_eq!((enforced.hosts[0].today, enforced.enforce), (Delivery::Refuses, Safety::Unsafe));
    let tested =
        World::new().mx_tls(|p| p.expired(MX)).policy(&policy("testing", &[MX], 604_800)).inspect().await.verdict;
    assert_eq!((tested.hosts[0].today, tested.hosts[0].under_enforce), (Delivery::Delivers, Delivery::Refuses));
    assert_eq!(tested.enforce, Safety::Unsafe);
    let greylisted = World::new().script(|s| s.banner = b"451 later\r\n".to_vec()).inspect().await.verdict;
    assert_eq!((greylisted.hosts[0].today, greylisted.enforce), (Delivery::Unknown, Safety::Unproven));
    let null = World::new().dns(|t| t.without(DOMAIN).mx(DOMAIN, 0, ".")).inspect().await.verdict;
    assert_eq!(null.enforce, Safety::NoMail);
}

#[tokio::test]
async fn a_policy_that_senders_refuse_is_read_on_and_not_called_published() {
    let two_years = policy("enforce", &[MX], 63_115_200);
    for text in [format!("\u{feff}{POLICY}"), two_years] {
        let verdict = World::new().policy(&text).inspect().await.verdict;
        assert_eq!((verdict.published, verdict.mode), (false, Some(mtasts_model::Mode::Enforce)), "{text:?}");
    }
}

#[tokio::test]
async fn space_before_the_semicolon_hides_a_record_only_among_others() {
    let alone = World::new().record("v=STSv1 ; id=1;").inspect().await;
    assert_eq!((alone.verdict.published, alone.verdict.severity), (true, Severity::Warning));
    let among_others = World::new().record("v=STSv1 ; id=1;").dns(|t| t.txt(RECORD, "hello")).inspect().await;
    assert_eq!((among_others.verdict.published, among_others.verdict.severity), (false, Severity::Error));
}

/// All ways in which a certificate for this name does not do.
fn bad_certificates(name: &'static str) -> Vec<Tls> {
    vec![
        Box::new(|p| p.valid("www.customer.test")),
        Box::new(move |p| p.common_name_only(name)),
        Box::new(move |p| p.expired(name)),
        Box::new(move |p| p.not_yet_valid(name)),
        Box::new(move |p| p.by_an_intermediate(name, false)),
        Box::new(move |_| Pki::new().valid(name)),
        Box::new(move |_| self_signed(name, false)),
    ]
}

#[tokio::test]
async fn a_policy_host_that_has_not_proved_its_name_is_asked_nothing() {
    let good = World::new().serve().await;
    good.inspector.inspect(&domain(), good.options, SystemClock.now()).await;
    assert_eq!(good.requests.lock().unwrap().len(), 1);
    for tls in bad_certificates(HOST) {
        let served = World::new().host_tls(tls).serve().await;
        let seen = served.inspector.inspect(&domain(), served.options, SystemClock.now()).await;
        let address = &seen.policy_host.addresses[0];
        let tls = address.tls.as_ref().unwrap();
        assert!(!tls.verified && !tls.faults.is_empty() && !tls.chain.is_empty(), "{tls:?}");
        assert_eq!((address.status, seen.policy.is_some(), seen.verdict.published), (None, false, false), "{tls:?}");
        // The handshake is carried through, to see the certificate; not an octet follows.
        assert!(served.requests.lock().unwrap().iter().all(String::is_empty), "{tls:?}");
    }
}

#[tokio::test]
async fn to_an_mx_host_that_has_not_proved_its_name_nothing_is_delivered() {
    for tls in bad_certificates(MX) {
        let seen = World::new().mx_tls(tls).inspect().await;
        let address = &seen.mx.hosts[0].addresses[0];
        assert_eq!((address.outcome, address.starttls), (SmtpOutcome::Refused, Some(true)));
        assert!(!address.tls.as_ref().unwrap().verified);
        assert_eq!((seen.verdict.hosts[0].today, seen.verdict.enforce), (Delivery::Refuses, Safety::Unsafe));
        assert!(!seen.findings.iter().any(|finding| finding.code.as_str() == "mx-good"));
    }
}

#[tokio::test]
async fn a_record_above_a_subdomain_is_told_and_not_used() {
    let table = |t: Table| t.without(RECORD).txt("_mta-sts.example.org", GOOD_RECORD).mx("sub.example.org", 0, ".");
    let sub = mtasts_model::MailDomain::from_stored("sub.a.de").unwrap();
    let inspection = World::new().dns(|t| t.txt("_mta-sts.a.de", GOOD_RECORD)).inspect_domain(sub).await;
    assert!(codes(&inspection).contains(&"parent-policy"), "{:?}", codes(&inspection));
    let reserved = mtasts_model::MailDomain::from_stored("sub.example.org").unwrap();
    let inspection = World::new().dns(table).inspect_domain(reserved).await;
    assert!(!inspection.verdict.published);
}
