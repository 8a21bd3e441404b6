//! Who may have the whole zone, and who is told of changes.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use mtasts_dns::tsig::TsigKey;
use mtasts_model::Network;

use crate::config::BindError;

/// A secondary nameserver.
///
/// Its answers differ from ours in two ways that matter to nobody who asks for what is there: `edge`, `acme`,
/// `_mta-sts` and `_smtp-tls` do not exist there while nothing is beneath them, and the wildcard covers also what is
/// deeper than one label beneath `edge`.
#[derive(Debug, Clone)]
pub struct TransferPeer {
    /// What logs call it.
    pub name: String,
    /// Its requests must be signed by this key, and NOTIFY to it is signed.
    pub key: Option<TsigKey>,
    /// Its requests must come from one of these. Empty: from anywhere, and a key is needed. An address alone proves
    /// little where routers let forged sources through, so prefer a key.
    pub networks: Vec<Network>,
    /// Where it is told of a new serial (RFC 1996), over UDP. Empty: it finds out at the SOA's refresh interval.
    pub notify: Vec<SocketAddr>,
}

/// What transfers may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferLimits {
    /// Transfers over TCP at the same time; further ones get SERVFAIL, and secondaries come again.
    pub at_once: usize,
    /// For one transfer in all. Each message must be taken within [`crate::Limits::tcp_idle`], too.
    pub deadline: Duration,
    /// Memory for recent changes, in octets: what IXFR is answered from. A secondary that is further behind gets the
    /// whole zone. As much again may be taken while a page of changes is applied, and for each transfer at a time.
    pub journal_octets: usize,
}

impl Default for TransferLimits {
    /// 4 at a time, 10 minutes, 16 MiB (some 50,000 changes).
    fn default() -> Self {
        Self { at_once: 4, deadline: Duration::from_mins(10), journal_octets: 16 << 20 }
    }
}

/// All secondaries.
pub(crate) struct Peers {
    peers: Vec<TransferPeer>,
    keys: Vec<TsigKey>,
}

impl Peers {
    /// Fails when a peer would let everybody in.
    pub(crate) fn new(peers: &[TransferPeer]) -> Result<Self, BindError> {
        if let Some(open) = peers.iter().find(|peer| peer.key.is_none() && peer.networks.is_empty()) {
            return Err(BindError::OpenTransfers { name: open.name.clone() });
        }
        let keys = peers.iter().filter_map(|peer| peer.key.clone()).collect();
        Ok(Self { peers: peers.to_vec(), keys })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &TransferPeer> {
        self.peers.iter()
    }

    /// The keys that requests may be signed by.
    pub(crate) fn keys(&self) -> &[TsigKey] {
        &self.keys
    }

    /// The first peer that this request can be of.
    pub(crate) fn find(&self, signed_by: Option<&TsigKey>, from: IpAddr) -> Option<&TransferPeer> {
        let is_signed = |peer: &TransferPeer| match (&peer.key, signed_by) {
            (None, _) => true,
            (Some(key), Some(by)) => key.name() == by.name() && key.algorithm() == by.algorithm(),
            (Some(_), None) => false,
        };
        let is_from = |peer: &TransferPeer| {
            peer.networks.is_empty() || peer.networks.iter().any(|network| network.contains(from))
        };
        // A peer without both lets nobody in, should one ever get this far.
        let is_closed = |peer: &TransferPeer| peer.key.is_some() || !peer.networks.is_empty();
        self.peers.iter().find(|peer| is_closed(peer) && is_signed(peer) && is_from(peer))
    }
}

#[cfg(test)]
mod tests {
    use mtasts_dns::tsig::TsigAlgorithm;

    use super::*;

    fn key(name: &str, algorithm: TsigAlgorithm) -> TsigKey {
        TsigKey::new(name, algorithm, &"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".into()).unwrap()
    }

    fn peer(key: Option<TsigKey>, networks: &[&str]) -> TransferPeer {
        let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        TransferPeer { name: "second".into(), key, networks, notify: Vec::new() }
    }

    #[test]
    fn a_peer_needs_all_that_is_asked_of_it() {
        let (good, other) = (key("good", TsigAlgorithm::HmacSha256), key("other", TsigAlgorithm::HmacSha256));
        let (inside, outside): (IpAddr, IpAddr) = ("192.0.2.7".parse().unwrap(), "198.51.100.7".parse().unwrap());
        let cases = [
            (peer(Some(good.clone()), &[]), [true, false, false, true]),
            (peer(Some(good.clone()), &["192.0.2.0/24"]), [true, false, false, false]),
            (peer(None, &["192.0.2.0/24"]), [true, true, true, false]),
        ];
        for (peer, [by_key, by_other, by_none, from_outside]) in cases {
            let peers = Peers::new(std::slice::from_ref(&peer)).unwrap();
            assert_eq!(peers.find(Some(&good), inside).is_some(), by_key, "{peer:?}");
            assert_eq!(peers.find(Some(&other), inside).is_some(), by_other, "{peer:?}");
            assert_eq!(peers.find(None, inside).is_some(), by_none, "{peer:?}");
            assert_eq!(peers.find(Some(&good), outside).is_some(), from_outside, "{peer:?}");
        }
        let longer = key("good", TsigAlgorithm::HmacSha512);
        let peers = Peers::new(&[peer(Some(good), &[])]).unwrap();
        assert!(peers.find(Some(&longer), inside).is_none(), "another algorithm is another key");
    }

    #[test]
    fn nobody_is_let_in_by_default_and_a_peer_without_key_and_network_is_no_peer() {
        let nobody = Peers::new(&[]).unwrap();
        assert!(nobody.find(None, "127.0.0.1".parse().unwrap()).is_none());
        assert!(matches!(Peers::new(&[peer(None, &[])]), Err(BindError::OpenTransfers { .. })));
    }
}
