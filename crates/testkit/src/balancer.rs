//! Load balancers that send the PROXY protocol.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{Process, bind::dig, free_port, scripts};

/// A load balancer before something on loopback; killed when dropped.
#[derive(Debug)]
pub struct Balancer {
    /// The program, for tests that stop it.
    pub process: Process,
    port: u16,
    _folder: TempDir,
}

impl Balancer {
    /// HAProxy, for TCP. `announces`: `send-proxy` (version 1) or `send-proxy-v2`.
    pub async fn haproxy(target: SocketAddr, announces: &str) -> Self {
        let mut made = Self::spawn("haproxy", target, announces);
        let address = made.address();
        let listens = async || TcpStream::connect(address).await.is_ok();
        made.process.wait_until_ready(Duration::from_secs(20), listens).await;
        made
    }

    /// dnsdist, before a nameserver of `zone`. `way`: `udp`, where questions go on as they come, or `tcp`, where all of
    /// them go on by TCP.
    pub async fn dnsdist(target: SocketAddr, way: &str, zone: &str) -> Self {
        let mut made = Self::spawn("dnsdist", target, way);
        let port = made.port;
        let answers = async || !dig(port, zone, "SOA").await.is_empty();
        made.process.wait_until_ready(Duration::from_secs(20), answers).await;
        made
    }

    fn spawn(program: &str, target: SocketAddr, how: &str) -> Self {
        let folder = scripts::folder();
        let port = free_port();
        let mut command = scripts::private(program);
        command.arg(folder.path()).arg(port.to_string()).arg(target.to_string()).arg(how);
        Self { process: Process::spawn(program, &mut command), port, _folder: folder }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }
}
