//! The policy as the sender saw it, failures at the policy host, and DMARC.

use std::fs;

use mtasts_testkit::{country_database, network_database};
use mtasts_worker::{OriginFiles, Origins};

use super::setup::{Domain, Setup, config, failure, report};

/// A version that was in the feed from this time on.
async fn version(setup: &Setup, domain: &Domain, seq: u32, mode: &str, fed_at: &str, unfed_at: &str) -> String {
    let sql = format!(
        "INSERT INTO policy_versions (id, tenant_id, domain_id, seq, policy_id, policy_text, mode, max_age, reason, created_by,
            created_at, fed_at, unfed_at)
         VALUES (gen_random_uuid(), '{}', '{}', {seq}, 'p{seq}', E'version: STSv1\\r\\nmode: {mode}\\r\\nmx: mx.{}\\r\\nmax_age: 86400\\r\\n',
            '{mode}', 86400, 'changed', 'x', now(), {fed_at}, {unfed_at}) RETURNING id",
        domain.tenant.as_uuid(),
        domain.id.as_uuid(),
        domain.name
    );
    let id = setup.one(&sql).await;
    let id: uuid::Uuid = id.lines().next().unwrap().parse().unwrap();
    mtasts_model::PolicyVersionId::from_uuid(id).to_string()
}

#[tokio::test]
async fn the_version_that_the_sender_saw_is_found_and_a_failure_there_is_set_against_what_was_served() {
    let setup = Setup::new().await;
    let domain = setup.domain("shop.example").await;
    version(&setup, &domain, 1, "testing", "'2026-01-01'", "'2026-02-01'").await;
    version(&setup, &domain, 2, "enforce", "'2026-02-01'", "'2026-03-01'").await;
    let then = version(&setup, &domain, 3, "testing", "'2026-03-01'", "'2026-03-11'").await;
    version(&setup, &domain, 4, "enforce", "'2026-03-11'", "NULL").await;
    version(&setup, &domain, 5, "testing", "NULL", "NULL").await;
    let seen = r#"UPDATE domains SET delegation = '{"at": "2026-03-11T00:00:00Z", "lost_since": null}'"#;
    setup.database.psql(seen).await;
    let _worker = setup.start();
    let failures =
        [failure("sts-policy-fetch-error", "mx.shop.example", 2), failure("validation-failure", "mx.shop.example", 1)];
    let verdict = async |id: &str| {
        let raw = report("shop.example", id, 1, &failures.join(","));
        let arrival = setup.arrive(&domain, "https", raw.as_bytes()).await;
        assert_eq!(setup.done(arrival).await, "read 1 0");
        let sql = format!(
            "SELECT string_agg(concat_ws(' ', t.seq, edge_verdict, edge_reason), ';' ORDER BY t.seq) FROM tls_results t
             JOIN reports r ON r.id = t.report_id WHERE r.arrival_id = '{}'",
            arrival.as_uuid()
        );
        setup.one(&sql).await
    };
    assert_eq!(verdict("r1").await, "0 ours certificate-expired-then;1");
    let policies = "SELECT value FROM report_days WHERE dimension = 'policy' AND domain_id <> '00000000-0000-0000-0000-000000000000'";
    assert_eq!(setup.one(policies).await, then);
    let together =
        "SELECT string_agg(concat_ws(' ', dimension, replace(value, E'\\t', '|'), bad), ';' ORDER BY dimension, value)
        FROM report_days WHERE dimension IN ('edge', 'failure') AND domain_id = '00000000-0000-0000-0000-000000000000'";
    let expected = "edge sts-policy-fetch-error|ours|certificate-expired-then 2;\
        failure sts-policy-fetch-error|mx.shop.example 2;failure validation-failure|mx.shop.example 1";
    assert_eq!(setup.one(together).await, expected);
    setup.database.psql("SET session_replication_role = replica;
        INSERT INTO certificates (id, tenant_id, domain_id, order_id, chain, sealed_key, not_before, not_after, serial, issuer,
            renew_at, created_at)
        SELECT gen_random_uuid(), tenant_id, id, gen_random_uuid(), '', '', '2026-01-01', '2026-05-01', '1', 'ca', '2026-04-01',
            '2026-01-01' FROM domains").await;
    assert_eq!(verdict("r2").await, "0 not-ours served-all-the-time;1");
    let lost =
        r#"UPDATE domains SET delegation = '{"at": "2026-03-11T00:00:00Z", "lost_since": "2026-03-09T00:00:00Z"}'"#;
    setup.database.psql(lost).await;
    assert_eq!(verdict("r3").await, "0 not-ours not-delegated-then;1");
}

#[tokio::test]
async fn a_dmarc_report_is_counted_by_source_and_alignment() {
    let setup = Setup::new().await;
    let domain = setup.domain("shop.example").await;
    let _worker = setup.start();
    let record = |ip: &str, count: u32, dkim: &str, spf: &str| {
        format!(
            "<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated><disposition>none</disposition>
            <dkim>{dkim}</dkim><spf>{spf}</spf></policy_evaluated></row>
            <identifiers><header_from>shop.example</header_from></identifiers>
            <auth_results><spf><domain>shop.example</domain><result>pass</result></spf></auth_results></record>"
        )
    };
    let xml = format!(
        "<?xml version=\"1.0\"?><feedback><report_metadata><org_name>Sender</org_name><email>d@sender.example</email>
        <report_id>1</report_id><date_range><begin>1773100800</begin><end>1773187199</end></date_range></report_metadata>
        <policy_published><domain>shop.example</domain><p>none</p></policy_published>{}{}</feedback>",
        record("192.0.2.1", 5, "pass", "fail"),
        record("192.0.2.2", 3, "fail", "fail"),
    );
    let arrival = setup.arrive_as(&domain, "https", "dmarc", xml.as_bytes()).await;
    assert_eq!(setup.done(arrival).await, "read 1 0");
    let row = |rest: &str| format!("2026-03-10 anonymous dmarc {rest}");
    let expected = [
        "alignment dkim=fail spf=fail 1 0 3",
        "alignment dkim=pass spf=fail 1 5 0",
        "disposition none 2 5 3",
        "header_from shop.example 2 5 3",
        "organization Sender 1 5 3",
        "source_ip 192.0.2.1 1 5 0",
        "source_ip 192.0.2.2 1 0 3",
        "total  1 5 3",
    ];
    assert_eq!(setup.sums(&domain, false).await, expected.map(row));
    let rows = "SELECT string_agg(concat_ws(' ', messages, passed, details #>> '{spf,0,domain}'), ';' ORDER BY seq) FROM dmarc_results";
    assert_eq!(setup.one(rows).await, "5 t shop.example;3 f shop.example");

    // A broken-off copy gives way to the whole one, whichever comes first.
    let other = setup.domain("shop.example").await;
    let broken =
        setup.arrive_as(&other, "https", "dmarc", &xml.as_bytes()[..xml.rfind("<record>").unwrap() + 20]).await;
    assert_eq!(setup.done(broken).await, "read 1 0");
    assert_eq!(setup.totals(&other).await, ["anonymous 1 5 0"]);
    let whole = setup.arrive_as(&other, "https", "dmarc", xml.as_bytes()).await;
    assert_eq!(setup.done(whole).await, "read 1 0");
    assert_eq!(setup.totals(&other).await, ["anonymous 1 5 3"]);
    assert_eq!(setup.one("SELECT count(*) FROM dmarc_results").await, "4");
}

#[tokio::test]
async fn who_watches_over_reports_is_told_of_each_domain_whose_sums_change_and_of_what_cannot_be_read() {
    let setup = Setup::new().await;
    let domain = setup.domain("shop.example").await;
    let _worker = setup.start();
    let queue = "SELECT string_agg(concat_ws(' ', quarantined, quarantined_reason), ';') FROM report_alert_queue";
    let failed = report("shop.example", "r1", 7, &failure("validation-failure", "mx.shop.example", 3));
    let first = setup.arrive(&domain, "https", failed.as_bytes()).await;
    assert_eq!(setup.done(first).await, "read 1 0");
    assert_eq!(setup.one(queue).await, "0");
    let unread = setup.arrive(&domain, "https", b"no report").await;
    assert!(setup.done(unread).await.starts_with("quarantined"));
    assert!(setup.one(queue).await.starts_with("1 "), "{}", setup.one(queue).await);
}

#[tokio::test]
async fn figures_are_told_apart_by_country_and_network_where_the_operator_has_databases_of_addresses() {
    let setup = Setup::new().await;
    let domain = setup.domain("shop.example").await;
    let folder = tempfile::tempdir().unwrap();
    let files = OriginFiles { asn: Some(folder.path().join("asn")), country: Some(folder.path().join("country")) };
    fs::write(files.asn.as_ref().unwrap(), network_database([192, 0, 2], 64_496, "Example Net")).unwrap();
    fs::write(files.country.as_ref().unwrap(), country_database([192, 0, 2], "NL")).unwrap();
    let _worker = setup.start_knowing(config(), Origins::new(files));
    let raw = report("shop.example", "r1", 7, &failure("validation-failure", "mx.shop.example", 3));
    let tls = setup.arrive(&domain, "https", raw.as_bytes()).await;
    assert_eq!(setup.done(tls).await, "read 1 0");
    let record = |ip: &str, spf: &str| {
        format!(
            "<record><row><source_ip>{ip}</source_ip><count>2</count><policy_evaluated><disposition>none</disposition>
            <dkim>fail</dkim><spf>{spf}</spf></policy_evaluated></row>
            <identifiers><header_from>shop.example</header_from></identifiers></record>"
        )
    };
    let xml = format!(
        "<feedback><report_metadata><org_name>Sender</org_name><report_id>1</report_id><date_range><begin>1773100800</begin>
        <end>1773187199</end></date_range></report_metadata>
        <policy_published><domain>shop.example</domain><p>none</p></policy_published>{}{}</feedback>",
        record("192.0.2.1", "pass"),
        record("198.51.100.1", "fail"),
    );
    let dmarc = setup.arrive_as(&domain, "https", "dmarc", xml.as_bytes()).await;
    assert_eq!(setup.done(dmarc).await, "read 1 0");

    let sums = setup.sums(&domain, false).await;
    let placed: Vec<&str> =
        sums.iter().map(String::as_str).filter(|sum| sum.contains(" country ") || sum.contains(" network ")).collect();
    let expected = [
        "2026-03-10 anonymous dmarc country NL 1 2 0",
        "2026-03-10 anonymous dmarc network AS64496 Example Net 1 2 0",
        "2026-03-10 anonymous tls-rpt country NL 1 0 3",
        "2026-03-10 anonymous tls-rpt network AS64496 Example Net 1 0 3",
    ];
    assert_eq!(placed, expected);
    let rows = |table: &str| {
        format!("SELECT string_agg(concat_ws(' ', country, asn, as_name), ';' ORDER BY seq) FROM {table}")
    };
    assert_eq!(setup.one(&rows("tls_results")).await, "NL 64496 Example Net");
    assert_eq!(setup.one(&rows("dmarc_results")).await, "NL 64496 Example Net;");
}
