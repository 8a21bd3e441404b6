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

/// Who a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Its address, and never an IPv4 address within IPv6.
    pub address: IpAddr,
    /// It came by datagrams, so nobody has proved that the address is its own, however the load balancer passes it on.
    pub by_datagram: bool,
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

    /// Octets of the longest header that may come.
    pub fn longest_header(&self) -> usize {
        match self {
            Self::Off => 0,
            Self::Required { .. } => v2::MAX_HEADER,
        }
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
        Ok(self.source(stream, peer, versions, deadline).await?.address)
    }

    /// As [`Self::client`], and how it came to the load balancer.
    pub async fn source(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        peer: IpAddr,
        versions: Versions,
        deadline: Instant,
    ) -> Result<Source, Refused> {
        let itself = Source { address: peer, by_datagram: false };
        if !self.wants_header(peer)? {
            return Ok(itself);
        }
        let read = timeout_at(deadline, header::read(stream, versions)).await.map_err(|_| Refused::Late)?;
        Ok(read.map_err(Refused::Header)?.unwrap_or(itself))
    }

    /// Whom a datagram of `peer` is for, and what is left of it without its header, which is of version 2.
    pub fn source_of_datagram<'a>(&self, datagram: &'a [u8], peer: IpAddr) -> Result<(Source, &'a [u8]), Refused> {
        let itself = Source { address: peer, by_datagram: true };
        if !self.wants_header(peer)? {
            return Ok((itself, datagram));
        }
        let (source, rest) = v2::split(datagram).map_err(|malformed| Refused::Header(malformed.into()))?;
        Ok((source.unwrap_or(itself), rest))
    }

    fn wants_header(&self, peer: IpAddr) -> Result<bool, Refused> {
        match self {
            Self::Off => Ok(false),
            Self::Required { trusted } if trusted.iter().any(|network| network.contains(peer)) => Ok(true),
            Self::Required { .. } => Err(Refused::Stranger),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(trusted: &str) -> ProxyProtocol {
        ProxyProtocol::behind(vec![trusted.parse().unwrap()])
    }

    #[test]
    fn a_datagram_needs_a_header_and_a_load_balancer() {
        let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\0\x01\0\x35";
        let datagram = [&header[..], b"hello"].concat();
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        let told = |protocol: &ProxyProtocol, datagram: &[u8]| {
            let (source, rest) = protocol.source_of_datagram(datagram, peer).ok()?;
            Some((source.address.to_string(), rest.to_vec()))
        };
        assert_eq!(told(&behind("10.0.0.0/8"), &datagram), Some(("192.0.2.7".to_owned(), b"hello".to_vec())));
        assert_eq!(told(&behind("10.0.0.0/8"), b"hello"), None);
        assert_eq!(told(&behind("10.1.0.0/16"), &datagram), None);
        assert_eq!(told(&behind("10.1.0.0/16"), b"hello"), None);
        assert_eq!(told(&ProxyProtocol::Off, &datagram), Some(("10.0.0.1".to_owned(), datagram.clone())));
    }

    #[test]
    fn without_a_load_balancer_it_is_off() {
        assert_eq!(ProxyProtocol::behind(Vec::new()), ProxyProtocol::default());
        assert_eq!(ProxyProtocol::Off.longest_header(), 0);
    }
}
