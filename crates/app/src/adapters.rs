//! Where the crates meet: edges, nameservers and issuers ask traits of their own, and the store answers.

mod accounts;
mod customer_dns;
mod domain_connect;
mod edge_feed;
mod keys;
mod node;
mod webhooks;
mod zone;

pub(crate) use self::{
    accounts::Accounts,
    customer_dns::CustomersDns,
    domain_connect::ProvidersWeb,
    edge_feed::EdgeFeed,
    keys::CertificateKeys,
    node::{Node, node_id, node_name},
    webhooks::WebhookSecrets,
    zone::{NoZone, StoredZone, ZoneFollower},
};
