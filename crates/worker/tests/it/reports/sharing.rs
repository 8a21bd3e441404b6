//! Reports on several domains, and of several tenants.

use super::setup::{Sender, Setup, document, failure, mail, policy};

#[tokio::test]
async fn a_verified_report_on_several_tenants_domains_is_split_and_shown_whole_to_nobody() {
    let setup = Setup::new().await;
    let (shop, other) = (setup.domain("shop.example").await, setup.domain("other.example").await);
    let idle = setup.domain("idle.example").await;
    setup.hold(&shop).await;
    setup.hold(&other).await;
    let sender = Sender::publish(&setup.dns, "sender.example", "");
    let _worker = setup.start();
    let policies = [
        policy("shop.example", 10, 0, ""),
        policy("other.example", 20, 2, &failure("validation-failure", "mx.other.example", 2)),
        policy("idle.example", 30, 0, ""),
        policy("stranger.example", 40, 0, ""),
    ];
    let raw = document("Sender Inc.", "tls@sender.example", "r1", &policies.join(","));

    // Of who proves nothing only what the label stands for is heard.
    let unsigned = setup.arrive(&shop, "smtp", mail("tls@sender.example", &raw).as_bytes()).await;
    assert_eq!(setup.done(unsigned).await, "read 1 0");
    assert_eq!(setup.totals(&shop).await, ["unsigned 1 10 0"]);
    assert!(setup.totals(&other).await.is_empty());
    assert_eq!(setup.one("SELECT body #>> '{unattributed,number}' FROM reports").await, "3");

    let signed = setup.arrive(&shop, "smtp", &sender.sign(&mail("tls@sender.example", &raw))).await;
    assert_eq!(setup.done(signed).await, "read 2 0");
    assert_eq!(setup.totals(&shop).await, ["verified 1 10 0"]);
    assert_eq!(setup.totals(&other).await, ["verified 1 20 2"]);
    assert!(setup.totals(&idle).await.is_empty(), "DNS does not point to this registration");
    let shared = "SELECT string_agg(concat_ws(' ', shared, jsonb_array_length(body->'policies'),
        body #>> '{policies,0,policy,domain}'), ';' ORDER BY body #>> '{policies,0,policy,domain}') FROM reports";
    assert_eq!(setup.one(shared).await, "t 1 other.example;t 1 shop.example");
    let foreign = "SELECT count(*) FROM reports WHERE domain_id <> (SELECT domain_id FROM report_arrivals LIMIT 1)
        AND body::text LIKE '%shop.example%'";
    assert_eq!(setup.one(foreign).await, "0", "nothing of one tenant is in what another sees");

    // The same report to the other label brings nothing new.
    let raw = mail("tls@sender.example", &raw);
    let to_other = setup.arrive(&other, "smtp", &sender.sign(&raw)).await;
    assert_eq!(setup.done(to_other).await, "read 0 2");
}

#[tokio::test]
async fn what_speaks_of_a_report_host_is_kept_and_not_counted() {
    let setup = Setup::new().await;
    let domain = setup.domain("shop.example").await;
    let _worker = setup.start();
    let about = policy("shop.example", 0, 5, &failure("starttls-not-supported", "reports.sts.test", 5));
    let raw = document("Sender Inc.", "tls@sender.example", "r1", &about);
    let arrival = setup.arrive(&domain, "https", raw.as_bytes()).await;
    assert_eq!(setup.done(arrival).await, "read 1 0");
    assert!(setup.sums(&domain, true).await.is_empty());
    let row = "SELECT concat_ws(' ', r.counts, r.bad, t.counts, t.sessions) FROM reports r JOIN tls_results t ON t.report_id = r.id";
    assert_eq!(setup.one(row).await, "f 5 f 5");
}

#[tokio::test]
async fn failures_that_no_detail_speaks_of_are_a_row_of_their_own() {
    let setup = Setup::new().await;
    let domain = setup.domain("shop.example").await;
    let _worker = setup.start();
    let policy = policy("shop.example", 0, 9, &failure("validation-failure", "mx.shop.example", 2));
    let raw = document("Sender Inc.", "tls@sender.example", "r1", &policy);
    let arrival = setup.arrive(&domain, "https", raw.as_bytes()).await;
    setup.done(arrival).await;
    let rows = "SELECT string_agg(concat_ws(' ', result, sessions), ';' ORDER BY seq) FROM tls_results";
    assert_eq!(setup.one(rows).await, "validation-failure 2;not-detailed 7");
    assert_eq!(setup.totals(&domain).await, ["anonymous 1 0 9"]);
}
