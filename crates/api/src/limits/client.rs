//! Where a request comes from, behind proxies that are ours.

use std::net::IpAddr;

use actix_web::http::header::{HeaderMap, X_FORWARDED_FOR};
use mtasts_model::{Network, network::client_behind};

/// The client: the peer, or, where that is a proxy of ours, whom it had the request from.
pub(super) fn client(peer: IpAddr, headers: &HeaderMap, proxies: &[Network]) -> IpAddr {
    // What is no text is no address either.
    client_behind(peer, headers.get_all(X_FORWARDED_FOR).map(|line| line.to_str().unwrap_or("?")), proxies)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use mtasts_model::network::site;

    use super::*;

    fn from(peer: &str, forwarded: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_static(line));
        }
        let proxies = ["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        site(client(peer.parse().unwrap(), &headers, &proxies)).to_string()
    }

    #[test]
    fn only_our_proxies_are_believed_and_only_what_they_added() {
        assert_eq!(from("198.51.100.1", &["203.0.113.9"]), "198.51.100.1");
        assert_eq!(from("192.0.2.7", &[]), "192.0.2.7");
        assert_eq!(from("192.0.2.7", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(from("::ffff:192.0.2.7", &["forged, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(from("192.0.2.7", &["203.0.113.66", "203.0.113.9 , 192.0.2.8"]), "203.0.113.9");
        assert_eq!(from("2001:db8::1", &["rubbish"]), "2001:db8::");
        assert_eq!(from("192.0.2.7", &["203.0.113.9, rubbish, 192.0.2.8"]), "192.0.2.8");
    }

    #[test]
    fn an_ipv6_site_is_one_client() {
        assert_eq!(from("2001:470:1:2:3:4:5:6", &[]), "2001:470:1:2::");
        assert_eq!(from("::ffff:198.51.100.1", &[]), "198.51.100.1");
    }
}
