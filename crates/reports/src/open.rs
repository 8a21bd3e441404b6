//! From whatever arrives to the report documents in it.

mod inflate;
mod mail;
mod sniff;
mod transfer;

use std::{borrow::Cow, sync::Arc};

use serde::Serialize;

pub use mail::Mail;

use crate::{
    DeviationCode, Deviations, Limits, Unreadable,
    deviation::{excerpt, shortened},
    identity::FileName,
};
use sniff::{Content, sniff};

/// A report document as it was sent, not yet read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// JSON, for [`tls_rpt::Report::parse`](crate::tls_rpt::Report::parse).
    Json(Vec<u8>),
    /// XML, for [`dmarc::Report::parse`](crate::dmarc::Report::parse).
    Xml(Vec<u8>),
}

/// One document, or the reason why there is none, and how it came.
#[derive(Debug, Clone)]
pub struct Found {
    /// The way to it, from outside in, such as `part 2`, `google.com!example.net!…json.gz`. Empty if it is the input.
    pub path: Vec<String>,
    /// The innermost message that it was in.
    pub mail: Option<Arc<Mail>>,
    /// What the innermost file name says that has RFC 8460 §5.1's form.
    pub file_name: Option<FileName>,
    /// What was amiss on the way to it.
    pub deviations: Deviations,
    /// The document.
    pub document: Result<Document, Unreadable>,
}

/// What opening an input took. No more than this was ever allocated for what was inflated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Spent {
    /// Octets inflated.
    pub inflated: usize,
    /// MIME parts looked at.
    pub parts: usize,
    /// Archive entries and gzip members looked at.
    pub entries: usize,
}

/// The documents of one input.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Never empty: where nothing is found, it says why. In the order in which they came.
    pub found: Vec<Found>,
    /// What it took.
    pub spent: Spent,
}

/// Finds the report documents in a mail, an archive or a plain document, by their content and not by what they are
/// declared to be. Nested messages, multiparts and archives are followed; each cap of `limits` holds over all of them.
///
/// Once a cap is met, what was found before is kept, and the last one found says which cap it was.
pub fn open(bytes: &[u8], limits: &Limits) -> Opened {
    let mut opener = Opener { limits, spent: Spent::default(), found: Vec::new(), stopped: false };
    let outermost = Way {
        path: Vec::new(),
        depth: 0,
        mail: None,
        file_name: None,
        declared: None,
        deviations: Deviations::new(limits.deviations),
    };
    if bytes.len() > limits.octets {
        opener.fail(&outermost, Unreadable::TooLarge { limit: limits.octets });
    } else if bytes.iter().all(u8::is_ascii_whitespace) {
        opener.fail(&outermost, Unreadable::Empty);
    } else {
        opener.content(bytes, &outermost);
        if opener.found.is_empty() {
            opener.fail(&outermost, Unreadable::NothingFound);
        }
    }
    Opened { found: opener.found, spent: opener.spent }
}

/// How the walk came to some octets.
#[derive(Debug, Clone)]
struct Way {
    path: Vec<String>,
    depth: usize,
    mail: Option<Arc<Mail>>,
    file_name: Option<FileName>,
    /// The declared media type, in lower case.
    declared: Option<String>,
    deviations: Deviations,
}

impl Way {
    fn step(&self, step: &str) -> Self {
        let mut way = self.clone();
        way.path.push(shortened(step, 200));
        way.depth += 1;
        way
    }

    fn named(mut self, name: &str) -> Self {
        self.file_name = FileName::parse(name).or(self.file_name);
        self
    }

    fn note(&mut self, code: DeviationCode, sentence: impl Into<String>) {
        let place = self.path.join(" > ");
        self.deviations.note(code, place, sentence);
    }
}

struct Opener<'l> {
    limits: &'l Limits,
    spent: Spent,
    found: Vec<Found>,
    /// A cap was met: whatever else there is stays unopened.
    stopped: bool,
}

impl Opener<'_> {
    fn push(&mut self, way: &Way, document: Result<Document, Unreadable>) {
        self.found.push(Found {
            path: way.path.clone(),
            mail: way.mail.clone(),
            file_name: way.file_name.clone(),
            deviations: way.deviations.clone(),
            document,
        });
    }

    fn fail(&mut self, way: &Way, why: Unreadable) {
        self.stopped |= why.is_cap();
        self.push(way, Err(why));
    }

    /// Whether the walk may go into a container. Says so if it may not.
    fn may_enter(&mut self, way: &Way) -> bool {
        if self.stopped {
            return false;
        }
        if way.depth >= self.limits.depth() {
            self.fail(way, Unreadable::TooDeep { limit: self.limits.depth() });
            return false;
        }
        true
    }

    /// Octets free of any transfer encoding.
    fn content(&mut self, bytes: &[u8], way: &Way) {
        if self.stopped {
            return;
        }
        let kind = sniff(bytes);
        let mut way = Cow::Borrowed(way);
        if let (Some(declared), Some(word)) = (&way.declared, kind.word())
            && !kind.fits(declared)
        {
            let sentence = format!("declared as {}, and is {word}", excerpt(declared));
            way.to_mut().note(DeviationCode::WrongMediaType, sentence);
        }
        match kind {
            Content::Gzip => self.gzip(bytes, &way),
            Content::Zip => self.zip(bytes, &way),
            Content::Mail => self.mail(bytes, &way),
            Content::Json => self.push(&way, Ok(Document::Json(bytes.to_vec()))),
            Content::Xml => self.push(&way, Ok(Document::Xml(bytes.to_vec()))),
            Content::Text => self.text(bytes, &way),
            Content::Other => {}
        }
    }

    /// A text may have the document further down, or be base64 that nobody declared.
    fn text(&mut self, bytes: &[u8], way: &Way) {
        if let Some(start) = sniff::encoded_start(bytes) {
            let decoded = transfer::base64(&bytes[start..]);
            if !matches!(sniff(&decoded.octets), Content::Text | Content::Other) && self.may_enter(way) {
                let mut way = way.step("base64");
                way.note(DeviationCode::WrongTransferEncoding, "base64 that is not declared as such");
                if start > 0 {
                    way.note(DeviationCode::BannerAhead, "text ahead of the base64 was passed over");
                }
                way.declared = None;
                self.content(&decoded.octets, &way);
                return;
            }
        }
        if let Some((start, kind)) = sniff::document_start(bytes) {
            let mut way = way.clone();
            way.note(DeviationCode::BannerAhead, "text ahead of the document was passed over");
            let document = bytes[start..].to_vec();
            self.push(&way, Ok(if kind == Content::Json { Document::Json(document) } else { Document::Xml(document) }));
        }
    }

    fn gzip(&mut self, bytes: &[u8], way: &Way) {
        if !self.may_enter(way) {
            return;
        }
        let mut way = way.step("gzip");
        way.declared = None;
        match inflate::gunzip(bytes, self.limits, &mut self.spent) {
            Ok(inflated) => {
                inflated.tell(&mut way);
                self.content(&inflated.octets, &way);
            }
            Err(why) => self.fail(&way, why),
        }
    }

    fn zip(&mut self, bytes: &[u8], way: &Way) {
        if !self.may_enter(way) {
            return;
        }
        let mut archive = match inflate::Archive::open(bytes, self.limits) {
            Ok(archive) => archive,
            Err(why) => return self.fail(way, why),
        };
        for index in 0..archive.len() {
            if self.stopped {
                return;
            }
            match archive.entry(index, self.limits, &mut self.spent) {
                Ok(None) => {}
                Ok(Some((name, inflated))) => {
                    let mut way = way.step(&name).named(&name);
                    way.declared = None;
                    inflated.tell(&mut way);
                    self.content(&inflated.octets, &way);
                }
                Err((name, why)) => self.fail(&way.step(&name), why),
            }
        }
    }
}
