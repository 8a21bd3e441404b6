//! `mtasts admin reports`, as operators type it.

use std::fs;

use crate::service::mtasts;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn quarantined_reports_are_listed_shown_and_read_again() {
    let database = mtasts_testkit::TestDatabase::create().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mtasts.toml");
    let settings = format!("data_dir = \"{}\"\n[database]\nurl = \"{}\"\n", folder.path().display(), database.url());
    fs::write(&path, settings).unwrap();
    let path = path.to_str().unwrap();
    assert!(mtasts(&["migrate", "--config", path]).status.success());
    database
        .psql(
            "SELECT make_report_partitions('2026-01-01', '2026-02-01');
             INSERT INTO tenants SELECT '01900000-0000-7000-8000-000000000001', 'a tenant', NULL, now();
             INSERT INTO report_arrivals (id, tenant_id, domain_id, kind, via, received_at, peer, octets, digest, raw, state,
                reason, problem)
             SELECT ('019b7cad-0000-7000-8000-' || lpad(i::text, 12, '0'))::uuid, '01900000-0000-7000-8000-000000000001',
                gen_random_uuid(), 'tls-rpt', 'https', '2026-01-02', '192.0.2.1', 3, sha256('x'), convert_to('raw' || i, 'UTF8'),
                'quarantined', CASE WHEN i < 3 THEN 'not-json' ELSE 'empty' END, E'a\\u001bb'
             FROM generate_series(1, 3) i",
        )
        .await;
    let run = |words: &[&str]| {
        let output = mtasts(&[&["admin", "reports"], words, &["--config", path]].concat());
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = run(&["quarantined"]);
    assert_eq!((code, out.lines().count()), (Some(0), 4), "{out}{err}");
    assert!(!out.contains('\u{1b}'), "nobody's words steer the terminal");
    let (_, out, _) = run(&["quarantined", "--json", "--reason", "not-json", "--limit", "1"]);
    let first: serde_json::Value = serde_json::from_str(out.trim()).unwrap();
    let id = first["id"].as_str().unwrap().to_owned();
    let (_, out, _) = run(&["quarantined", "--json", "--after", &id]);
    assert_eq!(out.lines().count(), 2);

    let (code, out, _) = run(&["show", &id]);
    assert_eq!(code, Some(0));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["reason"], "not-json");
    let file = folder.path().join("raw");
    assert_eq!(run(&["show", &id, "--raw", file.to_str().unwrap()]).0, Some(0));
    assert_eq!(fs::read(&file).unwrap(), b"raw1");
    assert_eq!(run(&["show", &id, "--raw", file.to_str().unwrap()]).0, Some(1), "no file is written over");

    assert_ne!(run(&["replay"]).0, Some(0), "it must be said which");
    let (code, out, err) = run(&["replay", "--reason", "not-json"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.ends_with("2 are to be read again\n"), "{out}");
    assert!(run(&["replay", "--all"]).1.ends_with("1 are to be read again\n"));
    let states = "SELECT count(*) FILTER (WHERE state = 'waiting'), count(*) FROM report_arrivals";
    assert_eq!(database.psql(states).await.trim(), "3|3");
    let lines = "SELECT string_agg(object || ' ' || actor, ',' ORDER BY object) FROM audit_events WHERE action = 'reports.replay'";
    assert_eq!(database.psql(lines).await.trim(), "all operator,not-json operator");
    let (code, _, err) = run(&["replay", "--arrival", "arr_01900000000070008000000000000009"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("there is no arrival"), "{err}");
}
