//! From what a sender says to the cause and the cure: `mtasts explain`. No network; the same text always gives the
//! same answer.

mod matching;
mod topics;

use serde::Serialize;

use crate::inspect::{Code, SenderWords};

pub use topics::Topic;

/// Octets of a text that are looked at: a log line, a bounce.
const MAX_TEXT: usize = 16 * 1024;
/// Explanations that are given: all causes of words that have many, such as Postfix's `Server certificate not verified`.
const MAX_GIVEN: usize = 12;

/// What a text may be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Words of a sender, which may have several causes.
    Words(&'static Topic),
    /// One of our codes.
    Code(Code),
}

/// One explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// `words` (of a sender, which may have several causes) or `code` (one of `mtasts check`).
    pub kind: &'static str,
    /// The words, or the code.
    pub name: &'static str,
    /// What it means.
    pub cause: &'static str,
    /// What to do.
    pub what_to_do: &'static str,
    /// Where it stands; empty where no RFC says anything.
    pub rfc: &'static str,
    /// Whether the text has the very words, rather than similar ones.
    pub exact: bool,
    /// What in the text led here.
    pub matched: &'static str,
    /// What senders say when they meet it.
    pub senders: &'static [SenderWords],
    #[serde(skip)]
    score: usize,
}

impl Subject {
    /// All of them: words first, as they tell the whole where a code tells a part.
    fn all() -> impl Iterator<Item = Self> {
        topics::TOPICS.iter().map(Self::Words).chain(Code::ALL.iter().copied().map(Self::Code))
    }

    /// What leads to it.
    fn patterns(self) -> Vec<&'static str> {
        match self {
            Self::Words(topic) => topic.words.to_vec(),
            Self::Code(code) => {
                std::iter::once(code.as_str()).chain(code.senders().iter().map(|words| words.says)).collect()
            }
        }
    }

    fn explain(self, exact: bool, matched: &'static str, score: usize) -> Explanation {
        let (kind, name, cause, what_to_do, rfc, senders) = match self {
            Self::Words(topic) => (
                "words",
                topic.words.first().copied().unwrap_or_default(),
                topic.cause,
                topic.what_to_do,
                topic.rfc,
                [].as_slice(),
            ),
            Self::Code(code) => ("code", code.as_str(), code.meaning(), code.advice(), code.rfc(), code.senders()),
        };
        Explanation { kind, name, cause, what_to_do, rfc, exact, matched, senders, score }
    }
}

/// What the text may be about, the likeliest first; nothing where it is unknown.
pub fn explain(text: &str) -> Vec<Explanation> {
    let text = matching::normal(text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or_default());
    let mut found: Vec<Explanation> =
        Subject::all().filter_map(|subject| best(subject, &text, matching::contains)).collect();
    if found.is_empty() {
        found = Subject::all().filter_map(|subject| best(subject, &text, matching::resembles)).collect();
        for explanation in &mut found {
            explanation.exact = false;
        }
    }
    // Stable: what is equally likely stays in the catalogue's order.
    found.sort_by_key(|explanation| std::cmp::Reverse(explanation.score));
    // What matched by much less is about something else that the same words happen to say.
    let floor = found.first().map_or(0, |first| first.score / 2);
    found.retain(|explanation| explanation.score >= floor);
    found.truncate(MAX_GIVEN);
    found
}

fn best(subject: Subject, text: &str, score: fn(&str, &str) -> Option<usize>) -> Option<Explanation> {
    let scored =
        subject.patterns().into_iter().filter_map(|pattern| Some((score(&matching::normal(pattern), text)?, pattern)));
    let (score, pattern) = scored.max_by_key(|(score, _)| *score)?;
    Some(subject.explain(true, pattern, score))
}

/// What can be asked for: words of senders, then codes.
pub fn askable() -> (Vec<&'static str>, Vec<&'static str>) {
    let words = topics::TOPICS.iter().filter_map(|topic| topic.words.first().copied()).collect();
    (words, Code::ALL.iter().map(|code| code.as_str()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(text: &str) -> &'static str {
        explain(text).first().map_or("nothing", |explanation| explanation.name)
    }

    fn names(text: &str) -> Vec<&'static str> {
        explain(text).iter().map(|explanation| explanation.name).collect()
    }

    #[test]
    fn each_code_and_all_words_of_senders_explain_themselves() {
        for code in Code::ALL {
            assert!(names(code.as_str()).contains(&code.as_str()), "{code}: {:?}", names(code.as_str()));
            for words in code.senders() {
                assert!(!explain(words.says).is_empty(), "{}", words.says);
            }
        }
        for topic in topics::TOPICS {
            for words in topic.words {
                assert_eq!(first(words), topic.words[0], "{words}");
            }
        }
    }

    #[test]
    fn what_people_paste_leads_to_its_cause() {
        for (text, name) in [
            ("STSFetchResult.NONE", "STSFetchResult.NONE"),
            ("(<STSFetchResult.NONE: 0>, None)", "STSFetchResult.NONE"),
            ("stsfetchresult.fetch_error", "STSFetchResult.FETCH_ERROR"),
            (
                "Nov 22 07:00:00 out postfix/smtp[4711]: 4XY: to=<a@example.com>, relay=mx.example.com[192.0.2.1]:25, \
                 delay=1, delays=0/0/1/0, dsn=4.7.5, status=deferred (Server certificate not verified)",
                "Server certificate not verified",
            ),
            (
                "status=deferred (TLS is required, but was not offered by host mx.example.com[192.0.2.1])",
                "TLS is required, but was not offered by host …",
            ),
            (
                "postfix/smtp[1]: certificate verification failed for mx.example.com[192.0.2.1]:25: self-signed certificate",
                "mx-certificate-self-signed",
            ),
            ("certificate verification failed for mx: certificate has expired", "mx-certificate-expired"),
            (
                "certificate verification failed for mx[::1]:25: untrusted issuer /CN=Example",
                "mx-certificate-incomplete",
            ),
            (
                "server certificate verification failed for mx.example.com[192.0.2.1]:25: num=62:hostname mismatch",
                "mx-not-covered",
            ),
            (
                "STS policy fetch for domain 'example.com' failed with error: 'ascii' codec can't decode byte 0xef in \
                 position 0: ordinal not in range(128)",
                "policy-byte-order-mark",
            ),
            (
                "STS policy fetch for domain 'example.com' failed with error: Cannot connect to host \
                 mta-sts.example.com:443 ssl:True [SSLCertVerificationError: (1, '[SSL: CERTIFICATE_VERIFY_FAILED] \
                 certificate verify failed: self signed certificate (_ssl.c:1007)')]",
                "host-certificate-self-signed",
            ),
            ("starttls-not-supported", "starttls-not-supported"),
            ("\"result-type\": \"sts-webpki-invalid\"", "sts-webpki-invalid"),
            ("SSL verify error: certificate name mismatch: DN=\"/CN=x\" H=\"mx.example.com\"", "mx-certificate-name"),
            (
                "550 5.4.8 MX hosts of 'example.com' failed MTA-STS validation",
                "5.4.8 MX hosts of '…' failed MTA-STS validation",
            ),
            ("TLS Negotiation failed, the certificate doesn’t match the host.", "mx-certificate-name"),
            ("mx-below-wildcard", "mx-below-wildcard"),
            ("mx-certificate-expird", "mx-certificate-expired"),
            ("Server certificate was not verified", "Server certificate not verified"),
        ] {
            assert_eq!(first(text), name, "{text}: {:?}", names(text));
        }
    }

    #[test]
    fn all_that_postfix_calls_not_verified_is_told() {
        let told = names("status=deferred (Server certificate not verified)");
        for code in ["mx-not-covered", "mx-certificate-self-signed", "mx-certificate-expired", "mx-certificate-name"] {
            assert!(told.contains(&code), "{code}: {told:?}");
        }
    }

    #[test]
    fn unknown_text_has_no_explanation_and_no_text_panics() {
        for text in ["", " ", "hello world", "certificate", "the quick brown fox", "…", "\u{1b}[2J", "mx"] {
            assert!(explain(text).is_empty(), "{text}: {:?}", names(text));
        }
        assert!(explain(&"é".repeat(MAX_TEXT)).is_empty());
    }

    #[test]
    fn similar_words_are_called_similar() {
        assert!(explain("STSFetchResult.NONE")[0].exact);
        assert!(!explain("mx-certificate-expird")[0].exact);
    }
}
