//! Reports, from the arrival to the sums.

mod faults;
mod grading;
mod history;
mod rate;
mod setup;
mod sharing;

use mtasts_testkit::wait_until;

use self::setup::{Sender, Setup, failure, mail, report};
use crate::world::PATIENCE;

#[tokio::test]
async fn a_report_by_https_is_read_and_counted_in_each_dimension() {
    let setup = Setup::new().await;
    let domain = setup.domain("shop.example").await;
    let _worker = setup.start();
    let failures = [
        failure("certificate-expired", "mx1.shop.example", 3),
        failure("starttls-not-supported", "mx2.shop.example", 1),
    ];
    let raw = report("shop.example", "r1", 100, &failures.join(","));
    let arrival = setup.arrive(&domain, "https", raw.as_bytes()).await;
    assert_eq!(setup.done(arrival).await, "read 1 0");
    assert_eq!(setup.grade(arrival).await, "anonymous https");
    let row = |rest: &str| format!("2026-03-10 anonymous tls-rpt {rest}");
    let mut expected = vec![
        row("failure certificate-expired\tmx1.shop.example 1 0 3"),
        row("failure starttls-not-supported\tmx2.shop.example 1 0 1"),
        row("mx mx1.shop.example 1 0 3"),
        row("mx mx2.shop.example 1 0 1"),
        row("organization Sender Inc. 1 100 4"),
        row("policy unknown: sts testing 1 100 4"),
        row("result certificate-expired 1 0 3"),
        row("result starttls-not-supported 1 0 1"),
        row("sending_ip 192.0.2.7 2 0 4"),
        row("total  1 100 4"),
    ];
    assert_eq!(setup.sums(&domain, false).await, expected);
    expected.insert(0, row(&format!("domain {} 1 100 4", domain.id)));
    assert_eq!(setup.sums(&domain, true).await, expected);
    let results =
        "SELECT string_agg(concat_ws(' ', seq, result, sessions, receiving_mx, host(sending_ip), policy_type), ';'
        ORDER BY seq) FROM tls_results";
    let expected = "0 certificate-expired 3 mx1.shop.example 192.0.2.7 sts;1 starttls-not-supported 1 mx2.shop.example 192.0.2.7 sts";
    assert_eq!(setup.one(results).await, expected);
    let reporters = "SELECT concat_ws(' ', kind, organization, verified, first_day, last_day, days) FROM reporters";
    assert_eq!(setup.one(reporters).await, "tls-rpt Sender Inc. f 2026-03-10 2026-03-10 1");
    let kinds =
        "SELECT string_agg(concat_ws(' ', result, receiving_mx, first_day, sessions, verified), ';' ORDER BY result)
        FROM failure_kinds";
    let expected =
        "certificate-expired mx1.shop.example 2026-03-10 3 f;starttls-not-supported mx2.shop.example 2026-03-10 1 f";
    assert_eq!(setup.one(kinds).await, expected);
    let body = "SELECT body #>> '{policies,0,failures,0,result}' FROM reports";
    assert_eq!(setup.one(body).await, "certificate-expired");
}

#[tokio::test]
async fn a_forged_report_stands_in_nobodys_way_and_leaves_nothing_once_the_real_one_comes() {
    let setup = Setup::new().await;
    let domain = setup.domain("shop.example").await;
    let sender = Sender::publish(&setup.dns, "sender.example", "");
    let _worker = setup.start();
    let forged = report("shop.example", "r1", 0, &failure("certificate-expired", "mx.evil.example", 9_999));
    let forged = setup.arrive(&domain, "https", forged.as_bytes()).await;
    assert_eq!(setup.done(forged).await, "read 1 0");
    assert_eq!(setup.totals(&domain).await, ["anonymous 1 0 9999"]);

    let real = mail("tls@sender.example", &report("shop.example", "r1", 100, ""));
    let real = setup.arrive(&domain, "smtp", &sender.sign(&real)).await;
    assert_eq!(setup.done(real).await, "read 1 0");
    assert_eq!(setup.grade(real).await, "verified dkim-pass sender.example");
    assert_eq!(setup.totals(&domain).await, ["verified 1 100 0"]);
    assert!(setup.sums(&domain, true).await.iter().all(|line| line.contains("verified")));
    assert_eq!(setup.one("SELECT count(*) FROM tls_results").await, "0");
    assert_eq!(setup.one("SELECT count(*) FROM reports").await, "1");

    // Behind it neither a forged one nor a copy of the real one counts.
    let forged = report("shop.example", "r1", 0, &failure("certificate-expired", "mx.evil.example", 8_888));
    let again = setup.arrive(&domain, "https", forged.as_bytes()).await;
    assert_eq!(setup.done(again).await, "read 0 1");
    assert_eq!(setup.totals(&domain).await, ["verified 1 100 0"]);
}

#[tokio::test]
async fn what_somebody_else_has_signed_does_not_stand_in_the_way_either() {
    let setup = Setup::new().await;
    let domain = setup.domain("shop.example").await;
    let real = Sender::publish(&setup.dns, "sender.example", "");
    let evil = Sender::publish(&setup.dns, "evil.example", "");
    let _worker = setup.start();
    let forged = mail("tls@evil.example", &report("shop.example", "r1", 0, &failure("validation-failure", "mx", 7)));
    let forged = setup.arrive(&domain, "smtp", &evil.sign(&forged)).await;
    assert_eq!(setup.done(forged).await, "read 1 0");
    assert_eq!(setup.grade(forged).await, "verified dkim-pass evil.example");
    let mail = mail("tls@sender.example", &report("shop.example", "r1", 100, ""));
    let arrival = setup.arrive(&domain, "smtp", &real.sign(&mail)).await;
    assert_eq!(setup.done(arrival).await, "read 1 0");
    assert_eq!(setup.totals(&domain).await, ["verified 2 100 7"]);
    // A replay of either is known.
    let arrival = setup.arrive(&domain, "smtp", &real.sign(&mail)).await;
    assert_eq!(setup.done(arrival).await, "read 0 1");
}

#[tokio::test]
async fn what_cannot_be_read_is_quarantined_with_its_reason() {
    let setup = Setup::new().await;
    let domain = setup.domain("shop.example").await;
    let _worker = setup.start();
    for (raw, reason) in [
        (&b"hello"[..], "quarantined nothing-found 0 0"),
        (b"{\"a\": ", "quarantined not-json 0 0"),
        (b"   ", "quarantined empty 0 0"),
    ] {
        let arrival = setup.arrive(&domain, "https", raw).await;
        assert_eq!(setup.done(arrival).await, reason);
    }
    wait_until(PATIENCE, "nothing waits", async || {
        setup.one("SELECT count(*) FROM report_arrivals WHERE state = 'waiting'").await == "0"
    })
    .await;
}

#[tokio::test]
async fn two_workers_put_in_each_report_once() {
    let setup = Setup::new().await;
    let domain = setup.domain("shop.example").await;
    let mut arrivals = Vec::new();
    for number in 0..30 {
        // Each report twice, and by other octets.
        let raw = format!("{}{}", report("shop.example", &format!("r{}", number / 2), 1, ""), " ".repeat(number));
        arrivals.push(setup.arrive(&domain, "https", raw.as_bytes()).await);
    }
    let workers = [setup.start(), setup.start()];
    let (mut new, mut repeated) = (0, 0);
    for arrival in arrivals {
        match setup.done(arrival).await.as_str() {
            "read 1 0" => new += 1,
            "read 0 1" => repeated += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((new, repeated), (15, 15));
    assert_eq!(setup.totals(&domain).await, ["anonymous 15 15 0"]);
    for worker in workers {
        worker.stop().await;
    }
}
