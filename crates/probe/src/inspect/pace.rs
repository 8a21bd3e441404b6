//! Pacing, so that looks at many domains never look like an attack on the host that all their mail goes to.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout_at},
};

const MINUTE: Duration = Duration::from_mins(1);
/// When to ask again if nobody could say.
const SOON: Duration = Duration::from_secs(5);
/// Hosts that are remembered before those that rest are forgotten.
const MAX_HOSTS: usize = 10_000;

/// Bounds for connections to one host, shared by everything in a process that looks at domains.
///
/// A host is an address (of IPv6 its /64): thousands of MX names may lead to the same machine.
#[derive(Debug)]
pub struct Pacer {
    at_once: usize,
    per_minute: usize,
    hosts: Mutex<HashMap<IpAddr, Host>>,
    shared: Option<Arc<dyn SharedPace>>,
}

/// Bounds that several processes share, beside those that each has for itself.
pub trait SharedPace: std::fmt::Debug + Send + Sync {
    /// Asks to begin a connection to this host: an address, of IPv6 the first of its /64. The error is how long to wait
    /// before asking again.
    fn begin(&self, host: IpAddr) -> BoxFuture<'_, Result<(), Duration>>;
}

#[derive(Debug)]
struct Host {
    room: Arc<Semaphore>,
    /// When connections of the last minute began.
    begun: VecDeque<Instant>,
}

/// There was no room at a host in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom {
    /// There is none for about so long: how much longer, others decide as well.
    pub wait: Duration,
}

impl Default for Pacer {
    /// Three connections at once and thirty a minute, as a small mail server would make.
    fn default() -> Self {
        Self::new(3, Self::PER_MINUTE)
    }
}

impl Pacer {
    /// Connections that begin at one host within a minute, where nobody says otherwise.
    pub const PER_MINUTE: usize = 30;

    /// Asks what is shared with other processes as well, for each connection.
    #[must_use]
    pub fn shared_by(mut self, shared: Arc<dyn SharedPace>) -> Self {
        self.shared = Some(shared);
        self
    }

    /// At most `at_once` connections to one host, and at most `per_minute` begun within a minute; 0 counts as 1.
    pub fn new(at_once: usize, per_minute: usize) -> Self {
        Self { at_once: at_once.max(1), per_minute: per_minute.max(1), hosts: Mutex::default(), shared: None }
    }

    /// Waits for room until `deadline`. The connection may last as long as the permit.
    pub(crate) async fn enter(&self, address: IpAddr, deadline: Instant) -> Result<OwnedSemaphorePermit, NoRoom> {
        let permit = self.room(address, deadline).await?;
        self.begin(address, deadline).await?;
        Ok(permit)
    }

    /// Waits until `deadline` for one of the few connections at once. It may last as long as the permit.
    pub(crate) async fn room(&self, address: IpAddr, deadline: Instant) -> Result<OwnedSemaphorePermit, NoRoom> {
        let room = self.with_host(key_of(address), |host| Arc::clone(&host.room));
        let none = NoRoom { wait: SOON };
        timeout_at(deadline, room.acquire_owned()).await.map_err(|_| none)?.map_err(|_| none)
    }

    /// Waits until `deadline` for a connection's turn to begin, and counts it as begun.
    pub(crate) async fn begin(&self, address: IpAddr, deadline: Instant) -> Result<(), NoRoom> {
        let key = key_of(address);
        loop {
            let now = Instant::now();
            let wait_until = self.with_host(key, |host| {
                while host.begun.front().is_some_and(|begun| *begun + MINUTE <= now) {
                    host.begun.pop_front();
                }
                if host.begun.len() < self.per_minute {
                    host.begun.push_back(now);
                    return None;
                }
                host.begun.front().map(|begun| *begun + MINUTE)
            });
            match wait_until {
                None => break,
                Some(until) if until > deadline => return Err(NoRoom { wait: until - now }),
                Some(until) => sleep(until - now).await,
            }
        }
        if let Some(shared) = &self.shared {
            let late = NoRoom { wait: SOON };
            while let Err(wait) = timeout_at(deadline, shared.begin(key)).await.map_err(|_| late)? {
                if Instant::now() + wait > deadline {
                    return Err(NoRoom { wait });
                }
                sleep(wait).await;
            }
        }
        Ok(())
    }

    fn with_host<T>(&self, key: IpAddr, act: impl FnOnce(&mut Host) -> T) -> T {
        // What is behind the lock is whole after each statement, so that a panic elsewhere breaks nothing.
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= MAX_HOSTS && !hosts.contains_key(&key) {
            let now = Instant::now();
            let in_use = |host: &Host| Arc::strong_count(&host.room) > 1;
            let rests = |host: &Host| host.begun.back().is_none_or(|begun| *begun + MINUTE <= now);
            hosts.retain(|_, host| in_use(host) || !rests(host));
        }
        let at_once = self.at_once;
        let new = || Host { room: Arc::new(Semaphore::new(at_once)), begun: VecDeque::new() };
        act(hosts.entry(key).or_insert_with(new))
    }
}

fn key_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets one begin every ten seconds, whoever asks.
    #[derive(Debug)]
    struct EveryTenSeconds(Mutex<Option<Instant>>);

    impl SharedPace for EveryTenSeconds {
        fn begin(&self, _: IpAddr) -> BoxFuture<'_, Result<(), Duration>> {
            Box::pin(async {
                let (now, mut next) = (Instant::now(), self.0.lock().unwrap());
                match *next {
                    Some(at) if at > now => Err(at - now),
                    _ => {
                        *next = Some(now + Duration::from_secs(10));
                        Ok(())
                    }
                }
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_processes_share_holds_back_each_of_them() {
        let shared: Arc<dyn SharedPace> = Arc::new(EveryTenSeconds(Mutex::default()));
        let (one, other) = (Pacer::default().shared_by(Arc::clone(&shared)), Pacer::default().shared_by(shared));
        let host: IpAddr = "192.0.2.1".parse().unwrap();
        let begun = Instant::now();
        drop(one.enter(host, begun + MINUTE).await.unwrap());
        assert_eq!(
            other.enter(host, begun + Duration::from_secs(5)).await.unwrap_err(),
            NoRoom { wait: Duration::from_secs(10) }
        );
        drop(other.enter(host, begun + MINUTE).await.unwrap());
        assert!(begun.elapsed() >= Duration::from_secs(10), "the other process has just been there");
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_at_once_and_a_minute_reach_one_host() {
        let pacer = Pacer::new(2, 3);
        let soon = || Instant::now() + Duration::from_secs(5);
        let host: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        let first = pacer.enter(host, soon()).await.unwrap();
        let _second = pacer.enter(neighbour, soon()).await.unwrap();
        assert_eq!(pacer.enter(host, soon()).await.unwrap_err(), NoRoom { wait: SOON }, "both of its places are taken");
        drop(first);
        drop(pacer.enter(host, soon()).await.unwrap());
        assert_eq!(
            pacer.enter(host, soon()).await.unwrap_err(),
            NoRoom { wait: Duration::from_secs(55) },
            "three began within a minute"
        );
        let _other = pacer.enter("2001:db8:1::1".parse().unwrap(), soon()).await.unwrap();
        let begun = Instant::now();
        drop(pacer.enter(host, begun + MINUTE).await.unwrap());
        assert!(begun.elapsed() > Duration::from_secs(40), "it waited until the first was a minute ago");
    }
}
