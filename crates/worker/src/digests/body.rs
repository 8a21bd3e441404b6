//! A digest as sections of lines, and these as text and as HTML: both say the same.

use std::fmt::Write;

use mtasts_model::{Mode, ReportKind};
use mtasts_reports::tls_rpt::ResultType;
use mtasts_store::{DigestDomain, DigestFigures, DigestList};

use super::{
    chart,
    content::{Digest, NAMED, Part},
    words::{change, escaped, number, percent, plural, shown, total},
};

/// Columns of the text: short enough for every program.
const COLUMNS: usize = 76;

/// A heading, what stands under it, and whose chart goes with it. Texts are as they are shown, and not escaped.
struct Section {
    heading: String,
    chart: Option<ReportKind>,
    items: Vec<Item>,
}

enum Item {
    Line(String),
    /// What, and what is to say of it.
    Entry(String, Vec<String>),
}

/// The subject: no text of a stranger is in it.
pub(super) fn subject(digest: &Digest) -> String {
    let days = digest.days();
    if digest.is_quiet() {
        return format!("Mail reports, {days}: all quiet");
    }
    let failed = digest.parts.iter().filter(|part| part.figures.bad > 0).map(|part| {
        let figures = &part.figures;
        let all = total(figures.good, figures.bad);
        format!("{} of {} failed", number(figures.bad), plural(all, part.unit().0, part.unit().1))
    });
    let mut news: Vec<_> = failed.collect();
    let new = u64::try_from(digest.new_failures.items.len()).unwrap_or(u64::MAX);
    if new > 0 {
        news.push(plural(new, "new failure", "new failures"));
    }
    if news.is_empty() {
        news.push("reporters have fallen silent".to_owned());
    }
    format!("Mail reports, {days}: {}", news.join(", "))
}

fn sections(digest: &Digest) -> Vec<Section> {
    let mut sections = Vec::new();
    if digest.is_quiet() {
        let line = "All quiet: no failures, nothing new, and nobody has fallen silent.".to_owned();
        sections.push(Section { heading: "In short".to_owned(), chart: None, items: vec![Item::Line(line)] });
    }
    sections.extend(digest.parts.iter().map(|part| figures(digest, part)));
    for part in &digest.parts {
        sections.extend(domains(part));
        if part.kind == ReportKind::TlsRpt {
            sections.extend(failures(digest));
            sections.extend(new_failures(digest));
        }
    }
    sections.extend(silent(digest));
    sections
}

fn figures(digest: &Digest, part: &Part) -> Section {
    let figures = &part.figures;
    let (heading, good) = match part.kind {
        ReportKind::TlsRpt => ("Delivery over TLS (TLS-RPT)", "with TLS as your policy asks"),
        ReportKind::Dmarc => ("Mail in your name (DMARC)", "passed DMARC"),
    };
    let all = total(figures.good, figures.bad);
    let mut items = Vec::new();
    if all == 0 {
        items.push(Item::Line(format!("No {} were reported.", part.unit().1)));
    } else {
        let share = percent(figures.bad, all);
        items.push(Item::Line(format!("{} {good}, {} failed ({share}).", number(figures.good), number(figures.bad))));
    }
    items.push(Item::Line(format!("{}.", change(figures, digest.before()))));
    items.extend(proof(figures).map(Item::Line));
    Section { heading: heading.to_owned(), chart: Some(part.kind), items }
}

/// From how many reports, and how far they can be believed.
fn proof(figures: &DigestFigures) -> Option<String> {
    let all = total(figures.good, figures.bad);
    let reports = plural(figures.reports, "report", "reports");
    match figures.unverified {
        _ if figures.reports == 0 => None,
        0 => Some(format!("From {reports}, all with a proof of origin.")),
        unverified => {
            let share = percent(unverified, all);
            Some(format!("From {reports}; {share} of the figures come without a proof of origin."))
        }
    }
}

fn domains(part: &Part) -> Option<Section> {
    let heading = match part.kind {
        ReportKind::TlsRpt => "Domains with failed deliveries",
        ReportKind::Dmarc => "Domains with mail that failed DMARC",
    };
    let entry = |domain: &DigestDomain| {
        let all = total(domain.good, domain.bad);
        let figures = format!("{} of {} failed ({})", number(domain.bad), number(all), percent(domain.bad, all));
        let warning = match domain.mode {
            Some(Mode::Enforce) if part.kind == ReportKind::TlsRpt => {
                Some("Mode enforce: senders that honour the policy did not deliver these.".to_owned())
            }
            _ => None,
        };
        let name = shown(&domain.name);
        Item::Entry(format!("{name}: {figures}"), warning.into_iter().collect())
    };
    listed(heading, &part.domains, entry)
}

fn failures(digest: &Digest) -> Option<Section> {
    if digest.failures.is_empty() {
        return None;
    }
    let items = digest.failures.iter().map(|failure| {
        let kind = ResultType::KNOWN.iter().find(|known| known.as_str() == failure.result).cloned();
        let kind = kind.unwrap_or_else(|| ResultType::Other(failure.result.clone()));
        let what = format!("{}: {}", shown(&failure.result), plural(failure.sessions, "session", "sessions"));
        let said = match failure.result.as_str() {
            "not-detailed" => vec!["The reports count these failures and do not say what they were.".to_owned()],
            "(others)" => vec!["Results beyond those that are counted one by one.".to_owned()],
            _ => vec![kind.meaning().to_owned(), kind.advice().to_owned()],
        };
        Item::Entry(what, said)
    });
    Some(Section { heading: "What failed most".to_owned(), chart: None, items: items.collect() })
}

fn new_failures(digest: &Digest) -> Option<Section> {
    listed("New failures", &digest.new_failures, |failure| {
        let at = if failure.receiving_mx.is_empty() {
            String::new()
        } else {
            format!(" at {}", shown(&failure.receiving_mx))
        };
        let what = format!("{}: {}{at}", shown(&failure.domain), shown(&failure.result));
        let sessions = plural(failure.sessions, "session", "sessions");
        let proof = if failure.verified { "" } else { "; reported without a proof of origin" };
        Item::Entry(what, vec![format!("{sessions} so far{proof}.")])
    })
}

fn silent(digest: &Digest) -> Option<Section> {
    listed("Reporters that have fallen silent", &digest.silent, |silence| {
        let what = format!("{}: {}", shown(&silence.domain), shown(&silence.organization));
        let kind = match silence.kind {
            ReportKind::TlsRpt => "TLS",
            ReportKind::Dmarc => "DMARC",
        };
        Item::Entry(what, vec![format!("Its last {kind} report is on {}.", silence.last_day)])
    })
}

/// The first ones, and how many there are besides; None where there are none.
fn listed<T>(heading: &str, list: &DigestList<T>, entry: impl Fn(&T) -> Item) -> Option<Section> {
    if list.items.is_empty() {
        return None;
    }
    let mut items: Vec<_> = list.items.iter().take(NAMED).map(entry).collect();
    let others = u64::try_from(list.items.len().saturating_sub(NAMED)).unwrap_or(u64::MAX);
    if list.more {
        items.push(Item::Line(format!("And more than {} others.", number(others))));
    } else if others > 0 {
        items.push(Item::Line(format!("And {}.", plural(others, "other", "others"))));
    }
    Some(Section { heading: heading.to_owned(), chart: None, items })
}

/// `text/plain`.
pub(super) fn text(digest: &Digest, unsubscribe: &str) -> String {
    let mut text = format!("Mail reports, {}\n", digest.days());
    for section in sections(digest) {
        let _ = write!(text, "\n{}\n{}\n", section.heading, "-".repeat(section.heading.chars().count()));
        for item in &section.items {
            match item {
                Item::Line(line) => wrapped(&mut text, "", line),
                Item::Entry(what, said) => {
                    wrapped(&mut text, "* ", what);
                    for line in said {
                        wrapped(&mut text, "  ", line);
                    }
                }
            }
        }
    }
    text.push_str("\n-- \n");
    wrapped(&mut text, "", FOOTER);
    let _ = writeln!(text, "No more of these: {unsubscribe}");
    text
}

const FOOTER: &str = "Senders' reports as this service has read them; names in them are the senders' own. All figures and \
                      single reports are in the API.";

/// Breaks at spaces; what follows the first line is indented as far as `lead`.
fn wrapped(text: &mut String, lead: &str, line: &str) {
    let indent = " ".repeat(lead.chars().count());
    let mut column = lead.chars().count();
    text.push_str(lead);
    for (index, word) in line.split(' ').enumerate() {
        let width = word.chars().count();
        if index > 0 {
            if column + 1 + width > COLUMNS {
                text.push('\n');
                text.push_str(&indent);
                column = indent.len();
            } else {
                text.push(' ');
                column += 1;
            }
        }
        text.push_str(word);
        column += width;
    }
    text.push('\n');
}

/// By what the HTML refers to the chart of a kind.
pub(super) fn chart_id(kind: ReportKind) -> String {
    format!("chart-{}@digest", kind.as_str())
}

/// `text/html`, without anything that is fetched: charts come with the mail.
pub(super) fn html(digest: &Digest, unsubscribe: &str) -> String {
    let title = escaped(&format!("Mail reports, {}", digest.days()));
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body style=\"font-family:sans-serif;max-width:640px;margin:0 auto;padding:16px;color:#212529\">\n<h1 \
         style=\"font-size:20px\">{title}</h1>\n"
    );
    for section in sections(digest) {
        let _ = writeln!(html, "<h2 style=\"font-size:16px\">{}</h2>", escaped(&section.heading));
        let mut in_list = false;
        for item in &section.items {
            let entry = matches!(item, Item::Entry(..));
            if entry != in_list {
                html.push_str(if entry { "<ul>\n" } else { "</ul>\n" });
                in_list = entry;
            }
            match item {
                Item::Line(line) => {
                    let _ = writeln!(html, "<p>{}</p>", escaped(line));
                }
                Item::Entry(what, said) => {
                    let _ = write!(html, "<li><bdi>{}</bdi>", escaped(what));
                    for line in said {
                        let _ = write!(html, "<br>{}", escaped(line));
                    }
                    html.push_str("</li>\n");
                }
            }
        }
        if in_list {
            html.push_str("</ul>\n");
        }
        if let Some(kind) = section.chart {
            let _ = writeln!(
                html,
                "<img src=\"cid:{}\" width=\"{}\" height=\"{}\" alt=\"Good (green) and failed (red) per day\" \
                 style=\"max-width:100%;height:auto\">",
                chart_id(kind),
                chart::WIDTH,
                chart::HEIGHT
            );
        }
    }
    let _ = writeln!(
        html,
        "<p style=\"font-size:12px;color:#868e96\">{}<br><a href=\"{}\">No more of these</a></p>\n</body>\n</html>",
        escaped(FOOTER),
        escaped(unsubscribe)
    );
    html
}

#[cfg(test)]
mod tests;
