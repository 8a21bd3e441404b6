//! The whole zone, read from one JSON document that is never in memory at once.
//!
//! The document is parsed on a thread of its own between two bounded channels. The server gives a connection up when
//! nothing is read from it for five seconds, so whoever reads the listing must not pause for longer.

use std::{
    cell::Cell,
    collections::VecDeque,
    fmt,
    io::{self, BufReader, Read},
    sync::Arc,
};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use mtasts_model::feed::RecordType;
use reqwest012::Response;
use serde::{
    Deserializer as _,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use tokio::sync::mpsc;

use super::{api::Api, sets::RrSet};
use crate::provider::{BoxError, Mark, Observed, ProviderError, marked_name};

/// Pieces of the document on their way to the parser.
const PIECES: usize = 16;
/// Sets in one message to the reader, and messages on their way.
const SETS: usize = 256;
const MESSAGES: usize = 4;
/// A set that has more does not fit into a DNS message by far.
const MAX_SET_BYTES: usize = 4 * 1024 * 1024;
/// Some ten million sets.
const MAX_DOCUMENT_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// Markers that are remembered until their set comes, which in the server's order is at once.
const MARKERS: usize = 64;

type Piece = Result<Vec<u8>, BoxError>;

enum Message {
    Sets(Vec<RrSet>),
    /// The document was read to its end: a listing without this is not whole.
    End,
    Broken(BoxError),
}

/// See [`crate::provider::ZoneProvider::list`].
pub(super) fn stream(api: Arc<Api>, marker: String) -> BoxStream<'static, Result<Observed, ProviderError>> {
    let start = async move {
        match open(api).await {
            Ok(messages) => observed(messages, marker).left_stream(),
            Err(error) => stream::once(async { Err(error) }).right_stream(),
        }
    };
    stream::once(start).flatten().boxed()
}

async fn open(api: Arc<Api>) -> Result<mpsc::Receiver<Message>, ProviderError> {
    let response = api.listing().await?;
    let (pieces, messages) = parser();
    tokio::spawn(feed(api, response, pieces));
    Ok(messages)
}

/// A parser that waits for pieces. It ends when either channel's other end is gone.
fn parser() -> (mpsc::Sender<Piece>, mpsc::Receiver<Message>) {
    let (pieces, document) = mpsc::channel(PIECES);
    let (sets, messages) = mpsc::channel(MESSAGES);
    tokio::task::spawn_blocking(move || parse(document, &sets));
    (pieces, messages)
}

async fn feed(api: Arc<Api>, mut response: Response, pieces: mpsc::Sender<Piece>) {
    let mut total = 0;
    loop {
        let piece = match api.piece(&mut response).await {
            Ok(None) => return,
            Ok(Some(piece)) => Ok(piece),
            Err(error) => Err(error),
        };
        total += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        let piece = if total > MAX_DOCUMENT_BYTES { Err("the zone is too large".into()) } else { piece };
        let is_last = piece.is_err();
        if pieces.send(piece).await.is_err() || is_last {
            return;
        }
    }
}

fn observed(
    messages: mpsc::Receiver<Message>,
    marker: String,
) -> impl futures_util::Stream<Item = Result<Observed, ProviderError>> {
    let state = (Some(messages), Reader { marker, recent: VecDeque::with_capacity(MARKERS) });
    let batches = stream::unfold(state, async |(messages, mut reader)| {
        let mut messages = messages?;
        Some(match messages.recv().await {
            Some(Message::Sets(sets)) => {
                let observed: Vec<_> = sets.into_iter().filter_map(|set| reader.observe(set).map(Ok)).collect();
                (observed, (Some(messages), reader))
            }
            Some(Message::End) => return None,
            Some(Message::Broken(source)) => {
                (vec![Err(ProviderError::Unavailable { retry_after: None, source })], (None, reader))
            }
            None => {
                let source = "the listing ended before its time".into();
                (vec![Err(ProviderError::Unavailable { retry_after: None, source })], (None, reader))
            }
        })
    });
    batches.map(stream::iter).flatten()
}

/// Parts markers from sets.
struct Reader {
    marker: String,
    recent: VecDeque<(String, RecordType)>,
}

impl Reader {
    fn observe(&mut self, set: RrSet) -> Option<Observed> {
        let (name, set) = set.into_standing()?;
        if set.contents.is_empty() {
            return None;
        }
        let record_type = RecordType::ALL.into_iter().find(|&known| set.is(known))?;
        if record_type == RecordType::Txt
            && let Some(marked) = marked_name(&name)
        {
            if set.is_text(&self.marker) {
                if self.recent.len() == MARKERS {
                    self.recent.pop_front();
                }
                self.recent.push_back(marked);
            }
            return None;
        }
        let place = self.recent.iter().rposition(|(owner, marked)| *owner == name && *marked == record_type);
        let mark = if place.and_then(|place| self.recent.remove(place)).is_some() { Mark::Ours } else { Mark::Unread };
        Some(Observed { name, record_type, data: set.data(record_type), mark, reference: None })
    }
}

/// Blocks; the outcome goes into the channel. The receiver may leave at any time.
fn parse(document: mpsc::Receiver<Piece>, messages: &mpsc::Sender<Message>) {
    let since_last_set = Cell::new(0);
    let pieces = Pieces { document, piece: Vec::new(), read: 0, since_last_set: &since_last_set };
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(32 * 1024, pieces));
    let mut sets = Sets { messages, ready: Vec::with_capacity(SETS), since_last_set: &since_last_set };
    let outcome = json.deserialize_map(ZoneVisitor(&mut sets)).and_then(|()| json.end());
    let last = match outcome {
        Ok(()) => {
            if !sets.send() {
                return;
            }
            Message::End
        }
        Err(error) => Message::Broken(error.into()),
    };
    // Nobody is left to be told.
    let _ = messages.blocking_send(last);
}

/// The document as a reader.
struct Pieces<'a> {
    document: mpsc::Receiver<Piece>,
    piece: Vec<u8>,
    read: usize,
    since_last_set: &'a Cell<usize>,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.piece.len() {
            match self.document.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.piece = piece.map_err(io::Error::other)?,
            }
            self.read = 0;
        }
        let taken = self.piece.get(self.read..).unwrap_or_default().read(buffer)?;
        self.read += taken;
        self.since_last_set.set(self.since_last_set.get() + taken);
        if self.since_last_set.get() > MAX_SET_BYTES {
            return Err(io::Error::other(format!("more than {MAX_SET_BYTES} bytes without a record set")));
        }
        Ok(taken)
    }
}

/// Where the parsed sets go.
struct Sets<'a> {
    messages: &'a mpsc::Sender<Message>,
    ready: Vec<RrSet>,
    since_last_set: &'a Cell<usize>,
}

impl Sets<'_> {
    /// False when nobody listens any more.
    fn add(&mut self, set: RrSet) -> bool {
        self.since_last_set.set(0);
        self.ready.push(set);
        self.ready.len() < SETS || self.send()
    }

    fn send(&mut self) -> bool {
        let sets = std::mem::replace(&mut self.ready, Vec::with_capacity(SETS));
        self.messages.blocking_send(Message::Sets(sets)).is_ok()
    }
}

/// The document: `{…, "rrsets": […], …}`.
struct ZoneVisitor<'a, 'b>(&'a mut Sets<'b>);

impl<'de> Visitor<'de> for ZoneVisitor<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a zone with its record sets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut has_sets = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "rrsets" {
                map.next_value_seed(SetsVisitor(self.0))?;
                has_sets = true;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if has_sets { Ok(()) } else { Err(A::Error::missing_field("rrsets")) }
    }
}

struct SetsVisitor<'a, 'b>(&'a mut Sets<'b>);

impl<'de> DeserializeSeed<'de> for SetsVisitor<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for SetsVisitor<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of record sets")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(set) = seq.next_element()? {
            if !self.0.add(set) {
                return Err(A::Error::custom("nobody reads the listing"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn parsed(pieces: Vec<Piece>) -> Result<Vec<(String, Mark)>, String> {
        let (feed, messages) = parser();
        tokio::spawn(async move {
            for piece in pieces {
                // The parser may have seen enough.
                let _ = feed.send(piece).await;
            }
        });
        let mut all = Vec::new();
        let mut listing = Box::pin(observed(messages, "heritage=mtasts,owner=ours".to_owned()));
        while let Some(set) = listing.next().await {
            match set {
                Ok(set) => all.push((set.name, set.mark)),
                Err(ProviderError::Unavailable { source, .. }) => return Err(source.to_string()),
                Err(error) => panic!("{error:?}"),
            }
        }
        Ok(all)
    }

    fn set(name: &str, kind: &str, content: &str) -> String {
        let content = content.replace('"', "\\\"");
        format!(
            r#"{{"name":"{name}.","type":"{kind}","ttl":60,"records":[{{"content":"{content}","disabled":false}}]}}"#
        )
    }

    fn document(sets: &[String]) -> String {
        format!(r#"{{"account":"","list":[{{"deep":[1]}}],"rrsets":[{}],"serial":1}}"#, sets.join(","))
    }

    #[tokio::test]
    async fn sets_come_with_their_marks_however_the_document_is_cut() {
        let whole = document(&[
            set("_mtasts-txt.b._mta-sts.sts.test", "TXT", "\"heritage=mtasts,owner=ours\""),
            set("_mtasts-txt.a._mta-sts.sts.test", "TXT", "\"heritage=mtasts,owner=theirs\""),
            set("A._mta-sts.sts.test", "TXT", "\"x\""),
            set("b._mta-sts.sts.test", "A", "192.0.2.1"),
            set("b._mta-sts.sts.test", "TXT", "\"x\""),
            set("sts.test", "SOA", "a. b. 1 2 3 4 5"),
            r#"{"name":"c.sts.test.","type":"TXT","ttl":0,"records":[],"comments":[{"content":"x"}]}"#.to_owned(),
            r#"{"name":"d.sts.test.","type":"A","ttl":0,"records":[{"content":"192.0.2.1","disabled":true}]}"#
                .to_owned(),
        ]);
        let expected = [
            ("a._mta-sts.sts.test", Mark::Unread),
            ("b._mta-sts.sts.test", Mark::Unread),
            ("b._mta-sts.sts.test", Mark::Ours),
        ];
        let expected: Vec<_> = expected.iter().map(|&(name, mark)| (name.to_owned(), mark)).collect();
        for size in [1, 7, 100_000] {
            let pieces = whole.as_bytes().chunks(size).map(|piece| Ok(piece.to_vec())).collect();
            assert_eq!(parsed(pieces).await.unwrap(), expected, "in pieces of {size}");
        }
    }

    #[tokio::test]
    async fn what_is_not_a_whole_document_is_an_error_at_the_end() {
        let whole = document(&[set("a.sts.test", "A", "192.0.2.1"), set("b.sts.test", "A", "192.0.2.1")]);
        for cut in 0..whole.len() {
            let pieces = vec![Ok(whole.as_bytes()[..cut].to_vec())];
            assert!(parsed(pieces).await.is_err(), "cut after {cut} bytes");
        }
        for garbage in ["<html>", "[]", "{}", r#"{"rrsets":{}}"#, r#"{"rrsets":[{"name":1}]}"#, &format!("{whole}x")] {
            assert!(parsed(vec![Ok(garbage.as_bytes().to_vec())]).await.is_err(), "{garbage}");
        }
        let lost = vec![Ok(whole.as_bytes()[..40].to_vec()), Err("connection lost".into())];
        assert!(parsed(lost).await.unwrap_err().contains("connection lost"));
    }

    #[tokio::test]
    async fn while_nobody_reads_no_more_is_taken_in_than_the_channels_hold() {
        const ALL: usize = 4 * SETS * MESSAGES;
        let (feed, messages) = parser();
        let mut feeding = tokio::spawn(async move {
            feed.send(Ok(br#"{"rrsets":["#.to_vec())).await.unwrap();
            for number in 0..ALL {
                let comma = if number == 0 { "" } else { "," };
                let set = set(&format!("n{number}.sts.test"), "TXT", &"x".repeat(1024));
                feed.send(Ok(format!("{comma}{set}").into_bytes())).await.unwrap();
            }
            feed.send(Ok(b"]}".to_vec())).await.unwrap();
        });
        let done = tokio::time::timeout(Duration::from_secs(1), &mut feeding).await;
        assert!(done.is_err(), "the whole zone was taken in");
        let listing = observed(messages, "ours".to_owned());
        assert_eq!(listing.filter(|set| std::future::ready(set.is_ok())).count().await, ALL);
        feeding.await.unwrap();
    }

    #[tokio::test]
    async fn a_set_without_end_is_given_up() {
        let mut pieces = vec![Ok(br#"{"rrsets":[{"name":""#.to_vec())];
        pieces.extend((0..200).map(|_| Ok(vec![b'x'; 64 * 1024])));
        assert!(parsed(pieces).await.unwrap_err().contains("without a record set"));
    }

    #[test]
    fn markers_without_a_set_do_not_pile_up() {
        let mut reader = Reader { marker: "m".to_owned(), recent: VecDeque::new() };
        for number in 0..10_000 {
            let json = set(&format!("_mtasts-txt.n{number}.sts.test"), "TXT", "\"m\"");
            assert!(reader.observe(serde_json::from_str(&json).unwrap()).is_none());
        }
        assert_eq!(reader.recent.len(), MARKERS);
    }
}
