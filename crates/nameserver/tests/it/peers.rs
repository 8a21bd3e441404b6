//! Seen by BIND's dig, which has opinions of its own about what a good answer is.

use std::{net::SocketAddr, process::Stdio};

use tokio::process::Command;

use crate::support::Running;

async fn dig(server: SocketAddr, arguments: &[&str]) -> String {
    let output = Command::new("dig")
        .arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string(), "+tries=1", "+time=5", "+norecurse"])
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("dig (package bind9-dnsutils) can be run");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("WARNING") && !text.contains("Malformed"), "{text}");
    text
}

#[tokio::test]
async fn dig_reads_answers_absences_and_refusals() {
    let (server, _feed) = Running::serving(&[("abc._mta-sts.sts.example", "v=STSv1; id=1;")]).await;
    let server = server.address();
    assert_eq!(dig(server, &["+short", "abc._mta-sts.sts.example", "TXT"]).await.trim(), "\"v=STSv1; id=1;\"");
    assert_eq!(dig(server, &["+short", "+tcp", "x.edge.sts.example", "AAAA"]).await.trim(), "2001:db8::10");
    assert_eq!(dig(server, &["+short", "x.edge.sts.example", "CAA"]).await.trim(), "128 issue \"ca.example\"");
    let absent = dig(server, &["nobody._mta-sts.sts.example", "TXT"]).await;
    assert!(absent.contains("status: NXDOMAIN") && absent.contains("flags: qr aa;"), "{absent}");
    assert!(absent.contains("SOA\tns1.sts.example. hostmaster.sts.example."), "{absent}");
    let empty = dig(server, &["_mta-sts.sts.example", "TXT"]).await;
    assert!(empty.contains("status: NOERROR") && empty.contains("ANSWER: 0, AUTHORITY: 1"), "{empty}");
    assert!(dig(server, &["example.org", "A"]).await.contains("status: REFUSED"));
    assert!(dig(server, &["version.bind", "CH", "TXT"]).await.contains("status: REFUSED"));
}

#[tokio::test]
async fn dig_gets_no_transfer_and_falls_back_to_tcp() {
    let long = "y".repeat(2000);
    let (server, _feed) = Running::serving(&[("long._mta-sts.sts.example", &long)]).await;
    let server = server.address();
    assert!(dig(server, &["sts.example", "AXFR"]).await.contains("Transfer failed"));
    let whole = dig(server, &["long._mta-sts.sts.example", "TXT"]).await;
    assert!(whole.contains("(TCP)") && whole.contains("ANSWER: 1"), "{whole}");
    let cut = dig(server, &["+ignore", "+bufsize=512", "long._mta-sts.sts.example", "TXT"]).await;
    assert!(cut.contains("flags: qr aa tc;") && cut.contains("ANSWER: 0"), "{cut}");
}

#[tokio::test]
async fn dig_gets_edns_as_asked() {
    let (server, _feed) = Running::serving(&[]).await;
    let server = server.address();
    assert!(dig(server, &["sts.example", "SOA"]).await.contains("EDNS: version: 0, flags:; udp: 1232"));
    assert!(!dig(server, &["+noedns", "sts.example", "SOA"]).await.contains("EDNS"));
    assert!(dig(server, &["+edns=1", "+noednsnegotiation", "sts.example", "SOA"]).await.contains("BADVERS"));
    assert!(dig(server, &["+dnssec", "sts.example", "SOA"]).await.contains("flags: do;"));
}
