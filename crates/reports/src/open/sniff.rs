//! What some octets are, by their look.

/// What some octets look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Gzip,
    Zip,
    Mail,
    Json,
    Xml,
    Text,
    /// Nothing that a report comes in: HTML, pictures.
    Other,
}

impl Content {
    /// For a sentence; nothing for what is no report anyway.
    pub(super) fn word(self) -> Option<&'static str> {
        match self {
            Self::Gzip => Some("gzip"),
            Self::Zip => Some("a zip archive"),
            Self::Json => Some("JSON"),
            Self::Xml => Some("XML"),
            Self::Mail | Self::Text | Self::Other => None,
        }
    }

    /// Whether a media type (RFC 8460 §6.2 and §6.3, RFC 7489 §7.2.1.1, and what is usual) may hold it.
    pub(super) fn fits(self, media_type: &str) -> bool {
        match self {
            Self::Gzip => matches!(media_type, "application/gzip" | "application/x-gzip" | "application/tlsrpt+gzip"),
            Self::Zip => matches!(media_type, "application/zip" | "application/x-zip-compressed"),
            Self::Json => matches!(media_type, "application/json" | "application/tlsrpt+json"),
            Self::Xml => matches!(media_type, "application/xml" | "text/xml"),
            Self::Mail | Self::Text | Self::Other => true,
        }
    }
}

/// Octets of a document that are looked at for its kind.
const LOOKED_AT: usize = 8192;

/// Octets of a header that are looked at: gateways put much ahead.
const HEADER_LOOKED_AT: usize = 64 << 10;

/// Header fields, one of which every message has that a report comes in.
const MAIL_FIELDS: [&[u8]; 14] = [
    b"received",
    b"return-path",
    b"delivered-to",
    b"from",
    b"to",
    b"subject",
    b"date",
    b"message-id",
    b"mime-version",
    b"content-type",
    b"dkim-signature",
    b"authentication-results",
    b"arc-seal",
    b"received-spf",
];

/// The octets behind a byte order mark and blank lines.
pub(crate) fn begin(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start()
}

pub(super) fn sniff(bytes: &[u8]) -> Content {
    let start = begin(bytes);
    match start {
        [0x1f, 0x8b, ..] => Content::Gzip,
        // An entry, or the end record of an empty archive.
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Content::Zip,
        [b'{' | b'[', ..] if is_json(start) => Content::Json,
        [b'<', ..] if is_xml(start) => Content::Xml,
        [b'<', ..] => Content::Other,
        // UTF-16 with its mark.
        [0xff, 0xfe, rest @ ..] | [0xfe, 0xff, rest @ ..] => {
            match rest.iter().find(|octet| **octet != 0 && !octet.is_ascii_whitespace()) {
                Some(b'{' | b'[') => Content::Json,
                Some(b'<') => Content::Xml,
                _ => Content::Other,
            }
        }
        _ if is_mail(start) => Content::Mail,
        _ if start.iter().take(LOOKED_AT).any(|octet| *octet == 0) => Content::Other,
        _ => Content::Text,
    }
}

/// An object, or a list of them. Banners begin with `[EXTERNAL]` and the like.
fn is_json(start: &[u8]) -> bool {
    match start[1..].trim_ascii_start().first() {
        Some(b'"' | b'}') => start[0] == b'{',
        Some(b'{' | b'[' | b']') => start[0] == b'[',
        _ => false,
    }
}

/// A report, or other XML that says to be such. Parts of mails are often HTML without any declaration.
fn is_xml(start: &[u8]) -> bool {
    let head = start[..start.len().min(LOOKED_AT)].to_ascii_lowercase();
    let contains = |needle: &[u8]| head.windows(needle.len()).any(|window| window == needle);
    let is_html = contains(b"<html") || contains(b"<!doctype html");
    contains(b"<feedback")
        || contains(b":feedback")
        || !is_html && (head.starts_with(b"<?xml") || head.starts_with(b"<!"))
}

/// Whether it begins with header fields (RFC 5322 §2.2), a familiar one among the first.
fn is_mail(start: &[u8]) -> bool {
    let mut familiar = false;
    let head = &start[..start.len().min(HEADER_LOOKED_AT)];
    for (index, line) in head.split(|octet| *octet == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return familiar;
        }
        // A continued field, or the line that mail folders have before each message.
        if matches!(line[0], b' ' | b'\t') && index > 0 || index == 0 && line.starts_with(b"From ") {
            continue;
        }
        let Some(colon) = line.iter().position(|octet| *octet == b':') else {
            // A last line that was cut off by looking no further is no reason to say no.
            return familiar && head.len() == HEADER_LOOKED_AT;
        };
        let name = line[..colon].trim_ascii_end();
        if name.is_empty() || !name.iter().all(|octet| matches!(octet, b'!'..=b'~')) {
            return false;
        }
        familiar |= MAIL_FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field));
    }
    familiar
}

/// How base64 of a report begins: gzip, zip, XML, JSON, a byte order mark.
const ENCODED: [&[u8]; 10] =
    [b"H4sI", b"UEsDB", b"PD94bWwg", b"PGZlZWRiYWNr", b"eyJ", b"ewog", b"ewoJ", b"ew0K", b"eyAi", b"77u/"];

/// The first line that begins as base64 of a report does.
pub(super) fn encoded_start(bytes: &[u8]) -> Option<usize> {
    line_start(bytes, |line| ENCODED.iter().any(|magic| line.starts_with(magic)))
}

/// The first line that begins as a report does, in a text that speaks of one further down.
pub(super) fn document_start(bytes: &[u8]) -> Option<(usize, Content)> {
    let contains = |from: usize, needle: &[u8]| bytes[from..].windows(needle.len()).any(|window| window == needle);
    let xml = line_start(bytes, |line| line.starts_with(b"<?xml") || line.starts_with(b"<feedback"));
    if let Some(start) = xml
        && contains(start, b"<feedback")
    {
        return Some((start, Content::Xml));
    }
    let json = line_start(bytes, |line| line.starts_with(b"{"))?;
    (contains(json, b"\"policies\"") || contains(json, b"\"report-id\"")).then_some((json, Content::Json))
}

fn line_start(bytes: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Option<usize> {
    let mut at = 0;
    for line in bytes.split_inclusive(|octet| *octet == b'\n') {
        let text = line.trim_ascii_start();
        if wanted(text) {
            return Some(at + line.len() - text.len());
        }
        at += line.len();
    }
    None
}
