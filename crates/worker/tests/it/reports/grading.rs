//! Who sent it: each way in which a signature may prove nothing.

use chrono::TimeDelta;
use mtasts_model::Clock;
use mtasts_testkit::wait_until;

use super::setup::{Sender, Setup, failure, mail, report, report_by};
use crate::world::PATIENCE;

#[tokio::test]
async fn a_mail_is_graded_by_its_signature() {
    let setup = Setup::new().await;
    let domain = setup.domain("shop.example").await;
    let good = Sender::publish(&setup.dns, "sender.example", "");
    let tlsrpt = Sender::publish(&setup.dns, "tlsrpt.example", "s=tlsrpt;");
    let other_service = Sender::publish(&setup.dns, "other.example", "s=other;");
    let testing = Sender::publish(&setup.dns, "testing.example", "t=y;");
    let missing = Sender::publish(&setup.dns, "missing.example", "");
    setup.dns.txt(&missing.key_name(), "v=spf1 -all");
    let revoked = Sender::publish(&setup.dns, "revoked.example", "");
    setup.dns.txt(&revoked.key_name(), "v=DKIM1; k=ed25519; p=");
    let changed = Sender::publish(&setup.dns, "changed.example", "");
    Sender::publish(&setup.dns, "changed.example", "");
    // Nobody's organisation: `co.uk` may sign for itself, and for no name below it.
    let suffix = Sender::publish(&setup.dns, "co.uk", "");
    let _worker = setup.start();
    let mut number = 0;
    let mut mail_of = |domain: &str| {
        number += 1;
        let contact = format!("tls@{domain}");
        mail(&contact, &report_by("Sender Inc.", &contact, "shop.example", &format!("r{number}"), 1, ""))
    };
    let subdomain = mail_of("mail.sender.example");
    let tampered =
        String::from_utf8(good.sign(&mail_of("sender.example"))).unwrap().replace("Subject: R", "Subject: r");
    let twice = good.sign(&mail_of("sender.example"));
    let twice = [b"From: tls@sender.example\r\n", &twice[..]].concat();
    let two = String::from_utf8(good.sign(&mail_of("sender.example"))).unwrap();
    let two = String::from_utf8(changed.sign(&two)).unwrap();
    let length = String::from_utf8(good.sign(&mail_of("sender.example"))).unwrap().replacen("; d=", "; l=10; d=", 1);
    for (raw, wanted) in [
        (mail_of("sender.example").into_bytes(), "unsigned no-signature"),
        (good.sign(&mail_of("sender.example")), "verified dkim-pass sender.example"),
        (good.sign(&subdomain), "verified dkim-pass sender.example"),
        (tlsrpt.sign(&mail_of("tlsrpt.example")), "verified dkim-pass tlsrpt.example"),
        (other_service.sign(&mail_of("other.example")), "failed key-not-for-tlsrpt"),
        (testing.sign(&mail_of("testing.example")), "unsigned key-in-testing"),
        (missing.sign(&mail_of("missing.example")), "failed key-missing"),
        (revoked.sign(&mail_of("revoked.example")), "failed key-revoked"),
        (changed.sign(&mail_of("changed.example")), "failed signature-invalid"),
        (good.sign(&mail_of("else.example")), "failed not-aligned"),
        (suffix.sign(&mail_of("shop.co.uk")), "failed not-aligned"),
        (tampered.into_bytes(), "failed signature-invalid"),
        (twice, "failed from-not-signed"),
        (two.into_bytes(), "verified dkim-pass sender.example"),
        (good.sign_fields(&mail_of("sender.example"), &["To", "Subject"], None), "failed from-not-signed"),
        (length.into_bytes(), "failed body-length-limit"),
    ] {
        let arrival = setup.arrive(&domain, "smtp", &raw).await;
        let state = setup.done(arrival).await;
        assert_eq!(state, "read 1 0", "{wanted}");
        assert_eq!(setup.grade(arrival).await, wanted);
    }
}

#[tokio::test]
async fn a_signature_that_was_over_before_the_mail_arrived_proves_nothing() {
    let setup = Setup::new().await;
    let domain = setup.domain("shop.example").await;
    let sender = Sender::publish(&setup.dns, "sender.example", "");
    let _worker = setup.start();
    // The signer has the machine's clock; the service's stands in the past, and then is far ahead.
    let mail_of = |id: &str| mail("tls@sender.example", &report("shop.example", id, 1, ""));
    let signed = |id: &str| sender.sign_fields(&mail_of(id), &["From"], Some(3_600));
    let in_time = setup.arrive(&domain, "smtp", &signed("r1")).await;
    setup.done(in_time).await;
    assert_eq!(setup.grade(in_time).await, "verified dkim-pass sender.example");
    setup.database.psql("SELECT make_report_partitions('2036-03-01', '2036-04-01')").await;
    setup.clock.set("2036-03-11T06:00:00Z".parse().unwrap());
    let late = setup.arrive(&domain, "smtp", &signed("r2")).await;
    setup.done(late).await;
    assert_eq!(setup.grade(late).await, "failed expired");
}

#[tokio::test]
async fn while_dns_is_silent_a_mail_waits_and_after_a_day_it_is_taken_for_what_it_is() {
    let setup = Setup::new().await;
    let domain = setup.domain("shop.example").await;
    let sender = Sender::publish(&setup.dns, "sender.example", "");
    setup.dns.fail(true);
    let _worker = setup.start();
    let first = mail("tls@sender.example", &report("shop.example", "r1", 1, ""));
    let first = setup.arrive(&domain, "smtp", &sender.sign(&first)).await;
    let due = format!(
        "SELECT due_at > received_at AND attempts = 0 AND lease_token IS NULL FROM report_arrivals WHERE id = '{}'",
        first.as_uuid()
    );
    wait_until(PATIENCE, "it is put off", async || setup.one(&due).await == "t").await;
    // What does not hang on it is read meanwhile, and a stranger's silent servers hold up nobody.
    let stranger = mail("tls@sender.example", &report("shop.example", "r2", 1, &failure("x", "mx", 1)));
    let evil = Sender::publish(&setup.dns, "evil.example", "");
    let stranger = setup.arrive(&domain, "smtp", &evil.sign(&stranger)).await;
    setup.done(stranger).await;
    assert_eq!(setup.grade(stranger).await, "failed not-aligned");
    setup.dns.fail(false);
    setup.clock.advance(TimeDelta::minutes(2));
    assert_eq!(setup.done(first).await, "read 1 0");
    assert_eq!(setup.grade(first).await, "verified dkim-pass sender.example");

    setup.dns.fail(true);
    let last = mail("tls@sender.example", &report("shop.example", "r3", 1, ""));
    let last = setup.arrive(&domain, "smtp", &sender.sign(&last)).await;
    let until = setup.clock.now() + TimeDelta::hours(24);
    while setup.clock.now() < until {
        assert!(setup.state(last).await.starts_with("waiting"));
        setup.clock.advance(TimeDelta::hours(5));
    }
    setup.done(last).await;
    assert_eq!(setup.grade(last).await, "failed key-unreachable");
}

/// Our own signer and verifier could be wrong alike.
#[tokio::test]
async fn mails_that_another_implementation_has_signed_are_verified() {
    let setup = Setup::new().await;
    let domain = setup.domain("shop.example").await;
    setup.dns.txt("rsa._domainkey.sender.example", include_str!("../../../testdata/dkimpy-key.txt"));
    let _worker = setup.start();
    let relaxed = &include_bytes!("../../../testdata/dkimpy-relaxed.eml")[..];
    let simple = &include_bytes!("../../../testdata/dkimpy-simple.eml")[..];
    for (raw, state) in [(relaxed, "read 1 0"), (simple, "read 0 1")] {
        let arrival = setup.arrive(&domain, "smtp", raw).await;
        assert_eq!(setup.done(arrival).await, state);
    }
    assert_eq!(setup.totals(&domain).await, ["verified 1 5 0"]);
    let other = setup.domain("shop.example").await;
    let simple = setup.arrive(&other, "smtp", simple).await;
    setup.done(simple).await;
    assert_eq!(setup.grade(simple).await, "verified dkim-pass sender.example");
    let changed = String::from_utf8(relaxed.to_vec()).unwrap().replacen("\": 5,", "\": 6,", 1);
    let changed = setup.arrive(&setup.domain("shop.example").await, "smtp", changed.as_bytes()).await;
    setup.done(changed).await;
    assert_eq!(setup.grade(changed).await, "failed signature-invalid");
}
