//! Which report it is, and who says to have sent it.

use serde::Serialize;

use crate::{Found, Report, names};

/// What a file name says in the form `submitter!policy-domain!begin!end[!unique-id].extension` (RFC 8460 §5.1,
/// RFC 7489 §7.2.1.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileName {
    /// The organisation's domain.
    pub submitter: String,
    /// The domain that the report is about.
    pub domain: String,
    /// Seconds since 1970.
    pub begin: Option<i64>,
    /// Seconds since 1970.
    pub end: Option<i64>,
    /// What tells apart reports on the same time, without the extension.
    pub unique: Option<String>,
}

impl FileName {
    /// Reads the last part of a path; nothing if it has another form.
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.rsplit(['/', '\\']).next()?.trim();
        let mut fields = name.split('!').map(str::trim);
        let submitter = names::domain(fields.next()?)?;
        let domain = names::domain(fields.next()?)?;
        let begin = fields.next()?;
        let rest: Vec<&str> = fields.collect();
        let stem = |text: &str| text.split('.').next().unwrap_or_default().to_owned();
        let (end, unique) = match rest.as_slice() {
            [] => return None,
            [end] => (stem(end), None),
            [end, unique, ..] => ((*end).to_owned(), Some(stem(unique)).filter(|unique| !unique.is_empty())),
        };
        Some(Self { submitter, domain, begin: begin.parse().ok(), end: end.parse().ok(), unique })
    }
}

/// What a subject says in the form `Report Domain: … Submitter: … Report-ID: <…>` (RFC 8460 §5.3, RFC 7489 §7.2.1.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// The domain that the report is about.
    pub domain: Option<String>,
    /// The organisation's domain.
    pub submitter: Option<String>,
    /// The report's id, without brackets.
    pub report_id: Option<String>,
}

impl Subject {
    /// Reads a decoded subject; nothing if it has another form. What a gateway has put before it is passed over.
    pub fn parse(subject: &str) -> Option<Self> {
        let lower = subject.to_ascii_lowercase();
        let after = |word: &str| {
            let start = lower.find(word)? + word.len();
            let text = subject.get(start..)?.trim_start_matches([':', ' ', '\t']);
            text.split_whitespace().next()
        };
        let domain = after("report domain").and_then(names::domain);
        let submitter = after("submitter").and_then(names::domain);
        let report_id = after("report-id").map(names::unbracketed).filter(|id| !id.is_empty()).map(str::to_owned);
        (domain.is_some() || submitter.is_some()).then_some(Self { domain, submitter, report_id })
    }
}

/// Where something was said, best witness first: the document outranks the subject and the file name (RFC 8460 §5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The document's field for it.
    Document,
    /// `contact-info`, or DMARC's `email`.
    ContactInfo,
    /// The message's `From`.
    From,
    /// `TLS-Report-Submitter` and `TLS-Report-Domain`.
    HeaderField,
    /// The subject.
    Subject,
    /// The file name.
    FileName,
}

/// A domain that the reporting organisation is said to have, for DKIM alignment. Nothing of it is proved yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// In lower case.
    pub domain: String,
    /// Who says so.
    pub source: Source,
}

/// What tells a report from others, for each policy domain in it: two with an equal key are one and the same
/// (RFC 8460 §5.6).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ReportKey {
    /// The organisation's name, in lower case and with single spaces.
    pub organization: String,
    /// The report's id, as it is.
    pub report_id: String,
    /// The policy domain, in lower case. Empty if nobody says which.
    pub policy_domain: String,
}

/// Which report it is, and whose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// One for each policy domain, without repetition. None if no witness tells the organisation or the id; then only
    /// the octets themselves tell it apart.
    pub keys: Vec<ReportKey>,
    /// The worst witness that a key rests on.
    pub source: Source,
    /// Domains of the organisation, best witness first.
    pub claims: Vec<Claim>,
}

impl Identity {
    /// Puts together what the document, the message and the file name say.
    pub fn of(report: &Report, found: &Found) -> Self {
        let mail = found.mail.as_deref();
        let subject = mail.and_then(|mail| mail.subject_fields.as_ref());
        let file = found.file_name.as_ref();
        let submitter = mail.and_then(|mail| mail.report_submitter.as_deref()).and_then(names::domain);

        let mut worst = Source::Document;
        let mut best = |witnesses: Vec<(Source, Option<String>)>| {
            let (source, text) = witnesses.into_iter().find_map(|(source, text)| Some((source, text?)))?;
            worst = worst.max(source);
            Some(text)
        };
        let organization = best(vec![
            (Source::Document, report.organization().map(str::to_owned)),
            (Source::HeaderField, submitter.clone()),
            (Source::Subject, subject.and_then(|subject| subject.submitter.clone())),
            (Source::FileName, file.map(|file| file.submitter.clone())),
        ]);
        let report_id = best(vec![
            (Source::Document, report.report_id().map(str::to_owned)),
            (Source::Subject, subject.and_then(|subject| subject.report_id.clone())),
            (Source::FileName, file.and_then(|file| file.unique.clone())),
        ]);
        let mut domains = report.policy_domains();
        if domains.is_empty() {
            domains.extend(best(vec![
                (Source::HeaderField, mail.and_then(|mail| mail.report_domain.as_deref()).and_then(names::domain)),
                (Source::Subject, subject.and_then(|subject| subject.domain.clone())),
                (Source::FileName, file.map(|file| file.domain.clone())),
            ]));
        }
        if domains.is_empty() {
            domains.push(String::new());
        }
        let keys = match (organization, report_id) {
            (Some(organization), Some(report_id)) => {
                let organization = organization.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
                let key = |policy_domain| ReportKey {
                    organization: organization.clone(),
                    report_id: report_id.clone(),
                    policy_domain,
                };
                domains.into_iter().map(key).collect()
            }
            _ => Vec::new(),
        };

        let mut claims = Vec::new();
        let mut claim = |source, domain: Option<String>| {
            if let Some(domain) = domain {
                claims.push(Claim { domain, source });
            }
        };
        claim(Source::Document, report.organization().and_then(names::domain));
        claim(Source::ContactInfo, report.contact().and_then(names::domain_of_contact));
        claim(Source::From, mail.and_then(|mail| mail.from.as_deref()).and_then(names::domain_of_contact));
        claim(Source::HeaderField, submitter);
        claim(Source::Subject, subject.and_then(|subject| subject.submitter.clone()));
        claim(Source::FileName, file.map(|file| file.submitter.clone()));
        Self { keys, source: worst, claims }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_read_with_and_without_a_unique_id_and_others_are_not() {
        let file = FileName::parse("google.com!Example.NET!1663200000!1663286399!001.json.gz").unwrap();
        assert_eq!((file.submitter.as_str(), file.domain.as_str()), ("google.com", "example.net"));
        assert_eq!(
            (file.begin, file.end, file.unique.as_deref()),
            (Some(1_663_200_000), Some(1_663_286_399), Some("001"))
        );
        let file = FileName::parse("mail.sender.example!example.com!1013662812!1013749130.json.gz").unwrap();
        assert_eq!((file.end, file.unique), (Some(1_013_749_130), None));
        for other in ["report.json", "a!b", "", "!!!!", "../../etc!passwd!1!2"] {
            assert_eq!(FileName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn subjects_are_read_behind_what_a_gateway_put_before_them() {
        let subject = Subject::parse(
            "[EXTERNAL] Report Domain: example.net Submitter: mail.sender.example Report-ID: <735ff.e317+bf@example.net>",
        );
        let subject = subject.unwrap();
        assert_eq!(subject.domain.as_deref(), Some("example.net"));
        assert_eq!(subject.submitter.as_deref(), Some("mail.sender.example"));
        assert_eq!(subject.report_id.as_deref(), Some("735ff.e317+bf@example.net"));
        assert_eq!(Subject::parse("Hello"), None);
    }
}
