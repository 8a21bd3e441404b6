//! Digests, over real SMTP with STARTTLS to a relay that shows what it took. The sums are filled by hand.

mod sink;

use std::{sync::Arc, time::Duration};

use chrono::{Datelike, TimeDelta, Weekday};
use data_encoding::BASE64;
use mtasts_model::{
    Clock, DigestFrequency, DigestRecipientId, HostName, ReportKind, SystemEntropy, TenantId, Timestamp,
};
use mtasts_store::{Actor, AddedRecipient, DigestRecipient, DigestState, NewDigestRecipient};
use mtasts_testkit::{wait_for, wait_until};
use mtasts_worker::{DigestDeps, DigestWorker, Relay, RelayConfig, RelayTls};
use sha2::{Digest, Sha256};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::sink::{Sink, Taken};
use crate::{alerts::setup::Setup, world::PATIENCE};

const EMAIL: &str = "ops@example.com";

#[tokio::test]
async fn an_address_gets_one_question_and_nothing_else_until_its_owner_says_yes() {
    let (setup, sink) = (Setup::new().await, Sink::start().await);
    let recipient = setup.ask(EMAIL, DigestFrequency::Daily).await;
    let _worker = setup.digests(&sink);
    let [question] = &setup.mails(&sink, 1).await[..] else { panic!("one mail") };
    assert!(question.tls && question.auth.is_some());
    assert_eq!(
        (question.from.as_str(), question.to.as_str()),
        ("MAIL FROM:<reports@sts.example>", "RCPT TO:<ops@example.com>")
    );
    assert!(question.header("Message-ID").contains(&recipient.id.as_uuid().as_simple().to_string()));
    assert_eq!(question.header("Auto-Submitted"), "auto-generated");
    let token = question.link("confirm");
    // Nothing but a hash is kept.
    let dump = "SELECT query_to_xml('SELECT * FROM digest_tokens', true, false, '')::text";
    assert!(!setup.database.psql(dump).await.contains(&token));
    setup.bad_day(1).await;
    setup.clock.advance(TimeDelta::days(8));
    setup.idle(&sink).await;
    assert_eq!(sink.taken().len(), 1, "who has not said yes gets nothing");
    let hash = Sha256::digest(token.as_bytes()).into();
    assert_eq!(setup.api.digest_token(&hash, setup.clock.now()).await.unwrap(), None, "its seven days are over");
}

#[tokio::test]
async fn an_address_is_asked_three_times_a_day_at_most_whoever_asks() {
    let (setup, sink) = (Setup::new().await, Sink::start().await);
    let _worker = setup.digests(&sink);
    for times in 1..=3 {
        setup.ask(&format!("{}@example.com", ["ops", "OPS", "Ops"][times - 1]), DigestFrequency::Daily).await;
        setup.mails(&sink, times).await;
        setup.idle(&sink).await;
    }
    let fourth = setup.ask_of(setup.stranger, EMAIL, DigestFrequency::Weekly).await;
    let refused = wait_for(PATIENCE, "it is refused", || async {
        let tx = setup.api.tenant_tx(setup.stranger).await.unwrap();
        tx.digest_recipient(fourth.id).await.unwrap().filter(|recipient| recipient.reason.is_some())
    })
    .await;
    assert!(refused.reason.unwrap().contains("tomorrow"));
    assert_eq!(sink.taken().len(), 3);
}

#[tokio::test]
async fn a_daily_digest_goes_out_once_in_the_morning_however_many_workers_there_are() {
    let (setup, sink) = (Setup::new().await, Sink::start().await);
    setup.bad_day(0).await;
    let recipient = setup.confirmed(EMAIL, DigestFrequency::Daily).await;
    let _workers = (setup.digests(&sink), setup.digests(&sink), setup.digests(&sink));
    setup.idle(&sink).await;
    assert!(sink.taken().is_empty());
    setup.clock.set(recipient.next_at.unwrap() + TimeDelta::days(1));
    let [digest] = &setup.mails(&sink, 1).await[..] else { panic!("one mail") };
    let subject = digest.header("Subject");
    let day = setup.day(1);
    assert!(subject.starts_with(&format!("Mail reports, {day}: ")), "{subject}");
    let stem = format!("{}.daily.", recipient.id.as_uuid().as_simple());
    assert!(digest.header("Message-ID").starts_with(&format!("<{stem}")));
    assert_eq!(digest.header("List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
    let token = digest.link("unsubscribe");
    assert_eq!(digest.header("List-Unsubscribe"), format!("<https://api.example.net/digest/unsubscribe/{token}>"));
    let found = setup.api.digest_token(&Sha256::digest(token.as_bytes()).into(), setup.clock.now()).await.unwrap();
    assert_eq!(found.unwrap().recipient, recipient.id);
    assert!(digest.text.contains("multipart/alternative") && digest.text.contains("multipart/related"));
    assert_eq!(digest.text.matches("image/png").count(), 2);
    for _ in 0..3 {
        setup.clock.advance(TimeDelta::hours(2));
        setup.idle(&sink).await;
    }
    assert_eq!(sink.taken().len(), 1);
    // Quiet days are not written about.
    setup.sql("DELETE FROM report_days; DELETE FROM failure_kinds").await;
    setup.clock.advance(TimeDelta::days(1));
    setup.idle(&sink).await;
    assert_eq!(sink.taken().len(), 1);
    assert_eq!(setup.states().await, "daily sent,daily skipped");
}

#[tokio::test]
async fn a_weekly_digest_goes_out_on_monday_though_all_was_quiet_and_only_the_last_of_those_missed() {
    let (setup, sink) = (Setup::new().await, Sink::start().await);
    let recipient = setup.confirmed(EMAIL, DigestFrequency::Weekly).await;
    let due = recipient.next_at.unwrap();
    assert_eq!(due.weekday(), Weekday::Mon);
    // Nobody works for five weeks.
    setup.clock.set(due + TimeDelta::days(36));
    let _worker = setup.digests(&sink);
    let [digest] = &setup.mails(&sink, 1).await[..] else { panic!("one mail") };
    assert!(digest.header("Subject").contains("all quiet"), "{}", digest.header("Subject"));
    setup.idle(&sink).await;
    assert_eq!(sink.taken().len(), 1);
    let next = setup.recipient(recipient.id).await.next_at.unwrap();
    assert_eq!((next.weekday(), next - due), (Weekday::Mon, TimeDelta::days(42)));
}

#[tokio::test]
async fn a_relay_that_does_not_answer_is_tried_again_with_the_same_message_id() {
    let (setup, sink) = (Setup::new().await, Sink::start().await);
    setup.ask(EMAIL, DigestFrequency::Daily).await;
    for answer in ["451 later", "", "452 full"] {
        sink.answer(".", answer);
    }
    sink.answer("MAIL", "550 who are you?");
    let _worker = setup.digests(&sink);
    // The second attempt was taken, and nobody heard of it: it comes again, and can be told.
    for _ in 0..5 {
        setup.idle(&sink).await;
        setup.clock.advance(TimeDelta::hours(4));
    }
    let taken = setup.mails(&sink, 2).await;
    assert_eq!(taken[0].header("Message-ID"), taken[1].header("Message-ID"));
    assert_ne!(taken[0].link("confirm"), taken[1].link("confirm"));
    for mail in &taken {
        let hash = Sha256::digest(mail.link("confirm").as_bytes()).into();
        assert!(setup.api.digest_token(&hash, setup.clock.now()).await.unwrap().is_some(), "either link holds");
    }
    assert_eq!(setup.states().await, "confirm sent");
}

#[tokio::test]
async fn an_address_that_the_relay_refuses_is_disabled_with_the_reason_and_gets_nothing_more() {
    let (setup, sink) = (Setup::new().await, Sink::start().await);
    setup.bad_day(0).await;
    let recipient = setup.confirmed(EMAIL, DigestFrequency::Daily).await;
    sink.answer("RCPT", "550 5.1.1 no such user");
    setup.clock.set(recipient.next_at.unwrap() + TimeDelta::minutes(1));
    let _worker = setup.digests(&sink);
    let disabled = setup.when(recipient.id, |recipient| recipient.state == DigestState::Disabled).await;
    assert!(disabled.reason.unwrap().contains("no such user"));
    setup.clock.advance(TimeDelta::days(3));
    setup.idle(&sink).await;
    assert!(sink.taken().is_empty());
}

#[tokio::test]
async fn a_relay_that_offers_no_tls_or_another_ones_certificate_gets_nothing() {
    let (setup, sink) = (Setup::new().await, Sink::start().await);
    let other = Sink::start().await;
    setup.ask(EMAIL, DigestFrequency::Daily).await;
    let _worker = setup.digests_with(RelayConfig { extra_roots: Some(other.root.clone()), ..relay(&sink) }, 100);
    let tried = "SELECT count(*) FROM digest_mails WHERE problem IS NOT NULL";
    wait_until(PATIENCE, "it was tried", async || setup.database.psql(tried).await.trim() == "1").await;
    assert!(sink.taken().is_empty());
    // Nor does one from whose answer somebody on the way has taken STARTTLS.
    let (setup, sink) = (Setup::new().await, Sink::start().await);
    sink.answer("EHLO", "250 localhost");
    setup.ask(EMAIL, DigestFrequency::Daily).await;
    let _worker = setup.digests_with(RelayConfig { credentials: None, ..relay(&sink) }, 100);
    wait_until(PATIENCE, "it was tried", async || setup.database.psql(tried).await.trim() == "1").await;
    assert!(sink.taken().is_empty());
}

#[tokio::test]
async fn a_tenant_has_so_many_mails_a_day_and_no_more() {
    let (setup, sink) = (Setup::new().await, Sink::start().await);
    for index in 0..3 {
        setup.ask(&format!("a{index}@example.com"), DigestFrequency::Daily).await;
    }
    let _worker = setup.digests_with(relay(&sink), 2);
    setup.mails(&sink, 2).await;
    setup.idle(&sink).await;
    assert_eq!(sink.taken().len(), 2);
    assert_eq!(setup.states().await, "confirm failed,confirm sent,confirm sent");
}

#[tokio::test]
async fn who_unsubscribes_while_a_mail_waits_does_not_get_it() {
    let (setup, sink) = (Setup::new().await, Sink::start().await);
    setup.bad_day(0).await;
    let recipient = setup.confirmed(EMAIL, DigestFrequency::Daily).await;
    let due = recipient.next_at.unwrap();
    setup.clock.set(due);
    assert_eq!(setup.worker.schedule_digests(10, due).await.unwrap(), 1);
    let claimed = setup.worker.claim_mails(10, due + TimeDelta::minutes(5), due).await.unwrap();
    let mut tx = setup.api.tenant_tx(setup.tenant).await.unwrap();
    assert!(tx.unsubscribe_digest_recipient(recipient.id, &Actor::worker(), due).await.unwrap());
    tx.commit().await.unwrap();
    // A worker that has claimed it before learns of it before it sends.
    let link = (mtasts_store::DigestLink::Unsubscribe, &[1; 32]);
    assert!(setup.worker.keep_digest_link(&claimed[0], link, due).await.is_err());
    let _worker = setup.digests(&sink);
    setup.clock.advance(TimeDelta::days(2));
    setup.idle(&sink).await;
    assert!(sink.taken().is_empty());
}

#[tokio::test]
async fn names_of_strangers_break_neither_headers_nor_markup() {
    let (setup, sink) = (Setup::new().await, Sink::start().await);
    setup.bad_day(0).await;
    let nasty = "x\r\nBcc: victim@example.com\r\n\r\n<script>alert(1)</script>\u{202E}";
    for (table, column) in [("failure_kinds", "result"), ("failure_kinds", "receiving_mx")] {
        setup
            .sql(&format!("UPDATE {table} SET {column} = E'{}'", nasty.replace('\r', "\\r").replace('\n', "\\n")))
            .await;
    }
    let recipient = setup.confirmed(EMAIL, DigestFrequency::Daily).await;
    setup.clock.set(recipient.next_at.unwrap() + TimeDelta::days(1));
    let _worker = setup.digests(&sink);
    let mail = setup.mails(&sink, 1).await.remove(0);
    let (head, _) = mail.text.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("Bcc") && !head.contains("victim"), "{head}");
    let decoded = mail.decoded();
    assert!(decoded.contains("alert(1)") && !decoded.contains("<script"), "{decoded}");
    assert!(!decoded.contains('\u{202E}') && !decoded.lines().any(|line| line.starts_with("Bcc")));
}

fn relay(sink: &Sink) -> RelayConfig {
    RelayConfig {
        host: "localhost".to_owned(),
        port: sink.port,
        tls: RelayTls::StartTls,
        credentials: Some(("user".to_owned(), "secret".to_owned().into())),
        from: "reports@sts.example".parse().unwrap(),
        helo_name: HostName::parse("sts.example").unwrap(),
        extra_roots: Some(sink.root.clone()),
        deadline: Duration::from_secs(10),
    }
}

impl Setup {
    fn digests(&self, sink: &Sink) -> DropGuard {
        self.digests_with(relay(sink), 100)
    }

    fn digests_with(&self, relay: RelayConfig, per_tenant: u32) -> DropGuard {
        let deps = DigestDeps {
            store: self.worker.clone(),
            relay: Relay::new(relay).unwrap(),
            public_url: "https://api.example.net/".to_owned(),
            per_tenant,
            poll: Duration::from_millis(30),
            clock: Arc::new(self.clock.clone()),
            entropy: Arc::new(SystemEntropy),
        };
        let stop = CancellationToken::new();
        let token = stop.clone();
        tokio::spawn(async move { DigestWorker::new(deps).run(token).await });
        stop.drop_guard()
    }

    async fn ask(&self, email: &str, frequency: DigestFrequency) -> DigestRecipient {
        self.ask_of(self.tenant, email, frequency).await
    }

    async fn ask_of(&self, tenant: TenantId, email: &str, frequency: DigestFrequency) -> DigestRecipient {
        let now = self.clock.now();
        let id = DigestRecipientId::draw(now, &SystemEntropy);
        let kinds = ReportKind::ALL.to_vec();
        let new = NewDigestRecipient { id, email: email.parse().unwrap(), frequency, kinds };
        let mut tx = self.api.tenant_tx(tenant).await.unwrap();
        let added = tx.add_digest_recipient(new, &Actor::operator(), now).await.unwrap();
        tx.commit().await.unwrap();
        let AddedRecipient::Asked(recipient) = added else { panic!("{added:?}") };
        recipient
    }

    /// Somebody who has said yes, whose question went another way.
    async fn confirmed(&self, email: &str, frequency: DigestFrequency) -> DigestRecipient {
        let recipient = self.ask(email, frequency).await;
        self.sql("DELETE FROM digest_mails").await;
        let mut tx = self.api.tenant_tx(self.tenant).await.unwrap();
        assert!(tx.confirm_digest_recipient(recipient.id, &Actor::worker(), self.clock.now()).await.unwrap());
        tx.commit().await.unwrap();
        self.recipient(recipient.id).await
    }

    async fn recipient(&self, id: DigestRecipientId) -> DigestRecipient {
        self.api.tenant_tx(self.tenant).await.unwrap().digest_recipient(id).await.unwrap().unwrap()
    }

    async fn when(&self, id: DigestRecipientId, holds: impl Fn(&DigestRecipient) -> bool) -> DigestRecipient {
        wait_for(PATIENCE, "the recipient is so", || async { Some(self.recipient(id).await).filter(&holds) }).await
    }

    /// A domain with failures yesterday and on the days around, and a failure that is new.
    async fn bad_day(&self, ago: i64) {
        let domain = self.domain("example.com").await;
        self.failure(domain, "certificate-expired", "mx1.example.com", true).await;
        for (dimension, value) in
            [("total", ""), ("result", "certificate-expired"), ("domain", domain.to_string().as_str())]
        {
            for day in ago - 3..=ago + 1 {
                self.sql(&format!(
                    "INSERT INTO report_days VALUES ('{}', '{}', 'tls-rpt', '{dimension}', '{}', '{value}', 'verified', 3,
                        90, 10)",
                    self.tenant.as_uuid(),
                    "00000000-0000-0000-0000-000000000000",
                    self.day(day),
                ))
                .await;
            }
        }
    }

    /// Waits for so many mails.
    async fn mails(&self, sink: &Sink, count: usize) -> Vec<Taken> {
        wait_for(PATIENCE, "the relay has them", || async { Some(sink.taken()).filter(|taken| taken.len() >= count) })
            .await
    }

    /// Waits until nothing is due any more.
    async fn idle(&self, _: &Sink) {
        let due = |now: Timestamp| {
            let now = now.to_rfc3339();
            format!(
                "SELECT (SELECT count(*) FROM digest_mails WHERE state = 'pending' AND (due_at <= '{now}' OR lease_token IS NOT NULL))
                    + (SELECT count(*) FROM digest_recipients WHERE next_at <= '{now}')"
            )
        };
        wait_until(PATIENCE, "nothing is due", async || self.database.psql(&due(self.clock.now())).await.trim() == "0")
            .await;
    }

    /// Purpose and state of all mails, in order.
    async fn states(&self) -> String {
        let sql = "SELECT string_agg(purpose || ' ' || state, ',' ORDER BY purpose, period, state) FROM digest_mails";
        self.database.psql(sql).await.trim().to_owned()
    }
}

impl Taken {
    fn header(&self, name: &str) -> String {
        let (head, _) = self.text.split_once("\r\n\r\n").unwrap();
        let head = head.replace("\r\n ", " ");
        let found = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        found.unwrap_or_else(|| panic!("no {name} in {head}")).to_owned()
    }

    /// The token in the link to this page.
    fn link(&self, page: &str) -> String {
        let all = format!("{}{}", self.decoded(), self.text);
        let (_, rest) = all.split_once(&format!("https://api.example.net/digest/{page}/")).unwrap();
        rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect()
    }

    /// All texts of the mail, whatever they are encoded in.
    fn decoded(&self) -> String {
        let mut texts = String::new();
        for part in self.text.split("\r\n--") {
            let Some((head, body)) = part.split_once("\r\n\r\n") else { continue };
            if !head.contains("text/") {
                continue;
            }
            if head.contains("base64") {
                let lines: String = body.split_whitespace().collect();
                texts.push_str(&String::from_utf8(BASE64.decode(lines.as_bytes()).unwrap()).unwrap());
            } else {
                texts.push_str(&body.replace("=\r\n", "").replace("=3D", "="));
            }
        }
        texts
    }
}
