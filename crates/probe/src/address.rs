//! Which addresses may be connected to, decided after resolution and on the very address that is dialled, so that a
//! name that changes its answer between a check and the connection (rebinding) gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is not connected to. The registries are those of RFC 6890 and its updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// `0.0.0.0/8`, `::`.
    #[error("is unspecified")]
    Unspecified,
    /// `127.0.0.0/8`, `::1`.
    #[error("is loopback")]
    Loopback,
    /// RFC 1918, and unique local addresses (RFC 4193).
    #[error("is private")]
    Private,
    /// `100.64.0.0/10` (RFC 6598).
    #[error("is shared by carrier-grade NAT")]
    CarrierGradeNat,
    /// `169.254.0.0/16`, `fe80::/10`: also where clouds keep their metadata.
    #[error("is link-local")]
    LinkLocal,
    /// Multicast and broadcast.
    #[error("is multicast or broadcast")]
    Multicast,
    /// Documentation, benchmarks, protocol assignments, and what is not global unicast.
    #[error("is reserved")]
    Reserved,
    /// An IPv4 address inside of an IPv6 one: mapped, compatible, NAT64, 6to4, Teredo, ISATAP-like forms.
    #[error("embeds an IPv4 address")]
    Embedded,
}

/// Why `address` must not be connected to; `None` when it may be.
///
/// `allow_private` is for demos and private networks: loopback, private and carrier-grade NAT addresses are then
/// allowed. Link-local, multicast and embedded forms never are: no mail host has them.
pub fn refusal(address: IpAddr, allow_private: bool) -> Option<Refusal> {
    let refusal = match address {
        IpAddr::V4(v4) => refusal_v4(v4),
        IpAddr::V6(v6) => refusal_v6(v6),
    }?;
    let pardoned = matches!(refusal, Refusal::Loopback | Refusal::Private | Refusal::CarrierGradeNat);
    (!(allow_private && pardoned)).then_some(refusal)
}

#[expect(clippy::match_same_arms, reason = "one line for each entry of the registries, in their order")]
fn refusal_v4(address: Ipv4Addr) -> Option<Refusal> {
    let [a, b, c, _] = address.octets();
    Some(match (a, b, c) {
        (0, ..) => Refusal::Unspecified,
        (127, ..) => Refusal::Loopback,
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => Refusal::Private,
        (100, 64..=127, _) => Refusal::CarrierGradeNat,
        (169, 254, _) => Refusal::LinkLocal,
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 18..=19, _) | (198, 51, 100) | (203, 0, 113) => Refusal::Reserved,
        (224..=239, ..) | (255, 255, 255) => Refusal::Multicast,
        (240..=255, ..) => Refusal::Reserved,
        _ => return None,
    })
}

#[expect(clippy::match_same_arms, reason = "one line for each entry of the registries, in their order")]
fn refusal_v6(address: Ipv6Addr) -> Option<Refusal> {
    Some(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Refusal::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Refusal::Loopback,
        // ::/96 compatible, ::ffff:0:0/96 mapped, ::ffff:0:0:0/96 translated (RFC 2765).
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => Refusal::Embedded,
        // NAT64 (RFC 6052, RFC 8215), Teredo (RFC 4380), 6to4 (RFC 3056).
        [0x64, 0xff9b, ..] | [0x2001, 0, ..] | [0x2002, ..] => Refusal::Embedded,
        // ISATAP (RFC 5214): any prefix, then 0:5efe or 200:5efe and an IPv4 address.
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => Refusal::Embedded,
        [0xfc00..=0xfdff, ..] => Refusal::Private,
        [0xfe80..=0xfebf, ..] => Refusal::LinkLocal,
        [0xfec0..=0xfeff, ..] => Refusal::Private,
        [0xff00..=0xffff, ..] => Refusal::Multicast,
        // 2001::/23 protocol assignments, 2001:db8::/32 and 3fff::/20 documentation.
        [0x2001, 0x1..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Refusal::Reserved,
        // All of today's global unicast is in 2000::/3.
        [0x2000..=0x3fff, ..] => return None,
        _ => Refusal::Reserved,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, allow_private: bool) -> Option<Refusal> {
        refusal(text.parse().unwrap(), allow_private)
    }

    #[test]
    fn only_public_unicast_addresses_are_connected_to() {
        let table = [
            ("8.8.8.8", None),
            ("100.63.255.255", None),
            ("172.15.0.1", None),
            ("172.32.0.1", None),
            ("192.0.1.1", None),
            ("223.255.255.255", None),
            ("0.0.0.0", Some(Refusal::Unspecified)),
            ("0.1.2.3", Some(Refusal::Unspecified)),
            ("127.0.0.1", Some(Refusal::Loopback)),
            ("127.255.255.254", Some(Refusal::Loopback)),
            ("10.0.0.1", Some(Refusal::Private)),
            ("172.16.0.1", Some(Refusal::Private)),
            ("172.31.255.255", Some(Refusal::Private)),
            ("192.168.1.1", Some(Refusal::Private)),
            ("100.64.0.1", Some(Refusal::CarrierGradeNat)),
            ("100.127.255.255", Some(Refusal::CarrierGradeNat)),
            ("169.254.169.254", Some(Refusal::LinkLocal)),
            ("192.0.0.8", Some(Refusal::Reserved)),
            ("192.0.2.1", Some(Refusal::Reserved)),
            ("192.88.99.1", Some(Refusal::Reserved)),
            ("198.18.0.1", Some(Refusal::Reserved)),
            ("198.19.255.255", Some(Refusal::Reserved)),
            ("198.51.100.1", Some(Refusal::Reserved)),
            ("203.0.113.1", Some(Refusal::Reserved)),
            ("224.0.0.1", Some(Refusal::Multicast)),
            ("239.255.255.255", Some(Refusal::Multicast)),
            ("240.0.0.1", Some(Refusal::Reserved)),
            ("255.255.255.255", Some(Refusal::Multicast)),
            ("2606:4700::1111", None),
            ("2a00:1450:4001::1", None),
            ("2001:200::1", None),
            ("::", Some(Refusal::Unspecified)),
            ("::1", Some(Refusal::Loopback)),
            ("::7f00:1", Some(Refusal::Embedded)),
            ("::ffff:127.0.0.1", Some(Refusal::Embedded)),
            ("::ffff:8.8.8.8", Some(Refusal::Embedded)),
            ("::ffff:0:7f00:1", Some(Refusal::Embedded)),
            ("64:ff9b::7f00:1", Some(Refusal::Embedded)),
            ("64:ff9b:1::a9fe:a9fe", Some(Refusal::Embedded)),
            ("2002:7f00:1::", Some(Refusal::Embedded)),
            ("2001:0:4136:e378::1", Some(Refusal::Embedded)),
            ("2606:4700::5efe:7f00:1", Some(Refusal::Embedded)),
            ("2606:4700::200:5efe:a00:1", Some(Refusal::Embedded)),
            ("fc00::1", Some(Refusal::Private)),
            ("fdff::1", Some(Refusal::Private)),
            ("fe80::1", Some(Refusal::LinkLocal)),
            ("febf::1", Some(Refusal::LinkLocal)),
            ("fec0::1", Some(Refusal::Private)),
            ("ff02::1", Some(Refusal::Multicast)),
            ("100::1", Some(Refusal::Reserved)),
            ("2001:2::1", Some(Refusal::Reserved)),
            ("2001:20::1", Some(Refusal::Reserved)),
            ("2001:db8::1", Some(Refusal::Reserved)),
            ("3fff::1", Some(Refusal::Reserved)),
            ("4000::1", Some(Refusal::Reserved)),
            ("5f00::1", Some(Refusal::Reserved)),
        ];
        for (address, expected) in table {
            assert_eq!(refused(address, false), expected, "{address}");
        }
    }

    #[test]
    fn a_private_network_may_be_allowed_but_never_link_local_or_embedded_forms() {
        for allowed in ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.1", "100.64.0.1", "fd00::1", "8.8.8.8"] {
            assert_eq!(refused(allowed, true), None, "{allowed}");
        }
        for never in ["169.254.169.254", "fe80::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "0.0.0.0"] {
            assert!(refused(never, true).is_some(), "{never}");
        }
    }
}
