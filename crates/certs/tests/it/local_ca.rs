//! The local CA: the same steps, with restarts in between.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use chrono::TimeDelta;
use mtasts_certs::{
    ChallengeKind, IssueError, IssuedChain, Issuer, Leaf, LocalCa, LocalCaConfig, LocalCaError, OrderKey, OrderState,
    prove,
};
use mtasts_model::{Clock, HostName, SystemClock, SystemEntropy, clock::ManualClock};
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::aws_lc_rs,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};

use crate::issuance::host;

fn open(dir: &Path, clock: &ManualClock) -> Result<LocalCa, LocalCaError> {
    LocalCa::open_or_create(dir, &LocalCaConfig::default(), Arc::new(clock.clone()), Arc::new(SystemEntropy))
}

fn now() -> ManualClock {
    ManualClock::new(SystemClock.now())
}

async fn issue(ca: &LocalCa, key: &OrderKey) -> IssuedChain {
    let url = ca.place(&host(), None).await.unwrap().url;
    ca.finalize(&url, &key.csr(&host()).unwrap()).await.unwrap();
    ca.download(&url).await.unwrap()
}

#[tokio::test]
async fn an_order_survives_a_restart_after_every_step() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), now());
    let ca = || open(dir.path(), &clock).unwrap();
    let placed = ca().place(&host(), None).await.unwrap();
    assert_eq!(placed.expires_at, Some(clock.now() + TimeDelta::days(7)));
    assert_eq!(ca().state(&placed.url).await.unwrap(), OrderState::Ready);
    ca().answer(&placed.url, ChallengeKind::Http01).await.unwrap();
    assert!(matches!(ca().download(&placed.url).await, Err(IssueError::NotReady { .. })));

    let key = OrderKey::generate().unwrap();
    ca().finalize(&placed.url, &key.csr(&host()).unwrap()).await.unwrap();
    assert_eq!(ca().state(&placed.url).await.unwrap(), OrderState::Valid);
    let chain = ca().download(&placed.url).await.unwrap();
    let proven = prove(chain.certificates(), &key.to_pkcs8_der(), &host(), clock.now()).unwrap();
    assert_eq!((proven.leaf().not_after - clock.now()).num_days(), 89, "90 days, to the second before");

    ca().finalize(&placed.url, &key.csr(&host()).unwrap()).await.unwrap();
    assert_eq!(ca().download(&placed.url).await.unwrap(), chain, "an order issues once");
}

#[tokio::test]
async fn a_client_that_trusts_the_root_trusts_the_chain() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), now());
    let ca = open(dir.path(), &clock).unwrap();
    let chain = issue(&ca, &OrderKey::generate().unwrap()).await;
    assert_eq!(fs::read_to_string(dir.path().join("root.pem")).unwrap(), ca.root_pem());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.root_pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let certificates: Vec<CertificateDer<'_>> =
        chain.certificates().iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let verify = |name: &'static str| {
        let name = ServerName::try_from(name).unwrap();
        verifier.verify_server_cert(&certificates[0], &certificates[1..], &name, &[], UnixTime::now())
    };
    verify("mta-sts.customer.test").unwrap();
    verify("mta-sts.other.test").unwrap_err();
}

#[tokio::test]
async fn only_the_owner_can_read_the_key_and_a_restart_keeps_it() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), now());
    let first = open(dir.path(), &clock).unwrap();
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("root-key.pem"), mode("root.pem"), mode("orders")), (0o600, 0o644, 0o700));
    let again = open(dir.path(), &clock).unwrap();
    assert_eq!((first.root_pem(), first.key()), (again.root_pem(), again.key()));
    assert!(!first.root_pem().contains("PRIVATE"));
}

#[test]
fn processes_that_make_the_ca_at_once_make_the_same_one() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), now());
    let roots: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| open(dir.path(), &clock).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().root_pem().to_owned()).collect()
    });
    assert!(roots.iter().all(|root| *root == roots[0]));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "drafts are left behind");
}

#[tokio::test]
async fn a_request_for_another_name_or_none_is_refused() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), now());
    let ca = open(dir.path(), &clock).unwrap();
    let url = ca.place(&host(), None).await.unwrap().url;
    let other = HostName::parse("mta-sts.other.test").unwrap();
    let other = OrderKey::generate().unwrap().csr(&other).unwrap();
    let mut broken = OrderKey::generate().unwrap().csr(&host()).unwrap();
    *broken.last_mut().unwrap() ^= 1;
    for request in [other.as_slice(), &broken, b"no request"] {
        let refused = ca.finalize(&url, request).await.unwrap_err();
        assert!(matches!(&refused, IssueError::Rejected { problem, .. } if problem.ends_with("badCSR")), "{refused}");
    }
    assert_eq!(ca.state(&url).await.unwrap(), OrderState::Ready);
}

#[tokio::test]
async fn an_order_that_is_too_old_is_gone_and_its_file_swept() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), now());
    let ca = open(dir.path(), &clock).unwrap();
    let url = ca.place(&host(), None).await.unwrap().url;
    ca.finalize(&url, &OrderKey::generate().unwrap().csr(&host()).unwrap()).await.unwrap();
    let orders = || fs::read_dir(dir.path().join("orders")).unwrap().count();
    assert_eq!(orders(), 1);
    clock.advance(TimeDelta::days(9));
    assert!(matches!(ca.state(&url).await, Err(IssueError::OrderGone)));
    open(dir.path(), &clock).unwrap();
    assert_eq!(orders(), 0);
}

#[test]
fn a_root_that_does_not_fit_its_key_is_refused() {
    let (one, two, clock) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), now());
    open(one.path(), &clock).unwrap();
    open(two.path(), &clock).unwrap();
    fs::copy(two.path().join("root.pem"), one.path().join("root.pem")).unwrap();
    assert!(matches!(open(one.path(), &clock), Err(LocalCaError::OtherRoot { .. })));
    fs::write(one.path().join("root.pem"), "").unwrap();
    assert!(matches!(open(one.path(), &clock), Err(LocalCaError::Content { .. })));
}

#[tokio::test]
async fn serial_numbers_differ_and_a_leaf_does_not_outlive_the_root() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), now());
    let ca = open(dir.path(), &clock).unwrap();
    let serial = async || Leaf::parse(issue(&ca, &OrderKey::generate().unwrap()).await.leaf()).unwrap().serial;
    assert_ne!(serial().await, serial().await);
    clock.advance(TimeDelta::days(3_640));
    let leaf = Leaf::parse(issue(&ca, &OrderKey::generate().unwrap()).await.leaf()).unwrap();
    assert_eq!((leaf.not_after - clock.now()).num_days(), 9, "{leaf:?}");
}
