//! CAs for tests: one that validates by a challenge as its script says, and one that kills the worker after a call.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use mtasts_certs::{
    CaaIdentity, ChallengeKind, IssueError, IssuedChain, Issuer, LocalCa, OfferedChallenge, OrderKey, OrderState,
    PlacedOrder, RenewalInfo, RenewalKey,
};
use mtasts_model::HostName;
use tokio::sync::{Notify, watch};

/// A call that a worker made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Call {
    Caa,
    Place,
    State,
    Answer,
    Finalize,
    Download,
    Renewal,
}

/// What the CA finds when it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Valid,
    Invalid,
    /// The CA knows nothing of the order any more.
    Forgotten,
    /// What it issues is for another key.
    Broken,
}

/// A CA that offers challenges (http-01 if not told otherwise) and signs by the local CA. Each look gives the script's next verdict; without one, Valid.
#[derive(Clone)]
pub(crate) struct ScriptedCa {
    inner: LocalCa,
    kinds: Vec<ChallengeKind>,
    identity: CaaIdentity,
    script: Arc<Mutex<VecDeque<Verdict>>>,
    looked: Arc<Mutex<HashMap<String, Verdict>>>,
    calls: Arc<Mutex<Vec<(Call, String)>>>,
    /// A name for which placing an order panics.
    cursed: Option<HostName>,
    /// So many orders more are not taken.
    away: Arc<Mutex<u32>>,
}

impl ScriptedCa {
    pub(crate) fn new(inner: LocalCa) -> Self {
        Self {
            inner,
            kinds: vec![ChallengeKind::Http01],
            identity: CaaIdentity { issuer_domains: vec!["ca.test".to_owned()], account_uri: None },
            script: Arc::default(),
            looked: Arc::default(),
            calls: Arc::default(),
            cursed: None,
            away: Arc::default(),
        }
    }

    pub(crate) fn cursed(mut self, host: &str) -> Self {
        self.cursed = Some(HostName::parse(host).unwrap());
        self
    }

    pub(crate) fn unavailable(self, times: u32) -> Self {
        *self.away.lock().unwrap() = times;
        self
    }

    pub(crate) fn offering(mut self, kinds: &[ChallengeKind]) -> Self {
        self.kinds = kinds.to_vec();
        self
    }

    /// The verdicts of the next looks.
    pub(crate) fn script(&self, verdicts: impl IntoIterator<Item = Verdict>) {
        self.script.lock().unwrap().extend(verdicts);
    }

    pub(crate) fn calls(&self, call: Call) -> usize {
        self.calls.lock().unwrap().iter().filter(|(made, _)| *made == call).count()
    }

    /// The different orders that a call was made for.
    pub(crate) fn orders(&self, call: Call) -> HashSet<String> {
        self.calls.lock().unwrap().iter().filter(|(made, _)| *made == call).map(|(_, url)| url.clone()).collect()
    }

    fn note(&self, call: Call, about: &str) {
        self.calls.lock().unwrap().push((call, about.to_owned()));
    }
}

#[async_trait]
impl Issuer for ScriptedCa {
    fn key(&self) -> &str {
        self.inner.key()
    }

    fn challenge_kinds(&self) -> &[ChallengeKind] {
        &self.kinds
    }

    async fn caa_identity(&self) -> Result<CaaIdentity, IssueError> {
        self.note(Call::Caa, "");
        Ok(self.identity.clone())
    }

    async fn place(&self, host: &HostName, replaces: Option<&RenewalKey>) -> Result<PlacedOrder, IssueError> {
        self.note(Call::Place, host.as_str());
        assert!(self.cursed.as_ref() != Some(host), "cursed be {host}");
        {
            let mut away = self.away.lock().unwrap();
            if *away > 0 {
                *away -= 1;
                return Err(IssueError::Unavailable { retry_after: None, detail: "on strike".to_owned() });
            }
        }
        self.inner.place(host, replaces).await
    }

    async fn state(&self, url: &str) -> Result<OrderState, IssueError> {
        self.note(Call::State, url);
        let verdict = self.looked.lock().unwrap().get(url).copied();
        match verdict {
            None => {
                let token = format!("token-{}", url.len());
                let offer =
                    |kind: &ChallengeKind| OfferedChallenge::new(*kind, url.to_owned(), token.clone(), "thumbprint");
                Ok(OrderState::Pending { challenges: self.kinds.iter().map(offer).collect() })
            }
            Some(Verdict::Valid | Verdict::Broken) => self.inner.state(url).await,
            Some(Verdict::Forgotten) => Err(IssueError::OrderGone),
            Some(Verdict::Invalid) => {
                Ok(OrderState::Invalid { problem: "wrong answer".to_owned(), validation_failed: true })
            }
        }
    }

    async fn answer(&self, url: &str, kind: ChallengeKind) -> Result<(), IssueError> {
        assert!(self.kinds.contains(&kind), "{kind} was not offered");
        self.note(Call::Answer, url);
        if !self.looked.lock().unwrap().contains_key(url) {
            let verdict = self.script.lock().unwrap().pop_front().unwrap_or(Verdict::Valid);
            self.looked.lock().unwrap().insert(url.to_owned(), verdict);
        }
        Ok(())
    }

    async fn finalize(&self, url: &str, csr_der: &[u8]) -> Result<(), IssueError> {
        self.note(Call::Finalize, url);
        self.inner.finalize(url, csr_der).await
    }

    async fn download(&self, url: &str) -> Result<IssuedChain, IssueError> {
        self.note(Call::Download, url);
        let verdict = self.looked.lock().unwrap().get(url).copied();
        if verdict != Some(Verdict::Broken) {
            return self.inner.download(url).await;
        }
        let host = HostName::parse("mta-sts.customer.test").unwrap();
        let other = self.inner.place(&host, None).await?;
        let key = OrderKey::generate().unwrap();
        self.inner.finalize(&other.url, &key.csr(&host).unwrap()).await?;
        self.inner.download(&other.url).await
    }

    async fn renewal_info(&self, chain: &IssuedChain) -> Result<Option<RenewalInfo>, IssueError> {
        self.note(Call::Renewal, "");
        self.inner.renewal_info(chain).await
    }
}

/// What kills a worker right after a call took effect and before its outcome can be recorded.
#[derive(Clone, Default)]
pub(crate) struct Killed {
    /// The calls whose first effect still kills.
    deadly: Arc<Mutex<HashSet<Call>>>,
    fell: Arc<Notify>,
}

impl Killed {
    pub(crate) fn after(calls: impl IntoIterator<Item = Call>) -> Self {
        let killed = Self::default();
        killed.deadly.lock().unwrap().extend(calls);
        killed
    }

    /// Resolves when a call has been made after which the worker is to be dead.
    pub(crate) async fn fell(&self) {
        self.fell.notified().await;
    }

    pub(crate) fn left(&self) -> usize {
        self.deadly.lock().unwrap().len()
    }

    /// Never returns to a worker that is to die here.
    async fn pass(&self, call: Call) {
        if self.deadly.lock().unwrap().remove(&call) {
            self.fell.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

/// Issuer and provider around the real ones that kill.
pub(crate) struct KillSwitch<T> {
    pub(crate) inner: T,
    pub(crate) killed: Killed,
}

#[async_trait]
impl<T: Issuer> Issuer for KillSwitch<T> {
    fn key(&self) -> &str {
        self.inner.key()
    }

    fn challenge_kinds(&self) -> &[ChallengeKind] {
        self.inner.challenge_kinds()
    }

    async fn caa_identity(&self) -> Result<CaaIdentity, IssueError> {
        let outcome = self.inner.caa_identity().await;
        self.killed.pass(Call::Caa).await;
        outcome
    }

    async fn place(&self, host: &HostName, replaces: Option<&RenewalKey>) -> Result<PlacedOrder, IssueError> {
        let outcome = self.inner.place(host, replaces).await;
        self.killed.pass(Call::Place).await;
        outcome
    }

    async fn state(&self, url: &str) -> Result<OrderState, IssueError> {
        let outcome = self.inner.state(url).await;
        self.killed.pass(Call::State).await;
        outcome
    }

    async fn answer(&self, url: &str, kind: ChallengeKind) -> Result<(), IssueError> {
        let outcome = self.inner.answer(url, kind).await;
        self.killed.pass(Call::Answer).await;
        outcome
    }

    async fn finalize(&self, url: &str, csr_der: &[u8]) -> Result<(), IssueError> {
        let outcome = self.inner.finalize(url, csr_der).await;
        self.killed.pass(Call::Finalize).await;
        outcome
    }

    async fn download(&self, url: &str) -> Result<IssuedChain, IssueError> {
        let outcome = self.inner.download(url).await;
        self.killed.pass(Call::Download).await;
        outcome
    }

    async fn renewal_info(&self, chain: &IssuedChain) -> Result<Option<RenewalInfo>, IssueError> {
        let outcome = self.inner.renewal_info(chain).await;
        self.killed.pass(Call::Renewal).await;
        outcome
    }
}

/// Holds every call of one kind back, before it is made, until it is opened.
#[derive(Clone)]
pub(crate) struct Gate {
    call: Call,
    open: watch::Sender<bool>,
    reached: Arc<Notify>,
}

impl Gate {
    pub(crate) fn at(call: Call) -> Self {
        Self { call, open: watch::Sender::new(false), reached: Arc::default() }
    }

    /// Resolves when a call waits.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    async fn pass(&self, call: Call) {
        if call == self.call {
            self.reached.notify_one();
            let _ = self.open.subscribe().wait_for(|open| *open).await;
        }
    }
}

/// A CA behind a gate.
pub(crate) struct GatedCa<T> {
    pub(crate) inner: T,
    pub(crate) gate: Gate,
}

#[async_trait]
impl<T: Issuer> Issuer for GatedCa<T> {
    fn key(&self) -> &str {
        self.inner.key()
    }

    fn challenge_kinds(&self) -> &[ChallengeKind] {
        self.inner.challenge_kinds()
    }

    async fn caa_identity(&self) -> Result<CaaIdentity, IssueError> {
        self.gate.pass(Call::Caa).await;
        self.inner.caa_identity().await
    }

    async fn place(&self, host: &HostName, replaces: Option<&RenewalKey>) -> Result<PlacedOrder, IssueError> {
        self.gate.pass(Call::Place).await;
        self.inner.place(host, replaces).await
    }

    async fn state(&self, url: &str) -> Result<OrderState, IssueError> {
        // The answer is on its way while the gate is shut.
        let state = self.inner.state(url).await;
        self.gate.pass(Call::State).await;
        state
    }

    async fn answer(&self, url: &str, kind: ChallengeKind) -> Result<(), IssueError> {
        self.gate.pass(Call::Answer).await;
        self.inner.answer(url, kind).await
    }

    async fn finalize(&self, url: &str, csr_der: &[u8]) -> Result<(), IssueError> {
        self.gate.pass(Call::Finalize).await;
        self.inner.finalize(url, csr_der).await
    }

    async fn download(&self, url: &str) -> Result<IssuedChain, IssueError> {
        self.gate.pass(Call::Download).await;
        self.inner.download(url).await
    }

    async fn renewal_info(&self, chain: &IssuedChain) -> Result<Option<RenewalInfo>, IssueError> {
        self.gate.pass(Call::Renewal).await;
        self.inner.renewal_info(chain).await
    }
}
