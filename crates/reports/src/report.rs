//! A report of either kind.

use std::{collections::VecDeque, vec};

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

/// Opens an input and reads the documents in it, one at a time as they are asked for: all at once could take as much
/// room as `limits` allow for each.
pub fn read(bytes: &[u8], limits: &Limits) -> Readings {
    let Opened { found, spent } = open(bytes, limits);
    Readings { found: found.into_iter(), no_reports: VecDeque::new(), is_any_read: false, limits: *limits, spent }
}

/// What is in one input. Documents that are no reports come last, and only if there is no report beside them: mails have
/// other attachments too.
#[derive(Debug)]
pub struct Readings {
    found: vec::IntoIter<Found>,
    no_reports: VecDeque<Reading>,
    is_any_read: bool,
    limits: Limits,
    spent: Spent,
}

impl Readings {
    /// What opening the input took.
    pub fn spent(&self) -> Spent {
        self.spent
    }
}

impl Iterator for Readings {
    type Item = Reading;

    fn next(&mut self) -> Option<Reading> {
        for found in self.found.by_ref() {
            let reading = reading(found, &self.limits);
            match &reading.outcome {
                Ok(_) => self.is_any_read = true,
                Err(Unreadable::NotAReport { .. }) => {
                    self.no_reports.push_back(reading);
                    continue;
                }
                Err(_) => {}
            }
            return Some(reading);
        }
        if self.is_any_read { None } else { self.no_reports.pop_front() }
    }
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
