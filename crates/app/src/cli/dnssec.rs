//! `mtasts admin dnssec`: keys of the signed zone.

use std::{fs::OpenOptions, io::Write as _, os::unix::fs::OpenOptionsExt, path::Path};

use mtasts_model::SystemEntropy;
use mtasts_nameserver::{draw_key as draw, ds_record};

use super::{CommandError, ConfigArgs, Outcome, load, runtime};
use crate::config::{DnssecKeyKind, key_ring, sealed_dnssec_key};

/// Draws a key and keeps it sealed: whoever gets the file but not the key ring has nothing.
pub(super) fn draw_key(kind: DnssecKeyKind, output: &Path, args: &ConfigArgs) -> Outcome {
    let mut config = load(args)?;
    runtime()?.block_on(config.open_key_ring())?;
    let ring = key_ring(&config, false, &SystemEntropy)?;
    let (key, pkcs8) = draw(&SystemEntropy, kind.into())?;
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(output).and_then(|mut file| {
        writeln!(file, "{}", sealed_dnssec_key(&ring, &pkcs8))?;
        file.sync_all()
    });
    written.map_err(|source| CommandError::Write { path: output.to_owned(), source })?;
    println!("; key {} is in {}", key.key_tag(), output.display());
    if let Some(ds) = ds_record(&config.service.zone()?, &key)? {
        println!("{ds}");
    }
    Ok(())
}

/// The DS records of the keys in the configuration.
pub(super) fn ds(args: &ConfigArgs) -> Outcome {
    let mut config = load(args)?;
    runtime()?.block_on(config.open_key_ring())?;
    let zone = config.service.zone()?;
    let Some(dnssec) = config.nameserver.dnssec(|| key_ring(&config, false, &SystemEntropy))? else {
        println!("; the zone is not signed");
        return Ok(());
    };
    for key in &dnssec.keys {
        if let Some(ds) = ds_record(&zone, key)? {
            println!("{ds}");
        }
    }
    Ok(())
}
