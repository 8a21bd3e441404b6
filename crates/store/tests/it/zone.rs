use chrono::TimeDelta;
use mtasts_model::{
    Revision,
    feed::{RecordData, RecordType, ZoneChange},
};
use mtasts_store::{Role, ZoneWrite};

use crate::fixture::{Fixture, zone};

fn write(name: &str, value: Option<&str>) -> ZoneWrite {
    ZoneWrite {
        zone: zone(),
        name: name.to_owned(),
        record_type: RecordType::Txt,
        set: value.map(|value| RecordData { ttl: 60, values: vec![value.to_owned()] }),
    }
}

#[tokio::test]
async fn nameservers_are_told_of_what_changes_and_of_nothing_else() {
    let fixture = Fixture::new().await;
    let (worker, edge) = (fixture.store(Role::Worker).await, fixture.store(Role::Edge).await);
    let apply = async |writes: &[ZoneWrite]| worker.zone_apply(writes, fixture.now()).await.unwrap();
    assert_eq!(apply(&[write("never.sts.example", None)]).await, Revision::ZERO);
    let first = apply(&[write("a.sts.example", Some("one")), write("b.sts.example", Some("two"))]).await;
    assert_eq!(apply(&[write("a.sts.example", Some("one")), write("b.sts.example", Some("two"))]).await, first);
    let page = edge.zone_changes(Revision::ZERO, 10).await.unwrap();
    assert_eq!((page.changes.len(), page.position, page.more), (2, first, false));
    assert_eq!(
        worker.zone_read("b.sts.example", RecordType::Txt).await.unwrap(),
        Some(RecordData { ttl: 60, values: vec!["two".to_owned()] })
    );

    let second = apply(&[write("a.sts.example", None)]).await;
    assert!(second > first);
    assert_eq!(apply(&[write("a.sts.example", None)]).await, second);
    assert_eq!(worker.zone_read("a.sts.example", RecordType::Txt).await.unwrap(), None);
    let gone =
        ZoneChange { revision: second, name: "a.sts.example".to_owned(), record_type: RecordType::Txt, set: None };
    assert_eq!(edge.zone_changes(first, 10).await.unwrap().changes, [gone]);

    fixture.clock.advance(TimeDelta::days(8));
    assert_eq!(worker.prune_tombstones(TimeDelta::days(7), fixture.now()).await.unwrap(), 1);
    let page = edge.zone_changes(Revision::ZERO, 10).await.unwrap();
    assert_eq!((page.changes.len(), page.floor), (1, second));
}
