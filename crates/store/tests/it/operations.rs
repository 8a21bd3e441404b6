//! Bulk operations: each line is carried out once, whatever becomes of whoever does it.

use std::time::Duration;

use chrono::TimeDelta;
use mtasts_model::{ApiKeyId, OperationId, SystemEntropy, TenantId};
use mtasts_store::{
    Actor, Channel, LineOutcome, NewOperation, Operation, OperationChunk, OperationKind, OperationLine, OperationState,
    Role, Store, StoreError, VersionReason,
};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::fixture::{Fixture, policy};

const QUOTA: u64 = 20;

async fn create(fixture: &Fixture, api: &Store, tenant: TenantId, lines: u32) -> Operation {
    try_create(fixture, api, tenant, lines).await.unwrap()
}

async fn try_create(fixture: &Fixture, api: &Store, tenant: TenantId, lines: u32) -> Result<Operation, StoreError> {
    create_by(fixture, api, tenant, lines, &Actor::operator()).await
}

async fn create_by(
    fixture: &Fixture,
    api: &Store,
    tenant: TenantId,
    lines: u32,
    by: &Actor,
) -> Result<Operation, StoreError> {
    let lines = (1..=lines).map(|number| OperationLine { number, body: Some(format!("line {number}").into_bytes()) });
    let id = OperationId::draw(fixture.now(), &SystemEntropy);
    let new = NewOperation { id, kind: OperationKind::Batch, lines: lines.collect() };
    // Ids are in order of time, and so are operations.
    fixture.clock.advance(TimeDelta::milliseconds(1));
    let mut tx = api.tenant_tx(tenant).await?;
    let operation = tx.create_operation(&new, QUOTA, by, fixture.now()).await?;
    tx.commit().await?;
    Ok(operation)
}

async fn chunk(fixture: &Fixture, api: &Store, most: u32) -> Option<OperationChunk> {
    api.next_chunk(most, fixture.now()).await.unwrap()
}

fn numbers(chunk: &OperationChunk) -> Vec<u32> {
    chunk.lines().iter().map(|line| line.number).collect()
}

/// Carries out all of a chunk: each line registers a domain that is named after it.
async fn carry_out(fixture: &Fixture, mut chunk: OperationChunk) -> Result<Operation, StoreError> {
    let mut outcomes = Vec::new();
    for number in numbers(&chunk) {
        chunk.begin_line().await?;
        let first = fixture.version(policy(mtasts_model::Mode::None, &[], 60), VersionReason::Registered);
        let new = fixture.new_domain(&format!("d{number}.example"), Some(first));
        chunk.tx().create_domain(new, &Actor::operator(), fixture.now()).await?;
        chunk.keep_line().await?;
        outcomes.push(LineOutcome { number, failed: false, result: json!({}) });
    }
    chunk.finish(outcomes, fixture.now()).await
}

async fn domains(fixture: &Fixture) -> String {
    fixture.database.psql("SELECT count(*) FROM domains").await.trim().to_owned()
}

#[tokio::test]
async fn lines_are_stored_with_their_operation_and_carried_out_in_chunks() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let mut nudges = api.nudges(Channel::Operations);
    let made = create(&fixture, &api, tenant, 5).await;
    tokio::time::timeout(Duration::from_secs(10), nudges.changed()).await.expect("whoever waits is told");
    assert_eq!((made.state, made.total), (OperationState::Queued, 5));
    let first = chunk(&fixture, &api, 3).await.unwrap();
    assert_eq!(first.lines()[1].body.as_deref(), Some(b"line 2".as_slice()));
    let running = carry_out(&fixture, first).await.unwrap();
    assert_eq!((running.state, running.succeeded, running.finished_at), (OperationState::Running, 3, None));
    let second = chunk(&fixture, &api, 3).await.unwrap();
    assert_eq!(numbers(&second), [4, 5]);
    let done = carry_out(&fixture, second).await.unwrap();
    assert_eq!((done.state, done.succeeded, done.failed), (OperationState::Done, 5, 0));
    assert!(chunk(&fixture, &api, 3).await.is_none());
    let tx = api.tenant_tx(tenant).await.unwrap();
    assert_eq!(tx.operation(made.id).await.unwrap(), Some(done));
    let results = tx.operation_results(made.id, false, Some(3), 10).await.unwrap();
    assert_eq!(results.iter().map(|result| result.number).collect::<Vec<_>>(), [4, 5]);
    assert!(tx.operation_results(made.id, true, None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_chunk_that_is_dropped_has_done_nothing_and_the_next_one_has_its_lines() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    create(&fixture, &api, tenant, 4).await;
    carry_out(&fixture, chunk(&fixture, &api, 2).await.unwrap()).await.unwrap();
    let mut dropped = chunk(&fixture, &api, 2).await.unwrap();
    dropped.begin_line().await.unwrap();
    let new = fixture.new_domain("lost.example", None);
    dropped.tx().create_domain(new, &Actor::operator(), fixture.now()).await.unwrap();
    drop(dropped);
    let again = wait_for_chunk(&fixture, &api).await;
    assert_eq!(numbers(&again), [3, 4]);
    let done = carry_out(&fixture, again).await.unwrap();
    assert_eq!((done.state, done.succeeded), (OperationState::Done, 4));
    assert_eq!(domains(&fixture).await, "4");
}

/// A rollback in the background may hold the row for a moment.
async fn wait_for_chunk(fixture: &Fixture, api: &Store) -> OperationChunk {
    mtasts_testkit::wait_for(Duration::from_secs(10), "the chunk is free", async || chunk(fixture, api, 50).await).await
}

#[tokio::test]
async fn whoever_is_cut_off_in_the_middle_of_a_chunk_cannot_commit_it_any_more() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    create(&fixture, &api, tenant, 3).await;
    let lost = chunk(&fixture, &api, 50).await.unwrap();
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'mtasts'";
    assert_ne!(fixture.database.psql(cut).await.trim(), "0");
    let other = fixture.store(Role::Api).await;
    let taken_over = wait_for_chunk(&fixture, &other).await;
    assert_eq!(numbers(&taken_over), [1, 2, 3]);
    assert!(carry_out(&fixture, lost).await.is_err());
    assert_eq!(carry_out(&fixture, taken_over).await.unwrap().state, OperationState::Done);
    assert_eq!(domains(&fixture).await, "3");
}

#[tokio::test]
async fn a_tenant_has_one_chunk_at_a_time_and_tenants_take_turns() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let (one, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    // The one has two operations before the other asks for anything.
    let first = create(&fixture, &api, one, 4).await;
    create(&fixture, &api, one, 4).await;
    create(&fixture, &api, other, 4).await;
    let held = chunk(&fixture, &api, 2).await.unwrap();
    assert_eq!(held.operation().id, first.id);
    let beside = chunk(&fixture, &api, 2).await.unwrap();
    assert_eq!(beside.operation().tenant_id, other);
    assert!(chunk(&fixture, &api, 2).await.is_none(), "the second operation waits for the first");
    let mut turns = Vec::new();
    for held in [Some(held), Some(beside), None, None, None, None] {
        let chunk = match held {
            Some(chunk) => chunk,
            None => self::chunk(&fixture, &api, 2).await.expect("somebody's turn"),
        };
        turns.push(chunk.operation().tenant_id);
        let lines = numbers(&chunk);
        let outcomes = lines.into_iter().map(|number| LineOutcome { number, failed: true, result: json!({}) });
        chunk.finish(outcomes.collect(), fixture.now()).await.unwrap();
    }
    assert_eq!(turns[..4].iter().filter(|tenant| **tenant == other).count(), 2, "{turns:?}");
    assert!(turns[..4].windows(2).all(|pair| pair[0] != pair[1]), "{turns:?}");
    assert!(chunk(&fixture, &api, 2).await.is_none());
}

#[tokio::test]
async fn what_a_suspended_tenant_or_provider_asked_for_waits_and_goes_on_afterwards() {
    let fixture = Fixture::new().await;
    let (api, operator) = (fixture.store(Role::Api).await, fixture.store(Role::Operator).await);
    let (provider, customer, other) =
        (fixture.tenant(&api).await, fixture.tenant(&api).await, fixture.tenant(&api).await);
    let by_provider = Actor::api_key(ApiKeyId::draw(fixture.now(), &SystemEntropy), provider);
    let user = Actor::user("https://idp.example".to_owned(), "key_0 of ten_0".to_owned(), provider);
    let asked = [
        create_by(&fixture, &api, customer, 4, &by_provider).await.unwrap(),
        create_by(&fixture, &api, customer, 1, &user).await.unwrap(),
        create(&fixture, &api, customer, 1).await,
        create(&fixture, &api, other, 1).await,
    ];
    let begun = chunk(&fixture, &api, 2).await.unwrap();
    assert_eq!(begun.operation().id, asked[0].id);
    let begun = carry_out(&fixture, begun).await.unwrap();
    let next = async || {
        let chunk = chunk(&fixture, &api, 50).await?;
        Some(chunk.operation().id)
    };
    let suspend = async |tenant, by| {
        operator.suspend_tenant(tenant, "unpaid", &by, fixture.now()).await.unwrap();
    };

    suspend(customer, Actor::operator()).await;
    assert_eq!(next().await, Some(asked[3].id), "nobody else waits");
    suspend(other, Actor::operator()).await;
    assert_eq!(next().await, None);
    let worker = fixture.store(Role::Worker).await;
    assert!(worker.take_figures(TimeDelta::minutes(1), fixture.now()).await.unwrap());
    let (_, figures) = worker.figures().await.unwrap().unwrap();
    let waiting = figures.queues.iter().find(|queue| queue.queue == "operations").map(|queue| queue.depth);
    assert_eq!(waiting, Some(0), "and nobody is called because of it");
    // A tenant's transaction sees no other tenant, suspended or not.
    let seen = fixture
        .database
        .psql("SET ROLE mtasts_api; BEGIN; SET LOCAL app.runner = 'off'; SELECT count(*) FROM tenants; COMMIT")
        .await;
    assert_eq!(seen.trim(), "0");

    // The customer's own go on while its provider's wait.
    operator.resume_tenant(customer, &Actor::operator(), fixture.now()).await.unwrap();
    suspend(provider, Actor::operator()).await;
    assert_eq!(next().await, Some(asked[2].id));
    let own = wait_for_chunk(&fixture, &api).await;
    let outcome = LineOutcome { number: 1, failed: true, result: json!({}) };
    own.finish(vec![outcome], fixture.now()).await.unwrap();
    assert_eq!(next().await, None);

    let mut nudges = api.nudges(Channel::Operations);
    operator.resume_tenant(provider, &Actor::operator(), fixture.now()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), nudges.changed()).await.expect("whoever waits is told");
    let rest = chunk(&fixture, &api, 50).await.unwrap();
    assert_eq!((rest.operation().id, numbers(&rest)), (begun.id, vec![3, 4]), "where it had stopped");
}

#[tokio::test]
async fn after_a_failed_chunk_there_is_a_pause_and_lines_come_one_by_one() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let made = create(&fixture, &api, tenant, 4).await;
    let failed = chunk(&fixture, &api, 3).await.unwrap();
    drop(failed);
    let pause = TimeDelta::seconds(1);
    api.note_failed_chunk(made.id, fixture.now() + pause).await.unwrap();
    assert!(chunk(&fixture, &api, 3).await.is_none());
    fixture.clock.advance(pause);
    let single = chunk(&fixture, &api, 3).await.unwrap();
    assert_eq!((numbers(&single), single.failures()), (vec![1], 1));
    carry_out(&fixture, single).await.unwrap();
    let rest = chunk(&fixture, &api, 3).await.unwrap();
    assert_eq!((numbers(&rest), rest.failures()), (vec![2, 3, 4], 0));
}

#[tokio::test]
async fn a_line_that_is_undone_leaves_the_others_of_its_chunk() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let made = create(&fixture, &api, tenant, 2).await;
    let mut chunk = chunk(&fixture, &api, 50).await.unwrap();
    chunk.begin_line().await.unwrap();
    let undone = fixture.new_domain("undone.example", None);
    chunk.tx().create_domain(undone, &Actor::operator(), fixture.now()).await.unwrap();
    chunk.undo_line().await.unwrap();
    chunk.begin_line().await.unwrap();
    let kept = fixture.new_domain("kept.example", None);
    chunk.tx().create_domain(kept, &Actor::operator(), fixture.now()).await.unwrap();
    chunk.keep_line().await.unwrap();
    let outcomes = [(1, true), (2, false)].map(|(number, failed)| LineOutcome { number, failed, result: json!({}) });
    let done = chunk.finish(outcomes.into(), fixture.now()).await.unwrap();
    assert_eq!((done.succeeded, done.failed), (1, 1));
    assert_eq!(fixture.database.psql("SELECT name FROM domains").await.trim(), "kept.example");
    let tx = api.tenant_tx(tenant).await.unwrap();
    assert_eq!(tx.operation_results(made.id, true, None, 10).await.unwrap()[0].number, 1);
    let created = tx.audit_events(None, 200).await.unwrap();
    assert_eq!(created.iter().filter(|event| event.action == "domain.create").count(), 1);
}

#[tokio::test]
async fn a_cancelled_operation_keeps_what_was_done_and_gets_no_further_chunk() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    let made = create(&fixture, &api, tenant, 4).await;
    carry_out(&fixture, chunk(&fixture, &api, 1).await.unwrap()).await.unwrap();
    let cancel = async || {
        let mut tx = api.tenant_tx(tenant).await.unwrap();
        let operation = tx.cancel_operation(made.id, &Actor::operator(), fixture.now()).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        operation
    };
    let cancelled = cancel().await;
    assert_eq!((cancelled.state, cancelled.succeeded), (OperationState::Cancelled, 1));
    fixture.clock.advance(TimeDelta::seconds(5));
    assert_eq!(cancel().await, cancelled);
    assert!(chunk(&fixture, &api, 50).await.is_none());
    assert_eq!(domains(&fixture).await, "1");
    let stranger = fixture.tenant(&api).await;
    let mut tx = api.tenant_tx(stranger).await.unwrap();
    assert!(tx.cancel_operation(made.id, &Actor::operator(), fixture.now()).await.unwrap().is_none());
    assert!(tx.operation(made.id).await.unwrap().is_none());
    assert!(tx.operation_results(made.id, false, None, 10).await.unwrap().is_empty());
    assert!(tx.list_operations(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn only_so_many_operations_of_a_tenant_wait_however_many_are_asked_for_at_once() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let (tenant, other) = (fixture.tenant(&api).await, fixture.tenant(&api).await);
    let attempts = (0..QUOTA + 5).map(|_| try_create(&fixture, &api, tenant, 1));
    let made = futures_util::future::join_all(attempts).await;
    let refused: Vec<_> = made.iter().filter_map(|made| made.as_ref().err()).collect();
    assert_eq!(refused.len(), 5, "{refused:?}");
    assert!(refused.iter().all(|error| matches!(error, StoreError::QuotaExceeded { limit: 20, used: 20, .. })));
    create(&fixture, &api, other, 1).await;
    carry_out(&fixture, chunk(&fixture, &api, 50).await.unwrap()).await.unwrap();
    create(&fixture, &api, tenant, 1).await;
}

#[tokio::test]
async fn what_ended_a_week_ago_is_forgotten_with_its_lines() {
    let fixture = Fixture::new().await;
    let (api, worker) = (fixture.store(Role::Api).await, fixture.store(Role::Worker).await);
    let tenant = fixture.tenant(&api).await;
    create(&fixture, &api, tenant, 3).await;
    carry_out(&fixture, chunk(&fixture, &api, 50).await.unwrap()).await.unwrap();
    fixture.clock.advance(TimeDelta::days(7));
    let waiting = create(&fixture, &api, tenant, 1).await;
    assert_eq!(worker.prune_operations(fixture.now()).await.unwrap(), 4);
    assert_eq!(worker.prune_operations(fixture.now()).await.unwrap(), 0);
    let left = api.tenant_tx(tenant).await.unwrap().list_operations(None, 10).await.unwrap();
    assert_eq!(left.iter().map(|operation| operation.id).collect::<Vec<_>>(), [waiting.id]);
    assert_eq!(fixture.database.psql("SELECT count(*) FROM operation_lines").await.trim(), "1");
}

#[tokio::test]
async fn whoever_looks_for_the_next_chunk_sees_operations_and_nothing_else_of_any_tenant() {
    let fixture = Fixture::new().await;
    let api = fixture.store(Role::Api).await;
    let tenant = fixture.tenant(&api).await;
    create(&fixture, &api, tenant, 2).await;
    let mut session = PgConnection::connect(&fixture.database.url_as("mtasts_api")).await.unwrap();
    for (runner, expected) in [("off", 0), ("on", 1)] {
        session.execute(AssertSqlSafe(format!("SELECT set_config('app.runner', '{runner}', false)"))).await.unwrap();
        for (table, rows) in [("operations", expected), ("operation_lines", 0), ("domains", 0), ("tenants", 0)] {
            let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
            let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut session).await.unwrap();
            assert_eq!(count, rows, "{table} with {runner}");
        }
    }
    let other = format!(
        "INSERT INTO operations (id, tenant_id, kind, state, actor, total, created_at, not_before)
        VALUES (gen_random_uuid(), '{}', 'batch', 'queued', 'x', 1, now(), now())",
        tenant.as_uuid()
    );
    assert!(session.execute(AssertSqlSafe(other)).await.is_err(), "and makes none");
}
