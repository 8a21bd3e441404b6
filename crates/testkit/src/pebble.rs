//! Pebble, the ACME CA for tests.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;

use crate::{Process, Signal, free_port, scripts};

/// How Pebble shall be.
#[derive(Debug, Clone, Default)]
pub struct PebbleOptions {
    /// Where it validates http-01.
    pub http_port: u16,
    /// Where it validates tls-alpn-01.
    pub tls_port: u16,
    /// The nameserver on 127.0.0.1 that it asks.
    pub dns_port: u16,
    /// `KEY=VALUE` for its environment, such as `PEBBLE_WFE_NONCEREJECT=0` (every fifth nonce is refused by default) or
    /// `PEBBLE_VA_ALWAYS_VALID=1`.
    pub environment: Vec<String>,
}

/// A running Pebble; killed when dropped, and with it all that it issued.
#[derive(Debug)]
pub struct Pebble {
    /// The server, for tests that stop or freeze it.
    pub process: Process,
    port: u16,
    management: u16,
    folder: TempDir,
    options: PebbleOptions,
}

impl Pebble {
    /// Starts one on free ports.
    pub async fn start(options: PebbleOptions) -> Self {
        let folder = scripts::folder();
        let (port, management) = (free_port(), free_port());
        let process = spawn(folder.path(), (port, management), &options);
        let mut pebble = Self { process, port, management, folder, options };
        pebble.ready().await;
        pebble
    }

    /// Another one in its place, at the same address, which knows nothing of accounts and orders, and has another root.
    pub async fn restart(&mut self) {
        self.process.stop(Signal::Kill);
        self.process = spawn(self.folder.path(), (self.port, self.management), &self.options);
        self.ready().await;
    }

    async fn ready(&mut self) {
        let (listener_ca, root) = (self.listener_ca(), self.root_url());
        let answers = async || listener_ca.exists() && curl(&listener_ca, &root).await.is_some();
        self.process.wait_until_ready(Duration::from_secs(30), answers).await;
    }

    /// The address of its ACME directory.
    pub fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
    }

    /// The PEM file of the CA that vouches for its own listeners.
    pub fn listener_ca(&self) -> PathBuf {
        self.folder.path().join("listener-ca.pem")
    }

    /// The root of what it issues, in PEM.
    pub async fn root(&self) -> String {
        curl(&self.listener_ca(), &self.root_url()).await.unwrap_or_else(|| panic!("pebble does not tell its root"))
    }

    fn root_url(&self) -> String {
        format!("https://127.0.0.1:{}/roots/0", self.management)
    }
}

fn spawn(folder: &Path, (port, management): (u16, u16), options: &PebbleOptions) -> Process {
    let mut command = scripts::private("pebble");
    command.arg(folder);
    let ports = [port, management, options.http_port, options.tls_port, options.dns_port];
    command.args(ports.map(|port| port.to_string())).args(&options.environment);
    Process::spawn("pebble", &mut command)
}

async fn curl(ca: &Path, url: &str) -> Option<String> {
    let arguments =
        ["-sSf".as_ref(), "--max-time".as_ref(), "5".as_ref(), "--cacert".as_ref(), ca.as_os_str(), url.as_ref()];
    let output = scripts::run("curl", &arguments, "").await;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_serves_its_directory_over_verified_tls_and_tells_its_root() {
        let pebble = Pebble::start(PebbleOptions::default()).await;
        let directory = curl(&pebble.listener_ca(), &pebble.directory()).await.unwrap();
        assert!(directory.contains("newOrder"), "{directory}");
        assert!(pebble.root().await.starts_with("-----BEGIN CERTIFICATE-----"));
    }
}
