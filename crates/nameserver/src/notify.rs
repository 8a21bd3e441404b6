//! Tells secondaries of a new serial (RFC 1996).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_proto::{
    ProtoError,
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Record, RecordType},
};
use mtasts_dns::tsig::{Trust, TsigError, TsigKey};
use mtasts_model::Entropy;
use tokio::{
    net::UdpSocket,
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    counters::{Counters, Notified},
    respond::Responder,
};

/// Changes within this time after a notification are told of together.
const GATHER: Duration = Duration::from_secs(1);
/// For an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// After a notification without an acknowledgement; doubled each time.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_mins(1);
/// No answer to a NOTIFY is longer.
const LONGEST_ANSWER: usize = 4096;

/// Why a secondary has not acknowledged.
#[derive(Debug, thiserror::Error)]
enum NotifyError {
    #[error("the secondary cannot be reached")]
    Io(#[from] io::Error),
    #[error("the secondary gives no answer")]
    Unanswered,
    #[error("the secondary refuses the notification ({0})")]
    Refused(ResponseCode),
    #[error("the notification cannot be signed, or its signature was refused")]
    Tsig(#[from] TsigError),
    #[error("the notification cannot be written")]
    Message(#[from] ProtoError),
}

/// One address of one secondary.
pub(super) struct Target {
    /// What logs call the secondary.
    pub(super) peer: String,
    pub(super) address: SocketAddr,
    pub(super) key: Option<TsigKey>,
    /// Where notifications come from: secondaries compare it with their list of primaries.
    pub(super) source: IpAddr,
}

impl Target {
    /// The source is the first address of the same family that the nameserver listens on.
    pub(super) fn source(target: SocketAddr, listen: &[SocketAddr]) -> IpAddr {
        let any = if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        listen.iter().map(SocketAddr::ip).find(|address| address.is_ipv4() == target.is_ipv4()).unwrap_or(any)
    }
}

/// Tells one target of each new serial until it acknowledges, or the nameserver stops.
pub(super) async fn notify(
    target: Target,
    responder: Arc<Responder>,
    entropy: Arc<dyn Entropy>,
    shutdown: CancellationToken,
) {
    let mut serials = responder.journal.serials();
    let telling = async {
        let mut acknowledged = None;
        // Ends only with the journal.
        while let Some(serial) = next_serial(&mut serials, acknowledged).await {
            let mut pause = BACKOFF_FIRST;
            let mut serial = serial;
            while let Err(error) = tell(&target, serial, &responder, &*entropy).await {
                count(&responder.counters, Some(&error));
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    peer = %target.peer, address = %target.address, serial, ?pause,
                    "a secondary could not be notified"
                );
                sleep(pause).await;
                pause = (pause * 2).min(BACKOFF_MAX);
                serial = (*serials.borrow_and_update()).unwrap_or(serial);
            }
            count(&responder.counters, None);
            acknowledged = Some(serial);
            sleep(GATHER).await;
        }
    };
    shutdown.run_until_cancelled(telling).await;
}

fn count(counters: &Counters, error: Option<&NotifyError>) {
    counters.notified(match error {
        None => Notified::Acknowledged,
        Some(NotifyError::Unanswered) => Notified::Unanswered,
        Some(NotifyError::Refused(_)) => Notified::Refused,
        Some(_) => Notified::Failed,
    });
}

async fn next_serial(serials: &mut watch::Receiver<Option<u32>>, acknowledged: Option<u32>) -> Option<u32> {
    let new = serials.wait_for(|serial| serial.is_some() && *serial != acknowledged).await;
    new.ok().and_then(|serial| *serial)
}

async fn tell(target: &Target, serial: u32, responder: &Responder, entropy: &dyn Entropy) -> Result<(), NotifyError> {
    let mut id = [0; 2];
    entropy.fill(&mut id);
    let id = u16::from_be_bytes(id);
    let mut message = Message::new(id, MessageType::Query, OpCode::Notify);
    message.metadata.authoritative = true;
    let origin = responder.zone.origin();
    message.add_query(Query::query(origin.clone(), RecordType::SOA));
    // A hint that saves the secondary a question (§3.11).
    let (ttl, soa) = responder.zone.soa_at(serial);
    message.add_answer(Record::from_rdata(origin.clone(), ttl, soa));
    let mut octets = message.to_vec()?;
    let clock = &*responder.clock;
    let mut verifier = match &target.key {
        Some(key) => Some(key.sign_request(&mut octets, clock.now())?),
        None => None,
    };

    // A port of its own for each, so that nobody can acknowledge in the secondary's place by guessing the id alone.
    let socket = UdpSocket::bind(SocketAddr::new(target.source, 0)).await?;
    socket.connect(target.address).await?;
    socket.send(&octets).await?;
    let mut buffer = vec![0; LONGEST_ANSWER];
    let answer = async {
        loop {
            let length = socket.recv(&mut buffer).await?;
            let Some(octets) = buffer.get(..length) else { continue };
            let Some(code) = acknowledgement(octets, id) else { continue };
            match verifier.as_mut().map(|verifier| verifier.verify(octets, clock.now())) {
                None | Some(Ok(Trust::Verified)) if code == ResponseCode::NoError => return Ok(()),
                // A refusal of our signature cannot be signed (RFC 8945 §5.3.2). It is no acknowledgement in any case.
                Some(Err(error @ TsigError::Refused(_))) => return Err(error.into()),
                None | Some(Ok(Trust::Verified)) => return Err(NotifyError::Refused(code)),
                Some(_) => {}
            }
        }
    };
    timeout(PATIENCE, answer).await.map_err(|_| NotifyError::Unanswered)?
}

/// The code of the answer to the notification with this id (§3.7), if this is one.
fn acknowledgement(octets: &[u8], id: u16) -> Option<ResponseCode> {
    let metadata = Message::from_vec(octets).ok()?.metadata;
    let is_answer = metadata.message_type == MessageType::Response && metadata.op_code == OpCode::Notify;
    (is_answer && metadata.id == id).then_some(metadata.response_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_this_notification_acknowledges_it() {
        let answer = |id, op_code| Message::response(id, op_code).to_vec().unwrap();
        assert_eq!(acknowledgement(&answer(7, OpCode::Notify), 7), Some(ResponseCode::NoError));
        assert_eq!(acknowledgement(&answer(8, OpCode::Notify), 7), None);
        assert_eq!(acknowledgement(&answer(7, OpCode::Query), 7), None);
        let question = Message::new(7, MessageType::Query, OpCode::Notify).to_vec().unwrap();
        assert_eq!(acknowledgement(&question, 7), None);
        assert_eq!(acknowledgement(b"no message", 7), None);
        let refused = Message::error_msg(7, OpCode::Notify, ResponseCode::Refused).to_vec().unwrap();
        assert_eq!(acknowledgement(&refused, 7), Some(ResponseCode::Refused));
    }

    #[test]
    fn a_notification_leaves_from_where_the_nameserver_listens() {
        let listen = ["[2001:db8::1]:53".parse().unwrap(), "192.0.2.1:53".parse().unwrap()];
        let source = |target: &str| Target::source(target.parse().unwrap(), &listen);
        assert_eq!(source("198.51.100.1:53"), "192.0.2.1".parse::<IpAddr>().unwrap());
        assert_eq!(source("[2001:db8::2]:53"), "2001:db8::1".parse::<IpAddr>().unwrap());
        assert_eq!(Target::source("[2001:db8::2]:53".parse().unwrap(), &listen[1..]), IpAddr::from([0_u16; 8]));
    }
}
