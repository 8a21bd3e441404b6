//! A BIND nameserver: somebody else's authoritative zones, and a caching resolver with a root of its own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tempfile::TempDir;

use crate::{Process, free_port, scripts};

/// A running BIND; killed when dropped. Its TTLs and its cache are limited to one second.
#[derive(Debug)]
pub struct Bind {
    /// The server, for tests that stop or freeze it.
    pub process: Process,
    port: u16,
    folder: TempDir,
}

impl Bind {
    /// Starts one that is authoritative for `zones` (each empty but for SOA and NS) and asks the nameserver on that port
    /// of 127.0.0.1 for what is under each of `forwards`. Every other name does not exist.
    pub async fn start(zones: &[&str], forwards: &[(&str, u16)]) -> Self {
        let folder = scripts::folder();
        let port = free_port();
        let mut command = scripts::private("bind");
        command.arg(folder.path()).arg(port.to_string());
        command.args(zones.iter().map(|zone| format!("zone:{zone}")));
        command.args(forwards.iter().map(|(zone, port)| format!("forward:{zone}={port}")));
        let mut process = Process::spawn("bind", &mut command);
        // The zones are loaded one after the other.
        let all_answer = async || {
            for zone in [&"."].into_iter().chain(zones) {
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

    /// Changes one of its zones, all lines at once (RFC 2136): `lines` are nsupdate's, such as
    /// `add www.customer.test 1 A 127.0.0.1` or `delete www.customer.test A`.
    pub async fn update(&self, zone: &str, lines: &[&str]) {
        let mut input = format!("server 127.0.0.1 {}\nzone {zone}\n", self.port);
        for line in lines {
            input.push_str("update ");
            input.push_str(line);
            input.push('\n');
        }
        input.push_str("send\n");
        let key = self.folder.path().join("update.key");
        scripts::run_well("nsupdate", &["-k".as_ref(), key.as_os_str()], &input).await;
    }

    /// What `dig +short` says: one record data a line, CNAMEs on the way included.
    pub async fn dig(&self, name: &str, kind: &str) -> Vec<String> {
        dig(self.port, name, kind).await
    }
}

async fn dig(port: u16, name: &str, kind: &str) -> Vec<String> {
    let port = port.to_string();
    let output =
        scripts::run("dig", &["@127.0.0.1", "-p", &port, "+short", "+time=2", "+tries=1", name, kind], "").await;
    if !output.status.success() {
        return Vec::new();
    }
    String::from_utf8_lossy(&output.stdout).lines().filter(|line| !line.starts_with(';')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn updates_show_at_once_and_aliases_lead_into_forwarded_zones() {
        let service = Bind::start(&["sts.test"], &[]).await;
        service.update("sts.test", &["add x._mta-sts.sts.test 1 TXT \"v=STSv1; id=1;\""]).await;
        let bind = Bind::start(&["customer.test"], &[("sts.test", service.address().port())]).await;
        assert_eq!(bind.dig("customer.test", "MX").await, Vec::<String>::new());
        bind.update(
            "customer.test",
            &["add customer.test 1 MX 10 mail.customer.test", "add _mta-sts.customer.test 1 CNAME x._mta-sts.sts.test"],
        )
        .await;
        assert_eq!(bind.dig("customer.test", "MX").await, ["10 mail.customer.test."]);
        assert_eq!(bind.dig("_mta-sts.customer.test", "TXT").await, ["x._mta-sts.sts.test.", "\"v=STSv1; id=1;\""]);
        assert_eq!(bind.dig("example.org", "A").await, Vec::<String>::new(), "nothing leads out of this machine");
    }
}
