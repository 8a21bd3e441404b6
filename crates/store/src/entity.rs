//! Rows as the database keeps them: primitives only. They become model types in [`crate::stored`].

pub(crate) mod acme_order;
pub(crate) mod api_key;
pub(crate) mod audit_event;
pub(crate) mod certificate;
pub(crate) mod policy_version;
pub(crate) mod tenant;
