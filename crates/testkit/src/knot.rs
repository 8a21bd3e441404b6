//! A Knot DNS: the other authoritative server, to see that it is not only BIND that we get on with.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    Process,
    bind::{dig, secret, update},
    free_port, scripts,
};

/// A running Knot, primary server of its zones; killed when dropped.
#[derive(Debug)]
pub struct Knot {
    /// The server, for tests that stop or freeze it.
    pub process: Process,
    port: u16,
    folder: TempDir,
}

impl Knot {
    /// Starts one for `zones`, each empty but for SOA and NS.
    pub async fn start(zones: &[&str]) -> Self {
        let folder = scripts::folder();
        let port = free_port();
        let mut command = scripts::private("knot");
        command.arg(folder.path()).arg(port.to_string()).args(zones);
        let mut process = Process::spawn("knot", &mut command);
        let all_answer = async || {
            for zone in zones {
                if dig(port, zone, "SOA").await.is_empty() {
                    return false;
                }
            }
            true
        };
        process.wait_until_ready(Duration::from_secs(20), all_answer).await;
        Self { process, port, folder }
    }

    /// Where it answers, over UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The TSIG key (hmac-sha256) that may update and transfer its zones: its name, and its secret in base64. Another,
    /// `update-sha512` (hmac-sha512), has the same secret.
    pub fn key(&self) -> (&'static str, String) {
        ("update", secret(&self.folder.path().join("update.key")))
    }

    /// Changes one of its zones, all lines at once (RFC 2136): `lines` are nsupdate's, such as
    /// `add www.customer.test 1 A 127.0.0.1` or `delete www.customer.test A`.
    pub async fn update(&self, zone: &str, lines: &[&str]) {
        update(self.port, &self.folder.path().join("update.key"), zone, lines).await;
    }

    /// What `dig +short` says: one record data a line.
    pub async fn dig(&self, name: &str, kind: &str) -> Vec<String> {
        dig(self.port, name, kind).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn updates_show_at_once() {
        let knot = Knot::start(&["sts.test"]).await;
        knot.update("sts.test", &["add x._mta-sts.sts.test 1 TXT \"v=STSv1; id=1;\""]).await;
        assert_eq!(knot.dig("x._mta-sts.sts.test", "TXT").await, ["\"v=STSv1; id=1;\""]);
    }
}
