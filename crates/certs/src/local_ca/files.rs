//! Files that are whole or not there, and are never written twice.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use mtasts_model::{Entropy, SystemEntropy, Timestamp};
use zeroize::Zeroizing;

use super::LocalCaError;

/// No file of the CA comes near.
const MAX_BYTES: u64 = 64 * 1024;

/// The folder, with its parents, for its owner only.
pub(super) fn make_private_folder(path: &Path) -> Result<(), LocalCaError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed(path))
}

/// The text of the file; None if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, LocalCaError> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed(path))?,
    };
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(failed(path))?;
    Ok(Some(text))
}

/// The text of the file. If there is none, it is made (mode 0600) with this text, all at once; when two make it at the
/// same time, one wins, and both get the winner's.
pub(super) fn read_or_create(
    path: &Path,
    text: impl FnOnce() -> Result<Zeroizing<String>, LocalCaError>,
) -> Result<Zeroizing<String>, LocalCaError> {
    if let Some(text) = read(path)? {
        return Ok(text);
    }
    let mut tag = [0; 8];
    SystemEntropy.fill(&mut tag);
    let draft = path.with_extension(format!("{}.tmp", data_encoding::HEXLOWER.encode(&tag)));
    let made = write(&draft, text()?.as_bytes()).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    let _ = fs::remove_file(&draft);
    made.map_err(failed(path))?;
    read(path)?.ok_or_else(|| failed(path)(io::ErrorKind::NotFound.into()))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Lets all users of the machine read the file.
pub(super) fn make_readable(path: &Path) -> Result<(), LocalCaError> {
    fs::set_permissions(path, Permissions::from_mode(0o644)).map_err(failed(path))
}

/// Removes the files of the folder that were last written before `oldest`.
pub(super) fn remove_older(dir: &Path, oldest: Timestamp) -> Result<(), LocalCaError> {
    for entry in fs::read_dir(dir).map_err(failed(dir))? {
        let entry = entry.map_err(failed(dir))?;
        let written = entry.metadata().and_then(|data| data.modified()).map_err(failed(&entry.path()))?;
        if Timestamp::from(written) < oldest {
            // Another process may sweep as well.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

fn failed(path: &Path) -> impl Fn(io::Error) -> LocalCaError {
    let path = path.to_owned();
    move |source| LocalCaError::File { path: path.clone(), source }
}
