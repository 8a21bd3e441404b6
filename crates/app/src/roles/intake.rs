//! The intake: takes in reports.

use std::{sync::Arc, time::Duration};

use mtasts_intake::Intake;
use mtasts_store::Role;

use super::{Context, Running, connect_watched};
use crate::{
    admin::{Probe, RoleReadiness},
    config::ConfigError,
    startup::StartupError,
};

/// For mails and requests under way.
const FINISH: Duration = Duration::from_secs(15);

pub(super) async fn start(context: &Context, running: &mut Running) -> Result<Probe, StartupError> {
    let config = &context.config;
    let Some(intake) = config.intake.config(config)? else {
        return Err(ConfigError::value("reports.host", "name the host that takes reports").into());
    };
    if intake.certificate.is_none() && !intake.https.is_empty() {
        tracing::warn!(
            "the intake has a self-signed certificate: mail is sent to it all the same, but nobody will post reports \
             over HTTPS; set intake.certificate_file and intake.key_file"
        );
    }
    let host = intake.host.clone();
    let store = connect_watched(context, Role::Intake, "intake").await?;
    let handle = Intake::start(intake, store, Arc::clone(&context.clock), Arc::clone(&context.entropy))?;
    let (smtp, https, http) = (handle.smtp_addrs(), handle.https_addrs(), handle.http_addrs());
    tracing::info!(%host, ?smtp, ?https, ?http, "the intake takes reports");
    let stop = context.stop.clone();
    let probed = stop.clone();
    running.spawn(async move {
        stop.cancelled().await;
        handle.shutdown(FINISH).await;
        "intake"
    });
    // Without its database it tells senders to come again, which says more than a refused connection.
    Ok(Box::new(move || {
        let ready = !probed.is_cancelled();
        let notes = if ready { Vec::new() } else { vec!["stopping".to_owned()] };
        RoleReadiness { role: "intake", ready, notes }
    }))
}
