//! The zone on local disk, so that the nameserver answers after a restart while everything else is down.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use hickory_proto::rr::Name;
use mtasts_model::feed::{RecordType, Revision};
use parking_lot::Mutex;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};

use super::records::{Owner, RecordSet, Records};
use mtasts_dns::name;

/// Type octet and owner, to the set as kept in memory.
const SETS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("sets");
const ABOUT: TableDefinition<&str, &str> = TableDefinition::new("about");
const POSITION: TableDefinition<(), u64> = TableDefinition::new("position");
const FORMAT: &str = "1";

/// Memory that the file may take for its page cache: the zone is in memory already.
const CACHE_BYTES: usize = 16 << 20;

/// Why the replica cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// Another process has the file open.
    #[error("{path} is in use by another process")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file system refuses.
    #[error("{path} cannot be accessed")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The database refuses.
    #[error("{path} cannot be used")]
    Database {
        /// The file.
        path: PathBuf,
        /// What the database says.
        #[source]
        source: Box<redb::Error>,
    },
    /// The contents make no sense.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
}

/// A change as it goes to memory and disk.
#[derive(Debug, Clone)]
pub(super) struct OwnerChange {
    /// At which it became so.
    pub(super) revision: Revision,
    pub(super) owner: Owner,
    pub(super) record_type: RecordType,
    pub(super) set: Option<RecordSet>,
}

/// What a replica held.
pub(super) struct Loaded {
    pub(super) records: Records,
    pub(super) position: Revision,
}

/// One file for one zone. `None` while there is no usable file.
pub(super) struct Replica {
    path: PathBuf,
    zone: String,
    database: Mutex<Option<Database>>,
}

impl Replica {
    /// Opens and reads the file. A missing file is no error; a damaged one, or that of another zone, is moved aside,
    /// and the feed fills a new one. Blocks.
    pub(super) fn open(path: PathBuf, origin: &Name) -> Result<(Self, Option<Loaded>), ReplicaError> {
        let replica = Self { path, zone: name::text(origin), database: Mutex::new(None) };
        let exists = replica.path.try_exists().map_err(|source| replica.io(source))?;
        if !exists {
            // Learnt now rather than at the end of the first load.
            if let Some(folder) = replica.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                fs::create_dir_all(folder).map_err(|source| replica.io(source))?;
            }
            return Ok((replica, None));
        }
        // The database asserts some of what it reads, so that a damaged file can make it panic.
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| replica.read()));
        let read = read.unwrap_or_else(|_| Err(replica.damaged("the database gave up on it")));
        match read {
            Ok((database, loaded)) => {
                *replica.database.lock() = Some(database);
                Ok((replica, Some(loaded)))
            }
            Err(error @ (ReplicaError::InUse { .. } | ReplicaError::Io { .. })) => Err(error),
            Err(error) => {
                let aside = with_suffix(&replica.path, ".damaged");
                fs::rename(&replica.path, &aside).map_err(|source| replica.io(source))?;
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    aside = %aside.display(),
                    "the nameserver's replica is moved aside and will be built anew from the feed"
                );
                Ok((replica, None))
            }
        }
    }

    fn read(&self) -> Result<(Database, Loaded), ReplicaError> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .open(&self.path)
            .map_err(|error| match error {
                DatabaseError::DatabaseAlreadyOpen => ReplicaError::InUse { path: self.path.clone() },
                DatabaseError::Storage(StorageError::Io(source)) if !tells_of_damage(&source) => self.io(source),
                other => self.database(other),
            })?;
        let transaction = database.begin_read().map_err(|error| self.database(error))?;
        let about = transaction.open_table(ABOUT).map_err(|error| self.database(error))?;
        for (key, expected) in [("format", FORMAT), ("zone", self.zone.as_str())] {
            let found = about.get(key).map_err(|error| self.database(error))?;
            let found = found.as_ref().map(|value| value.value().to_owned()).unwrap_or_default();
            if found != expected {
                return Err(self.damaged(&format!("its {key} is {found:?} and not {expected:?}")));
            }
        }
        let position = transaction.open_table(POSITION).map_err(|error| self.database(error))?;
        let position = position.get(()).map_err(|error| self.database(error))?;
        let position = position.ok_or_else(|| self.damaged("it has no position"))?.value();
        let sets = transaction.open_table(SETS).map_err(|error| self.database(error))?;
        let records = Records::new();
        for row in sets.iter().map_err(|error| self.database(error))? {
            let (key, value) = row.map_err(|error| self.database(error))?;
            let (record_type, owner, set) =
                row_of(key.value(), value.value()).ok_or_else(|| self.damaged("a row cannot be read"))?;
            records.apply(owner, record_type, Some(&set));
        }
        drop((sets, about, transaction));
        Ok((database, Loaded { records, position: Revision::new(position) }))
    }

    /// Adds one page and its position, on disk when this returns. Blocks.
    pub(super) fn append(&self, changes: &[OwnerChange], position: Revision) -> Result<(), ReplicaError> {
        let guard = self.database.lock();
        let database = guard.as_ref().ok_or_else(|| self.damaged("there is no file yet"))?;
        self.write(database, position, |sets| {
            for OwnerChange { owner, record_type, set, .. } in changes {
                let key = key(*record_type, owner);
                match set {
                    Some(set) => sets.insert(key.as_slice(), set.as_bytes())?,
                    None => sets.remove(key.as_slice())?,
                };
            }
            Ok(())
        })
    }

    /// Replaces the file by one with these records. `position` is a revision of which they hold at least everything:
    /// changes that come while this runs are offered again after a restart. Blocks.
    pub(super) fn rewrite(&self, records: &Records, position: Revision) -> Result<(), ReplicaError> {
        let fresh = with_suffix(&self.path, ".new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.io(error)),
            _ => {}
        }
        let database =
            Database::builder().set_cache_size(CACHE_BYTES).create(&fresh).map_err(|error| self.database(error))?;
        let transaction = database.begin_write().map_err(|error| self.database(error))?;
        {
            let mut about = transaction.open_table(ABOUT).map_err(|error| self.database(error))?;
            for (key, value) in [("format", FORMAT), ("zone", self.zone.as_str())] {
                about.insert(key, value).map_err(|error| self.database(error))?;
            }
        }
        transaction.commit().map_err(|error| self.database(error))?;
        self.write(&database, position, |sets| {
            records.try_for_each(|owner, record_type, contents| {
                sets.insert(key(record_type, owner).as_slice(), contents).map(|_| ())
            })
        })?;
        fs::rename(&fresh, &self.path).map_err(|source| self.io(source))?;
        *self.database.lock() = Some(database);
        Ok(())
    }

    fn write(
        &self,
        database: &Database,
        position: Revision,
        fill: impl FnOnce(&mut redb::Table<'_, &'static [u8], &'static [u8]>) -> Result<(), StorageError>,
    ) -> Result<(), ReplicaError> {
        let transaction = database.begin_write().map_err(|error| self.database(error))?;
        {
            let mut sets = transaction.open_table(SETS).map_err(|error| self.database(error))?;
            fill(&mut sets).map_err(|error| self.database(error))?;
            let mut positions = transaction.open_table(POSITION).map_err(|error| self.database(error))?;
            positions.insert((), position.number()).map_err(|error| self.database(error))?;
        }
        transaction.commit().map_err(|error| self.database(error))
    }

    fn io(&self, source: io::Error) -> ReplicaError {
        ReplicaError::Io { path: self.path.clone(), source }
    }

    fn database(&self, error: impl Into<redb::Error>) -> ReplicaError {
        ReplicaError::Database { path: self.path.clone(), source: Box::new(error.into()) }
    }

    fn damaged(&self, reason: &str) -> ReplicaError {
        ReplicaError::Damaged { path: self.path.clone(), reason: reason.to_owned() }
    }
}

/// The type's number in the registry, where it fits into an octet; CAA's 257 does not.
const fn octet(record_type: RecordType) -> u8 {
    match record_type {
        RecordType::A => 1,
        RecordType::Cname => 5,
        RecordType::Txt => 16,
        RecordType::Aaaa => 28,
        RecordType::Caa => 255,
    }
}

/// The type, then the owner.
fn key(record_type: RecordType, owner: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + owner.len());
    key.push(octet(record_type));
    key.extend_from_slice(owner);
    key
}

/// What [`key`] and the set's bytes say; `None` when they are damaged.
fn row_of<'a>(key: &'a [u8], contents: &[u8]) -> Option<(RecordType, &'a [u8], RecordSet)> {
    let (&first, owner) = key.split_first()?;
    let record_type = RecordType::ALL.into_iter().find(|known| octet(*known) == first)?;
    Some((record_type, owner, RecordSet::from_bytes(record_type, contents)?))
}

/// A file that is shorter than it says, or no database at all.
fn tells_of_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | InvalidData | InvalidInput)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}
