//! Headers of either version at the begin of a stream.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{Source, Versions, v1, v2};

/// Octets that tell which version it is. No header of either is shorter.
pub(crate) const START: usize = 12;

/// It is no header, or one that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no header of the PROXY protocol")]
pub(crate) struct Malformed;

impl From<Malformed> for io::Error {
    fn from(malformed: Malformed) -> Self {
        Self::new(io::ErrorKind::InvalidData, malformed)
    }
}

/// Reads exactly the header. `None`: the balancer speaks for itself, or does not tell who the client is.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin), versions: Versions) -> io::Result<Option<Source>> {
    let mut start = [0; START];
    stream.read_exact(&mut start).await?;
    let read = if start == v2::SIGNATURE {
        v2::read_on(stream).await?
    } else if versions == Versions::OneOrTwo && start.starts_with(v1::WORD) {
        v1::read_on(start, stream).await?
    } else {
        Err(Malformed)
    };
    Ok(read?)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        net::{IpAddr, Ipv6Addr},
        pin::Pin,
        task::{Context, Poll},
    };

    use proptest::{collection::vec, prelude::*};
    use tokio::io::ReadBuf;

    use super::*;

    async fn of_either(bytes: &[u8]) -> io::Result<Option<IpAddr>> {
        let source = read(&mut &*bytes, Versions::OneOrTwo).await?;
        Ok(source.map(|source| source.address))
    }

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = v2::SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    #[tokio::test]
    async fn the_clients_address_is_read_and_not_a_byte_more() {
        let v4 = [192, 0, 2, 7, 127, 0, 0, 1, 0x12, 0x34, 1, 0xbb];
        for mut bytes in [header(0x21, 0x11, &v4), b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n".to_vec()] {
            bytes.extend(b"hello");
            let mut stream = bytes.as_slice();
            let source = read(&mut stream, Versions::OneOrTwo).await.unwrap();
            assert_eq!(source, Some(Source { address: "192.0.2.7".parse().unwrap(), by_datagram: false }));
            assert_eq!(stream, b"hello");
        }
        let mut v6 = Ipv6Addr::LOCALHOST.octets().to_vec();
        v6.extend([0; 20]);
        assert_eq!(of_either(&header(0x21, 0x21, &v6)).await.unwrap(), Some("::1".parse().unwrap()));
        assert_eq!(of_either(&header(0x20, 0, &[])).await.unwrap(), None);
        assert_eq!(of_either(&header(0x21, 0x31, &[0; 216])).await.unwrap(), None, "AF_UNIX");
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let line = b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n";
        assert!(read(&mut &line[..], Versions::Two).await.is_err(), "version 1 where only 2 is read");
        assert!(of_either(&line[..line.len() - 1]).await.is_err(), "the line does not end");
        assert!(of_either(&[&b"PROXY UNKNOWN "[..], &[b'x'; 92], b"\r\n"].concat()).await.is_err(), "108 octets");
        assert!(of_either(&[&b"PROXY UNKNOWN "[..], &[b'x'; 91], b"\r\n"].concat()).await.is_ok(), "107 octets");
        assert!(of_either(&header(0x11, 0x11, &[0; 12])).await.is_err(), "version 1 in a version 2 header");
        assert!(of_either(&header(0x22, 0x11, &[0; 12])).await.is_err(), "an unknown command");
        assert!(of_either(&header(0x21, 0x11, &[0; 11])).await.is_err(), "addresses cut short");
        assert!(of_either(&header(0x21, 0x21, &[0; 35])).await.is_err(), "addresses cut short");
        assert!(of_either(&header(0x21, 0x11, &[0; 4_000])).await.is_err(), "endless TLVs");
        assert!(of_either(&header(0x21, 0x11, &[0; 12])[..20]).await.is_err(), "the stream ends");
        assert!(of_either(b"EHLO mx.example.net\r\n").await.is_err(), "no header");
    }

    #[test]
    fn a_datagrams_header_is_told_from_what_follows() {
        let v4 = [192, 0, 2, 7, 127, 0, 0, 1, 0x12, 0x34, 0, 53];
        let source = |by_datagram| Some(Source { address: "192.0.2.7".parse().unwrap(), by_datagram });
        let datagram = |family, rest: &[u8]| [&header(0x21, family, &v4)[..], rest].concat();
        assert_eq!(v2::split(&datagram(0x12, b"hello")), Ok((source(true), &b"hello"[..])));
        assert_eq!(v2::split(&datagram(0x11, b"")), Ok((source(false), &b""[..])));
        assert_eq!(v2::split(&header(0x20, 0, &[])), Ok((None, &b""[..])));
        let mapped = [&"::ffff:192.0.2.7".parse::<Ipv6Addr>().unwrap().octets()[..], &[0; 20]].concat();
        assert_eq!(v2::split(&header(0x21, 0x22, &mapped)), Ok((source(true), &b""[..])));
        let whole = datagram(0x12, b"");
        for cut in 0..whole.len() {
            assert_eq!(v2::split(&whole[..cut]), Err(Malformed), "{cut}");
        }
        assert_eq!(v2::split(b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\nhello"), Err(Malformed));
        let longest = header(0x21, 0x12, &[7; 2_048]);
        assert_eq!(longest.len(), v2::MAX_HEADER);
        assert!(v2::split(&longest).is_ok());
        assert_eq!(v2::split(&header(0x21, 0x12, &[7; 2_049])), Err(Malformed));
    }

    /// A stream that comes in pieces.
    struct Pieces(VecDeque<Vec<u8>>);

    impl AsyncRead for Pieces {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            if let Some(mut piece) = self.0.pop_front() {
                let rest = piece.split_off(piece.len().min(buffer.remaining()));
                buffer.put_slice(&piece);
                if !rest.is_empty() {
                    self.0.push_front(rest);
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    /// Headers, what looks like them, and what does not.
    fn begins() -> impl Strategy<Value = Vec<u8>> {
        let second = (any::<u8>(), any::<u8>(), 0..2_100_u16, vec(any::<u8>(), 0..60)).prop_map(
            |(command, family, length, rest)| {
                let length = if command & 1 == 0 { u16::try_from(rest.len()).unwrap() } else { length };
                [&v2::SIGNATURE[..], &[0x20 | command & 1, family], &length.to_be_bytes(), &rest].concat()
            },
        );
        let first =
            "PROXY (TCP4|TCP6|UNKNOWN)( [0-9a-f.:]{0,9}){0,5}(\r\n|\n|\r)?.{0,120}".prop_map(String::into_bytes);
        prop_oneof![second, first, vec(any::<u8>(), 0..300)]
    }

    /// The octets of the header, by the specification's own words.
    fn length(bytes: &[u8]) -> usize {
        if bytes.starts_with(&v2::SIGNATURE) {
            return 16 + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
        }
        bytes.windows(2).position(|end| end == b"\r\n").unwrap() + 2
    }

    proptest! {
        #[test]
        fn any_octets_in_any_pieces_are_read_alike_and_never_beyond_the_header(
            bytes in begins(),
            cuts in vec(1..40_usize, 1..50),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut whole = bytes.as_slice();
            let expected = runtime.block_on(read(&mut whole, Versions::OneOrTwo));
            let mut rest = bytes.as_slice();
            let mut pieces = VecDeque::new();
            for cut in cuts.iter().cycle() {
                let (piece, more) = rest.split_at((*cut).min(rest.len()));
                if piece.is_empty() {
                    break;
                }
                pieces.push_back(piece.to_vec());
                rest = more;
            }
            let mut pieces = Pieces(pieces);
            let seen = runtime.block_on(read(&mut pieces, Versions::OneOrTwo));
            prop_assert_eq!(seen.as_ref().ok(), expected.as_ref().ok());
            if expected.is_ok() {
                prop_assert_eq!(whole, &bytes[length(&bytes)..]);
                prop_assert_eq!(pieces.0.into_iter().flatten().collect::<Vec<_>>(), whole);
            }
            // A datagram of the same octets says the same.
            let second = runtime.block_on(read(&mut bytes.as_slice(), Versions::Two)).ok();
            prop_assert_eq!(v2::split(&bytes).ok(), second.map(|source| (source, whole)));
        }
    }
}
