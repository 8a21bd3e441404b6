//! One mail client, from its greeting to its end (RFC 5321).

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use mtasts_model::{
    ArrivalId, Label,
    report::{ReportKind, ReportVia},
};
use mtasts_store::{Acceptance, NewArrival, Recipient};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    address::Mailbox,
    command::{Bad, Command},
    reply::Reply,
    wire::{Broken, Line, Wire},
};
use crate::{
    body::{Body, Full},
    counters::{self, Outcome},
    desk::{column, digest_of},
    intake::Shared,
    tls::version_name,
};

/// Recipients of one mail (RFC 5321 §4.5.3.1.8 asks for 100).
const MAX_RECIPIENTS: usize = 100;
/// Commands that may be refused before the client is.
const MAX_ERRORS: u32 = 20;
/// A mail that is too large is read to its end, so that its sender learns why, up to so many times what it may have.
const PATIENCE: usize = 4;

/// What happens after a command.
enum Next {
    Command,
    StartTls,
    Close,
}

struct Envelope {
    from: String,
    recipients: Vec<(ReportKind, Label, Recipient)>,
    /// While a mail comes in chunks (RFC 3030).
    chunks: Option<Mail>,
}

/// A mail as it comes in.
struct Mail {
    body: Body,
    full: Option<Full>,
    dropped: usize,
    max_dropped: usize,
}

impl Mail {
    fn new(shared: &Shared) -> Self {
        let max = shared.config.limits.max_octets;
        Self { body: Body::new(&shared.budget, max), full: None, dropped: 0, max_dropped: max * PATIENCE }
    }

    /// Whether to go on reading.
    fn push(&mut self, octets: &[u8]) -> bool {
        if self.full.is_none()
            && let Err(full) = self.body.push(octets)
        {
            self.body.clear();
            self.full = Some(full);
        }
        if self.full.is_some() {
            self.dropped += octets.len();
        }
        self.dropped <= self.max_dropped
    }
}

pub(super) struct Session {
    shared: Arc<Shared>,
    peer: IpAddr,
    tls: Option<&'static str>,
    hello: Option<String>,
    envelope: Option<Envelope>,
    errors: u32,
    end: Instant,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, peer: IpAddr) -> Self {
        let end = Instant::now() + shared.config.limits.session_deadline;
        Self { shared, peer, tls: None, hello: None, envelope: None, errors: 0, end }
    }

    /// Serves the connection to its end.
    pub(super) async fn run(mut self, stream: TcpStream) {
        let mut wire = Wire::new(stream);
        wire.say(&Reply::new(220, format!("{} ESMTP reports only", self.shared.config.host)));
        if self.converse(&mut wire).await {
            let acceptor = TlsAcceptor::from(Arc::clone(&self.shared.smtp_tls));
            let handshake = acceptor.accept(wire.into_stream());
            match timeout(self.shared.config.limits.header_deadline, handshake).await {
                Ok(Ok(stream)) => {
                    self.tls = Some(version_name(stream.get_ref().1.protocol_version()));
                    // As if nothing had been said before (RFC 3207 §4.2).
                    (self.hello, self.envelope) = (None, None);
                    self.converse(&mut Wire::new(stream)).await;
                }
                Ok(Err(error)) => tracing::debug!(peer = %self.peer, %error, "no TLS came about"),
                Err(_) => tracing::debug!(peer = %self.peer, "no TLS came about in time"),
            }
        }
        counters::session(self.tls.is_some());
    }

    /// Takes commands until the client is done; true if it wants TLS now.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(&mut self, wire: &mut Wire<S>) -> bool {
        loop {
            match self.exchange(wire).await {
                Ok(Next::Command) => {}
                Ok(Next::StartTls) => return wire.flush().await.is_ok(),
                Ok(Next::Close) => break,
                Err(broken) => {
                    self.envelope = None;
                    if let Some(reply) = farewell(broken) {
                        wire.say(&reply);
                    }
                    break;
                }
            }
        }
        // It may have gone already.
        let _ = wire.flush().await;
        false
    }

    /// One command and its answer.
    async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(&mut self, wire: &mut Wire<S>) -> Result<Next, Broken> {
        let until = self.end.min(Instant::now() + self.shared.config.limits.command_deadline);
        let stop = self.shared.stop.clone();
        let line = tokio::select! {
            biased;
            line = wire.line(until) => line?,
            () = stop.cancelled() => {
                wire.say(&Reply::new(421, "4.3.2 stopping; come again in a moment"));
                return Ok(Next::Close);
            }
        };
        let command = match &line {
            Line::Text(line) => Command::parse(line).map_err(refusal),
            Line::TooLong => Err(Reply::new(500, "5.5.2 the line is too long")),
        };
        let (reply, next) = match command {
            Err(reply) => (Some(reply), Next::Command),
            Ok(Command::Quit) => (Some(Reply::new(221, "2.0.0 goodbye")), Next::Close),
            Ok(Command::StartTls) => self.start_tls(wire),
            Ok(Command::Data) => (self.data(wire).await?, Next::Command),
            Ok(Command::Chunk { octets, last }) => (Some(self.chunk(wire, octets, last).await?), Next::Command),
            Ok(command) => (Some(self.answer(command).await), Next::Command),
        };
        let Some(reply) = reply else { return Ok(next) };
        wire.say(&reply);
        if !reply.is_error() {
            return Ok(next);
        }
        counters::smtp_error(reply.code);
        self.errors += 1;
        if self.errors < MAX_ERRORS {
            return Ok(next);
        }
        wire.say(&Reply::new(421, "4.7.0 too many errors"));
        Ok(Next::Close)
    }

    async fn answer(&mut self, command: Command) -> Reply {
        match command {
            Command::Hello { name, extended } => self.hello(name, extended),
            Command::Mail { from, size } => self.mail(from, size),
            Command::Rcpt { to } => self.recipient(&to).await,
            Command::Reset => {
                self.envelope = None;
                Reply::new(250, "2.0.0 forgotten")
            }
            Command::Noop => Reply::new(250, "2.0.0 still here"),
            Command::Verify => Reply::new(252, "2.5.0 mail will tell"),
            Command::Help => Reply::new(214, "2.0.0 this host takes TLS and DMARC reports, and nothing else"),
            // Those that need the connection.
            Command::Data | Command::Chunk { .. } | Command::Quit | Command::StartTls => sequence("not here"),
        }
    }

    fn hello(&mut self, name: String, extended: bool) -> Reply {
        self.envelope = None;
        self.hello = Some(name);
        let host = format!("{} takes reports", self.shared.config.host);
        if !extended {
            return Reply::new(250, host);
        }
        let mut lines: Vec<Cow<'static, str>> = vec![
            host.into(),
            "PIPELINING".into(),
            format!("SIZE {}", self.shared.config.limits.max_octets).into(),
            "8BITMIME".into(),
            "SMTPUTF8".into(),
            "CHUNKING".into(),
            "ENHANCEDSTATUSCODES".into(),
        ];
        if self.tls.is_none() {
            lines.push("STARTTLS".into());
        }
        Reply::lines(250, lines)
    }

    fn mail(&mut self, from: String, size: usize) -> Reply {
        if self.hello.is_none() {
            return sequence("say EHLO first");
        }
        if self.envelope.is_some() {
            return sequence("there is a sender already");
        }
        if size > self.shared.config.limits.max_octets {
            counters::outcome(ReportVia::Smtp, Outcome::TooLarge);
            return self.too_large();
        }
        self.envelope = Some(Envelope { from, recipients: Vec::new(), chunks: None });
        Reply::new(250, "2.1.0 sender taken")
    }

    async fn recipient(&mut self, to: &str) -> Reply {
        let Some(envelope) = &mut self.envelope else { return sequence("say MAIL first") };
        if envelope.chunks.is_some() {
            return sequence("the mail has begun");
        }
        if envelope.recipients.len() >= MAX_RECIPIENTS {
            return Reply::new(452, "4.5.3 too many recipients");
        }
        let (kind, label) = match Mailbox::parse(to, &self.shared.config.host) {
            Mailbox::Reports(kind, label) => (kind, label),
            Mailbox::Postmaster => return self.postmaster(),
            Mailbox::Unknown => return unknown(),
            Mailbox::Elsewhere => {
                counters::outcome(ReportVia::Smtp, Outcome::UnknownRecipient);
                return Reply::new(550, "5.7.1 this host passes no mail on");
            }
        };
        let recipient = match self.shared.directory.find(&label).await {
            Ok(Some(recipient)) => recipient,
            Ok(None) => return unknown(),
            Err(_) => return not_now(),
        };
        if !recipient.has_room {
            counters::outcome(ReportVia::Smtp, Outcome::OverQuota);
            return over_quota();
        }
        if !envelope.recipients.iter().any(|(known, of, _)| (*known, of) == (kind, &label)) {
            envelope.recipients.push((kind, label, recipient));
        }
        Reply::new(250, "2.1.5 recipient taken")
    }

    /// RFC 5321 §4.5.1 wants a mailbox for it. Nobody would read one here, so it is said who does (§3.4).
    fn postmaster(&self) -> Reply {
        match &self.shared.config.postmaster {
            Some(address) => Reply::new(551, format!("5.1.6 no mailboxes here; please try <{address}>")),
            None => Reply::new(550, "5.1.1 no mailboxes here; write to the postmaster of the parent domain"),
        }
    }

    fn start_tls<S: AsyncRead + AsyncWrite + Unpin>(&self, wire: &Wire<S>) -> (Option<Reply>, Next) {
        if self.tls.is_some() {
            return (Some(sequence("TLS is on")), Next::Command);
        }
        if wire.has_input() {
            // Whoever is in between could have put it there, to be taken for what came by TLS (CVE-2011-0411).
            return (Some(Reply::new(554, "5.5.1 nothing may follow STARTTLS")), Next::Close);
        }
        (Some(Reply::new(220, "2.0.0 go ahead")), Next::StartTls)
    }

    /// None: nothing more is to be said.
    async fn data<S: AsyncRead + AsyncWrite + Unpin>(&mut self, wire: &mut Wire<S>) -> Result<Option<Reply>, Broken> {
        match &self.envelope {
            Some(Envelope { chunks: Some(_), .. }) => return Ok(Some(sequence("the mail comes in chunks"))),
            Some(envelope) if !envelope.recipients.is_empty() => {}
            _ => return Ok(Some(no_recipients())),
        }
        wire.say(&Reply::new(354, "go on; end with <CR><LF>.<CR><LF>"));
        let mut mail = Mail::new(&self.shared);
        let step = self.shared.config.limits.data_deadline;
        wire.mail(step, self.end, |octets| mail.push(octets)).await?;
        Ok(Some(self.deliver(mail).await))
    }

    /// A chunk is read in any case (RFC 3030 §2): what it holds must not be taken for commands.
    async fn chunk<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
        octets: u64,
        last: bool,
    ) -> Result<Reply, Broken> {
        let ready = self.envelope.as_mut().filter(|envelope| !envelope.recipients.is_empty());
        let mut mail = match ready {
            Some(envelope) => Ok(envelope.chunks.take().unwrap_or_else(|| Mail::new(&self.shared))),
            None => Err(0),
        };
        let patience = self.shared.config.limits.max_octets * PATIENCE;
        let push = |octets: &[u8]| match &mut mail {
            Ok(mail) => mail.push(octets),
            Err(dropped) => {
                *dropped += octets.len();
                *dropped <= patience
            }
        };
        wire.octets(octets, self.shared.config.limits.data_deadline, self.end, push).await?;
        let Ok(mail) = mail else { return Ok(no_recipients()) };
        if last || mail.full.is_some() {
            return Ok(self.deliver(mail).await);
        }
        if let Some(envelope) = &mut self.envelope {
            envelope.chunks = Some(mail);
        }
        Ok(Reply::new(250, format!("2.0.0 {octets} octets taken")))
    }

    /// The end of a mail: 250 only once it is stored for all of its recipients.
    async fn deliver(&mut self, mail: Mail) -> Reply {
        let Some(envelope) = self.envelope.take() else { return no_recipients() };
        match mail.full {
            None => {}
            Some(Full::TooLarge) => {
                counters::outcome(ReportVia::Smtp, Outcome::TooLarge);
                return self.too_large();
            }
            Some(Full::NoRoom) => {
                counters::outcome(ReportVia::Smtp, Outcome::NoRoom);
                return Reply::new(452, "4.3.1 too much mail at once; come again in a moment");
            }
        }
        let (raw, held) = mail.body.into_parts();
        // It is stored for each: one mail must not become a hundred large ones.
        if raw.len() * envelope.recipients.len() > self.shared.config.limits.max_octets * PATIENCE {
            counters::outcome(ReportVia::Smtp, Outcome::TooLarge);
            return Reply::new(552, "5.3.4 too large for so many recipients");
        }
        let (octets, digest) = (raw.len(), digest_of(&raw));
        let received_at = self.shared.clock.now();
        let client_name = self.hello.as_deref().and_then(|name| column(name, 255));
        let envelope_from = Some(column(&envelope.from, 320).unwrap_or_default());
        let arrivals: Vec<NewArrival> = envelope
            .recipients
            .iter()
            .map(|(kind, _, recipient)| NewArrival {
                id: ArrivalId::draw(received_at, &*self.shared.entropy),
                tenant_id: recipient.tenant_id,
                domain_id: recipient.domain_id,
                kind: *kind,
                via: ReportVia::Smtp,
                received_at,
                peer: self.peer,
                client_name: client_name.clone(),
                envelope_from: envelope_from.clone(),
                content_type: None,
                tls_version: self.tls.map(str::to_owned),
                digest,
                raw: raw.clone(),
            })
            .collect();
        drop(raw);
        let id = arrivals.first().map(|arrival| arrival.id);
        let Ok(fates) = self.shared.desk.hand_in(arrivals, held).await else { return not_now() };
        let mut is_refused = false;
        for ((_, label, recipient), fate) in envelope.recipients.iter().zip(&fates) {
            let outcome = match fate {
                Acceptance::Accepted => {
                    counters::octets(ReportVia::Smtp, octets);
                    Outcome::Accepted
                }
                Acceptance::Duplicate => Outcome::Duplicate,
                Acceptance::OverQuota { .. } => {
                    self.shared.directory.has_no_room(label, *recipient);
                    is_refused = true;
                    Outcome::OverQuota
                }
            };
            counters::outcome(ReportVia::Smtp, outcome);
        }
        if is_refused {
            // It comes again for all; those that have it by then find a duplicate.
            return over_quota();
        }
        match id.filter(|_| fates.first() == Some(&Acceptance::Accepted)) {
            Some(id) => Reply::new(250, format!("2.0.0 stored as {id}")),
            None => Reply::new(250, "2.0.0 stored before"),
        }
    }

    fn too_large(&self) -> Reply {
        Reply::new(552, format!("5.3.4 a mail may have {} octets", self.shared.config.limits.max_octets))
    }
}

fn refusal(bad: Bad) -> Reply {
    match bad {
        Bad::Unknown => Reply::new(500, "5.5.2 unknown command"),
        Bad::NotOffered => Reply::new(502, "5.5.1 not offered here"),
        Bad::Syntax => Reply::new(501, "5.5.4 it is not written so"),
        Bad::Parameter => Reply::new(555, "5.5.4 a parameter is not offered here"),
        Bad::SourceRoute => Reply::new(550, "5.7.1 no source routes"),
    }
}

fn sequence(what: &str) -> Reply {
    Reply::new(503, format!("5.5.1 {what}"))
}

fn no_recipients() -> Reply {
    Reply::new(503, "5.5.1 no valid recipients")
}

fn unknown() -> Reply {
    counters::outcome(ReportVia::Smtp, Outcome::UnknownRecipient);
    Reply::new(550, "5.1.1 no such mailbox")
}

fn over_quota() -> Reply {
    Reply::new(452, "4.2.2 no more reports today")
}

fn not_now() -> Reply {
    counters::outcome(ReportVia::Smtp, Outcome::NotStored);
    Reply::new(451, "4.3.0 it cannot be stored now; come again in a moment")
}

fn farewell(broken: Broken) -> Option<Reply> {
    match broken {
        Broken::Closed => None,
        Broken::Silent => {
            counters::outcome(ReportVia::Smtp, Outcome::TooSlow);
            Some(Reply::new(421, "4.4.2 too slow"))
        }
        Broken::BareLineEnd => {
            counters::outcome(ReportVia::Smtp, Outcome::Malformed);
            Some(Reply::new(554, "5.6.0 lines end with <CR><LF>, and these octets stand nowhere else"))
        }
        Broken::Flood => {
            counters::outcome(ReportVia::Smtp, Outcome::TooLarge);
            Some(Reply::new(552, "5.3.4 far too much"))
        }
    }
}
