//! The ACME account: read from the store or made, once, at first use.

use std::sync::Arc;

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use url::Url;
use zeroize::Zeroizing;

use super::{
    AcmeConfig, AcmeConfigError,
    http::Http,
    outcome::{classify, outside_of_orders},
};
use crate::{
    issuer::IssueError,
    seal::{KeyRing, Purpose},
};

/// Where the sealed credentials of one account are kept: by the app, under the issuer's key.
#[async_trait]
pub trait AccountStore: Send + Sync + 'static {
    /// The sealed credentials, if there are any.
    async fn load(&self) -> Result<Option<Vec<u8>>, AccountStoreError>;

    /// Keeps `sealed` if what is kept now is `replaces` (None: nothing); else leaves all as it is, without an error.
    /// So of several processes that make an account at once, one wins, and all read and use the winner's.
    async fn save(&self, sealed: &[u8], replaces: Option<&[u8]>) -> Result<(), AccountStoreError>;
}

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
#[error("the ACME account could not be read or kept")]
pub struct AccountStoreError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Why there is no account to use.
pub(super) enum HoldError {
    /// The CA.
    Acme(instant_acme::Error),
    /// Our side.
    Own(IssueError),
}

impl From<instant_acme::Error> for HoldError {
    fn from(error: instant_acme::Error) -> Self {
        Self::Acme(error)
    }
}

impl From<IssueError> for HoldError {
    fn from(error: IssueError) -> Self {
        Self::Own(error)
    }
}

impl From<HoldError> for IssueError {
    fn from(error: HoldError) -> Self {
        match error {
            HoldError::Acme(error) => outside_of_orders(classify(error)),
            HoldError::Own(error) => error,
        }
    }
}

/// An account in use.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) account: Account,
    /// As it stands in the store.
    sealed: Vec<u8>,
}

/// What is kept, sealed: `instant-acme` writes the key in clear.
#[derive(Serialize, Deserialize)]
struct Kept {
    directory: Url,
    credentials: AccountCredentials,
}

/// The way to the one account.
pub(super) struct Accounts {
    directory: Url,
    contacts: Vec<String>,
    terms_of_service_agreed: bool,
    external_account: Option<ExternalAccountKey>,
    store: Arc<dyn AccountStore>,
    ring: KeyRing,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// What the store held when the CA last said that it does not know that account.
    lost: Option<Vec<u8>>,
}

impl Accounts {
    pub(super) fn new(
        config: &AcmeConfig,
        store: Arc<dyn AccountStore>,
        ring: KeyRing,
    ) -> Result<Self, AcmeConfigError> {
        let external_account = config.external_account.as_ref().map(|external| {
            // Some CAs print it padded.
            let encoded = external.hmac_key.expose_secret().trim().trim_end_matches('=');
            let key = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(encoded).map_err(|_| AcmeConfigError::HmacKey)?);
            Ok(ExternalAccountKey::new(external.key_id.clone(), &key))
        });
        Ok(Self {
            directory: config.directory.clone(),
            contacts: config.contacts.clone(),
            terms_of_service_agreed: config.terms_of_service_agreed,
            external_account: external_account.transpose()?,
            store,
            ring,
            state: Mutex::default(),
        })
    }

    /// The account. The lock is held while it is read or made, so that a process makes one; whoever waits does so
    /// within the deadline of its own call.
    pub(super) async fn hold(&self, http: &Http) -> Result<Held, HoldError> {
        let mut state = self.state.lock().await;
        if let Some(held) = &state.held {
            return Ok(held.clone());
        }
        let mut kept = self.load().await?;
        if kept.is_none() || kept == state.lost {
            let fresh = self.create(http).await?;
            self.store.save(&fresh, kept.as_deref()).await.map_err(own)?;
            kept = self.load().await?;
        }
        let sealed = kept.ok_or_else(|| own("the store kept nothing"))?;
        let account = self.restore(http, &sealed).await?;
        let held = Held { account, sealed };
        state.held = Some(held.clone());
        Ok(held)
    }

    /// The CA does not know this account any more: the next [`Self::hold`] makes another, unless one is there already.
    pub(super) async fn forget(&self, held: &Held) {
        let mut state = self.state.lock().await;
        if state.held.as_ref().is_some_and(|current| current.sealed == held.sealed) {
            state.held = None;
            state.lost = Some(held.sealed.clone());
        }
    }

    async fn load(&self) -> Result<Option<Vec<u8>>, IssueError> {
        self.store.load().await.map_err(own)
    }

    async fn create(&self, http: &Http) -> Result<Vec<u8>, HoldError> {
        let contact: Vec<&str> = self.contacts.iter().map(String::as_str).collect();
        let request = NewAccount {
            contact: &contact,
            terms_of_service_agreed: self.terms_of_service_agreed,
            only_return_existing: false,
        };
        let (account, credentials) = Account::builder_with_http(Box::new(http.clone()))
            .create(&request, self.directory.to_string(), self.external_account.as_ref())
            .await?;
        tracing::info!(account = account.id(), directory = %self.directory, "made an ACME account");
        let kept = Kept { directory: self.directory.clone(), credentials };
        let plaintext = Zeroizing::new(serde_json::to_vec(&kept).map_err(own)?);
        Ok(self.ring.seal(Purpose::AcmeAccount, None, None, &plaintext))
    }

    async fn restore(&self, http: &Http, sealed: &[u8]) -> Result<Account, HoldError> {
        let plaintext = self.ring.open(Purpose::AcmeAccount, None, None, sealed).map_err(own)?;
        let kept: Kept = serde_json::from_slice(&plaintext).map_err(own)?;
        if kept.directory != self.directory {
            // Its key must not be shown to another CA.
            return Err(own(format!("the stored account is one of {}", kept.directory)).into());
        }
        Ok(Account::builder_with_http(Box::new(http.clone())).from_credentials(kept.credentials).await?)
    }
}

fn own(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> IssueError {
    IssueError::State(error.into())
}
