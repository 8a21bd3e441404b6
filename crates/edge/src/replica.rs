//! What the edge knows, on the local disk: it starts and serves from here while everything else is down.
//!
//! Every commit saves redb's allocator state (quick-repair), so that opening after a SIGKILL does not walk the file.
//! redb trusts the pages that it reads, so each row has its own checksum, and a panic within redb counts as damage.

mod file;
mod row;

use std::{
    io,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use mtasts_model::{
    Revision,
    feed::{Challenge, ServedLine},
};
use parking_lot::RwLock;
use redb::{
    Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageError,
    TableDefinition, TableError, WriteTransaction,
};

use self::file::File;
pub(crate) use self::row::HostRow;
use crate::intermediates::{Fingerprint, fingerprint};

/// Rows of hosts, by mail domain.
const HOSTS: TableDefinition<&str, &[u8]> = TableDefinition::new("hosts");
/// The domains of [`HOSTS`] alone: read whole at a start, without the rows.
const NAMES: TableDefinition<&str, ()> = TableDefinition::new("names");
/// Issuers' certificates, by fingerprint.
const ISSUERS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("issuers");
/// Challenges as JSON, by mail domain and kind.
const CHALLENGES: TableDefinition<(&str, u8), &[u8]> = TableDefinition::new("challenges");
/// Lines of the served ledger that the feed has not taken yet, by version.
const LEDGER: TableDefinition<&[u8], &[u8]> = TableDefinition::new("ledger");
/// Numbers about the replica.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

const POSITION: &str = "position";
const COMPLETE: &str = "complete";

/// Why the replica did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplicaError {
    /// The disk refuses: full, read-only, gone.
    #[error("the disk refuses")]
    Disk(#[source] io::Error),
    /// The file is not what was written.
    #[error("the replica is damaged ({0})")]
    Damaged(String),
    /// Another process has it.
    #[error("the replica is in use by another process")]
    InUse,
}

/// What one transaction writes.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) hosts: Vec<(String, Option<Arc<[u8]>>)>,
    pub(crate) issuers: Vec<(Fingerprint, Vec<u8>)>,
    pub(crate) challenges: Vec<(String, Option<Challenge>)>,
    /// Where the reader stands after this batch, and whether all of the feed has been read once.
    pub(crate) position: Option<(Revision, bool)>,
}

/// What a start finds.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) position: Revision,
    pub(crate) complete: bool,
    pub(crate) hosts: u64,
    pub(crate) challenges: Vec<(String, Challenge)>,
    pub(crate) ledger: Vec<ServedLine>,
}

/// The file, and what to do when it fails.
pub(crate) struct Replica {
    path: PathBuf,
    cache_bytes: usize,
    file: RwLock<File>,
}

impl Replica {
    /// Opens or makes the replica in this folder. A damaged one is moved aside. Only [`ReplicaError::InUse`] is an
    /// error: with an unusable disk the edge works in memory.
    pub(crate) fn open(folder: &Path, cache_bytes: usize) -> Result<(Self, Found), ReplicaError> {
        let path = folder.join("edge.redb");
        let file = File::open(&path, cache_bytes)?;
        let replica = Self { path, cache_bytes, file: RwLock::new(file) };
        match replica.read_all() {
            Ok(found) => Ok((replica, found)),
            Err(ReplicaError::Damaged(why)) => {
                replica.move_aside(&why);
                Ok((replica, Found::default()))
            }
            Err(error) => {
                tracing::error!(error = %crate::error::chain(&error), "the replica cannot be read; starting without");
                Ok((replica, Found::default()))
            }
        }
    }

    /// Whether changes reach the disk.
    pub(crate) fn is_writable(&self) -> bool {
        matches!(*self.file.read(), File::Writable(_))
    }

    /// The row of a host, still encoded.
    pub(crate) fn host(&self, domain: &str) -> Result<Option<Vec<u8>>, ReplicaError> {
        self.read(|transaction| {
            let Some(table) = existing(transaction.open_table(HOSTS))? else { return Ok(None) };
            Ok(table.get(domain)?.map(|row| row.value().to_vec()))
        })
        .map(Option::flatten)
    }

    /// The rows of hosts after a name, in the order of their names, still encoded; so many at most.
    pub(crate) fn hosts_after(&self, after: &str, limit: usize) -> Result<Vec<(String, Vec<u8>)>, ReplicaError> {
        self.read(|transaction| {
            let Some(table) = existing(transaction.open_table(HOSTS))? else { return Ok(Vec::new()) };
            let rows = table.range::<&str>((Bound::Excluded(after), Bound::Unbounded))?.take(limit);
            rows.map(|row| row.map(|(domain, row)| (domain.value().to_owned(), row.value().to_vec()))).collect()
        })
        .map(Option::unwrap_or_default)
    }

    /// An issuer's certificate.
    pub(crate) fn issuer(&self, key: &Fingerprint) -> Result<Option<Vec<u8>>, ReplicaError> {
        let der = self.read(|transaction| {
            let Some(table) = existing(transaction.open_table(ISSUERS))? else { return Ok(None) };
            Ok(table.get(key.as_slice())?.map(|der| der.value().to_vec()))
        })?;
        match der.flatten() {
            Some(der) if fingerprint(&der) != *key => Err(ReplicaError::Damaged("an issuer's certificate".into())),
            der => Ok(der),
        }
    }

    /// Calls `each` with every domain that has a row.
    pub(crate) fn names(&self, mut each: impl FnMut(&str)) -> Result<(), ReplicaError> {
        self.read(|transaction| {
            let Some(table) = existing(transaction.open_table(NAMES))? else { return Ok(()) };
            for entry in table.iter()? {
                each(entry?.0.value());
            }
            Ok(())
        })
        .map(|_| ())
    }

    /// How many hosts there are.
    pub(crate) fn len(&self) -> u64 {
        self.read(|transaction| existing(transaction.open_table(NAMES))?.map_or(Ok(0), |table| table.len()))
            .ok()
            .flatten()
            .unwrap_or(0)
    }

    /// Writes all or nothing, on the disk when it returns.
    pub(crate) fn write(&self, batch: &Batch) -> Result<(), ReplicaError> {
        self.commit(|transaction| {
            let mut hosts = transaction.open_table(HOSTS)?;
            let mut names = transaction.open_table(NAMES)?;
            for (domain, row) in &batch.hosts {
                if let Some(row) = row {
                    if hosts.insert(domain.as_str(), &**row)?.is_none() {
                        names.insert(domain.as_str(), ())?;
                    }
                } else {
                    hosts.remove(domain.as_str())?;
                    names.remove(domain.as_str())?;
                }
            }
            let mut issuers = transaction.open_table(ISSUERS)?;
            for (key, der) in &batch.issuers {
                if issuers.get(key.as_slice())?.is_none() {
                    issuers.insert(key.as_slice(), der.as_slice())?;
                }
            }
            let mut challenges = transaction.open_table(CHALLENGES)?;
            for (domain, challenge) in &batch.challenges {
                if let Some(challenge) = challenge {
                    let json = serde_json::to_vec(challenge).map_err(io::Error::from).map_err(StorageError::Io)?;
                    challenges.insert((domain.as_str(), kind(challenge)), json.as_slice())?;
                } else {
                    challenges.remove((domain.as_str(), 0))?;
                    challenges.remove((domain.as_str(), 1))?;
                }
            }
            if let Some((position, complete)) = batch.position {
                let mut meta = transaction.open_table(META)?;
                meta.insert(POSITION, position.number())?;
                meta.insert(COMPLETE, u64::from(complete))?;
            }
            Ok(())
        })
    }

    /// Keeps what the feed did not take, in the place of what was kept before.
    pub(crate) fn keep_ledger<'a>(&self, lines: impl Iterator<Item = &'a ServedLine>) -> Result<(), ReplicaError> {
        self.commit(|transaction| {
            transaction.delete_table(LEDGER)?;
            let mut table = transaction.open_table(LEDGER)?;
            for line in lines {
                let (key, value) = row::encode_line(line);
                table.insert(key.as_slice(), value.as_slice())?;
            }
            Ok(())
        })
    }

    /// Tries to get back to a writable file after the disk had refused.
    pub(crate) fn reopen(&self) -> Result<(), ReplicaError> {
        let mut file = self.file.write();
        *file = File::Absent; // closes, which gives back the lock
        *file = File::open(&self.path, self.cache_bytes)?;
        Ok(())
    }

    /// Puts a damaged file out of the way (one is kept, for whoever wants to know) and begins an empty one.
    pub(crate) fn move_aside(&self, why: &str) {
        tracing::error!(path = %self.path.display(), why, "the replica is damaged: moved aside, it is rebuilt from the feed");
        let mut file = self.file.write();
        *file = File::Absent;
        file::move_aside(&self.path);
        *file = File::open(&self.path, self.cache_bytes).unwrap_or(File::Absent);
    }

    fn read_all(&self) -> Result<Found, ReplicaError> {
        let found = self.read(|transaction| {
            let mut found = Found::default();
            let Some(meta) = existing(transaction.open_table(META))? else { return Ok(found) };
            found.position = Revision::new(meta.get(POSITION)?.map_or(0, |number| number.value()));
            found.complete = meta.get(COMPLETE)?.is_some_and(|flag| flag.value() == 1);
            let Some(names) = existing(transaction.open_table(NAMES))? else { return Ok(found) };
            found.hosts = names.len()?;
            if let Some(table) = existing(transaction.open_table(CHALLENGES))? {
                for entry in table.iter()? {
                    let (key, json) = entry?;
                    match serde_json::from_slice(json.value()) {
                        Ok(challenge) => found.challenges.push((key.value().0.to_owned(), challenge)),
                        Err(_) => return Err(StorageError::Corrupted("a challenge".into())),
                    }
                }
            }
            if let Some(table) = existing(transaction.open_table(LEDGER))? {
                for entry in table.iter()? {
                    let (key, value) = entry?;
                    let line = row::decode_line(key.value(), value.value());
                    found.ledger.push(line.map_err(|error| StorageError::Corrupted(error.to_string()))?);
                }
            }
            Ok(found)
        })?;
        Ok(found.unwrap_or_default())
    }

    /// `None` when there is no file.
    fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, StorageError>,
    ) -> Result<Option<T>, ReplicaError> {
        let file = self.file.read();
        guarded(|| {
            let transaction = match &*file {
                File::Writable(database) => database.begin_read(),
                File::ReadOnly(database) => database.begin_read(),
                File::Absent => return Ok(None),
            };
            let transaction = transaction.map_err(|error| storage(error.into()))?;
            work(&transaction).map(Some).map_err(|error| storage(error.into()))
        })
    }

    fn commit(&self, work: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>) -> Result<(), ReplicaError> {
        let file = self.file.read();
        let File::Writable(database) = &*file else {
            return Err(ReplicaError::Disk(io::Error::from(io::ErrorKind::ReadOnlyFilesystem)));
        };
        guarded(|| {
            let mut transaction = database.begin_write().map_err(|error| storage(error.into()))?;
            transaction.set_durability(Durability::Immediate).map_err(|error| storage(error.into()))?;
            transaction.set_quick_repair(true);
            work(&transaction).map_err(storage)?;
            transaction.commit().map_err(|error| storage(error.into()))
        })
    }
}

fn kind(challenge: &Challenge) -> u8 {
    match challenge {
        Challenge::Http01 { .. } => 0,
        Challenge::TlsAlpn01 { .. } => 1,
    }
}

/// A table that was never written is no damage.
fn existing<K: redb::Key, V: redb::Value>(
    table: Result<ReadOnlyTable<K, V>, TableError>,
) -> Result<Option<ReadOnlyTable<K, V>>, StorageError> {
    match table {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(TableError::Storage(error)) => Err(error),
        Err(error) => Err(StorageError::Corrupted(error.to_string())),
    }
}

/// redb panics on some damage.
fn guarded<T>(work: impl FnOnce() -> Result<T, ReplicaError>) -> Result<T, ReplicaError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(ReplicaError::Damaged("the reader panicked".into())))
}

fn storage(error: redb::Error) -> ReplicaError {
    match error {
        // A file that ends before its own header says, or that never was one of redb's.
        redb::Error::Io(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData) => {
            ReplicaError::Damaged(error.to_string())
        }
        redb::Error::Io(error) => ReplicaError::Disk(error),
        redb::Error::PreviousIo => ReplicaError::Disk(io::Error::other("after an earlier failure of the disk")),
        redb::Error::DatabaseAlreadyOpen => ReplicaError::InUse,
        error => ReplicaError::Damaged(error.to_string()),
    }
}
