//! Mail, as RFC 5321 and its extensions have it.

use mtasts_testkit::wait_until;

use crate::{
    client::{PATIENCE, Smtp},
    harness::{HOST, House, config},
};

const MAIL: &str = "From: a@sender.example\r\nSubject: Report\r\n\r\n..dots\r\n.\r\n";
const STORED: &str = "From: a@sender.example\r\nSubject: Report\r\n\r\n.dots";

#[tokio::test]
async fn a_mail_is_stored_as_it_came_before_it_is_acknowledged() {
    let house = House::new().await;
    let mut client = Smtp::with_mail(house.smtp(), &[house.domain.tlsrpt()]).await;
    client.ask("DATA", 354).await;
    client.send(MAIL).await;
    let reply = client.expect(250).await;
    assert_eq!(house.stored().await, STORED);
    let facts = house
        .sql(
            "SELECT tenant_id, domain_id, kind, via, received_at, peer, client_name, envelope_from, content_type,
                tls_version, octets, state, due_at = received_at, attempts, 'arr_' || replace(id::text, '-', '')
             FROM report_arrivals",
        )
        .await;
    let id = reply.trim().rsplit(' ').next().unwrap();
    let (tenant, domain) = (house.domain.tenant.as_uuid(), house.domain.id.as_uuid());
    let expected = format!(
        "{tenant}|{domain}|tls-rpt|smtp|2026-01-01 00:00:00+00|127.0.0.1|mx.sender.example|reports@sender.example|||{}\
         |waiting|t|0|{id}",
        STORED.len() + 2
    );
    assert_eq!(facts, expected);
    assert_eq!(house.sql("SELECT reports FROM usage_days").await, "1");
    client.ask("QUIT", 221).await;
    assert!(client.is_over().await);
}

#[tokio::test]
async fn ehlo_offers_what_there_is_and_helo_works_as_well() {
    let house = House::new().await;
    let mut client = Smtp::connect(house.smtp()).await;
    let offer = client.ask("EHLO mx.sender.example", 250).await;
    let words = ["PIPELINING", "SIZE 10485760", "8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES", "STARTTLS"];
    for word in words {
        assert!(offer.contains(&format!("{word}\r\n")), "{word} is not in {offer}");
    }
    assert!(!offer.contains("AUTH"));
    let plain = client.ask("HELO mx.sender.example", 250).await;
    assert_eq!(plain.lines().count(), 1);
    client.envelope(&[house.domain.dmarc()]).await;
    client.ask("DATA", 354).await;
    client.ask("x\r\n.", 250).await;
    assert_eq!(house.sql("SELECT kind FROM report_arrivals").await, "dmarc");
}

#[tokio::test]
async fn commands_that_come_together_are_answered_together() {
    let house = House::new().await;
    let mut client = Smtp::connect(house.smtp()).await;
    let (good, bad) = (house.domain.tlsrpt(), format!("nobody@{HOST}"));
    client
        .send(format!(
            "EHLO mx.sender.example\r\nMAIL FROM:<> SIZE=5 BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<{good}>\r\n\
             RCPT TO:<{bad}>\r\nDATA\r\n"
        ))
        .await;
    for code in [250, 250, 250, 550, 354] {
        client.expect(code).await;
    }
    client.send("one\r\n.\r\nRSET\r\nNOOP\r\nQUIT\r\n").await;
    for code in [250, 250, 250, 221] {
        client.expect(code).await;
    }
    assert_eq!(house.stored().await, "one");
    assert_eq!(house.sql("SELECT envelope_from = '' FROM report_arrivals").await, "t", "the empty sender");
}

#[tokio::test]
async fn mail_that_comes_in_chunks_is_put_together() {
    let house = House::new().await;
    let mut client = Smtp::with_mail(house.smtp(), &[house.domain.tlsrpt()]).await;
    client.send("BDAT 9\r\n\r\n.\r\nQUITBDAT 0\r\n").await;
    client.expect(250).await;
    client.expect(250).await;
    client.ask("DATA", 503).await;
    client.ask(&format!("RCPT TO:<{}>", house.domain.dmarc()), 503).await;
    client.send("BDAT 4 LAST\r\n\r\n.\r").await;
    client.expect(250).await;
    assert_eq!(house.sql("SELECT encode(raw, 'hex') FROM report_arrivals").await, "0d0a2e0d0a515549540d0a2e0d");
}

#[tokio::test]
async fn a_chunk_that_nobody_is_there_for_is_read_and_is_no_command() {
    let house = House::new().await;
    let mut client = Smtp::connect(house.smtp()).await;
    client.ask("EHLO mx.sender.example", 250).await;
    client.send("BDAT 6\r\nQUIT\r\nNOOP\r\n").await;
    client.expect(503).await;
    client.expect(250).await;
    client.ask("BDAT 18446744073709551617 LAST", 501).await;
    client.ask("BDAT x", 501).await;
    client.ask("NOOP", 250).await;
}

#[tokio::test]
async fn one_mail_for_several_domains_arrives_at_each_once() {
    let house = House::new().await;
    let other = house.other_domain("example.org").await;
    let to = [house.domain.tlsrpt(), other.tlsrpt(), other.tlsrpt().to_uppercase()];
    let mut client = Smtp::with_mail(house.smtp(), &to).await;
    client.ask("DATA", 354).await;
    client.ask("x\r\n.", 250).await;
    assert_eq!(house.sql("SELECT count(DISTINCT domain_id), count(*) FROM report_arrivals").await, "2|2");
}

#[tokio::test]
async fn there_are_no_more_than_100_recipients() {
    let house = House::new().await;
    let mut client = Smtp::connect(house.smtp()).await;
    client.ask("EHLO mx.sender.example", 250).await;
    client.ask("MAIL FROM:<>", 250).await;
    for index in 0..100 {
        let domain = house.other_domain(&format!("d{index}.example")).await;
        client.ask(&format!("RCPT TO:<{}>", domain.tlsrpt()), 250).await;
    }
    client.ask(&format!("RCPT TO:<{}>", house.domain.tlsrpt()), 452).await;
    client.ask("DATA", 354).await;
    client.ask("x\r\n.", 250).await;
    assert_eq!(house.arrivals().await, 100);
}

#[tokio::test]
async fn a_large_mail_is_not_multiplied() {
    let mut config = config();
    config.limits.max_octets = 10_000;
    let house = House::with(config).await;
    let mut to = vec![house.domain.tlsrpt()];
    for index in 0..4 {
        to.push(house.other_domain(&format!("d{index}.example")).await.tlsrpt());
    }
    let mut client = Smtp::with_mail(house.smtp(), &to).await;
    client.ask("DATA", 354).await;
    client.ask(&format!("{}\r\n.", "x".repeat(8_000)), 552).await;
    client.envelope(&to).await;
    client.ask("DATA", 354).await;
    client.ask(&format!("{}\r\n.", "x".repeat(7_998)), 250).await;
    assert_eq!(house.arrivals().await, 5);
}

#[tokio::test]
async fn nobody_elses_mail_is_taken_and_none_is_passed_on() {
    let house = House::new().await;
    let label = &house.domain.label;
    let unknown = "a".repeat(26);
    let probes = [
        ("victim@victim.example".to_owned(), 550),
        (format!("tlsrpt-{label}@victim.example"), 550),
        (format!("tlsrpt-{label}%victim.example@{HOST}"), 550),
        (format!("victim.example!tlsrpt-{label}@{HOST}"), 550),
        (format!("victim@victim.example@{HOST}"), 501),
        (format!("\"victim@victim.example\"@{HOST}"), 550),
        (format!("@{HOST}:victim@victim.example"), 550),
        (format!("@victim.example:tlsrpt-{label}@{HOST}"), 550),
        (format!("tlsrpt-{label}@[127.0.0.1]"), 501),
        (format!("tlsrpt-{unknown}@{HOST}"), 550),
        (format!("nobody@{HOST}"), 550),
        (String::new(), 501),
    ];
    let mut client = Smtp::connect(house.smtp()).await;
    client.ask("EHLO mx.sender.example", 250).await;
    client.ask("MAIL FROM:<postmaster@reports.sts.example>", 250).await;
    for (probe, code) in probes {
        client.ask(&format!("RCPT TO:<{probe}>"), code).await;
    }
    client.ask("DATA", 503).await;
    assert_eq!(house.arrivals().await, 0);
}

#[tokio::test]
async fn a_domain_that_is_gone_is_nobody() {
    let house = House::new().await;
    house.sql("SET session_replication_role = replica; UPDATE domains SET state = 'gone'").await;
    let mut client = Smtp::connect(house.smtp()).await;
    client.ask("EHLO mx.sender.example", 250).await;
    client.ask("MAIL FROM:<>", 250).await;
    client.ask(&format!("RCPT TO:<{}>", house.domain.tlsrpt()), 550).await;
}

#[tokio::test]
async fn the_postmaster_is_told_to_be_elsewhere() {
    let mut config = config();
    config.postmaster = Some("postmaster@sts.example".to_owned());
    let house = House::with(config).await;
    let mut client = Smtp::connect(house.smtp()).await;
    client.ask("EHLO mx.sender.example", 250).await;
    client.ask("MAIL FROM:<>", 250).await;
    for address in ["postmaster".to_owned(), format!("PostMaster@{HOST}")] {
        let reply = client.ask(&format!("RCPT TO:<{address}>"), 551).await;
        assert!(reply.contains("<postmaster@sts.example>"), "{reply}");
    }
}

#[tokio::test]
async fn commands_out_of_order_are_refused_and_change_nothing() {
    let house = House::new().await;
    let mut client = Smtp::connect(house.smtp()).await;
    client.ask("MAIL FROM:<a@b.example>", 503).await;
    client.ask("RCPT TO:<a@b.example>", 503).await;
    client.ask("DATA", 503).await;
    client.ask("EHLO mx.sender.example", 250).await;
    client.ask("MAIL FROM:<a@b.example>", 250).await;
    client.ask("MAIL FROM:<a@b.example>", 503).await;
    client.ask("DATA", 503).await;
    client.ask("RSET", 250).await;
    client.ask("RCPT TO:<a@b.example>", 503).await;
    for (command, code) in [
        ("VRFY postmaster", 252),
        ("EXPN list", 502),
        ("AUTH PLAIN AAAA", 502),
        ("HELP", 214),
        ("ETRN x.example", 502),
        ("TURN", 500),
        ("", 500),
        ("MAIL FROM:<a@b.example> SIZE=10485761", 552),
        ("MAIL FROM:<a@b.example> BODY=BINARYMIME", 555),
    ] {
        client.ask(command, code).await;
    }
}

#[tokio::test]
async fn a_client_that_makes_nothing_but_errors_is_sent_away() {
    let house = House::new().await;
    let mut client = Smtp::connect(house.smtp()).await;
    for _ in 0..20 {
        client.ask("GET / HTTP/1.1", 500).await;
    }
    client.expect(421).await;
    assert!(client.is_over().await);
}

#[tokio::test]
async fn lines_that_are_too_long_are_refused_and_endless_ones_end_the_connection() {
    let house = House::new().await;
    let mut client = Smtp::connect(house.smtp()).await;
    client.ask(&format!("NOOP {}", "x".repeat(2_041)), 250).await;
    client.ask(&format!("NOOP {}", "x".repeat(2_042)), 500).await;
    client.ask(&format!("NOOP {}", "x".repeat(40_000)), 500).await;
    client.ask("NOOP", 250).await;
    client.send("x".repeat(100_000)).await;
    client.expect(552).await;
    assert!(client.is_over().await);
}

#[tokio::test]
async fn a_mail_that_is_too_large_is_read_to_its_end_and_refused() {
    let mut config = config();
    config.limits.max_octets = 100_000;
    let house = House::with(config).await;
    let mut client = Smtp::with_mail(house.smtp(), &[house.domain.tlsrpt()]).await;
    client.ask("DATA", 354).await;
    client.send(format!("{}\r\n.\r\n", "x".repeat(200_000))).await;
    client.expect(552).await;
    client.envelope(&[house.domain.tlsrpt()]).await;
    client.send(format!("BDAT 200000\r\n{}", "x".repeat(200_000))).await;
    client.expect(552).await;
    client.ask("BDAT 0 LAST", 503).await;
    // One that just fits, and one that never ends.
    client.envelope(&[house.domain.tlsrpt()]).await;
    client.ask("DATA", 354).await;
    client.ask(&format!("{}\r\n.", "x".repeat(99_998)), 250).await;
    client.envelope(&[house.domain.tlsrpt()]).await;
    client.ask("DATA", 354).await;
    client.send("x".repeat(500_001)).await;
    client.expect(552).await;
    assert_eq!(house.sql("SELECT octets FROM report_arrivals").await, "100000");
    wait_until(PATIENCE, "nothing is held", async || house.handle().held_octets() == 0).await;
}

#[tokio::test]
async fn the_same_mail_again_is_acknowledged_and_stored_once() {
    let house = House::new().await;
    let mut client = Smtp::with_mail(house.smtp(), &[house.domain.tlsrpt()]).await;
    for round in 0..3 {
        if round > 0 {
            client.envelope(&[house.domain.tlsrpt()]).await;
        }
        client.ask("DATA", 354).await;
        client.ask("x\r\n.", 250).await;
    }
    assert_eq!(house.arrivals().await, 1);
    assert_eq!(house.sql("SELECT reports FROM usage_days").await, "1", "a duplicate costs nothing");
}

#[tokio::test]
async fn tls_begins_anew_and_is_noted() {
    let house = House::new().await;
    let mut client = Smtp::with_mail(house.smtp(), &[house.domain.tlsrpt()]).await;
    client.ask("STARTTLS now", 501).await;
    client.ask("STARTTLS", 220).await;
    let mut client = client.start_tls().await;
    client.ask("MAIL FROM:<a@b.example>", 503).await;
    let offer = client.ask("EHLO again.sender.example", 250).await;
    assert!(!offer.contains("STARTTLS"), "{offer}");
    client.ask("STARTTLS", 503).await;
    client.ask("DATA", 503).await;
    client.envelope(&[house.domain.tlsrpt()]).await;
    client.ask("DATA", 354).await;
    client.ask("x\r\n.", 250).await;
    assert_eq!(house.sql("SELECT tls_version, client_name FROM report_arrivals").await, "TLSv1.3|again.sender.example");
}

#[tokio::test]
async fn what_is_said_before_tls_is_not_taken_for_what_is_said_within() {
    let house = House::new().await;
    let mut client = Smtp::connect(house.smtp()).await;
    client.ask("EHLO mx.sender.example", 250).await;
    client.send("STARTTLS\r\nEHLO attacker.example\r\nMAIL FROM:<>\r\n").await;
    client.expect(554).await;
    assert!(client.is_over().await);
    // And what comes too late to be seen is no handshake.
    let mut client = Smtp::connect(house.smtp()).await;
    client.ask("STARTTLS", 220).await;
    client.send("EHLO attacker.example\r\nMAIL FROM:<>\r\n").await;
    let mut rest = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut client.stream, &mut rest).await;
    assert!(!rest.starts_with(b"250"), "{rest:?}");
}
