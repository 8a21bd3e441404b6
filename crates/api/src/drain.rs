//! The end of a server at which no request is lost. The server's own graceful stop ends at once every connection that has
//! not sent the whole header of a request, also one on which the next request is under way: before that, connections are
//! told to end, each by the answer to its request.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_web::{
    Error,
    body::MessageBody,
    dev::{Extensions, ServiceRequest, ServiceResponse},
    http::ConnectionType,
    middleware::Next,
};
use tokio::{sync::watch, time::timeout};

/// How long connections are told, if any are open. What is kept open and silent for longer is ended without a word.
const FAREWELL: Duration = Duration::from_secs(2);

/// What connections and the stop know of each other.
#[derive(Clone, Default)]
pub(crate) struct Farewell(Arc<Inner>);

#[derive(Default)]
struct Inner {
    begun: AtomicBool,
    open: watch::Sender<usize>,
}

/// Counted for as long as its connection is open.
struct Open(Farewell);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.open.send_modify(|open| *open -= 1);
    }
}

impl Farewell {
    /// For each new connection.
    pub(crate) fn on_connect(&self) -> impl Fn(&dyn Any, &mut Extensions) + Send + Clone + 'static {
        let farewell = self.clone();
        move |_, connection| {
            farewell.0.open.send_modify(|open| *open += 1);
            connection.insert(Open(farewell.clone()));
        }
    }

    /// From now on answers end their connections. Waits until none is open, or for as long as that may take.
    pub(crate) async fn say(&self) {
        self.0.begun.store(true, Ordering::Relaxed);
        let mut open = self.0.open.subscribe();
        // It cannot be closed: we hold the sender.
        let _ = timeout(FAREWELL, open.wait_for(|open| *open == 0)).await;
    }
}

/// Around every request.
pub(crate) async fn tell(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let farewell = request.app_data::<Farewell>().cloned();
    let mut response = next.call(request).await?;
    if farewell.is_some_and(|farewell| farewell.0.begun.load(Ordering::Relaxed)) {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}
