//! `mtasts explain TEXT`: from what a sender says to the cause and the cure.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Read, Write};

use clap::Args;
use mtasts_probe::explain::{Explanation, askable};
use serde::Serialize;

use super::{USAGE, WRONG, print};
use crate::{cli::Outcome, client::Told};

/// Octets that are read from standard input.
const MAX_INPUT: u64 = 64 * 1024;

#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainArgs {
    /// The text, or `-` for standard input: a line of a log, a bounce, a result type of a report, a code
    #[arg(required = true, value_name = "TEXT", allow_hyphen_values = true)]
    text: Vec<String>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    /// The likeliest first.
    explanations: &'a [Explanation],
    /// Where nothing is known of the text: what can be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    askable: Option<Askable>,
}

#[derive(Serialize)]
struct Askable {
    words: Vec<&'static str>,
    codes: Vec<&'static str>,
}

pub(in crate::cli) fn explain(args: &ExplainArgs) -> Outcome {
    let text = match args.text.as_slice() {
        [only] if only == "-" => standard_input()?,
        words => words.join(" "),
    };
    let explanations = mtasts_probe::explain::explain(&text);
    match tell(&explanations, args.json) {
        // Whoever reads has seen enough, such as `head`.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    if explanations.is_empty() { Err(Told::new(WRONG).into()) } else { Ok(()) }
}

fn standard_input() -> Result<String, Told> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        eprintln!("Paste the text, then press Ctrl-D.");
    }
    let mut octets = Vec::new();
    stdin.lock().take(MAX_INPUT).read_to_end(&mut octets).map_err(|error| {
        eprintln!("mtasts: standard input cannot be read: {error}");
        Told::new(USAGE)
    })?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

fn tell(explanations: &[Explanation], json: bool) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let unknown = explanations.is_empty().then(|| {
        let (words, codes) = askable();
        Askable { words, codes }
    });
    if json {
        serde_json::to_writer(&mut out, &Answer { explanations, askable: unknown })?;
        writeln!(out)?;
    } else if let Some(Askable { words, codes }) = unknown {
        writeln!(out, "Nothing is known of this text. What can be asked:\n")?;
        words.iter().try_for_each(|words| writeln!(out, "  {words}"))?;
        writeln!(out, "\nand the codes of `mtasts check`:\n")?;
        codes.chunks(4).try_for_each(|line| writeln!(out, "  {}", line.join(", ")))?;
    } else {
        for (index, explanation) in explanations.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            print::explanation(&mut out, explanation)?;
        }
    }
    out.flush()
}
