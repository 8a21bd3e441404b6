//! Domain Connect (<https://github.com/Domain-Connect/spec>, version 2.2): a template that DNS providers know, and a
//! signed link by which the customer applies it there with one click. The synchronous flow only: it needs no account
//! of ours at the provider.

mod discovery;
mod identity;
mod template;

use std::sync::Arc;

use async_trait::async_trait;
use url::Url;

pub use self::identity::{DomainConnectError, DomainConnectIdentity, DomainConnectSettings};
pub(crate) use self::{
    discovery::{Discovery, NotPossible, discover},
    template::{TemplateBody, template},
};
use crate::customer_dns::BoxError;

/// How a domain's DNS provider is looked up. Who implements it filters addresses at the connection, caps what it reads
/// (64 KiB are enough), follows no redirect, and may be dropped at any moment.
#[async_trait]
pub trait DomainConnectWeb: Send + Sync {
    /// The TXT values at this name, aliases followed; none when there are none. An error says that this is not known.
    async fn txt(&self, name: &str) -> Result<Vec<String>, BoxError>;

    /// Asks for this `https` URL, with a verified certificate.
    async fn get(&self, url: &Url) -> Result<WebAnswer, BoxError>;
}

/// What a web server answers.
#[derive(Debug, Clone)]
pub struct WebAnswer {
    /// The status.
    pub status: u16,
    /// The content.
    pub body: Vec<u8>,
}

/// Domain Connect as this installation offers it.
#[derive(Clone)]
pub struct DomainConnect {
    /// Who we are to DNS providers.
    pub identity: Arc<DomainConnectIdentity>,
    /// The way to them.
    pub web: Arc<dyn DomainConnectWeb>,
}
