//! Labels, zones, and the records that a customer sets.

use proptest::prelude::*;

use super::{DelegationPurpose as Purpose, *};
use crate::{
    clock::SeededEntropy,
    name::{HostName, MailDomain},
};

fn label(seed: u64) -> Label {
    Label::draw(&SeededEntropy::new(seed))
}

fn zone(text: &str) -> ZoneName {
    text.parse().unwrap()
}

fn domain(text: &str) -> MailDomain {
    MailDomain::from_stored(text).unwrap()
}

/// A name of exactly `length` octets, `length` not being one more than a multiple of 64.
fn name_of(length: usize) -> String {
    (1..=length).map(|place| if place % 64 == 0 { '.' } else { 'z' }).collect()
}

#[test]
fn rfc4648_a_label_is_128_bits_of_lower_case_base32() {
    struct Ones;
    impl Entropy for Ones {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(0xFF);
        }
    }
    assert_eq!(Label::draw(&Ones).as_str(), "77777777777777777777777774");
    assert_eq!(label(1).as_str().len(), 26);
    assert!(label(1).as_str().bytes().all(|byte| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte)));
}

#[test]
fn what_does_not_stand_for_128_bits_is_no_label() {
    let good = label(3).to_string();
    // The last character holds three bits of the 128 and two that must be zero.
    let dirty = format!("{}b", &good[..25]);
    for text in ["", &good[1..], &format!("{good}a"), &good.replace(&good[..1], "1"), &dirty, &"ä".repeat(13)] {
        assert_eq!(text.parse::<Label>(), Err(LabelError), "{text}");
    }
}

#[test]
fn rfc4343_a_label_is_read_in_any_case() {
    assert_eq!(label(3).as_str().to_uppercase().parse::<Label>(), Ok(label(3)));
}

#[test]
fn a_zone_is_held_in_lower_case_without_the_last_dot() {
    assert_eq!(zone("STS.Example.net.").as_str(), "sts.example.net");
    for text in ["", ".", "sts..net", "_sts.example.net", "192.0.2.1", "-a.net", "bücher.example"] {
        assert!(text.parse::<ZoneName>().is_err(), "{text}");
    }
}

#[test]
fn rfc1035_a_zone_leaves_room_for_every_name_in_it() {
    let longest = zone(&name_of(216));
    let lengths = Purpose::ALL.map(|purpose| purpose.target(&label(1), &longest).len());
    assert_eq!(lengths.into_iter().max(), Some(253));
    assert!(name_of(217).parse::<ZoneName>().is_err());
}

#[test]
fn rfc8461_8_2_the_policy_host_and_the_records_have_cnames_of_their_own() {
    let (label, zone) = (label(1), zone("sts.example.net"));
    let records = Delegation::new(&domain("customer.test"), &label, &zone).records();
    let seen: Vec<_> = records.iter().map(|r| (r.purpose, r.name.as_str(), r.target.clone(), r.required)).collect();
    assert_eq!(
        seen,
        [
            (Purpose::PolicyHost, "mta-sts.customer.test", format!("{label}.edge.sts.example.net"), true),
            (Purpose::StsRecord, "_mta-sts.customer.test", format!("{label}._mta-sts.sts.example.net"), true),
            (Purpose::TlsRptRecord, "_smtp._tls.customer.test", format!("{label}._smtp-tls.sts.example.net"), true),
            (
                Purpose::AcmeChallenge,
                "_acme-challenge.mta-sts.customer.test",
                format!("{label}.acme.sts.example.net"),
                false
            ),
        ]
    );
}

#[test]
fn rfc1035_5_1_the_zone_file_has_absolute_names_and_the_optional_record_commented_out() {
    let label = "aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap();
    let text = Delegation::new(&domain("customer.test"), &label, &zone("sts.example.net")).zone_file();
    assert_eq!(
        text,
        "\
; MTA-STS and TLS reporting of customer.test
mta-sts.customer.test.                 3600 IN CNAME aaaaaaaaaaaaaaaaaaaaaaaaaa.edge.sts.example.net.
_mta-sts.customer.test.                3600 IN CNAME aaaaaaaaaaaaaaaaaaaaaaaaaa._mta-sts.sts.example.net.
_smtp._tls.customer.test.              3600 IN CNAME aaaaaaaaaaaaaaaaaaaaaaaaaa._smtp-tls.sts.example.net.
; optional, for certificates by dns-01:
; _acme-challenge.mta-sts.customer.test. 3600 IN CNAME aaaaaaaaaaaaaaaaaaaaaaaaaa.acme.sts.example.net.
"
    );
}

#[test]
fn the_label_of_a_target_is_found_only_under_its_own_sub_tree_and_zone() {
    let (label, zone) = (label(1), zone("sts.example.net"));
    let of = |target: &str| Purpose::PolicyHost.label_of(target, &zone);
    assert_eq!(of(&format!("{label}.edge.sts.example.net")), Some(label.clone()));
    assert_eq!(of(&format!("{label}.EDGE.STS.example.net.").to_uppercase()), Some(label.clone()));
    for target in [
        format!("{label}._mta-sts.sts.example.net"),
        format!("{label}.edge.sts.example.com"),
        format!("{label}.edge.evil.sts.example.net"),
        format!("{label}.edgests.example.net"),
        format!("x.{label}.edge.sts.example.net"),
        "edge.sts.example.net".to_owned(),
        "mx.example.net".to_owned(),
        String::new(),
    ] {
        assert_eq!(of(&target), None, "{target}");
    }
}

#[test]
fn purposes_are_the_same_words_in_json_and_in_the_store() {
    for purpose in Purpose::ALL {
        assert_eq!(serde_json::to_string(&purpose).unwrap(), format!("\"{}\"", purpose.as_str()));
    }
}

proptest! {
    #[test]
    fn a_drawn_label_reads_back_and_is_a_host_label(seed: u64) {
        let label = label(seed);
        prop_assert_eq!(label.as_str().parse::<Label>().unwrap(), label.clone());
        let target = format!("{label}.edge.example.net");
        prop_assert!(HostName::parse(&target).is_ok());
        let json = serde_json::to_string(&label).unwrap();
        prop_assert_eq!(serde_json::from_str::<Label>(&json).unwrap(), label);
    }

    #[test]
    fn every_target_leads_back_to_its_label_and_to_no_other_purpose(seed: u64, zone in "[a-z]{1,9}\\.[a-z]{2,5}") {
        let (label, zone) = (label(seed), zone.parse::<ZoneName>().unwrap());
        for purpose in Purpose::ALL {
            for asked in Purpose::ALL {
                let found = asked.label_of(&purpose.target(&label, &zone), &zone);
                prop_assert_eq!(found, (asked == purpose).then(|| label.clone()));
            }
        }
    }
}
