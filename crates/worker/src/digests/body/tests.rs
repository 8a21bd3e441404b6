use chrono::{Days, NaiveDate};
use mtasts_model::DigestFrequency;
use mtasts_store::{DigestFailure, DigestNewFailure, DigestSilence};

use super::*;

const LINK: &str = "https://api.example.net/digest/unsubscribe/token";

fn day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2025, 12, 31).unwrap()
}

fn domain(name: &str, mode: Option<Mode>, good: u64, bad: u64) -> DigestDomain {
    DigestDomain { name: name.to_owned(), mode, good, bad }
}

fn list<T>(items: Vec<T>) -> DigestList<T> {
    DigestList { items, more: false }
}

fn part(kind: ReportKind, good: u64, bad: u64) -> Part {
    let days = (0..14_u64).map(|ago| (day() - Days::new(13 - ago), 100 * ago, 7 * (ago % 3))).collect();
    let figures =
        DigestFigures { good, bad, unverified: good / 4, good_before: 1900, bad_before: 100, reports: 12, days };
    Part { kind, figures, domains: DigestList::default() }
}

fn busy() -> Digest {
    let mut tls = part(ReportKind::TlsRpt, 1855, 145);
    tls.domains = list(vec![
        domain("shop.example", Some(Mode::Enforce), 400, 12),
        domain("example.com", Some(Mode::Testing), 1455, 133),
    ]);
    let mut dmarc = part(ReportKind::Dmarc, 12_345, 1);
    dmarc.domains = list(vec![domain("example.com", Some(Mode::Enforce), 10, 1)]);
    let failure = |result: &str, sessions| DigestFailure { result: result.to_owned(), sessions };
    Digest {
        frequency: DigestFrequency::Daily,
        from: day(),
        to: day(),
        parts: vec![tls, dmarc],
        failures: vec![failure("certificate-expired", 140), failure("not-detailed", 4), failure("own-word", 1)],
        new_failures: list(vec![DigestNewFailure {
            domain: "shop.example".to_owned(),
            result: "certificate-expired".to_owned(),
            receiving_mx: "mx1.shop.example".to_owned(),
            sessions: 12,
            verified: false,
        }]),
        silent: list(vec![DigestSilence {
            domain: "example.com".to_owned(),
            kind: ReportKind::TlsRpt,
            organization: "Example Mail".to_owned(),
            last_day: day() - Days::new(5),
        }]),
    }
}

fn quiet() -> Digest {
    Digest {
        frequency: DigestFrequency::Weekly,
        from: day() - Days::new(6),
        to: day(),
        parts: vec![part(ReportKind::TlsRpt, 2000, 0)],
        failures: Vec::new(),
        new_failures: DigestList::default(),
        silent: DigestList::default(),
    }
}

/// Compares with the file; with `MTASTS_WRITE_GOLDEN` set, writes it.
fn golden(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/digests").join(name);
    if std::env::var_os("MTASTS_WRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{name}");
}

#[test]
fn digests_read_as_they_did() {
    golden("daily.txt", &text(&busy(), LINK));
    golden("daily.html", &html(&busy(), LINK));
    golden("daily.svg", &chart::svg(&busy().parts[0].figures.days));
    golden("weekly-quiet.txt", &text(&quiet(), LINK));
    golden("weekly-quiet.html", &html(&quiet(), LINK));
    let subjects = [&busy(), &quiet()].map(subject);
    assert_eq!(
        subjects,
        [
            "Mail reports, 2025-12-31: 145 of 2,000 sessions failed, 1 of 12,346 messages failed, 1 new failure",
            "Mail reports, 2025-12-25 to 2025-12-31: all quiet",
        ]
    );
}

#[test]
fn no_line_of_the_text_is_too_long_for_a_mail() {
    let mut digest = busy();
    digest.silent.items[0].organization = "w".repeat(500);
    for line in text(&digest, LINK).lines() {
        assert!(line.chars().count() <= 200, "{line}");
    }
}

#[test]
fn twenty_of_a_list_are_named_and_the_others_counted() {
    let mut digest = busy();
    digest.parts[0].domains = list((0..63).map(|i| domain(&format!("d{i}.example"), None, 1, 1)).collect());
    let shown = text(&digest, LINK);
    assert!(
        shown.contains("d19.example") && !shown.contains("d20.example") && shown.contains("And 43 others."),
        "{shown}"
    );
    digest.parts[0].domains.more = true;
    assert!(text(&digest, LINK).contains("And more than 43 others."));
}

#[test]
fn what_strangers_wrote_is_text_in_either_form() {
    let mut digest = busy();
    let nasty = "Org\r\nBcc: a@example.com\r\n\r\n<script>alert(1)</script>\u{202E}\"'><img src=x onerror=alert(1)>";
    digest.silent.items[0].organization = nasty.to_owned();
    digest.failures[2].result = nasty.to_owned();
    digest.new_failures.items[0].receiving_mx = nasty.to_owned();
    digest.new_failures.items[0].result = nasty.to_owned();
    digest.parts[0].domains.items[0].name = nasty.to_owned();
    let (text, html) = (text(&digest, LINK), html(&digest, LINK));
    for form in [&text, &html] {
        assert!(!form.contains('\u{202E}') && !form.contains('\r'));
        assert!(!form.lines().any(|line| line.trim_start().starts_with("Bcc:")), "{form}");
    }
    assert!(!html.contains("<script") && !html.contains("<img src=x"), "{html}");
    assert_eq!(html.matches('<').count(), self::html(&busy(), LINK).matches('<').count(), "no tag more");
    assert!(!subject(&digest).contains("Org"));
}
