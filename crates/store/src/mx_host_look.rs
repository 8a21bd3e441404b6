//! What MX hosts answered, shared by all domains whose mail goes there: one look at a time, whichever worker makes it.

use std::net::IpAddr;

use chrono::TimeDelta;
use mtasts_model::{HostName, Timestamp, lifecycle::MxFailure};
use sea_orm::FromQueryResult;

use crate::{Store, StoreError, sql};

/// How long a look is remembered: nobody may go by an older one.
pub const MX_HOST_LOOKS_KEPT: TimeDelta = TimeDelta::hours(2);

/// The most that one transaction forgets.
const PRUNED_AT_ONCE: i64 = 2_000;

/// Characters of a code and of a message that are kept. Strangers have a part in messages.
const LONGEST_CODE: usize = 100;
const LONGEST_MESSAGE: usize = 1_000;

/// Addresses that are kept.
const MOST_ADDRESSES: usize = 16;

/// A claim from further ahead than this is one of a clock that was stepped: it holds nobody up.
const CLOCK_SLACK_SECONDS: f64 = 300.0;

/// What a host answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MxHostLook {
    /// When the look began.
    pub looked_at: Timestamp,
    /// What is wrong with the host; None when it passed.
    pub failure: Option<MxFailure>,
}

/// The right to look at a host, for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MxHostClaim {
    host: HostName,
    token: i64,
    at: Timestamp,
}

impl MxHostClaim {
    /// When the look begins.
    pub fn begins_at(&self) -> Timestamp {
        self.at
    }
}

/// Whose turn it is to look at a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MxHostTurn {
    /// There is a look that will do.
    Known(MxHostLook),
    /// Ours: nobody else looks meanwhile.
    Ours(MxHostClaim),
    /// Another's.
    Busy {
        /// Since when.
        since: Timestamp,
    },
}

#[derive(Debug, FromQueryResult)]
struct Row {
    looked_at: Option<Timestamp>,
    code: Option<String>,
    message: Option<String>,
    claimed_at: Option<Timestamp>,
    claimed: bool,
}

impl Row {
    fn look(&self) -> Option<MxHostLook> {
        let failure = self.code.clone().zip(self.message.clone()).map(|(code, message)| MxFailure { code, message });
        self.looked_at.map(|looked_at| MxHostLook { looked_at, failure })
    }

    /// Since when somebody is looking.
    fn busy_since(&self) -> Option<Timestamp> {
        self.claimed_at.filter(|_| self.claimed)
    }
}

const READ: &str = "
    SELECT looked_at, code, message, claimed_at,
        COALESCE(claimed_until > $2 AND claimed_at <= $2 + $3 * interval '1 second', false) AS claimed
    FROM mx_host_looks WHERE host = $1";

/// Nobody else's turn, and still the look that was read: one that has ended meanwhile is not made again.
const CLAIM: &str = "
    INSERT INTO mx_host_looks AS old (host, claim_token, claimed_at, claimed_until, forget_at)
    VALUES ($1, nextval('lease_tokens'), $2, $3, $3)
    ON CONFLICT (host) DO UPDATE SET claim_token = excluded.claim_token, claimed_at = excluded.claimed_at,
        claimed_until = excluded.claimed_until, forget_at = GREATEST(old.forget_at, excluded.forget_at)
    WHERE old.looked_at IS NOT DISTINCT FROM $4::timestamptz
        AND (old.claimed_until IS NULL OR old.claimed_until <= $2 OR old.claimed_at > $2 + $5 * interval '1 second')
    RETURNING claim_token";

const FINISH: &str = "
    UPDATE mx_host_looks SET looked_at = $3, code = $4, message = $5, addresses = $6::text[]::inet[], claim_token = NULL,
        claimed_at = NULL, claimed_until = NULL, forget_at = $7
    WHERE host = $1 AND claim_token = $2";

const RELEASE: &str = "
    UPDATE mx_host_looks SET claim_token = NULL, claimed_at = NULL, claimed_until = NULL
    WHERE host = $1 AND claim_token = $2";

const OLD: &str = "
    DELETE FROM mx_host_looks WHERE host = ANY (ARRAY(
        SELECT host FROM mx_host_looks WHERE forget_at < $1 ORDER BY forget_at LIMIT $2))";

impl Store {
    /// The latest look at a host if it `serves`, else the turn to look at it until `until`, else who has it.
    pub async fn mx_host_turn(
        &self,
        host: &HostName,
        serves: impl Fn(&MxHostLook) -> bool + Send,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<MxHostTurn, StoreError> {
        let mut row = self.mx_host_row(host, now).await?;
        // Another look may end between reading and claiming: then it is read once more.
        for _ in 0..2 {
            let look = row.as_ref().and_then(Row::look);
            if let Some(look) = look.as_ref().filter(|look| serves(look)) {
                return Ok(MxHostTurn::Known(look.clone()));
            }
            if let Some(since) = row.as_ref().and_then(Row::busy_since) {
                return Ok(MxHostTurn::Busy { since });
            }
            let looked_at = look.map(|look| look.looked_at);
            let values =
                vec![host.as_str().into(), now.into(), until.into(), looked_at.into(), CLOCK_SLACK_SECONDS.into()];
            if let Some(claimed) = sql::row(self.db(), CLAIM, values).await? {
                let token = claimed.try_get("", "claim_token")?;
                return Ok(MxHostTurn::Ours(MxHostClaim { host: host.clone(), token, at: now }));
            }
            row = self.mx_host_row(host, now).await?;
        }
        let known = row.as_ref().and_then(Row::look).filter(|look| serves(look)).map(MxHostTurn::Known);
        let busy = || MxHostTurn::Busy { since: row.as_ref().and_then(Row::busy_since).unwrap_or(now) };
        Ok(known.unwrap_or_else(busy))
    }

    async fn mx_host_row(&self, host: &HostName, now: Timestamp) -> Result<Option<Row>, StoreError> {
        let values = vec![host.as_str().into(), now.into(), CLOCK_SLACK_SECONDS.into()];
        sql::one::<Row>(self.db(), READ, values).await
    }

    /// Shares what a look came to. [`StoreError::Fenced`] when it took longer than the claim, and another has the turn.
    pub async fn finish_mx_host_look(
        &self,
        claim: &MxHostClaim,
        failure: Option<&MxFailure>,
        addresses: &[IpAddr],
    ) -> Result<(), StoreError> {
        let addresses: Vec<String> = addresses.iter().take(MOST_ADDRESSES).map(IpAddr::to_string).collect();
        let values = vec![
            claim.host.as_str().into(),
            claim.token.into(),
            claim.at.into(),
            failure.map(|failure| capped(&failure.code, LONGEST_CODE)).into(),
            failure.map(|failure| capped(&failure.message, LONGEST_MESSAGE)).into(),
            addresses.into(),
            (claim.at + MX_HOST_LOOKS_KEPT).into(),
        ];
        if sql::execute(self.db(), FINISH, values).await? == 0 { Err(StoreError::Fenced) } else { Ok(()) }
    }

    /// Gives a turn back without a look. Nothing happens when another has it by now.
    pub async fn release_mx_host(&self, claim: &MxHostClaim) -> Result<(), StoreError> {
        sql::execute(self.db(), RELEASE, vec![claim.host.as_str().into(), claim.token.into()]).await?;
        Ok(())
    }

    /// Forgets looks that nobody goes by any more: 2,000 at most. Returns how many went: call again while there are any.
    pub async fn prune_mx_host_looks(&self, now: Timestamp) -> Result<u64, StoreError> {
        sql::execute(self.db(), OLD, vec![now.into(), PRUNED_AT_ONCE.into()]).await
    }
}

/// The first characters. Postgres cannot keep a NUL, which strangers may send.
fn capped(text: &str, most: usize) -> String {
    text.chars().filter(|character| *character != '\0').take(most).collect()
}
