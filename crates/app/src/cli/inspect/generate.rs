//! `mtasts policy generate DOMAIN`: a policy and its records from the live MX hosts.

use std::io::{self, BufWriter, ErrorKind, Write};

use clap::Args;
use mtasts_model::{Clock, HostName, MaxAge, Mode, PolicyId, ReportUri, SystemClock, SystemEntropy, causes};
use mtasts_probe::generate::{GenerateError, GenerateOptions, Generated, Record, generate as build};

use super::{LookArgs, NOT_SEEN, USAGE, WRONG, mail_domain, print};
use crate::{
    cli::{Outcome, runtime},
    client::Told,
};

/// Octets of one string of a TXT record (RFC 1035 §3.3).
const MAX_STRING: usize = 255;

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// The mail domain; it need not be registered anywhere
    domain: String,
    /// `testing`, `enforce` or `none`
    #[arg(long, default_value = "testing")]
    mode: Mode,
    /// How long senders may keep the policy, in seconds; a day, and a week with `enforce`, where absent
    #[arg(long, value_name = "SECONDS", value_parser = max_age)]
    max_age: Option<MaxAge>,
    /// Where reports go (`mailto:…` or `https://…`), once for each; tls-reports@ the domain where absent
    #[arg(long, value_name = "URI")]
    rua: Vec<ReportUri>,
    /// The web server that serves the policy, for the CNAME of mta-sts.DOMAIN
    #[arg(long, value_name = "HOST", value_parser = HostName::parse)]
    policy_host: Option<HostName>,
    #[command(flatten)]
    look: LookArgs,
}

fn max_age(text: &str) -> Result<MaxAge, String> {
    let seconds: u32 = text.parse().map_err(|_| "give a number of seconds, such as 604800".to_owned())?;
    MaxAge::new(seconds).map_err(|error| error.to_string())
}

pub(crate) fn generate(args: &GenerateArgs, json: bool) -> Outcome {
    let domain = mail_domain(&args.domain)?;
    let inspector = args.look.inspector()?;
    let now = SystemClock.now();
    let seen = runtime()?.block_on(inspector.inspect(&domain, args.look.options(), now));
    let options = GenerateOptions {
        mode: Some(args.mode),
        max_age: args.max_age,
        rua: args.rua.clone(),
        host: args.policy_host.clone(),
    };
    let generated = build(&domain, &seen, &options, PolicyId::draw(now, &SystemEntropy)).map_err(|error| {
        eprintln!("mtasts: {}", causes(&error));
        Told::new(match error {
            GenerateError::Unknown(_) => NOT_SEEN,
            GenerateError::NoMail(_) | GenerateError::Incomplete { .. } => WRONG,
            GenerateError::Policy(_) | GenerateError::TlsRpt(_) => USAGE,
        })
    })?;
    match tell(&generated, json) {
        // Whoever reads has seen enough, such as `head`.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    if generated.safe { Ok(()) } else { Err(Told::new(WRONG).into()) }
}

fn tell(generated: &Generated, json: bool) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    if json {
        serde_json::to_writer(&mut out, generated)?;
        writeln!(out)?;
        return out.flush();
    }
    let paint = print::Paint::new();
    writeln!(out, "{}\n", paint.bold(&format!("Serve at {}, as text/plain", generated.url)))?;
    generated.policy.lines().try_for_each(|line| writeln!(out, "{line}"))?;
    writeln!(out, "\n{}\n", paint.bold("Publish"))?;
    generated.records.iter().try_for_each(|record| writeln!(out, "{}", zone_line(record)))?;
    if !generated.records.iter().any(|record| record.kind == "CNAME") {
        writeln!(out, "mta-sts.{}. to your web server: A and AAAA, or a CNAME (--policy-host)", generated.domain)?;
    }
    if !generated.findings.is_empty() {
        writeln!(out, "\n{}\n", paint.bold("Mind"))?;
        print::findings(&mut out, &paint, &generated.findings.iter().collect::<Vec<_>>())?;
    }
    if !generated.safe {
        writeln!(out, "\nThis policy would lose mail today: start with --mode testing.")?;
    }
    out.flush()
}

/// As it stands in a zone file.
fn zone_line(record: &Record) -> String {
    let Record { name, kind, value } = record;
    if *kind != "TXT" {
        return format!("{name}. {kind} {value}.");
    }
    // Records of ours are ASCII without quotation marks, so that octets are characters and nothing is escaped.
    let strings: Vec<String> =
        value.as_bytes().chunks(MAX_STRING).map(|part| format!("\"{}\"", String::from_utf8_lossy(part))).collect();
    format!("{name}. {kind} {}", strings.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_parted_into_strings() {
        let record = |kind, value: String| Record { name: "a.test".to_owned(), kind, value };
        assert_eq!(zone_line(&record("CNAME", "b.test".to_owned())), "a.test. CNAME b.test.");
        let line = zone_line(&record("TXT", "x".repeat(300)));
        assert_eq!(line, format!("a.test. TXT \"{}\" \"{}\"", "x".repeat(255), "x".repeat(45)));
    }
}
