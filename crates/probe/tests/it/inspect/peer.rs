//! The table once more, for postfix-mta-sts-resolver: scripts/private/inspect-peers.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use mtasts_model::{Clock, SystemClock};
use mtasts_probe::inspect::{Code, Inspection};

use super::{
    table::{policy_hosts, records},
    world::DOMAIN,
};
use crate::support::domain;

/// Where it says something else than we do, and why.
const EXPLAINED: &[(&str, &str)] = &[
    ("an id with hyphens", "it does not look at the characters of the id; RFC 8461 §3.1 has letters and digits only"),
    ("an id of 33 letters", "it does not count them; RFC 8461 §3.1 has 32 at most"),
    ("a field without value", "it reads a field without `=` as one with an empty value; RFC 8461 §3.1 wants a value"),
    ("a common name", "Python's ssl falls back to the common name, which RFC 8461 §3.3 does not"),
    ("a byte order mark", "we read on behind it, to tell what else there is; our finding is an error too"),
    ("two years", "we read it as a year, as others do, to tell what else there is; our finding is an error too"),
];

/// What we would say in its words.
fn ours(inspection: &Inspection) -> &'static str {
    let found = |code: Code| inspection.findings.iter().any(|finding| finding.code == code);
    let dns_failed = [Code::StsRecordUnresolvable, Code::AliasLoop, Code::AliasTooLong].into_iter().any(found);
    match (&inspection.record.id, inspection.verdict.published) {
        (_, true) => "VALID",
        (Some(_), false) => "FETCH_ERROR",
        (None, _) if dns_failed => "FETCH_ERROR",
        (None, _) => "NONE",
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postfix-mta-sts-resolver: scripts/private/inspect-peers"]
async fn what_the_resolver_of_postfix_says_is_what_we_say() {
    let command: Vec<String> = serde_json::from_str(&env::var("MTASTS_PEER").unwrap()).unwrap();
    let mut peer =
        Command::new(&command[0]).args(&command[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut questions = peer.stdin.take().unwrap();
    let mut answers = BufReader::new(peer.stdout.take().unwrap()).lines();
    let mut differences = BTreeMap::new();
    for (what, world, _) in records().into_iter().chain(policy_hosts()) {
        let served = world.serve().await;
        let inspection = served.inspector.inspect(&domain(), served.options, SystemClock.now()).await;
        let question = serde_json::json!({
            "domain": DOMAIN, "dns": served.dns.to_string(), "policy_port": served.policy_port, "ca": served.root,
        });
        let theirs = tokio::task::block_in_place(|| {
            writeln!(questions, "{question}").unwrap();
            answers.next().unwrap().unwrap()
        });
        if theirs != ours(&inspection) {
            differences.insert(what, format!("it says {theirs}, and we {}", ours(&inspection)));
        }
    }
    drop(questions);
    assert!(peer.wait().unwrap().success());
    for (what, difference) in &differences {
        let why = EXPLAINED.iter().find(|(explained, _)| explained == what).map_or("NOT EXPLAINED", |(_, why)| why);
        println!("{what}: {difference}: {why}");
    }
    let explained: Vec<_> = EXPLAINED.iter().map(|(what, _)| *what).collect();
    let mut found: Vec<_> = differences.into_keys().collect();
    found.sort_by_key(|what| explained.iter().position(|explained| explained == what));
    assert_eq!(found, explained);
}
