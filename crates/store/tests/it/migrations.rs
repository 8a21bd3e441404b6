use mtasts_store::{Role, Store, StoreError, migrate, newest_migration};
use secrecy::SecretString;

use crate::fixture::{Fixture, config, empty_database, owner_url, zone};

#[tokio::test]
async fn migrating_twice_does_nothing_the_second_time() {
    let database = empty_database().await;
    let first = migrate(&owner_url(&database), &zone()).await.unwrap();
    assert_eq!(first.applied.last().map(String::as_str), Some(newest_migration()));
    let second = migrate(&owner_url(&database), &zone()).await.unwrap();
    assert!(second.applied.is_empty());
    assert_eq!(second.version, first.version);
}

#[tokio::test]
async fn migrations_that_run_at_the_same_time_wait_for_each_other() {
    let database = empty_database().await;
    let url = owner_url(&database);
    let zone = zone();
    let (one, other) = tokio::join!(migrate(&url, &zone), migrate(&url, &zone));
    let applied = one.unwrap().applied.len() + other.unwrap().applied.len();
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations")).unwrap().count();
    assert_eq!(applied, files);
}

#[tokio::test]
async fn every_role_can_ask_for_the_schema_version() {
    let fixture = Fixture::new().await;
    for role in [Role::Owner, Role::Api, Role::Worker, Role::Edge, Role::Intake, Role::Keeper, Role::Operator] {
        let store = fixture.store(role).await;
        assert_eq!(store.schema_version().await.unwrap().as_deref(), Some(newest_migration()), "{role:?}");
    }
    let empty = empty_database().await;
    let store = Store::connect(config(empty.url(), Role::Owner, 1)).await.unwrap();
    assert_eq!(store.schema_version().await.unwrap(), None);
}

#[tokio::test]
async fn a_url_that_cannot_be_read_is_refused_without_being_repeated() {
    let url = "postgres://user:hunter2@[broken/db";
    let refused = Store::connect(config(url.to_owned(), Role::Api, 1)).await.unwrap_err();
    assert!(matches!(refused, StoreError::BadUrl { .. }));
    let refused_too = migrate(&SecretString::from(url), &zone()).await.unwrap_err();
    for error in [refused, refused_too] {
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn what_a_newer_release_has_migrated_is_left_alone_and_what_nobody_made_is_not() {
    let database = empty_database().await;
    migrate(&owner_url(&database), &zone()).await.unwrap();
    database.psql("INSERT INTO seaql_migrations VALUES ('9999_later', 0)").await;
    let again = migrate(&owner_url(&database), &zone()).await.unwrap();
    assert_eq!((again.applied.len(), again.version.as_str()), (0, "9999_later"));
    // A schema that has what this release does not know, and lacks what it does, is that of no release.
    database.psql("DELETE FROM seaql_migrations WHERE version LIKE '0003%'").await;
    assert!(migrate(&owner_url(&database), &zone()).await.is_err());
}
