//! A domain in which all is well, to be broken.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use mtasts_dns::{Resolver, ResolverConfig};
use mtasts_model::{Clock, MailDomain, SystemClock};
use mtasts_probe::{
    ProbeConfig, Timeouts,
    inspect::{InspectOptions, Inspection, Inspector, Pacer, Severity},
};
use rustls::ServerConfig;
use tokio::{io::AsyncWriteExt, net::TcpListener};

use crate::{
    dns::Table,
    mx::{Script, smtp_server},
    pki::Pki,
    policy_host::{Answer, ok, policy_host},
    support::{config, domain},
};

pub(super) const DOMAIN: &str = "customer.test";
pub(super) const RECORD: &str = "_mta-sts.customer.test";
pub(super) const TLS_RPT: &str = "_smtp._tls.customer.test";
pub(super) const HOST: &str = "mta-sts.customer.test";
pub(super) const MX: &str = "mx.customer.test";
pub(super) const POLICY: &str = "version: STSv1\r\nmode: enforce\r\nmx: mx.customer.test\r\nmax_age: 604800\r\n";

pub(super) type Tls = Box<dyn Fn(&Pki) -> Arc<ServerConfig>>;

/// Everything that a look meets.
pub(super) struct World {
    pub(super) table: Table,
    pub(super) answer: Answer,
    pub(super) host_tls: Tls,
    /// In place of TLS and HTTP.
    pub(super) host_raw: Option<&'static [u8]>,
    pub(super) script: Script,
    pub(super) mx_tls: Tls,
    pub(super) pacer: Pacer,
    pub(super) options: InspectOptions,
    pub(super) adjust: fn(&mut ProbeConfig),
}

impl World {
    /// All is well.
    pub(super) fn new() -> Self {
        let table = Table::default()
            .txt(RECORD, "v=STSv1; id=20260101000000;")
            .txt(TLS_RPT, "v=TLSRPTv1; rua=mailto:reports@customer.test")
            .address(HOST, "127.0.0.1")
            .mx(DOMAIN, 10, MX)
            .address(MX, "127.0.0.1");
        Self {
            table,
            answer: ok("text/plain", POLICY),
            host_tls: Box::new(|pki| pki.valid(HOST)),
            host_raw: None,
            script: Script::default(),
            mx_tls: Box::new(|pki| pki.valid(MX)),
            pacer: Pacer::new(50, 1000),
            options: InspectOptions {
                deadline: Duration::from_secs(30),
                patience: Duration::from_secs(1),
                ..InspectOptions::default()
            },
            adjust: |_| {},
        }
    }

    pub(super) fn dns(mut self, change: impl FnOnce(Table) -> Table) -> Self {
        self.table = change(self.table);
        self
    }

    /// This record in place of the good one.
    pub(super) fn record(self, text: &str) -> Self {
        self.dns(|table| table.without(RECORD).txt(RECORD, text))
    }

    pub(super) fn answer(mut self, answer: Answer) -> Self {
        self.answer = answer;
        self
    }

    pub(super) fn status(self, head: &str) -> Self {
        self.answer(Answer::Bytes(format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n").into_bytes()))
    }

    pub(super) fn policy(self, text: &str) -> Self {
        self.answer(ok("text/plain", text))
    }

    pub(super) fn host_tls(mut self, tls: impl Fn(&Pki) -> Arc<ServerConfig> + 'static) -> Self {
        self.host_tls = Box::new(tls);
        self
    }

    pub(super) fn mx_tls(mut self, tls: impl Fn(&Pki) -> Arc<ServerConfig> + 'static) -> Self {
        self.mx_tls = Box::new(tls);
        self
    }

    pub(super) fn script(mut self, change: impl FnOnce(&mut Script)) -> Self {
        change(&mut self.script);
        self
    }

    pub(super) async fn inspect(self) -> Inspection {
        self.inspect_domain(domain()).await
    }

    pub(super) async fn inspect_domain(self, domain: MailDomain) -> Inspection {
        let served = self.serve().await;
        served.inspector.inspect(&domain, served.options, SystemClock.now()).await
    }

    /// Lets it be looked at, as often as one likes.
    pub(super) async fn serve(self) -> Served {
        let pki = Pki::new();
        let (policy_port, requests) = if let Some(bytes) = self.host_raw {
            (raw_host(bytes).await, Arc::default())
        } else {
            let host = policy_host("127.0.0.1:0", (self.host_tls)(&pki), self.answer).await;
            (host.addr.port(), host.requests)
        };
        let smtp = smtp_server("127.0.0.1:0", (self.mx_tls)(&pki), self.script).await;
        let mut config = ProbeConfig { policy_port, smtp_port: smtp.addr.port(), ..config(&pki, 0) };
        config.timeouts = PATIENT;
        (self.adjust)(&mut config);
        let inspector = Inspector::new(config, resolver(self.table.serve().await), Arc::new(self.pacer));
        Served { inspector, options: self.options, requests }
    }
}

/// A world that is there.
pub(super) struct Served {
    pub(super) inspector: Inspector,
    pub(super) options: InspectOptions,
    /// What the policy host was asked.
    pub(super) requests: Arc<Mutex<Vec<String>>>,
}

/// A busy machine must not look like a broken domain: many looks run here at the same time.
const PATIENT: Timeouts = Timeouts {
    connect: Duration::from_secs(4),
    handshake: Duration::from_secs(6),
    reply: Duration::from_secs(4),
    fetch: Duration::from_secs(8),
    mx_host: Duration::from_secs(10),
};

fn resolver(dns: SocketAddr) -> Resolver {
    let config = ResolverConfig { upstreams: vec![dns], timeout: Duration::from_secs(2), attempts: 2 };
    Resolver::new(config).unwrap()
}

/// Says this to everybody and closes.
async fn raw_host(bytes: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let _ = tcp.write_all(bytes).await;
            let _ = tcp.shutdown().await;
        }
    });
    port
}

/// All codes but those of what is well, sorted, each once.
pub(super) fn codes(inspection: &Inspection) -> Vec<&'static str> {
    let wrong = inspection.findings.iter().filter(|finding| finding.severity > Severity::Ok);
    let mut codes: Vec<_> = wrong.map(|finding| finding.code.as_str()).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}
