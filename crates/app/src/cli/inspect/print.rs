//! Findings for people to read.

use std::io::{self, Write};

use mtasts_model::Mode;
use mtasts_probe::{
    explain::Explanation,
    inspect::{Delivery, Finding, Group, Inspection, Safety, SenderWords, Severity, Verdict},
};

use crate::client::in_colour;

/// Colours, where they are seen.
pub(super) struct Paint(bool);

impl Paint {
    pub(super) fn new() -> Self {
        Self(in_colour())
    }

    fn with(&self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    pub(super) fn bold(&self, text: &str) -> String {
        self.with("1", text)
    }

    pub(super) fn faint(&self, text: &str) -> String {
        self.with("2", text)
    }

    fn tick(&self, severity: Severity) -> String {
        match severity {
            Severity::Ok => self.with("32", "✓"),
            Severity::Note => self.with("36", "·"),
            Severity::Warning => self.with("33", "!"),
            Severity::Error => self.with("31", "✗"),
        }
    }
}

pub(super) fn inspection(out: &mut impl Write, seen: &Inspection) -> io::Result<()> {
    let paint = Paint::new();
    let name =
        if seen.unicode == seen.domain { seen.domain.clone() } else { format!("{} ({})", seen.unicode, seen.domain) };
    writeln!(out, "{}", paint.bold(&name))?;
    for group in Group::ALL {
        let of_group: Vec<&Finding> = seen.findings.iter().filter(|finding| finding.group == group).collect();
        if !of_group.is_empty() {
            writeln!(out, "\n  {}", paint.bold(group.title()))?;
        }
        findings(out, &paint, &of_group)?;
    }
    writeln!(out, "\n  {}", paint.bold("Verdict"))?;
    if !seen.looked {
        return writeln!(out, "    {} DNS did not answer: nothing could be seen", paint.tick(Severity::Error));
    }
    verdict(out, &paint, &seen.verdict)
}

/// One after the other, each with what to do.
pub(super) fn findings(out: &mut impl Write, paint: &Paint, findings: &[&Finding]) -> io::Result<()> {
    for finding in findings {
        let Finding { code, severity, subject, sentence, what_to_do, rfc, senders, .. } = finding;
        // A sentence that names its subject need not be told it.
        let about = if sentence.contains(subject.as_str()) { String::new() } else { format!("{subject}: ") };
        write!(out, "    {} {about}{sentence}", paint.tick(*severity))?;
        if *severity == Severity::Ok {
            writeln!(out)?;
            continue;
        }
        let place = if rfc.is_empty() { code.to_string() } else { format!("{code}, {rfc}") };
        writeln!(out, "  {}", paint.faint(&format!("[{place}]")))?;
        writeln!(out, "      → {what_to_do}")?;
        if *severity == Severity::Error && !senders.is_empty() {
            writeln!(out, "      {}", paint.faint(&format!("senders say: {}", words(senders))))?;
        }
    }
    Ok(())
}

fn words(senders: &[SenderWords]) -> String {
    senders.iter().map(|words| format!("{} “{}”", words.sender, words.says)).collect::<Vec<_>>().join("; ")
}

fn verdict(out: &mut impl Write, paint: &Paint, verdict: &Verdict) -> io::Result<()> {
    let (severity, policy) = match (verdict.published, verdict.mode) {
        (true, Some(mode @ (Mode::Enforce | Mode::Testing))) => {
            (Severity::Ok, format!("senders find a policy, in mode {mode}"))
        }
        (true, _) => (Severity::Note, "senders find a policy of mode none, which protects nothing".to_owned()),
        (false, _) => (Severity::Error, "senders find no policy".to_owned()),
    };
    writeln!(out, "    {} {policy}", paint.tick(severity))?;
    for host in &verdict.hosts {
        let (severity, does) = match host.today {
            Delivery::Delivers => (Severity::Ok, "a sender that follows the policy delivers today"),
            Delivery::Refuses => (Severity::Error, "a sender that follows the policy refuses to deliver"),
            Delivery::Unreachable => (Severity::Error, "no sender can deliver"),
            Delivery::Unknown => (Severity::Note, "it is not known whether a sender delivers"),
        };
        let covered = match host.covered {
            Some(true) => ", covered by the policy",
            Some(false) => ", not covered by the policy",
            None => "",
        };
        writeln!(out, "    {} {}: {does}{covered}", paint.tick(severity), host.host)?;
    }
    let (severity, enforce) = match verdict.enforce {
        Safety::Safe => (Severity::Ok, "enforce would be safe today".to_owned()),
        Safety::NoMail => (Severity::Note, "the domain takes no mail".to_owned()),
        Safety::Unproven => (Severity::Warning, format!("whether enforce is safe is not proven{}", against(verdict))),
        Safety::Unsafe => (Severity::Error, format!("enforce would lose mail{}", against(verdict))),
    };
    writeln!(out, "    {} {enforce}", paint.tick(severity))
}

fn against(verdict: &Verdict) -> String {
    let codes: Vec<&str> = verdict.against_enforce.iter().map(|code| code.as_str()).collect();
    if codes.is_empty() { String::new() } else { format!(": {}", codes.join(", ")) }
}

pub(super) fn explanation(out: &mut impl Write, explanation: &Explanation) -> io::Result<()> {
    let paint = Paint::new();
    let Explanation { name, cause, what_to_do, rfc, exact, senders, .. } = explanation;
    let similar = if *exact { "" } else { "similar: " };
    writeln!(out, "{similar}{}", paint.bold(name))?;
    writeln!(out, "  {cause}")?;
    if !what_to_do.is_empty() {
        writeln!(out, "  → {what_to_do}")?;
    }
    if !senders.is_empty() {
        writeln!(out, "  {}", paint.faint(&format!("senders say: {}", words(senders))))?;
    }
    if !rfc.is_empty() {
        writeln!(out, "  {}", paint.faint(rfc))?;
    }
    Ok(())
}
