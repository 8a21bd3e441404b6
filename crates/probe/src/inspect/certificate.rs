//! Chains for people: who issued what for which names until when, and why it is not taken.

use chrono::DateTime;
use mtasts_model::{HostName, MxPattern, Timestamp};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{
    Code, Finding, Severity,
    seen::{CertificateFault, CertificateShown, TlsSeen},
    text::{shown, shown_bytes},
    witness::Judgement,
};

/// Certificates of a chain that are shown.
const MAX_CHAIN: usize = 6;
/// Names of a certificate that are shown.
const MAX_NAMES: usize = 20;
/// Names of a certificate that are compared.
const MAX_COMPARED: usize = 1000;
/// Characters of a subject, an issuer, a name.
const MAX_TEXT: usize = 260;
/// Days left below which people are warned: CAs and clients that renew by themselves do it before.
const SOON: i64 = 14;

/// Everything of a session but its version and cipher.
pub(crate) fn read(host: &HostName, chain: &[CertificateDer<'_>], judgement: &Judgement, now: Timestamp) -> TlsSeen {
    let shown: Vec<_> = chain.iter().take(MAX_CHAIN).filter_map(show).collect();
    let leaf = chain.first().and_then(|leaf| X509Certificate::from_der(leaf).ok()).map(|(_, leaf)| leaf);
    let names = leaf.as_ref().map(dns_names).unwrap_or_default();
    let mut faults = Vec::new();
    if let Some(fault) = judgement.chain {
        faults.push(match (fault, &leaf) {
            (CertificateFault::Untrusted, Some(leaf)) => refine(leaf, chain.len()),
            _ => fault,
        });
    }
    if !judgement.name {
        let named_commonly = names.is_empty() && leaf.as_ref().is_some_and(|leaf| has_common_name(leaf, host));
        faults.push(if named_commonly { CertificateFault::NoSan } else { CertificateFault::Name });
    }
    let expiry = leaf.as_ref().and_then(|leaf| time(leaf.validity().not_after.timestamp()));
    TlsSeen {
        version: String::new(),
        cipher: String::new(),
        verified: judgement.verified,
        matched: if judgement.name { names.into_iter().find(|name| covers(name, host)) } else { None },
        faults,
        days_left: expiry.map(|expiry| (expiry - now).num_seconds().div_euclid(86_400)),
        chain: shown,
    }
}

/// Why nobody trusts it.
fn refine(leaf: &X509Certificate<'_>, length: usize) -> CertificateFault {
    if leaf.subject() == leaf.issuer() && leaf.verify_signature(None).is_ok() {
        CertificateFault::SelfSigned
    } else if length == 1 && leaf.subject() != leaf.issuer() {
        CertificateFault::Incomplete
    } else {
        CertificateFault::Untrusted
    }
}

fn has_common_name(leaf: &X509Certificate<'_>, host: &HostName) -> bool {
    let mut names = leaf.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    names.any(|name| name.eq_ignore_ascii_case(host.as_str()))
}

/// As RFC 6125 §6.4.3: a wildcard is the whole first label and stands for one label, which is what a policy's is too.
fn covers(name: &str, host: &HostName) -> bool {
    name.parse::<MxPattern>().is_ok_and(|pattern| pattern.matches(host))
}

fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    certificate.subject_alternative_name().ok().flatten().map_or_else(Vec::new, |extension| {
        let names = extension.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(shown(name, MAX_TEXT)),
            _ => None,
        });
        names.take(MAX_COMPARED).collect()
    })
}

fn show(der: &CertificateDer<'_>) -> Option<CertificateShown> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let mut names = dns_names(&certificate);
    names.truncate(MAX_NAMES);
    Some(CertificateShown {
        subject: shown_bytes(certificate.subject().to_string().as_bytes(), MAX_TEXT),
        issuer: shown_bytes(certificate.issuer().to_string().as_bytes(), MAX_TEXT),
        names,
        serial: shown(&format!("{:x}", certificate.serial), 64),
        not_before: time(certificate.validity().not_before.timestamp()),
        not_after: time(certificate.validity().not_after.timestamp()),
    })
}

fn time(seconds: i64) -> Option<Timestamp> {
    DateTime::from_timestamp(seconds, 0)
}

/// The codes of one kind of host.
pub(crate) struct Codes {
    self_signed: Code,
    incomplete: Code,
    untrusted: Code,
    expired: Code,
    not_yet_valid: Code,
    name: Code,
    no_san: Code,
    ends: Code,
}

/// For policy hosts.
pub(crate) const POLICY_HOST: Codes = Codes {
    self_signed: Code::HostCertificateSelfSigned,
    incomplete: Code::HostCertificateIncomplete,
    untrusted: Code::HostCertificateUntrusted,
    expired: Code::HostCertificateExpired,
    not_yet_valid: Code::HostCertificateNotYetValid,
    name: Code::HostCertificateName,
    no_san: Code::HostCertificateNoSan,
    ends: Code::HostCertificateEnds,
};

/// For MX hosts.
pub(crate) const MX: Codes = Codes {
    self_signed: Code::MxCertificateSelfSigned,
    incomplete: Code::MxCertificateIncomplete,
    untrusted: Code::MxCertificateUntrusted,
    expired: Code::MxCertificateExpired,
    not_yet_valid: Code::MxCertificateNotYetValid,
    name: Code::MxCertificateName,
    no_san: Code::MxCertificateNoSan,
    ends: Code::MxCertificateEnds,
};

/// What there is to say about the certificate that `subject` showed.
pub(crate) fn findings(codes: &Codes, subject: &str, seen: &TlsSeen) -> Vec<Finding> {
    let leaf = seen.chain.first();
    let until = |pick: fn(&CertificateShown) -> Option<Timestamp>| {
        let time = leaf.and_then(pick);
        time.map_or_else(|| "?".to_owned(), |time| time.format("%Y-%m-%d %H:%M UTC").to_string())
    };
    let issuer = leaf.map_or("?", |leaf| leaf.issuer.as_str());
    let mut findings: Vec<Finding> = seen
        .faults
        .iter()
        .map(|fault| {
            let (code, sentence) = match fault {
                CertificateFault::SelfSigned => (codes.self_signed, "the certificate is self-signed".to_owned()),
                CertificateFault::Incomplete => (
                    codes.incomplete,
                    format!("the certificate of {issuer} is sent without the intermediate certificates"),
                ),
                CertificateFault::Untrusted => {
                    (codes.untrusted, format!("the certificate leads to no trusted CA; its issuer is {issuer}"))
                }
                CertificateFault::Expired => {
                    let end = until(|leaf| leaf.not_after);
                    let whose = if seen.days_left.is_some_and(|days| days >= 0) {
                        "a certificate further up the chain has expired".to_owned()
                    } else {
                        format!("the certificate has expired at {end}")
                    };
                    (codes.expired, whose)
                }
                CertificateFault::NotYetValid => {
                    let start = until(|leaf| leaf.not_before);
                    (codes.not_yet_valid, format!("the certificate is not valid yet; it begins at {start}"))
                }
                CertificateFault::Name => {
                    let names = leaf.map(|leaf| leaf.names.join(", ")).filter(|names| !names.is_empty());
                    let names = names.unwrap_or_else(|| "no name at all".to_owned());
                    (codes.name, format!("the certificate is for {names}"))
                }
                CertificateFault::NoSan => {
                    (codes.no_san, "the certificate has the host as its common name alone".to_owned())
                }
            };
            Finding::new(code, subject, sentence)
        })
        .collect();
    if let Some(days) = seen.days_left.filter(|days| seen.verified && (0..SOON).contains(days)) {
        let sentence = format!("the certificate expires in {days} days, at {}", until(|leaf| leaf.not_after));
        let finding = Finding::new(codes.ends, subject, sentence);
        findings.push(finding.at_most(Severity::Warning));
    }
    findings
}
