//! Orders and certificates, as the worker handles them.

use mtasts_model::{CertificateId, OrderId, Timestamp, feed::Challenge, lifecycle::OrderState};
use serde::{Deserialize, Serialize};

/// An order with what is needed to go on with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Our id.
    pub id: OrderId,
    /// At which issuer.
    pub issuer: String,
    /// How far it has come.
    pub state: OrderState,
    /// When the state was entered.
    pub since: Timestamp,
    /// Where the CA keeps it; None until it was placed.
    pub url: Option<String>,
    /// The certificate's private key (PKCS #8 DER), sealed.
    pub sealed_key: Vec<u8>,
    /// The answer that was published.
    pub challenge: Option<OrderChallenge>,
    /// Not to be polled before.
    pub not_before: Option<Timestamp>,
    /// When the CA forgets it.
    pub expires_at: Option<Timestamp>,
    /// When it was closed, with or without a certificate; None while it is live.
    pub closed_at: Option<Timestamp>,
}

/// The answer to a challenge, and where it was put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "kebab-case")]
pub enum OrderChallenge {
    /// In the edge feed.
    Edge {
        /// What the edges answer.
        challenge: Challenge,
    },
    /// In the service's zone (dns-01, RFC 8555 §8.4).
    Zone {
        /// The owner name of the TXT record.
        name: String,
        /// Its value.
        value: String,
    },
}

/// A certificate with its sealed key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Our id.
    pub id: CertificateId,
    /// DER certificates, leaf first.
    pub chain_der: Vec<Vec<u8>>,
    /// The leaf's private key (PKCS #8 DER), sealed.
    pub sealed_key: Vec<u8>,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// Serial number in hexadecimal.
    pub serial: String,
    /// Who issued it.
    pub issuer: String,
    /// When to renew.
    pub renew_at: Timestamp,
    /// When to ask the CA again for its advice.
    pub advice_due_at: Option<Timestamp>,
    /// The certificate's id at the CA's ARI (RFC 9773 §4.1).
    pub ari_id: Option<String>,
}

/// What a new certificate is made from. Its key is the order's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCertificate {
    /// Drawn by the caller.
    pub id: CertificateId,
    /// DER certificates, leaf first.
    pub chain_der: Vec<Vec<u8>>,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// Serial number in hexadecimal.
    pub serial: String,
    /// Who issued it.
    pub issuer: String,
    /// When to renew.
    pub renew_at: Timestamp,
    /// When to ask the CA for its advice (RFC 9773); None where the CA has no ARI.
    pub advice_due_at: Option<Timestamp>,
    /// The certificate's id at the CA's ARI (RFC 9773 §4.1).
    pub ari_id: Option<String>,
}
