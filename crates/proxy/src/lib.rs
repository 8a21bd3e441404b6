//! The PROXY protocol: a load balancer's word on who the client is, before anything of the client's.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>
//!
//! A header is believed from the operator's own load balancers alone. Where they are named, nobody else is let in: whoever
//! could come with and without a header could choose its address.

mod header;
mod v1;
mod v2;

use std::{io, net::IpAddr};

use mtasts_model::Network;
use tokio::{
    io::AsyncRead,
    time::{Instant, timeout_at},
};

/// Whether there are load balancers before a listener that send the PROXY protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// There are none: whoever connects is the client.
    #[default]
    Off,
    /// Each connection must come from one of these networks and begin with the header.
    Required {
        /// The load balancers.
        trusted: Vec<Network>,
    },
}

/// Which headers a listener reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// Version 2 alone.
    Two,
    /// Whichever comes.
    OneOrTwo,
}

/// Why nothing was taken from a peer.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is none of the load balancers.
    #[error("it is none of our load balancers")]
    Stranger,
    /// The header cannot be read.
    #[error("there is no PROXY header")]
    Header(#[source] io::Error),
    /// The header did not come in time.
    #[error("the PROXY header did not come in time")]
    Late,
}

impl ProxyProtocol {
    /// Behind these load balancers; off if there are none.
    pub fn behind(trusted: Vec<Network>) -> Self {
        if trusted.is_empty() { Self::Off } else { Self::Required { trusted } }
    }

    /// Whom a connection of `peer` is for: reads exactly the header, until `deadline`, where one is required. A load
    /// balancer that speaks for itself (a health check) is the client.
    pub async fn client(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        peer: IpAddr,
        versions: Versions,
        deadline: Instant,
    ) -> Result<IpAddr, Refused> {
        let Self::Required { trusted } = self else { return Ok(peer) };
        if !trusted.iter().any(|network| network.contains(peer)) {
            return Err(Refused::Stranger);
        }
        let read = timeout_at(deadline, header::read(stream, versions)).await.map_err(|_| Refused::Late)?;
        Ok(read.map_err(Refused::Header)?.unwrap_or(peer))
    }
}
