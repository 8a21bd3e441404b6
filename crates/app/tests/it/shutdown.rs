//! An edge that is stopped (invariant 5).

use mtasts_testkit::Signal;

use crate::service::Service;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_is_retired_only_when_it_has_handed_over_what_it_served() {
    let service = Service::new().await;
    service.migrate();
    let mut edge = service.start("edge").await;
    let registered = async || service.database.psql("SELECT count(*) FROM nodes").await.trim().to_owned();
    assert_eq!(registered().await, "1");
    // The ledger alone is refused; the row could be deleted.
    let refusal = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no room'; END$$;
        CREATE TRIGGER refuse BEFORE UPDATE OF covered_until ON nodes FOR EACH ROW EXECUTE FUNCTION refuse();";
    service.database.psql(refusal).await;
    assert!(edge.stop(Signal::Terminate).success());
    assert_eq!(registered().await, "1", "withdrawals wait for it");
    assert!(edge.log().contains("stays registered"), "{}", edge.log());

    service.database.psql("DROP TRIGGER refuse ON nodes").await;
    let mut edge = service.start("edge").await;
    assert_eq!(registered().await, "1", "it came back under its id");
    assert!(edge.stop(Signal::Terminate).success());
    assert_eq!(registered().await, "0");
}
