//! What a client asks for. Lines come from [`super::wire`], without their ends; smtp-proto reads them.

use smtp_proto::{MAIL_BODY_7BIT, MAIL_BODY_8BITMIME, MAIL_SMTPUTF8, Request};

/// Digits of a chunk's size: far more than any has, and no number that overflows.
const MAX_DIGITS: usize = 12;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Hello { name: String, extended: bool },
    Mail { from: String, size: usize },
    Rcpt { to: String },
    Data,
    Chunk { octets: u64, last: bool },
    Reset,
    Noop,
    Verify,
    Help,
    Quit,
    StartTls,
}

/// Why a line is no command that we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bad {
    /// Nobody knows it.
    Unknown,
    /// It is known, and not offered here.
    NotOffered,
    /// It is written in another way.
    Syntax,
    /// It has a parameter that is not offered here.
    Parameter,
    /// The path says by which hosts to go (RFC 5321 §3.6.1).
    SourceRoute,
}

impl Command {
    /// Reads a line without its end.
    pub(super) fn parse(line: &[u8]) -> Result<Self, Bad> {
        if let Some(arguments) = after(line, b"BDAT") {
            // By hand: smtp-proto begins again at 0 when the number is too large.
            return chunk(arguments);
        }
        let mut ended = line.to_vec();
        ended.push(b'\n');
        let request = Request::parse(&mut ended.iter()).map_err(|error| match error {
            smtp_proto::Error::UnknownCommand | smtp_proto::Error::NeedsMoreData { .. } => Bad::Unknown,
            smtp_proto::Error::UnsupportedParameter { .. } => Bad::Parameter,
            _ => Bad::Syntax,
        })?;
        match request {
            Request::Ehlo { host } => Ok(Self::Hello { name: host.into_owned(), extended: true }),
            Request::Helo { host } => Ok(Self::Hello { name: host.into_owned(), extended: false }),
            Request::Mail { from } => {
                let offered = MAIL_BODY_7BIT | MAIL_BODY_8BITMIME | MAIL_SMTPUTF8;
                if from.flags & !offered != 0 || from.hold_for != 0 || from.hold_until != 0 || from.by != 0 {
                    return Err(Bad::Parameter);
                }
                Ok(Self::Mail { from: from.address.into_owned(), size: from.size })
            }
            Request::Rcpt { to } => recipient(line, to.address.into_owned()),
            Request::Data => alone(line, b"DATA", Self::Data),
            Request::Rset => alone(line, b"RSET", Self::Reset),
            Request::Quit => alone(line, b"QUIT", Self::Quit),
            Request::StartTls => alone(line, b"STARTTLS", Self::StartTls),
            Request::Noop { .. } => Ok(Self::Noop),
            Request::Vrfy { .. } => Ok(Self::Verify),
            Request::Help { .. } => Ok(Self::Help),
            Request::Auth { .. } | Request::Expn { .. } | Request::Etrn { .. } | Request::Atrn { .. } => {
                Err(Bad::NotOffered)
            }
            Request::Bdat { .. } | Request::Burl { .. } | Request::Lhlo { .. } => Err(Bad::Unknown),
        }
    }
}

/// What follows a verb and a space.
fn after<'a>(line: &'a [u8], verb: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = line.split_at_checked(verb.len())?;
    (head.eq_ignore_ascii_case(verb) && rest.first().is_none_or(|octet| *octet == b' ')).then_some(rest)
}

fn alone(line: &[u8], verb: &[u8], command: Command) -> Result<Command, Bad> {
    if line.trim_ascii_end().len() == verb.len() { Ok(command) } else { Err(Bad::Syntax) }
}

fn chunk(arguments: &[u8]) -> Result<Command, Bad> {
    let text = std::str::from_utf8(arguments).map_err(|_| Bad::Syntax)?;
    let mut words = text.split_ascii_whitespace();
    let size = words.next().filter(|size| size.len() <= MAX_DIGITS && size.bytes().all(|octet| octet.is_ascii_digit()));
    let octets = size.and_then(|size| size.parse().ok()).ok_or(Bad::Syntax)?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return Err(Bad::Syntax),
    };
    if words.next().is_some() { Err(Bad::Syntax) } else { Ok(Command::Chunk { octets, last }) }
}

/// smtp-proto leaves source routes away, and makes `<postmaster>` and `<>` the same.
fn recipient(line: &[u8], address: String) -> Result<Command, Bad> {
    let path = line.iter().position(|octet| *octet == b'<').map_or(&[][..], |start| &line[start + 1..]);
    if path.trim_ascii_start().starts_with(b"@") {
        return Err(Bad::SourceRoute);
    }
    if !address.is_empty() {
        return Ok(Command::Rcpt { to: address });
    }
    if path.trim_ascii_start().starts_with(b">") {
        return Err(Bad::Syntax);
    }
    Ok(Command::Rcpt { to: "postmaster".to_owned() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(line: &str) -> Result<Command, Bad> {
        Command::parse(line.as_bytes())
    }

    #[test]
    fn the_commands_of_a_mail_are_read() {
        let hello = |extended| Command::Hello { name: "mx.example".to_owned(), extended };
        assert_eq!(parse("ehlo mx.example"), Ok(hello(true)));
        assert_eq!(parse("HELO mx.example"), Ok(hello(false)));
        let mail = |from: &str, size| Ok(Command::Mail { from: from.to_owned(), size });
        assert_eq!(parse("MAIL FROM:<a@b.example> SIZE=1000 BODY=8BITMIME SMTPUTF8"), mail("a@b.example", 1000));
        assert_eq!(parse("mail from:<>"), mail("", 0));
        let rcpt = |to: &str| Ok(Command::Rcpt { to: to.to_owned() });
        assert_eq!(parse("RCPT TO:<a@b.example>"), rcpt("a@b.example"));
        assert_eq!(parse("RCPT TO:<\"a@c\"@b.example>"), rcpt("a@c@b.example"));
        assert_eq!(parse("RCPT TO:<PostMaster>"), rcpt("postmaster"));
        assert_eq!(parse("STARTTLS"), Ok(Command::StartTls));
        assert_eq!(parse("data"), Ok(Command::Data));
    }

    #[test]
    fn chunks_have_a_size_that_is_a_number() {
        assert_eq!(parse("BDAT 1000"), Ok(Command::Chunk { octets: 1_000, last: false }));
        assert_eq!(parse("bdat 0 last"), Ok(Command::Chunk { octets: 0, last: true }));
        for bad in
            ["BDAT", "BDAT x", "BDAT -1", "BDAT +1", "BDAT 1 FIRST", "BDAT 1 LAST x", "BDAT 18446744073709551617"]
        {
            assert_eq!(parse(bad), Err(Bad::Syntax), "{bad}");
        }
    }

    #[test]
    fn what_is_not_offered_is_refused_for_what_it_is() {
        for (line, bad) in [
            ("RCPT TO:<@relay.example:a@b.example>", Bad::SourceRoute),
            ("RCPT TO:<@relay.example,@other.example:a@b.example>", Bad::SourceRoute),
            ("RCPT TO:<>", Bad::Syntax),
            ("RCPT TO:a@b.example", Bad::Syntax),
            ("RCPT FROM:<a@b.example>", Bad::Syntax),
            ("MAIL FROM:<a@b.example> BODY=BINARYMIME", Bad::Parameter),
            ("MAIL FROM:<a@b.example> XYZ=1", Bad::Parameter),
            ("MAIL FROM:<a@b.example> REQUIRETLS", Bad::Parameter),
            ("AUTH PLAIN AAAA", Bad::NotOffered),
            ("EXPN list", Bad::NotOffered),
            ("DATA now", Bad::Syntax),
            ("STARTTLS x", Bad::Syntax),
            ("EHLO", Bad::Syntax),
            ("GET / HTTP/1.1", Bad::Unknown),
            ("DATABASE", Bad::Unknown),
            ("BDATA 5", Bad::Unknown),
            ("LHLO mx.example", Bad::Unknown),
            ("", Bad::Unknown),
        ] {
            assert_eq!(parse(line), Err(bad), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_too_strange(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Command::parse(&line);
        }

        #[test]
        fn no_argument_is_too_strange(
            verb in "(MAIL FROM:<|RCPT TO:<|EHLO |BDAT |AUTH |VRFY |NOOP |HELP )", rest in "[ -~é@<>\"\\\\:,=]{0,80}"
        ) {
            let _ = Command::parse(format!("{verb}{rest}").as_bytes());
        }
    }
}
