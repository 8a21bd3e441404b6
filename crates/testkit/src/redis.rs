//! A Redis of its own.

use std::{net::Ipv4Addr, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{Process, free_port, scripts};

/// A running Redis server that keeps nothing on disk; killed when dropped.
#[derive(Debug)]
pub struct Redis {
    /// The server, for tests that stop or freeze it.
    pub process: Process,
    port: u16,
    _folder: TempDir,
}

impl Redis {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        Self::start_on(free_port()).await
    }

    /// Starts one on this port, such as that of one that was killed.
    pub async fn start_on(port: u16) -> Self {
        let folder = scripts::folder();
        let mut process = Process::spawn("redis", scripts::private("redis").arg(folder.path()).arg(port.to_string()));
        process.wait_until_ready(Duration::from_secs(20), async || answers_ping(port).await).await;
        Self { process, port, _folder: folder }
    }

    /// `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

async fn answers_ping(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return false };
    let mut answer = [0_u8; 7];
    stream.write_all(b"PING\r\n").await.is_ok()
        && stream.read_exact(&mut answer).await.is_ok()
        && &answer == b"+PONG\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Signal;

    #[tokio::test]
    async fn it_answers_and_comes_back_on_the_same_port() {
        let mut redis = Redis::start().await;
        let port = redis.port();
        redis.process.stop(Signal::Kill);
        assert!(!answers_ping(port).await);
        let again = Redis::start_on(port).await;
        assert_eq!(again.url(), redis.url());
        assert!(answers_ping(port).await);
    }
}
