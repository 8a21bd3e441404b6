//! Version 2 of the header (§2.2).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Addresses and TLVs. The largest that common load balancers send is below 300 bytes.
const MAX_LENGTH: u16 = 2_048;

/// Reads exactly the header. `None`: the balancer speaks for itself (a health check) or tells no IP address.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let mut head = [0; 16];
    stream.read_exact(&mut head).await?;
    let (version, command, family) = (head[12] >> 4, head[12] & 15, head[13]);
    let length = u16::from_be_bytes([head[14], head[15]]);
    if head[..12] != SIGNATURE || version != 2 || command > 1 || length > MAX_LENGTH {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    let mut rest = vec![0; usize::from(length)];
    stream.read_exact(&mut rest).await?;
    if command == 0 {
        return Ok(None); // LOCAL
    }
    match family >> 4 {
        1 => rest.first_chunk::<4>().map(|octets| IpAddr::V4(Ipv4Addr::from(*octets))),
        2 => rest.first_chunk::<16>().map(|octets| IpAddr::V6(Ipv6Addr::from(*octets))),
        _ => return Ok(None), // AF_UNSPEC, AF_UNIX
    }
    .map(Some)
    .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> io::Result<Option<IpAddr>> {
        super::read(&mut &*bytes).await
    }

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    #[tokio::test]
    async fn the_clients_address_is_read_and_not_a_byte_more() {
        let v4 = [192, 0, 2, 7, 127, 0, 0, 1, 0x12, 0x34, 1, 0xbb];
        let mut bytes = header(0x21, 0x11, &v4);
        bytes.extend(b"hello");
        let mut stream = bytes.as_slice();
        assert_eq!(super::read(&mut stream).await.unwrap(), Some("192.0.2.7".parse().unwrap()));
        assert_eq!(stream, b"hello");
        let mut v6 = Ipv6Addr::LOCALHOST.octets().to_vec();
        v6.extend([0; 20]);
        assert_eq!(read(&header(0x21, 0x21, &v6)).await.unwrap(), Some("::1".parse().unwrap()));
        assert_eq!(read(&header(0x20, 0, &[])).await.unwrap(), None);
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        assert!(read(b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n").await.is_err());
        assert!(read(&header(0x11, 0x11, &[0; 12])).await.is_err(), "version 1 in a version 2 header");
        assert!(read(&header(0x22, 0x11, &[0; 12])).await.is_err(), "an unknown command");
        assert!(read(&header(0x21, 0x11, &[0; 3])).await.is_err(), "addresses cut short");
        assert!(read(&header(0x21, 0x11, &[0; 4_000])).await.is_err(), "endless TLVs");
        assert!(read(&header(0x21, 0x11, &[0; 12])[..20]).await.is_err(), "the stream ends");
    }
}
