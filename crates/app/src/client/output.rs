//! What people see: tables, ticks, and the API's JSON for programs.

use std::{
    env,
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use super::{
    error::ClientError,
    text::Text,
    views::{Condition, Domain},
};

/// Standard output.
pub(super) struct Out {
    stdout: io::Stdout,
    /// The API's JSON in place of tables and sentences.
    pub(super) json: bool,
    colour: bool,
}

/// Whether colours are seen on standard output, and wanted (<https://no-color.org>).
pub(crate) fn in_colour() -> bool {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
    io::stdout().is_terminal() && !set("NO_COLOR") && !dumb
}

impl Out {
    pub(super) fn new(json: bool) -> Self {
        Self { stdout: io::stdout(), json, colour: in_colour() }
    }

    pub(super) fn line(&self, text: impl Display) -> Result<(), ClientError> {
        Ok(writeln!(self.stdout.lock(), "{text}")?)
    }

    /// As it is: of an unfinished line, or of several.
    pub(super) fn text(&self, text: impl Display) -> Result<(), ClientError> {
        let mut stdout = self.stdout.lock();
        write!(stdout, "{text}")?;
        Ok(stdout.flush()?)
    }

    /// ✓, ✗ or ·, in colour where that is seen.
    pub(super) fn tick(&self, status: &Text) -> String {
        let (sign, colour) = match status.as_str() {
            "True" => ("✓", "32"),
            "False" => ("✗", "31"),
            _ => ("·", "33"),
        };
        if self.colour { format!("\u{1b}[{colour}m{sign}\u{1b}[0m") } else { sign.to_owned() }
    }

    /// Of one condition: tick, kind, reason and message.
    pub(super) fn condition(&self, condition: &Condition) -> String {
        let Condition { kind, status, reason, message } = condition;
        format!("{} {kind:<16}  {reason}: {message}", self.tick(status))
    }

    pub(super) fn conditions(&self, domain: &Domain) -> Result<(), ClientError> {
        if domain.conditions.is_empty() {
            return self.line("  · the service has not looked yet");
        }
        domain.conditions.iter().try_for_each(|condition| self.line(format_args!("  {}", self.condition(condition))))
    }

    /// Columns, each as wide as its longest cell, `indent` from the left. An empty head is left out.
    pub(super) fn table<const N: usize>(
        &self,
        indent: usize,
        head: [&str; N],
        rows: &[[String; N]],
    ) -> Result<(), ClientError> {
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([head[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..N).map(width).collect();
        let show = |cells: [&str; N]| {
            let padded: Vec<_> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            self.line(format_args!("{:indent$}{}", "", padded.join("  ").trim_end()))
        };
        if head.iter().any(|cell| !cell.is_empty()) {
            show(head)?;
        }
        rows.iter().try_for_each(|row| show(row.each_ref().map(String::as_str)))
    }
}
