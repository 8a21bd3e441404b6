//! The one registry of id kinds (each a UUIDv7 with a prefix).
//!
//! On the wire an id reads `dom_0190c3…`: the prefix of its kind and 32 lower-case hex digits. A bare [`Uuid`]
//! never stands in a signature, so that a tenant's id cannot be passed where a domain's is asked for.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Entropy;

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an id like `{prefix}_` followed by 32 hexadecimal digits")]
pub struct IdError {
    /// The prefix that the wanted kind has.
    pub prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(Uuid);

        impl $name {
            /// What an id of this kind begins with, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// Draws a new id, ordered by time (UUIDv7, RFC 9562 §5.7).
            pub fn draw(now: DateTime<Utc>, entropy: &dyn Entropy) -> Self {
                let mut random = [0_u8; 10];
                entropy.fill(&mut random);
                let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }

            /// For repositories: the value of a column.
            pub fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// For repositories: the value for a column.
            pub fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.as_simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let hex = text.strip_prefix(concat!($prefix, "_")).filter(|hex| {
                    hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
                });
                hex.and_then(|hex| Uuid::try_parse(hex).ok())
                    .map(Self)
                    .ok_or(IdError { prefix: $prefix })
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }
    )+};
}

ids! {
    /// A customer account.
    TenantId = "ten";
    /// A registered mail domain.
    DomainId = "dom";
    /// A credential for the REST API.
    ApiKeyId = "key";
    /// A credential for a customer's own DNS.
    DnsCredentialId = "dns";
    /// One immutable policy of a domain (not the `id` of the TXT record: that is [`crate::PolicyId`]).
    PolicyVersionId = "pol";
    /// A certificate of a policy host.
    CertificateId = "crt";
    /// An order for a certificate.
    OrderId = "ord";
    /// One running edge or nameserver.
    NodeId = "nod";
    /// A line of the audit log.
    AuditEventId = "aud";
    /// Something that happened, as tenants are told of it.
    EventId = "evt";
    /// Where a tenant wants to be told of events.
    WebhookId = "whk";
    /// One event on its way to one webhook.
    DeliveryId = "dlv";
    /// Who gets digests of reports by mail.
    DigestRecipientId = "rcp";
    /// Many changes that were asked for in one request.
    OperationId = "op";
    /// What somebody delivered to an address for reports: a mail, or the body of a POST.
    ArrivalId = "arr";
    /// A move from old MX hosts to new ones.
    MigrationId = "mig";
    /// A policy that would follow from the MX hosts in DNS.
    ProposalId = "prp";
    /// A look at a domain that a tenant asked for.
    CheckId = "chk";
    /// What one report says of one domain.
    ReportId = "rpt";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock, SeededEntropy};

    #[test]
    fn an_id_reads_back_as_itself_and_only_as_its_own_kind() {
        let entropy = SeededEntropy::new(1);
        let id = DomainId::draw(ManualClock::default().now(), &entropy);
        assert_eq!(id.to_string().parse::<DomainId>().unwrap(), id);
        assert!(id.to_string().parse::<TenantId>().is_err());
        assert!(id.to_string().to_uppercase().parse::<DomainId>().is_err());
        assert!("dom_0190".parse::<DomainId>().is_err());
    }

    #[test]
    fn ids_drawn_later_sort_later() {
        let (clock, entropy) = (ManualClock::default(), SeededEntropy::new(1));
        let first = DomainId::draw(clock.now(), &entropy);
        clock.advance(chrono::TimeDelta::milliseconds(2));
        assert!(first < DomainId::draw(clock.now(), &entropy));
    }
}
