//! A small world with edges, a CA, a zone and a customer, in which plans are carried out with faults.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use mtasts_model::{
    Label, MaxAge, MxPattern, Policy, PolicyId, Revision, Timestamp, ZoneName,
    clock::{Clock, ManualClock, SeededEntropy},
    ids::{CertificateId, DomainId, OrderId, PolicyVersionId, TenantId},
    lifecycle::{
        Attempts, CertificateFacts, CnameSeen, DelegationSeen, DomainFacts, DomainZones, EdgeFacts, HostContentRef,
        HostFacts, HostOwner, LedgerFacts, MAX_FAILED_VALIDATIONS_PER_HOUR, MxFailure, MxHostSeen, MxPutOff, MxSeen,
        MxSource, OrderFacts, OrderState, Plan, Purpose, RecordFacts, ReportFacts, Step, StepKind, VersionFacts,
        WITHDRAWAL_MAX_AGE, WatchFacts, WatchProblem, plan,
    },
    migration::{self, Migration, MigrationFacts},
    name::{HostName, MailDomain, NameRules},
    policy::Mode,
    readiness::{MxDay, ReportSums},
    rollout::{Action, Fallback, Rollout, RolloutFacts, RolloutPlan},
};

pub(crate) const OLD_MX: &str = "mail.customer.test";
pub(crate) const NEW_MX: &str = "new.customer.test";
const HOME: &str = "sts.test";
const OTHER: &str = "sts2.test";

fn zone(name: &str) -> ZoneName {
    name.parse().unwrap()
}

/// How a step goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Nothing took effect, and the failure is recorded.
    Fails,
    /// Nothing took effect, and nothing is recorded: killed before.
    KilledBefore,
    /// It took effect outside, but nothing is recorded: killed between effect and commit.
    KilledBetween,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Customer {
    NoRecords,
    Delegated,
    OtherTenant,
    Elsewhere,
}

#[derive(Debug, Clone)]
pub(crate) struct Edge {
    pub(crate) in_service: bool,
    pub(crate) position: Revision,
    /// What it has served and not yet flushed, by version.
    unflushed: Vec<(PolicyVersionId, u32, bool, Timestamp)>,
    covered_until: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CaOrder {
    Pending,
    Validating,
    Ready,
    Valid,
    Invalid,
}

pub(crate) struct World {
    pub(crate) clock: ManualClock,
    entropy: SeededEntropy,
    pub(crate) facts: DomainFacts,
    pub(crate) customer: Customer,
    pub(crate) edges: Vec<Edge>,
    /// Every state that the name's place in the feed has had.
    feed: Vec<(Revision, Option<HostContentRef>)>,
    head: u64,
    versions: Vec<(PolicyVersionId, PolicyId, Mode, u32)>,
    /// Which version's id each zone answers.
    pub(crate) answers: BTreeMap<ZoneName, PolicyVersionId>,
    /// What is wanted of each zone, and has not reached its provider.
    queued: BTreeMap<ZoneName, Option<PolicyVersionId>>,
    /// The provider takes nothing for now.
    pub(crate) provider_away: bool,
    /// Which zones were last written to.
    written_zones: Vec<ZoneName>,
    /// Where the customer's CNAMEs lead.
    pub(crate) points_at: ZoneName,
    /// Until when resolvers may keep the CNAMEs that led to another zone.
    kept_cname: Option<(ZoneName, Timestamp)>,
    ca_url_persisted: Option<OrderId>,
    ca: Option<(OrderId, CaOrder)>,
    pub(crate) ca_refuses: bool,
    pub(crate) failed_validations: Vec<Timestamp>,
    /// (last served + max_age) of versions that need the host: the truth, flushed or not.
    truly_needed_until: Option<Timestamp>,
    pub(crate) certificates: usize,
    pub(crate) orders_finalized: Vec<OrderId>,
    /// Whether the MX host fails whoever looks at it now.
    pub(crate) mx_fails: bool,
    /// There is no room at the MX hosts.
    pub(crate) mx_full: bool,
    /// What verified reports of the last week say.
    pub(crate) reports: ReportSums,
    /// What a rollout plan is judged by, whether there is one or not.
    history: Vec<MxDay>,
    published_since: Option<Timestamp>,
    /// When the promotion that is announced was told of.
    told_at: Option<Timestamp>,
    /// The patterns of new versions, and the hosts that DNS names.
    pub(crate) patterns: Vec<MxPattern>,
    pub(crate) mx_hosts: Vec<HostName>,
    /// Until when senders may keep a version, as edges have told.
    served: BTreeMap<PolicyVersionId, Timestamp>,
    /// The same in truth.
    truly_served: BTreeMap<PolicyVersionId, Timestamp>,
    /// The versions in `enforce` of before the migration.
    older: Vec<PolicyVersionId>,
    /// Whether a look from outside finds something wrong, and when there were such looks.
    pub(crate) hidden: bool,
    pub(crate) watched: Vec<Timestamp>,
    /// What was told of certificates that end.
    pub(crate) expiries: Vec<(Timestamp, CertificateId, u16)>,
    /// What rollout plans have done, with the time.
    pub(crate) rolled: Vec<(Timestamp, Action)>,
}

impl World {
    pub(crate) fn new(seed: u64, edges: usize) -> Self {
        let clock = ManualClock::default();
        let entropy = SeededEntropy::new(seed);
        let now = clock.now();
        let facts = DomainFacts {
            domain_id: DomainId::draw(now, &entropy),
            tenant_id: TenantId::draw(now, &entropy),
            name: MailDomain::parse("customer.test", &NameRules::allowing(["test"])).unwrap(),
            label: Label::draw(&entropy),
            zones: DomainZones::at(zone(HOME)),
            created_at: now,
            purpose: Purpose::Live,
            gone_at: None,
            nudged_at: now,
            delegation: None,
            host: HostFacts { owner: HostOwner::Nobody, content: None, revision: Revision::ZERO, changed_at: None },
            order: None,
            failed_validations: vec![],
            certificate: None,
            mx_source: MxSource::Auto,
            version: None,
            record: RecordFacts::default(),
            edges: EdgeFacts::default(),
            mx: None,
            mx_put_off: None,
            ledger: LedgerFacts::default(),
            reports: ReportFacts::default(),
            watch: None,
            rollout: None,
            migration: None,
            attempts: Attempts::default(),
            conditions: vec![],
        };
        let edge = Edge { in_service: true, position: Revision::ZERO, unflushed: vec![], covered_until: now };
        Self {
            clock,
            entropy,
            facts,
            customer: Customer::NoRecords,
            edges: vec![edge; edges],
            feed: vec![],
            head: 0,
            versions: vec![],
            answers: BTreeMap::new(),
            queued: BTreeMap::new(),
            provider_away: false,
            written_zones: vec![],
            points_at: zone(HOME),
            kept_cname: None,
            ca_url_persisted: None,
            ca: None,
            ca_refuses: false,
            failed_validations: vec![],
            truly_needed_until: None,
            certificates: 0,
            orders_finalized: vec![],
            mx_fails: false,
            mx_full: false,
            reports: ReportSums::default(),
            history: vec![],
            published_since: None,
            told_at: None,
            patterns: vec![OLD_MX.parse().unwrap()],
            mx_hosts: vec![HostName::parse(OLD_MX).unwrap()],
            served: BTreeMap::new(),
            truly_served: BTreeMap::new(),
            older: vec![],
            hidden: false,
            watched: vec![],
            expiries: vec![],
            rolled: vec![],
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What the store would gather.
    pub(crate) fn gather(&mut self) -> DomainFacts {
        let now = self.now();
        let in_service = self.edges.iter().filter(|edge| edge.in_service);
        self.facts.edges.acknowledged = in_service.clone().map(|edge| edge.position).min();
        self.facts.ledger.complete_until = in_service.map(|edge| edge.covered_until).min();
        let written = &self.written_zones;
        self.facts.record.zones_stale =
            self.facts.record.written.is_some() && self.facts.zones.all().any(|zone| !written.contains(zone));
        self.facts.record.pending = !self.queued.is_empty();
        if let Some(facts) = &mut self.facts.migration {
            facts.needed_until = self.older.iter().filter_map(|version| self.served.get(version)).copied().max();
            facts.complete_until = self.facts.ledger.complete_until;
        }
        if let Some(rollout) = &mut self.facts.rollout {
            rollout.history.clone_from(&self.history);
            rollout.published_since = self.published_since;
            rollout.reports = self.reports;
        }
        self.facts.failed_validations =
            self.failed_validations.iter().copied().filter(|at| *at + TimeDelta::hours(1) > now).collect();
        self.facts.clone()
    }

    /// Plans, carries the step out with a fault, and says what the plan was.
    pub(crate) fn work(&mut self, fault: Fault) -> Plan {
        let now = self.now();
        let facts = self.gather();
        let made = plan(&facts, now);
        self.facts.conditions.clone_from(&made.conditions);
        if let Some(step) = made.step {
            match fault {
                Fault::KilledBefore => {}
                Fault::Fails => {
                    self.facts.attempts.failed(step.kind(), "Fault", "injected", None, now);
                }
                Fault::None | Fault::KilledBetween => self.carry_out(step, fault == Fault::None),
            }
        }
        self.check();
        made
    }

    fn draw_revision(&mut self) -> Revision {
        self.head += 1;
        Revision::new(self.head)
    }

    /// A change of the name's place: feed and row in one transaction.
    fn put_host(&mut self, owner: HostOwner, content: Option<HostContentRef>) {
        let revision = self.draw_revision();
        self.feed.push((revision, content));
        self.facts.host = HostFacts { owner, content, revision, changed_at: Some(self.now()) };
    }

    fn add_version(&mut self, mode: Mode, max_age: u32) {
        let now = self.now();
        let mx: Vec<MxPattern> = if mode == Mode::None { vec![] } else { self.patterns.clone() };
        let version = VersionFacts {
            id: PolicyVersionId::draw(now, &self.entropy),
            policy_id: PolicyId::draw(now, &self.entropy),
            policy: Policy::new(mode, mx, MaxAge::new(max_age).unwrap()).unwrap(),
            created_at: now,
            served_at: None,
            verified_at: None,
            published_at: None,
        };
        assert!(self.versions.iter().all(|(_, id, ..)| *id != version.policy_id), "an id was drawn twice");
        self.versions.push((version.id, version.policy_id.clone(), mode, max_age));
        // The API's transaction: version and feed entry together.
        if self.facts.host.owner == HostOwner::Ours
            && let Some(content) = self.facts.host.content
        {
            self.put_host(HostOwner::Ours, Some(HostContentRef { version_id: version.id, ..content }));
        }
        self.facts.version = Some(version);
        if mode == Mode::None {
            self.published_since = None;
        }
    }

    /// The tenant wants a plan.
    pub(crate) fn roll_out(&mut self, fallback: Fallback) {
        if self.facts.purpose == Purpose::Live && self.facts.mode() == Some(Mode::Testing) {
            self.put_rollout(Rollout::new(RolloutPlan::usual(fallback)));
        }
    }

    fn put_rollout(&mut self, rollout: Rollout) {
        let revision = self.facts.rollout.as_ref().map_or(0, |before| before.revision) + 1;
        let (history, reports) = (vec![], ReportSums::default());
        self.facts.rollout = Some(RolloutFacts { rollout, revision, history, published_since: None, reports });
    }

    /// The tenant pauses the plan, or lets it go on.
    pub(crate) fn steer(&mut self, change: fn(Rollout) -> Option<Rollout>) {
        if let Some(changed) = self.facts.rollout.clone().and_then(|facts| change(facts.rollout)) {
            self.told_at = None;
            self.put_rollout(changed);
        }
    }

    fn advance_rollout(&mut self) {
        let now = self.now();
        let action = self.facts.rollout_next(now).and_then(|next| next.action).expect("something follows");
        let before = self.facts.rollout.clone().expect("a plan").rollout;
        match &action {
            Action::Announce { at, .. } => {
                assert!(*at >= now + TimeDelta::hours(24), "the tenant has less than a day to pause it");
                self.told_at = Some(now);
            }
            Action::Enter { step, policy } => {
                if *step > 0 {
                    self.check_proof(now);
                    assert_eq!(*step, before.step + 1, "a step was left out");
                }
                assert!(policy.mode() == Mode::Testing || *step > 0);
            }
            Action::FallBack { .. } => assert!(self.reports.bad > 0, "fell back without a verified failure"),
            _ => {}
        }
        if !matches!(action, Action::Announce { .. }) {
            self.told_at = None;
        }
        if let Action::Enter { policy, .. } | Action::FallBack { policy, .. } = &action
            && self.facts.version.as_ref().is_none_or(|version| version.policy != *policy)
        {
            self.add_version(policy.mode(), policy.max_age().seconds());
        }
        self.put_rollout(before.after(&action, now));
        self.rolled.push((now, action));
    }

    /// The tenant begins to move to another MX host.
    pub(crate) fn migrate(&mut self) {
        let Some(mode) = self.facts.mode().filter(|mode| *mode != Mode::None) else { return };
        if self.facts.purpose != Purpose::Live || self.facts.migration.is_some() {
            return;
        }
        let max_age = self.facts.version.as_ref().expect("a version").policy.max_age().seconds();
        self.older =
            self.versions.iter().filter(|version| version.2 == Mode::Enforce).map(|version| version.0).collect();
        let migration = Migration {
            from: vec![OLD_MX.parse().unwrap()],
            to: vec![NEW_MX.parse().unwrap()],
            created_at: self.now(),
            safe_to_point_mx_at: None,
            absent_since: None,
            confirmed_at: None,
        };
        self.patterns = vec![OLD_MX.parse().unwrap(), NEW_MX.parse().unwrap()];
        self.add_version(mode, max_age);
        self.facts.migration = Some(MigrationFacts {
            migration,
            revision: 1,
            served_at: None,
            published_at: None,
            needed_until: None,
            complete_until: None,
        });
    }

    /// The tenant lets MX records name this host alone.
    pub(crate) fn point_mx(&mut self, host: &str) {
        self.mx_hosts = vec![HostName::parse(host).unwrap()];
    }

    /// Until when a sender that enforces knows the old host alone, in truth.
    pub(crate) fn truly_narrow_until(&self) -> Option<Timestamp> {
        self.older.iter().filter_map(|version| self.truly_served.get(version)).copied().max()
    }

    fn advance_migration(&mut self) {
        let now = self.now();
        let action = self.facts.migration_next(now).0.expect("something follows");
        let facts = self.facts.migration.as_mut().expect("a migration");
        match action {
            migration::Action::Schedule { safe_to_point_mx_at } => {
                facts.migration.safe_to_point_mx_at = Some(safe_to_point_mx_at);
                let needed = self.truly_narrow_until();
                assert!(needed.is_none_or(|until| until <= safe_to_point_mx_at), "a sender knows the old host alone");
            }
            migration::Action::Narrow { policy } => {
                assert!(self.truly_narrow_until().is_none_or(|until| until <= now), "narrowed too early");
                let seen = self.facts.mx.as_ref().expect("a look");
                assert!(seen.hosts.iter().all(|mx| policy.covers(&mx.host)), "an MX host left the policy");
                self.patterns = policy.mx().to_vec();
                self.facts.migration = None;
                self.add_version(policy.mode(), policy.max_age().seconds());
            }
            migration::Action::Overrule => self.facts.migration = None,
        }
    }

    /// Invariant 6, by what is true and not by what the plan says.
    fn check_proof(&self, now: Timestamp) {
        let seen = self.facts.mx.as_ref().expect("invariant 6: enforce without a look");
        assert!(now - seen.at <= TimeDelta::hours(24), "invariant 6: the look is old");
        assert!(seen.hosts.iter().all(|mx| mx.failure.is_none()), "invariant 6: an MX host fails");
        let version = self.facts.version.as_ref().expect("a version");
        assert!(seen.hosts.iter().all(|mx| version.policy.covers(&mx.host)), "invariant 6: an MX host is not covered");
        assert!(version.published_at.is_some(), "the step before was never published");
        let week = self.history.iter().filter(|day| now - day.last_seen_at < TimeDelta::days(7));
        assert!(week.clone().all(|day| day.last_failed_at.is_none()), "a host failed within the week");
        assert!(week.count() > 0);
        let since = self.published_since.expect("never published");
        assert!(now - since >= TimeDelta::days(14), "enforce after {} of testing", now - since);
        assert!(self.reports.sessions() >= 100 && self.reports.reporters >= 2, "too few reports");
        assert!(self.reports.bad * 1_000 <= self.reports.sessions() * 5, "verified failures");
        let told_at = self.told_at.expect("the tenant was not told");
        assert!(now - told_at >= TimeDelta::hours(24), "the tenant was told too late");
    }

    pub(crate) fn set_mode(&mut self, mode: Mode, max_age: u32) {
        if self.facts.version.is_some() && self.facts.purpose == Purpose::Live {
            self.add_version(mode, max_age);
        }
    }

    pub(crate) fn withdraw(&mut self) {
        if self.facts.purpose == Purpose::Live {
            self.facts.purpose = Purpose::Withdraw { since: self.now(), forced: false };
            self.add_version(Mode::None, WITHDRAWAL_MAX_AGE);
        }
    }

    /// The operator has the domain go at once.
    pub(crate) fn force_out(&mut self) {
        self.withdraw();
        if let Purpose::Withdraw { forced, .. } = &mut self.facts.purpose {
            *forced = true;
        }
    }

    pub(crate) fn verify_now(&mut self) {
        self.clock.advance(TimeDelta::milliseconds(1));
        self.facts.nudged_at = self.now();
    }

    pub(crate) fn edge_catches_up(&mut self, index: usize) {
        let head = Revision::new(self.head);
        if let Some(edge) = self.edges.get_mut(index) {
            edge.position = head;
        }
    }

    /// An edge that comes back serves only after it has caught up.
    pub(crate) fn edge_toggles(&mut self, index: usize) {
        let head = Revision::new(self.head);
        let now = self.now();
        if let Some(edge) = self.edges.get_mut(index) {
            edge.in_service = !edge.in_service;
            if edge.in_service {
                edge.position = head;
            } else {
                // A drain flushes.
                self.flush(index, now);
            }
        }
    }

    /// What senders are answered at the end of the customer's CNAME.
    pub(crate) fn answer(&self) -> Option<PolicyVersionId> {
        self.answers.get(&self.points_at).copied()
    }

    /// The provider takes what is queued.
    pub(crate) fn provider_works(&mut self) {
        if self.provider_away {
            return;
        }
        for (zone, version) in std::mem::take(&mut self.queued) {
            match version {
                Some(version) => self.answers.insert(zone, version),
                None => self.answers.remove(&zone),
            };
        }
    }

    /// The operator gives the home up.
    pub(crate) fn drain(&mut self) {
        let zones = &mut self.facts.zones;
        if zones.next.is_none() && zones.former.is_none() && self.facts.purpose == Purpose::Live {
            let other = if zones.home.as_str() == HOME { OTHER } else { HOME };
            zones.next = Some(zone(other));
        }
    }

    /// The customer sets the CNAMEs as they are shown; resolvers keep the old ones for a day.
    pub(crate) fn customer_follows(&mut self) {
        if self.points_at != self.facts.zones.home {
            let left = std::mem::replace(&mut self.points_at, self.facts.zones.home.clone());
            self.kept_cname = Some((left, self.now() + TimeDelta::hours(24)));
        }
    }

    fn flush(&mut self, index: usize, now: Timestamp) {
        let Some(edge) = self.edges.get_mut(index) else { return };
        for (version, max_age, needs, at) in edge.unflushed.drain(..) {
            let until = at + TimeDelta::seconds(i64::from(max_age));
            self.served.entry(version).and_modify(|old| *old = until.max(*old)).or_insert(until);
            if needs {
                let old = self.facts.ledger.needed_until;
                self.facts.ledger.needed_until = Some(old.map_or(until, |old| old.max(until)));
            }
        }
        edge.covered_until = now;
    }

    pub(crate) fn edge_flushes(&mut self, index: usize) {
        let now = self.now();
        self.flush(index, now);
    }

    fn content_at(&self, position: Revision) -> Option<HostContentRef> {
        self.feed.iter().rev().find(|(revision, _)| *revision <= position).and_then(|(_, content)| *content)
    }

    pub(crate) fn sender_fetches(&mut self, index: usize) {
        let now = self.now();
        let Some(edge) = self.edges.get(index) else { return };
        if !edge.in_service || self.customer != Customer::Delegated {
            return;
        }
        let Some(content) = self.content_at(edge.position) else { return };
        let (_, _, mode, max_age) =
            self.versions.iter().find(|(id, ..)| *id == content.version_id).cloned().expect("a known version");
        let until = now + TimeDelta::seconds(i64::from(max_age));
        self.truly_served.entry(content.version_id).and_modify(|old| *old = until.max(*old)).or_insert(until);
        let needs = mode != Mode::None;
        if needs {
            let until = now + TimeDelta::seconds(i64::from(max_age));
            self.truly_needed_until = Some(self.truly_needed_until.map_or(until, |old| old.max(until)));
        }
        self.edges[index].unflushed.push((content.version_id, max_age, needs, now));
    }

    fn observe(&mut self) {
        let now = self.now();
        let cname = match self.customer {
            Customer::NoRecords => CnameSeen::Missing,
            Customer::Delegated => CnameSeen::Ours,
            Customer::OtherTenant => CnameSeen::OtherLabel { target: "other.edge.sts.test".into() },
            Customer::Elsewhere => CnameSeen::Elsewhere { target: "elsewhere.example".into() },
        };
        let before = self.facts.delegation.as_ref().and_then(|seen| seen.lost_since);
        let lost_since = if cname == CnameSeen::Ours { None } else { Some(before.unwrap_or(now)) };
        let at_home = cname == CnameSeen::Ours && self.points_at == self.facts.zones.home;
        let home_before = self.facts.delegation.as_ref().and_then(|seen| seen.home_since);
        self.facts.delegation = Some(DelegationSeen {
            policy_host: cname.clone(),
            sts_record: cname.clone(),
            tls_rpt_record: cname,
            acme_challenge: CnameSeen::Missing,
            at: now,
            lost_since,
            home_since: at_home.then(|| home_before.unwrap_or(now)),
        });
    }

    fn enter(&mut self, state: OrderState) {
        let now = self.now();
        let order = self.facts.order.as_mut().expect("a live order");
        order.state = state;
        order.since = now;
    }

    fn carry_out(&mut self, step: Step, commits: bool) {
        let now = self.now();
        let kind = step.kind();
        // Steps whose whole effect is the commit.
        let outside_only = !commits;
        match step {
            Step::WriteRecords { version } => {
                let zones: Vec<ZoneName> = self.facts.zones.all().cloned().collect();
                self.queued.extend(zones.iter().map(|zone| (zone.clone(), Some(version))));
                if commits {
                    self.facts.record.written = Some(version);
                    self.facts.record.written_at = Some(now);
                    self.written_zones = zones;
                }
            }
            Step::EnterZone if commits => {
                let zones = &mut self.facts.zones;
                let next = zones.next.take().expect("a zone to enter");
                // A first write whose worker was killed before it was recorded answers in the home alone. Nobody was told
                // that it is published, and it goes on standing there until no CNAME leads there.
                if self.facts.record.written.is_some() && self.answers.contains_key(&zones.home) {
                    assert_eq!(
                        self.answers.get(&next),
                        self.answers.get(&zones.home),
                        "the new home answers otherwise"
                    );
                }
                zones.former = Some(std::mem::replace(&mut zones.home, next));
                // The looks so far were at another home.
                if let Some(seen) = &mut self.facts.delegation {
                    seen.home_since = None;
                }
            }
            Step::LeaveZone => {
                let former = self.facts.zones.former.clone().expect("a zone to leave");
                self.queued.insert(former.clone(), None);
                if commits {
                    self.written_zones.retain(|zone| *zone != former);
                    self.facts.zones.former = None;
                }
            }
            Step::PlaceOrder { order } => {
                self.ca = Some((order, CaOrder::Pending));
                if commits {
                    assert!(self.ca_url_persisted != Some(order), "an order was placed twice");
                    self.ca_url_persisted = Some(order);
                    self.enter(OrderState::Placed);
                }
            }
            Step::AnswerChallenge { order } => {
                if let Some((id, state @ CaOrder::Pending)) = &mut self.ca
                    && *id == order
                {
                    *state = CaOrder::Validating;
                }
                if commits {
                    self.enter(OrderState::Answered);
                }
            }
            Step::FinalizeOrder { order } => {
                if let Some((id, state @ CaOrder::Ready)) = &mut self.ca
                    && *id == order
                {
                    *state = CaOrder::Valid;
                    self.orders_finalized.push(order);
                }
                if commits {
                    self.enter(OrderState::Finalizing);
                }
            }
            Step::PollOrder { order } => self.poll(order, commits),
            Step::RemoveRecords => {
                // The step ends only when the servers have forgotten.
                if self.provider_away {
                    self.facts.attempts.failed(kind, "RecordsLag", "the provider is away", None, now);
                    return;
                }
                self.queued.clear();
                self.answers.clear();
                if commits {
                    self.written_zones.clear();
                    self.facts.record = RecordFacts { removed_at: Some(now), ..RecordFacts::default() };
                }
            }
            _ if outside_only => return,
            Step::EnterZone => {}
            Step::ObserveDelegation => self.observe(),
            Step::DiscoverMx => self.add_version(Mode::Testing, 604_800),
            Step::ProbeMx if self.mx_full => {
                self.facts.mx_put_off = Some(MxPutOff { at: now, until: now + TimeDelta::minutes(10) });
            }
            Step::ProbeMx => {
                let host = self.mx_hosts[0].clone();
                let failure = MxFailure { code: "certificate-expired".to_owned(), message: "expired".to_owned() };
                let failure = self.mx_fails.then_some(failure);
                self.history.retain(|day| now - day.last_seen_at < TimeDelta::days(30));
                self.history.push(MxDay {
                    host: host.clone(),
                    first_seen_at: now,
                    last_seen_at: now,
                    last_failed_at: failure.is_some().then_some(now),
                });
                let others = self.mx_hosts.iter().skip(1).cloned();
                let others = others.map(|host| MxHostSeen { host, preference: 20, failure: None, looked_at: None });
                let hosts = std::iter::once(MxHostSeen { host, preference: 10, failure, looked_at: None })
                    .chain(others)
                    .collect();
                let seen = MxSeen { hosts, at: now };
                if let Some(facts) = &mut self.facts.migration {
                    let absent = !facts.migration.is_pointed_at(&seen);
                    facts.migration.absent_since =
                        if absent { facts.migration.absent_since.or(Some(now)) } else { None };
                }
                self.facts.mx = Some(seen);
            }
            Step::Watch { version } => {
                assert_eq!(
                    self.facts.version.as_ref().map(|newest| newest.id),
                    Some(version),
                    "looked for an old version"
                );
                let problem =
                    self.hidden.then(|| WatchProblem { code: "hidden".to_owned(), message: "hidden".to_owned() });
                self.watched.push(now);
                self.facts.watch = Some(WatchFacts::after(self.facts.watch.as_ref(), now, version, problem));
            }
            Step::TellOfExpiry { certificate, days } => {
                let facts = self.facts.certificate.as_mut().expect("a certificate");
                assert_eq!(facts.id, certificate);
                assert!(facts.told_days.is_none_or(|told| told > days), "told twice");
                assert!(facts.not_after - now <= TimeDelta::days(days.into()), "told too early");
                facts.told_days = Some(days);
                self.expiries.push((now, certificate, days));
            }
            Step::AdvanceRollout => self.advance_rollout(),
            Step::AdvanceMigration => self.advance_migration(),
            Step::TakeHost => {
                assert_eq!(self.customer_label(), HostOwner::Ours, "took a host on a stale look");
                self.put_host(HostOwner::Ours, None);
            }
            Step::ReleaseHost => {
                let withdrawn = matches!(self.facts.purpose, Purpose::Withdraw { forced: false, .. });
                if withdrawn && self.customer == Customer::Delegated && self.saw_delegated() {
                    assert!(
                        self.truly_needed_until.is_none_or(|until| until <= now),
                        "invariant 5: a sender may still hold a policy until {:?}, and it is {now}",
                        self.truly_needed_until
                    );
                }
                self.put_host(HostOwner::Nobody, None);
            }
            Step::DraftOrder => {
                assert!(self.facts.order.is_none(), "invariant 9: two live orders");
                let id = OrderId::draw(now, &self.entropy);
                self.facts.order = Some(OrderFacts { id, state: OrderState::Drafted, since: now, not_before: None });
            }
            Step::PublishChallenge { .. } => {
                let revision = self.draw_revision();
                self.enter(OrderState::ChallengePublished { revision });
            }
            Step::AbandonOrder { .. } => self.facts.order = None,
            Step::RefreshAdvice { .. } => {
                self.facts.certificate.as_mut().expect("a certificate").advice_due_at = Some(now + TimeDelta::hours(6));
            }
            Step::ServeHost { version, certificate } => {
                assert_eq!(self.facts.host.owner, HostOwner::Ours, "invariant 3");
                self.put_host(
                    HostOwner::Ours,
                    Some(HostContentRef { version_id: version, certificate_id: certificate }),
                );
            }
            Step::MarkServed { .. } => {
                let revision = self.facts.host.revision;
                let lagging = self.edges.iter().any(|edge| edge.in_service && edge.position < revision);
                assert!(!lagging, "marked as served while an edge lacks it");
                self.version().served_at = Some(now);
                if let Some(facts) = &mut self.facts.migration {
                    facts.served_at.get_or_insert(now);
                }
            }
            Step::VerifyServed { .. } => self.version().verified_at = Some(now),
            Step::ConfirmRecords { version } => {
                if self.facts.zones.all().all(|zone| self.answers.get(zone) == Some(&version)) {
                    self.facts.record.confirmed = Some(version);
                    self.facts.record.confirmed_at = Some(now);
                    self.version().published_at.get_or_insert(now);
                    if let Some(facts) = &mut self.facts.migration {
                        facts.published_at.get_or_insert(now);
                    }
                    let none = self.facts.mode() == Some(Mode::None);
                    self.published_since = if none { None } else { self.published_since.or(Some(now)) };
                } else {
                    self.facts.attempts.failed(kind, "NotShown", "the zone answers otherwise", None, now);
                    return;
                }
            }
            Step::Finish => {
                assert!(self.answers.is_empty() && self.queued.is_empty(), "records were left behind");
                assert_ne!(self.facts.host.owner, HostOwner::Ours);
                self.facts.purpose = Purpose::Gone;
                self.facts.gone_at = Some(now);
            }
        }
        if commits {
            self.facts.attempts.succeeded(kind);
        }
    }

    fn poll(&mut self, order: OrderId, commits: bool) {
        let now = self.now();
        let Some((id, state)) = &mut self.ca else { return };
        if *id != order {
            return;
        }
        match *state {
            CaOrder::Validating => {
                let passes = self.customer == Customer::Delegated && !self.ca_refuses;
                *state = if passes { CaOrder::Ready } else { CaOrder::Invalid };
                if !passes {
                    self.failed_validations.push(now);
                }
            }
            CaOrder::Ready if commits => self.enter(OrderState::Ready),
            CaOrder::Valid if commits => {
                self.certificates += 1;
                self.facts.order = None;
                self.facts.certificate = Some(CertificateFacts {
                    id: CertificateId::draw(now, &self.entropy),
                    not_after: now + TimeDelta::days(90),
                    renew_at: now + TimeDelta::days(60),
                    advice_due_at: Some(now + TimeDelta::hours(6)),
                    told_days: None,
                });
                self.facts.attempts.succeeded(StepKind::Issuance);
            }
            CaOrder::Invalid if commits => {
                self.facts.order = None;
                self.facts.attempts.failed(StepKind::Issuance, "ValidationFailed", "refused", None, now);
            }
            _ => {}
        }
    }

    fn version(&mut self) -> &mut VersionFacts {
        self.facts.version.as_mut().expect("a version")
    }

    fn customer_label(&self) -> HostOwner {
        match self.facts.delegation.as_ref().map(|seen| &seen.policy_host) {
            Some(CnameSeen::Ours) => HostOwner::Ours,
            _ => HostOwner::Other,
        }
    }

    fn saw_delegated(&self) -> bool {
        self.customer_label() == HostOwner::Ours
    }

    /// What must hold at every moment.
    fn check(&self) {
        // Invariant 1: every in-service edge has the named version's body, or a later one.
        for version in self.answers.values().copied() {
            let first = self.feed.iter().find(|(_, content)| content.is_some_and(|c| c.version_id == version));
            let (revision, _) = first.expect("the record names a version that was never served");
            for edge in self.edges.iter().filter(|edge| edge.in_service) {
                assert!(edge.position >= *revision, "invariant 1: an edge lacks the version that the record names");
            }
        }
        // A move leaves no gap: wherever a CNAME leads, also one that a resolver has kept, there is an answer as long as
        // the domain is published.
        let kept = self.kept_cname.as_ref().filter(|(_, until)| *until > self.now()).map(|(zone, _)| zone);
        let watched = self.facts.purpose == Purpose::Live && self.facts.record.confirmed_at.is_some();
        if watched && !self.answers.is_empty() {
            for zone in [Some(&self.points_at), kept].into_iter().flatten() {
                assert!(self.answers.contains_key(zone), "no answer in {zone}, where a CNAME leads");
            }
        }
        // Invariant 3: nothing is served but for the holder of the place.
        assert!(self.facts.host.content.is_none() || self.facts.host.owner == HostOwner::Ours, "invariant 3");
        // Invariant 9: failed validations per hour.
        for at in &self.failed_validations {
            let within =
                self.failed_validations.iter().filter(|b| **b >= *at && **b < *at + TimeDelta::hours(1)).count();
            assert!(
                within <= MAX_FAILED_VALIDATIONS_PER_HOUR,
                "invariant 9: {within} failed validations within an hour"
            );
        }
        // Invariant 2: one id per version.
        if let Some(version) = &self.facts.version
            && version.published_at.is_some()
        {
            assert!(version.verified_at.is_some() && version.served_at.is_some(), "published before it was proved");
        }
        let mut finalized = self.orders_finalized.clone();
        finalized.dedup();
        assert_eq!(finalized.len(), self.orders_finalized.len(), "one certificate per order");
    }

    /// Lets time pass as the plan says, without faults, until `done` or `most` plans were made.
    pub(crate) fn settle(&mut self, most: usize, done: impl Fn(&DomainFacts) -> bool) -> bool {
        for _ in 0..most {
            for index in 0..self.edges.len() {
                self.edge_catches_up(index);
                self.edge_flushes(index);
            }
            self.provider_away = false;
            self.provider_works();
            let made = self.work(Fault::None);
            if done(&self.facts) {
                return true;
            }
            if made.step.is_none() {
                let Some(wake_at) = made.wake_at else { return false };
                assert!(wake_at > self.now(), "a plan without a step must wait: {wake_at} is not after {}", self.now());
                self.clock.set(wake_at);
            }
        }
        false
    }
}
