//! `mtasts admin keys`: which keys of the ring secrets are sealed under, and sealing them anew.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use clap::Subcommand;
use mtasts_certs::{KeyRing, Purpose};
use mtasts_model::{Clock, SystemClock, SystemEntropy};
use mtasts_store::{Resealed, Role, SealedKind, SealedSecret, Store, StoreError};
use secrecy::ExposeSecret;

use super::{ConfigArgs, Outcome, load, runtime};
use crate::{
    config::{Config, ConfigError, dnssec_key_id, key_ring, reseal_dnssec_key},
    logging, roles,
    startup::{StartupError, causes},
};

/// So many secrets are exchanged in one transaction: a fraction of a second, in which the edge feed takes no other change.
const BATCH: u32 = 200;
/// Rounds over what others wrote meanwhile under an old key: with no end, an old process that keeps writing would be one.
const ROUNDS: usize = 5;
/// A batch that ran into another transaction is tried so often.
const TRIES: usize = 5;

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Count what is sealed under each key, and say which keys may leave the ring
    Status(ConfigArgs),
    /// Seal everything anew under the first key of the ring. The service runs on; a run that was stopped is taken up by
    /// the next
    Rotate(ConfigArgs),
    /// Draw a key for the ring; wrapped by Vault where one is configured
    Draw(ConfigArgs),
}

/// Why keys were not looked at, or not exchanged.
#[derive(Debug, thiserror::Error)]
enum KeysError {
    #[error(transparent)]
    Startup(#[from] StartupError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot write")]
    Output(#[from] io::Error),
    #[error("cannot write {path}")]
    File {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("{0} secrets are left under former keys: see what is said above, and run it again")]
    Left(u64),
}

pub(super) fn run(command: &KeysCommand) -> Outcome {
    let (KeysCommand::Status(args) | KeysCommand::Rotate(args) | KeysCommand::Draw(args)) = command;
    let mut config = load(args)?;
    logging::start(&config.log)?;
    let done: Result<(), KeysError> = runtime()?.block_on(async {
        if matches!(command, KeysCommand::Draw(_)) {
            println!("{}", config.draw_key().await?.expose_secret());
            return Ok(());
        }
        config.open_key_ring().await?;
        let ring = key_ring(&config, false, &SystemEntropy)?;
        let store = roles::connect(&config, Role::Keeper).await?;
        match command {
            KeysCommand::Rotate(_) => rotate(&config, &store, &ring).await,
            _ => status(&config, &store, &ring).await,
        }
    });
    Ok(done?)
}

/// A line for each key and place, and one for each key.
async fn status(config: &Config, store: &Store, ring: &KeyRing) -> Result<(), KeysError> {
    let mut sealed: BTreeMap<String, u64> = BTreeMap::new();
    let mut out = io::stdout().lock();
    writeln!(out, "{:<32}  {:<18}  {:>10}", "KEY", "IN", "SECRETS")?;
    for count in store.count_sealed().await? {
        let key = count.key.unwrap_or_else(|| "(no known format)".to_owned());
        writeln!(out, "{key:<32}  {:<18}  {:>10}", count.kind.as_str(), count.count)?;
        *sealed.entry(key).or_default() += count.count;
    }
    for file in config.nameserver.dnssec_key_files() {
        let key = dnssec_key_id(file)?;
        writeln!(out, "{key:<32}  {:<18}  {:>10}", "dnssec key files", 1)?;
        *sealed.entry(key).or_default() += 1;
    }
    for key in store.sealing_keys().await? {
        let count = sealed.get(&key.id).copied().unwrap_or(0);
        let current = if key.id == ring.current_id() { ", the current one" } else { "" };
        let lacking = if ring.has(&key.id) { "" } else { ", LACKING in this key ring" };
        let needed = match (count, key.edges_behind) {
            (0, 0) => "nothing is sealed under it: `rotate` lets it go".to_owned(),
            (0, edges) => format!("needed by {edges} edges that have not read far enough (`mtasts admin nodes`)"),
            (count, _) => format!("needed by {count} secrets"),
        };
        writeln!(out, "{}{current}{lacking}: {needed}", key.id)?;
    }
    Ok(())
}

async fn rotate(config: &Config, store: &Store, ring: &KeyRing) -> Result<(), KeysError> {
    roles::check_keys(store, ring).await?;
    for file in config.nameserver.dnssec_key_files() {
        rotate_file(file, ring)?;
    }
    let mut left = 0;
    for _ in 0..ROUNDS {
        let former: Vec<_> = store.needed_keys().await?.into_iter().filter(|id| id != ring.current_id()).collect();
        let mut exchanged = 0;
        left = 0;
        for key in &former {
            for kind in SealedKind::ALL {
                let done = rotate_kind(store, ring, kind, key).await?;
                exchanged += done.exchanged;
                left += done.left;
            }
            if store.forget_sealing_key(key).await? {
                println!("{key}: nothing is sealed under it any more; it may leave the key ring");
            }
        }
        if exchanged == 0 || left == 0 {
            break;
        }
    }
    for key in store.sealing_keys().await?.into_iter().filter(|key| key.id != ring.current_id()) {
        println!("{}: must stay in the key ring for now; see `mtasts admin keys status`", key.id);
    }
    if left == 0 { Ok(()) } else { Err(KeysError::Left(left)) }
}

#[derive(Default)]
struct Done {
    exchanged: u64,
    left: u64,
}

/// Page by page in the order of rows. What does not open is told of and stays as it is.
async fn rotate_kind(store: &Store, ring: &KeyRing, kind: SealedKind, key: &str) -> Result<Done, KeysError> {
    let (mut done, mut after) = (Done::default(), None);
    loop {
        let page = store.sealed_under(kind, key, after.as_deref(), BATCH).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.row.clone());
        let read = u64::try_from(page.len()).unwrap_or(u64::MAX);
        let batch: Vec<_> = page.into_iter().filter_map(|secret| reseal(ring, kind, secret)).collect();
        let exchanged = exchange(store, kind, key, &batch).await?;
        done.exchanged += exchanged;
        done.left += read - exchanged;
        println!("{key}: {} of {} sealed anew", done.exchanged, kind.as_str());
    }
    Ok(done)
}

fn reseal(ring: &KeyRing, kind: SealedKind, secret: SealedSecret) -> Option<Resealed> {
    let purpose = match kind {
        SealedKind::CertificateKey | SealedKind::OrderKey => Purpose::CertificateKey,
        SealedKind::AcmeAccount => Purpose::AcmeAccount,
        SealedKind::WebhookSecret | SealedKind::FormerWebhookSecret => Purpose::WebhookSecret,
        SealedKind::DnsCredential => Purpose::ProviderToken,
    };
    match ring.reseal(purpose, secret.tenant_id, secret.domain_id, &secret.sealed) {
        Ok(sealed) => Some(Resealed { row: secret.row, former: secret.sealed, sealed }),
        Err(error) => {
            tracing::error!(table = kind.as_str(), row = secret.row, error = %causes(&error), "a secret does not open");
            None
        }
    }
}

async fn exchange(store: &Store, kind: SealedKind, key: &str, batch: &[Resealed]) -> Result<u64, KeysError> {
    let mut tries = 1;
    loop {
        match store.reseal(kind, key, batch, SystemClock.now()).await {
            Err(error) if error.is_transient() && tries < TRIES => tries += 1,
            answer => return Ok(answer?),
        }
    }
}

/// The file is there in full at any moment: the new one takes its place at once.
fn rotate_file(file: &Path, ring: &KeyRing) -> Result<(), KeysError> {
    let Some(text) = reseal_dnssec_key(file, ring)? else { return Ok(()) };
    let draft = file.with_extension(format!("draft-{}", std::process::id()));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).and_then(|mut draft| {
        writeln!(draft, "{text}")?;
        draft.sync_all()
    });
    let placed = written.and_then(|()| fs::rename(&draft, file));
    if placed.is_err() {
        let _ = fs::remove_file(&draft);
    }
    placed.map_err(|source| KeysError::File { path: file.display().to_string(), source })?;
    println!("{}: sealed anew", file.display());
    Ok(())
}
