//! Whom a mail is for.

use mtasts_model::{HostName, Label, report::ReportKind};

/// The addresses that there are, and those that there are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mailbox {
    /// `tlsrpt-<label>@<host>` or `dmarc-<label>@<host>`.
    Reports(ReportKind, Label),
    /// `postmaster`, with our host or without one (RFC 5321 §4.5.1).
    Postmaster,
    /// Another one at our host.
    Unknown,
    /// Of another host: to pass it on would be relaying.
    Elsewhere,
}

const PREFIXES: [(&str, ReportKind); 2] = [("tlsrpt-", ReportKind::TlsRpt), ("dmarc-", ReportKind::Dmarc)];

impl Mailbox {
    /// Reads an address without its quotes. What stands before the last `@` is the local part, whatever it looks like:
    /// `a%other.example`, `other.example!a` and `a@other.example` are nobody here.
    pub(super) fn parse(address: &str, host: &HostName) -> Self {
        let (local, domain) = match address.rsplit_once('@') {
            Some((local, domain)) => (local, domain),
            None if address.eq_ignore_ascii_case("postmaster") => return Self::Postmaster,
            None => return Self::Unknown,
        };
        if !domain.eq_ignore_ascii_case(host.as_str()) {
            return Self::Elsewhere;
        }
        if local.eq_ignore_ascii_case("postmaster") {
            return Self::Postmaster;
        }
        for (prefix, kind) in PREFIXES {
            if let Some((head, label)) = local.split_at_checked(prefix.len())
                && head.eq_ignore_ascii_case(prefix)
            {
                return label.parse().map_or(Self::Unknown, |label| Self::Reports(kind, label));
            }
        }
        Self::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABEL: &str = "abcdefghijklmnopqrstuvwxya";

    fn of(address: &str) -> Mailbox {
        Mailbox::parse(&address.replace("{label}", LABEL), &HostName::parse("reports.example.net").unwrap())
    }

    #[test]
    fn addresses_of_reports_are_read_in_any_case() {
        let label: Label = LABEL.parse().unwrap();
        assert_eq!(of("tlsrpt-{label}@reports.example.net"), Mailbox::Reports(ReportKind::TlsRpt, label.clone()));
        let loud = format!("DMARC-{}@Reports.Example.NET", LABEL.to_uppercase());
        assert_eq!(of(&loud), Mailbox::Reports(ReportKind::Dmarc, label));
        assert_eq!(of("PostMaster@reports.example.net"), Mailbox::Postmaster);
        assert_eq!(of("postmaster"), Mailbox::Postmaster);
    }

    #[test]
    fn nobody_else_is_here() {
        for unknown in [
            "tlsrpt-@reports.example.net",
            "tlsrpt-{label}x@reports.example.net",
            "tlsrpt-{label}+x@reports.example.net",
            "x-tlsrpt-{label}@reports.example.net",
            "tlsrpt-{label}%victim.example@reports.example.net",
            "victim.example!tlsrpt-{label}@reports.example.net",
            "tlsrpt-{label}@victim.example@reports.example.net",
            "@reports.example.net",
            "tlsrpt-é{label}@reports.example.net",
            "root",
            "",
        ] {
            assert_eq!(of(unknown), Mailbox::Unknown, "{unknown}");
        }
        for elsewhere in [
            "tlsrpt-{label}@victim.example",
            "postmaster@victim.example",
            "tlsrpt-{label}@reports.example.net.victim.example",
            "tlsrpt-{label}@reports.example.net@victim.example",
            "tlsrpt-{label}@[127.0.0.1]",
            "tlsrpt-{label}@",
            "tlsrpt-{label}@reports.example.net ",
        ] {
            assert_eq!(of(elsewhere), Mailbox::Elsewhere, "{elsewhere}");
        }
    }
}
