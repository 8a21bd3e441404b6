use crate::harness::{Harness, PATH};

/// Each opens with a request that two parsers could read differently; what hides in it must not be answered.
#[tokio::test]
async fn requests_that_could_be_read_in_two_ways_are_refused_and_end_the_connection() {
    let harness = Harness::serving(&["example.com"]).await;
    let hidden = format!("GET {PATH} HTTP/1.1\r\nHost: mta-sts.example.com\r\n\r\n");
    let start = format!("GET {PATH} HTTP/1.1\r\nHost: mta-sts.example.com\r\n");
    for (status, lines) in [
        (400, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
        (400, "Content-Length: 0\r\nContent-Length: 5\r\n\r\n"),
        (400, "Content-Length: 0x5\r\n\r\n"),
        (400, "X: a\r\n Content-Length: 5\r\n\r\n"),
        (400, "Content-Length : 5\r\n\r\n"),
        (400, "X: a\nContent-Length: 5\r\n\r\n"),
        (400, "Host: mta-sts.example.org\r\n\r\n"),
        (413, "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (413, "Transfer-Encoding: xchunked\r\n\r\n"),
        (413, "Content-Length: 5\r\n\r\nhello"),
    ] {
        let mut connection = harness.client().connect("example.com").await.unwrap();
        let answer = connection.ask(&format!("{start}{lines}{hidden}")).await.unwrap();
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")), "{lines:?}");
        assert!(connection.is_ended().await, "{lines:?}");
    }
}

#[tokio::test]
async fn a_long_header_section_is_refused() {
    let harness = Harness::serving(&["example.com"]).await;
    let mut connection = harness.client().connect("example.com").await.unwrap();
    let filler = "x".repeat(9_000);
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: mta-sts.example.com\r\nX: {filler}\r\n\r\n");
    let answer = connection.ask(&request).await.unwrap();
    assert_eq!(answer.status, 431);
    assert!(connection.is_ended().await);
}

#[tokio::test]
async fn http_1_0_and_requests_without_a_host_are_handled() {
    let harness = Harness::serving(&["example.com"]).await;
    let mut connection = harness.client().connect("example.com").await.unwrap();
    let answer = connection.ask(&format!("GET {PATH} HTTP/1.0\r\nHost: mta-sts.example.com\r\n\r\n")).await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    let mut connection = harness.client().connect("example.com").await.unwrap();
    assert_eq!(connection.ask(&format!("GET {PATH} HTTP/1.1\r\n\r\n")).await.unwrap().status, 400);
}
