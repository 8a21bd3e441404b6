//! When the CA would like to see the certificate renewed (RFC 9773).

use mtasts_certs::{IssuedChain, renew_at};
use mtasts_model::CertificateId;

use super::{
    Context,
    issue::{bounded, seed},
};
use crate::outcome::{Failure, Finding, StepError};

impl Context<'_> {
    pub(super) async fn refresh_advice(&self, id: CertificateId) -> Result<Finding, StepError> {
        let certificate = self.deps.store.certificate(self.lease, id).await?;
        let Some(certificate) = certificate else {
            return Err(
                Failure::new("CertificateMissing", format!("The certificate {id} is not in the database.")).into()
            );
        };
        if certificate.issuer != self.deps.issuer.key() {
            // Another CA's certificate: its own time limit decides.
            let renew_at = renew_at(certificate.not_before, certificate.not_after, None, seed(id));
            return Ok(Finding::Advice { certificate: id, renew_at, advice_due_at: None });
        }
        let (not_before, not_after) = (certificate.not_before, certificate.not_after);
        let chain =
            IssuedChain::from_der(certificate.chain_der).map_err(|error| Failure::caused("ChainUnreadable", &error))?;
        let info = match self.deps.issuer.renewal_info(&chain).await {
            Ok(info) => info,
            Err(error) => return Err(self.issuer_failure(&error).into()),
        };
        let advice_due_at = info.as_ref().map(|info| self.now() + bounded(info.retry_after()));
        let renew_at = renew_at(not_before, not_after, info.as_ref(), seed(id));
        Ok(Finding::Advice { certificate: id, renew_at, advice_due_at })
    }
}
