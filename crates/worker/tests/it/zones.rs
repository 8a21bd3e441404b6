//! Zones at DNS providers: batches, faults (row 7 of the faults to survive), drift, and moves between zones.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use mtasts_certs::Issuer;
use mtasts_dns::Known;
use mtasts_model::{
    Clock, ConditionKind, Mode, Status, StsRecord,
    feed::RecordType,
    label::{DelegationPurpose, Placement},
};
use mtasts_store::DomainView;
use mtasts_testkit::wait_until;
use mtasts_worker::{Hosting, Worker, WorkerConfig, Zones};

use crate::world::{Hosted, Mood, OTHER_ZONE, PATIENCE, Running, World, ZONE, config, status};

fn hosting(id: &str, provider: &Hosted) -> Hosting {
    Hosting { id: id.to_owned(), provider: Arc::new(provider.clone()), is_authoritative: true, is_draining: false }
}

fn zones(hostings: Vec<Hosting>) -> Zones {
    let placement = Placement::only(hostings[0].provider.zone().clone());
    let mut zones = Zones::one(Arc::clone(&hostings[0].provider));
    zones.hostings = hostings;
    zones.placement = placement;
    zones.infrastructure.edge_addresses = vec!["127.0.0.1".parse().unwrap()];
    zones
}

fn start(world: &World, config: WorkerConfig, zones: Zones) -> Running {
    let issuer: Arc<dyn Issuer> = Arc::new(world.ca.clone());
    Running::new(Worker::new(config, world.deps(issuer, zones)))
}

fn record(domain: &DomainView, zone: &str) -> String {
    DelegationPurpose::StsRecord.target(&domain.label, &zone.parse().unwrap())
}

fn id_of(domain: &DomainView) -> Vec<String> {
    vec![StsRecord::new(domain.version.as_ref().unwrap().policy_id.clone()).to_string()]
}

#[tokio::test]
async fn a_record_at_a_provider_is_written_read_back_and_changed_by_its_reference() {
    let world = World::new().await;
    let provider = Hosted::start(ZONE).await;
    let _worker = start(&world, config("w"), zones(vec![hosting("main", &provider)]));
    let domain = world.publish(world.tenant().await, "customer.test").await;
    let name = record(&domain, ZONE);
    assert_eq!(provider.txt(&name), Some(id_of(&domain)));
    world.set_mode(&domain, Mode::None).await;
    let changed = world.published(&domain).await;
    assert_eq!(provider.txt(&name), Some(id_of(&changed)));
    let known: Vec<_> = provider
        .calls()
        .into_iter()
        .flatten()
        .filter(|change| change.name == name)
        .map(|change| change.known)
        .collect();
    assert_eq!(known[0], Known::Never, "a fresh label needs no look");
    assert!(matches!(known[1], Known::At(_)), "{known:?}");
}

#[tokio::test]
async fn a_provider_that_is_away_delays_its_own_zone_only_and_the_id_moves_when_it_is_back() {
    let world = World::new().await;
    let (down, up) = (Hosted::start(ZONE).await, Hosted::start(OTHER_ZONE).await);
    down.set_mood(Mood::Away);
    let _worker = start(&world, config("w"), zones(vec![hosting("down", &down), hosting("up", &up)]));
    let tenant = world.tenant().await;
    let waiting = world.register(tenant, "waiting.test").await;
    world.delegate(&waiting);
    world.verify(&waiting).await;
    world
        .view_when(&waiting, "the condition names the provider", |view| {
            status(view, ConditionKind::RecordPublished) == (Status::False, "DnsProviderUnavailable")
        })
        .await;
    let other = world.register_in(tenant, "other.test", OTHER_ZONE).await;
    world.delegate(&other);
    world.verify(&other).await;
    let other = world.published(&other).await;
    assert_eq!(up.txt(&record(&other, OTHER_ZONE)), Some(id_of(&other)));
    assert!(world.view(&waiting).await.version.unwrap().published_at.is_none(), "no write was confirmed");
    down.set_mood(Mood::Fine);
    let published = world.published(&waiting).await;
    assert_eq!(down.txt(&record(&waiting, ZONE)), Some(id_of(&published)));
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_looked_for_and_not_repeated_blindly() {
    let world = World::new().await;
    let provider = Hosted::start(ZONE).await;
    provider.set_mood(Mood::AnswersLost);
    let _worker = start(&world, config("w"), zones(vec![hosting("main", &provider)]));
    let domain = world.register(world.tenant().await, "customer.test").await;
    world.delegate(&domain);
    let name = record(&domain, ZONE);
    let handed = || provider.calls().into_iter().flatten().filter(|change| change.name == name).collect::<Vec<_>>();
    wait_until(PATIENCE, "the answer was lost twice", || async { handed().len() >= 2 }).await;
    provider.set_mood(Mood::Fine);
    let published = world.published(&domain).await;
    assert_eq!(provider.txt(&name), Some(id_of(&published)));
    let known: Vec<_> = handed().into_iter().map(|change| change.known).collect();
    assert_eq!(known[0], Known::Never);
    assert!(known[1..].iter().all(|known| *known == Known::Perhaps), "{known:?}");
    assert_eq!(world.count("policy_versions").await, 1, "one version, one id");
}

#[tokio::test]
async fn a_wish_to_be_left_alone_is_kept() {
    let world = World::new().await;
    let provider = Hosted::start(ZONE).await;
    provider.set_mood(Mood::Limited(Duration::from_secs(3)));
    let _worker = start(&world, config("w"), zones(vec![hosting("main", &provider)]));
    let domain = world.register(world.tenant().await, "customer.test").await;
    world.delegate(&domain);
    wait_until(PATIENCE, "it was asked", || async { !provider.calls().is_empty() }).await;
    let asked = tokio::time::Instant::now();
    provider.set_mood(Mood::Fine);
    world.published(&domain).await;
    assert!(asked.elapsed() >= Duration::from_millis(2_900), "asked again after {:?}", asked.elapsed());
}

#[tokio::test]
async fn a_revoked_token_is_named_and_a_new_one_ends_it() {
    let world = World::new().await;
    let provider = Hosted::start(ZONE).await;
    provider.set_mood(Mood::Revoked);
    let _worker = start(&world, config("w"), zones(vec![hosting("main", &provider)]));
    let domain = world.register(world.tenant().await, "customer.test").await;
    world.delegate(&domain);
    let view = world
        .view_when(&domain, "the condition names the token", |view| {
            status(view, ConditionKind::RecordPublished) == (Status::False, "DnsProviderUnauthorized")
        })
        .await;
    let condition = view.conditions.iter().find(|condition| condition.kind == ConditionKind::RecordPublished).unwrap();
    assert!(condition.message.contains("the token was revoked"), "{}", condition.message);
    assert!(view.version.unwrap().published_at.is_none());
    provider.set_mood(Mood::Fine);
    world.published(&domain).await;
}

#[tokio::test]
async fn a_strangers_record_in_the_way_is_left_shown_and_holds_up_nobody_else() {
    let world = World::new().await;
    let provider = Hosted::start(ZONE).await;
    let tenant = world.tenant().await;
    let blocked = world.register(tenant, "blocked.test").await;
    provider.edit(&record(&blocked, ZONE), Some("hands off"));
    let free = world.register(tenant, "free.test").await;
    let _worker = start(&world, config("w"), zones(vec![hosting("main", &provider)]));
    for domain in [&blocked, &free] {
        world.delegate(domain);
        world.verify(domain).await;
    }
    world.published(&free).await;
    let view = world
        .view_when(&blocked, "the conflict is shown", |view| {
            status(view, ConditionKind::RecordPublished) == (Status::False, "DnsRecordConflict")
        })
        .await;
    let condition = view.conditions.iter().find(|condition| condition.kind == ConditionKind::RecordPublished).unwrap();
    for value in ["hands off", "v=STSv1"] {
        assert!(condition.message.contains(value), "both values are shown: {}", condition.message);
    }
    assert_eq!(provider.txt(&record(&blocked, ZONE)), Some(vec!["hands off".to_owned()]));
    // The stranger gives way, and the next try gets through.
    provider.edit(&record(&blocked, ZONE), None);
    world.clock.advance(TimeDelta::minutes(20));
    world.published(&blocked).await;
}

#[tokio::test]
async fn what_a_stranger_changes_removes_or_adds_is_put_right_by_the_sweep() {
    let world = World::new().await;
    let provider = Hosted::start(ZONE).await;
    let mut zones = zones(vec![hosting("main", &provider)]);
    zones.sweep_interval = Duration::from_mins(10);
    let _worker = start(&world, config("w"), zones);
    let tenant = world.tenant().await;
    let (one, two) = (world.publish(tenant, "one.test").await, world.publish(tenant, "two.test").await);
    provider.edit(&record(&one, ZONE), Some("v=STSv1; id=stranger;"));
    provider.edit(&record(&two, ZONE), None);
    let foreign = format!("aaaaaaaaaaaaaaaaaaaaaaaaaa._mta-sts.{ZONE}");
    provider.edit(&foreign, Some("mine"));
    // Long before anybody looks at the domains again.
    world.clock.advance(TimeDelta::minutes(11));
    wait_until(PATIENCE, "both records are right again", || async {
        provider.txt(&record(&one, ZONE)) == Some(id_of(&one)) && provider.txt(&record(&two, ZONE)) == Some(id_of(&two))
    })
    .await;
    assert_eq!(provider.txt(&foreign), Some(vec!["mine".to_owned()]), "what is not ours is left alone");
    wait_until(PATIENCE, "the sweep is noted", || async {
        let hosting = &world.store.hostings().await.unwrap()[0];
        hosting
            .sweep
            .as_ref()
            .is_some_and(|found| found["different"] == 1 && found["missing"] == 1 && found["foreign"] == 1)
    })
    .await;
}

#[tokio::test]
async fn a_worker_killed_between_a_write_and_its_confirmation_is_followed_by_one_that_converges() {
    let world = World::new().await;
    let provider = Hosted::start(ZONE).await;
    provider.set_mood(Mood::Hangs);
    let mut short = config("killed");
    short.lease = TimeDelta::seconds(2);
    let worker = start(&world, short, zones(vec![hosting("main", &provider)]));
    let domain = world.register(world.tenant().await, "customer.test").await;
    world.delegate(&domain);
    wait_until(PATIENCE, "it was written", || async { provider.txt(&record(&domain, ZONE)).is_some() }).await;
    worker.kill().await;
    provider.set_mood(Mood::Fine);
    let _next = start(&world, config("next"), zones(vec![hosting("main", &provider)]));
    let published = world.published(&domain).await;
    assert_eq!(provider.txt(&record(&domain, ZONE)), Some(id_of(&published)));
    assert_eq!(world.count("policy_versions").await, 1);
    let again: Vec<_> =
        provider.calls().into_iter().flatten().filter(|change| change.name == record(&domain, ZONE)).collect();
    assert_eq!(again[1].known, Known::Perhaps, "the next writer knows that it may have arrived");
}

#[tokio::test]
async fn one_worker_writes_to_a_hosting_and_another_takes_over() {
    let world = World::new().await;
    let provider = Hosted::start(ZONE).await;
    provider.set_mood(Mood::Hangs);
    let mut frozen = config("frozen");
    frozen.lease = TimeDelta::minutes(10);
    frozen.concurrency = 1;
    let frozen = start(&world, frozen, zones(vec![hosting("main", &provider)]));
    let domain = world.register(world.tenant().await, "customer.test").await;
    world.delegate(&domain);
    wait_until(PATIENCE, "it was written", || async { provider.txt(&record(&domain, ZONE)).is_some() }).await;
    provider.set_mood(Mood::Fine);
    let fast = start(&world, config("fast"), zones(vec![hosting("main", &provider)]));
    assert_eq!(world.count("zone_hostings WHERE writer = 'frozen'").await, 1);
    // As after SIGSTOP: its lease ends without it.
    world.clock.advance(TimeDelta::minutes(11));
    wait_until(PATIENCE, "the other has it", || async {
        world.count("zone_hostings WHERE writer = 'fast'").await == 1
    })
    .await;
    world.published(&domain).await;
    drop((frozen, fast));
}

#[tokio::test]
async fn ten_thousand_changes_go_out_in_batches_of_the_providers_size() {
    let world = World::new().await;
    let provider = Hosted::start(ZONE).await;
    world
        .database
        .psql(&format!(
            "INSERT INTO zone_records (name, type, zone, revision, changed_at, ttl, record_values)
            SELECT lpad(n::text, 26, 'a') || '._mta-sts.{ZONE}', 'TXT', '{ZONE}', nextval('zone_revisions'), now(), 300,
                '[\"v=STSv1; id=1;\"]' FROM generate_series(1, 10000) n"
        ))
        .await;
    let _worker = start(&world, config("w"), zones(vec![hosting("main", &provider)]));
    wait_until(PATIENCE, "all are there", || async { provider.len() >= 10_000 }).await;
    let calls = provider.calls();
    assert_eq!(calls.iter().map(Vec::len).sum::<usize>(), 10_000, "each once");
    assert_eq!(calls.len(), 100);
}

#[tokio::test]
async fn a_hosting_that_is_being_filled_gets_everything_and_is_waited_for_by_nobody() {
    let world = World::new().await;
    let (old, new) = (Hosted::start(ZONE).await, Hosted::start(ZONE).await);
    let first = start(&world, config("first"), zones(vec![hosting("old", &old)]));
    let tenant = world.tenant().await;
    let before = world.publish(tenant, "before.test").await;
    first.stop().await;
    new.set_mood(Mood::Away);
    let filling = Hosting { is_authoritative: false, ..hosting("new", &new) };
    let _second = start(&world, config("second"), zones(vec![hosting("old", &old), filling]));
    let during = world.publish(tenant, "during.test").await;
    new.set_mood(Mood::Fine);
    wait_until(PATIENCE, "the new hosting has both", || async {
        new.txt(&record(&before, ZONE)) == Some(id_of(&before))
            && new.txt(&record(&during, ZONE)) == Some(id_of(&during))
    })
    .await;
}

#[tokio::test]
async fn domains_of_a_zone_that_is_drained_move_without_a_gap_and_leave_it_when_nobody_asks_there() {
    let world = World::new().await;
    let (old, new) = (Hosted::start(ZONE).await, Hosted::start(OTHER_ZONE).await);
    let first = start(&world, config("first"), zones(vec![hosting("old", &old)]));
    let tenant = world.tenant().await;
    let domain = world.publish(tenant, "customer.test").await;
    first.stop().await;

    let mut draining = zones(vec![hosting("new", &new), Hosting { is_draining: true, ..hosting("old", &old) }]);
    draining.placement = Placement::only(OTHER_ZONE.parse().unwrap());
    // No edges are named yet: nobody may be sent to a zone in which no policy host is found.
    new.remove_wildcard();
    let edges = std::mem::take(&mut draining.infrastructure.edge_addresses);
    let second = start(&world, config("second"), draining.clone());
    wait_until(PATIENCE, "the records are in both zones", || async {
        new.txt(&record(&domain, OTHER_ZONE)) == Some(id_of(&domain))
    })
    .await;
    let refused = "step_failures WHERE kind = 'enter-zone' AND reason = 'EdgesNotInZone'";
    wait_until(PATIENCE, "the new zone is not entered", || async { world.count(refused).await == 1 }).await;
    assert_eq!(world.view(&domain).await.zones.home.as_str(), ZONE);
    second.stop().await;
    draining.infrastructure.edge_addresses = edges;
    let _third = start(&world, config("third"), draining);
    let moved = world.view_when(&domain, "it has a new home", |view| view.zones.home.as_str() == OTHER_ZONE).await;
    assert_eq!(new.txt(&record(&domain, OTHER_ZONE)), Some(id_of(&domain)), "before anybody is told to go there");
    assert_eq!(old.txt(&record(&domain, ZONE)), Some(id_of(&domain)));

    // A change goes to both for as long as CNAMEs may lead to either.
    world.set_mode(&domain, Mode::None).await;
    let changed = world.published(&domain).await;
    assert_eq!(old.txt(&record(&domain, ZONE)), Some(id_of(&changed)));
    assert_eq!(new.txt(&record(&domain, OTHER_ZONE)), Some(id_of(&changed)));
    assert_eq!(status(&changed, ConditionKind::Delegated).0, Status::True);

    // One CNAME of three is not enough: the others still lead to the old zone.
    let purpose = DelegationPurpose::PolicyHost;
    let target = purpose.target(&domain.label, &moved.zones.home);
    world.customers.cname(&purpose.name(&domain.name), &target);
    world.clock.advance(TimeDelta::minutes(1));
    world.verify(&domain).await;
    let asked = world.clock.now();
    let looked = world
        .view_when(&domain, "it was looked again", |view| {
            view.delegation_seen.as_ref().is_some_and(|seen| seen.at >= asked)
        })
        .await;
    assert_eq!(looked.delegation_seen.unwrap().home_since, None);

    // The customer follows; two days later nobody can still be led to the old zone.
    world.delegate(&moved);
    world.clock.advance(TimeDelta::minutes(1));
    world.verify(&domain).await;
    world
        .view_when(&domain, "the new CNAMEs are seen", |view| {
            view.delegation_seen.as_ref().is_some_and(|seen| seen.home_since.is_some())
        })
        .await;
    assert!(old.txt(&record(&domain, ZONE)).is_some());
    world.clock.advance(TimeDelta::hours(49));
    world.view_when(&domain, "it has left", |view| view.zones.former.is_none()).await;
    wait_until(PATIENCE, "the old zone is clean", || async { old.txt(&record(&domain, ZONE)).is_none() }).await;
    assert_eq!(new.txt(&record(&domain, OTHER_ZONE)), Some(id_of(&changed)));
}

#[tokio::test]
async fn the_wildcard_of_a_zone_leads_to_the_edges_and_names_who_may_issue() {
    let world = World::new().await;
    let provider = Hosted::start(ZONE).await;
    let mut zones = zones(vec![hosting("main", &provider)]);
    zones.infrastructure.edge_addresses = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    zones.infrastructure.caa = mtasts_worker::CaaPolicy::Fixed(vec!["0 issue \"ca.test\"".to_owned()]);
    let _worker = start(&world, config("w"), zones);
    let name = format!("*.edge.{ZONE}");
    for (record_type, value) in
        [(RecordType::A, "192.0.2.1"), (RecordType::Aaaa, "2001:db8::1"), (RecordType::Caa, "0 issue \"ca.test\"")]
    {
        wait_until(PATIENCE, "the zone has its own records", || async {
            provider.values(&name, record_type) == Some(vec![value.to_owned()])
        })
        .await;
    }
}

#[tokio::test]
async fn a_zone_with_the_host_of_reports_has_its_addresses_and_its_consent_to_dmarc_reports() {
    let world = World::new().await;
    let (provider, other) = (Hosted::start(ZONE).await, Hosted::start(OTHER_ZONE).await);
    let mut zones = zones(vec![hosting("main", &provider), hosting("other", &other)]);
    let host = format!("reports.{ZONE}");
    zones.infrastructure.reports = Some(mtasts_worker::ReportHost {
        host: mtasts_model::HostName::parse(&host).unwrap(),
        addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
    });
    let _worker = start(&world, config("w"), zones);
    for (name, record_type, value) in [
        (host.clone(), RecordType::A, "192.0.2.1"),
        (host.clone(), RecordType::Aaaa, "2001:db8::1"),
        (format!("*._report._dmarc.{host}"), RecordType::Txt, "v=DMARC1;"),
    ] {
        wait_until(PATIENCE, "the zone has the records of its host", || async {
            provider.values(&name, record_type) == Some(vec![value.to_owned()])
        })
        .await;
        assert_eq!(other.values(&name, record_type), None, "it is in the other zone");
    }
}

#[tokio::test]
async fn no_certificate_is_ordered_while_the_zone_has_no_address_for_the_policy_host() {
    let world = World::new().await;
    let provider = Hosted::start(ZONE).await;
    provider.remove_wildcard();
    let mut zones = zones(vec![hosting("main", &provider)]);
    let edges = std::mem::take(&mut zones.infrastructure.edge_addresses);
    let first = start(&world, config("first"), zones.clone());
    let tenant = world.tenant().await;
    let domain = world.register(tenant, "customer.test").await;
    world.delegate(&domain);
    let is_said = |view: &DomainView| status(view, ConditionKind::CertificateReady).1 == "EdgesNotInZone";
    world.view_when(&domain, "it says so", is_said).await;
    let placed = world.count("acme_orders WHERE state <> 'drafted'").await;
    assert_eq!(placed, 0, "a validation that fails would count against us");
    first.stop().await;

    zones.infrastructure.edge_addresses = edges;
    let _second = start(&world, config("second"), zones);
    world.published(&domain).await;
}
