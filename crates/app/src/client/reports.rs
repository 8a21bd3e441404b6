//! `mtasts reports`: what senders report, as the service has it.

mod views;

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::PathBuf,
};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use self::views::{Failures, Figures, Listed, Summary, Whole};
use super::{
    error::ClientError,
    http::Call,
    session::{Connection, Session},
    text::{Lines, Text},
    views::Page,
};

#[derive(Debug, Subcommand)]
pub(crate) enum ReportsCommand {
    /// What reports add up to, day by day
    Summary(SummaryArgs),
    /// The top failures of TLS: what they mean, since when, and what to do
    Failures(FailuresArgs),
    /// List reports, the latest day first
    List(ListArgs),
    /// Show a report in its normal form
    Show {
        /// Its id, as in the list
        report: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Write a report's octets, as they came
    Raw {
        /// The id of a report, or of an arrival (`arr_…`)
        report: String,
        /// Into this file instead of standard output
        #[arg(long, short)]
        output: Option<PathBuf>,
        #[command(flatten)]
        connection: Connection,
    },
}

/// Which reports.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The domain, by name or id; all of the tenant's where absent
    domain: Option<String>,
    /// The first day (UTC), such as 2026-11-01; 30 days up to the last where absent
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// The last day (UTC); today where absent
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    /// Only from reports with this grade: verified, unsigned, failed or anonymous. May be given several times
    #[arg(long, value_name = "GRADE")]
    grade: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct SummaryArgs {
    #[command(flatten)]
    which: Which,
    /// Of which kind of report
    #[arg(long, default_value = "tls-rpt")]
    kind: Kind,
}

#[derive(Debug, Args)]
pub(crate) struct FailuresArgs {
    #[command(flatten)]
    which: Which,
    /// How many, at most 200
    #[arg(long, default_value_t = 20)]
    limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    which: Which,
    /// Only of this kind
    #[arg(long)]
    kind: Option<Kind>,
    /// Only of this organisation
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    /// Only those that speak of failures
    #[arg(long)]
    failures: bool,
    /// How many, at most 100
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Where an earlier list ended: its `next_cursor`
    #[arg(long)]
    cursor: Option<String>,
}

/// Of which kind reports are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    TlsRpt,
    Dmarc,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::TlsRpt => "tls-rpt",
            Self::Dmarc => "dmarc",
        }
    }
}

impl ReportsCommand {
    pub(super) fn connection(&self) -> &Connection {
        match self {
            Self::Summary(SummaryArgs { which, .. })
            | Self::Failures(FailuresArgs { which, .. })
            | Self::List(ListArgs { which, .. }) => &which.connection,
            Self::Show { connection, .. } | Self::Raw { connection, .. } => connection,
        }
    }
}

pub(super) async fn run(session: &Session, command: ReportsCommand) -> Result<(), ClientError> {
    match command {
        ReportsCommand::Summary(args) => summary(session, &args).await,
        ReportsCommand::Failures(args) => failures(session, &args).await,
        ReportsCommand::List(args) => list(session, &args).await,
        ReportsCommand::Show { report, .. } => show(session, &report).await,
        ReportsCommand::Raw { report, output, .. } => raw(session, &report, output).await,
    }
}

impl Which {
    /// The path of a view, of one domain or over all.
    async fn path(&self, session: &Session, view: &'static str) -> Result<Vec<String>, ClientError> {
        let mut path = vec!["v1".to_owned()];
        if let Some(domain) = &self.domain {
            path.extend(["domains".to_owned(), session.domain_id(domain).await?]);
        }
        path.push("reports".to_owned());
        path.extend((!view.is_empty()).then(|| view.to_owned()));
        Ok(path)
    }

    fn ask<'a>(&'a self, path: &'a [&'a str]) -> Call<'a> {
        let call = Call::get(path).query("from", self.from.as_deref()).query("to", self.to.as_deref());
        self.grade.iter().fold(call, |call, grade| call.query("grade", Some(grade)))
    }
}

fn parts(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

async fn summary(session: &Session, args: &SummaryArgs) -> Result<(), ClientError> {
    let path = args.which.path(session, "summary").await?;
    let answer = session.api.send(args.which.ask(&parts(&path)).query("kind", Some(args.kind.as_str()))).await?;
    let out = &session.out;
    if out.json {
        return out.line(&answer.text);
    }
    let summary: Summary = answer.parse()?;
    if summary.days.is_empty() {
        return out.line(format_args!("No reports from {} to {}", summary.from, summary.to));
    }
    let row = |day: &Text, figures: &Figures| {
        let verified = &figures.by_grade.verified;
        [
            day.to_string(),
            figures.reports.to_string(),
            figures.good.to_string(),
            figures.bad.to_string(),
            figures.rate(),
            format!("{} of {}", verified.bad, verified.good.saturating_add(verified.bad)),
        ]
    };
    let mut rows: Vec<_> = summary.days.iter().map(|day| row(&day.day, &day.figures)).collect();
    rows.push(row(&Text::new("all"), &summary.totals));
    out.table(0, ["DAY", "REPORTS", "GOOD", "FAILED", "RATE", "FAILED, VERIFIED"], &rows)?;
    out.line(format_args!("\n{} organisations have reported", summary.organizations))
}

async fn failures(session: &Session, args: &FailuresArgs) -> Result<(), ClientError> {
    let path = args.which.path(session, "failures").await?;
    let answer = session.api.send(args.which.ask(&parts(&path)).query("limit", Some(args.limit))).await?;
    let out = &session.out;
    if out.json {
        return out.line(&answer.text);
    }
    let failures: Failures = answer.parse()?;
    if failures.data.is_empty() {
        return out.line(format_args!("No failures from {} to {}", failures.from, failures.to));
    }
    for failure in &failures.data {
        let new = if failure.new { ", new" } else { "" };
        let place = failure.receiving_mx.as_ref().map_or_else(String::new, |mx| format!(" at {mx}"));
        out.line(format_args!("{}{place}: {} sessions{new}", failure.result, failure.bad))?;
        out.line(format_args!("  from {} to {}", failure.first_day, failure.last_day))?;
        out.line(format_args!("  {} {}", failure.meaning, failure.advice))?;
    }
    if !failures.policy_host.is_empty() {
        out.line("\nAt the policy host")?;
        let rows: Vec<_> = failures
            .policy_host
            .iter()
            .map(|host| {
                let explanation = host.explanation.to_string();
                [host.result.to_string(), host.bad.to_string(), host.verdict.to_string(), explanation]
            })
            .collect();
        out.table(2, ["RESULT", "SESSIONS", "FAULT", ""], &rows)?;
    }
    Ok(())
}

async fn list(session: &Session, args: &ListArgs) -> Result<(), ClientError> {
    let path = args.which.path(session, "").await?;
    let parts = parts(&path);
    let call = args.which.ask(&parts).query("limit", Some(args.limit)).query("cursor", args.cursor.as_deref());
    let call = call.query("kind", args.kind.map(Kind::as_str)).query("organization", args.organization.as_deref());
    let answer = session.api.send(call.query("failures", args.failures.then_some(true))).await?;
    let out = &session.out;
    if out.json {
        return out.line(&answer.text);
    }
    let page: Page<Listed> = answer.parse()?;
    let rows: Vec<_> = page
        .data
        .iter()
        .map(|report| {
            [
                report.day.to_string(),
                report.kind.to_string(),
                report.good.to_string(),
                report.bad.to_string(),
                report.grade.to_string(),
                report.id.to_string(),
                report.organization.to_string(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        out.table(0, ["DAY", "KIND", "GOOD", "FAILED", "GRADE", "ID", "ORGANISATION"], &rows)?;
    }
    match page.next_cursor {
        Some(cursor) => out.line(format_args!("There are more: --cursor {}", Text::new(&cursor))),
        None if rows.is_empty() => out.line("There are no such reports"),
        None => Ok(()),
    }
}

async fn show(session: &Session, report: &str) -> Result<(), ClientError> {
    let answer = session.api.send(Call::get(&["v1", "reports", report])).await?;
    let out = &session.out;
    if out.json {
        return out.line(&answer.text);
    }
    let Whole { report, body } = answer.parse()?;
    out.line(format_args!("{} ({}) of {}", report.organization, report.kind, report.day))?;
    out.line(format_args!("  {}: {}", report.grade, report.grade_explanation))?;
    out.line(format_args!("  good {}, failed {}", report.good, report.bad))?;
    if !report.counts {
        out.line("  It speaks of hosts that receive reports, and is in no sum")?;
    }
    if !report.complete {
        out.line("  The document breaks off")?;
    }
    let body = serde_json::to_string_pretty::<Value>(&body).unwrap_or_default();
    out.text(format_args!("\n{}", Lines::new(&body)))
}

async fn raw(session: &Session, report: &str, output: Option<PathBuf>) -> Result<(), ClientError> {
    // A stranger wrote them: nothing of it goes to a terminal.
    if output.is_none() && io::stdout().is_terminal() {
        return Err(ClientError::Usage("the octets are not for a terminal: name a file with --output".to_owned()));
    }
    let list = if report.starts_with("arr_") { "report-arrivals" } else { "reports" };
    let octets = session.api.octets(Call::get(&["v1", list, report, "raw"])).await?;
    if let Some(path) = output {
        return fs::write(&path, octets).map_err(|source| ClientError::File { path, source });
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(&octets)?;
    Ok(stdout.flush()?)
}
