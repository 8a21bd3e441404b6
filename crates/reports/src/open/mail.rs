//! Messages (RFC 5322, RFC 2045). The parts are walked here, because mail-parser keeps every part and every header
//! field that a stranger sends; it reads the few fields that matter, of one part at a time.

use std::sync::Arc;

use mail_parser::{MessageParser, MimeHeaders};
use serde::Serialize;

use super::{
    Opener, Way,
    sniff::{Content, begin, sniff},
    transfer,
};
use crate::{DeviationCode, Unreadable, deviation::shortened, identity::Subject};

/// What a message says of the report in it. Of all this the document is the better witness (RFC 8460 §5.3).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Mail {
    /// The address in `From`.
    pub from: Option<String>,
    /// `Subject`, decoded.
    pub subject: Option<String>,
    /// What the subject says in RFC 8460 §5.3's (or RFC 7489 §7.2.1.1's) form.
    pub subject_fields: Option<Subject>,
    /// `Message-ID`, without its brackets.
    pub message_id: Option<String>,
    /// `TLS-Report-Domain` (RFC 8460 §5.3).
    pub report_domain: Option<String>,
    /// `TLS-Report-Submitter` (RFC 8460 §5.3).
    pub report_submitter: Option<String>,
}

/// The fields that are looked at, each once.
const FIELDS: [&str; 8] = [
    "from",
    "subject",
    "message-id",
    "content-type",
    "content-transfer-encoding",
    "content-disposition",
    "tls-report-domain",
    "tls-report-submitter",
];
/// Octets of one field that are looked at.
const MAX_FIELD: usize = 8192;
/// RFC 5322 §2.1.1.
const MAX_LINE: usize = 998;

/// What a part declares.
#[derive(Debug, Default)]
struct Declared {
    media_type: Option<String>,
    boundary: Option<String>,
    encoding: Option<String>,
    file_name: Option<String>,
    mail: Mail,
}

impl Opener<'_> {
    pub(super) fn mail(&mut self, bytes: &[u8], way: &Way) {
        if !self.may_enter(way) {
            return;
        }
        let mut message = way.clone();
        message.depth += 1;
        if way.mail.is_some() {
            message.note(DeviationCode::NestedMessage, "the report is in a message within another one");
        }
        self.part(begin(bytes), &mut message, true);
    }

    /// A message or one part of it: header fields, an empty line, a body.
    fn part(&mut self, bytes: &[u8], way: &mut Way, is_message: bool) {
        if self.stopped {
            return;
        }
        if self.spent.parts >= self.limits.parts {
            return self.fail(way, Unreadable::TooManyParts { limit: self.limits.parts });
        }
        self.spent.parts += 1;
        let (header, body) = split_header(bytes);
        let declared = declared(header);
        if is_message {
            way.mail = Some(Arc::new(declared.mail));
        }
        way.declared = declared.media_type;
        if let Some(name) = &declared.file_name {
            way.path.push(shortened(name, 200));
            *way = way.clone().named(name);
        }
        let media_type = way.declared.as_deref().unwrap_or("text/plain");
        if media_type.starts_with("multipart/") {
            return self.multipart(body, declared.boundary.as_deref(), way);
        }
        let is_nested = matches!(media_type, "message/rfc822" | "message/global");
        let octets = decode(body, declared.encoding.as_deref(), way);
        if is_nested && sniff(&octets) == Content::Mail {
            way.declared = None;
            return self.mail(&octets, way);
        }
        self.content(&octets, way);
    }

    fn multipart(&mut self, body: &[u8], boundary: Option<&str>, way: &mut Way) {
        if !self.may_enter(way) {
            return;
        }
        let mut parts = boundary.map(|boundary| Parts::new(body, boundary.as_bytes())).unwrap_or_default();
        if parts.is_empty() {
            way.note(
                DeviationCode::BoundaryMissing,
                "the declared boundary is nowhere: took the first line that looks like one",
            );
            let Some(boundary) = guess_boundary(body) else {
                way.declared = None;
                return self.content(body, way);
            };
            parts = Parts::new(body, boundary);
        }
        if !parts.ended {
            way.note(DeviationCode::MultipartCutOff, "the message ends before its last boundary");
        }
        let mut number = 0;
        while let Some(part) = parts.next_part() {
            number += 1;
            let mut inner = way.step(&format!("part {number}"));
            self.part(part, &mut inner, false);
            if self.stopped {
                return;
            }
        }
    }
}

/// The parts of a multipart (RFC 2046 §5.1), cut as they are asked for.
#[derive(Debug, Default)]
struct Parts<'a> {
    body: &'a [u8],
    boundary: &'a [u8],
    /// Where the next part begins, if there is one.
    next: Option<usize>,
    /// Whether the last boundary is there.
    ended: bool,
}

impl<'a> Parts<'a> {
    fn new(body: &'a [u8], boundary: &'a [u8]) -> Self {
        let mut parts = Self { body, boundary, next: None, ended: false };
        let mut at = 0;
        while let Some(line) = parts.delimiter(at) {
            parts.next = parts.next.or((!line.is_last).then_some(line.end));
            if line.is_last {
                parts.ended = true;
                break;
            }
            at = line.end;
        }
        parts
    }

    fn is_empty(&self) -> bool {
        self.next.is_none()
    }

    fn next_part(&mut self) -> Option<&'a [u8]> {
        let start = self.next.take()?;
        let Some(line) = self.delimiter(start) else {
            return Some(&self.body[start..]);
        };
        if !line.is_last {
            self.next = Some(line.end);
        }
        Some(&self.body[start..line.start])
    }

    /// The next delimiter line from an offset on.
    fn delimiter(&self, from: usize) -> Option<Delimiter> {
        let mut start = from;
        for line in self.body[from..].split_inclusive(|octet| *octet == b'\n') {
            let end = start + line.len();
            if let Some(rest) = line.strip_prefix(b"--").and_then(|line| line.strip_prefix(self.boundary)) {
                let rest = rest.trim_ascii_end();
                if rest.is_empty() || rest == b"--" {
                    return Some(Delimiter { start, end, is_last: rest == b"--" });
                }
            }
            start = end;
        }
        None
    }
}

struct Delimiter {
    start: usize,
    end: usize,
    is_last: bool,
}

/// What follows `--` in the first line that begins so and is followed by a header field.
fn guess_boundary(body: &[u8]) -> Option<&[u8]> {
    let mut lines = body.split(|octet| *octet == b'\n').peekable();
    while let Some(line) = lines.next() {
        let Some(boundary) = line.strip_prefix(b"--").map(<[u8]>::trim_ascii_end).filter(|rest| !rest.is_empty())
        else {
            continue;
        };
        let is_header = lines.peek().is_some_and(|next| next.to_ascii_lowercase().starts_with(b"content-"));
        if is_header && boundary.len() <= MAX_LINE {
            return Some(boundary);
        }
    }
    None
}

/// Header fields and body, without the empty line between them. Without such a line all is header if it looks so.
fn split_header(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    for line in bytes.split_inclusive(|octet| *octet == b'\n') {
        let end = at + line.len();
        if line.trim_ascii().is_empty() {
            return (&bytes[..at], &bytes[end..]);
        }
        at = end;
    }
    (bytes, &[])
}

/// Has mail-parser read the fields that matter, from a copy that holds no others.
fn declared(header: &[u8]) -> Declared {
    let mut fields = Vec::new();
    let mut seen = [false; FIELDS.len()];
    let mut kept = 0;
    for line in header.split_inclusive(|octet| *octet == b'\n') {
        let is_continued = matches!(line.first(), Some(b' ' | b'\t'));
        if !is_continued {
            kept = 0;
            let name = line.split(|octet| *octet == b':').next().unwrap_or_default().trim_ascii();
            let index = FIELDS.iter().position(|field| name.eq_ignore_ascii_case(field.as_bytes()));
            if let Some(index) = index.filter(|index| !seen[*index]) {
                seen[index] = true;
                kept = MAX_FIELD;
            }
        }
        if line.len() <= kept {
            kept -= line.len();
            fields.extend_from_slice(line.trim_ascii_end());
            fields.extend_from_slice(b"\r\n");
        } else {
            kept = 0;
        }
    }
    fields.extend_from_slice(b"\r\n");
    let Some(message) = MessageParser::default().parse_headers(&fields) else {
        return Declared::default();
    };
    let text = |name: &str| message.header(name).and_then(|value| value.as_text()).map(|text| text.trim().to_owned());
    let lower = |text: &str| text.trim().to_ascii_lowercase();
    let content_type = message.content_type();
    let subject = message.subject().map(str::to_owned);
    Declared {
        media_type: content_type.map(|kind| lower(&format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("plain")))),
        boundary: content_type.and_then(|kind| kind.attribute("boundary")).map(|text| text.trim_end().to_owned()),
        encoding: message.content_transfer_encoding().map(lower),
        file_name: message.attachment_name().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()),
        mail: Mail {
            from: message.from().and_then(|from| from.first()).and_then(|from| from.address()).map(str::to_owned),
            subject_fields: subject.as_deref().and_then(Subject::parse),
            subject,
            message_id: message.message_id().map(str::to_owned),
            report_domain: text("TLS-Report-Domain"),
            report_submitter: text("TLS-Report-Submitter"),
        },
    }
}

/// Undoes the transfer encoding, the one that was used rather than the one that is declared.
fn decode(body: &[u8], encoding: Option<&str>, way: &mut Way) -> Vec<u8> {
    match encoding {
        Some("base64") => {
            // JSON, XML or an archive as it is cannot be base64.
            if !matches!(sniff(body), Content::Text | Content::Other | Content::Mail) {
                way.note(DeviationCode::WrongTransferEncoding, "declared as base64, and is not encoded");
                return body.to_vec();
            }
            if body.split(|octet| *octet == b'\n').any(|line| line.len() > MAX_LINE + 1) {
                way.note(DeviationCode::LineTooLong, "base64 in a line of more than 998 octets");
            }
            let decoded = transfer::base64(body);
            if decoded.stray > 0 {
                let sentence = format!("{} octets that are not base64 were passed over", decoded.stray);
                way.note(DeviationCode::StrayOctets, sentence);
            }
            // Words of a banner are base64 too, and shift all that follows.
            if matches!(sniff(&decoded.octets), Content::Text | Content::Other)
                && let Some(start) = super::sniff::encoded_start(body).filter(|start| *start > 0)
            {
                way.note(DeviationCode::BannerAhead, "text ahead of the base64 was passed over");
                return transfer::base64(&body[start..]).octets;
            }
            decoded.octets
        }
        Some("quoted-printable") => transfer::quoted_printable(body),
        _ => body.to_vec(),
    }
}
