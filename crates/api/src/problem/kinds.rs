//! The one registry of problem types. Each has a stable slug, and a page under `/problems/<slug>`.

use actix_web::http::StatusCode;

/// A type of problem (RFC 9457 §3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemKind {
    /// The body is not JSON.
    MalformedJson,
    /// Something in path, query or headers.
    InvalidParameters,
    /// No or no valid credential.
    Unauthenticated,
    /// A valid credential of the wrong kind.
    WrongCredential,
    /// The key lacks the scope of the operation, or of what is asked for.
    ScopeMissing,
    /// A valid token of an identity provider, for no tenant or role that is known.
    IdentityNotAdmitted,
    /// The operator has suspended the tenant.
    TenantSuspended,
    /// No such object, or not the caller's.
    NotFound,
    /// No such route.
    NoSuchRoute,
    /// The domain has no policy so far.
    NoPolicyYet,
    /// The route exists, the method does not.
    MethodNotAllowed,
    /// The body came too slowly.
    BodyTooSlow,
    /// The tenant has registered this name already.
    DomainExists,
    /// Mode `enforce` without proof.
    EnforceNotProven,
    /// What was proposed no longer follows.
    ProposalOutdated,
    /// The domain, or its plan, is in no state for that.
    RolloutNotPossible,
    /// It would lose mail while an MX migration is under way.
    MigrationNotSafe,
    /// The domain is being withdrawn, or is gone.
    DomainWithdrawing,
    /// Somebody else changed the policy in between.
    PolicyChanged,
    /// The first request with this key is not done.
    IdempotencyInFlight,
    /// What stands in the customer's zone is not what the plan was made from.
    DelegationChanged,
    /// Other records stand where the CNAMEs are to be.
    DelegationRefused,
    /// The API key is revoked, expired or rotated already.
    ApiKeyEnded,
    /// The customer would stand below the lowest level.
    CustomerTooDeep,
    /// The tenant has as many DNS credentials as it may.
    DnsCredentialQuota,
    /// The tenant has as many webhooks as it may.
    WebhookQuota,
    /// The webhook is switched off.
    WebhookDisabled,
    /// The tenant has as many recipients of digests as it may.
    DigestRecipientQuota,
    /// The address gets digests already.
    DigestRecipientExists,
    /// The tenant has as many of something as it may.
    QuotaExceeded,
    /// The octets are shown to nobody, or not yet.
    RawWithheld,
    /// `If-Match` does not match.
    PreconditionFailed,
    /// `If-Match` is absent where it is needed.
    PreconditionRequired,
    /// The body is too long.
    BodyTooLarge,
    /// Not a media type that is read here.
    UnsupportedMediaType,
    /// JSON, but not what the operation takes.
    InvalidFields,
    /// The key was used with another body.
    IdempotencyKeyReused,
    /// The customer's DNS provider refuses the credential.
    DnsCredentialRefused,
    /// The credential does not open the domain's zone.
    DnsZoneNotCovered,
    /// The customer's name server has no address that may be asked.
    DnsServerUnusable,
    /// More calls than the caller may make.
    RateLimited,
    /// Refused by the HTTP layer.
    BadRequest,
    /// A fault of ours.
    Internal,
    /// This installation does not write into customers' zones.
    CustomerDnsOff,
    /// This installation has no webhooks.
    WebhooksOff,
    /// This installation sends no mail.
    MailOff,
    /// Postgres is away.
    StoreUnavailable,
    /// The identity provider is away, and none of its keys is at hand.
    IdentityProviderUnavailable,
    /// The customer's DNS provider is away.
    DnsProviderUnavailable,
    /// Too many calls to customers' DNS providers at this moment.
    DnsCallsBusy,
    /// Too many bulk requests are being read at this moment.
    BulkBusy,
    /// Not done in time.
    DeadlineExceeded,
}

impl ProblemKind {
    /// All of them, by status.
    pub const ALL: [Self; 52] = [
        Self::BadRequest,
        Self::MalformedJson,
        Self::InvalidParameters,
        Self::Unauthenticated,
        Self::WrongCredential,
        Self::ScopeMissing,
        Self::IdentityNotAdmitted,
        Self::TenantSuspended,
        Self::NotFound,
        Self::NoSuchRoute,
        Self::NoPolicyYet,
        Self::MethodNotAllowed,
        Self::BodyTooSlow,
        Self::DomainExists,
        Self::EnforceNotProven,
        Self::ProposalOutdated,
        Self::RolloutNotPossible,
        Self::MigrationNotSafe,
        Self::DomainWithdrawing,
        Self::PolicyChanged,
        Self::IdempotencyInFlight,
        Self::DelegationChanged,
        Self::DelegationRefused,
        Self::ApiKeyEnded,
        Self::CustomerTooDeep,
        Self::DnsCredentialQuota,
        Self::WebhookQuota,
        Self::WebhookDisabled,
        Self::DigestRecipientQuota,
        Self::DigestRecipientExists,
        Self::QuotaExceeded,
        Self::RawWithheld,
        Self::PreconditionFailed,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::InvalidFields,
        Self::IdempotencyKeyReused,
        Self::DnsCredentialRefused,
        Self::DnsZoneNotCovered,
        Self::DnsServerUnusable,
        Self::PreconditionRequired,
        Self::RateLimited,
        Self::Internal,
        Self::CustomerDnsOff,
        Self::WebhooksOff,
        Self::MailOff,
        Self::StoreUnavailable,
        Self::IdentityProviderUnavailable,
        Self::DnsProviderUnavailable,
        Self::DnsCallsBusy,
        Self::BulkBusy,
        Self::DeadlineExceeded,
    ];

    /// The last segment of the type URI, and the `code` of the answer. Never changed once released.
    pub fn slug(self) -> &'static str {
        match self {
            Self::MalformedJson => "malformed-json",
            Self::InvalidParameters => "invalid-parameters",
            Self::Unauthenticated => "unauthenticated",
            Self::WrongCredential => "wrong-credential",
            Self::ScopeMissing => "scope-missing",
            Self::IdentityNotAdmitted => "identity-not-admitted",
            Self::TenantSuspended => "tenant-suspended",
            Self::NotFound => "not-found",
            Self::NoSuchRoute => "no-such-route",
            Self::NoPolicyYet => "no-policy-yet",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::BodyTooSlow => "body-too-slow",
            Self::DomainExists => "domain-exists",
            Self::EnforceNotProven => "enforce-not-proven",
            Self::ProposalOutdated => "proposal-outdated",
            Self::RolloutNotPossible => "rollout-not-possible",
            Self::MigrationNotSafe => "migration-not-safe",
            Self::DomainWithdrawing => "domain-withdrawing",
            Self::PolicyChanged => "policy-changed",
            Self::IdempotencyInFlight => "idempotency-in-flight",
            Self::DelegationChanged => "delegation-changed",
            Self::DelegationRefused => "delegation-refused",
            Self::ApiKeyEnded => "api-key-ended",
            Self::CustomerTooDeep => "customer-too-deep",
            Self::DnsCredentialQuota => "dns-credential-quota",
            Self::WebhookQuota => "webhook-quota",
            Self::WebhookDisabled => "webhook-disabled",
            Self::DigestRecipientQuota => "digest-recipient-quota",
            Self::DigestRecipientExists => "digest-recipient-exists",
            Self::QuotaExceeded => "quota-exceeded",
            Self::RawWithheld => "raw-withheld",
            Self::PreconditionFailed => "precondition-failed",
            Self::PreconditionRequired => "precondition-required",
            Self::BodyTooLarge => "body-too-large",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::InvalidFields => "invalid-fields",
            Self::IdempotencyKeyReused => "idempotency-key-reused",
            Self::DnsCredentialRefused => "dns-credential-refused",
            Self::DnsZoneNotCovered => "dns-zone-not-covered",
            Self::DnsServerUnusable => "dns-server-unusable",
            Self::RateLimited => "rate-limited",
            Self::BadRequest => "bad-request",
            Self::Internal => "internal",
            Self::CustomerDnsOff => "customer-dns-off",
            Self::WebhooksOff => "webhooks-off",
            Self::MailOff => "mail-off",
            Self::StoreUnavailable => "store-unavailable",
            Self::IdentityProviderUnavailable => "identity-provider-unavailable",
            Self::DnsProviderUnavailable => "dns-provider-unavailable",
            Self::DnsCallsBusy => "dns-calls-busy",
            Self::BulkBusy => "bulk-busy",
            Self::DeadlineExceeded => "deadline-exceeded",
        }
    }

    /// The status that goes with it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::MalformedJson | Self::InvalidParameters | Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::WrongCredential | Self::ScopeMissing | Self::IdentityNotAdmitted | Self::TenantSuspended => {
                StatusCode::FORBIDDEN
            }
            Self::NotFound | Self::NoSuchRoute | Self::NoPolicyYet => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::DomainExists
            | Self::EnforceNotProven
            | Self::ProposalOutdated
            | Self::RolloutNotPossible
            | Self::MigrationNotSafe
            | Self::DomainWithdrawing
            | Self::PolicyChanged
            | Self::DelegationChanged
            | Self::DelegationRefused
            | Self::ApiKeyEnded
            | Self::CustomerTooDeep
            | Self::DnsCredentialQuota
            | Self::WebhookQuota
            | Self::WebhookDisabled
            | Self::DigestRecipientQuota
            | Self::DigestRecipientExists
            | Self::QuotaExceeded
            | Self::RawWithheld
            | Self::IdempotencyInFlight => StatusCode::CONFLICT,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::PreconditionRequired => StatusCode::PRECONDITION_REQUIRED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::InvalidFields
            | Self::IdempotencyKeyReused
            | Self::DnsCredentialRefused
            | Self::DnsZoneNotCovered
            | Self::DnsServerUnusable => StatusCode::UNPROCESSABLE_ENTITY,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::CustomerDnsOff | Self::WebhooksOff | Self::MailOff => StatusCode::NOT_IMPLEMENTED,
            Self::StoreUnavailable
            | Self::IdentityProviderUnavailable
            | Self::DnsProviderUnavailable
            | Self::DnsCallsBusy
            | Self::BulkBusy
            | Self::DeadlineExceeded => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The title: the same in every occurrence (RFC 9457 §3.1.3).
    pub fn title(self) -> &'static str {
        match self {
            Self::MalformedJson => "The body is not valid JSON",
            Self::InvalidParameters => "A parameter is not valid",
            Self::Unauthenticated => "A valid credential is needed",
            Self::WrongCredential => "This credential is of the wrong kind",
            Self::ScopeMissing => "The credential lacks a scope",
            Self::IdentityNotAdmitted => "The token opens no tenant",
            Self::TenantSuspended => "The tenant is suspended",
            Self::NotFound => "There is no such object",
            Self::NoSuchRoute => "There is no such route",
            Self::NoPolicyYet => "The domain has no policy yet",
            Self::MethodNotAllowed => "This method is not possible here",
            Self::BodyTooSlow => "The body did not arrive in time",
            Self::DomainExists => "The domain is registered already",
            Self::EnforceNotProven => "Enforce is not proven to be safe",
            Self::ProposalOutdated => "The proposal no longer stands",
            Self::RolloutNotPossible => "The rollout plan cannot do that now",
            Self::MigrationNotSafe => "Not safe during the MX migration",
            Self::DomainWithdrawing => "The domain is being withdrawn",
            Self::PolicyChanged => "The policy was changed in between",
            Self::IdempotencyInFlight => "The first request with this key is still running",
            Self::DelegationChanged => "The zone was changed since the plan was made",
            Self::DelegationRefused => "Other records stand in the way",
            Self::ApiKeyEnded => "The API key cannot be rotated any more",
            Self::CustomerTooDeep => "No further level of customers is possible",
            Self::DnsCredentialQuota => "No further DNS credential is possible",
            Self::PreconditionFailed => "It is not the expected version",
            Self::PreconditionRequired => "Say which version is to be replaced",
            Self::WebhookQuota => "No further webhook is possible",
            Self::WebhookDisabled => "The webhook is switched off",
            Self::DigestRecipientQuota => "No further recipient of digests is possible",
            Self::DigestRecipientExists => "The address gets digests already",
            Self::QuotaExceeded => "The quota is used up",
            Self::RawWithheld => "These octets are not shown",
            Self::BodyTooLarge => "The body is too large",
            Self::UnsupportedMediaType => "This media type is not read here",
            Self::InvalidFields => "A field is not valid",
            Self::IdempotencyKeyReused => "The idempotency key was used for another request",
            Self::DnsCredentialRefused => "The DNS provider refuses the credential",
            Self::DnsZoneNotCovered => "The credential does not open this domain's zone",
            Self::DnsServerUnusable => "The name server cannot be used",
            Self::RateLimited => "Too many calls",
            Self::BadRequest => "The request cannot be understood",
            Self::Internal => "Something failed on our side",
            Self::CustomerDnsOff => "This service does not write into customers' zones",
            Self::WebhooksOff => "This service has no webhooks",
            Self::MailOff => "This service sends no mail",
            Self::StoreUnavailable => "The service cannot reach its store",
            Self::IdentityProviderUnavailable => "The identity provider does not answer",
            Self::DnsProviderUnavailable => "The DNS provider does not answer",
            Self::DnsCallsBusy => "Too many calls to DNS providers are under way",
            Self::BulkBusy => "Too many bulk requests are under way",
            Self::DeadlineExceeded => "The request took too long",
        }
    }

    /// What its page says: what happened, and what to do.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::MalformedJson => {
                "The body could not be parsed as JSON in UTF-8. `detail` names line and column. Correct the body; \
                 nothing was changed."
            }
            Self::InvalidParameters => {
                "Something in the path, the query or a header is not valid. `errors` has one entry for each, with the \
                 name of the `parameter`. Unknown query parameters are refused too, so that a misspelt filter never \
                 looks like one that matches everything."
            }
            Self::Unauthenticated => {
                "Send `Authorization: Bearer <credential>`. The credential is an API key (`mts_live_…`), a token of an \
                 identity provider that this service trusts or, for the operator's routes, the operator token. One that \
                 is mistyped, expired, revoked or for another service gets this answer too."
            }
            Self::WrongCredential => {
                "The credential is valid, but it is not for this route: routes about tenants take the operator token, \
                 all others take an API key of the tenant or a token of an identity provider."
            }
            Self::ScopeMissing => {
                "The credential is valid, but it does not have the scope that this operation needs; or it asks for a \
                 key with scopes that it does not have itself, by making or by rotating one. `missing_scopes` lists \
                 what is missing, and the documentation names the scope of each operation. The scopes of a key never \
                 change: use or make another one. Those of a token are those of its role. Nothing was changed."
            }
            Self::IdentityNotAdmitted => {
                "The token is valid, but it names no role that is known here, or no tenant that it could be for. `detail` \
                 tells which of the two claims it is. Whoever runs your identity provider puts the tenant's id (`ten_…`) \
                 and a role (`viewer`, `editor`, `admin` or `owner`, or what is mapped to one of them) into its tokens."
            }
            Self::TenantSuspended => {
                "The operator of the service has suspended the tenant that the credential belongs to, or the one that \
                 `X-Tenant` names. Until that is taken back no operation is open to it. Nothing that was published is \
                 taken away by that: policies go on being served, and certificates renewed. Ask the operator."
            }
            Self::NotFound => {
                "There is no object with this id, or it belongs to another tenant; or `X-Tenant` names a tenant that is \
                 neither yours nor beneath it, or your key lacks the scope `customers:act`. None of these is told apart."
            }
            Self::NoSuchRoute => "No operation has this path. The list of all operations is at `/docs/`.",
            Self::NoPolicyYet => {
                "The domain was registered with `mx: \"auto\"`, and its MX hosts were not found yet, so there is no \
                 policy to read or change. Look at the domain's conditions, or set a policy with your own MX patterns \
                 by `PUT /v1/domains/{domain_id}/policy`."
            }
            Self::MethodNotAllowed => "The path exists, and the header `Allow` lists its methods.",
            Self::BodyTooSlow => "The body was not complete within the deadline. Nothing was changed; send it again.",
            Self::DomainExists => {
                "You have registered this name before. `domain_id` and `domain_url` lead to it. A domain that is being \
                 withdrawn counts too, until it is gone."
            }
            Self::EnforceNotProven => {
                "A policy in mode `enforce` makes senders refuse to deliver to MX hosts that the policy does not cover \
                 or that fail STARTTLS. So it is accepted only when the latest look at the MX hosts, at most 24 hours \
                 old, found every one of them covered and passing. `reasons` lists what is missing, by host. Correct \
                 that and ask for a new look with `POST /v1/domains/{domain_id}/verify`; or, if you know better, send \
                 `\"force\": true` with a `reason`, which is kept with the version and in the audit log."
            }
            Self::ProposalOutdated => {
                "A proposal follows from the current policy and the latest look at the MX hosts. One of them has changed \
                 since, so that what was proposed is not what would follow now. Nothing was changed: read the proposal \
                 again with `GET /v1/domains/{domain_id}/proposal`."
            }
            Self::RolloutNotPossible => {
                "A plan leads from `testing` to `enforce`, so that it is for a domain that is not in `enforce` yet and has MX \
                 patterns. One that runs can be paused, and one that waits for you can be resumed. `detail` tells what \
                 stands in the way. Nothing was changed."
            }
            Self::MigrationNotSafe => {
                "An MX migration is under way, and what was asked for would lose mail: senders may hold a policy without the \
                 new hosts, or be led to the old ones. `safe_at` is when that is over, as far as it is known yet. Wait until \
                 then, or cancel the migration with `DELETE /v1/domains/{domain_id}/migrations`; the policy keeps both then. \
                 Nothing was changed."
            }
            Self::DomainWithdrawing => {
                "The domain was deleted. Mode `none` is served until no sender can hold an older policy, and nothing \
                 else can be changed until then."
            }
            Self::PolicyChanged => {
                "Between reading and writing somebody else set another policy version. Nothing was changed; read the \
                 policy and repeat the request."
            }
            Self::IdempotencyInFlight => {
                "A request with the same `Idempotency-Key` is being processed. Repeat it after `Retry-After` seconds \
                 to get its answer."
            }
            Self::DelegationChanged => {
                "Since the plan was made somebody changed what stands at the names of the CNAMEs. Nothing was written. \
                 `records` tells what stands there now: make a new plan, look at it, and apply that."
            }
            Self::DelegationRefused => {
                "At one or more of the names something else stands: `records` shows what. We never overwrite or remove \
                 records of yours, and nothing was written. Remove what stands there, or change it to the CNAME \
                 yourself, and make a new plan."
            }
            Self::ApiKeyEnded => {
                "A key that was revoked, has expired or was rotated before is not rotated: `detail` tells which. Make \
                 a new key, or rotate the one that took its place. Nothing was changed."
            }
            Self::CustomerTooDeep => {
                "Tenants have five levels: a tenant at the root, and four levels of customers beneath it. The parent \
                 stands at the lowest. Make the customer beneath a tenant further up. Nothing was changed."
            }
            Self::DnsCredentialQuota => {
                "A tenant may keep 100 DNS credentials. Delete those that are no longer needed; one credential serves \
                 all domains of its zone."
            }
            Self::WebhookQuota => {
                "A tenant may have 10 webhooks. Delete one that is no longer needed, or let one receiver pass events on. \
                 Nothing was changed."
            }
            Self::WebhookDisabled => {
                "Nothing is delivered to a webhook that is switched off, by you or, for its `disabled_reason`, by the \
                 service. Switch it on by `PATCH /v1/webhooks/{webhook_id}` with `{\"enabled\": true}`; what waits for it \
                 goes out then. Nothing was changed."
            }
            Self::DigestRecipientQuota => {
                "A tenant may have 20 recipients of digests, those included that have not said yes or want no more. Delete \
                 one, or send to a list of yours. Nothing was changed."
            }
            Self::DigestRecipientExists => {
                "A recipient of yours gets digests at this address. To change how often or of what, delete it and have the \
                 address asked again. Nothing was changed."
            }
            Self::QuotaExceeded => {
                "You have as many as you may: `quota` names what is counted, `limit` how many are possible, and `used` \
                 how many there are. Remove what is no longer needed, or ask the operator of this service for more. Of \
                 `operations` those count that have not ended: wait until one is done, or cancel one. Nothing was \
                 changed."
            }
            Self::RawWithheld => {
                "A mail or a POST with reports can speak of domains of several tenants. Each is shown what is said of its \
                 own, and the octets are shown to nobody; nor are those of what was not read yet, or repeats what came \
                 before. `GET /v1/reports/{report_id}` has what is said of your domain."
            }
            Self::PreconditionFailed => {
                "`If-Match` names another state than the current one, whose tag is in `current` and in the header `ETag`: \
                 of a policy, the id of its version. Read it, decide again, and send its `ETag`. Nothing was changed."
            }
            Self::PreconditionRequired => {
                "To replace a policy that exists, say which one: `If-Match` with the `ETag` of the policy that you have \
                 read, so that a change of somebody else is never lost unseen; or `If-Match: *` to replace it whatever \
                 it is. Nothing was changed."
            }
            Self::BodyTooLarge => "The body is longer than `limit` octets. Nothing was changed.",
            Self::UnsupportedMediaType => {
                "Send JSON with `Content-Type: application/json`, or to an import lines of JSON with \
                 `Content-Type: application/x-ndjson`, without a content coding."
            }
            Self::InvalidFields => {
                "The body is JSON, but a field is missing, unknown, repeated, or of a wrong type or value. `errors` \
                 has one entry for each, with a JSON pointer (RFC 6901), a stable code, and what to write instead. \
                 Nothing was changed."
            }
            Self::IdempotencyKeyReused => {
                "The `Idempotency-Key` was used within the last 24 hours for a request with another path or body. Draw \
                 a new key for each new request, and repeat a key only with the very same request."
            }
            Self::DnsCredentialRefused => {
                "Your DNS provider does not accept the credential: it is mistyped, expired, revoked, or lacks a right. \
                 `detail` tells what the provider said. Cloudflare: make a token with the rights `Zone: Read` and \
                 `DNS: Edit` for the one zone. RFC 2136: compare name, algorithm and secret of the key with the \
                 server's, and the clocks. Nothing was changed."
            }
            Self::DnsServerUnusable => {
                "The name server of the credential does not exist, or has no public address: private, loopback, \
                 link-local and embedded addresses are never connected to. Correct the server. Nothing was changed."
            }
            Self::DnsZoneNotCovered => {
                "The credential is valid, but the zone that holds the domain is not among those that it opens. Use a \
                 credential of that zone. Nothing was changed."
            }
            Self::RateLimited => {
                "Calls are counted for each API key or user, for each tenant, and for the operator; failed authentications for \
                 each client address. Nothing was changed. Repeat the request after `Retry-After` seconds. \
                 `RateLimit-Policy` tells how many calls are possible at once (`q`) and in how many seconds as many are \
                 possible again (`w`); `RateLimit`, on every answer to a valid credential, tells how many are left (`r`) \
                 and in how many seconds all are there again, or, where none is left, the next one (`t`)."
            }
            Self::BadRequest => "The request was refused before it reached an operation.",
            Self::Internal => {
                "The fault is ours. It is in our log under `request_id`. A repeated request with the same \
                 `Idempotency-Key` is safe."
            }
            Self::CustomerDnsOff => {
                "The operator of this service has not switched on that it writes into the zones of customers. Set the \
                 records yourself: `GET /v1/domains/{domain_id}/delegation` has them as a zone file and for Terraform."
            }
            Self::DnsProviderUnavailable => {
                "Your DNS provider or name server could not be reached, was too slow, limits our requests, or failed. \
                 Nothing was changed; repeat the request after `Retry-After` seconds."
            }
            Self::DnsCallsBusy => {
                "Only a few calls to DNS providers run at the same time, per tenant and in all, so that a slow name \
                 server holds up nobody else. Nothing was changed; repeat the request after `Retry-After` seconds."
            }
            Self::WebhooksOff => {
                "The operator of this service has given the API no key ring to seal the secrets of webhooks with. Read \
                 `GET /v1/events` instead."
            }
            Self::MailOff => {
                "The operator of this service has configured no relay to send mail by. Use webhooks, or read \
                 `GET /v1/events`."
            }
            Self::IdentityProviderUnavailable => {
                "The issuer of your token could not be asked for the keys with which it signs, and none are at hand. API \
                 keys are not concerned. Repeat the request after `Retry-After` seconds."
            }
            Self::BulkBusy => {
                "Only a few bulk requests are read at the same time, per tenant and in all, as they are large. Nothing was \
                 changed; repeat the request after `Retry-After` seconds."
            }
            Self::StoreUnavailable => {
                "The database does not answer at the moment. Policies are served on. Repeat the request after \
                 `Retry-After` seconds, with the same `Idempotency-Key`."
            }
            Self::DeadlineExceeded => {
                "The request was given up after its deadline. It may or may not have taken effect: repeat it with the \
                 same `Idempotency-Key` after `Retry-After` seconds."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_registered_once_with_a_slug_of_its_own() {
        let mut slugs: Vec<_> = ProblemKind::ALL.iter().map(|kind| kind.slug()).collect();
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), ProblemKind::ALL.len());
        // The enum counts its variants from 0, so that a variant that was left out of ALL shows here.
        let highest = ProblemKind::ALL.iter().map(|kind| *kind as usize).max().unwrap();
        assert_eq!(highest, ProblemKind::DeadlineExceeded as usize);
        assert_eq!(highest + 1, ProblemKind::ALL.len());
    }
}
