//! From a document to what it says of each domain, as it is stored.

mod dmarc;
mod tls;

use std::collections::HashMap;

use aws_lc_rs::digest;
use chrono::{NaiveDate, TimeDelta};
use mtasts_model::{DomainId, Entropy, ReportId, ReportKind, TenantId, Timestamp};
use mtasts_reports::{Deviations, Identity, Period, Report};
use mtasts_store::{AddressOrigin, DomainHistory, DueArrival, HeldDomain, NewReport};
use serde_json::{Value as Json, json};

use super::{
    grade::{Graded, organizational_domain},
    origins::Origins,
    sums::Sums,
};

/// Octets of a normal form that are stored; beyond them rows are left out, which are stored as results anyway.
const MOST_BODY: usize = 1 << 20;
/// Rows that a normal form keeps when not all of them fit: first so many, then so many.
const KEPT_ROWS: [usize; 3] = [2_000, 100, 0];
/// A period that is over for longer than this, or that is to come, is a mistake of the sender's.
const OLDEST: TimeDelta = TimeDelta::days(40);
const NEWEST: TimeDelta = TimeDelta::days(2);

/// Everything that is known of a document and around it.
pub(super) struct Context<'a> {
    pub(super) arrival: &'a DueArrival,
    /// The name of the label's domain.
    pub(super) own: &'a str,
    /// The document in the arrival, from 0.
    pub(super) document: u32,
    pub(super) identity: &'a Identity,
    /// The way to it, and what was amiss there.
    pub(super) path: &'a [String],
    pub(super) on_the_way: &'a Deviations,
    pub(super) graded: &'a Graded,
    pub(super) held: &'a HashMap<String, HeldDomain>,
    pub(super) histories: &'a HashMap<DomainId, DomainHistory>,
    pub(super) entropy: &'a dyn Entropy,
    pub(super) origins: &'a Origins,
    pub(super) now: Timestamp,
}

/// What a document says, for each domain that it may speak of; for the label's domain always.
pub(super) fn parts(report: Report, context: &Context<'_>) -> Vec<NewReport> {
    let mut parts = match report {
        Report::TlsRpt(report) => tls::parts(*report, context),
        Report::Dmarc(report) => dmarc::parts(*report, context),
    };
    let own = context.arrival.tenant;
    if parts.iter().any(|part| part.tenant != own) {
        for part in &mut parts {
            part.shared = true;
        }
    }
    parts
}

/// Adds a row to the sums of its country and its network, as far as they are known.
fn add_origin(sums: &mut Sums, origin: &AddressOrigin, good: u64, bad: u64) {
    if let Some(country) = &origin.country {
        sums.add("country", country.as_str(), good, bad);
    }
    if let Some(asn) = origin.asn {
        let name = origin.as_name.as_deref().unwrap_or_default();
        sums.add("network", format!("AS{asn} {name}").trim_end(), good, bad);
    }
}

impl Context<'_> {
    /// What all reports have in common.
    fn report(&self, kind: ReportKind, to: (DomainId, TenantId), header: Header<'_>) -> NewReport {
        let (day, is_off) = day(header.period, self.arrival.received_at);
        let mut body = header.body;
        if let Json::Object(fields) = &mut body {
            fields.insert("kind".to_owned(), kind.as_str().into());
            fields.insert("path".to_owned(), json!(self.path));
            fields.insert("on_the_way".to_owned(), json!(self.on_the_way));
            if is_off {
                let note = "The period cannot be: the figures count for the day of arrival.";
                fields.insert("period_off".to_owned(), note.into());
            }
        }
        let key = self.key(kind, header.domains);
        let signer = self.graded.signer.as_deref();
        let count = |deviations: &Deviations| deviations.list().len() as u64 + deviations.further();
        NewReport {
            id: ReportId::draw(self.now, self.entropy),
            tenant: to.1,
            domain: to.0,
            document: self.document,
            kind,
            grade: self.graded.grade,
            signer: signer.map(str::to_owned),
            grade_reason: self.graded.reason,
            organization: header.organization.unwrap_or_default().to_owned(),
            contact: header.contact.map(str::to_owned),
            report_id: header.report_id.unwrap_or_default().to_owned(),
            begins_at: header.period.begin,
            ends_at: header.period.end,
            day,
            good: 0,
            bad: 0,
            counts: true,
            complete: true,
            shared: false,
            deviations: count(header.deviations) + count(self.on_the_way) + u64::from(is_off),
            body,
            signed_key: signer.and_then(organizational_domain).map(|signer| fingerprint([signer.as_bytes(), &key])),
            key,
            tls: Vec::new(),
            dmarc: Vec::new(),
            sums: Vec::new(),
        }
    }

    /// By what the part is known again: the organisation, its id for the report, and what it is about (RFC 8460 §5.6).
    /// Where no witness tells these, only the octets do.
    fn key(&self, kind: ReportKind, mut domains: Vec<&str>) -> [u8; 32] {
        domains.sort_unstable();
        domains.dedup();
        let domains = domains.join(" ");
        let kind = kind.as_str().as_bytes();
        if let Some(key) = self.identity.keys.first() {
            return fingerprint([kind, key.organization.as_bytes(), key.report_id.as_bytes(), domains.as_bytes()]);
        }
        fingerprint([kind, b"octets", &self.arrival.digest, &self.document.to_be_bytes(), domains.as_bytes()])
    }
}

/// What a document says of itself.
struct Header<'a> {
    organization: Option<&'a str>,
    contact: Option<&'a str>,
    report_id: Option<&'a str>,
    period: Period,
    deviations: &'a Deviations,
    /// What the part is about.
    domains: Vec<&'a str>,
    body: Json,
}

/// SHA-256 of fields, each behind its length.
fn fingerprint<const N: usize>(fields: [&[u8]; N]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for field in fields {
        context.update(&(field.len() as u64).to_be_bytes());
        context.update(field);
    }
    let mut octets = [0; 32];
    octets.copy_from_slice(context.finish().as_ref());
    octets
}

/// The day that a report counts for, and whether its period is none.
fn day(period: Period, received_at: Timestamp) -> (NaiveDate, bool) {
    let arrived = received_at.date_naive();
    match period.day() {
        Some(day) if day >= (received_at - OLDEST).date_naive() && day <= (received_at + NEWEST).date_naive() => {
            (day, false)
        }
        _ => (arrived, true),
    }
}

/// Whether a normal form is larger than is stored.
fn is_too_large(body: &Json) -> bool {
    struct Counted(usize);
    impl std::io::Write for Counted {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            self.0 += octets.len();
            if self.0 > MOST_BODY { Err(std::io::ErrorKind::FileTooLarge.into()) } else { Ok(octets.len()) }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(Counted(0), body).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_for_the_middle_of_its_period_unless_that_cannot_be() {
        let at = |text: &str| format!("{text}:00Z").parse::<Timestamp>().unwrap();
        let date = |text: &str| text.parse::<NaiveDate>().unwrap();
        let received = at("2026-03-11T06:00");
        let on = |begin: &str, end: &str| day(Period { begin: Some(at(begin)), end: Some(at(end)) }, received);
        assert_eq!(on("2026-03-10T00:00", "2026-03-10T23:59"), (date("2026-03-10"), false));
        // From noon to noon the middle is midnight; and a week counts for its Thursday.
        assert_eq!(on("2026-03-09T13:00", "2026-03-10T13:00"), (date("2026-03-10"), false));
        assert_eq!(on("2026-03-02T00:00", "2026-03-08T23:59"), (date("2026-03-05"), false));
        assert_eq!(on("2026-01-30T00:00", "2026-01-30T23:59"), (date("2026-01-30"), false));
        for (begin, end) in [
            ("2026-01-29T00:00", "2026-01-29T23:59"),
            ("1970-01-01T00:00", "1970-01-01T00:00"),
            ("2026-03-14T00:00", "2026-03-14T23:59"),
        ] {
            assert_eq!(on(begin, end), (date("2026-03-11"), true), "{begin}");
        }
        assert_eq!(day(Period::default(), received), (date("2026-03-11"), true));
    }

    #[test]
    fn fingerprints_tell_where_fields_end() {
        assert_ne!(fingerprint([b"ab", b"c"]), fingerprint([b"a", b"bc"]));
    }
}
