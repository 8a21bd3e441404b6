//! All sets of a zone, by a zone transfer (AXFR, RFC 5936): message by message, never the whole zone in memory.

use std::{collections::VecDeque, mem};

use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use hickory_proto::{op::ResponseCode, rr::RecordType as WireType};
use mtasts_model::feed::{RecordData, RecordType};
use tokio::net::TcpStream;

use super::{
    connection::{Connection, ExchangeFailure, Primary, Sent, question},
    page::{Page, PageRecord},
    refusal::Asked,
};
use crate::{
    name,
    provider::{Mark, Marker, Observed, ProviderError, marked_name},
    tsig::{Trust, TsigError},
    wire,
};

/// Octets of one set. Its records have to fit into one answer, so a server that sends more is not to be trusted.
const LONGEST_SET: usize = 65_535;

/// See [`crate::provider::ZoneProvider::list`].
pub(super) fn list<'a>(primary: &'a Primary, marker: &'a Marker) -> BoxStream<'a, Result<Observed, ProviderError>> {
    let pages = stream::try_unfold(None, move |transfer: Option<Transfer<'a>>| async move {
        let mut transfer = match transfer {
            Some(transfer) => transfer,
            None => Transfer::begin(primary, marker).await?,
        };
        let page = transfer.page().await?;
        let page = page.map(|page| (stream::iter(page.into_iter().map(Ok)), Some(transfer)));
        Ok::<_, ProviderError>(page)
    });
    pages.try_flatten().boxed()
}

struct Transfer<'a> {
    primary: &'a Primary,
    stream: TcpStream,
    sent: Sent,
    /// Messages that no signature covers yet; TSIG has its cap on how many (RFC 8945 §5.3.1).
    untrusted: VecDeque<Page>,
    sets: Sets,
    /// How many SOA records came: the first begins the zone, the second ends it (RFC 5936 §2.2).
    bounds: u8,
}

impl<'a> Transfer<'a> {
    async fn begin(primary: &'a Primary, marker: &Marker) -> Result<Self, ProviderError> {
        let (stream, sent) = match primary.begin(&question(&primary.zone, WireType::AXFR)).await {
            Ok(begun) => begun,
            Err(failure) => return Err(primary.failure(Asked::Transfer, failure).await),
        };
        let sets = Sets::new(marker.to_string());
        Ok(Self { primary, stream, sent, untrusted: VecDeque::new(), sets, bounds: 0 })
    }

    /// The sets of the next messages; `None` after the end.
    async fn page(&mut self) -> Result<Option<Vec<Observed>>, ProviderError> {
        if self.bounds == 2 {
            return Ok(None);
        }
        let mut is_last = false;
        loop {
            let (message, trust) = match self.next().await {
                Ok(next) => next,
                Err(failure) => return Err(self.primary.failure(Asked::Transfer, failure).await),
            };
            let code = message.metadata.response_code;
            if code != ResponseCode::NoError {
                let code = self.primary.told_apart(&mut Connection::new(self.primary), code).await?;
                return Err(self.primary.refusal(Asked::Transfer, code));
            }
            // The last record of all is the SOA again, and it must be under a signature too.
            let ends = message.records.last().is_some_and(|record| record.kind == WireType::SOA);
            is_last |= ends && self.bounds + u8::from(message.records.len() > 1) > 0;
            self.untrusted.push_back(message);
            match trust {
                Trust::Verified => break,
                Trust::Pending if is_last => {
                    let failure = ExchangeFailure::Tsig(TsigError::Unsigned, None);
                    return Err(self.primary.failure(Asked::Transfer, failure).await);
                }
                Trust::Pending => {}
            }
        }
        let mut page = Vec::new();
        while let Some(message) = self.untrusted.pop_front() {
            for record in &message.records {
                self.take(record, &mut page)?;
            }
        }
        if self.bounds == 2 {
            self.sets.end(&mut page);
        }
        Ok(Some(page))
    }

    async fn next(&mut self) -> Result<(Page, Trust), ExchangeFailure> {
        let octets = self.primary.proceed(&mut self.stream).await?;
        self.sent.receive_page(&octets, &*self.primary.clock)
    }

    fn take(&mut self, record: &PageRecord, page: &mut Vec<Observed>) -> Result<(), ProviderError> {
        let unusable = |reason: &str| {
            let source = format!("the server's zone transfer cannot be used: {reason}").into();
            Err(ProviderError::Unavailable { retry_after: None, source })
        };
        let is_bound = record.kind == WireType::SOA && record.name == self.primary.zone;
        match (self.bounds, is_bound) {
            (0, false) => return unusable("it does not begin with the zone's SOA"),
            (0 | 1, true) => self.bounds += 1,
            (2.., _) => return unusable("it goes on behind its end"),
            (1, false) if self.primary.zone.zone_of(&record.name) => {
                if self.sets.take(record, page).is_err() {
                    return unusable("one set has more octets than a message");
                }
            }
            (1, false) => {}
        }
        Ok(())
    }
}

/// More than a message of records in one set.
struct TooLong;

/// Joins records to sets, and sets to their markers.
///
/// A transfer may have any order (RFC 5936 §2.2), but servers send a set's records one after the other, and the names
/// beneath a name right after it: that is how BIND, Knot, NSD and PowerDNS keep zones. So a set is held until a name
/// comes that is neither its own nor its marker's. A set that is not sent in one piece is given in pieces, and a set
/// whose marker comes elsewhere is [`Mark::Unread`]: whoever compares them with what is wanted reads them again.
struct Sets {
    marker: String,
    /// The sets of one name, each with its octets.
    held: Vec<(Observed, usize)>,
}

impl Sets {
    fn new(marker: String) -> Self {
        Self { marker, held: Vec::new() }
    }

    fn take(&mut self, record: &PageRecord, page: &mut Vec<Observed>) -> Result<(), TooLong> {
        let at = name::text(&record.name);
        let found = record.data.as_ref().and_then(wire::value);
        if let Some((name, record_type)) = marked_name(&at) {
            // Others' markers, and what else stands at such a name, are no sets of the service either.
            let ours = found.is_some_and(|(kind, value)| kind == RecordType::Txt && value == self.marker);
            let marked = self.held.iter_mut().find(|(set, _)| set.name == name && set.record_type == record_type);
            if let (true, Some((set, _))) = (ours, marked) {
                set.mark = Mark::Ours;
            }
            return Ok(());
        }
        if self.held.first().is_some_and(|(set, _)| set.name != at) {
            self.end(page);
        }
        let Some((record_type, value)) = found else { return Ok(()) };
        let length = value.len() + 32;
        if let Some((set, octets)) = self.held.iter_mut().find(|(set, _)| set.record_type == record_type) {
            *octets += length;
            if *octets > LONGEST_SET {
                return Err(TooLong);
            }
            set.data.ttl = set.data.ttl.min(record.ttl);
            set.data.values.push(value);
        } else {
            let data = RecordData { ttl: record.ttl, values: vec![value] };
            let set = Observed { name: at, record_type, data, mark: Mark::Unread, reference: None };
            self.held.push((set, length));
        }
        Ok(())
    }

    fn end(&mut self, page: &mut Vec<Observed>) {
        page.extend(mem::take(&mut self.held).into_iter().map(|(set, _)| set));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "heritage=mtasts,owner=a";

    fn record(name: &str, record_type: RecordType, value: &str) -> PageRecord {
        let data = wire::data(record_type, value).unwrap();
        PageRecord { name: name::parse(name).unwrap(), kind: wire::wire_type(record_type), ttl: 60, data: Some(data) }
    }

    fn listed(records: &[PageRecord]) -> Vec<(String, RecordType, Vec<String>, Mark)> {
        let (mut sets, mut page) = (Sets::new(OURS.to_owned()), Vec::new());
        for record in records {
            assert!(sets.take(record, &mut page).is_ok());
        }
        sets.end(&mut page);
        page.into_iter().map(|set| (set.name, set.record_type, set.data.values, set.mark)).collect()
    }

    fn set(
        name: &str,
        record_type: RecordType,
        values: &[&str],
        mark: Mark,
    ) -> (String, RecordType, Vec<String>, Mark) {
        (name.to_owned(), record_type, values.iter().map(|&value| value.to_owned()).collect(), mark)
    }

    #[test]
    fn records_of_a_set_are_joined_and_its_marker_tells_whose_it_is() {
        use RecordType::{A, Aaaa, Txt};
        let records = [
            record("*.edge.t", A, "192.0.2.1"),
            record("*.edge.t", Aaaa, "2001:db8::1"),
            record("*.edge.t", A, "192.0.2.2"),
            record("_mtasts-a._wildcard.edge.t", Txt, OURS),
            record("_mtasts-aaaa._wildcard.edge.t", Txt, "heritage=mtasts,owner=b"),
            record("X.t", Txt, "upper"),
            record("_mtasts-txt.x.t", Txt, "something else"),
            record("_mtasts-txt.x.t", Txt, OURS),
            record("y.t", Txt, "no marker"),
        ];
        let expected = [
            set("*.edge.t", A, &["192.0.2.1", "192.0.2.2"], Mark::Ours),
            set("*.edge.t", Aaaa, &["2001:db8::1"], Mark::Unread),
            set("x.t", Txt, &["upper"], Mark::Ours),
            set("y.t", Txt, &["no marker"], Mark::Unread),
        ];
        assert_eq!(listed(&records), expected);
    }

    #[test]
    fn a_set_in_pieces_comes_in_pieces_and_a_marker_elsewhere_leaves_it_unread() {
        use RecordType::Txt;
        let records = [
            record("_mtasts-txt.x.t", Txt, OURS),
            record("x.t", Txt, "a"),
            record("y.t", Txt, "b"),
            record("x.t", Txt, "c"),
        ];
        let expected = [
            set("x.t", Txt, &["a"], Mark::Unread),
            set("y.t", Txt, &["b"], Mark::Unread),
            set("x.t", Txt, &["c"], Mark::Unread),
        ];
        assert_eq!(listed(&records), expected);
    }

    #[test]
    fn an_endless_set_is_not_held() {
        let (mut sets, mut page) = (Sets::new(OURS.to_owned()), Vec::new());
        let text = "x".repeat(1_000);
        let taken = (0..1_000).take_while(|_| sets.take(&record("x.t", RecordType::Txt, &text), &mut page).is_ok());
        assert_eq!(taken.count(), 63);
    }
}
