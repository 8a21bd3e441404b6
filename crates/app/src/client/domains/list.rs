//! `mtasts domains list`

use clap::{Args, builder::RangedU64ValueParser};
use serde_json::Value;

use super::Mode;
use crate::client::{
    error::ClientError,
    http::Call,
    session::{PAGE, Session},
    views::{Condition, DomainSummary, Page},
};

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Not more than this many; all where absent
    #[arg(long, value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    limit: Option<u32>,
    /// Only those whose policy has this mode
    #[arg(long)]
    mode: Option<Mode>,
    /// Only those in this state: pending, active, withdrawing or gone
    #[arg(long)]
    state: Option<String>,
    /// Only those with this condition, such as `MxReady:False`
    #[arg(long, value_name = "KIND:STATUS")]
    condition: Option<String>,
    /// Only those whose name begins so
    #[arg(long, value_name = "TEXT")]
    name_prefix: Option<String>,
    /// Where an earlier list with --limit ended: its `next_cursor`
    #[arg(long)]
    cursor: Option<String>,
}

/// Page by page, each printed before the next is asked for: a million domains need no memory.
pub(super) async fn list(session: &Session, args: ListArgs) -> Result<(), ClientError> {
    let mut left = args.limit;
    let mut cursor = args.cursor.clone();
    let mut printer = Printer { session, any: false };
    loop {
        let size = left.map_or(PAGE, |left| left.min(PAGE));
        let call = Call::get(&["v1", "domains"])
            .query("limit", Some(size))
            .query("cursor", cursor.as_deref())
            .query("mode", args.mode.map(Mode::as_str))
            .query("state", args.state.as_deref())
            .query("condition", args.condition.as_deref())
            .query("name_prefix", args.name_prefix.as_deref());
        let answer = session.api.send(call).await?;
        let count = if session.out.json {
            let page: Page<Value> = answer.parse()?;
            cursor = page.next_cursor;
            printer.json(&page.data)?
        } else {
            let page: Page<DomainSummary> = answer.parse()?;
            cursor = page.next_cursor;
            printer.table(&page.data)?
        };
        left = left.map(|left| left.saturating_sub(count));
        if cursor.is_none() || left == Some(0) || count == 0 {
            return printer.end(cursor.as_deref());
        }
    }
}

struct Printer<'a> {
    session: &'a Session,
    /// Whether a page was printed.
    any: bool,
}

impl Printer<'_> {
    /// One document over all pages, of the form that each page has.
    fn json(&mut self, domains: &[Value]) -> Result<u32, ClientError> {
        let out = &self.session.out;
        if !self.any {
            out.text(r#"{"data":["#)?;
        }
        for (index, domain) in domains.iter().enumerate() {
            let comma = if self.any || index > 0 { "," } else { "" };
            out.text(format_args!("{comma}\n{domain}"))?;
        }
        self.any = true;
        Ok(count(domains))
    }

    fn table(&mut self, domains: &[DomainSummary]) -> Result<u32, ClientError> {
        let out = &self.session.out;
        let rows: Vec<_> = domains
            .iter()
            .map(|domain| {
                let DomainSummary { id, name, state, mode, conditions } = domain;
                // The name to the width that most names have, so that the columns of the pages agree.
                [
                    format!("{name:<24}"),
                    format!("{mode:<7}"),
                    format!("{state:<11}"),
                    id.to_string(),
                    summary(conditions),
                ]
            })
            .collect();
        if !rows.is_empty() {
            let head = if self.any { [""; 5] } else { ["NAME", "MODE", "STATE", "ID", "NOT WELL"] };
            out.table(0, head, &rows)?;
            self.any = true;
        }
        Ok(count(domains))
    }

    fn end(&self, cursor: Option<&str>) -> Result<(), ClientError> {
        let out = &self.session.out;
        match (out.json, cursor) {
            (true, _) => out.line(format_args!("\n],\"next_cursor\":{}}}", Value::from(cursor))),
            (false, _) if !self.any => out.line("There are no such domains"),
            (false, Some(cursor)) => out.line(format_args!("There are more: --cursor {cursor}")),
            (false, None) => Ok(()),
        }
    }
}

fn count<T>(page: &[T]) -> u32 {
    u32::try_from(page.len()).unwrap_or(u32::MAX)
}

/// The conditions that do not hold.
fn summary(conditions: &[Condition]) -> String {
    if conditions.is_empty() {
        return "not looked at yet".to_owned();
    }
    let unwell = conditions.iter().filter(|condition| !condition.holds());
    let words: Vec<_> = unwell.map(|condition| format!("{} ({})", condition.kind, condition.reason)).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}
