//! Ids in paths.

use std::{
    future::{Ready, ready},
    str::FromStr,
};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use mtasts_model::{
    ApiKeyId, ArrivalId, CheckId, DeliveryId, DigestRecipientId, DnsCredentialId, DomainId, OperationId,
    PolicyVersionId, ReportId, TenantId, WebhookId, ids::IdError,
};

use crate::{observe::Subject, problem::Problem};

/// An id from the path.
pub(crate) struct PathId<T>(pub(crate) T);

/// Kinds of ids that stand in paths.
pub(crate) trait InPath: FromStr<Err = IdError> + 'static {
    /// The name of the path parameter.
    const PARAMETER: &'static str;

    /// Tells the access log.
    fn tell(&self, _subject: &Subject) {}
}

impl InPath for TenantId {
    const PARAMETER: &'static str = "tenant_id";

    fn tell(&self, subject: &Subject) {
        subject.set_tenant(*self);
    }
}

impl InPath for DomainId {
    const PARAMETER: &'static str = "domain_id";

    fn tell(&self, subject: &Subject) {
        subject.set_domain(*self);
    }
}

impl InPath for ApiKeyId {
    const PARAMETER: &'static str = "key_id";
}

impl InPath for DnsCredentialId {
    const PARAMETER: &'static str = "dns_credential_id";
}

impl InPath for WebhookId {
    const PARAMETER: &'static str = "webhook_id";
}

impl InPath for DigestRecipientId {
    const PARAMETER: &'static str = "digest_recipient_id";
}

impl InPath for DeliveryId {
    const PARAMETER: &'static str = "delivery_id";
}

impl InPath for OperationId {
    const PARAMETER: &'static str = "operation_id";
}

impl InPath for PolicyVersionId {
    const PARAMETER: &'static str = "version_id";
}

impl InPath for ReportId {
    const PARAMETER: &'static str = "report_id";
}

impl InPath for CheckId {
    const PARAMETER: &'static str = "check_id";
}

impl InPath for ArrivalId {
    const PARAMETER: &'static str = "arrival_id";
}

impl<T: InPath> FromRequest for PathId<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let text = request.match_info().get(T::PARAMETER).unwrap_or_default();
        let id = text.parse::<T>().map_err(|error| Problem::parameter(T::PARAMETER, "invalid-id", error.to_string()));
        if let Ok(id) = &id {
            id.tell(&Subject::of(request));
        }
        ready(id.map(Self))
    }
}
