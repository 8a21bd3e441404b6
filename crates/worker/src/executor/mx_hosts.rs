//! Looks at MX hosts, one for all domains whose mail goes there.

use chrono::TimeDelta;
use futures_util::{StreamExt, stream};
use mtasts_model::{
    HostName, Timestamp,
    lifecycle::{MxHostSeen, MxSeen},
};
use mtasts_probe::{HostLook, MAX_MX_HOSTS, MxRoute, inspect::NoRoom};
use mtasts_store::{MxHostClaim, MxHostLook, MxHostTurn, StoreError};

use super::Context;
use crate::{deadline::answered, mx_looks::Hindrance};

/// So many hosts of one domain are looked at at the same time: all, so that a look takes no longer than its slowest host.
const PARALLEL: usize = MAX_MX_HOSTS;

/// A claim lasts longer than the look, by what the database may take.
const CLAIM_SLACK: TimeDelta = TimeDelta::seconds(10);

/// What became of a look at all hosts of a domain.
pub(super) enum Looked {
    /// All were looked at, by us or lately by others.
    Seen(MxSeen),
    /// At some there was no room; come back then. What was seen at the others is kept, and need not be seen again.
    PutOff(Timestamp),
}

impl Context<'_> {
    /// Looks at every MX host, or goes by what others have seen there lately (RFC 8461 §8.4: backup hosts are rarely used and
    /// so rarely tested).
    pub(super) async fn look_at_hosts(&self, route: &MxRoute) -> Result<Looked, StoreError> {
        let at = self.now();
        let looks = stream::iter(route.hosts()).map(|(preference, host)| async move {
            self.look_at_host(&host, at).await.map(|look| (preference, host, look))
        });
        // `buffered` keeps the order of preference.
        let looks: Vec<_> = looks.buffered(PARALLEL).collect().await;
        let (mut hosts, mut put_off) = (Vec::with_capacity(looks.len()), None);
        for look in looks {
            match look? {
                (preference, host, Ok(MxHostLook { looked_at, failure })) => {
                    let looked_at = (looked_at != at).then_some(looked_at);
                    hosts.push(MxHostSeen { host, preference, failure, looked_at });
                }
                (_, _, Err(hindrance)) => put_off = put_off.max(Some(self.come_back(hindrance))),
            }
        }
        Ok(put_off.map_or(Looked::Seen(MxSeen { hosts, at }), Looked::PutOff))
    }

    async fn look_at_host(&self, host: &HostName, at: Timestamp) -> Result<Result<MxHostLook, Hindrance>, StoreError> {
        let (ages, asked_at) = (self.config.mx_looks, self.facts.mx_nudge(at));
        let longest = TimeDelta::from_std(self.deps.mx_prober.longest()).unwrap_or(TimeDelta::minutes(2));
        let serves = move |look: &MxHostLook| ages.allow(look, asked_at, at);
        let turn = self.deps.store.mx_host_turn(host, serves, at + longest + CLAIM_SLACK, at);
        match answered(turn).await? {
            MxHostTurn::Known(look) => {
                count("shared");
                Ok(Ok(look))
            }
            MxHostTurn::Busy { since } => {
                count("put_off");
                Ok(Err(Hindrance::Busy { since }))
            }
            MxHostTurn::Ours(claim) => match self.deps.mx_prober.probe(host).await {
                Ok(look) => {
                    count("connected");
                    Ok(Ok(self.share(host, &claim, look).await))
                }
                Err(NoRoom { wait }) => {
                    count("put_off");
                    answered(self.deps.store.release_mx_host(&claim)).await?;
                    let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
                    Ok(Err(Hindrance::NoRoom { wait }))
                }
            },
        }
    }

    /// Lets others go by the look. It is as good for this domain if they cannot.
    async fn share(&self, host: &HostName, claim: &MxHostClaim, look: HostLook) -> MxHostLook {
        let HostLook { failure, addresses } = look;
        let shared = self.deps.store.finish_mx_host_look(claim, failure.as_ref(), &addresses);
        if let Err(error) = answered(shared).await {
            tracing::warn!(%host, error = &error as &dyn std::error::Error, "a look at an MX host could not be shared");
        }
        MxHostLook { looked_at: claim.begins_at(), failure }
    }

    fn come_back(&self, hindrance: Hindrance) -> Timestamp {
        let (now, facts) = (self.now(), self.facts);
        let last = facts.mx.as_ref().map_or(facts.created_at, |seen| seen.at);
        let waiting_since = facts.mx_nudge(now).unwrap_or(last);
        let mut jitter = [0];
        self.deps.entropy.fill(&mut jitter);
        hindrance.come_back(waiting_since, now, jitter[0])
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("mtasts_worker_mx_looks_total", "outcome" => outcome).increment(1);
}
