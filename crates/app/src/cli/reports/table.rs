//! Reports for people to read.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    iter,
};

use mtasts_model::Timestamp;
use mtasts_reports::{
    Deviations, Period, Report, dmarc,
    tls_rpt::{self, PolicyReport},
};

use super::totals::word;

/// One line of a stranger's text, made fit for a terminal: control characters could steer it, and nobody reads a
/// thousand letters.
pub(super) fn fit(text: &str) -> String {
    const SHOWN: usize = 200;
    let mut chars = text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char });
    let mut line: String = chars.by_ref().take(SHOWN).collect();
    if chars.next().is_some() {
        line.push('…');
    }
    line
}

fn or_dash<T: ToString>(value: Option<&T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| fit(&value.to_string()))
}

pub(super) fn print(
    out: &mut impl Write,
    place: &str,
    report: &Report,
    on_the_way: &Deviations,
    repeated: bool,
) -> io::Result<()> {
    let kind = match report {
        Report::TlsRpt(_) => "TLS REPORT",
        Report::Dmarc(_) => "DMARC REPORT",
    };
    let organization = report.organization().map_or_else(|| "(no organization)".to_owned(), fit);
    writeln!(out, "{kind} by {organization}, {}", period(report.period()))?;
    writeln!(out, "  file     {}", fit(place))?;
    writeln!(out, "  id       {}", report.report_id().map_or_else(|| "-".to_owned(), fit))?;
    writeln!(out, "  contact  {}", report.contact().map_or_else(|| "-".to_owned(), fit))?;
    if repeated {
        writeln!(out, "  It was read before, and does not count again.")?;
    }
    match report {
        Report::TlsRpt(report) => tls(out, report)?,
        Report::Dmarc(report) => dmarc(out, report)?,
    }
    deviations(out, on_the_way, report.deviations())?;
    writeln!(out)
}

fn period(period: Period) -> String {
    let moment = |time: Option<Timestamp>| {
        time.map_or_else(|| "?".to_owned(), |time| time.format("%Y-%m-%d %H:%M:%S").to_string())
    };
    if let (Some(begin), Some(end)) = (period.begin, period.end)
        && begin.format("%T").to_string() == "00:00:00"
        && (end - begin).num_seconds() == 86_399
    {
        return begin.format("%Y-%m-%d").to_string();
    }
    format!("{} to {} UTC", moment(period.begin), moment(period.end))
}

fn tls(out: &mut impl Write, report: &tls_rpt::Report) -> io::Result<()> {
    for policy in &report.policies {
        let domain = or_dash(policy.policy.domain.as_ref());
        let kind = match policy.policy.kind.as_str() {
            "" => "(no policy type)".to_owned(),
            kind => fit(kind),
        };
        writeln!(out)?;
        let good = or_dash(policy.successful_sessions.as_ref());
        writeln!(out, "  {domain}  {kind}  sessions: {good} good, {} failed", policy.failed())?;
        if let Some(seen) = policy.policy.sts() {
            let mx: Vec<_> = seen.mx().iter().map(ToString::to_string).collect();
            let (mode, max_age) = (seen.mode().as_str(), seen.max_age().seconds());
            writeln!(out, "  policy seen: mode {mode}, max_age {max_age} s, mx {}", fit(&mx.join(" ")))?;
        }
        if policy.about_report_host {
            writeln!(out, "  This is about a host that receives reports, and does not count.")?;
        }
        failures(out, policy)?;
    }
    Ok(())
}

fn failures(out: &mut impl Write, policy: &PolicyReport) -> io::Result<()> {
    if policy.failures.is_empty() {
        return Ok(());
    }
    let mut rows = vec![["SESSIONS", "RESULT", "MX", "SENDING IP", "RECEIVING IP", "REASON"].map(str::to_owned)];
    let mut results = BTreeSet::new();
    for failure in &policy.failures {
        let status = failure.edge.and_then(|edge| edge.status);
        let about_us = match (&failure.edge, policy.policy_host()) {
            (Some(_), Some(host)) => {
                format!("[policy host {host}{}]", status.map_or_else(String::new, |s| format!(": {s}")))
            }
            _ => String::new(),
        };
        let reason = [failure.reason.as_deref().unwrap_or_default(), &about_us].join(" ");
        rows.push([
            or_dash(failure.sessions.as_ref()),
            fit(word(&failure.result)),
            or_dash(failure.receiving_mx.as_ref()),
            or_dash(failure.sending_ip.as_ref()),
            or_dash(failure.receiving_ip.as_ref()),
            fit(reason.trim()),
        ]);
        results.insert(&failure.result);
    }
    columns(out, &rows)?;
    for result in results {
        writeln!(out, "    {}: {} {}", fit(word(result)), result.meaning(), result.advice())?;
    }
    Ok(())
}

fn dmarc(out: &mut impl Write, report: &dmarc::Report) -> io::Result<()> {
    let policy = &report.policy;
    let words =
        [("p", &policy.p), ("sp", &policy.sp), ("np", &policy.np), ("adkim", &policy.adkim), ("aspf", &policy.aspf)];
    let words: Vec<_> = words.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_deref()?))).collect();
    writeln!(out)?;
    writeln!(
        out,
        "  {}  {}  messages: {}, records: {}{}",
        or_dash(policy.domain.as_ref()),
        fit(&words.join(" ")),
        report.messages(),
        report.records.len(),
        if report.complete { "" } else { " (the document breaks off here)" },
    )?;
    for error in &report.errors {
        writeln!(out, "  the sender met an error: {}", fit(error))?;
    }
    if report.records.is_empty() {
        return Ok(());
    }
    let mut rows = vec![
        ["MESSAGES", "SOURCE IP", "DISPOSITION", "DKIM ALIGNED", "SPF ALIGNED", "FROM", "RESULTS"].map(str::to_owned),
    ];
    for record in &report.records {
        rows.push([
            or_dash(record.messages.as_ref()),
            or_dash(record.source.as_ref()),
            record.disposition.as_ref().map_or_else(|| "-".to_owned(), |word| fit(word.as_str())),
            record.dkim.as_ref().map_or_else(|| "-".to_owned(), |word| fit(word.as_str())),
            record.spf.as_ref().map_or_else(|| "-".to_owned(), |word| fit(word.as_str())),
            or_dash(record.header_from.as_ref()),
            results(record),
        ]);
    }
    columns(out, &rows)
}

fn results(record: &dmarc::Record) -> String {
    let mut words = Vec::new();
    for dkim in &record.dkim_results {
        let result = dkim.result.as_ref().map_or("?", dmarc::DkimResult::as_str);
        words.push(format!("dkim={result} ({})", dkim.domain.as_deref().unwrap_or("?")));
    }
    for spf in &record.spf_results {
        let result = spf.result.as_ref().map_or("?", dmarc::SpfResult::as_str);
        words.push(format!("spf={result} ({})", spf.domain.as_deref().unwrap_or("?")));
    }
    for reason in &record.reasons {
        let text = [reason.kind.as_deref(), reason.comment.as_deref()].into_iter().flatten().collect::<Vec<_>>();
        words.push(format!("reason: {}", text.join(" ")));
    }
    fit(&words.join(", "))
}

fn deviations(out: &mut impl Write, on_the_way: &Deviations, within: &Deviations) -> io::Result<()> {
    let further = on_the_way.further() + within.further();
    let number = on_the_way.list().len() + within.list().len();
    if number == 0 {
        return Ok(());
    }
    writeln!(out)?;
    writeln!(out, "  It departs from its RFC, and was read all the same:")?;
    for deviation in on_the_way.list().iter().chain(within.list()) {
        let place = if deviation.place.is_empty() { "the document" } else { &deviation.place };
        writeln!(out, "    {}  {}: {}", deviation.code.as_str(), fit(place), fit(&deviation.sentence))?;
    }
    if further > 0 {
        writeln!(out, "    and {further} more")?;
    }
    Ok(())
}

/// Columns as wide as their widest cell, counts to the right; the last one is left as long as it is.
fn columns<const N: usize>(out: &mut impl Write, rows: &[[String; N]]) -> io::Result<()> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let mut line = format!("    {:>width$}", row[0], width = widths[0]);
        for (cell, width) in row.iter().zip(widths).skip(1) {
            line.push_str("  ");
            line.push_str(cell);
            line.extend(iter::repeat_n(' ', width - cell.chars().count()));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
