//! The serial's epoch on disk.
//!
//! The feed's revisions go back when its database is restored from a backup, and secondaries refuse a serial that goes
//! back (RFC 1982). So the serial is the revision plus an epoch's worth, and the epoch, which rises at such a moment,
//! has to outlive the process.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The file beside the replica. Without a replica nothing is kept.
#[derive(Debug, Clone, Default)]
pub(super) struct EpochFile(Option<PathBuf>);

impl EpochFile {
    pub(super) fn beside(replica: Option<&Path>) -> Self {
        Self(replica.map(|replica| with_suffix(replica, ".serial")))
    }

    /// The epoch; 0 when there is no file. A file that cannot be read is told of and taken for none: the zone must be
    /// served, and a serial that is too low is seen in the logs of the secondaries. Blocks.
    pub(super) fn load(&self) -> u64 {
        let Some(path) = &self.0 else { return 0 };
        match fs::read_to_string(path).map(|text| text.trim().parse()) {
            Ok(Ok(epoch)) => epoch,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            unreadable => {
                tracing::error!(path = %path.display(), ?unreadable, "the serial's epoch cannot be read and is taken for 0");
                0
            }
        }
    }

    /// Keeps it, on disk when this returns. Blocks.
    pub(super) fn save(&self, epoch: u64) -> io::Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        let fresh = with_suffix(path, ".new");
        let mut file = File::create(&fresh)?;
        writeln!(file, "{epoch}")?;
        file.sync_all()?;
        fs::rename(fresh, path)
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_outlives_the_process_and_damage_is_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = EpochFile::beside(Some(&folder.path().join("zone.redb")));
        assert_eq!(file.load(), 0);
        file.save(3).unwrap();
        assert_eq!(file.load(), 3);
        fs::write(folder.path().join("zone.redb.serial"), "three").unwrap();
        assert_eq!(file.load(), 0);
        EpochFile::beside(None).save(7).unwrap();
        assert_eq!(EpochFile::beside(None).load(), 0);
    }
}
