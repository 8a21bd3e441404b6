//! What was named on the command line, file by file.

mod mbox;

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

/// One file, or one message of a mail folder.
pub(super) struct Input {
    pub(super) name: String,
    /// It was found in a folder or an mbox, and not named.
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
            let stdin = io::stdin().lock();
            contents(Ok(stdin), "standard input", limit, false, &mut take)?;
        } else if path.is_dir() {
            folder(path, limit, MAX_DEPTH, &mut take)?;
        } else {
            file(path, limit, false, &mut take)?;
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
            file(&path, limit, true, take)?;
        }
    }
    Ok(())
}

fn file(
    path: &Path,
    limit: usize,
    within_a_folder: bool,
    take: &mut impl FnMut(Input) -> io::Result<()>,
) -> io::Result<()> {
    let reader = File::open(path).map(BufReader::new);
    contents(reader, &path.display().to_string(), limit, within_a_folder, take)
}

/// Hands over what a file holds: each message of a mail folder, or all of it.
fn contents(
    reader: io::Result<impl BufRead>,
    name: &str,
    limit: usize,
    within_a_folder: bool,
    take: &mut impl FnMut(Input) -> io::Result<()>,
) -> io::Result<()> {
    let mut reader = match reader {
        Ok(reader) => reader,
        Err(error) => return take(Input { name: name.to_owned(), within_a_folder, content: Err(error) }),
    };
    let is_mbox = reader.fill_buf().is_ok_and(|begin| begin.starts_with(mbox::SEPARATOR));
    if !is_mbox {
        return take(Input { name: name.to_owned(), within_a_folder, content: limited(reader, limit) });
    }
    let mut messages = mbox::Messages::new(reader, limit);
    let mut number = 0;
    loop {
        number += 1;
        let name = format!("{name}, message {number}");
        match messages.next_message() {
            Ok(None) => return Ok(()),
            Ok(Some(message)) => take(Input { name, within_a_folder: true, content: Ok(message) })?,
            Err(error) => return take(Input { name, within_a_folder, content: Err(error) }),
        }
    }
}

fn limited(reader: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}
