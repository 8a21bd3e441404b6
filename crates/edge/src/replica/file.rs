//! The file under the replica: opened, read-only, or not there.

use std::{fs, io, path::Path};

use redb::{Builder, Database, ReadOnlyDatabase};

use super::{ReplicaError, guarded, storage};

/// How the file can be used now.
pub(super) enum File {
    Writable(Database),
    ReadOnly(ReadOnlyDatabase),
    Absent,
}

impl File {
    /// Opens the best that can be had. Damage is moved aside; of a disk that refuses to write, what is there is read.
    pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Self, ReplicaError> {
        if let Some(folder) = path.parent()
            && let Err(error) = fs::create_dir_all(folder)
        {
            tracing::error!(%error, path = %folder.display(), "the replica's folder cannot be made: serving from memory");
            return Ok(Self::Absent);
        }
        match open_writable(path, cache_bytes) {
            Ok(database) => return Ok(Self::Writable(database)),
            Err(ReplicaError::InUse) => return Err(ReplicaError::InUse),
            Err(ReplicaError::Damaged(why)) => {
                tracing::error!(path = %path.display(), why, "the replica is damaged: moved aside, it is rebuilt from the feed");
                move_aside(path);
                if let Ok(database) = open_writable(path, cache_bytes) {
                    return Ok(Self::Writable(database));
                }
            }
            Err(error) => {
                tracing::error!(error = %crate::error::chain(&error), path = %path.display(), "the replica cannot be written");
            }
        }
        let mut builder = Builder::new();
        builder.set_cache_size(cache_bytes);
        let opened = guarded(|| builder.open_read_only(path).map_err(|error| storage(error.into())));
        Ok(opened.map_or(Self::Absent, Self::ReadOnly))
    }
}

fn open_writable(path: &Path, cache_bytes: usize) -> Result<Database, ReplicaError> {
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes);
    guarded(|| builder.create(path).map_err(|error| storage(error.into())))
}

/// Renames the file to `….damaged`, over an earlier one: one copy to look at, never a disk full of them.
pub(super) fn move_aside(path: &Path) {
    let aside = path.with_extension("redb.damaged");
    match fs::rename(path, &aside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::error!(%error, path = %path.display(), "the damaged replica cannot be moved aside"),
    }
}
