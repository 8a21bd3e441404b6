//! Zone transfers to secondaries: AXFR (RFC 5936) and IXFR (RFC 1995), to whom [`TransferPeer`] lets in and to nobody
//! else.
//!
//! The zone of a transfer is that of one serial, however much it changes meanwhile: the live records are read shard by
//! shard, and what has changed in a shard since that serial is taken from what the journal has kept beside it. Nothing
//! is copied but one shard at a time and what changes.

mod content;
mod messages;
mod peers;

use std::{net::IpAddr, sync::Arc, time::Duration};

use hickory_proto::{
    op::{Message, Query, ResponseCode},
    rr::{RData, RecordType},
};
use mtasts_dns::tsig::AnswerSigner;
use mtasts_model::clock::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::{
    content::Content,
    messages::{Frame, Single, TransferError},
};
use crate::{
    journal::{Delta, Journal, Since},
    records::owner_of,
    respond::Transport,
    zone::Zone,
};

pub use self::peers::{TransferLimits, TransferPeer};
pub(crate) use self::{messages::Transfer, peers::Peers};

/// More changed sets than this are not even tried to fit into a UDP answer.
const MOST_OVER_UDP: usize = 64;

/// What becomes of a request for a transfer.
pub(crate) enum Decision {
    /// One message over UDP. If the request was signed, so is the message, and nobody has forged its source.
    Message { octets: Vec<u8>, is_signed: bool },
    /// Many messages, over TCP.
    Stream(Box<Transfer>),
    /// None.
    Refuse(ResponseCode),
}

/// Serves transfers.
pub(crate) struct Transfers {
    pub(crate) peers: Peers,
    /// For one transfer in all.
    pub(crate) deadline: Duration,
    places: Arc<Semaphore>,
}

/// A request for a transfer as it came.
pub(crate) struct Request<'a> {
    pub(crate) message: &'a Message,
    pub(crate) record_type: RecordType,
    pub(crate) transport: Transport,
    pub(crate) from: IpAddr,
    /// The longest answer over UDP, in octets.
    pub(crate) limit: usize,
    pub(crate) now: Timestamp,
}

impl Transfers {
    pub(crate) fn new(peers: Peers, limits: &TransferLimits) -> Self {
        let places = Arc::new(Semaphore::new(limits.at_once.min(Semaphore::MAX_PERMITS)));
        Self { peers, deadline: limits.deadline, places }
    }

    /// Decides on a request whose only question is for AXFR or IXFR. `signer` is there exactly when its signature is
    /// good.
    pub(crate) fn decide(
        &self,
        request: &Request<'_>,
        signer: &mut Option<AnswerSigner>,
        zone: &Zone,
        journal: &Journal,
    ) -> Decision {
        let signed_by = signer.as_ref().map(AnswerSigner::key);
        let Some(peer) = self.peers.find(signed_by, request.from) else {
            tracing::debug!(from = %request.from, "a zone transfer was refused");
            return Decision::Refuse(ResponseCode::Refused);
        };
        let is_apex = |query: &Query| owner_of(query.name(), zone.origin()).is_some_and(|owner| owner.is_empty());
        if !request.message.queries.first().is_some_and(is_apex) {
            return Decision::Refuse(ResponseCode::NotAuth);
        }
        match (request.record_type, request.transport) {
            (RecordType::AXFR, Transport::Tcp) => self.whole(request, &peer.name, signer, zone, journal),
            // RFC 5936 §4.2: not defined.
            (RecordType::AXFR, Transport::Udp) => Decision::Refuse(ResponseCode::FormErr),
            _ => self.difference(request, &peer.name, signer, zone, journal),
        }
    }

    fn whole(
        &self,
        request: &Request<'_>,
        peer: &str,
        signer: &mut Option<AnswerSigner>,
        zone: &Zone,
        journal: &Journal,
    ) -> Decision {
        let Some(place) = self.place(peer) else { return Decision::Refuse(ResponseCode::ServFail) };
        let Some(view) = journal.view(zone) else { return Decision::Refuse(ResponseCode::ServFail) };
        let frame = Frame {
            request: request.message,
            origin: zone.origin(),
            signer: signer.take(),
            peer: peer.to_owned(),
            serial: view.serial(),
            is_whole: true,
            place: Some(place),
        };
        stream(Transfer::new(frame, Content::whole(&view)))
    }

    fn difference(
        &self,
        request: &Request<'_>,
        peer: &str,
        signer: &mut Option<AnswerSigner>,
        zone: &Zone,
        journal: &Journal,
    ) -> Decision {
        // RFC 1995 §3: what the client has is in the authority section.
        let theirs = request.message.authorities.iter().find_map(|record| match &record.data {
            RData::SOA(soa) => Some(soa.serial),
            _ => None,
        });
        let Some(theirs) = theirs else { return Decision::Refuse(ResponseCode::FormErr) };
        let Some((ours, since)) = journal.since(theirs) else { return Decision::Refuse(ResponseCode::ServFail) };
        let over_udp = request.transport == Transport::Udp;
        let (content, place) = match since {
            Since::Current => (Content::soa(ours), None),
            Since::Ahead => {
                tracing::warn!(peer, theirs, ours, "a secondary has a newer serial than the zone");
                (Content::soa(ours), None)
            }
            // It comes back over TCP (RFC 1995 §2).
            Since::Unknown if over_udp => (Content::soa(ours), None),
            Since::Changes(deltas) if over_udp && sets(&deltas) > MOST_OVER_UDP => (Content::soa(ours), None),
            Since::Unknown => return self.whole(request, peer, signer, zone, journal),
            Since::Changes(deltas) => {
                let place = match self.place(peer) {
                    _ if over_udp => None,
                    None => return Decision::Refuse(ResponseCode::ServFail),
                    place => place,
                };
                match Content::difference(zone, theirs, ours, &deltas) {
                    Ok(Some(content)) => (content, place),
                    Ok(None) => {
                        drop(place);
                        return self.whole(request, peer, signer, zone, journal);
                    }
                    Err(error) => return failed(&error),
                }
            }
        };
        let frame = |signer, place| Frame {
            request: request.message,
            origin: zone.origin(),
            signer,
            peer: peer.to_owned(),
            serial: ours,
            is_whole: false,
            place,
        };
        if !over_udp {
            return stream(Transfer::new(frame(signer.take(), place), content));
        }
        let single =
            |content, signer| Transfer::new(frame(signer, None), content)?.single(request.limit, zone, request.now);
        let is_signed = signer.is_some();
        let first = match single(content, signer.take()) {
            Ok(Single::TooLong(signer)) => single(Content::soa(ours), signer),
            first => first,
        };
        match first {
            Ok(Single::Message(octets)) => Decision::Message { octets, is_signed },
            Ok(Single::TooLong(_)) => Decision::Refuse(ResponseCode::ServFail),
            Err(error) => failed(&error),
        }
    }

    fn place(&self, peer: &str) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        if place.is_none() {
            tracing::warn!(peer, "too many zone transfers at a time");
        }
        place
    }
}

/// How many record sets the deltas speak of.
fn sets(deltas: &[Arc<Delta>]) -> usize {
    deltas.iter().map(|delta| delta.changes.len()).sum()
}

fn stream(transfer: Result<Transfer, TransferError>) -> Decision {
    match transfer {
        Ok(transfer) => Decision::Stream(Box::new(transfer)),
        Err(error) => failed(&error),
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Decision {
    tracing::error!(error, "a zone transfer cannot be served");
    Decision::Refuse(ResponseCode::ServFail)
}
