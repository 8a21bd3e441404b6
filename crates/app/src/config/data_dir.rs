//! Secrets that are configured, or else drawn once and kept in the data folder.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use mtasts_certs::KeyRing;
use mtasts_model::Entropy;
use secrecy::{ExposeSecret, SecretString};

use super::{Config, ConfigError};
use crate::startup::StartupError;

/// The keys that seal secrets at rest.
pub(crate) fn key_ring(config: &Config, may_draw: bool, entropy: &dyn Entropy) -> Result<KeyRing, StartupError> {
    let secrets = &config.secrets;
    let text = match configured("secrets.key_ring", secrets.key_ring.as_ref(), secrets.key_ring_file.as_deref())? {
        Some(text) => text,
        // A command beside `mtasts all` finds what that has drawn.
        None if may_draw || config.data_dir.join("key-ring").exists() => {
            kept(&config.data_dir.join("key-ring"), || KeyRing::generate(entropy).1)?
        }
        None => {
            let problem = "every role needs the same key ring: set secrets.key_ring or secrets.key_ring_file; \
                           `mtasts admin generate-key` draws one";
            return Err(ConfigError::value("secrets.key_ring", problem).into());
        }
    };
    Ok(KeyRing::parse(&text).map_err(|error| ConfigError::value("secrets.key_ring", error))?)
}

/// The operator's bearer token.
pub(crate) fn operator_token(
    config: &Config,
    may_draw: bool,
    entropy: &dyn Entropy,
) -> Result<SecretString, StartupError> {
    let api = &config.api;
    match configured("api.operator_token", api.operator_token.as_ref(), api.operator_token_file.as_deref())? {
        Some(text) => Ok(text),
        None if may_draw => {
            let path = config.data_dir.join("operator-token");
            let token = kept(&path, || draw_token(entropy))?;
            tracing::info!(path = %path.display(), "the operator's token is in this file");
            Ok(token)
        }
        None => {
            let problem = "set api.operator_token or api.operator_token_file";
            Err(ConfigError::value("api.operator_token", problem).into())
        }
    }
}

fn draw_token(entropy: &dyn Entropy) -> SecretString {
    use std::fmt::Write;
    let mut random = [0_u8; 24];
    entropy.fill(&mut random);
    let mut token = String::from("mts_operator_");
    for byte in random {
        // Writing to a string cannot fail.
        let _ = write!(token, "{byte:02x}");
    }
    token.into()
}

pub(super) fn configured(
    key: &'static str,
    value: Option<&SecretString>,
    file: Option<&Path>,
) -> Result<Option<SecretString>, ConfigError> {
    match (value, file) {
        (Some(_), Some(_)) => Err(ConfigError::value(key, "give the value or the file, not both")),
        (Some(value), None) => Ok(Some(value.clone())),
        (None, Some(path)) => match fs::read_to_string(path) {
            Ok(text) => Ok(Some(text.trim().to_owned().into())),
            Err(source) => Err(ConfigError::File { key, path: path.to_owned(), source }),
        },
        (None, None) => Ok(None),
    }
}

/// Reads the secret, or draws it and keeps it, readable by nobody else. Two processes that start at once agree: the
/// file appears under its name complete or not at all, and only the first stays.
fn kept(path: &Path, draw: impl FnOnce() -> SecretString) -> Result<SecretString, StartupError> {
    let failed = |source| StartupError::File { path: PathBuf::from(path), source };
    match fs::read_to_string(path) {
        Ok(text) => return Ok(text.trim().to_owned().into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let secret = draw();
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let written =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft).and_then(|mut file| {
            file.write_all(secret.expose_secret().as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()
        });
    // A hard link fails if the name is taken, unlike a rename.
    let placed = written.and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    match placed {
        Ok(()) => Ok(secret),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::read_to_string(path).map(|text| text.trim().to_owned().into()).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_drawn_secret_is_kept_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data/secret");
        let first = kept(&path, || "one".to_owned().into()).unwrap();
        let again = kept(&path, || "two".to_owned().into()).unwrap();
        assert_eq!((first.expose_secret(), again.expose_secret()), ("one", "one"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path().join("data")).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn roles_that_share_keys_refuse_to_draw_their_own() {
        let config = Config::default();
        let error = key_ring(&config, false, &mtasts_model::SystemEntropy).unwrap_err();
        assert!(error.to_string().contains("secrets.key_ring"), "{error}");
    }

    #[test]
    fn a_value_and_a_file_at_once_are_refused() {
        let value: SecretString = "x".to_owned().into();
        assert!(configured("k", Some(&value), Some(Path::new("/nowhere"))).is_err());
    }
}
