//! A relay that takes mail and shows what it got, over STARTTLS with a CA of its own.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

/// A mail as the relay has it.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) text: String,
    pub(crate) tls: bool,
    pub(crate) auth: Option<String>,
}

#[derive(Default)]
struct State {
    taken: Vec<Taken>,
    /// What is said to the next commands of a kind, in place of yes.
    answers: VecDeque<(&'static str, String)>,
}

pub(crate) struct Sink {
    pub(crate) port: u16,
    /// The CA's certificate.
    pub(crate) root: Vec<u8>,
    state: Arc<Mutex<State>>,
}

impl Sink {
    pub(crate) async fn start() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(session(stream, acceptor.clone(), Arc::clone(&shared)));
            }
        });
        Self { port, root: ca.pem().into_bytes(), state }
    }

    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.state.lock().unwrap().taken.clone()
    }

    /// The next command that begins so is answered so; `.` is the end of a mail.
    pub(crate) fn answer(&self, command: &'static str, answer: &str) {
        self.state.lock().unwrap().answers.push_back((command, answer.to_owned()));
    }
}

async fn session(stream: TcpStream, acceptor: TlsAcceptor, state: Arc<Mutex<State>>) {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 localhost\r\n").await.unwrap();
    if let Some(stream) = speak(stream, false, &state).await
        && let Ok(stream) = acceptor.accept(stream.into_inner()).await
    {
        speak(BufReader::new(stream), true, &state).await;
    }
}

/// Until the end, or until TLS begins.
async fn speak<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: BufReader<S>,
    tls: bool,
    state: &Mutex<State>,
) -> Option<BufReader<S>> {
    let mut mail = Taken { from: String::new(), to: String::new(), text: String::new(), tls, auth: None };
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let command = line.trim_end().to_owned();
        let scripted = |command: &str| {
            let mut state = state.lock().unwrap();
            let index = state.answers.iter().position(|(of, _)| command.starts_with(of))?;
            state.answers.remove(index).map(|(_, answer)| answer)
        };
        let mut answer = match command.split([' ', ':']).next().unwrap() {
            "EHLO" if tls => "250-localhost\r\n250 AUTH PLAIN".to_owned(),
            "EHLO" => scripted("EHLO").unwrap_or("250-localhost\r\n250 STARTTLS".to_owned()),
            "STARTTLS" if !tls => {
                stream.write_all(b"220 go on\r\n").await.ok()?;
                return Some(stream);
            }
            "AUTH" => {
                mail.auth = command.rsplit(' ').next().map(str::to_owned);
                "235 hello".to_owned()
            }
            "MAIL" => {
                mail.from = command;
                scripted("MAIL").unwrap_or("250 yes".to_owned())
            }
            "RCPT" => {
                mail.to = command;
                scripted("RCPT").unwrap_or("250 yes".to_owned())
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.ok()?;
                mail.text.clear();
                loop {
                    line.clear();
                    stream.read_line(&mut line).await.ok()?;
                    if line == ".\r\n" {
                        break;
                    }
                    mail.text.push_str(line.strip_prefix('.').unwrap_or(&line));
                }
                let refusal = scripted(".");
                if refusal.as_ref().is_none_or(String::is_empty) {
                    state.lock().unwrap().taken.push(mail.clone());
                }
                match refusal {
                    // It has the mail, and nobody hears of it.
                    Some(answer) if answer.is_empty() => return None,
                    refusal => refusal.unwrap_or("250 taken".to_owned()),
                }
            }
            "QUIT" => return None,
            _ => "502 what?".to_owned(),
        };
        answer.push_str("\r\n");
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}
