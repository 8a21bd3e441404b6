//! What operators type.

use std::fs;

use crate::service::mtasts;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_sound_configuration_is_called_sound_and_a_wrong_key_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mtasts.toml");
    fs::write(&path, "[service]\nzone = \"sts.example.net\"\n").unwrap();
    let path = path.to_str().unwrap();
    let output = mtasts(&["config", "check", "--config", path]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    fs::write(path, "[service]\nzoen = \"sts.example.net\"\n").unwrap();
    let output = mtasts(&["config", "check", "--config", path]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("zoen"), "{}", text(&output.stderr));
}

#[test]
fn a_role_alone_without_the_shared_keys_says_what_to_set() {
    let output = mtasts(&["worker", "--config", "/nonexistent.toml"]);
    assert!(!output.status.success());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mtasts.toml");
    fs::write(&path, format!("data_dir = \"{}\"\n", folder.path().display())).unwrap();
    let output = mtasts(&["worker", "--config", path.to_str().unwrap()]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("secrets.key_ring"), "{}", text(&output.stderr));
}

#[test]
fn the_openapi_document_is_3_1_and_a_stale_file_fails_the_check() {
    let output = mtasts(&["openapi"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("openapi.json");
    fs::write(&path, &output.stdout).unwrap();
    assert!(mtasts(&["openapi", "--check", path.to_str().unwrap()]).status.success());
    fs::write(&path, "{}").unwrap();
    let output = mtasts(&["openapi", "--check", path.to_str().unwrap()]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("make openapi"));
}

#[test]
fn a_drawn_key_is_another_one_each_time() {
    let (first, second) = (mtasts(&["admin", "generate-key"]).stdout, mtasts(&["admin", "generate-key"]).stdout);
    assert!(first.len() > 40);
    assert_ne!(first, second);
}

#[tokio::test]
async fn an_old_schema_is_named_at_the_start_and_nodes_are_listed_and_retired() {
    let database = mtasts_testkit::TestDatabase::create().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mtasts.toml");
    let settings = format!("data_dir = \"{}\"\n[database]\nurl = \"{}\"\n", folder.path().display(), database.url());
    fs::write(&path, settings).unwrap();
    let path = path.to_str().unwrap();
    let output = mtasts(&["admin", "nodes", "--config", path]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("mtasts migrate"), "{}", text(&output.stderr));
    assert!(mtasts(&["migrate", "--config", path]).status.success());

    let id = "01a20050-00c7-773f-8459-0743448ddc08";
    let node = "INSERT INTO nodes (id, kind, name, position, lease_until, covered_until, started_at)";
    database
        .psql(&format!("{node} VALUES ('{id}', 'edge', 'edge-1', 7, now() - interval '1 minute', now(), now())"))
        .await;
    let output = mtasts(&["admin", "nodes", "--config", path]);
    let listed = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let line: Vec<_> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!([line[1], line[2], line[4], line[5]], ["edge", "7", "silent", "edge-1"], "{listed}");
    let output = mtasts(&["admin", "nodes", "retire", line[0], "--config", path]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(database.psql("SELECT count(*) FROM nodes").await.trim(), "0");
    let output = mtasts(&["admin", "nodes", "retire", line[0], "--config", path]);
    assert!(!output.status.success(), "there is no such node any more");
}

/// Answers one request on a port of its own.
fn answer_once(answer: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut octets = [0; 1024];
            let read = stream.read(&mut octets).unwrap();
            request.extend(&octets[..read]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
    });
    address
}

#[test]
fn ready_says_what_each_process_says_and_fails_if_one_is_not() {
    let yes = "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nedge: ready\n";
    let no = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 25\r\n\r\nedge: not ready; draining\n";
    let output = mtasts(&["admin", "ready", &answer_once(yes)]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("edge: ready"));

    let output = mtasts(&["admin", "ready", &answer_once(yes), &answer_once(no), "127.0.0.1:1"]);
    assert!(!output.status.success());
    assert!(text(&output.stdout).contains("edge: not ready; draining"), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("2 are not ready"), "{}", text(&output.stderr));
}
