//! Where the crates meet: edges, nameservers and issuers ask traits of their own, and the store answers.

mod accounts;
mod edge_feed;
mod keys;
mod node;
mod zone;

pub(crate) use self::{
    accounts::Accounts,
    edge_feed::EdgeFeed,
    keys::CertificateKeys,
    node::{Node, node_id},
    zone::{StoredZone, ZoneFollower},
};
