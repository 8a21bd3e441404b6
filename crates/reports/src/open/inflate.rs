//! gzip and zip, never further than the caps.

use std::io::{Cursor, ErrorKind, Read};

use flate2::bufread::GzDecoder;
use zip::{ZipArchive, result::ZipError};

use super::{Spent, Way};
use crate::{DeviationCode, Limits, Unreadable};

/// Below this, a stream may be as regular as it likes.
const STEEP_FROM: usize = 1 << 20;
/// Octets inflated at a time, between two looks at the caps.
const CHUNK: usize = 16 << 10;

/// What a stream inflated to.
#[derive(Debug, Default)]
pub(super) struct Inflated {
    pub(super) octets: Vec<u8>,
    /// Octets behind the stream that are none of it.
    trailing: usize,
    /// What the decoder said of the stream's end, where all of the content seems to be there.
    damage: Option<String>,
}

impl Inflated {
    pub(super) fn tell(&self, way: &mut Way) {
        if self.trailing > 0 {
            let sentence = format!("{} octets behind the compressed stream were passed over", self.trailing);
            way.note(DeviationCode::TrailingOctets, sentence);
        }
        if let Some(damage) = &self.damage {
            let sentence = format!("the compressed stream's end is not as it should be: {damage}");
            way.note(DeviationCode::ChecksumMismatch, sentence);
        }
    }
}

/// Inflates all members of a gzip file (RFC 1952 §2.2).
pub(super) fn gunzip(bytes: &[u8], limits: &Limits, spent: &mut Spent) -> Result<Inflated, Unreadable> {
    let mut inflated = Inflated::default();
    let mut rest = super::sniff::begin(bytes);
    while rest.starts_with(&[0x1f, 0x8b]) {
        count_entry(limits, spent)?;
        let mut decoder = GzDecoder::new(rest);
        let size = bytes.len();
        let outcome = pour(&mut decoder, &mut inflated.octets, limits, spent, |decoder| size - decoder.get_ref().len());
        match outcome {
            Ok(()) => rest = decoder.into_inner(),
            Err(Stop::Cap(why)) => return Err(why),
            Err(Stop::Damage(reason)) => {
                // A wrong checksum or a missing trailer leaves the content whole, or else the document says so.
                if inflated.octets.is_empty() {
                    return Err(Unreadable::Gzip { reason });
                }
                inflated.damage = Some(reason);
                return Ok(inflated);
            }
        }
    }
    // Zeros fill up a tape's block.
    inflated.trailing =
        if rest.iter().all(|octet| *octet == 0 || octet.is_ascii_whitespace()) { 0 } else { rest.len() };
    Ok(inflated)
}

/// A zip archive. Names are for people only: nothing is ever written to a disk.
pub(super) struct Archive<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
}

impl<'a> Archive<'a> {
    pub(super) fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self, Unreadable> {
        let start = super::sniff::begin(bytes);
        // The reader makes room for as many entries as an end record claims, for each end record. So they are counted
        // before: neither entries nor end records can be more than their signatures. ZIP64 (claims of 64 bits) is for
        // archives of more than 65,535 entries or 4 GiB.
        let of = |signature: &[u8]| start.windows(4).filter(|window| *window == signature).count();
        if of(b"PK\x01\x02") > limits.entries || of(b"PK\x05\x06") > limits.entries {
            return Err(Unreadable::TooManyEntries { limit: limits.entries });
        }
        if of(b"PK\x06\x06") > 0 {
            return Err(Unreadable::Zip { reason: "a ZIP64 archive".to_owned() });
        }
        let archive = ZipArchive::new(Cursor::new(start)).map_err(|error| refusal(&error))?;
        Ok(Self { archive })
    }

    pub(super) fn len(&self) -> usize {
        self.archive.len()
    }

    /// Name and content of an entry; nothing if it is a folder.
    pub(super) fn entry(
        &mut self,
        index: usize,
        limits: &Limits,
        spent: &mut Spent,
    ) -> Result<Option<(String, Inflated)>, (String, Unreadable)> {
        let unnamed = || format!("entry {}", index + 1);
        count_entry(limits, spent).map_err(|why| (unnamed(), why))?;
        let entry = self.archive.by_index_data(index).map_err(|error| (unnamed(), refusal(&error)))?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        if entry.is_dir() {
            return Ok(None);
        }
        if entry.encrypted() {
            return Err((name, Unreadable::Encrypted));
        }
        let packed = usize::try_from(entry.compressed_size()).unwrap_or(usize::MAX);
        let mut reader = self.archive.by_index(index).map_err(|error| (name.clone(), refusal(&error)))?;
        let mut inflated = Inflated::default();
        match pour(&mut reader, &mut inflated.octets, limits, spent, |_| packed) {
            Ok(()) => {}
            Err(Stop::Cap(why)) => return Err((name, why)),
            Err(Stop::Damage(reason)) if inflated.octets.is_empty() => return Err((name, Unreadable::Zip { reason })),
            Err(Stop::Damage(reason)) => inflated.damage = Some(reason),
        }
        Ok(Some((name, inflated)))
    }
}

fn refusal(error: &ZipError) -> Unreadable {
    match error {
        ZipError::UnsupportedArchive(text) if *text == ZipError::PASSWORD_REQUIRED => Unreadable::Encrypted,
        ZipError::InvalidPassword => Unreadable::Encrypted,
        other => Unreadable::Zip { reason: other.to_string() },
    }
}

fn count_entry(limits: &Limits, spent: &mut Spent) -> Result<(), Unreadable> {
    if spent.entries >= limits.entries {
        return Err(Unreadable::TooManyEntries { limit: limits.entries });
    }
    spent.entries += 1;
    Ok(())
}

enum Stop {
    Cap(Unreadable),
    Damage(String),
}

/// Reads to the end, and looks at the caps before each chunk is kept. `packed` says how much went into it so far.
fn pour<R: Read>(
    reader: &mut R,
    out: &mut Vec<u8>,
    limits: &Limits,
    spent: &mut Spent,
    packed: impl Fn(&R) -> usize,
) -> Result<(), Stop> {
    let mut chunk = [0; CHUNK];
    loop {
        let read = match reader.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Stop::Damage(error.to_string())),
        };
        if limits.inflated - spent.inflated < read {
            return Err(Stop::Cap(Unreadable::Inflated { limit: limits.inflated }));
        }
        spent.inflated += read;
        out.extend_from_slice(&chunk[..read]);
        if out.len() > STEEP_FROM && out.len() / packed(reader).max(1) >= limits.ratio {
            return Err(Stop::Cap(Unreadable::Ratio { limit: limits.ratio }));
        }
    }
}
