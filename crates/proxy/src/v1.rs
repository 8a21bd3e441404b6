//! Version 1 of the header: a line of text (§2.1).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{
    Source,
    header::{Malformed, START},
};

/// What every line begins with.
pub(crate) const WORD: &[u8] = b"PROXY ";
/// The longest line, with its end.
const MAX_LINE: usize = 107;

/// Reads on to the end of the line that begins with `start`. `None`: the balancer does not tell who the client is.
pub(crate) async fn read_on(
    start: [u8; START],
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Result<Option<Source>, Malformed>> {
    let mut line = start.to_vec();
    // Octet by octet, as what follows the line is not ours.
    while !line.ends_with(b"\r\n") {
        if line.len() == MAX_LINE {
            return Ok(Err(Malformed));
        }
        line.push(stream.read_u8().await?);
    }
    line.truncate(line.len() - 2);
    Ok(parse(&line))
}

fn parse(line: &[u8]) -> Result<Option<Source>, Malformed> {
    let line = str::from_utf8(line).map_err(|_| Malformed)?;
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        // Whatever else it says is to be ignored.
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", "TCP4", source, destination, from, to] if is_port(from) && is_port(to) => {
            client::<Ipv4Addr>(source, destination)
        }
        ["PROXY", "TCP6", source, destination, from, to] if is_port(from) && is_port(to) => {
            client::<Ipv6Addr>(source, destination)
        }
        _ => Err(Malformed),
    }
}

fn client<Address: FromStr + Into<IpAddr>>(source: &str, destination: &str) -> Result<Option<Source>, Malformed> {
    match (source.parse::<Address>(), destination.parse::<Address>()) {
        (Ok(source), Ok(_)) => Ok(Some(Source { address: source.into().to_canonical(), by_datagram: false })),
        _ => Err(Malformed),
    }
}

fn is_port(word: &str) -> bool {
    word.bytes().all(|octet| octet.is_ascii_digit()) && word.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_address_is_read() {
        let read = |line: &str| parse(line.as_bytes()).map(|source| source.map(|source| source.address.to_string()));
        assert_eq!(read("PROXY TCP4 192.0.2.7 198.51.100.1 56324 25"), Ok(Some("192.0.2.7".to_owned())));
        assert_eq!(read("PROXY TCP6 2001:db8::7 2001:db8::1 56324 25"), Ok(Some("2001:db8::7".to_owned())));
        assert_eq!(read("PROXY UNKNOWN"), Ok(None));
        assert_eq!(read("PROXY UNKNOWN ffff::1 whatever"), Ok(None));
    }

    #[test]
    fn a_line_that_is_not_written_so_is_refused() {
        for line in [
            "PROXY",
            "PROXY ",
            "PROXY TCP4",
            "proxy TCP4 192.0.2.7 198.51.100.1 56324 25",
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324",
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324 25 26",
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324 65536",
            "PROXY TCP4 192.0.2.7 198.51.100.1 +1 25",
            "PROXY TCP4 192.0.2.7 198.51.100.1  25",
            "PROXY TCP4  192.0.2.7 198.51.100.1 56324 25",
            "PROXY TCP4 192.0.2.007 198.51.100.1 56324 25",
            "PROXY TCP4 192.0.2.7 nowhere 56324 25",
            "PROXY TCP4 2001:db8::7 2001:db8::1 56324 25",
            "PROXY TCP6 192.0.2.7 198.51.100.1 56324 25",
            "PROXY TCP5 192.0.2.7 198.51.100.1 56324 25",
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\r",
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\nEHLO a",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(Malformed), "{line:?}");
        }
        assert_eq!(parse(b"PROXY \xff"), Err(Malformed));
    }
}
