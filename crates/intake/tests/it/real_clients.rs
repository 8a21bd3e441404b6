//! A client that others wrote.

use std::process::Stdio;

use tokio::process::Command;

use crate::harness::House;

/// Python's smtplib, with and without TLS, and one connection for several mails.
const SMTPLIB: &str = r#"
import smtplib, ssl, sys
port, to, other = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl._create_unverified_context()
message = b"From: a@sender.example\r\nSubject: %b\r\n\r\n.one dot\r\n..two\r\n\r\nend\r\n"
with smtplib.SMTP("127.0.0.1", port, local_hostname="mx.sender.example", timeout=30) as client:
    client.sendmail("a@sender.example", [to], message % b"plain")
    client.starttls(context=context)
    client.sendmail("a@sender.example", [to, other], message % b"tls")
    refused = client.sendmail("a@sender.example", [to, "nobody@victim.example"], message % b"partly")
    assert refused["nobody@victim.example"][0] == 550, refused
    client.sendmail("", [to], message % b"empty sender",
        mail_options=["SMTPUTF8", "BODY=8BITMIME"])
"#;

#[tokio::test]
async fn smtplib_delivers() {
    let house = House::new().await;
    let done = Command::new("python3")
        .args(["-c", SMTPLIB, &house.smtp().port().to_string(), &house.domain.tlsrpt(), &house.domain.dmarc()])
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let expected =
        |subject: &str| format!("From: a@sender.example\r\nSubject: {subject}\r\n\r\n.one dot\r\n..two\r\n\r\nend");
    for (subject, tls) in [("plain", ""), ("tls", "TLSv1.3"), ("partly", "TLSv1.3"), ("empty sender", "TLSv1.3")] {
        let find = format!(
            "SELECT convert_from(raw, 'UTF8') FROM report_arrivals WHERE convert_from(raw, 'UTF8') LIKE '%Subject: {subject}%'
             AND COALESCE(tls_version, '') = '{tls}' LIMIT 1"
        );
        assert_eq!(house.sql(&find).await, expected(subject));
    }
    assert_eq!(house.arrivals().await, 4, "the second recipient is of the same domain");
}

#[tokio::test]
async fn curl_reads_why_it_is_refused_over_both_versions_of_http() {
    let house = House::new().await;
    let body = "x".repeat(100_000);
    for version in ["--http1.1", "--http2"] {
        let url = format!("https://127.0.0.1:{}/v1/tlsrpt/nobody", house.https().port());
        let done = Command::new("curl")
            .args([
                "-ksS",
                version,
                "--max-time",
                "30",
                "-w",
                "%{http_code}",
                "-o",
                "/dev/null",
                "--data-binary",
                &body,
            ])
            .arg(&url)
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        assert!(done.status.success(), "{version}: {}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(String::from_utf8_lossy(&done.stdout), "404", "{version}");
    }
}
