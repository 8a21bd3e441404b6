//! A BIND nameserver: somebody else's authoritative zones, and a caching resolver with a root of its own.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
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
        let items = zones.iter().map(|zone| format!("zone:{zone}"));
        let items = items.chain(forwards.iter().map(|(zone, port)| format!("forward:{zone}={port}")));
        Self::start_with(scripts::folder(), &items.collect::<Vec<_>>(), zones).await
    }

    /// Starts a secondary server of the zone, which copies it from this port of 127.0.0.1 by the primary's key, and looks
    /// for changes each second. It is ready when it has its first copy.
    pub async fn start_secondary(&self, zone: &str, port: u16) -> Self {
        let folder = scripts::folder();
        fs::copy(key_file(&self.folder), key_file(&folder)).unwrap_or_else(|error| panic!("cannot copy: {error}"));
        Self::start_with(folder, &[format!("secondary:{zone}={port}")], &[zone]).await
    }

    async fn start_with(folder: TempDir, items: &[String], zones: &[&str]) -> Self {
        let port = free_port();
        let mut command = scripts::private("bind");
        command.arg(folder.path()).arg(port.to_string()).args(items);
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

    /// The TSIG key (hmac-sha256) that may update and transfer its zones: its name, and its secret in base64. Another,
    /// `update-sha512` (hmac-sha512), has the same secret.
    pub fn key(&self) -> (&'static str, String) {
        ("update", secret(&key_file(&self.folder)))
    }

    /// Changes one of its zones, all lines at once (RFC 2136): `lines` are nsupdate's, such as
    /// `add www.customer.test 1 A 127.0.0.1` or `delete www.customer.test A`.
    pub async fn update(&self, zone: &str, lines: &[&str]) {
        update(self.port, &key_file(&self.folder), zone, lines).await;
    }

    /// What `dig +short` says: one record data a line, CNAMEs on the way included.
    pub async fn dig(&self, name: &str, kind: &str) -> Vec<String> {
        dig(self.port, name, kind).await
    }
}

fn key_file(folder: &TempDir) -> PathBuf {
    folder.path().join("update.key")
}

/// The secret in a file like `key "update." { algorithm hmac-sha256; secret "…"; };`.
pub(crate) fn secret(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()));
    let secret = text.split_once("secret \"").and_then(|(_, rest)| rest.split_once('"'));
    secret.unwrap_or_else(|| panic!("no secret in {}", file.display())).0.to_owned()
}

/// Runs nsupdate; `lines` are what follows `update`.
pub(crate) async fn update(port: u16, key: &Path, zone: &str, lines: &[&str]) {
    let mut input = format!("server 127.0.0.1 {port}\nzone {zone}\n");
    for line in lines {
        input.push_str("update ");
        input.push_str(line);
        input.push('\n');
    }
    input.push_str("send\n");
    scripts::run_well("nsupdate", &["-k".as_ref(), key.as_os_str()], &input).await;
}

pub(crate) async fn dig(port: u16, name: &str, kind: &str) -> Vec<String> {
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
    use crate::wait_until;

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

    #[tokio::test]
    async fn a_secondary_follows_its_primary() {
        let primary = Bind::start(&["sts.test"], &[]).await;
        let secondary = primary.start_secondary("sts.test", primary.address().port()).await;
        assert_eq!(secondary.key(), primary.key());
        primary.update("sts.test", &["add www.sts.test 1 A 127.0.0.9"]).await;
        wait_until(Duration::from_secs(30), "the secondary has it", async || {
            secondary.dig("www.sts.test", "A").await == ["127.0.0.9"]
        })
        .await;
    }
}
