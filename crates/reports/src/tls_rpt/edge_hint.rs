//! What a reason says of the policy host: free text, of which no RFC says how it has to look.

use serde::Serialize;

use super::ResultType;

/// What a sender met at the policy host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EdgeFault {
    /// A status other than 200.
    HttpStatus,
    /// A redirect, which senders do not follow (RFC 8461 §3.3).
    Redirect,
    /// Another media type than `text/plain` (RFC 8461 §3.2).
    MediaType,
    /// A body above the sender's limit (RFC 8461 §3.3).
    TooLarge,
    /// A certificate that has expired, or is not valid yet.
    CertificateExpired,
    /// A certificate for another name.
    CertificateName,
    /// A chain that leads to no trusted CA.
    CertificateUntrusted,
    /// Any other fault of the certificate.
    Certificate,
    /// TLS itself: a handshake or an alert.
    Tls,
    /// No answer in time.
    Timeout,
    /// No connection.
    Connection,
    /// No address.
    Dns,
    /// A body that is no policy.
    Syntax,
    /// The text, if there is one, says nothing more.
    Unspecified,
}

/// A failure that speaks of the policy host, for a comparison with what was served there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct EdgeHint {
    /// What was met.
    pub fault: EdgeFault,
    /// The HTTP status, if it is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// Words in lower case, and what they speak of. The first that is found counts, so the narrow ones are first.
const WORDS: &[(&str, EdgeFault)] = &[
    ("redirect", EdgeFault::Redirect),
    ("content-type", EdgeFault::MediaType),
    ("content type", EdgeFault::MediaType),
    ("media type", EdgeFault::MediaType),
    ("mime type", EdgeFault::MediaType),
    ("too large", EdgeFault::TooLarge),
    ("too big", EdgeFault::TooLarge),
    ("body limit", EdgeFault::TooLarge),
    ("has_expired", EdgeFault::CertificateExpired),
    ("expired", EdgeFault::CertificateExpired),
    ("not yet valid", EdgeFault::CertificateExpired),
    ("not_yet_valid", EdgeFault::CertificateExpired),
    ("hostname mismatch", EdgeFault::CertificateName),
    ("host mismatch", EdgeFault::CertificateName),
    ("hostname_mismatch", EdgeFault::CertificateName),
    ("name mismatch", EdgeFault::CertificateName),
    ("not valid for", EdgeFault::CertificateName),
    ("is valid for", EdgeFault::CertificateName),
    ("doesn't match", EdgeFault::CertificateName),
    ("does not match", EdgeFault::CertificateName),
    ("unknown authority", EdgeFault::CertificateUntrusted),
    ("unknown ca", EdgeFault::CertificateUntrusted),
    ("unknownissuer", EdgeFault::CertificateUntrusted),
    ("unknown issuer", EdgeFault::CertificateUntrusted),
    ("local issuer", EdgeFault::CertificateUntrusted),
    ("self signed", EdgeFault::CertificateUntrusted),
    ("self-signed", EdgeFault::CertificateUntrusted),
    ("untrusted", EdgeFault::CertificateUntrusted),
    ("not trusted", EdgeFault::CertificateUntrusted),
    ("certificate", EdgeFault::Certificate),
    ("x509", EdgeFault::Certificate),
    ("webpki", EdgeFault::Certificate),
    ("timeout", EdgeFault::Timeout),
    ("timed out", EdgeFault::Timeout),
    ("time out", EdgeFault::Timeout),
    ("deadline", EdgeFault::Timeout),
    ("handshake", EdgeFault::Tls),
    ("tls", EdgeFault::Tls),
    ("ssl", EdgeFault::Tls),
    ("nxdomain", EdgeFault::Dns),
    ("no such host", EdgeFault::Dns),
    ("not resolve", EdgeFault::Dns),
    ("name resolution", EdgeFault::Dns),
    ("dns", EdgeFault::Dns),
    ("refused", EdgeFault::Connection),
    ("reset", EdgeFault::Connection),
    ("unreachable", EdgeFault::Connection),
    ("connect", EdgeFault::Connection),
    ("eof", EdgeFault::Connection),
    ("syntax", EdgeFault::Syntax),
    ("parse", EdgeFault::Syntax),
    ("malformed", EdgeFault::Syntax),
    ("invalid policy", EdgeFault::Syntax),
    ("version", EdgeFault::Syntax),
    ("max_age", EdgeFault::Syntax),
];

impl EdgeHint {
    /// Reads the texts of a failure. Nothing if it speaks of an MX host: either the result type is one of the policy's,
    /// or a text names an HTTP status, which no MX host has.
    pub(super) fn read(result: &ResultType, reason: Option<&str>, information: Option<&str>) -> Option<Self> {
        let texts = [reason, information].map(|text| text.unwrap_or_default().to_ascii_lowercase());
        let status = texts.iter().find_map(|text| status(text));
        let texts = texts.map(|text| without_names(&text));
        if !result.is_about_the_policy() && status.is_none() {
            return None;
        }
        let fault = match status {
            Some(300..=399) => EdgeFault::Redirect,
            Some(status) if status != 200 => EdgeFault::HttpStatus,
            _ => {
                let find = |text: &String| WORDS.iter().find(|(word, _)| text.contains(word)).map(|(_, fault)| *fault);
                texts.iter().find_map(find).unwrap_or(match result {
                    ResultType::StsWebpkiInvalid => EdgeFault::Certificate,
                    ResultType::StsPolicyInvalid => EdgeFault::Syntax,
                    _ => EdgeFault::Unspecified,
                })
            }
        };
        Some(Self { fault, status })
    }
}

/// Without web addresses and policy hosts, in whose names any word may be.
fn without_names(text: &str) -> String {
    let words = text.split_whitespace().filter(|word| !word.contains("://") && !word.contains("mta-sts."));
    words.collect::<Vec<_>>().join(" ")
}

/// A number of three digits in a text that speaks of HTTP: a word alone (`404`, `HTTP-404`) or behind a key
/// (`status=404`), and neither a port nor a part of an address.
fn status(text: &str) -> Option<u16> {
    const HTTPS_PORT: u16 = 443;
    let speaks_of_http = ["http", "status", "response code"].iter().any(|word| text.contains(word));
    if !speaks_of_http || text.contains("smtp") {
        return None;
    }
    let words = text.split(|char: char| char.is_whitespace() || matches!(char, ',' | ';' | '(' | ')' | '"' | '\''));
    let numbers = words.filter_map(|word| {
        let word = word.trim_matches(['.', ':', '=']);
        match word.rsplit_once([':', '=']) {
            Some((key, value)) => {
                key.bytes().all(|octet| octet.is_ascii_alphabetic() || octet == b'_').then_some(value)
            }
            None => Some(word.trim_start_matches("http").trim_start_matches(['-', '_', '/'])),
        }
    });
    numbers
        .filter(|number| number.len() == 3)
        .filter_map(|number| number.parse().ok())
        .find(|status| (100..600).contains(status) && *status != HTTPS_PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_speak_of_the_policy_host_are_told_with_their_status() {
        use EdgeFault as F;
        use ResultType as R;
        for (result, reason, fault, status) in [
            (R::StsPolicyFetchError, "bad https response code: 404", F::HttpStatus, Some(404)),
            (R::StsPolicyFetchError, "HTTP status 503 Service Unavailable", F::HttpStatus, Some(503)),
            (R::StsPolicyFetchError, "unexpected HTTP 301 response", F::Redirect, Some(301)),
            (R::StsPolicyFetchError, "bad https response code: 200", F::Unspecified, Some(200)),
            (R::StsPolicyFetchError, "context deadline exceeded", F::Timeout, None),
            (R::StsPolicyFetchError, "dial tcp 192.0.2.1:443: connect: connection refused", F::Connection, None),
            (R::StsPolicyFetchError, "Get \"https://mta-sts.dns-tls.example/\": EOF", F::Connection, None),
            (R::StsPolicyFetchError, "status=410", F::HttpStatus, Some(410)),
            (R::StsPolicyFetchError, "http-404", F::HttpStatus, Some(404)),
            (
                R::StsPolicyFetchError,
                "Get \"https://mta-sts.example.net/.well-known/mta-sts.txt\": dial tcp 192.0.2.1:443: connection refused",
                F::Connection,
                None,
            ),
            (R::StsPolicyFetchError, "https: no route to 2001:db8:123::1 port 443, unreachable", F::Connection, None),
            (R::StsPolicyFetchError, "lookup mta-sts.example.net: no such host", F::Dns, None),
            (R::StsPolicyFetchError, "", F::Unspecified, None),
            (R::StsWebpkiInvalid, "x509: certificate has expired or is not yet valid", F::CertificateExpired, None),
            (R::StsWebpkiInvalid, "X509_V_ERR_HOSTNAME_MISMATCH", F::CertificateName, None),
            (R::StsWebpkiInvalid, "unable to get local issuer certificate", F::CertificateUntrusted, None),
            (R::StsWebpkiInvalid, "", F::Certificate, None),
            (R::StsPolicyInvalid, "wrong Content-Type", F::MediaType, None),
            (R::StsPolicyInvalid, "", F::Syntax, None),
            (R::ValidationFailure, "bad https response code: 404", F::HttpStatus, Some(404)),
        ] {
            assert_eq!(EdgeHint::read(&result, Some(reason), None), Some(EdgeHint { fault, status }), "{reason}");
        }
    }

    #[test]
    fn reasons_that_speak_of_an_mx_host_give_no_hint() {
        for reason in ["certificate has expired", "SMTP status 454 TLS not available", "", "dial tcp 192.0.2.200:25"] {
            assert_eq!(EdgeHint::read(&ResultType::ValidationFailure, Some(reason), None), None, "{reason}");
        }
    }
}
