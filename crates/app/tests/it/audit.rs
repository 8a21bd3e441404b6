//! `mtasts admin audit verify`, as operators type it.

use std::fs;

use crate::service::mtasts;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_broken_audit_log_is_named_with_its_first_broken_line_and_fails_the_command() {
    let database = mtasts_testkit::TestDatabase::create().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mtasts.toml");
    let settings = format!("data_dir = \"{}\"\n[database]\nurl = \"{}\"\n", folder.path().display(), database.url());
    fs::write(&path, settings).unwrap();
    let path = path.to_str().unwrap();
    assert!(mtasts(&["migrate", "--config", path]).status.success());
    let verify = |more: &[&str]| {
        let output = mtasts(&[&["admin", "audit", "verify", "--config", path], more].concat());
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    assert_eq!(verify(&[]), (Some(0), String::new(), String::new()), "a service without tenants");

    let [one, other] = ["01900000000070008000000000000001", "01900000000070008000000000000002"];
    for tenant in [one, other] {
        database
            .psql(&format!(
                "INSERT INTO tenants SELECT '{tenant}', 'a tenant', NULL, now();
                 INSERT INTO audit_events (id, tenant_id, at, actor, action, object)
                    SELECT gen_random_uuid(), '{tenant}', now(), 'operator', 'a.' || i, 'o' FROM generate_series(1, 5) i"
            ))
            .await;
    }
    let (code, out, err) = verify(&[]);
    assert_eq!(code, Some(0), "{err}");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 2, "{out}");
    for (line, tenant) in lines.iter().zip([one, other]) {
        assert!(line.starts_with(&format!("ok      ten_{tenant}  5 lines, the last with the hash ")), "{line}");
    }

    let alter = "SET session_replication_role = replica; UPDATE audit_events SET actor = 'worker' WHERE action = 'a.3'";
    database.psql(&format!("{alter} AND tenant_id = '{other}'")).await;
    let (code, out, err) = verify(&[]);
    assert_eq!(code, Some(1));
    assert!(out.contains(&format!("ok      ten_{one}")), "{out}");
    assert!(out.contains(&format!("BROKEN  ten_{other}  line 3 was altered; sound before that: 2 lines")), "{out}");
    assert!(err.contains("1 of the audit logs are broken"), "{err}");
    assert_eq!(verify(&["--tenant", &format!("ten_{one}")]).0, Some(0));
    assert_eq!(verify(&["--tenant", &format!("ten_{other}")]).0, Some(1));
    let (code, _, err) = verify(&["--tenant", "ten_01900000000070008000000000000003"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("there is no tenant ten_01900000000070008000000000000003"), "{err}");
}
