//! A zone at a DNS provider with moods: its record sets in memory, its servers real sockets.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt, stream, stream::BoxStream};
use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::Record,
};
use mtasts_dns::{Applied, Known, Mark, Observed, ProviderError, RecordChange, ZoneProvider, wire};
use mtasts_model::{
    ZoneName,
    feed::{RecordData, RecordType},
};
use tokio::net::UdpSocket;

/// How the provider is disposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Fine,
    /// Nothing takes effect.
    Away,
    /// It takes effect, and no answer comes.
    AnswersLost,
    Limited(Duration),
    Revoked,
    /// Calls never end; they have taken effect.
    Hangs,
}

#[derive(Debug, Clone)]
struct Kept {
    data: RecordData,
    ours: bool,
    reference: String,
}

type Sets = BTreeMap<(String, RecordType), Kept>;

struct State {
    sets: Sets,
    mood: Mood,
    /// Every batch that was asked for.
    calls: Vec<Vec<RecordChange>>,
    drawn: u64,
}

#[derive(Clone)]
pub(crate) struct Hosted {
    zone: ZoneName,
    batch: usize,
    server: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Hosted {
    pub(crate) async fn start(zone: &str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = socket.local_addr().unwrap();
        // What a worker of before has written.
        let edges = RecordData { ttl: 300, values: vec!["127.0.0.1".to_owned()] };
        let edges = Kept { data: edges, ours: true, reference: "edges".to_owned() };
        let sets = Sets::from([((format!("*.edge.{zone}"), RecordType::A), edges)]);
        let state = State { sets, mood: Mood::Fine, calls: Vec::new(), drawn: 0 };
        let state = Arc::new(Mutex::new(state));
        let answers = Arc::clone(&state);
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let question = Message::from_vec(&buffer[..length]).unwrap();
                let answer = answer(&answers.lock().unwrap().sets, &question);
                let _ = socket.send_to(&answer.to_vec().unwrap(), from).await;
            }
        });
        Self { zone: zone.parse().unwrap(), batch: 100, server, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        self.state().mood = mood;
    }

    /// The batches so far.
    pub(crate) fn calls(&self) -> Vec<Vec<RecordChange>> {
        self.state().calls.clone()
    }

    pub(crate) fn txt(&self, name: &str) -> Option<Vec<String>> {
        self.state().sets.get(&(name.to_owned(), RecordType::Txt)).map(|kept| kept.data.values.clone())
    }

    pub(crate) fn values(&self, name: &str, record_type: RecordType) -> Option<Vec<String>> {
        self.state().sets.get(&(name.to_owned(), record_type)).map(|kept| kept.data.values.clone())
    }

    pub(crate) fn len(&self) -> usize {
        self.state().sets.len()
    }

    /// As in a zone that no worker has written to.
    pub(crate) fn remove_wildcard(&self) {
        self.state().sets.remove(&(format!("*.edge.{}", self.zone), RecordType::A));
    }

    /// As somebody with the zone's credentials; the marker stays where there is one.
    pub(crate) fn edit(&self, name: &str, value: Option<&str>) {
        let key = (name.to_owned(), RecordType::Txt);
        match value {
            None => drop(self.state().sets.remove(&key)),
            Some(value) => {
                let data = RecordData { ttl: 60, values: vec![value.to_owned()] };
                let mut state = self.state();
                let stranger = Kept { data: data.clone(), ours: false, reference: "stranger".to_owned() };
                state.sets.entry(key).or_insert(stranger).data = data;
            }
        }
    }
}

fn one(state: &mut State, change: &RecordChange) -> Result<Applied, ProviderError> {
    let key = (change.name.clone(), change.record_type);
    let found = state.sets.get(&key).cloned();
    assert!(change.known != Known::Never || found.as_ref().is_none_or(|kept| !kept.ours), "never is not never");
    if let Some(kept) = found.as_ref().filter(|kept| !kept.ours) {
        let same = change.set.as_ref().is_some_and(|set| set.same_values(&kept.data));
        if !same {
            return Err(ProviderError::Conflict {
                name: change.name.clone(),
                record_type: change.record_type,
                wanted: change.set.as_ref().map_or_else(|| "nothing".to_owned(), RecordData::shown),
                found: kept.data.shown(),
            });
        }
    }
    match &change.set {
        None => {
            state.sets.remove(&key);
            Ok(Applied::default())
        }
        Some(data) => {
            state.drawn += 1;
            let reference = found.map_or_else(|| format!("r{}", state.drawn), |kept| kept.reference);
            state.sets.insert(key, Kept { data: data.clone(), ours: true, reference: reference.clone() });
            Ok(Applied { reference: Some(reference) })
        }
    }
}

fn lost() -> ProviderError {
    ProviderError::Unavailable { retry_after: None, source: "connection reset".into() }
}

#[async_trait]
impl ZoneProvider for Hosted {
    fn zone(&self) -> &ZoneName {
        &self.zone
    }

    fn kind(&self) -> &'static str {
        "hosted"
    }

    fn batch_size(&self) -> usize {
        self.batch
    }

    async fn check(&self) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn read(&self, name: &str, record_type: RecordType) -> Result<Option<Observed>, ProviderError> {
        let state = self.state();
        if state.mood != Mood::Fine {
            return Err(lost());
        }
        Ok(state.sets.get(&(name.to_owned(), record_type)).map(|kept| observed(name, record_type, kept)))
    }

    async fn apply(&self, changes: &[RecordChange]) -> Result<Vec<Result<Applied, ProviderError>>, ProviderError> {
        let (mood, results) = {
            let mut state = self.state();
            let own = changes.iter().all(|change| change.name.starts_with("*."));
            if !own {
                state.calls.push(changes.to_vec());
            }
            match state.mood {
                Mood::Away => return Err(lost()),
                Mood::Limited(wait) => return Err(ProviderError::RateLimited { retry_after: Some(wait) }),
                Mood::Revoked => {
                    return Err(ProviderError::Unauthorized { reason: "the token was revoked".to_owned() });
                }
                Mood::Fine | Mood::AnswersLost | Mood::Hangs => {}
            }
            assert!(changes.len() <= self.batch, "a batch of {}", changes.len());
            let results: Vec<_> = changes.iter().map(|change| one(&mut state, change)).collect();
            (state.mood, results)
        };
        match mood {
            Mood::AnswersLost => Err(lost()),
            Mood::Hangs => std::future::pending().await,
            _ => Ok(results),
        }
    }

    fn list(&self) -> BoxStream<'_, Result<Observed, ProviderError>> {
        let state = self.state();
        if state.mood != Mood::Fine {
            return stream::iter([Err(lost())]).boxed();
        }
        let all: Vec<_> =
            state.sets.iter().map(|((name, record_type), kept)| Ok(observed(name, *record_type, kept))).collect();
        stream::iter(all).boxed()
    }

    fn authoritative(&self) -> Vec<SocketAddr> {
        vec![self.server]
    }
}

fn observed(name: &str, record_type: RecordType, kept: &Kept) -> Observed {
    let mark = if kept.ours { Mark::Ours } else { Mark::NotOurs };
    let reference = Some(kept.reference.clone());
    Observed { name: name.to_owned(), record_type, data: kept.data.clone(), mark, reference }
}

fn answer(sets: &Sets, question: &Message) -> Message {
    let query = question.queries.first().unwrap();
    let name = query.name.to_ascii().trim_end_matches('.').to_owned();
    let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.authoritative = true;
    answer.add_query(query.clone());
    let asked = RecordType::ALL.into_iter().find(|known| wire::wire_type(*known) == query.query_type);
    let wildcard = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
    let found = asked.and_then(|asked| {
        let names = [Some(name), wildcard];
        names.into_iter().flatten().find_map(|name| sets.get(&(name, asked)).map(|kept| (asked, kept)))
    });
    match found {
        None => answer.metadata.response_code = ResponseCode::NXDomain,
        Some((asked, kept)) => {
            for value in &kept.data.values {
                let data = wire::data(asked, value).unwrap();
                answer.add_answer(Record::from_rdata(query.name.clone(), kept.data.ttl, data));
            }
        }
    }
    answer
}
