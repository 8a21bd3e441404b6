//! The intake as a process of its own: killed, and told to stop.

use std::{fs, process::Command, time::Duration};

use mtasts_testkit::{Process, Signal, TestDatabase, free_port};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::service::{BINARY, PATIENCE, clean, get, mtasts};

const LABEL: &str = "abcdefghijklmnopqrstuvwxya";

/// A domain that was never anywhere but in the database.
const DOMAIN: &str = "
    INSERT INTO tenants (id, name, created_at) VALUES ('01900000-0000-7000-8000-000000000001', 'x', now());
    INSERT INTO labels VALUES ('abcdefghijklmnopqrstuvwxya', now());
    SET session_replication_role = replica;
    INSERT INTO domains (id, tenant_id, name, label, state, mx_source, preferred_mode, preferred_max_age, report_uris,
        created_at, nudged_at)
    VALUES ('01900000-0000-7000-8000-000000000002', '01900000-0000-7000-8000-000000000001', 'customer.test',
        'abcdefghijklmnopqrstuvwxya', 'active', 'listed', 'testing', 60, '[]', now(), now())";

struct Intake {
    folder: tempfile::TempDir,
    database: TestDatabase,
    admin: u16,
    smtp: u16,
    http: u16,
}

impl Intake {
    async fn new() -> Self {
        let intake = Self {
            folder: tempfile::tempdir().unwrap(),
            database: TestDatabase::create().await,
            admin: free_port(),
            smtp: free_port(),
            http: free_port(),
        };
        let Self { admin, smtp, http, .. } = intake;
        let text = format!(
            "[database]\nurl = \"{}\"\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n[reports]\nhost = \"reports.sts.test\"\n\
             [intake]\nsmtp_listen = [\"127.0.0.1:{smtp}\"]\nhttp_listen = [\"127.0.0.1:{http}\"]\nhttps_listen = []\n",
            intake.database.url()
        );
        fs::write(intake.config(), text).unwrap();
        let migrated = mtasts(&["migrate", "--config", &intake.config()]);
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        intake.database.psql(DOMAIN).await;
        intake
    }

    fn config(&self) -> String {
        self.folder.path().join("mtasts.toml").to_str().unwrap().to_owned()
    }

    async fn start(&self) -> Process {
        let mut command = Command::new(BINARY);
        clean(&mut command);
        command.args(["intake", "--config", &self.config()]).current_dir(self.folder.path());
        let mut process = Process::spawn("intake", &mut command);
        let ready = format!("http://127.0.0.1:{}/readyz", self.admin);
        process
            .wait_until_ready(PATIENCE, async || get(&ready, &[]).await.is_some_and(|(status, _)| status == 200))
            .await;
        process
    }

    async fn post(&self, body: &str) -> u16 {
        let url = format!("http://127.0.0.1:{}/v1/tlsrpt/{LABEL}", self.http);
        let arguments = ["-H", "Content-Type: application/tlsrpt+json", "--data-binary", body];
        get(&url, &arguments).await.map_or(0, |(status, _)| status)
    }

    async fn stored(&self) -> String {
        let find = "SELECT convert_from(raw, 'UTF8') FROM report_arrivals ORDER BY 1";
        self.database.psql(find).await.trim().to_owned()
    }
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_killed_intake_and_what_is_sent_again_is_stored_once() {
    let intake = Intake::new().await;
    let mut process = intake.start().await;
    assert_eq!(intake.post("one").await, 201);
    // In the middle of a mail.
    let mut mail = TcpStream::connect(("127.0.0.1", intake.smtp)).await.unwrap();
    let talk = format!("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<tlsrpt-{LABEL}@reports.sts.test>\r\nDATA\r\n");
    mail.write_all(talk.as_bytes()).await.unwrap();
    let mut told = Vec::new();
    while !(String::from_utf8_lossy(&told).contains("354 ") && told.ends_with(b"\r\n")) {
        assert_ne!(mail.read_buf(&mut told).await.unwrap(), 0);
    }
    process.stop(Signal::Kill);
    assert_eq!(intake.post("two").await, 0, "nobody is there");
    let _process = intake.start().await;
    assert_eq!((intake.post("one").await, intake.post("two").await), (200, 201));
    assert_eq!(intake.stored().await, "one\ntwo");
}

#[tokio::test]
async fn an_intake_that_is_told_to_stop_says_so_and_lets_a_mail_end() {
    let intake = Intake::new().await;
    let mut process = intake.start().await;
    let mut mail = TcpStream::connect(("127.0.0.1", intake.smtp)).await.unwrap();
    let talk = format!("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<dmarc-{LABEL}@reports.sts.test>\r\nDATA\r\n");
    mail.write_all(talk.as_bytes()).await.unwrap();
    let mut told = Vec::new();
    while !(String::from_utf8_lossy(&told).contains("354 ") && told.ends_with(b"\r\n")) {
        assert_ne!(mail.read_buf(&mut told).await.unwrap(), 0);
    }
    let admin = format!("http://127.0.0.1:{}", intake.admin);
    process.send(Signal::Terminate);
    mtasts_testkit::wait_until(PATIENCE, "it says that it stops", || async {
        get(&format!("{admin}/readyz"), &[]).await.is_some_and(|(status, _)| status == 503)
    })
    .await;
    let (_, metrics) = get(&format!("{admin}/metrics"), &[]).await.unwrap();
    assert!(metrics.contains("mtasts_intake_"), "{metrics}");
    mail.write_all(b"the mail\r\n.\r\n").await.unwrap();
    let mut rest = String::new();
    tokio::time::timeout(Duration::from_secs(30), mail.read_to_string(&mut rest)).await.unwrap().unwrap();
    assert!(rest.starts_with("250 2.0.0 ") && rest.contains("\r\n421 4.3.2 "), "{rest}");
    assert!(process.stop(Signal::Terminate).success(), "{}", process.log());
    assert_eq!(intake.stored().await, "the mail");
}

#[tokio::test]
async fn an_intake_needs_the_name_of_its_host() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("mtasts.toml");
    fs::write(&config, "[log]\nformat = \"human\"\n").unwrap();
    let output = mtasts(&["intake", "--config", config.to_str().unwrap()]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("reports.host"));
}
