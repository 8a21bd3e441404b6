//! What tenants are told of their reports. The tables are filled by hand: what fills them is tested elsewhere.

pub(crate) mod setup;

use chrono::TimeDelta;
use mtasts_model::{AlertKind, ArrivalId, Clock, DomainId, SystemEntropy, event::AlertState};
use mtasts_store::{Actor, AlertMemory, ReportSettings};
use mtasts_testkit::wait_until;

use self::setup::Setup;
use crate::world::PATIENCE;

#[tokio::test]
async fn a_new_failure_is_told_once_however_often_it_is_reported() {
    let setup = Setup::new().await;
    let domain = setup.domain("example.com").await;
    let _workers = (setup.start(), setup.start());
    setup.failure(domain, "certificate-expired", "mx1.example.com", true).await;
    setup.failure(domain, "starttls-not-supported", "", false).await;
    setup.touch(domain, 1).await;
    setup.settled().await;
    let told = setup.events("report.failure_new").await;
    assert_eq!(told.len(), 2, "{told:?}");
    let verified = told.iter().find(|data| data["result"] == "certificate-expired").unwrap();
    assert_eq!((&verified["receiving_mx"], &verified["verified"]), (&"mx1.example.com".into(), &true.into()));
    assert_eq!(verified["domain"], "example.com");
    let other = told.iter().find(|data| data["result"] == "starttls-not-supported").unwrap();
    assert!(other["receiving_mx"].is_null() && other["verified"] == false);
    for _ in 0..3 {
        setup.touch(domain, 1).await;
        setup.settled().await;
    }
    assert_eq!(setup.events("report.failure_new").await.len(), 2);
    // Another one on a domain of another tenant is told there.
    assert!(setup.events_of(setup.stranger, "report.failure_new").await.is_empty());
}

#[tokio::test]
async fn the_failure_rate_rings_by_verified_reports_and_ends_on_a_better_day() {
    let setup = Setup::new().await;
    let domain = setup.domain("example.com").await;
    let _worker = setup.start();
    setup.sums(domain, 1, "anonymous", 0, 5000).await;
    setup.sums(domain, 1, "verified", 99, 1).await;
    setup.touch(domain, 1).await;
    setup.settled().await;
    assert!(setup.events("report.failure_rate").await.is_empty(), "anybody can send such");
    setup.sums(domain, 1, "verified", 90, 10).await;
    setup.touch(domain, 1).await;
    setup.settled().await;
    let states = async || -> Vec<_> {
        let told = setup.events("report.failure_rate").await;
        told.iter().map(|data| serde_json::from_value::<AlertState>(data["state"].clone()).unwrap()).collect()
    };
    assert_eq!(states().await, [AlertState::Raised]);
    // The same day tells nothing more, be it better or worse.
    setup.sums(domain, 1, "verified", 10_000, 10).await;
    setup.touch(domain, 1).await;
    setup.settled().await;
    assert_eq!(states().await.len(), 1);
    setup.sums(domain, 0, "verified", 1000, 0).await;
    setup.touch(domain, 0).await;
    setup.settled().await;
    assert_eq!(states().await, [AlertState::Cleared, AlertState::Raised], "newest first");
    setup.touch(domain, 0).await;
    setup.settled().await;
    assert_eq!(states().await.len(), 2, "and it is remembered");
}

#[tokio::test]
async fn unverified_reports_count_where_the_tenant_says_so_and_an_alert_that_is_off_is_silent() {
    let setup = Setup::new().await;
    let domain = setup.domain("example.com").await;
    setup
        .set(ReportSettings {
            alerts: vec![AlertKind::FailureRate],
            count_unverified: true,
            ..ReportSettings::default()
        })
        .await;
    let _worker = setup.start();
    setup.sums(domain, 1, "anonymous", 0, 100).await;
    setup.failure(domain, "certificate-expired", "mx1.example.com", true).await;
    setup.touch(domain, 1).await;
    setup.settled().await;
    assert_eq!(setup.events("report.failure_rate").await.len(), 1);
    assert!(setup.events("report.failure_new").await.is_empty());
    // Switched on later, it does not tell of the past.
    setup.set(ReportSettings::default()).await;
    setup.touch(domain, 1).await;
    setup.settled().await;
    assert!(setup.events("report.failure_new").await.is_empty());
}

#[tokio::test]
async fn a_reporter_that_falls_silent_is_told_without_any_further_report_and_so_is_its_return() {
    let setup = Setup::new().await;
    let domain = setup.domain("example.com").await;
    let _worker = setup.start();
    setup.reporter(domain, "Org", true, 1).await;
    setup.reporter(domain, "Forger", false, 1).await;
    setup.touch(domain, 1).await;
    setup.settled().await;
    assert!(setup.events("report.reporter_silent").await.is_empty());
    // The day after the third one without a report is over: nobody touches the domain.
    setup.clock.advance(TimeDelta::days(4) + TimeDelta::hours(6));
    setup.settled().await;
    let told = setup.events("report.reporter_silent").await;
    let [told] = &told[..] else { panic!("told once: {told:?}") };
    assert_eq!((&told["organization"], &told["kind"]), (&"Org".into(), &"tls-rpt".into()));
    setup.clock.advance(TimeDelta::days(4));
    setup.touch(domain, 1).await;
    setup.settled().await;
    assert_eq!(setup.events("report.reporter_silent").await.len(), 1);
    setup.reporter(domain, "Org", true, 1).await;
    setup.touch(domain, 1).await;
    setup.settled().await;
    assert_eq!(setup.events("report.reporter_back").await.len(), 1);
    setup.touch(domain, 1).await;
    setup.settled().await;
    assert_eq!(setup.events("report.reporter_back").await.len(), 1);
}

#[tokio::test]
async fn what_could_not_be_read_is_told_once_an_hour_with_how_many_there_are() {
    let setup = Setup::new().await;
    let domain = setup.domain("example.com").await;
    let _worker = setup.start();
    let aside = async |reason: &str| {
        let arrival = ArrivalId::draw(setup.clock.now(), &SystemEntropy);
        setup.worker.tell_of_quarantine((domain, setup.tenant), (arrival, reason), setup.clock.now()).await.unwrap();
        arrival
    };
    aside("not-json").await;
    setup.settled().await;
    assert_eq!(setup.events("report.quarantined").await.len(), 1);
    aside("too-large").await;
    let last = aside("not-xml").await;
    setup.settled().await;
    assert_eq!(setup.events("report.quarantined").await.len(), 1, "the hour is not over");
    setup.clock.advance(TimeDelta::hours(1));
    setup.settled().await;
    let told = setup.events("report.quarantined").await;
    assert_eq!(told.len(), 2);
    assert_eq!((&told[0]["arrivals"], &told[0]["reason"]), (&2.into(), &"not-xml".into()));
    assert_eq!(told[0]["arrival_id"], last.to_string());
    aside("not-json").await;
    setup.settled().await;
    assert_eq!(setup.events("report.quarantined").await.len(), 2, "another hour begins");
}

#[tokio::test]
async fn a_worker_that_dies_before_it_commits_has_told_nothing_and_another_tells_it_once() {
    let setup = Setup::new().await;
    let domain = setup.domain("example.com").await;
    setup.failure(domain, "certificate-expired", "mx1.example.com", true).await;
    setup.touch(domain, 1).await;
    let now = setup.clock.now();
    let mut tx = setup.worker.alert_tx(domain, now).await.unwrap().unwrap();
    let facts = tx.facts().await.unwrap();
    let event = mtasts_model::event::FailureNew {
        domain: facts.domain.clone(),
        result: "certificate-expired".to_owned(),
        receiving_mx: None,
        first_day: now.date_naive(),
        sessions: 1,
        verified: true,
    };
    tx.tell(event.into()).await.unwrap();
    let memory = AlertMemory {
        alert: AlertKind::FailureNew,
        subject: facts.failures[0].subject(),
        raised: false,
        day: now.date_naive(),
    };
    tx.remember(&memory).await.unwrap();
    // While one is at it, nobody else is, and who has something new waits for its end.
    assert!(setup.worker.alert_tx(domain, now).await.unwrap().is_none());
    drop(tx);
    let _worker = setup.start();
    setup.settled().await;
    let told = setup.events("report.failure_new").await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["receiving_mx"], "mx1.example.com");
}

#[tokio::test]
async fn a_report_that_is_read_during_a_look_is_looked_at_afterwards() {
    let setup = Setup::new().await;
    let domain = setup.domain("example.com").await;
    setup.touch(domain, 1).await;
    let tx = setup.worker.alert_tx(domain, setup.clock.now()).await.unwrap().unwrap();
    let (store, tenant, now) = (setup.worker.clone(), setup.tenant, setup.clock.now());
    let touching = tokio::spawn(async move {
        store.look_at_reports(domain, tenant, now.date_naive(), now).await.unwrap();
    });
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    wait_until(PATIENCE, "it waits", async || setup.database.psql(waiting).await.trim() == "1").await;
    tx.settle(None, false).await.unwrap();
    touching.await.unwrap();
    assert_eq!(setup.queued().await, 1);
}

#[tokio::test]
async fn a_domain_that_is_gone_is_told_of_no_more_and_one_that_fails_holds_up_nobody() {
    let setup = Setup::new().await;
    let (gone, broken, sound) =
        (setup.domain("gone.example").await, setup.domain("broken.example").await, setup.domain("sound.example").await);
    for domain in [gone, broken, sound] {
        setup.failure(domain, "certificate-expired", "mx1.example.com", true).await;
    }
    setup.sql(&format!("UPDATE domains SET state = 'gone' WHERE id = '{}'", gone.as_uuid())).await;
    // A word that this version does not know.
    setup.reporter(broken, "Org", true, 1).await;
    setup.sql("ALTER TABLE reporters DROP CONSTRAINT reporters_kind_check; UPDATE reporters SET kind = 'new'").await;
    for domain in [gone, broken, sound] {
        setup.touch(domain, 1).await;
    }
    let _worker = setup.start();
    wait_until(PATIENCE, "the sound one is told", async || setup.events("report.failure_new").await.len() == 1).await;
    setup.settled().await;
    assert_eq!(setup.events("report.failure_new").await[0]["domain"], "sound.example");
    assert_eq!(setup.queued().await, 1, "the broken one is tried again");
}

#[tokio::test]
async fn a_replay_of_days_long_gone_is_no_news() {
    let setup = Setup::new().await;
    let domain = setup.domain("example.com").await;
    setup.touch(domain, 60).await;
    assert_eq!(setup.queued().await, 0);
}

impl Setup {
    async fn set(&self, settings: ReportSettings) {
        let mut tx = self.api.tenant_tx(self.tenant).await.unwrap();
        tx.set_report_settings(&settings, &Actor::operator(), self.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Waits until nothing is due any more.
    async fn settled(&self) {
        self.clock.advance(TimeDelta::seconds(30));
        // While a look is under way, its domain is still due for others.
        wait_until(PATIENCE, "all is looked at", async || {
            self.worker.due_alerts(10, self.clock.now()).await.unwrap().domains.is_empty()
        })
        .await;
    }

    async fn touch(&self, domain: DomainId, days_ago: i64) {
        let now = self.clock.now();
        let day = (now - TimeDelta::days(days_ago)).date_naive();
        self.worker.look_at_reports(domain, self.tenant, day, now).await.unwrap();
        self.clock.advance(TimeDelta::seconds(30));
    }
}
