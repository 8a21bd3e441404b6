//! `mtasts check`, `mtasts explain` and `mtasts policy generate`, which need neither a configuration nor a service.

use std::{fs, net::SocketAddr, process::Output, sync::Arc};

use mtasts_testkit::Bind;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::service::mtasts;

const DOMAIN: &str = "customer.test";
const POLICY: &str = "version: STSv1\r\nmode: enforce\r\nmx: mx.customer.test\r\nmax_age: 604800\r\n";

/// A domain in DNS, with a policy host and an MX host on loopback.
struct World {
    bind: Bind,
    policy: SocketAddr,
    mx: SocketAddr,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
        let bind = Bind::start(&[DOMAIN], &[]).await;
        let records = [
            "add _mta-sts.customer.test 1 TXT \"v=STSv1; id=1;\"",
            "add _smtp._tls.customer.test 1 TXT \"v=TLSRPTv1; rua=mailto:reports@customer.test\"",
            "add mta-sts.customer.test 1 A 127.0.0.1",
            "add customer.test 1 MX 10 mx.customer.test",
            "add mx.customer.test 1 A 127.0.0.1",
        ];
        bind.update(DOMAIN, &records).await;
        let policy = serve(acceptor(&ca, "mta-sts.customer.test"), false).await;
        let mx = serve(acceptor(&ca, "mx.customer.test"), true).await;
        Self { bind, policy, mx, folder }
    }

    /// Runs a command of which the domain and the way there are the last arguments.
    async fn run(&self, args: &[&str], allow_private: bool) -> Output {
        let mut args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let ca = self.folder.path().join("ca.pem");
        let resolver = self.bind.address().to_string();
        let (policy, mx) = (self.policy.port().to_string(), self.mx.port().to_string());
        for (option, value) in [
            ("--resolver", resolver.as_str()),
            ("--ca-file", ca.to_str().unwrap()),
            ("--policy-port", &policy),
            ("--mx-port", &mx),
        ] {
            args.extend([option.to_owned(), value.to_owned()]);
        }
        if allow_private {
            args.push("--allow-private".to_owned());
        }
        let run = move || mtasts(&args.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(run).await.unwrap()
    }
}

fn acceptor(ca: &CertifiedIssuer<'_, KeyPair>, name: &str) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, ca).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// A policy host, or an MX host.
async fn serve(acceptor: TlsAcceptor, smtp: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut plain = BufReader::new(tcp);
                if smtp {
                    plain.write_all(b"220 mx.customer.test ESMTP\r\n").await?;
                    line(&mut plain).await?;
                    plain.write_all(b"250-mx.customer.test\r\n250 STARTTLS\r\n").await?;
                    line(&mut plain).await?;
                    plain.write_all(b"220 go ahead\r\n").await?;
                }
                let mut tls = BufReader::new(acceptor.accept(plain.into_inner()).await?);
                if smtp {
                    line(&mut tls).await?;
                    tls.write_all(b"221 bye\r\n").await?;
                } else {
                    while !line(&mut tls).await?.trim().is_empty() {}
                    let length = POLICY.len();
                    let head =
                        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
                    tls.write_all((head + POLICY).as_bytes()).await?;
                }
                tls.shutdown().await?;
                tls.read(&mut [0; 1]).await
            });
        }
    });
    address
}

async fn line(stream: &mut BufReader<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    Ok(line)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_is_checked_and_its_faults_are_told_with_their_cures() {
    let world = World::new().await;
    let good = world.run(&["check", "--strict", DOMAIN], true).await;
    let told = text(&good.stdout);
    assert_eq!(good.status.code(), Some(0), "{told}{}", text(&good.stderr));
    for wanted in
        ["✓ _mta-sts.customer.test: one record, with id 1", "verified STARTTLS at 1 address", "enforce would be safe"]
    {
        assert!(told.contains(wanted), "no {wanted:?} in\n{told}");
    }
    assert!(!told.contains('\u{1b}'), "no colours in a pipe");

    world
        .bind
        .update(DOMAIN, &["add customer.test 1 MX 20 backup.customer.test", "delete _smtp._tls.customer.test TXT"])
        .await;
    let broken = world.run(&["check", DOMAIN], true).await;
    let told = text(&broken.stdout);
    assert_eq!(broken.status.code(), Some(1), "{told}");
    for wanted in [
        "✗ no pattern of the policy covers backup.customer.test  [mx-not-covered, RFC 8461 §4.1]",
        "→ Add the host to the policy, and change the `id` of the record.",
        "senders say: TLS-RPT “validation-failure”; Postfix “Server certificate not verified”",
        "[tls-rpt-missing, RFC 8460 §3]",
        "✗ enforce would lose mail: mx-not-covered, mx-no-address",
    ] {
        assert!(told.contains(wanted), "no {wanted:?} in\n{told}");
    }

    let json = world.run(&["check", "--json", DOMAIN, "sub.customer.test"], true).await;
    let lines: Vec<Value> = text(&json.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines[0]["domain"].as_str(), lines[1]["domain"].as_str()), (Some(DOMAIN), Some("sub.customer.test")));
    assert_eq!(lines[0]["verdict"]["enforce"], "unsafe");
    assert_eq!(lines[0]["mx"]["hosts"][0]["addresses"][0]["tls"]["matched"], "mx.customer.test");

    let public_only = world.run(&["check", DOMAIN], false).await;
    assert!(text(&public_only.stdout).contains("[mx-forbidden, RFC 6890]"), "{}", text(&public_only.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_generated_from_the_live_mx_hosts() {
    let world = World::new().await;
    let made = world.run(&["policy", "generate", DOMAIN, "--policy-host", "web.customer.test"], true).await;
    let told = text(&made.stdout);
    assert_eq!(made.status.code(), Some(0), "{told}{}", text(&made.stderr));
    for wanted in [
        "https://mta-sts.customer.test/.well-known/mta-sts.txt",
        "version: STSv1\nmode: testing\nmx: mx.customer.test\nmax_age: 86400\n",
        "_mta-sts.customer.test. TXT \"v=STSv1; id=",
        "_smtp._tls.customer.test. TXT \"v=TLSRPTv1; rua=mailto:tls-reports@customer.test;\"",
        "mta-sts.customer.test. CNAME web.customer.test.",
    ] {
        assert!(told.contains(wanted), "no {wanted:?} in\n{told}");
    }

    world.bind.update(DOMAIN, &["add customer.test 1 MX 20 gone.customer.test"]).await;
    let unsafe_one = world.run(&["policy", "generate", DOMAIN, "--mode", "enforce", "--json"], true).await;
    assert_eq!(unsafe_one.status.code(), Some(1));
    let made: Value = serde_json::from_slice(&unsafe_one.stdout).unwrap();
    assert_eq!(made["safe"], false);
    assert!(made["policy"].as_str().unwrap().contains("mx: gone.customer.test\r\nmax_age: 604800"), "{made}");
    let codes: Vec<_> =
        made["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["mx-no-address"]);

    world.bind.update(DOMAIN, &["delete customer.test MX", "add customer.test 1 MX 0 ."]).await;
    let null = world.run(&["policy", "generate", DOMAIN], true).await;
    assert_eq!(null.status.code(), Some(1));
    assert!(text(&null.stderr).contains("takes no mail"), "{}", text(&null.stderr));
}

#[test]
fn what_cannot_be_used_and_what_cannot_be_seen_have_exit_codes_of_their_own() {
    for args in [
        &["check", "not a domain"][..],
        &["check"],
        &["check", DOMAIN, "--resolver", "resolver.test"],
        &["check", DOMAIN, "--ca-file", "/nonexistent.pem"],
        &["policy", "generate", DOMAIN, "--mode", "Enforce"],
        &["policy", "generate", DOMAIN, "--max-age", "99999999"],
    ] {
        assert_eq!(mtasts(args).status.code(), Some(2), "{args:?}");
    }
    // Nothing listens at port 1.
    for args in [
        &["check", DOMAIN, "--resolver", "127.0.0.1:1"][..],
        &["policy", "generate", DOMAIN, "--resolver", "127.0.0.1:1"],
    ] {
        let output = mtasts(args);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {}", text(&output.stdout));
    }
}

#[test]
fn what_a_sender_says_is_explained_and_unknown_words_are_answered_with_what_can_be_asked() {
    let output = mtasts(&["explain", "STSFetchResult.NONE"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).starts_with("STSFetchResult.NONE\n"), "{}", text(&output.stdout));
    let output = mtasts(&["explain", "--json", "status=deferred", "(Server certificate not verified)"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<_> =
        answer["explanations"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names[0], "Server certificate not verified");
    assert!(names.contains(&"mx-certificate-name") && names.contains(&"mx-not-covered"), "{names:?}");
    let output = mtasts(&["explain", "hello"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("STSFetchResult.FETCH_ERROR"));
}
