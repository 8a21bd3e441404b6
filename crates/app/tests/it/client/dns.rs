//! The CNAMEs in the customer's own zone.

use mtasts_testkit::FakeCloudflare;

use super::Desk;
use crate::service::Service;

const ZONE: &str = "customer.test";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cnames_are_planned_and_created_in_the_customers_zone() {
    let cloudflare = FakeCloudflare::start().await;
    cloudflare.add_zone(ZONE);
    let token = cloudflare.add_token(&[ZONE]);
    let mut service = Service::new().await;
    service.configure(&format!("[customer_dns]\ncloudflare_api_url = \"{}\"", cloudflare.url()));
    service.migrate();
    let _api = service.start("api").await;
    service.sign_up().await;
    let desk = Desk::at(&service);
    let added = desk.json(&[
        "domains",
        "add",
        ZONE,
        "--mode",
        "testing",
        "--mx",
        "*.customer.test",
        "--rua",
        "mailto:r@customer.test",
    ]);
    assert_eq!(added["tls_rpt"]["rua"][0], "mailto:r@customer.test");

    assert!(desk.fails(3, &["dns", "plan", ZONE]).contains("dns credentials add"));
    let arguments = ["dns", "credentials", "add", "ours", "--provider", "cloudflare", "--zone", ZONE];
    let refused = desk.type_in(&arguments, "token-that-nobody-gave\n");
    assert_eq!(refused.code, 1, "{}", refused.err);
    let kept = desk.type_in(&arguments, &token);
    assert!(kept.code == 0 && !kept.out.contains(&token), "{}{}", kept.out, kept.err);
    assert!(desk.told(&["dns", "credentials", "list"]).contains("cloudflare"));
    desk.fails(2, &["dns", "credentials", "add", "theirs", "--provider", "rfc2136"]);

    let plan = desk.told(&["dns", "plan", ZONE, "--credential", "ours"]);
    assert!(plan.contains("create") && plan.contains("3 CNAMEs are created"), "{plan}");
    assert!(cloudflare.records(ZONE).is_empty(), "a plan writes nothing");
    assert!(desk.fails(2, &["dns", "apply", ZONE]).contains("--yes"));
    assert!(cloudflare.records(ZONE).is_empty(), "nobody was asked");
    let applied = desk.told(&["dns", "apply", ZONE, "--yes"]);
    assert!(applied.contains("created"), "{applied}");
    assert_eq!(cloudflare.records(ZONE).len(), 3);
    assert_eq!(desk.json(&["dns", "plan", ZONE])["to_create"], 0);
    assert_eq!(desk.json(&["dns", "apply", ZONE])["complete"], true, "there is nothing to ask about");

    // Something else stands there: shown, and never touched.
    cloudflare.keep_records(ZONE, |record| record.name != "mta-sts.customer.test");
    cloudflare.put_record(ZONE, "A", "mta-sts.customer.test", "192.0.2.7", None);
    let said = desk.run(&["dns", "plan", ZONE]);
    assert!(said.code == 1 && said.out.contains("refuse"), "{}{}", said.out, said.err);
    desk.fails(1, &["dns", "apply", ZONE, "--yes"]);
    assert_eq!(cloudflare.records(ZONE).len(), 3);
    desk.told(&["dns", "credentials", "rm", "ours"]);
    desk.fails(3, &["dns", "credentials", "rm", "ours"]);
}
