//! Clients that are not ours. Skipped, and said so, where they are not installed.

use std::{fs, process::Stdio};

use tokio::{io::AsyncWriteExt, process::Command};

use crate::harness::{Harness, PATH};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_fetches_the_policy_over_verified_tls_with_both_versions_of_http() {
    let harness = Harness::serving(&["example.com"]).await;
    let root = harness.folder.path().join("root.pem");
    fs::write(&root, &harness.authority.root_pem).unwrap();
    let port = harness.https().port();
    for version in ["--http1.1", "--http2"] {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--fail", version, "--write-out", "%{http_code}", "--cacert"])
            .arg(&root)
            .arg("--resolve")
            .arg(format!("mta-sts.example.com:{port}:127.0.0.1"))
            .arg(format!("https://mta-sts.example.com:{port}{PATH}"))
            .output()
            .await;
        let Ok(output) = output else { return eprintln!("skipped: no curl") };
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{version}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(text.starts_with("version: STSv1\r\n") && text.ends_with("\r\n200"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_gets_the_chain_and_an_alert_for_an_unknown_name() {
    let harness = Harness::serving(&["example.com"]).await;
    let root = harness.folder.path().join("root.pem");
    fs::write(&root, &harness.authority.root_pem).unwrap();
    for (name, version) in [("example.com", "-tls1_3"), ("example.com", "-tls1_2"), ("unknown.example", "-tls1_3")] {
        let child = Command::new("openssl")
            .args(["s_client", "-connect", &harness.https().to_string(), version, "-verify_return_error", "-CAfile"])
            .arg(&root)
            .args(["-servername", &format!("mta-sts.{name}"), "-verify_hostname", &format!("mta-sts.{name}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let Ok(mut child) = child else { return eprintln!("skipped: no openssl") };
        let request = format!("GET {PATH} HTTP/1.1\r\nHost: mta-sts.{name}\r\nConnection: close\r\n\r\n");
        let mut input = child.stdin.take().unwrap();
        let _ = input.write_all(request.as_bytes()).await;
        // Kept open: s_client leaves at the end of its input, before the answer has come.
        let output = child.wait_with_output().await.unwrap();
        drop(input);
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        if name == "example.com" {
            assert!(text.contains("Verify return code: 0 (ok)"), "{text}\n{errors}");
            assert!(text.contains("version: STSv1"), "{text}");
            assert!(text.contains("AES128-GCM") || text.contains("AES_128_GCM"), "AES-128 is preferred: {text}");
        } else {
            assert!(errors.contains("unrecognized name") || errors.contains("alert number 112"), "{errors}");
            assert!(text.contains("no peer certificate available"), "{text}");
        }
    }
}
