//! A report of either kind.

use serde::Serialize;

use crate::{Deviations, Document, Found, Identity, Limits, Opened, Period, Spent, Unreadable, dmarc, open, tls_rpt};

/// A report of either kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Report {
    /// SMTP TLS reporting.
    TlsRpt(Box<tls_rpt::Report>),
    /// DMARC aggregate.
    Dmarc(Box<dmarc::Report>),
}

impl Report {
    /// Reads a document.
    pub fn parse(document: &Document, limits: &Limits) -> Result<Self, Unreadable> {
        match document {
            Document::Json(octets) => {
                tls_rpt::Report::parse(octets, limits).map(|report| Self::TlsRpt(Box::new(report)))
            }
            Document::Xml(octets) => dmarc::Report::parse(octets, limits).map(|report| Self::Dmarc(Box::new(report))),
        }
    }

    /// The reporting organisation, as it calls itself.
    pub fn organization(&self) -> Option<&str> {
        match self {
            Self::TlsRpt(report) => report.organization.as_deref(),
            Self::Dmarc(report) => report.organization.as_deref(),
        }
    }

    /// How to reach it.
    pub fn contact(&self) -> Option<&str> {
        match self {
            Self::TlsRpt(report) => report.contact.as_deref(),
            Self::Dmarc(report) => report.contact.as_deref(),
        }
    }

    /// The report's id.
    pub fn report_id(&self) -> Option<&str> {
        match self {
            Self::TlsRpt(report) => report.report_id.as_deref(),
            Self::Dmarc(report) => report.report_id.as_deref(),
        }
    }

    /// The time that it speaks of.
    pub fn period(&self) -> Period {
        match self {
            Self::TlsRpt(report) => report.period,
            Self::Dmarc(report) => report.period,
        }
    }

    /// The distinct domains that it is about.
    pub fn policy_domains(&self) -> Vec<String> {
        match self {
            Self::TlsRpt(report) => report.policy_domains(),
            Self::Dmarc(report) => report.policy_domains(),
        }
    }

    /// Where the document departs from its RFC.
    pub fn deviations(&self) -> &Deviations {
        match self {
            Self::TlsRpt(report) => &report.deviations,
            Self::Dmarc(report) => &report.deviations,
        }
    }
}

/// One report of an input, or why it could not be read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// How it came. Its document is gone: the report has all of it.
    pub path: Vec<String>,
    /// What was amiss on the way to it.
    pub on_the_way: Deviations,
    /// The report and which it is.
    pub outcome: Result<(Report, Identity), Unreadable>,
}

/// Opens an input and reads each document in it, one after the other. Documents that are no reports are left out if
/// there is one beside them: mails have other attachments too.
pub fn read(bytes: &[u8], limits: &Limits) -> (Vec<Reading>, Spent) {
    let Opened { found, spent } = open(bytes, limits);
    let mut readings: Vec<_> = found.into_iter().map(|found| reading(found, limits)).collect();
    if readings.iter().any(|reading| reading.outcome.is_ok()) {
        readings.retain(|reading| !matches!(reading.outcome, Err(Unreadable::NotAReport { .. })));
    }
    (readings, spent)
}

fn reading(mut found: Found, limits: &Limits) -> Reading {
    // Taken out, so that it is dropped before the next one is read.
    let document = std::mem::replace(&mut found.document, Err(Unreadable::NothingFound));
    let outcome = document.and_then(|document| Report::parse(&document, limits)).map(|report| {
        let identity = Identity::of(&report, &found);
        (report, identity)
    });
    Reading { path: found.path, on_the_way: found.deviations, outcome }
}
