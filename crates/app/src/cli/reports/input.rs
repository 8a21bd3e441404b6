//! What was named on the command line, file by file.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// One file.
pub(super) struct Input {
    pub(super) name: String,
    /// It was found, and not named.
    pub(super) within_a_folder: bool,
    /// Its octets; of one above the limit, one more than that.
    pub(super) content: io::Result<Vec<u8>>,
}

/// Folders deeper than this are left alone.
const MAX_DEPTH: usize = 32;

/// Hands over each file, those of a folder by name. Links to folders are not followed, so that none leads in a circle.
pub(super) fn each(paths: &[PathBuf], limit: usize, mut take: impl FnMut(Input) -> io::Result<()>) -> io::Result<()> {
    for path in paths {
        if path.as_os_str() == "-" {
            take(Input {
                name: "standard input".to_owned(),
                within_a_folder: false,
                content: limited(io::stdin().lock(), limit),
            })?;
        } else if path.is_dir() {
            folder(path, limit, MAX_DEPTH, &mut take)?;
        } else {
            take(file(path, limit, false))?;
        }
    }
    Ok(())
}

fn folder(path: &Path, limit: usize, depth: usize, take: &mut impl FnMut(Input) -> io::Result<()>) -> io::Result<()> {
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => {
            let name = path.display().to_string();
            return take(Input { name, within_a_folder: true, content: Err(error) });
        }
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let kind = entry.file_type();
        if kind.as_ref().is_ok_and(fs::FileType::is_dir) {
            if depth > 0 {
                folder(&path, limit, depth - 1, take)?;
            }
        } else if path.is_file() {
            // Neither sockets nor pipes, which would be waited for.
            take(file(&path, limit, true))?;
        }
    }
    Ok(())
}

fn file(path: &Path, limit: usize, within_a_folder: bool) -> Input {
    let content = File::open(path).and_then(|file| limited(file, limit));
    Input { name: path.display().to_string(), within_a_folder, content }
}

fn limited(reader: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}
