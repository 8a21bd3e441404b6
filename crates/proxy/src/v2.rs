//! Version 2 of the header (§2.2).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::header::{Malformed, START};

/// What every header begins with.
pub(crate) const SIGNATURE: [u8; START] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Addresses and TLVs. The largest that common load balancers send is below 300 bytes.
const MAX_LENGTH: u16 = 2_048;
/// Octets of both addresses and both ports.
const IPV4: usize = 12;
const IPV6: usize = 36;

/// What stands between the signature and the addresses.
struct Head {
    is_local: bool,
    family: u8,
    length: usize,
}

impl Head {
    fn parse([command, family, high, low]: [u8; 4]) -> Result<Self, Malformed> {
        let length = u16::from_be_bytes([high, low]);
        // The version, and what it is: LOCAL or PROXY.
        let is_local = match (command >> 4, command & 15) {
            (2, 0) => true,
            (2, 1) => false,
            _ => return Err(Malformed),
        };
        if length > MAX_LENGTH {
            return Err(Malformed);
        }
        Ok(Self { is_local, family: family >> 4, length: usize::from(length) })
    }

    fn client(&self, rest: &[u8]) -> Result<Option<IpAddr>, Malformed> {
        if self.is_local {
            return Ok(None);
        }
        match self.family {
            1 => rest.first_chunk::<IPV4>().map(|[a, b, c, d, ..]| Some(Ipv4Addr::new(*a, *b, *c, *d).into())),
            2 => rest
                .first_chunk::<IPV6>()
                .and_then(|both| both.first_chunk::<16>())
                .map(|source| Some(Ipv6Addr::from(*source).into())),
            _ => Some(None), // AF_UNSPEC, AF_UNIX
        }
        .ok_or(Malformed)
    }
}

/// Reads exactly the rest of a header, after the signature. `None`: the balancer speaks for itself (a health check) or
/// tells no IP address.
pub(crate) async fn read_on(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Result<Option<IpAddr>, Malformed>> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let Ok(head) = Head::parse(head) else { return Ok(Err(Malformed)) };
    let mut rest = vec![0; head.length];
    stream.read_exact(&mut rest).await?;
    Ok(head.client(&rest))
}
