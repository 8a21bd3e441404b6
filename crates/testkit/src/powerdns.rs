//! A PowerDNS authoritative server with its HTTP API, over a SQLite database of its own.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use crate::{Process, database::random, free_port, scripts};

const SCHEMA: &str = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql";

/// A running PowerDNS; killed when dropped. It caches nothing, so that edits behind its back show at once.
#[derive(Debug)]
pub struct PowerDns {
    /// The server, for tests that stop or freeze it.
    pub process: Process,
    port: u16,
    api_port: u16,
    api_key: String,
    folder: TempDir,
}

impl PowerDns {
    /// Starts one that is authoritative for `zones`, each empty but for SOA and NS.
    pub async fn start(zones: &[&str]) -> Self {
        let folder = scripts::folder();
        let (port, api_port) = (free_port(), free_port());
        let api_key = format!("{:016x}", random());
        let path = folder.path().display();
        let config = format!(
            "launch=gsqlite3\n\
             gsqlite3-database={path}/zones.sqlite3\n\
             gsqlite3-pragma-synchronous=0\n\
             socket-dir={path}\n\
             local-address=127.0.0.1\n\
             local-port={port}\n\
             webserver=yes\n\
             webserver-address=127.0.0.1\n\
             webserver-port={api_port}\n\
             api=yes\n\
             api-key={api_key}\n\
             cache-ttl=0\n\
             query-cache-ttl=0\n\
             negquery-cache-ttl=0\n\
             zone-cache-refresh-interval=0\n\
             security-poll-suffix=\n"
        );
        fs::write(folder.path().join("pdns.conf"), config).unwrap_or_else(|error| panic!("no pdns.conf: {error}"));
        let schema = fs::read_to_string(SCHEMA)
            .unwrap_or_else(|error| panic!("no {SCHEMA} (package pdns-backend-sqlite3): {error}"));
        scripts::run_well("sqlite3", &[folder.path().join("zones.sqlite3")], &schema).await;

        let mut command = Command::new("pdns_server");
        command.args(["--daemon=no", "--guardian=no", "--disable-syslog", "--write-pid=no"]);
        command.arg(format!("--config-dir={path}"));
        let process = Process::spawn("pdns_server (package pdns-server)", &mut command);
        let mut server = Self { process, port, api_port, api_key, folder };
        for zone in zones {
            server.pdnsutil(&["create-zone", zone, &format!("ns1.{zone}")]).await;
            // The serial then tells of each write through the API.
            server.pdnsutil(&["set-meta", zone, "SOA-EDIT-API", "INCREASE"]).await;
        }
        let api = server.api_address();
        let all_answer = async || {
            for zone in zones {
                if dig(port, zone, "SOA").await.is_empty() {
                    return false;
                }
            }
            tokio::net::TcpStream::connect(api).await.is_ok()
        };
        server.process.wait_until_ready(Duration::from_secs(20), all_answer).await;
        server
    }

    /// Where it answers DNS, over UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Where its API listens.
    pub fn api_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.api_port))
    }

    /// The root of its API, with a trailing slash.
    pub fn api_url(&self) -> String {
        format!("http://{}/api/v1/", self.api_address())
    }

    /// The key that the API asks for.
    pub fn api_key(&self) -> &str {
        &self.api_key
    }

    /// Gives a name of the zone exactly these records, in the database, past the API: as a stranger would. `contents` are
    /// as in a zone file.
    pub async fn replace(&self, zone: &str, name: &str, kind: &str, ttl: u32, contents: &[&str]) {
        let ttl = ttl.to_string();
        let mut arguments = vec!["replace-rrset", zone, relative(name, zone), kind, &ttl];
        arguments.extend(contents);
        self.pdnsutil(&arguments).await;
    }

    /// Removes a record set in the database, past the API.
    pub async fn delete(&self, zone: &str, name: &str, kind: &str) {
        self.pdnsutil(&["delete-rrset", zone, relative(name, zone), kind]).await;
    }

    /// Replaces a whole zone by that of a zone file.
    pub async fn load(&self, zone: &str, zone_file: &str) {
        let path = self.folder.path().join("load.zone");
        fs::write(&path, zone_file).unwrap_or_else(|error| panic!("no zone file: {error}"));
        self.pdnsutil(&["load-zone", zone, &path.display().to_string()]).await;
    }

    /// What `dig +short` says: one record data a line, CNAMEs on the way included.
    pub async fn dig(&self, name: &str, kind: &str) -> Vec<String> {
        dig(self.port, name, kind).await
    }

    async fn pdnsutil(&self, arguments: &[&str]) {
        let folder = format!("--config-dir={}", self.folder.path().display());
        let all: Vec<&str> = [folder.as_str()].into_iter().chain(arguments.iter().copied()).collect();
        scripts::run_well("pdnsutil", &all, "").await;
    }
}

/// `pdnsutil` takes names relative to the zone, `@` for the zone itself.
fn relative<'a>(name: &'a str, zone: &str) -> &'a str {
    if name == zone {
        return "@";
    }
    name.strip_suffix(zone)
        .and_then(|name| name.strip_suffix('.'))
        .unwrap_or_else(|| panic!("{name} is not in the zone {zone}"))
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
    async fn edits_behind_its_back_show_at_once() {
        let server = PowerDns::start(&["sts.test", "other.test"]).await;
        server.replace("sts.test", "a._mta-sts.sts.test", "TXT", 60, &["\"v=STSv1; id=1;\""]).await;
        assert_eq!(server.dig("a._mta-sts.sts.test", "TXT").await, ["\"v=STSv1; id=1;\""]);
        server.delete("sts.test", "a._mta-sts.sts.test", "TXT").await;
        assert_eq!(server.dig("a._mta-sts.sts.test", "TXT").await, Vec::<String>::new());
        let file =
            "@ 60 IN SOA ns.other.test. h.other.test. 1 60 60 600 1\n@ 60 IN NS ns.other.test.\nb 60 IN A 192.0.2.1\n";
        server.load("other.test", file).await;
        assert_eq!(server.dig("b.other.test", "A").await, ["192.0.2.1"]);
    }
}
