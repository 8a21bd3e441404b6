//! Country and network of an address, from databases that the operator mounts (MaxMind DB, `.mmdb`).

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use maxminddb::{Reader, path};
use mtasts_store::AddressOrigin;
use parking_lot::Mutex;

/// How often a file is looked at: operators replace it once a week.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// A database larger than this is none of addresses: those of countries and networks have about 10 MB.
const MOST_OCTETS: u64 = 512 << 20;

/// Where the databases are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginFiles {
    /// Of networks: `autonomous_system_number` and `autonomous_system_organization`.
    pub asn: Option<PathBuf>,
    /// Of countries: `country.iso_code`.
    pub country: Option<PathBuf>,
}

/// The databases. A file that is replaced is read again within a minute; one that cannot be read leaves what was there.
#[derive(Debug, Default)]
pub struct Origins {
    asn: Option<Database>,
    country: Option<Database>,
}

impl Origins {
    /// Reads the files when they are first needed.
    pub fn new(files: OriginFiles) -> Self {
        Self { asn: files.asn.map(Database::new), country: files.country.map(Database::new) }
    }

    /// What is known of an address. Opens files, so not for async tasks.
    pub(super) fn of(&self, ip: IpAddr) -> AddressOrigin {
        let ip = ip.to_canonical();
        let mut origin = AddressOrigin::default();
        if let Some(reader) = self.country.as_ref().and_then(Database::reader) {
            origin.country = find::<String>(&reader, ip, &path!["country", "iso_code"])
                .filter(|code| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase()));
        }
        if let Some(reader) = self.asn.as_ref().and_then(Database::reader) {
            origin.asn = find(&reader, ip, &path!["autonomous_system_number"]);
            origin.as_name = find(&reader, ip, &path!["autonomous_system_organization"]);
        }
        origin
    }
}

fn find<T: serde::de::DeserializeOwned>(
    reader: &Reader<Vec<u8>>,
    ip: IpAddr,
    path: &[maxminddb::PathElement<'_>],
) -> Option<T> {
    // A database of IPv4 alone refuses IPv6: nothing is known of it.
    reader.lookup(ip).ok()?.decode_path(path).ok().flatten()
}

#[derive(Debug)]
struct Database {
    file: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    reader: Option<Arc<Reader<Vec<u8>>>>,
    /// Of the file that was last looked into, whether it could be read or not.
    changed_at: Option<SystemTime>,
    looked_at: Option<Instant>,
}

impl Database {
    fn new(file: PathBuf) -> Self {
        Self { file, state: Mutex::default() }
    }

    fn reader(&self) -> Option<Arc<Reader<Vec<u8>>>> {
        let mut state = self.state.lock();
        if state.looked_at.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            state.looked_at = Some(Instant::now());
            let changed_at = fs::metadata(&self.file).and_then(|file| file.modified()).ok();
            if changed_at.is_none() || changed_at != state.changed_at {
                state.changed_at = changed_at;
                match open(&self.file) {
                    Ok(reader) => state.reader = Some(Arc::new(reader)),
                    Err(error) => tracing::warn!(file = %self.file.display(), %error, "no database of addresses"),
                }
            }
        }
        state.reader.clone()
    }
}

fn open(file: &Path) -> Result<Reader<Vec<u8>>, String> {
    let octets = fs::metadata(file).map_err(|error| error.to_string())?.len();
    if octets > MOST_OCTETS {
        return Err(format!("it has {octets} octets, and may have {MOST_OCTETS}"));
    }
    Reader::open_readfile(file).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use mtasts_testkit::{country_database, network_database};

    use super::*;

    #[test]
    fn country_and_network_are_found_and_a_file_that_is_replaced_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let files = OriginFiles { asn: Some(folder.path().join("asn")), country: Some(folder.path().join("country")) };
        fs::write(files.asn.as_ref().unwrap(), network_database([192, 0, 2], 64_496, "Example Net")).unwrap();
        let country = |code: &str| country_database([192, 0, 2], code);
        fs::write(files.country.as_ref().unwrap(), country("NL")).unwrap();
        let origins = Origins::new(files.clone());
        let known = AddressOrigin {
            country: Some("NL".to_owned()),
            asn: Some(64_496),
            as_name: Some("Example Net".to_owned()),
        };
        assert_eq!(origins.of("192.0.2.77".parse().unwrap()), known);
        assert_eq!(origins.of("::ffff:192.0.2.77".parse().unwrap()), known);
        assert_eq!(origins.of("198.51.100.1".parse().unwrap()), AddressOrigin::default());
        assert_eq!(origins.of("2001:db8::1".parse().unwrap()), AddressOrigin::default());

        let later = SystemTime::UNIX_EPOCH + Duration::from_hours(1);
        let replace = |octets: &[u8]| {
            fs::write(files.country.as_ref().unwrap(), octets).unwrap();
            let file = fs::File::options().write(true).open(files.country.as_ref().unwrap()).unwrap();
            file.set_modified(later).unwrap();
            origins.country.as_ref().unwrap().state.lock().looked_at = None;
        };
        replace(&country("BE"));
        assert_eq!(origins.of("192.0.2.1".parse().unwrap()).country.as_deref(), Some("BE"));
        // What is no code of a country is none.
        let other = Origins::new(OriginFiles { asn: None, country: files.country.clone() });
        replace(&country("<b>"));
        assert_eq!(other.of("192.0.2.1".parse().unwrap()), AddressOrigin::default());
    }

    #[test]
    fn without_a_database_or_with_a_broken_one_nothing_is_known_and_nothing_fails() {
        let folder = tempfile::tempdir().unwrap();
        let broken = folder.path().join("broken");
        fs::write(&broken, b"no database").unwrap();
        for file in [broken, folder.path().join("missing")] {
            let origins = Origins::new(OriginFiles { asn: Some(file.clone()), country: Some(file) });
            assert_eq!(origins.of("192.0.2.1".parse().unwrap()), AddressOrigin::default());
        }
    }
}
