//! Rows as lines of CSV (RFC 4180) or of JSON.

use serde::Serialize;
use serde_json::json;

use super::rows::{DmarcResultBody, TlsResultBody};
use crate::problem::Problem;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Csv,
    Ndjson,
}

/// What an export consists of.
pub(super) trait Exported: Serialize {
    /// The heads of the columns.
    const COLUMNS: &'static [&'static str];

    /// As many cells.
    fn cells(&self) -> Vec<String>;
}

/// A row of the sums by day.
#[derive(Debug, Serialize)]
pub(super) struct SumBody {
    pub(super) kind: &'static str,
    pub(super) by: &'static str,
    pub(super) day: String,
    pub(super) value: String,
    pub(super) grade: &'static str,
    pub(super) reports: u64,
    pub(super) good: u64,
    pub(super) bad: u64,
}

impl Exported for SumBody {
    const COLUMNS: &'static [&'static str] = &["kind", "by", "day", "value", "grade", "reports", "good", "bad"];

    fn cells(&self) -> Vec<String> {
        let text = |text: &str| text.to_owned();
        vec![
            text(self.kind),
            text(self.by),
            self.day.clone(),
            self.value.clone(),
            text(self.grade),
            self.reports.to_string(),
            self.good.to_string(),
            self.bad.to_string(),
        ]
    }
}

/// The members of a row in the order of its columns; objects within it as JSON.
fn members(row: &impl Serialize, columns: &[&str]) -> Vec<String> {
    let row = serde_json::to_value(row).unwrap_or_default();
    let member = |column: &&str| match row.pointer(&format!("/{}", column.replace('.', "/"))) {
        None | Some(serde_json::Value::Null) => String::new(),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    columns.iter().map(member).collect()
}

impl Exported for TlsResultBody {
    const COLUMNS: &'static [&'static str] = &[
        "day",
        "domain_name",
        "domain_id",
        "organization",
        "grade",
        "result",
        "sessions",
        "receiving_mx",
        "receiving_ip",
        "sending_ip",
        "sending_place.country",
        "sending_place.asn",
        "sending_place.as_name",
        "reason",
        "additional",
        "policy_type",
        "policy_version_id",
        "policy_host.verdict",
        "policy_host.reason",
        "counts",
        "report_id",
        "seq",
    ];

    fn cells(&self) -> Vec<String> {
        members(self, Self::COLUMNS)
    }
}

impl Exported for DmarcResultBody {
    const COLUMNS: &'static [&'static str] = &[
        "day",
        "domain_name",
        "domain_id",
        "organization",
        "grade",
        "source_ip",
        "source_place.country",
        "source_place.asn",
        "source_place.as_name",
        "messages",
        "disposition",
        "dkim",
        "spf",
        "passed",
        "header_from",
        "envelope_from",
        "details",
        "report_id",
        "seq",
    ];

    fn cells(&self) -> Vec<String> {
        members(self, Self::COLUMNS)
    }
}

impl Format {
    /// What comes before the first row.
    pub(super) fn head<T: Exported>(self, out: &mut Vec<u8>) {
        if self == Self::Csv {
            record(out, T::COLUMNS.iter().copied());
        }
    }

    pub(super) fn row<T: Exported>(self, out: &mut Vec<u8>, row: &T) -> Result<(), Problem> {
        match self {
            Self::Csv => record(out, row.cells().iter().map(String::as_str)),
            Self::Ndjson => {
                serde_json::to_writer(&mut *out, row).map_err(Problem::internal)?;
                out.push(b'\n');
            }
        }
        Ok(())
    }

    /// What comes after the last row: that it was the last, and where the next export goes on.
    pub(super) fn end<T: Exported>(self, out: &mut Vec<u8>, count: u64, next: Option<&str>) {
        match self {
            Self::Csv => {
                let count = count.to_string();
                let cells = ["#end", &count, next.unwrap_or_default()].into_iter().chain(std::iter::repeat(""));
                record(out, cells.take(T::COLUMNS.len()));
            }
            Self::Ndjson => {
                let line = json!({ "end": true, "count": count, "next_cursor": next });
                out.extend_from_slice(line.to_string().as_bytes());
                out.push(b'\n');
            }
        }
    }
}

fn record<'a>(out: &mut Vec<u8>, cells: impl Iterator<Item = &'a str>) {
    for (index, text) in cells.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        cell(out, text);
    }
    out.extend_from_slice(b"\r\n");
}

/// What begins like a formula would be carried out by spreadsheets: an apostrophe before it makes it a text again. Senders
/// choose many of these texts.
fn cell(out: &mut Vec<u8>, text: &str) {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if text.contains([',', '"', '\r', '\n']) {
        out.push(b'"');
        out.extend_from_slice(guard.as_bytes());
        out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(guard.as_bytes());
        out.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_as_rfc_4180_says_and_no_formula_is_left() {
        for (text, expected) in [
            ("plain", "plain"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\r\nlines", "\"two\r\nlines\""),
            ("=1+1", "'=1+1"),
            ("=HYPERLINK(\"http://a\",\"b\")", "\"'=HYPERLINK(\"\"http://a\"\",\"\"b\"\")\""),
            ("+49", "'+49"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "\"'\r=1\""),
            ("a=1", "a=1"),
        ] {
            let mut out = Vec::new();
            cell(&mut out, text);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn every_record_has_as_many_cells_and_the_last_says_that_it_is_the_last() {
        let row = SumBody {
            kind: "dmarc",
            by: "organization",
            day: "2026-11-21".to_owned(),
            value: "=cmd".to_owned(),
            grade: "verified",
            reports: 1,
            good: 2,
            bad: 3,
        };
        let mut out = Vec::new();
        Format::Csv.head::<SumBody>(&mut out);
        Format::Csv.row(&mut out, &row).unwrap();
        Format::Csv.end::<SumBody>(&mut out, 1, None);
        let expected = "kind,by,day,value,grade,reports,good,bad\r\ndmarc,organization,2026-11-21,'=cmd,verified,1,2,3\r\n\
                        #end,1,,,,,,\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert_eq!(row.cells().len(), SumBody::COLUMNS.len());
        let mut out = Vec::new();
        Format::Ndjson.end::<SumBody>(&mut out, 1, Some("c"));
        assert_eq!(out, b"{\"end\":true,\"count\":1,\"next_cursor\":\"c\"}\n");
    }
}
