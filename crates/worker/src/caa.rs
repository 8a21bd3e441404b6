//! Whether CAA lets the CA issue (RFC 8659, RFC 8657): asked before an order, so that a refusal costs no order and has
//! a clear reason.

use mtasts_certs::{CaaIdentity, ChallengeKind};
use mtasts_dns::{Caa, CaaSet};

/// Property tags that are known; others with the critical flag forbid issuance (RFC 8659 §4.1).
const KNOWN_TAGS: [&str; 6] = ["issue", "issuewild", "iodef", "contactemail", "contactphone", "issuemail"];

/// Why the CA must not issue for a host (never a wildcard); `None` when it may.
pub(crate) fn forbids(set: Option<&CaaSet>, identity: &CaaIdentity, kinds: &[ChallengeKind]) -> Option<String> {
    let set = set?;
    if identity.issuer_domains.is_empty() {
        return None;
    }
    if let Some(unknown) = set.records.iter().find(|caa| caa.critical && !KNOWN_TAGS.contains(&caa.tag.as_str())) {
        return Some(format!("{} has a critical CAA record with the unknown tag {:?}", set.owner, unknown.tag));
    }
    let issue: Vec<&Caa> = set.records.iter().filter(|caa| caa.tag == "issue").collect();
    // Without any `issue` the set does not restrict who issues (RFC 8659 §4.2).
    if issue.is_empty() || issue.iter().any(|caa| allows(&caa.value, identity, kinds)) {
        return None;
    }
    let values: Vec<_> = issue.iter().map(|caa| caa.value.as_str()).collect();
    Some(format!(
        "the CAA records of {} allow {:?} and not {}. Add: {} CAA 0 issue \"{}\"",
        set.owner,
        values.join(", "),
        identity.issuer_domains.join(" or "),
        set.owner,
        identity.issuer_domains.first().map_or("", String::as_str),
    ))
}

/// `[issuer-domain] *( ";" parameter "=" value )` (RFC 8659 §4.2).
fn allows(value: &str, identity: &CaaIdentity, kinds: &[ChallengeKind]) -> bool {
    let mut parts = value.split(';').map(str::trim);
    let domain = parts.next().unwrap_or_default();
    if !identity.issuer_domains.iter().any(|ours| ours.eq_ignore_ascii_case(domain)) {
        return false;
    }
    parts.filter(|part| !part.is_empty()).all(|parameter| {
        let (name, value) =
            parameter.split_once('=').map_or((parameter, ""), |(name, value)| (name.trim(), value.trim()));
        if name.eq_ignore_ascii_case("accounturi") {
            // RFC 8657 §3.
            identity.account_uri.as_deref() == Some(value)
        } else if name.eq_ignore_ascii_case("validationmethods") {
            // RFC 8657 §4. A CA that asks for no challenge has no method that could be excluded.
            kinds.is_empty() || value.split(',').any(|method| kinds.iter().any(|kind| kind.as_str() == method.trim()))
        } else {
            // Parameters are the CA's own affair; unknown ones are for it to judge.
            true
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(records: &[(&str, &str)]) -> CaaSet {
        let record = |&(tag, value): &(&str, &str)| Caa {
            critical: tag.starts_with('!'),
            tag: tag.trim_start_matches('!').to_owned(),
            value: value.to_owned(),
        };
        CaaSet { owner: "customer.test".to_owned(), records: records.iter().map(record).collect() }
    }

    #[test]
    fn caa_decides_as_rfc_8659_and_8657_say() {
        let identity = CaaIdentity {
            issuer_domains: vec!["ca.test".to_owned()],
            account_uri: Some("https://ca.test/acct/1".to_owned()),
        };
        let kinds = [ChallengeKind::Http01, ChallengeKind::TlsAlpn01];
        let allowed: [&[(&str, &str)]; 9] = [
            &[("issue", "ca.test")],
            &[("issue", "CA.test")],
            &[("issue", " ca.test ; ")],
            &[("issue", "other.test"), ("issue", "ca.test")],
            &[("iodef", "mailto:security@customer.test")],
            &[("issuewild", ";")],
            &[("issue", "ca.test; accounturi=https://ca.test/acct/1")],
            &[("issue", "ca.test; validationmethods=dns-01,http-01")],
            &[("!issue", "ca.test; tier=gold"), ("unknown", "x")],
        ];
        for records in allowed {
            assert_eq!(forbids(Some(&set(records)), &identity, &kinds), None, "{records:?}");
        }
        let forbidden: [&[(&str, &str)]; 7] = [
            &[("issue", ";")],
            &[("issue", "")],
            &[("issue", "other.test")],
            &[("issue", "notca.test")],
            &[("issue", "ca.test; accounturi=https://ca.test/acct/2")],
            &[("issue", "ca.test; validationmethods=dns-01")],
            &[("issue", "ca.test"), ("!unknown", "x")],
        ];
        for records in forbidden {
            assert!(forbids(Some(&set(records)), &identity, &kinds).is_some(), "{records:?}");
        }
        assert_eq!(forbids(None, &identity, &kinds), None, "no CAA records restrict nobody");
        assert_eq!(forbids(Some(&set(&[("issue", ";")])), &CaaIdentity::default(), &kinds), None, "a private CA");
    }
}
