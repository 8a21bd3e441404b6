use std::{fs, process::Command, sync::atomic::Ordering, time::Duration};

use mtasts_model::{Mode, feed::EdgeEntry};

use crate::harness::{Harness, config, start, until};

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn an_edge_restarts_and_serves_with_a_dead_feed() {
    let harness = Harness::serving(&["example.com", "gone.example"]).await;
    let revision = harness.feed.put("gone.example", EdgeEntry::HostGone);
    harness.acknowledged(revision).await;
    let Harness { edge, feed, authority, folder } = harness;
    let _ = edge.shutdown(SOON).await;
    feed.down.store(true, Ordering::SeqCst);
    let harness = Harness::restarted(&feed, &authority, &folder);
    harness.caught_up().await;
    assert_eq!(harness.edge.position(), revision);
    assert_eq!(harness.client().policy("example.com").await.unwrap().status, 200);
    assert!(harness.client().connect("gone.example").await.is_err());
    assert!(harness.client().connect("unknown.example").await.is_err());
    until("the trouble is told", || !harness.edge.readiness().notes.is_empty()).await;
    feed.down.store(false, Ordering::SeqCst);
    let revision = feed.put_host("example.com", authority.host("example.com", Mode::Enforce));
    harness.acknowledged(revision).await;
    assert!(harness.client().policy("example.com").await.unwrap().body.contains("enforce"));
}

#[tokio::test]
async fn an_edge_that_has_nothing_is_not_ready() {
    let harness = Harness::serving(&[]).await;
    harness.feed.down.store(true, Ordering::SeqCst);
    let fresh = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let second = Harness::restarted(&harness.feed, &harness.authority, &fresh);
    assert!(!second.edge.readiness().is_ready());
    harness.feed.down.store(false, Ordering::SeqCst);
    second.caught_up().await;
}

#[tokio::test]
async fn a_damaged_replica_is_moved_aside_and_rebuilt() {
    let damages: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes.fill(0xa5),
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.truncate(100),
        |bytes| bytes[4_096..].fill(0),
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let harness = Harness::serving(&["example.com"]).await;
        until("all is acknowledged", || harness.feed.acknowledged().is_some()).await;
        let Harness { edge, feed, authority, folder } = harness;
        let _ = edge.shutdown(SOON).await;
        let path = folder.path().join("replica/edge.redb");
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let harness = Harness::restarted(&feed, &authority, &folder);
        until("it is served again", || harness.edge.readiness().is_ready() && harness.edge.position().number() > 0)
            .await;
        assert_eq!(harness.client().policy("example.com").await.unwrap().status, 200);
        assert!(folder.path().join("replica/edge.redb.damaged").exists(), "damage {number}");
    }
}

/// redb does not check what it reads, so our own checksum must.
#[tokio::test]
async fn one_flipped_byte_of_a_row_is_noticed_when_the_host_is_asked_for() {
    let harness = Harness::serving(&["example.com", "other.example"]).await;
    until("all is acknowledged", || harness.feed.acknowledged().is_some()).await;
    let Harness { edge, feed, authority, folder } = harness;
    let _ = edge.shutdown(SOON).await;
    let path = folder.path().join("replica/edge.redb");
    let mut bytes = fs::read(&path).unwrap();
    let needle = b"mx: mx.example.com";
    let places: Vec<usize> = (0..bytes.len() - needle.len()).filter(|at| bytes[*at..].starts_with(needle)).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at] = b'M';
    }
    fs::write(&path, bytes).unwrap();
    let harness = Harness::restarted(&feed, &authority, &folder);
    let mut served = None;
    until("the host is served as it was written", || {
        futures_now(async { served = harness.client().policy("example.com").await.ok() });
        served.is_some()
    })
    .await;
    assert!(served.unwrap().body.contains("mx: mx.example.com"));
    assert!(folder.path().join("replica/edge.redb.damaged").exists());
}

/// Runs a future to its end within the runtime of a test.
fn futures_now(future: impl Future<Output = ()> + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(future);
        });
    });
}

#[tokio::test]
async fn without_a_usable_folder_the_edge_serves_from_memory_and_says_so() {
    let harness = Harness::with(&["example.com"], |config| {
        let file = config.replica_dir.with_file_name("a-file");
        fs::write(&file, "not a folder").unwrap();
        config.replica_dir = file.join("replica");
    })
    .await;
    assert_eq!(harness.client().policy("example.com").await.unwrap().status, 200);
    assert!(harness.edge.readiness().is_ready());
    assert!(
        harness.edge.readiness().notes.iter().any(|note| note.contains("memory")),
        "{:?}",
        harness.edge.readiness()
    );
    let revision = harness.feed.put_host("example.com", harness.authority.host("example.com", Mode::Enforce));
    harness.acknowledged(revision).await;
    assert!(harness.client().policy("example.com").await.unwrap().body.contains("enforce"));
    let revision = harness.feed.put("example.com", EdgeEntry::HostGone);
    harness.acknowledged(revision).await;
    assert!(harness.client().connect("example.com").await.is_err());
}

#[tokio::test]
async fn two_edges_do_not_share_a_folder() {
    let harness = Harness::serving(&["example.com"]).await;
    let second = mtasts_edge::Edge::start(
        config(harness.folder.path()),
        harness.feed.clone(),
        std::sync::Arc::new(crate::authority::Opener),
        std::sync::Arc::new(mtasts_model::SystemClock),
    );
    assert!(matches!(second, Err(mtasts_edge::EdgeError::ReplicaInUse(_))));
}

/// Fault 10. Needs the right to mount; says so where it is missing.
#[tokio::test]
async fn on_a_full_disk_changes_are_served_from_memory_and_saved_when_there_is_room_again() {
    let mount = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(mount.path()).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no right to mount a small file system");
        return;
    }
    let _unmount = Unmount(mount.path().to_owned());
    let replica = mount.path().join("replica");
    let harness = Harness::with(&["example.com", "old.example"], |config| config.replica_dir = replica.clone()).await;
    until("all is acknowledged", || harness.feed.acknowledged().is_some()).await;
    let filler = mount.path().join("filler");
    let _ = fs::write(&filler, vec![0; 8 << 20]);
    let mut last = None;
    for number in 0..1_500 {
        let domain = format!("d{number}.example");
        let mut host = harness.authority.host("d.example", Mode::Testing);
        host.policy_text = format!("{}# {}", host.policy_text, "x".repeat(1_000));
        last = Some(harness.feed.put_host(&domain, host));
    }
    let enforced = harness.feed.put_host("example.com", harness.authority.host("example.com", Mode::Enforce));
    harness.acknowledged(enforced.max(last.unwrap())).await;
    let notes = harness.edge.readiness().notes;
    assert!(notes.iter().any(|note| note.contains("memory")), "{notes:?}");
    assert!(harness.client().policy("example.com").await.unwrap().body.contains("enforce"));
    assert_eq!(harness.client().policy("old.example").await.unwrap().status, 200, "what was on the disk before");
    fs::remove_file(&filler).unwrap();
    let remount = Command::new("mount").args(["-o", "remount,size=64m"]).arg(mount.path()).status().unwrap();
    assert!(remount.success());
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    while !harness.edge.readiness().notes.is_empty() {
        assert!(tokio::time::Instant::now() < end, "{:?}", harness.edge.readiness());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let Harness { edge, feed, authority, folder } = harness;
    let _ = edge.shutdown(SOON).await;
    feed.down.store(true, Ordering::SeqCst);
    let mut config = config(folder.path());
    config.replica_dir = replica;
    let edge = start(config, &feed);
    let again = Harness { edge, feed, authority, folder };
    again.caught_up().await;
    assert!(again.client().policy("example.com").await.unwrap().body.contains("enforce"), "it was saved");
    let _ = again.edge.shutdown(SOON).await;
}

#[tokio::test]
async fn from_a_read_only_disk_the_edge_serves_what_was_there_and_keeps_changes_in_memory() {
    let mount = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(mount.path()).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no right to mount a small file system");
        return;
    }
    let _unmount = Unmount(mount.path().to_owned());
    let replica = mount.path().join("replica");
    let harness = Harness::with(&["example.com", "old.example"], |config| config.replica_dir = replica.clone()).await;
    until("all is acknowledged", || harness.feed.acknowledged().is_some()).await;
    let Harness { edge, feed, authority, folder } = harness;
    let _ = edge.shutdown(SOON).await;
    feed.down.store(true, Ordering::SeqCst);
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(mount.path()).status().unwrap();
    assert!(remounted.success());
    let mut config = config(folder.path());
    config.replica_dir = replica;
    let harness = Harness { edge: start(config, &feed), feed, authority, folder };
    harness.caught_up().await;
    assert_eq!(harness.client().policy("old.example").await.unwrap().status, 200);
    harness.feed.down.store(false, Ordering::SeqCst);
    let revision = harness.feed.put_host("example.com", harness.authority.host("example.com", Mode::Enforce));
    harness.acknowledged(revision).await;
    assert!(harness.client().policy("example.com").await.unwrap().body.contains("enforce"));
    assert_eq!(harness.client().policy("old.example").await.unwrap().status, 200);
    let notes = harness.edge.readiness().notes;
    assert!(notes.iter().any(|note| note.contains("memory")), "{notes:?}");
    let _ = harness.edge.shutdown(SOON).await;
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
