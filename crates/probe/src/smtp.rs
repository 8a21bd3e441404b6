//! As much of SMTP as a sender needs up to STARTTLS (RFC 5321, RFC 3207), with every byte capped.

use std::{io, time::Duration};

use mtasts_model::HostName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// RFC 5321 §4.5.3.1.5 allows 512 octets with CRLF; some banners are longer.
const MAX_LINE: usize = 2048;
/// Continuation lines of one reply. Known servers offer some twenty extensions.
const MAX_LINES: usize = 100;

/// Why the conversation did not get as far as TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SmtpFailure {
    #[error("the connection broke off: {0}")]
    Io(#[from] io::Error),
    #[error("the server closed the connection")]
    Closed,
    #[error("there was no {waiting_for} within {} s", .deadline.as_secs_f32())]
    Deadline { waiting_for: &'static str, deadline: Duration },
    #[error("a reply is longer than {MAX_LINES} lines or {MAX_LINE} octets a line")]
    TooLong,
    #[error("a reply is not SMTP: {0}")]
    NotSmtp(String),
    #[error("the server answers {command} with: {reply}")]
    Unwilling { command: &'static str, code: u16, reply: String },
    #[error("the server does not offer STARTTLS")]
    NoStartTls,
    #[error("the server refuses STARTTLS with: {0}")]
    StartTlsRefused(String),
    /// Bytes before the handshake would be taken for the first ones inside of it (the STARTTLS injection).
    #[error("the server sends data between its answer to STARTTLS and the handshake")]
    DataBeforeTls,
}

/// One reply: its code and its lines without the code.
#[derive(Debug)]
struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    /// For people: code and first line.
    fn summary(&self) -> String {
        let text = self.lines.first().map_or("", String::as_str).chars();
        // A stranger's words: nothing in them may steer a terminal or break a log line.
        let text: String = text.filter(|character| !character.is_control()).take(200).collect();
        format!("{} {text}", self.code).trim_end().to_owned()
    }
}

/// What a server says on the way to TLS, as far as it came. Strangers' words, not escaped.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The first line of the greeting.
    pub(crate) banner: Option<String>,
    /// The name at the beginning of the answer to EHLO.
    pub(crate) hello: Option<String>,
    /// Whether STARTTLS is among the keywords.
    pub(crate) start_tls: Option<bool>,
}

/// A conversation over `stream`.
pub(crate) struct Conversation<S> {
    stream: S,
    /// Read and not yet consumed.
    ahead: Vec<u8>,
    deadline: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<S> {
    /// `deadline` holds for each reply.
    pub(crate) fn new(stream: S, deadline: Duration) -> Self {
        Self { stream, ahead: Vec::new(), deadline }
    }

    /// Goes through banner, EHLO and STARTTLS; what comes back is ready for a handshake.
    pub(crate) async fn start_tls(self, helo_name: &HostName) -> Result<S, SmtpFailure> {
        self.start_tls_heard(helo_name, &mut Heard::default()).await
    }

    /// The same, with what the server said.
    pub(crate) async fn start_tls_heard(mut self, helo_name: &HostName, heard: &mut Heard) -> Result<S, SmtpFailure> {
        let banner = self.reply("banner").await?;
        heard.banner = Some(format!("{} {}", banner.code, banner.lines.first().map_or("", String::as_str)));
        if banner.code != 220 {
            let reply = banner.summary();
            self.quit().await;
            return Err(SmtpFailure::Unwilling { command: "the connection", code: banner.code, reply });
        }
        self.send(&format!("EHLO {helo_name}\r\n")).await?;
        let hello = self.reply("answer to EHLO").await?;
        match hello.code {
            250 => {}
            // A server that knows HELO alone knows no extension (RFC 5321 §3.2).
            500..=502 | 504 => {
                heard.start_tls = Some(false);
                return Err(SmtpFailure::NoStartTls);
            }
            code => return Err(SmtpFailure::Unwilling { command: "EHLO", code, reply: hello.summary() }),
        }
        heard.hello = hello.lines.first().and_then(|line| line.split_ascii_whitespace().next()).map(str::to_owned);
        // The first line is the server's name; keywords follow, in any case (RFC 5321 §4.1.1.1).
        let mut keywords = hello.lines.iter().skip(1).filter_map(|line| line.split_ascii_whitespace().next());
        let offered = keywords.any(|keyword| keyword.eq_ignore_ascii_case("STARTTLS"));
        heard.start_tls = Some(offered);
        if !offered {
            self.quit().await;
            return Err(SmtpFailure::NoStartTls);
        }
        self.send("STARTTLS\r\n").await?;
        let ready = self.reply("answer to STARTTLS").await?;
        if ready.code != 220 {
            self.quit().await;
            return Err(SmtpFailure::StartTlsRefused(ready.summary()));
        }
        if self.ahead.is_empty() { Ok(self.stream) } else { Err(SmtpFailure::DataBeforeTls) }
    }

    /// Says goodbye (RFC 5321 §4.1.1.10); the outcome changes nothing.
    pub(crate) async fn quit(&mut self) {
        // A tenth of the deadline: the server's manners are not worth a long wait.
        self.deadline /= 10;
        if self.send("QUIT\r\n").await.is_ok() {
            let _ = self.reply("answer to QUIT").await;
        }
        let _ = timeout(self.deadline, self.stream.shutdown()).await;
    }

    async fn send(&mut self, command: &str) -> Result<(), SmtpFailure> {
        let write = async {
            self.stream.write_all(command.as_bytes()).await?;
            self.stream.flush().await
        };
        let late = SmtpFailure::Deadline { waiting_for: "room to send", deadline: self.deadline };
        Ok(timeout(self.deadline, write).await.map_err(|_| late)??)
    }

    async fn reply(&mut self, waiting_for: &'static str) -> Result<Reply, SmtpFailure> {
        let deadline = self.deadline;
        let read = async {
            let mut reply: Option<Reply> = None;
            loop {
                let line = self.line().await?;
                let (code, last, text) = split(&line).ok_or_else(|| not_smtp(&line))?;
                let reply = reply.get_or_insert(Reply { code, lines: Vec::new() });
                // RFC 5321 §4.2.1: all lines of one reply have the same code.
                if reply.code != code {
                    return Err(not_smtp(&line));
                }
                reply.lines.push(text.to_owned());
                if last {
                    return Ok(Reply { code, lines: std::mem::take(&mut reply.lines) });
                }
                if reply.lines.len() >= MAX_LINES {
                    return Err(SmtpFailure::TooLong);
                }
            }
        };
        timeout(deadline, read).await.map_err(|_| SmtpFailure::Deadline { waiting_for, deadline })?
    }

    async fn line(&mut self) -> Result<String, SmtpFailure> {
        loop {
            if let Some(end) = self.ahead.iter().position(|&byte| byte == b'\n') {
                if end > MAX_LINE {
                    return Err(SmtpFailure::TooLong);
                }
                let mut line: Vec<u8> = self.ahead.drain(..=end).collect();
                line.pop();
                line.pop_if(|byte| *byte == b'\r');
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if self.ahead.len() > MAX_LINE {
                return Err(SmtpFailure::TooLong);
            }
            let mut chunk = [0; 1024];
            match self.stream.read(&mut chunk).await? {
                0 => return Err(SmtpFailure::Closed),
                read => self.ahead.extend_from_slice(chunk.get(..read).unwrap_or_default()),
            }
        }
    }
}

/// Code, whether it is the last line, and the text (RFC 5321 §4.2).
fn split(line: &str) -> Option<(u16, bool, &str)> {
    let (code, rest) = line.split_at_checked(3)?;
    if !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let code = code.parse().ok().filter(|code| (200..600).contains(code))?;
    match rest.as_bytes().first() {
        None => Some((code, true, "")),
        Some(b' ') => Some((code, true, rest.get(1..)?)),
        Some(b'-') => Some((code, false, rest.get(1..)?)),
        Some(_) => None,
    }
}

fn not_smtp(line: &str) -> SmtpFailure {
    SmtpFailure::NotSmtp(line.chars().take(80).flat_map(char::escape_default).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_lines_are_read_as_rfc_5321_has_them() {
        assert_eq!(split("250-PIPELINING"), Some((250, false, "PIPELINING")));
        assert_eq!(split("250 OK"), Some((250, true, "OK")));
        assert_eq!(split("220"), Some((220, true, "")));
        for bad in ["", "25", "2x0 a", "250_x", "999 x", "+25 x", "HTTP/1.1 400 Bad Request", "é50 x"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }
}
