//! The least that a policy server on rustls can be: one thread, a hash map from name to key and answer, TLS 1.3, one
//! request per connection. No limits, no deadlines, no log, no metrics, no changes. What it costs is what cannot be saved.
//!
//!     bare-rustls <folder made by `bench_edge make`> <address> [tickets]

use std::{collections::HashMap, error::Error, fs, net::SocketAddr, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

struct Host {
    key: Arc<CertifiedKey>,
    answer: Box<[u8]>,
}

struct Hosts(HashMap<String, Host>);

impl std::fmt::Debug for Hosts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} hosts", self.0.len())
    }
}

impl ResolvesServerCert for Hosts {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.get(hello.server_name()?)?.key))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, address, tickets @ ..] = arguments.as_slice() else { return Err("see the source".into()) };
    let hosts = Arc::new(load(folder)?);
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&hosts) as _);
    if let Some(tickets) = tickets.first() {
        config.send_tls13_tickets = tickets.parse()?;
    }
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let address: SocketAddr = address.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("ready {} hosts", hosts.0.len());
        loop {
            let (stream, _) = listener.accept().await?;
            let (acceptor, hosts) = (acceptor.clone(), Arc::clone(&hosts));
            tokio::spawn(async move {
                let _ = serve(stream, &acceptor, &hosts).await;
            });
        }
    })
}

async fn serve(stream: TcpStream, acceptor: &TlsAcceptor, hosts: &Hosts) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = acceptor.accept(stream).await?;
    let mut request = Vec::with_capacity(512);
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    if let Some(host) = stream.get_ref().1.server_name().and_then(|name| hosts.0.get(name)) {
        stream.write_all(&host.answer).await?;
    }
    stream.shutdown().await
}

/// Reads `hosts.bin`: for each host name, leaf, key and policy, each after its length in 4 bytes.
fn load(folder: &str) -> Result<Hosts, Box<dyn Error>> {
    // Borrowed for ever, so that all hosts share one copy.
    let intermediate: &'static [u8] = Box::leak(fs::read(format!("{folder}/intermediate.der"))?.into_boxed_slice());
    let file = fs::File::open(format!("{folder}/hosts.bin"))?;
    let mut reader = std::io::BufReader::new(file);
    let mut hosts = HashMap::new();
    while let Some(name) = part(&mut reader)? {
        let mut next = || part(&mut reader).and_then(|part| part.ok_or_else(|| "cut short".into()));
        let (leaf, key, policy) = (next()?, next()?, next()?);
        let key = aws_lc_rs::sign::any_ecdsa_type(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key)))?;
        let chain = vec![CertificateDer::from(leaf), CertificateDer::from(intermediate)];
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            policy.len()
        )
        .into_bytes();
        answer.extend(policy);
        let host = Host { key: Arc::new(CertifiedKey::new(chain, key)), answer: answer.into_boxed_slice() };
        hosts.insert(String::from_utf8(name)?, host);
    }
    Ok(Hosts(hosts))
}

fn part(reader: &mut impl std::io::Read) -> Result<Option<Vec<u8>>, Box<dyn Error>> {
    let mut length = [0; 4];
    match reader.read_exact(&mut length) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
    reader.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}
