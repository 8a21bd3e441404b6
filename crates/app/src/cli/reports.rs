//! `mtasts reports`. `read`: reports as tables or as JSON; no configuration, no database, no network.

mod input;
mod table;
mod totals;

use std::{
    io::{self, BufWriter, ErrorKind, Write},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use mtasts_reports::{Deviation, Identity, Limits, Reading, Report, ReportHosts, Unreadable, read};
use serde::Serialize;

use self::{input::Input, totals::Totals};
use super::Outcome;
use crate::client::{self, Told};

#[derive(Debug, Subcommand)]
pub(super) enum ReportsCommand {
    /// Read TLS-RPT (RFC 8460) and DMARC aggregate reports: JSON, XML, gzip, zip, or the mail that they came in
    Read(ReadArgs),
    #[command(flatten)]
    Service(Box<client::ReportsCommand>),
}

#[derive(Debug, Args)]
pub(super) struct ReadArgs {
    /// Files, folders (with all that is in them), or `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print one JSON object a line: each report, what could not be read, and the totals last
    #[arg(long)]
    json: bool,
    /// Octets that one file may have
    #[arg(long, value_name = "N", default_value_t = Limits::default().octets)]
    max_octets: usize,
    /// A host that receives reports: what is said of it is marked, and does not count. May be given several times
    #[arg(long, value_name = "NAME")]
    report_host: Vec<String>,
}

/// Something could not be read.
const UNREADABLE: u8 = 1;

pub(super) fn run(command: ReportsCommand) -> Outcome {
    match command {
        ReportsCommand::Read(args) => read_files(&args),
        ReportsCommand::Service(command) => Ok(client::run_reports(*command)?),
    }
}

fn read_files(args: &ReadArgs) -> Outcome {
    let mut out = BufWriter::new(io::stdout().lock());
    let told = walk(args, &mut out).and_then(|totals| out.flush().map(|()| totals));
    match told {
        Ok(totals) if totals.unreadable > 0 => Err(Told::new(UNREADABLE).into()),
        Ok(_) => Ok(()),
        // Whoever reads has seen enough, such as `head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A line of `--json` for a report.
#[derive(Serialize)]
struct ReportLine<'a> {
    file: &'a str,
    path: &'a [String],
    #[serde(flatten)]
    report: &'a Report,
    identity: &'a Identity,
    /// The same report was read before, and counts once.
    repeated: bool,
    deviations_on_the_way: &'a [Deviation],
}

/// A line of `--json` for what could not be read.
#[derive(Serialize)]
struct UnreadableLine<'a> {
    kind: &'static str,
    file: &'a str,
    path: &'a [String],
    code: &'a str,
    sentence: String,
}

fn walk(args: &ReadArgs, out: &mut impl Write) -> io::Result<Totals> {
    let limits = Limits { octets: args.max_octets, ..Limits::default() };
    let hosts = ReportHosts::new(&args.report_host);
    let mut totals = Totals::default();
    // One file at a time, so that a folder of any size takes no more memory than its largest report.
    input::each(&args.files, limits.octets, |input| {
        totals.files += 1;
        let Input { name, within_a_folder, content } = input;
        let bytes = match content {
            Ok(bytes) => bytes,
            Err(error) => {
                totals.unreadable += 1;
                return tell_unreadable(args.json, out, &name, &[], "not-readable", &error.to_string());
            }
        };
        for reading in read(&bytes, &limits) {
            tell(args, out, &name, within_a_folder, reading, &hosts, &mut totals)?;
        }
        Ok(())
    })?;
    if args.json {
        json_line(out, &totals)?;
    } else {
        totals.print(out)?;
    }
    Ok(totals)
}

fn tell(
    args: &ReadArgs,
    out: &mut impl Write,
    file: &str,
    within_a_folder: bool,
    reading: Reading,
    hosts: &ReportHosts,
    totals: &mut Totals,
) -> io::Result<()> {
    let Reading { path, on_the_way, outcome } = reading;
    match outcome {
        Ok((mut report, identity)) => {
            if let Report::TlsRpt(report) = &mut report {
                report.mark_report_hosts(hosts);
            }
            let repeated = totals.add(&report, &identity);
            if args.json {
                let deviations_on_the_way = on_the_way.list();
                let line = ReportLine {
                    file,
                    path: &path,
                    report: &report,
                    identity: &identity,
                    repeated,
                    deviations_on_the_way,
                };
                json_line(out, &line)
            } else {
                table::print(out, &place(file, &path), &report, &on_the_way, repeated)
            }
        }
        // A folder holds other files too.
        Err(Unreadable::NothingFound | Unreadable::Empty) if within_a_folder => {
            totals.without_a_report += 1;
            Ok(())
        }
        Err(why) => {
            totals.unreadable += 1;
            tell_unreadable(args.json, out, file, &path, why.code(), &why.to_string())
        }
    }
}

fn tell_unreadable(
    json: bool,
    out: &mut impl Write,
    file: &str,
    path: &[String],
    code: &str,
    sentence: &str,
) -> io::Result<()> {
    if json {
        return json_line(out, &UnreadableLine { kind: "unreadable", file, path, code, sentence: sentence.to_owned() });
    }
    // Named where it is seen even if the tables go into a file.
    out.flush()?;
    eprintln!("mtasts: {}: {}", table::fit(&place(file, path)), table::fit(sentence));
    Ok(())
}

fn json_line(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

fn place(file: &str, path: &[String]) -> String {
    path.iter().fold(file.to_owned(), |place, step| place + " > " + step)
}
