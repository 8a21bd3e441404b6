//! One request's header section (RFC 9112), read strictly: what two parsers could read differently is refused.

use httparse::{EMPTY_HEADER, Request, Status};

/// Of one request, in bytes.
pub(crate) const MAX_HEAD: usize = 8 * 1_024;
const MAX_HEADERS: usize = 32;

/// What is asked for, of either HTTP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked<'a> {
    pub(crate) method: Method,
    /// Without the query.
    pub(crate) path: &'a str,
    /// `Host` or `:authority`.
    pub(crate) authority: &'a str,
}

/// The methods that make a difference here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Other,
}

impl Method {
    pub(crate) fn new(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            _ => Self::Other,
        }
    }
}

/// A whole header section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    pub(crate) asked: Asked<'a>,
    /// Whether the connection may be used again.
    pub(crate) keep_alive: bool,
    /// Bytes of the section.
    pub(crate) length: usize,
}

/// Why a request is refused. The connection ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 400
    Malformed(&'static str),
    /// 413
    HasBody,
    /// 431
    TooLarge,
}

/// Reads the section at the start of `bytes`; `None` when its end has not come yet.
pub(crate) fn read(bytes: &[u8]) -> Result<Option<Head<'_>>, Refusal> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLarge),
        Err(_) => return Err(Refusal::Malformed("the request is not HTTP/1.1")),
    };
    // httparse takes a bare LF for a line's end; a proxy in front may not (RFC 9112 §2.2).
    let section = &bytes[..length];
    if section.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || section[at - 1] != b'\r')) {
        return Err(Refusal::Malformed("lines end with CR LF"));
    }
    let http_1_1 = request.version == Some(1);
    let (mut host, mut content_length, mut transfer_encoding) = (None, None, false);
    let mut keep_alive = http_1_1;
    for header in &*request.headers {
        let value = header.value;
        if header.name.eq_ignore_ascii_case("host") {
            if host.replace(value).is_some() {
                return Err(Refusal::Malformed("more than one Host"));
            }
        } else if header.name.eq_ignore_ascii_case("content-length") {
            if content_length.replace(value).is_some() || value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
                return Err(Refusal::Malformed("Content-Length must be one number"));
            }
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            transfer_encoding = true;
        } else if header.name.eq_ignore_ascii_case("connection") {
            for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                if option.eq_ignore_ascii_case(b"close") {
                    keep_alive = false;
                }
            }
        }
    }
    match (content_length, transfer_encoding) {
        // RFC 9112 §6.1: the pair is how requests are smuggled.
        (Some(_), true) => return Err(Refusal::Malformed("Content-Length and Transfer-Encoding exclude each other")),
        (None, true) => return Err(Refusal::HasBody),
        (Some(length), false) if length.iter().any(|digit| *digit != b'0') => return Err(Refusal::HasBody),
        _ => {}
    }
    let host = host.ok_or(Refusal::Malformed("Host is missing"))?;
    let host = std::str::from_utf8(host).map_err(|_| Refusal::Malformed("Host is no name"))?;
    let target = request.path.unwrap_or_default();
    let (authority, path) = match target.find("://") {
        // The absolute form: its authority counts, and Host is ignored (RFC 9112 §3.2.2).
        Some(end) if !target.starts_with('/') => {
            let rest = &target[end + 3..];
            rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()))
        }
        _ => (host, target),
    };
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let method = Method::new(request.method.unwrap_or_default());
    Ok(Some(Head { asked: Asked { method, path, authority }, keep_alive, length }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(text: &str) -> Refusal {
        read(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_plain_get_is_read_to_its_last_byte() {
        let text = "GET /.well-known/mta-sts.txt?x HTTP/1.1\r\nHost: mta-sts.example.com\r\nAccept: */*\r\n\r\nGET";
        let head = read(text.as_bytes()).unwrap().unwrap();
        assert_eq!(head.asked.path, "/.well-known/mta-sts.txt");
        assert_eq!(head.asked.authority, "mta-sts.example.com");
        assert_eq!(head.asked.method, Method::Get);
        assert!(head.keep_alive);
        assert_eq!(head.length, text.len() - 3);
        assert_eq!(read(&text.as_bytes()[..60]), Ok(None));
    }

    #[test]
    fn connections_are_kept_only_where_http_says_so() {
        let keep = |text: &str| read(text.as_bytes()).unwrap().unwrap().keep_alive;
        assert!(!keep("GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\n\r\n"));
        assert!(!keep("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"));
        assert!(keep("GET / HTTP/1.1\r\nHost: a\r\nConnection: foo\r\n\r\n"));
    }

    #[test]
    fn the_absolute_forms_authority_counts() {
        let head = read(b"GET https://b/x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().unwrap();
        assert_eq!((head.asked.authority, head.asked.path), ("b", "/x"));
        let head = read(b"GET /x://b HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().unwrap();
        assert_eq!((head.asked.authority, head.asked.path), ("a", "/x://b"));
    }

    #[test]
    fn what_smuggling_needs_is_refused() {
        let get = "GET / HTTP/1.1\r\nHost: a\r\n";
        for lines in [
            "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "Content-Length: +1\r\n\r\n",
            "Content-Length: 1, 1\r\n\r\n",
            "Content-Length:\r\n\r\n",
            "Content-Length : 1\r\n\r\n",
            "X: a\r\n b\r\n\r\n",
            "X: a\n\r\n",
            "X: a\r\r\n\r\n",
            "Host: b\r\n\r\n",
            "X\0: a\r\n\r\n",
            "X: a\0b\r\n\r\n",
        ] {
            assert!(matches!(refused(&format!("{get}{lines}")), Refusal::Malformed(_)), "{lines:?}");
        }
        assert_eq!(refused(&format!("{get}Transfer-Encoding: chunked\r\n\r\n")), Refusal::HasBody);
        assert_eq!(refused(&format!("{get}Transfer-Encoding: identity, chunked\r\n\r\n")), Refusal::HasBody);
        assert_eq!(refused(&format!("{get}Content-Length: 1\r\n\r\nx")), Refusal::HasBody);
        assert!(matches!(refused("GET / HTTP/1.1\r\n\r\n"), Refusal::Malformed(_)), "no Host");
        assert!(matches!(refused("\u{16}\u{3}\u{1}"), Refusal::Malformed(_)), "not HTTP");
    }

    #[test]
    fn a_header_section_above_8_kilobytes_is_refused() {
        let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEAD));
        assert_eq!(refused(&long), Refusal::TooLarge);
        assert_eq!(refused(&long[..MAX_HEAD]), Refusal::TooLarge, "before its end has come");
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(MAX_HEADERS));
        assert_eq!(refused(&many), Refusal::TooLarge);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&bytes);
            let mut tail = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
            tail.extend(bytes);
            let _ = read(&tail);
        }
    }
}
