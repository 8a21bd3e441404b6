//! Caps on connections: all together, and of one client.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use mtasts_model::network::site;
use parking_lot::Mutex;

/// Counts connections of one kind of listener. It holds only clients that have a connection now.
pub(crate) struct Admission {
    max: usize,
    max_per_client: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
}

impl Open {
    fn count(&mut self, client: IpAddr, max: usize) -> Result<(), NoPlace> {
        let count = self.by_client.entry(client).or_default();
        // The cap is above 0, so an entry that was just made is not refused and stays in use.
        if *count >= max {
            return Err(NoPlace::ClientFull);
        }
        *count += 1;
        Ok(())
    }
}

/// A place among the connections. Gives it back when dropped.
pub(crate) struct Place {
    admission: Arc<Admission>,
    client: Option<IpAddr>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    Full,
    ClientFull,
}

impl NoPlace {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::ClientFull => "address",
        }
    }
}

impl Admission {
    pub(crate) fn new(max: usize, max_per_client: usize) -> Arc<Self> {
        Arc::new(Self { max, max_per_client, open: Mutex::default() })
    }

    /// A place for a connection of this client, or, where it speaks for many (a proxy of ours), of nobody in particular.
    pub(crate) fn enter(self: &Arc<Self>, client: Option<IpAddr>) -> Result<Place, NoPlace> {
        let client = client.map(site);
        let mut open = self.open.lock();
        if open.all >= self.max {
            return Err(NoPlace::Full);
        }
        if let Some(client) = client {
            open.count(client, self.max_per_client)?;
        }
        open.all += 1;
        drop(open);
        Ok(Place { admission: Arc::clone(self), client })
    }

    pub(crate) fn open(&self) -> usize {
        self.open.lock().all
    }
}

impl Place {
    /// Counts a place of nobody in particular to the client that it turns out to be for.
    pub(crate) fn assign(&mut self, client: IpAddr) -> Result<(), NoPlace> {
        let client = site(client);
        self.admission.open.lock().count(client, self.admission.max_per_client)?;
        self.client = Some(client);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.admission.open.lock();
        open.all -= 1;
        if let Some(client) = self.client
            && let Some(count) = open.by_client.get_mut(&client)
        {
            *count -= 1;
            if *count == 0 {
                open.by_client.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_capped_by_client_and_in_all_and_given_back() {
        let admission = Admission::new(3, 1);
        let client = |text: &str| Some(text.parse().unwrap());
        let held = admission.enter(client("2001:db8::1")).ok().unwrap();
        assert_eq!(admission.enter(client("2001:db8::2")).err(), Some(NoPlace::ClientFull), "the same /64");
        let _other = admission.enter(client("2001:db8:0:1::1")).ok().unwrap();
        let _proxy = admission.enter(None).ok().unwrap();
        assert_eq!(admission.enter(client("192.0.2.1")).err(), Some(NoPlace::Full));
        drop(held);
        assert_eq!(admission.open(), 2);
        assert!(admission.enter(client("2001:db8::2")).is_ok());
        assert_eq!(admission.open.lock().by_client.len(), 1);
    }

    #[test]
    fn a_place_that_is_assigned_later_counts_as_any_other() {
        let admission = Admission::new(3, 1);
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        let mut first = admission.enter(None).ok().unwrap();
        let mut second = admission.enter(None).ok().unwrap();
        assert_eq!(first.assign(client), Ok(()));
        assert_eq!(second.assign(client), Err(NoPlace::ClientFull));
        drop(second);
        assert_eq!(admission.enter(Some(client)).err(), Some(NoPlace::ClientFull), "the refused one freed no other");
        drop(first);
        assert_eq!(admission.open(), 0);
        assert!(admission.open.lock().by_client.is_empty());
    }
}
