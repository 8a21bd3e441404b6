//! Ports that nobody has.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use crate::database::random;

/// Below the range from which Linux takes the ports of outgoing connections (32768 and up): a port that the kernel
/// handed out a moment ago is too easily handed out again, to another test, before its listener is up.
const FIRST: u64 = 10_000;
const COUNT: u64 = 22_000;

/// A port of 127.0.0.1 that is free for TCP and for UDP at this moment. Where the code under test can bind port 0 itself,
/// let it: nobody can take that one.
pub fn free_port() -> u16 {
    for _ in 0..1_000 {
        let Ok(port) = u16::try_from(FIRST + random() % COUNT) else { continue };
        let address = (Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
    panic!("found no free port in 1000 draws")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_can_be_bound_for_both_protocols() {
        let port = free_port();
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
        assert!(UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
    }
}
