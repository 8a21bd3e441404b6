//! One mail is one mail, whatever its line ends, and however the network cuts it.

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::runtime::Handle;

use crate::{client::Smtp, harness::House};

/// What other servers have taken for the end of a mail.
const SEQUENCES: [&str; 10] =
    ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\n.\r", "\r.\n", "\r\n\0.\r\n.\n", "\r\r\n.\r\r\n"];

#[tokio::test]
async fn nothing_but_one_sequence_ends_a_mail_and_no_command_is_taken_out_of_it() {
    let house = House::new().await;
    for sequence in SEQUENCES {
        for is_cut in [false, true] {
            let mut client = Smtp::with_mail(house.smtp(), &[house.domain.tlsrpt()]).await;
            client.ask("DATA", 354).await;
            let smuggled = format!(
                "Subject: x{sequence}MAIL FROM:<admin@sender.example>\r\nRCPT TO:<{}>\r\nDATA\r\nforged\r\n.\r\n",
                house.domain.tlsrpt()
            );
            let _ = client.stream.set_nodelay(true);
            if is_cut {
                for octet in smuggled.as_bytes() {
                    use tokio::io::AsyncWriteExt;
                    if client.stream.write_all(&[*octet]).await.is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            } else {
                client.send(&smuggled).await;
            }
            let rest = client.rest().await;
            assert!(rest.starts_with("554 5.6.0 "), "{sequence:?} cut: {is_cut}: {rest}");
            assert_eq!(rest.lines().count(), 1, "{sequence:?}: {rest}");
        }
    }
    assert_eq!(house.arrivals().await, 0);
}

#[tokio::test]
async fn commands_end_with_cr_lf_alone() {
    let house = House::new().await;
    for command in ["NOOP\n", "NOOP\nNOOP\r\n", "NOOP\rNOOP\r\n", "NOOP\r\r\n", "\nNOOP\r\n"] {
        let mut client = Smtp::connect(house.smtp()).await;
        client.send(command).await;
        let rest = client.rest().await;
        assert!(rest.starts_with("554 5.6.0 ") && rest.lines().count() == 1, "{command:?}: {rest}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_octets_get_the_same_answers_however_they_are_cut() {
    let house = House::new().await;
    let to = house.domain.tlsrpt();
    let session = format!(
        "EHLO mx.sender.example\r\nNOOP\r\nFOO\r\nMAIL FROM:<a@sender.example> SIZE=10\r\nRCPT TO:<{to}>\r\n\
         RCPT TO:<nobody@{}>\r\nDATA\r\n..one\r\ntwo.\r\n.\r\nVRFY x\r\nMAIL FROM:<>\r\nRCPT TO:<{to}>\r\n\
         BDAT 8\r\n\r\n.\r\nQUIBDAT 5 LAST\r\n\nT\r\n.RSET\r\nBDAT 4\r\nQUITQUIT\r\n",
        crate::harness::HOST
    );
    let address = house.smtp();
    let talk = async |pieces: Vec<usize>| -> Vec<String> {
        let mut client = Smtp::connect(address).await;
        let _ = client.stream.set_nodelay(true);
        let (mut rest, mut pieces) = (session.as_bytes(), pieces.into_iter());
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(pieces.next().unwrap_or(rest.len()).min(rest.len()));
            client.send(piece).await;
            tokio::task::yield_now().await;
            rest = more;
        }
        // The ids of what was stored differ, and what was stored before has none.
        let answers = client.rest().await;
        answers.lines().map(|line| line.split(" stored").next().unwrap().to_owned()).collect()
    };
    let whole = talk(Vec::new()).await;
    assert_eq!(whole.last().unwrap(), "221 2.0.0 goodbye");
    let handle = Handle::current();
    tokio::task::block_in_place(|| {
        let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
        let pieces = proptest::collection::vec(1_usize..40, 0..200);
        runner
            .run(&pieces, |pieces| {
                prop_assert_eq!(&handle.block_on(talk(pieces)), &whole);
                Ok(())
            })
            .unwrap();
    });
    assert_eq!(house.arrivals().await, 2, "each of the two mails, once");
    let stored = house.sql("SELECT string_agg(encode(raw, 'hex'), ' ' ORDER BY octets) FROM report_arrivals").await;
    let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().concat();
    assert_eq!(stored, format!("{} {}", hex(b".one\r\ntwo.\r\n"), hex(b"\r\n.\r\nQUI\nT\r\n.")));
}
