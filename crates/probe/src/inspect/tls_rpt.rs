//! The record at `_smtp._tls.<domain>` (RFC 8460 §3).

use mtasts_dns::Resolver;
use mtasts_model::{MailDomain, TlsRptRecord, causes};

use super::{
    Code, Finding, aliases,
    record::{Looked, MAX_TEXT},
    seen::RecordSeen,
    text::shown,
};

pub(crate) async fn look(resolver: &Resolver, domain: &MailDomain) -> Looked<RecordSeen> {
    let name = domain.tls_rpt_record_name();
    let ((chain, mut findings), answer) = tokio::join!(aliases::look(resolver, &name), resolver.txt(&name));
    for finding in &mut findings {
        finding.group = super::Group::Reporting;
    }
    let mut seen = RecordSeen { name: name.clone(), aliases: chain, ..RecordSeen::default() };
    let texts = match answer {
        Ok(answer) => answer.found().unwrap_or_default(),
        Err(error) => {
            let answered = aliases::is_answer(&error);
            let sentence = format!("the TXT records could not be resolved: {}", causes(&error));
            findings.push(Finding::new(Code::TlsRptUnresolvable, &name, sentence));
            return Looked { seen, findings, answered };
        }
    };
    seen.texts = texts.iter().take(32).map(|text| shown(text, MAX_TEXT)).collect();
    let candidates: Vec<&String> = texts.iter().filter(|text| is_candidate(text)).collect();
    seen.candidates = candidates.len();
    findings.push(match candidates.as_slice() {
        [] => match texts.iter().find(|text| looks_like_one(text)) {
            Some(text) => {
                let sentence = format!("`{}` does not begin with `v=TLSRPTv1;`", shown(text, 80));
                Finding::new(Code::TlsRptMalformed, &name, sentence)
            }
            None => Finding::new(Code::TlsRptMissing, &name, format!("{name} has no record that asks for reports")),
        },
        [only] => match TlsRptRecord::parse(only) {
            Ok(record) => {
                seen.rua = record.rua().iter().map(|uri| shown(uri.as_str(), MAX_TEXT)).collect();
                let kinds = kinds(&record);
                Finding::new(Code::TlsRptFound, &name, format!("reports go {kinds}: {}", seen.rua.join(", ")))
            }
            Err(error) => Finding::new(Code::TlsRptMalformed, &name, error.to_string()),
        },
        several => {
            Finding::new(Code::TlsRptSeveral, &name, format!("{} records begin with `v=TLSRPTv1;`", several.len()))
        }
    });
    Looked { seen, findings, answered: true }
}

/// RFC 8460 §3: records that do not begin with `v=TLSRPTv1;` are discarded; the grammar has space before the `;`.
fn is_candidate(text: &str) -> bool {
    text.strip_prefix("v=TLSRPTv1").is_some_and(|rest| rest.trim_start_matches([' ', '\t']).starts_with(';'))
}

fn looks_like_one(text: &str) -> bool {
    let folded: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    folded.starts_with("vtlsrpt")
}

fn kinds(record: &TlsRptRecord) -> &'static str {
    let by_mail = record.rua().iter().any(|uri| uri.as_str().starts_with("mailto:"));
    let by_https = record.rua().iter().any(|uri| uri.as_str().starts_with("https:"));
    match (by_mail, by_https) {
        (true, true) => "by mail and HTTPS",
        (false, true) => "by HTTPS",
        _ => "by mail",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_from_what_looks_like_one() {
        assert!(is_candidate("v=TLSRPTv1; rua=mailto:a@example.com"));
        assert!(is_candidate("v=TLSRPTv1 ;rua=mailto:a@example.com"));
        for text in ["v=TLSRPT1; rua=x", "V=tlsrptv1; rua=x", "\"v=TLSRPTv1; rua=x\"", "v=TLSRPTv1 rua=x"] {
            assert!(!is_candidate(text) && looks_like_one(text), "{text}");
        }
        assert!(!looks_like_one("v=spf1 -all"));
    }
}
