//! The plan itself.

use chrono::{SubsecRound, TimeDelta};
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    condition::Condition,
    feed::Revision,
    ids::{CertificateId, OrderId, PolicyVersionId},
    lifecycle::{
        CnameSeen, DelegationSeen, DomainFacts, HostContentRef, HostOwner, OrderFacts, OrderState, Purpose,
        VersionFacts, attempts::spread, conditions, expiry, schedule, watch,
    },
};

/// What to do next, what to show, when to look again.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The one next thing to do now; None: nothing until `wake_at`.
    pub step: Option<Step>,
    /// All conditions, with their `since`.
    pub conditions: Vec<Condition>,
    /// When to plan again if no step is due and nothing happens before; None: never (the domain is gone).
    pub wake_at: Option<Timestamp>,
}

/// One idempotent piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Resolve the customer's CNAMEs.
    ObserveDelegation,
    /// Do what follows for the MX migration: see [`crate::migration::next`].
    AdvanceMigration,
    /// Do what follows for the rollout plan: see [`crate::rollout::next`].
    AdvanceRollout,
    /// Find the MX hosts and make the first policy version from them (`mx: auto`).
    DiscoverMx,
    /// Look at every MX host as a sender would.
    ProbeMx,
    /// Look from outside, as a sender would, whether this version is what it finds.
    Watch {
        /// Which.
        version: PolicyVersionId,
    },
    /// Tell the tenant that the certificate ends and is not renewed.
    TellOfExpiry {
        /// Which.
        certificate: CertificateId,
        /// So many days before its end, or fewer.
        days: u16,
    },
    /// Take the name's place in the edge feed: DNS points at our label. Another holder loses it at this moment.
    TakeHost,
    /// Give the place up: the edges stop serving the name.
    ReleaseHost,
    /// Draw and persist a key, and open an order. Nothing is asked of the CA yet.
    DraftOrder,
    /// Ask the CA for an order and persist its URL.
    PlaceOrder {
        /// Which.
        order: OrderId,
    },
    /// Put the answer to a challenge into the feed or the zone.
    PublishChallenge {
        /// Which.
        order: OrderId,
    },
    /// Tell the CA to look: every in-service edge has the answer.
    AnswerChallenge {
        /// Which.
        order: OrderId,
    },
    /// Ask the CA how the order stands; when it is valid, download, prove and persist the certificate.
    PollOrder {
        /// Which.
        order: OrderId,
    },
    /// Send the CSR for the persisted key.
    FinalizeOrder {
        /// Which.
        order: OrderId,
    },
    /// Close an order that must not or cannot go on.
    AbandonOrder {
        /// Which.
        order: OrderId,
    },
    /// Ask the CA when it wants the certificate renewed (RFC 9773).
    RefreshAdvice {
        /// Which.
        certificate: CertificateId,
    },
    /// Tell the edges to serve this version with this certificate.
    ServeHost {
        /// Which version.
        version: PolicyVersionId,
        /// Which certificate.
        certificate: CertificateId,
    },
    /// Note that every in-service edge has acknowledged the version.
    MarkServed {
        /// Which.
        version: PolicyVersionId,
    },
    /// Fetch the policy as a sender would and compare it byte for byte.
    VerifyServed {
        /// Which.
        version: PolicyVersionId,
    },
    /// Write the TXT records with this version's id.
    WriteRecords {
        /// Which.
        version: PolicyVersionId,
    },
    /// Read the records back from all of the zone's authoritative servers.
    ConfirmRecords {
        /// Which.
        version: PolicyVersionId,
    },
    /// Remove the domain's records from the service's zones.
    RemoveRecords,
    /// The records stand in the zone that the domain moves to: from now on that is its home.
    EnterZone,
    /// No CNAME has led to the former zone for long: remove the records there.
    LeaveZone,
    /// Nothing is left: mark the domain as gone.
    Finish,
}

/// The kinds of step, for back-off, metrics and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// [`Step::ObserveDelegation`].
    ObserveDelegation,
    /// [`Step::DiscoverMx`].
    DiscoverMx,
    /// [`Step::ProbeMx`].
    ProbeMx,
    /// [`Step::Watch`].
    Watch,
    /// [`Step::TellOfExpiry`].
    TellOfExpiry,
    /// [`Step::TakeHost`].
    TakeHost,
    /// [`Step::ReleaseHost`].
    ReleaseHost,
    /// [`Step::DraftOrder`].
    DraftOrder,
    /// [`Step::PlaceOrder`].
    PlaceOrder,
    /// [`Step::PublishChallenge`].
    PublishChallenge,
    /// [`Step::AnswerChallenge`].
    AnswerChallenge,
    /// [`Step::PollOrder`].
    PollOrder,
    /// [`Step::FinalizeOrder`].
    FinalizeOrder,
    /// [`Step::AbandonOrder`].
    AbandonOrder,
    /// A whole order, from draft to certificate: not a step, but what fails when an order is closed without a
    /// certificate (the worker records that failure under this kind), and succeeds when a certificate is issued.
    Issuance,
    /// [`Step::AdvanceMigration`].
    AdvanceMigration,
    /// [`Step::AdvanceRollout`].
    AdvanceRollout,
    /// [`Step::RefreshAdvice`].
    RefreshAdvice,
    /// [`Step::ServeHost`].
    ServeHost,
    /// [`Step::MarkServed`].
    MarkServed,
    /// [`Step::VerifyServed`].
    VerifyServed,
    /// [`Step::WriteRecords`].
    WriteRecords,
    /// [`Step::ConfirmRecords`].
    ConfirmRecords,
    /// [`Step::RemoveRecords`].
    RemoveRecords,
    /// [`Step::EnterZone`].
    EnterZone,
    /// [`Step::LeaveZone`].
    LeaveZone,
    /// [`Step::Finish`].
    Finish,
}

impl StepKind {
    /// Whether it fails by what the tenant can mend: DNS, MX hosts, CAA.
    fn hangs_on_the_tenant(self) -> bool {
        matches!(
            self,
            Self::ObserveDelegation
                | Self::DiscoverMx
                | Self::ProbeMx
                | Self::Watch
                | Self::PlaceOrder
                | Self::PollOrder
                | Self::Issuance
                | Self::VerifyServed
        )
    }

    /// A stable word for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ObserveDelegation => "observe-delegation",
            Self::DiscoverMx => "discover-mx",
            Self::ProbeMx => "probe-mx",
            Self::Watch => "watch",
            Self::TellOfExpiry => "tell-of-expiry",
            Self::TakeHost => "take-host",
            Self::ReleaseHost => "release-host",
            Self::DraftOrder => "draft-order",
            Self::PlaceOrder => "place-order",
            Self::PublishChallenge => "publish-challenge",
            Self::AnswerChallenge => "answer-challenge",
            Self::PollOrder => "poll-order",
            Self::FinalizeOrder => "finalize-order",
            Self::AbandonOrder => "abandon-order",
            Self::Issuance => "issuance",
            Self::AdvanceMigration => "advance-migration",
            Self::AdvanceRollout => "advance-rollout",
            Self::RefreshAdvice => "refresh-advice",
            Self::ServeHost => "serve-host",
            Self::MarkServed => "mark-served",
            Self::VerifyServed => "verify-served",
            Self::WriteRecords => "write-records",
            Self::ConfirmRecords => "confirm-records",
            Self::RemoveRecords => "remove-records",
            Self::EnterZone => "enter-zone",
            Self::LeaveZone => "leave-zone",
            Self::Finish => "finish",
        }
    }
}

impl Step {
    /// Its kind.
    pub fn kind(&self) -> StepKind {
        match self {
            Self::ObserveDelegation => StepKind::ObserveDelegation,
            Self::DiscoverMx => StepKind::DiscoverMx,
            Self::ProbeMx => StepKind::ProbeMx,
            Self::Watch { .. } => StepKind::Watch,
            Self::TellOfExpiry { .. } => StepKind::TellOfExpiry,
            Self::TakeHost => StepKind::TakeHost,
            Self::ReleaseHost => StepKind::ReleaseHost,
            Self::DraftOrder => StepKind::DraftOrder,
            Self::PlaceOrder { .. } => StepKind::PlaceOrder,
            Self::PublishChallenge { .. } => StepKind::PublishChallenge,
            Self::AnswerChallenge { .. } => StepKind::AnswerChallenge,
            Self::PollOrder { .. } => StepKind::PollOrder,
            Self::FinalizeOrder { .. } => StepKind::FinalizeOrder,
            Self::AbandonOrder { .. } => StepKind::AbandonOrder,
            Self::AdvanceMigration => StepKind::AdvanceMigration,
            Self::AdvanceRollout => StepKind::AdvanceRollout,
            Self::RefreshAdvice { .. } => StepKind::RefreshAdvice,
            Self::ServeHost { .. } => StepKind::ServeHost,
            Self::MarkServed { .. } => StepKind::MarkServed,
            Self::VerifyServed { .. } => StepKind::VerifyServed,
            Self::WriteRecords { .. } => StepKind::WriteRecords,
            Self::ConfirmRecords { .. } => StepKind::ConfirmRecords,
            Self::RemoveRecords => StepKind::RemoveRecords,
            Self::EnterZone => StepKind::EnterZone,
            Self::LeaveZone => StepKind::LeaveZone,
            Self::Finish => StepKind::Finish,
        }
    }
}

/// Plans the next step of one domain.
pub fn plan(facts: &DomainFacts, now: Timestamp) -> Plan {
    let mut planner = Planner { facts, now, wake_at: None };
    let step = planner.next();
    let wake_at = match facts.purpose {
        Purpose::Gone => planner.wake_at,
        // Whatever happens, look again within a day.
        _ => Some(planner.wake_at.unwrap_or(now + schedule::DELEGATION_RECHECK)),
    };
    Plan { step, conditions: conditions::derive(facts, now), wake_at }
}

/// Walks through what might be done, in order of urgency. What is not due yet, or failed lately, is passed over and
/// noted in `wake_at`, so that a broken MX never delays a certificate.
struct Planner<'a> {
    facts: &'a DomainFacts,
    now: Timestamp,
    wake_at: Option<Timestamp>,
}

impl Planner<'_> {
    fn next(&mut self) -> Option<Step> {
        match self.facts.purpose {
            Purpose::Gone => self.dangling(),
            Purpose::Live => self
                .first_version()
                .or_else(|| self.delegation())
                .or_else(|| self.ownership())
                .or_else(|| self.certificate())
                .or_else(|| self.publication())
                .or_else(|| self.zone_move())
                .or_else(|| self.expiry())
                .or_else(|| self.mx())
                .or_else(|| self.watch())
                .or_else(|| self.migration())
                .or_else(|| self.rollout())
                .or_else(|| self.advice()),
            // A live order is closed first: its answer may stand in the zone.
            Purpose::Withdraw { since, forced: true } => match &self.facts.order {
                Some(order) => self.offer(Step::AbandonOrder { order: order.id }),
                None => self.removal(since),
            },
            Purpose::Withdraw { since, forced: false } => self
                .delegation()
                .or_else(|| self.ownership())
                .or_else(|| self.certificate())
                .or_else(|| self.withdrawal(since)),
        }
    }

    /// The step, unless its kind failed lately.
    fn offer(&mut self, step: Step) -> Option<Step> {
        match self.facts.attempts.ready_at(step.kind(), &self.facts.label) {
            Some(ready) if ready > self.now && !self.is_mended(step.kind()) => self.later(ready),
            _ => Some(step),
        }
    }

    /// A verify-now is the tenant's word that what stood in the way is mended. It does not outrank a wish of others to
    /// be left alone until a certain time.
    fn is_mended(&self, kind: StepKind) -> bool {
        kind.hangs_on_the_tenant()
            && self.facts.attempts.of(kind).is_some_and(|attempt| {
                self.nudged_since(attempt.last_at) && attempt.retry_after.is_none_or(|after| after <= self.now)
            })
    }

    fn later(&mut self, at: Timestamp) -> Option<Step> {
        // Stored times have microseconds: rounded down, a wake would come a moment too early, again and again.
        let at = at.trunc_subsecs(6) + TimeDelta::microseconds(1);
        self.wake_at = Some(self.wake_at.map_or(at, |sooner| sooner.min(at)));
        None
    }

    fn first_version(&mut self) -> Option<Step> {
        if self.facts.version.is_none() { self.offer_look(Step::DiscoverMx) } else { None }
    }

    /// A look at the MX hosts, unless it waits for room there. What else is due goes on meanwhile.
    fn offer_look(&mut self, step: Step) -> Option<Step> {
        match self.facts.mx_put_off {
            Some(put_off)
                if put_off.until > self.now
                    && schedule::is_fresh(put_off.at, schedule::LONGEST_PUT_OFF, self.now)
                    && !self.nudged_since(put_off.at) =>
            {
                self.later(put_off.until)
            }
            _ => self.offer(step),
        }
    }

    fn delegation(&mut self) -> Option<Step> {
        let due = match &self.facts.delegation {
            None => self.now,
            Some(seen) if self.nudged_since(seen.at) => self.now,
            Some(seen) => schedule::due_at(seen.at, self.delegation_interval(seen), self.now),
        };
        if due > self.now { self.later(due) } else { self.offer(Step::ObserveDelegation) }
    }

    /// CNAMEs that are left behind lead to a name that nobody serves: harmless here, as a label is never used again, and yet
    /// to be told.
    fn dangling(&mut self) -> Option<Step> {
        let gone_at = self.facts.gone_at?;
        let end = gone_at + schedule::DANGLING_WATCH;
        let last = self.facts.delegation.as_ref().map_or(gone_at, |seen| seen.at.max(gone_at));
        let due = schedule::due_at(last, spread(schedule::DELEGATION_RECHECK, &self.facts.label, 1), self.now);
        if due >= end || self.now >= end {
            None
        } else if due > self.now {
            self.later(due)
        } else {
            self.offer(Step::ObserveDelegation)
        }
    }

    fn delegation_interval(&self, seen: &DelegationSeen) -> TimeDelta {
        let withdrawing = matches!(self.facts.purpose, Purpose::Withdraw { .. });
        let all_ours =
            [&seen.policy_host, &seen.sts_record, &seen.tls_rpt_record].iter().all(|c| **c == CnameSeen::Ours);
        // Whoever withdraws need not be hurried to set records.
        if all_ours || withdrawing {
            return spread(schedule::DELEGATION_RECHECK, &self.facts.label, 1);
        }
        // `nudged_at` starts as the time of registration: eager at first, hourly in the end.
        let (least, most) = schedule::DELEGATION_RETRY;
        spread(((seen.at - self.facts.nudged_at) / 4).clamp(least, most), &self.facts.label, 1)
    }

    /// A look at the delegation that is young enough to act upon, or the step that gets one.
    fn fresh_delegation(&mut self) -> Result<&DelegationSeen, Option<Step>> {
        match &self.facts.delegation {
            Some(seen) if schedule::is_fresh(seen.at, schedule::FRESH_DELEGATION, self.now) => Ok(seen),
            _ => Err(self.offer(Step::ObserveDelegation)),
        }
    }

    /// Ownership follows DNS (invariant 3): the name belongs to the label that its CNAME names.
    fn ownership(&mut self) -> Option<Step> {
        let seen = self.facts.delegation.as_ref()?;
        let ours = self.facts.host.owner == HostOwner::Ours;
        match &seen.policy_host {
            CnameSeen::Ours if ours => None,
            CnameSeen::Ours => {
                if self.facts.version.is_none() || !self.is_needed() {
                    return None;
                }
                match self.fresh_delegation() {
                    Ok(_) => self.offer(Step::TakeHost),
                    Err(step) => step,
                }
            }
            CnameSeen::OtherLabel { .. } if ours => self.offer(Step::ReleaseHost),
            CnameSeen::Missing | CnameSeen::Elsewhere { .. } if ours => {
                let end = seen.lost_since.unwrap_or(seen.at) + schedule::LOST_GRACE;
                if end <= self.now { self.offer(Step::ReleaseHost) } else { self.later(end) }
            }
            // What the name serves is no longer ours to announce: senders would take somebody else's policy for the
            // version that our id names.
            _ if self.facts.purpose == Purpose::Live && self.facts.record.written.is_some() => {
                self.offer(Step::RemoveRecords)
            }
            _ => None,
        }
    }

    /// Serving makes sense: the domain is live, or senders may still hold a policy of one that is being withdrawn.
    fn is_needed(&self) -> bool {
        match self.facts.purpose {
            Purpose::Live => true,
            Purpose::Withdraw { since, .. } => {
                self.facts.certificate.is_some()
                    && !self.records_removed(since)
                    && self.facts.ledger.needed_until.is_some_and(|until| until > self.now)
            }
            Purpose::Gone => false,
        }
    }

    /// True while DNS leads senders and CAs to us for this name, and the name's place in the feed is ours.
    fn holds_host(&self) -> bool {
        self.facts.host.owner == HostOwner::Ours
            && self.facts.delegation.as_ref().is_some_and(|seen| seen.policy_host == CnameSeen::Ours)
    }

    fn certificate(&mut self) -> Option<Step> {
        match &self.facts.order {
            Some(order) => self.order(order),
            None => self.new_order(),
        }
    }

    fn new_order(&mut self) -> Option<Step> {
        if !self.holds_host() {
            return None;
        }
        match &self.facts.certificate {
            Some(certificate) if certificate.renew_at > self.now && certificate.not_after > self.now => {
                return self.later(certificate.renew_at.min(certificate.not_after));
            }
            // A withdrawal renews what it still needs, and never starts anew.
            None if self.facts.purpose != Purpose::Live => return None,
            _ => {}
        }
        let failed = &self.facts.failed_validations;
        if failed.len() >= schedule::MAX_FAILED_VALIDATIONS_PER_HOUR {
            let mut sorted = failed.clone();
            sorted.sort_unstable();
            let oldest = sorted[sorted.len() - schedule::MAX_FAILED_VALIDATIONS_PER_HOUR];
            let free_at = schedule::due_at(oldest, TimeDelta::hours(1), self.now);
            if free_at > self.now {
                return self.later(free_at);
            }
        }
        if let Some(ready) = self.facts.attempts.ready_at(StepKind::Issuance, &self.facts.label)
            && ready > self.now
            // The cap on failed validations stays.
            && !self.is_mended(StepKind::Issuance)
        {
            return self.later(ready);
        }
        match self.fresh_delegation() {
            Ok(_) => self.offer(Step::DraftOrder),
            Err(step) => step,
        }
    }

    /// A nudge from the future of a clock that was set back would ask for a look again and again.
    fn nudged_since(&self, at: Timestamp) -> bool {
        at < self.facts.nudged_at && self.facts.nudged_at <= self.now
    }

    fn order(&mut self, order: &OrderFacts) -> Option<Step> {
        // A draft may wait long for a budget or for a change of CAA records; the CA does not know it yet.
        let stale = order.state != OrderState::Drafted
            && schedule::due_at(order.since, schedule::ORDER_STALE, self.now) <= self.now;
        let pointless = self.facts.purpose != Purpose::Live && self.facts.certificate.is_none();
        if !self.holds_host() || stale || pointless {
            return self.offer(Step::AbandonOrder { order: order.id });
        }
        if let Some(not_before) = order.not_before
            && not_before > self.now
        {
            return self.later(not_before);
        }
        let order_id = order.id;
        match order.state {
            OrderState::Drafted => self.offer(Step::PlaceOrder { order: order_id }),
            OrderState::Placed => self.offer(Step::PublishChallenge { order: order_id }),
            OrderState::ChallengePublished { revision } => {
                if self.edges_have(revision) {
                    self.offer(Step::AnswerChallenge { order: order_id })
                } else {
                    self.wait_for_edges(order.since)
                }
            }
            OrderState::Answered | OrderState::Finalizing => self.offer(Step::PollOrder { order: order_id }),
            OrderState::Ready => self.offer(Step::FinalizeOrder { order: order_id }),
        }
    }

    /// True when every in-service edge has acknowledged the revision. Without any edge nothing is ever served.
    fn edges_have(&self, revision: Revision) -> bool {
        revision == Revision::ZERO || self.facts.edges.acknowledged.is_some_and(|position| position >= revision)
    }

    fn wait_for_edges(&mut self, since: Timestamp) -> Option<Step> {
        self.later(self.now + schedule::growing_wait(since, schedule::EDGE_WAIT, self.now))
    }

    /// Body first, id second (RFC 8461 §8.1).
    fn publication(&mut self) -> Option<Step> {
        let version = self.facts.version.as_ref()?;
        if !self.holds_host() {
            return None;
        }
        let certificate = self.facts.certificate.as_ref().filter(|certificate| certificate.not_after > self.now)?;
        let wanted = HostContentRef { version_id: version.id, certificate_id: certificate.id };
        if self.facts.host.content != Some(wanted) {
            return self.offer(Step::ServeHost { version: version.id, certificate: certificate.id });
        }
        if version.served_at.is_none() {
            if !self.edges_have(self.facts.host.revision) {
                return self.wait_for_edges(self.facts.host.changed_at.unwrap_or(self.now));
            }
            return self.offer(Step::MarkServed { version: version.id });
        }
        if version.verified_at.is_none() {
            return self.offer(Step::VerifyServed { version: version.id });
        }
        self.records(version)
    }

    fn records(&mut self, version: &VersionFacts) -> Option<Step> {
        let record = &self.facts.record;
        let write = Step::WriteRecords { version: version.id };
        let edges_ready = self.edges_have(self.facts.host.revision);
        if record.written != Some(version.id) || record.reports_stale || record.zones_stale {
            // A certificate may have been replaced since the version was verified: an edge that joined meanwhile and
            // lacks it must be waited for as well (invariant 1).
            if !edges_ready {
                return self.wait_for_edges(self.facts.host.changed_at.unwrap_or(self.now));
            }
            return self.offer(write);
        }
        // The provider's queue wakes the domain when it is through; looking at the servers before that is idle.
        if record.pending {
            let since = record.written_at.unwrap_or(self.now);
            return self.later(self.now + schedule::growing_wait(since, schedule::PROVIDER_WAIT, self.now));
        }
        let confirm = Step::ConfirmRecords { version: version.id };
        if record.confirmed != Some(version.id) || version.published_at.is_none() {
            return if self.must_rewrite(edges_ready) { self.offer(write) } else { self.offer(confirm) };
        }
        let again = match record.confirmed_at {
            Some(at) if record.written_at.is_none_or(|written| written <= at) => {
                schedule::due_at(at, spread(schedule::RECORD_RECHECK, &self.facts.label, 2), self.now)
            }
            _ => self.now,
        };
        if again > self.now {
            return self.later(again);
        }
        if self.must_rewrite(edges_ready) { self.offer(write) } else { self.offer(confirm) }
    }

    /// A domain moves to another zone without a gap: its records stand in both, and in the former one until no CNAME has
    /// led there for longer than resolvers keep one.
    fn zone_move(&mut self) -> Option<Step> {
        let (zones, record) = (&self.facts.zones, &self.facts.record);
        if zones.next.is_some() {
            let arrived = !record.zones_stale
                && !record.pending
                && record.confirmed_at.is_some_and(|at| record.written_at.is_none_or(|written| written <= at));
            return if record.written.is_none() || arrived { self.offer(Step::EnterZone) } else { None };
        }
        zones.former.as_ref()?;
        let left = self.facts.delegation.as_ref()?.home_since?;
        let end = schedule::due_at(left, schedule::FORMER_ZONE_GRACE, self.now);
        if end > self.now { self.later(end) } else { self.offer(Step::LeaveZone) }
    }

    /// Written a while ago, and still not shown by the servers: the write was lost, or somebody has edited the zone.
    fn must_rewrite(&self, edges_ready: bool) -> bool {
        let missing = self.facts.attempts.of(StepKind::ConfirmRecords).is_some_and(|attempt| attempt.failures >= 3);
        let written_at = self.facts.record.written_at;
        edges_ready
            && missing
            && written_at.is_none_or(|at| schedule::due_at(at, schedule::REWRITE_AFTER, self.now) <= self.now)
    }

    fn mx(&mut self) -> Option<Step> {
        self.facts.version.as_ref()?;
        let (passing, failing) = schedule::MX_RECHECK;
        let due = match &self.facts.mx {
            None => self.now,
            Some(seen) if self.nudged_since(seen.at) => self.now,
            Some(seen) => {
                // A host may have been looked at before that, for another domain. What passes is to stay proven.
                let (from, interval) = if conditions::mx_holds(self.facts, seen) {
                    (seen.oldest_look(), passing)
                } else {
                    (seen.at, failing)
                };
                schedule::due_at(from, spread(interval, &self.facts.label, 3), self.now)
            }
        };
        if due > self.now { self.later(due) } else { self.offer_look(Step::ProbeMx) }
    }

    /// A published policy is looked at from outside, once resolvers can have its record.
    fn watch(&mut self) -> Option<Step> {
        let version = self.facts.version.as_ref()?;
        let published = version.published_at?;
        if !self.holds_host() || self.facts.record.confirmed != Some(version.id) {
            return None;
        }
        let settled = schedule::due_at(published, watch::SETTLES, self.now);
        let due = match &self.facts.watch {
            Some(seen) if seen.version == version.id && self.nudged_since(seen.at) => self.now,
            Some(seen) if seen.version == version.id => {
                schedule::due_at(seen.at, spread(seen.interval(), &self.facts.label, 4), self.now)
            }
            _ => settled,
        };
        if due > self.now { self.later(due) } else { self.offer(Step::Watch { version: version.id }) }
    }

    /// What ends without being renewed is told in time, once for each threshold.
    fn expiry(&mut self) -> Option<Step> {
        let certificate = self.facts.certificate.as_ref()?;
        match expiry::due(self.facts, certificate, self.now) {
            expiry::Due::Now(days) => self.offer(Step::TellOfExpiry { certificate: certificate.id, days }),
            expiry::Due::At(at) => self.later(at),
            expiry::Due::Never => None,
        }
    }

    fn migration(&mut self) -> Option<Step> {
        match self.facts.migration_next(self.now) {
            (Some(_), _) => self.offer(Step::AdvanceMigration),
            (None, Some(wake_at)) => self.later(wake_at),
            (None, None) => None,
        }
    }

    /// After the look at the MX hosts, so that it is decided on the latest one.
    fn rollout(&mut self) -> Option<Step> {
        let next = self.facts.rollout_next(self.now)?;
        match (next.action, next.wake_at) {
            (Some(_), _) => self.offer(Step::AdvanceRollout),
            (None, Some(wake_at)) => self.later(wake_at),
            (None, None) => None,
        }
    }

    fn advice(&mut self) -> Option<Step> {
        let certificate = self.facts.certificate.as_ref()?;
        let due = certificate.advice_due_at?;
        if due > self.now { self.later(due) } else { self.offer(Step::RefreshAdvice { certificate: certificate.id }) }
    }

    /// RFC 8461 §8.3 and invariant 5: `none` is served until no sender can still hold a policy that needs the host.
    fn withdrawal(&mut self, since: Timestamp) -> Option<Step> {
        // Once begun, a removal goes on whatever edges report later: what was removed must not be written once more.
        if self.records_removed(since) {
            return self.removal(since);
        }
        match self.safe_to_remove_at(since) {
            Some(safe_at) if safe_at <= self.now => self.removal(since),
            Some(safe_at) => self.publication().or_else(|| self.later(safe_at)),
            // Not known yet: `none` is still on its way, or an edge has not reported what it served.
            None => self
                .publication()
                .or_else(|| self.later(self.now + schedule::growing_wait(since, schedule::LEDGER_WAIT, self.now))),
        }
    }

    fn records_removed(&self, since: Timestamp) -> bool {
        self.facts.record.removed_at.is_some_and(|at| at >= since)
    }

    fn removal(&mut self, since: Timestamp) -> Option<Step> {
        // Whatever the store says was written: a write may have been cut off before it was noted.
        if !self.records_removed(since) {
            return self.offer(Step::RemoveRecords);
        }
        if self.facts.host.owner == HostOwner::Ours {
            return self.offer(Step::ReleaseHost);
        }
        self.offer(Step::Finish)
    }

    /// When records and host may go; None while that is not known.
    fn safe_to_remove_at(&self, since: Timestamp) -> Option<Timestamp> {
        let needed = self.facts.ledger.needed_until.unwrap_or(since);
        let reachable = self.holds_host() && self.facts.certificate.is_some_and(|c| c.not_after > self.now);
        let Some(version) = self.facts.version.as_ref().filter(|_| reachable) else {
            // Nobody can fetch from us, so nothing that we serve can help; what caches hold runs out by itself. Only the
            // lines about what was fetched until then must be in.
            let lost_since = self.facts.delegation.as_ref().and_then(|seen| seen.lost_since);
            let end = lost_since.map_or(since, |lost| lost.max(since));
            let complete = self.facts.ledger.complete_until.is_none_or(|until| until >= end);
            return complete.then_some(needed);
        };
        let (served_at, published_at) = (version.served_at?, version.published_at?);
        // Lines about older versions may still sit in an edge that has not flushed since.
        if self.facts.ledger.complete_until? < served_at {
            return None;
        }
        Some(needed.max(published_at + schedule::TXT_SETTLES))
    }
}
