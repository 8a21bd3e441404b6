//! IP addresses as strangers write them.

use std::net::IpAddr;

use serde::Serialize;

use crate::{DeviationCode, Deviations, deviation::excerpt};

/// An IP address, or the text that stands in its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Address {
    /// The address; of a prefix, its first one. Nothing if the text is none.
    pub ip: Option<IpAddr>,
    /// Bits of a prefix, where the sender hides the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<u8>,
    /// As it came, trimmed.
    pub text: String,
}

impl Address {
    pub(crate) fn read(text: &str, place: &str, deviations: &mut Deviations) -> Self {
        let trimmed = text.trim();
        // An address literal of RFC 5321 §4.1.3.
        let bare = trimmed.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(trimmed);
        let bare = match bare.get(..5) {
            Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => &bare[5..],
            _ => bare,
        };
        if bare != trimmed {
            deviations.note(DeviationCode::Untrimmed, place, format!("brackets around {}", excerpt(bare)));
        }
        let (host, bits) = match bare.split_once('/') {
            Some((host, bits)) => (host, bits.parse().ok()),
            None => (bare, None),
        };
        let ip = host.split('%').next().unwrap_or(host).parse::<IpAddr>().ok();
        let prefix = bits.filter(|bits| ip.is_some_and(|ip| *bits <= if ip.is_ipv4() { 32 } else { 128 }));
        let ip = ip.filter(|_| prefix.is_some() || !bare.contains('/'));
        match ip {
            None => {
                deviations.note(DeviationCode::NotAnAddress, place, format!("{} is not an IP address", excerpt(text)));
            }
            Some(_) if prefix.is_some() => {
                deviations.note(DeviationCode::AddressPrefix, place, format!("{bare} is a prefix, not an address"));
            }
            Some(_) => {}
        }
        Self { ip, prefix, text: trimmed.to_owned() }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.ip, self.prefix) {
            (Some(ip), Some(bits)) => f.pad(&format!("{ip}/{bits}")),
            (Some(ip), None) => f.pad(&ip.to_string()),
            (None, _) => f.pad(&self.text),
        }
    }
}
