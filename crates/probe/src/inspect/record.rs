//! The record at `_mta-sts.<domain>` (RFC 8461 §3.1), and what looks like one.

use mtasts_dns::{Lookup, Resolver};
use mtasts_model::{
    MailDomain, NameRules, StsRecord, causes,
    record::{RecordSyntaxError, StsRecordError},
};

use super::{Code, Finding, Severity, aliases, seen::RecordSeen, text::shown};

/// Records at one name that are looked at.
const MAX_RECORDS: usize = 32;
/// Characters of a text that are shown.
pub(crate) const MAX_TEXT: usize = 512;

/// What came of one part of a look.
pub(crate) struct Looked<T> {
    pub(crate) seen: T,
    pub(crate) findings: Vec<Finding>,
    /// DNS answered something, be it that there is nothing.
    pub(crate) answered: bool,
}

pub(crate) async fn look(resolver: &Resolver, domain: &MailDomain) -> Looked<RecordSeen> {
    let name = domain.sts_record_name();
    let ((chain, mut findings), answer) = tokio::join!(aliases::look(resolver, &name), resolver.txt(&name));
    let mut seen = RecordSeen { name: name.clone(), aliases: chain, ..RecordSeen::default() };
    let texts = match answer {
        Ok(Lookup::Found(texts)) => texts,
        Ok(Lookup::NoData | Lookup::NxDomain) => Vec::new(),
        Err(error) => {
            if !aliases::is_of_chain(&error) && !findings.iter().any(aliases::is_fault) {
                let sentence = format!("the TXT records could not be resolved: {}", causes(&error));
                findings.push(Finding::new(Code::StsRecordUnresolvable, &name, sentence));
            }
            let answered = aliases::is_answer(&error);
            return Looked { seen, findings, answered };
        }
    };
    if texts.is_empty() && !seen.aliases.is_empty() {
        let sentence = format!("{name} leads to {}, which has no TXT record", seen.aliases.join(" → "));
        findings.push(Finding::new(Code::AliasDangling, &name, sentence));
    }
    seen.texts = texts.iter().take(MAX_RECORDS).map(|text| shown(text, MAX_TEXT)).collect();
    seen.candidates = texts.iter().filter(|text| text.starts_with("v=STSv1;")).count();
    match StsRecord::select(&texts) {
        Ok(record) => {
            seen.id = Some(record.id().as_str().to_owned());
            findings.push(Finding::new(Code::StsRecordFound, &name, format!("one record, with id {}", record.id())));
            if seen.candidates == 0 {
                let sentence = "there is space before the first semicolon: some senders look for `v=STSv1;`";
                findings.push(Finding::new(Code::StsRecordSpaces, &name, sentence).at_most(Severity::Warning));
            }
        }
        Err(error) => {
            findings.push(fault(&name, &texts, &error));
            if texts.is_empty() {
                findings.extend(elsewhere(resolver, domain).await);
            }
        }
    }
    if texts.len() > 1 && seen.candidates == 1 {
        let sentence = format!("{} other TXT records stand there too", texts.len() - 1);
        findings.push(Finding::new(Code::StsRecordOtherTexts, &name, sentence));
    }
    Looked { seen, findings, answered: true }
}

fn fault(name: &str, texts: &[String], error: &StsRecordError) -> Finding {
    match error {
        StsRecordError::Several => {
            let count = texts.iter().filter(|text| text.starts_with("v=STSv1;")).count();
            Finding::new(Code::StsRecordSeveral, name, format!("{count} records begin with `v=STSv1;`"))
        }
        StsRecordError::Malformed(error) => {
            let of_id = matches!(
                error,
                RecordSyntaxError::PolicyId(_)
                    | RecordSyntaxError::MissingField { name: "id" }
                    | RecordSyntaxError::RepeatedField { name: "id" }
            );
            let code = if of_id { Code::StsRecordId } else { Code::StsRecordMalformed };
            Finding::new(code, name, error.to_string())
        }
        StsRecordError::None => match texts.iter().find_map(|text| near_miss(text).map(|code| (code, text))) {
            Some((code, text)) => {
                let sentence = format!("`{}` is no record of MTA-STS: {}", shown(text, 80), code.meaning());
                Finding::new(code, name, sentence)
            }
            None if texts.is_empty() => Finding::new(Code::StsRecordMissing, name, format!("{name} has no TXT record")),
            None => {
                let sentence = format!("{name} has {} TXT records, and none is of MTA-STS", texts.len());
                Finding::new(Code::StsRecordMissing, name, sentence)
            }
        },
    }
}

/// How a text that is no record (it does not begin with `v=STSv1;`) was meant to be one.
fn near_miss(text: &str) -> Option<Code> {
    let bare: String = text.chars().filter(|c| !c.is_whitespace() && !"\"'“”‘’".contains(*c)).collect();
    let folded = bare.to_ascii_lowercase();
    if !folded.starts_with("v=") || !folded.contains("sts") {
        return None;
    }
    let version = bare.split(';').next().unwrap_or_default();
    Some(if text.contains(['"', '\'', '“', '”', '‘', '’']) {
        Code::StsRecordQuotes
    } else if version == "v=STSv1" {
        // The semicolon is there, and so it is space that keeps it from being the selector.
        if text.contains(';') && !text.starts_with("v=STSv1,") {
            Code::StsRecordSpaces
        } else {
            Code::StsRecordNoSemicolon
        }
    } else if version.starts_with("v=STSv1") && !version.as_bytes().get(7).is_some_and(u8::is_ascii_digit) {
        Code::StsRecordNoSemicolon
    } else if folded.starts_with("v=stsv1") && !folded.as_bytes().get(7).is_some_and(u8::is_ascii_digit) {
        Code::StsRecordCase
    } else {
        Code::StsRecordVersion
    })
}

/// Where the record stands instead of at its own name, and whether the domain above has one.
async fn elsewhere(resolver: &Resolver, domain: &MailDomain) -> Vec<Finding> {
    let misplaced = [
        domain.as_str().to_owned(),
        domain.policy_host().to_string(),
        // The zone editor added the domain to a name that had it already.
        format!("{}.{domain}", domain.sts_record_name()),
        format!("mta-sts._mta-sts.{domain}"),
    ];
    let parent =
        domain.as_str().split_once('.').and_then(|(_, parent)| MailDomain::parse(parent, &NameRules::strict()).ok());
    let has_record = async |name: String| {
        let texts = resolver.txt(&name).await.ok().and_then(Lookup::found).unwrap_or_default();
        texts.iter().any(|text| text.starts_with("v=STSv1")).then_some(name)
    };
    let (a, b, c, d, above) = tokio::join!(
        has_record(misplaced[0].clone()),
        has_record(misplaced[1].clone()),
        has_record(misplaced[2].clone()),
        has_record(misplaced[3].clone()),
        async {
            match &parent {
                Some(parent) => has_record(parent.sts_record_name()).await,
                None => None,
            }
        },
    );
    let found = [a, b, c, d].into_iter().flatten();
    let mut findings: Vec<Finding> = found
        .map(|name| {
            let sentence = format!("there is a record at {name}, where senders do not look");
            Finding::new(Code::StsRecordElsewhere, name, sentence)
        })
        .collect();
    if let Some(name) = above {
        let sentence = format!("{name} has a record, which does not hold for {domain}");
        findings.push(Finding::new(Code::ParentPolicy, name, sentence));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_told_apart() {
        for (text, code) in [
            ("V=STSv1; id=1;", Some(Code::StsRecordCase)),
            ("v=stsv1; id=1;", Some(Code::StsRecordCase)),
            ("v=STSv1 id=1", Some(Code::StsRecordNoSemicolon)),
            ("v=STSv1", Some(Code::StsRecordNoSemicolon)),
            ("v=STSv1, id=1;", Some(Code::StsRecordNoSemicolon)),
            ("\"v=STSv1; id=1;\"", Some(Code::StsRecordQuotes)),
            ("“v=STSv1; id=1;”", Some(Code::StsRecordQuotes)),
            ("v=STS1; id=1;", Some(Code::StsRecordVersion)),
            ("v=STSv2; id=1;", Some(Code::StsRecordVersion)),
            ("v=STSv10; id=1;", Some(Code::StsRecordVersion)),
            ("v=MTASTSv1; id=1;", Some(Code::StsRecordVersion)),
            (" v=STSv1; id=1;", Some(Code::StsRecordSpaces)),
            ("v = STSv1; id=1;", Some(Code::StsRecordSpaces)),
            ("v=STSv1 ; id=1;", Some(Code::StsRecordSpaces)),
            ("v=spf1 -all", None),
            ("google-site-verification=sts", None),
            ("", None),
        ] {
            assert_eq!(near_miss(text), code, "{text}");
        }
    }
}
