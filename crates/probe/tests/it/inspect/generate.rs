//! Policies from what was seen.

use mtasts_model::{Clock, Mode, Policy, PolicyId, SystemClock, SystemEntropy};
use mtasts_probe::generate::{GenerateError, GenerateOptions, Generated, generate};

use super::world::{DOMAIN, MX, World};
use crate::support::domain;

async fn generated(world: World, mode: Mode) -> Result<Generated, GenerateError> {
    let seen = world.inspect().await;
    let id = PolicyId::draw(SystemClock.now(), &SystemEntropy);
    generate(&domain(), &seen, &GenerateOptions { mode: Some(mode), ..GenerateOptions::default() }, id)
}

fn codes(generated: &Generated) -> Vec<&'static str> {
    generated.findings.iter().map(|finding| finding.code.as_str()).collect()
}

#[tokio::test]
async fn a_policy_names_the_hosts_that_dns_names_and_reads_back() {
    let made = generated(World::new().dns(|t| t.mx(DOMAIN, 20, MX)), Mode::Testing).await.unwrap();
    let policy = Policy::parse_strict(&made.policy).unwrap();
    assert_eq!((policy.mode(), policy.max_age().seconds()), (Mode::Testing, 86_400));
    assert_eq!(policy.mx().iter().map(ToString::to_string).collect::<Vec<_>>(), [MX]);
    assert_eq!(codes(&made), ["mx-repeated", "policy-mode-testing", "policy-max-age-short"]);
    let names: Vec<_> = made.records.iter().map(|record| record.name.as_str()).collect();
    assert_eq!(names, ["_mta-sts.customer.test", "_smtp._tls.customer.test"]);
    assert!(made.safe);
    let implicit = World::new().dns(|t| t.without(DOMAIN).address(DOMAIN, "127.0.0.1"));
    assert!(generated(implicit, Mode::Testing).await.unwrap().policy.contains("mx: customer.test\r\n"));
}

#[tokio::test]
async fn enforce_over_a_failing_host_is_called_unsafe_and_what_the_old_policy_lacks_is_not() {
    let made = generated(World::new().mx_tls(|p| p.expired(MX)), Mode::Enforce).await.unwrap();
    assert_eq!((made.safe, codes(&made)), (false, vec!["mx-certificate-expired"]));
    assert!(made.policy.contains("max_age: 604800\r\n"));
    let other = "version: STSv1\r\nmode: enforce\r\nmx: old.customer.test\r\nmax_age: 604800\r\n";
    let made = generated(World::new().policy(other), Mode::Enforce).await.unwrap();
    assert_eq!((made.safe, codes(&made)), (true, vec![]));
}

#[tokio::test]
async fn where_a_policy_would_leave_hosts_out_there_is_none() {
    let not_a_host = World::new().dns(|t| t.mx(DOMAIN, 20, "mx_2.customer.test"));
    let outcome = generated(not_a_host, Mode::Testing).await.unwrap_err();
    assert!(matches!(outcome, GenerateError::Incomplete { records: 2, usable: 1, .. }), "{outcome}");
    let many = World::new().dns(|t| (0..40).fold(t, |t, n| t.mx(DOMAIN, 20, &format!("mx{n}.customer.test"))));
    let outcome = generated(many, Mode::Testing).await.unwrap_err();
    assert!(matches!(outcome, GenerateError::Incomplete { records: 41, .. }), "{outcome}");
    let null = World::new().dns(|t| t.without(DOMAIN).mx(DOMAIN, 0, "."));
    assert!(matches!(generated(null, Mode::Testing).await.unwrap_err(), GenerateError::NoMail(_)));
    let silent = World::new().dns(|t| t.silent(DOMAIN));
    assert!(matches!(generated(silent, Mode::Testing).await.unwrap_err(), GenerateError::Unknown(_)));
}
