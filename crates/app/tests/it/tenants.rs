//! `mtasts admin tenants`, `audit list` and `usage`, as operators type them.

use std::{fs, os::unix::fs::PermissionsExt};

use mtasts_testkit::TestDatabase;
use serde_json::Value;

use crate::service::mtasts;

const ONE: &str = "01900000000070008000000000000001";
const OTHER: &str = "01900000000070008000000000000002";

struct Setup {
    database: TestDatabase,
    folder: tempfile::TempDir,
}

impl Setup {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        let folder = tempfile::tempdir().unwrap();
        let text = format!("data_dir = \"{}\"\n[database]\nurl = \"{}\"\n", folder.path().display(), database.url());
        fs::write(folder.path().join("mtasts.toml"), text).unwrap();
        let setup = Self { database, folder };
        assert_eq!(setup.run(&["migrate"]).0, Some(0));
        for tenant in [ONE, OTHER] {
            let make = format!(
                "INSERT INTO tenants (id, name, parent_id, created_at) VALUES ('{tenant}', 'Example, Inc.', NULL, now());
                 INSERT INTO usage_days (tenant_id, day, policy_fetches, reports)
                    SELECT '{tenant}', d::date, 7, 1 FROM generate_series('2026-01-01'::date, '2026-01-03', '1 day') d"
            );
            setup.database.psql(&make).await;
        }
        setup
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let config = self.folder.path().join("mtasts.toml");
        let output = mtasts(&[arguments, &["--config", config.to_str().unwrap()]].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }
}

#[tokio::test]
async fn an_operator_suspends_moves_hands_out_and_erases_a_tenant_and_finds_it_in_the_log() {
    let setup = Setup::new().await;
    let (one, other) = (format!("ten_{ONE}"), format!("ten_{OTHER}"));
    let (code, out, err) = setup.run(&["admin", "tenants", "suspend", &one, "--reason", "unpaid", "--withdraw"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("suspended since") && out.contains("asked for the withdrawal of 0 domains"), "{out}");
    let (code, out, err) = setup.run(&["admin", "tenants", "move", &one, "--to", &other]);
    assert!(code == Some(0) && out.contains(&format!("beneath {other}")), "{out}{err}");
    assert_eq!(setup.run(&["admin", "tenants", "move", &other, "--to", &one]).0, Some(1), "not beneath itself");
    assert_eq!(setup.run(&["admin", "tenants", "resume", &one]).0, Some(0));

    let path = setup.folder.path().join("export.ndjson");
    let (code, _, err) = setup.run(&["admin", "tenants", "export", &one, "--output", path.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let lines: Vec<Value> =
        fs::read_to_string(&path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["table"], &lines[0]["row"]["name"]), (&"tenants".into(), &"Example, Inc.".into()));
    assert_eq!(lines.iter().filter(|line| line["table"] == "usage_days").count(), 3);
    let (code, _, err) = setup.run(&["admin", "tenants", "export", &one, "--output", path.to_str().unwrap()]);
    assert!(code == Some(1) && err.contains("cannot write"), "what is there is not written over: {err}");

    let (code, _, err) = setup.run(&["admin", "tenants", "erase", &one, "--confirm", &other]);
    assert!(code == Some(1) && err.contains("another tenant"), "{err}");
    let (code, _, err) = setup.run(&["admin", "tenants", "erase", &one, "--confirm", &one]);
    assert!(code == Some(1) && err.contains("suspended first"), "{err}");
    setup.run(&["admin", "tenants", "suspend", &one, "--reason", "leaves"]);
    let (code, out, err) = setup.run(&["admin", "tenants", "erase", &one, "--confirm", &one]);
    assert!(code == Some(0) && out.starts_with(&format!("erased {one}")), "{out}{err}");
    let nobody = "ten_01900000000070008000000000000003";
    let (code, _, err) = setup.run(&["admin", "tenants", "suspend", nobody, "--reason", "x"]);
    assert!(code == Some(1) && err.contains(&format!("there is no tenant {nobody}")), "{err}");

    let (code, out, err) = setup.run(&["admin", "audit", "list", "--tenant", &other]);
    assert_eq!(code, Some(0), "{err}");
    let actions: Vec<_> =
        out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["action"].clone()).collect();
    assert_eq!(actions, ["tenant.move", "tenant.erase"], "the provider's log tells of its customer");
    let (_, out, _) = setup.run(&["admin", "audit", "list", "--actor", "erased"]);
    assert!(out.lines().count() >= 4 && !out.contains("unpaid"), "{out}");
    assert_eq!(setup.run(&["admin", "audit", "list", "--to", "2020-01-01T00:00:00Z"]).1, "");
    assert_eq!(setup.run(&["admin", "audit", "verify"]).0, Some(0));
}

#[tokio::test]
async fn usage_is_handed_out_for_bills_as_csv_and_as_ndjson() {
    let setup = Setup::new().await;
    let days = ["--from", "2026-01-02", "--to", "2026-01-31"];
    let (code, out, err) = setup.run(&[&["admin", "usage"], &days[..]].concat());
    assert_eq!(code, Some(0), "{err}");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 5, "{out}");
    assert_eq!(lines[1], format!("ten_{ONE},2026-01-02,,,,,0,7,1"), "what was not counted is empty");
    let (_, out, _) = setup.run(&[&["admin", "usage", "--format", "ndjson"], &days[..]].concat());
    let first: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!((&first["policy_fetches"], &first["domains"]), (&7.into(), &Value::Null));
}
