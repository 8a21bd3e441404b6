//! Version 2 of the header (§2.2).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{
    Source,
    header::{Malformed, START},
};

/// What every header begins with.
pub(crate) const SIGNATURE: [u8; START] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Addresses and TLVs. The largest that common load balancers send is below 300 bytes.
const MAX_LENGTH: u16 = 2_048;
/// Octets of both addresses and both ports.
const IPV4: usize = 12;
const IPV6: usize = 36;
/// SOCK_DGRAM.
const DATAGRAM: u8 = 2;
/// The longest that is read.
pub(crate) const MAX_HEADER: usize = START + 4 + MAX_LENGTH as usize;

/// What stands between the signature and the addresses.
struct Head {
    is_local: bool,
    family: u8,
    transport: u8,
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
        Ok(Self { is_local, family: family >> 4, transport: family & 15, length: usize::from(length) })
    }

    fn source(&self, rest: &[u8]) -> Result<Option<Source>, Malformed> {
        if self.is_local {
            return Ok(None);
        }
        let address: IpAddr = match self.family {
            1 => {
                let [a, b, c, d, ..] = rest.first_chunk::<IPV4>().ok_or(Malformed)?;
                Ipv4Addr::new(*a, *b, *c, *d).into()
            }
            2 => {
                let both = rest.first_chunk::<IPV6>().ok_or(Malformed)?;
                Ipv6Addr::from(*both.first_chunk::<16>().ok_or(Malformed)?).into()
            }
            _ => return Ok(None), // AF_UNSPEC, AF_UNIX
        };
        Ok(Some(Source { address: address.to_canonical(), by_datagram: self.transport == DATAGRAM }))
    }
}

/// Reads exactly the rest of a header, after the signature. `None`: the balancer speaks for itself (a health check) or
/// tells no IP address.
pub(crate) async fn read_on(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Result<Option<Source>, Malformed>> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let Ok(head) = Head::parse(head) else { return Ok(Err(Malformed)) };
    let mut rest = vec![0; head.length];
    stream.read_exact(&mut rest).await?;
    Ok(head.source(&rest))
}

/// Of a datagram: what its header says, and what follows it.
pub(crate) fn split(datagram: &[u8]) -> Result<(Option<Source>, &[u8]), Malformed> {
    let rest = datagram.strip_prefix(&SIGNATURE).ok_or(Malformed)?;
    let (head, rest) = rest.split_first_chunk::<4>().ok_or(Malformed)?;
    let head = Head::parse(*head)?;
    let (addresses, rest) = rest.split_at_checked(head.length).ok_or(Malformed)?;
    Ok((head.source(addresses)?, rest))
}
