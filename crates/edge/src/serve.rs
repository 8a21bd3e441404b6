//! Threads, listeners and connections.

mod connection;
mod doors;
mod listener;
mod stream;

use std::{
    net::SocketAddr,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle},
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::doors::Doors;
use self::{
    doors::Door,
    listener::{Kind, bind},
};
use crate::{edge::Shared, error::EdgeError, http::answer::CommonLines};

/// Threads per worker that may wait for the disk.
const DISK_THREADS: usize = 4;

/// What the connections of one thread have in common.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) index: usize,
    pub(crate) lines: CommonLines,
    /// Cancelled when no more connections are taken, and idle ones should end.
    pub(crate) drain: CancellationToken,
    tasks: TaskTracker,
}

struct Thread {
    runtime: Handle,
    tasks: TaskTracker,
    join: thread::JoinHandle<()>,
}

/// All threads. Each has a single-threaded runtime and listeners of its own on the same ports, so that connections never
/// move between cores, and a lookup with the writing of its answer is never interrupted by another task of the thread.
pub(crate) struct Workers {
    threads: Vec<Thread>,
    doors: Arc<Doors>,
    https: Vec<SocketAddr>,
    http: Vec<SocketAddr>,
    drain: CancellationToken,
    exit: CancellationToken,
}

impl Workers {
    /// Takes the ports and starts the threads. Connections are taken once [`Workers::doors`] are opened.
    pub(crate) fn start(shared: &Arc<Shared>) -> Result<Self, EdgeError> {
        let (drain, exit) = (CancellationToken::new(), CancellationToken::new());
        let count = shared.config.workers.get();
        let (https, mut https_sockets) = bind(&shared.config.https, count)?;
        let (http, mut http_sockets) = bind(&shared.config.http, count)?;
        let (mut threads, mut doors) = (Vec::with_capacity(count), Vec::new());
        for index in 0..count {
            let worker = Arc::new(Worker {
                shared: Arc::clone(shared),
                index,
                lines: CommonLines::new(),
                drain: drain.clone(),
                tasks: TaskTracker::new(),
            });
            let (tasks, exit) = (worker.tasks.clone(), exit.clone());
            let (send, receive) = mpsc::sync_channel(1);
            let join = thread::Builder::new()
                .name(format!("edge-{index}"))
                .spawn(move || run(&exit, &send))
                .map_err(EdgeError::Worker)?;
            let runtime = receive.recv().map_err(std::io::Error::other).and_then(|started| started);
            let runtime = runtime.map_err(EdgeError::Worker)?;
            for (sockets, addresses, kind) in [
                (&mut https_sockets[index], &https, Kind::Policies),
                (&mut http_sockets[index], &http, Kind::Validations),
            ] {
                doors.extend(std::mem::take(sockets).into_iter().zip(addresses).map(|(socket, address)| Door {
                    address: *address,
                    socket,
                    kind,
                    worker: Arc::clone(&worker),
                    runtime: runtime.clone(),
                }));
            }
            threads.push(Thread { runtime, tasks, join });
        }
        Ok(Self { threads, doors: Arc::new(Doors::new(doors)), https, http, drain, exit })
    }

    pub(crate) fn https_addrs(&self) -> &[SocketAddr] {
        &self.https
    }

    pub(crate) fn http_addrs(&self) -> &[SocketAddr] {
        &self.http
    }

    /// What lets connections in.
    pub(crate) fn doors(&self) -> Arc<Doors> {
        Arc::clone(&self.doors)
    }

    pub(crate) fn runtimes(&self) -> Vec<Handle> {
        self.threads.iter().map(|thread| thread.runtime.clone()).collect()
    }

    /// Takes no more connections, waits for those that are open until `end`, then cuts them.
    pub(crate) async fn stop(mut self, end: Instant) {
        self.doors.close();
        self.drain.cancel();
        for thread in &self.threads {
            thread.tasks.close();
            if timeout_at(end, thread.tasks.wait()).await.is_err() {
                tracing::warn!(connections = thread.tasks.len(), "connections cut at the deadline of the shutdown");
            }
        }
        self.exit.cancel();
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(|| threads.into_iter().for_each(|thread| _ = thread.join.join()));
        let _ = joined.await;
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.doors.close();
        self.drain.cancel();
        self.exit.cancel();
    }
}

fn run(exit: &CancellationToken, started: &mpsc::SyncSender<std::io::Result<Handle>>) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(DISK_THREADS)
        .thread_keep_alive(Duration::from_secs(10))
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        let _ = started.send(Ok(runtime.handle().clone()));
        exit.cancelled().await;
    });
    runtime.shutdown_background();
}
