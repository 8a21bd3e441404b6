//! Whether senders get what the edges were told to serve.

use mtasts_model::{PolicyVersionId, lifecycle::VersionFacts};
use mtasts_probe::{FetchError, FetchFailure, TlsFailure};

use super::Context;
use crate::outcome::{Failure, Finding, StepError, causes};

impl Context<'_> {
    /// Fetches the policy as a sender would and compares it byte for byte, at every address.
    pub(super) async fn verify_served(&self, id: PolicyVersionId) -> Result<Finding, StepError> {
        let version = self.version(id)?;
        let fetched = match self.deps.policy_fetcher.fetch(&self.facts.name).await {
            Ok(fetched) => fetched,
            Err(failure) => return Err(Failure::new(reason(&failure), causes(&failure)).into()),
        };
        let expected = version.policy.to_text();
        if let Some(answer) = fetched.answers().find(|answer| answer.text != expected.as_bytes()) {
            let message = format!("{} serves another policy at {}.", self.facts.name.policy_host(), answer.addr);
            return Err(Failure::new("PolicyDiffers", message).into());
        }
        // An address of a family that this machine has no route for says nothing; any other failing one would fail
        // the senders that pick it.
        let failed = fetched.failed.iter().find(|failed| !matches!(failed.error, FetchError::NoRoute(_)));
        if let Some(failed) = failed {
            let host = self.facts.name.policy_host();
            return Err(Failure::new(reason_at(&failed.error), format!("{host}: {}", causes(failed))).into());
        }
        Ok(Finding::Verified { version: id })
    }

    /// The newest version, if it still is the planned one.
    pub(super) fn version(&self, id: PolicyVersionId) -> Result<&VersionFacts, StepError> {
        let version = self.facts.version.as_ref().filter(|version| version.id == id);
        Ok(version.ok_or_else(|| Failure::new("VersionSuperseded", "A newer policy version came in between."))?)
    }
}

fn reason(failure: &FetchFailure) -> &'static str {
    match failure {
        FetchFailure::Unresolvable { .. } | FetchFailure::ResolveDeadline { .. } => "DnsUnavailable",
        FetchFailure::NoAddress { .. } => "NoAddress",
        FetchFailure::EveryAddress { worst, .. } => reason_at(&worst.error),
    }
}

fn reason_at(error: &FetchError) -> &'static str {
    match error {
        FetchError::AddressRefused(_) => "AddressRefused",
        FetchError::NoRoute(_) | FetchError::Connect(_) => "ConnectionFailed",
        FetchError::Deadline(_) => "TooSlow",
        FetchError::Tls(TlsFailure::NotTrusted(_)) => "CertificateNotTrusted",
        FetchError::Tls(TlsFailure::Expired | TlsFailure::NotValidYet) => "CertificateExpired",
        FetchError::Tls(TlsFailure::HostMismatch { .. }) => "CertificateHostMismatch",
        FetchError::Tls(TlsFailure::Handshake(_) | TlsFailure::Deadline(_)) => "HandshakeFailed",
        FetchError::Http(_) => "NotHttp",
        FetchError::Redirect { .. } => "Redirected",
        FetchError::Status(_) => "WrongStatus",
        FetchError::ContentType(_) => "WrongContentType",
        FetchError::TooLarge => "TooLarge",
    }
}
