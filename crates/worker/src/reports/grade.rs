//! What is known of who sent a report (RFC 8460 §3).

use mtasts_model::{ReportGrade, ReportVia};
use mtasts_reports::{Claim, Source};

use super::signatures::{Checked, Flaw};

/// A grade and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Graded {
    pub(super) grade: ReportGrade,
    pub(super) reason: &'static str,
    /// The domain that signed, of a verified report.
    pub(super) signer: Option<String>,
    /// DNS was silent, and what it would have said matters: worth another try.
    pub(super) is_open: bool,
}

impl Graded {
    fn new(grade: ReportGrade, reason: &'static str) -> Self {
        Self { grade, reason, signer: None, is_open: false }
    }
}

/// Grades one document. A signature counts if its domain and one that the document or the mail claims for the reporting
/// organisation are of one organisation.
pub(super) fn grade(via: ReportVia, checked: &[Checked], claims: &[Claim]) -> Graded {
    if via == ReportVia::Https {
        return Graded::new(ReportGrade::Anonymous, "https");
    }
    if checked.is_empty() {
        return Graded::new(ReportGrade::Unsigned, "no-signature");
    }
    // A subject and a file name are no claims of who signs: they name the submitter in nobody's name.
    let claims: Vec<&str> = claims
        .iter()
        .filter(|claim| {
            matches!(claim.source, Source::Document | Source::ContactInfo | Source::From | Source::HeaderField)
        })
        .map(|claim| claim.domain.as_str())
        .collect();
    let is_aligned = |domain: &str| claims.iter().any(|claim| is_same_organization(domain, claim));
    let mut worst = Flaw::Malformed;
    for signature in checked {
        let flaw = match signature.outcome {
            _ if signature.domain.is_empty() => Flaw::Malformed,
            _ if !is_aligned(&signature.domain) => Flaw::NotAligned,
            Ok(()) => {
                let signer = Some(signature.domain.clone());
                return Graded { signer, ..Graded::new(ReportGrade::Verified, "dkim-pass") };
            }
            Err(flaw) => flaw,
        };
        worst = worst.max(flaw);
    }
    let grade = if worst == Flaw::KeyInTesting { ReportGrade::Unsigned } else { ReportGrade::Failed };
    Graded { is_open: worst == Flaw::KeyUnreachable, ..Graded::new(grade, worst.as_str()) }
}

/// The domain that its owner registered; None of a public suffix, which belongs to nobody in particular.
pub(super) fn organizational_domain(name: &str) -> Option<&str> {
    psl::domain_str(name)
}

pub(super) fn is_same_organization(one: &str, other: &str) -> bool {
    organizational_domain(one).is_some_and(|domain| organizational_domain(other) == Some(domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(domain: &str, source: Source) -> Claim {
        Claim { domain: domain.to_owned(), source }
    }

    fn signed(domain: &str, outcome: Result<(), Flaw>) -> Checked {
        Checked { domain: domain.to_owned(), outcome }
    }

    #[test]
    fn organizations_are_told_apart_by_the_public_suffix_list() {
        for (one, other, wanted) in [
            ("google.com", "google.com", true),
            ("mail.google.com", "smtp.google.com", true),
            ("google.com", "google.com.evil.example", false),
            ("one.co.uk", "other.co.uk", false),
            ("co.uk", "other.co.uk", false),
            ("co.uk", "co.uk", false),
            ("one.github.io", "other.github.io", false),
            ("com", "google.com", false),
        ] {
            assert_eq!(is_same_organization(one, other), wanted, "{one} {other}");
        }
    }

    #[test]
    fn each_branch_of_grading() {
        use ReportGrade as G;
        let claims = [
            claim("sender.example", Source::From),
            claim("subject.example", Source::Subject),
            claim("file.example", Source::FileName),
        ];
        for (checked, wanted, reason, signer, is_open) in [
            (vec![], G::Unsigned, "no-signature", None, false),
            (vec![signed("sender.example", Ok(()))], G::Verified, "dkim-pass", Some("sender.example"), false),
            (vec![signed("a.sender.example", Ok(()))], G::Verified, "dkim-pass", Some("a.sender.example"), false),
            (vec![signed("evil.example", Ok(()))], G::Failed, "not-aligned", None, false),
            (vec![signed("subject.example", Ok(()))], G::Failed, "not-aligned", None, false),
            (vec![signed("file.example", Ok(()))], G::Failed, "not-aligned", None, false),
            (vec![signed("example", Ok(()))], G::Failed, "not-aligned", None, false),
            (vec![signed("sender.example", Err(Flaw::Invalid))], G::Failed, "signature-invalid", None, false),
            (vec![signed("sender.example", Err(Flaw::BodyLengthLimit))], G::Failed, "body-length-limit", None, false),
            (vec![signed("sender.example", Err(Flaw::KeyInTesting))], G::Unsigned, "key-in-testing", None, false),
            (vec![signed("sender.example", Err(Flaw::KeyUnreachable))], G::Failed, "key-unreachable", None, true),
            // Whether a stranger's key can be reached changes nothing.
            (vec![signed("evil.example", Err(Flaw::KeyUnreachable))], G::Failed, "not-aligned", None, false),
            (
                vec![
                    signed("evil.example", Ok(())),
                    signed("sender.example", Err(Flaw::Invalid)),
                    signed("sender.example", Ok(())),
                ],
                G::Verified,
                "dkim-pass",
                Some("sender.example"),
                false,
            ),
            (vec![signed("", Err(Flaw::Malformed))], G::Failed, "signature-malformed", None, false),
        ] {
            let graded = grade(ReportVia::Smtp, &checked, &claims);
            let wanted = Graded { grade: wanted, reason, signer: signer.map(str::to_owned), is_open };
            assert_eq!(graded, wanted, "{checked:?}");
        }
        let anonymous = grade(ReportVia::Https, &[signed("sender.example", Ok(()))], &claims);
        assert_eq!((anonymous.grade, anonymous.reason), (G::Anonymous, "https"));
    }
}
