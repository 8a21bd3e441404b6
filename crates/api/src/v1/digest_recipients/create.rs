//! `POST /v1/digest-recipients`

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::StatusCode, post};
use mtasts_model::{DigestFrequency, DigestRecipientId, EmailAddress, ReportKind};
use mtasts_store::{AddedRecipient, DIGEST_RECIPIENTS_PER_TENANT, NewDigestRecipient};
use serde::Deserialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::{DigestRecipientBody, FrequencySchema, KindSchema};
use crate::{
    auth::TenantScope,
    extract::{Answer, IdempotencyHeader, IdempotencyKey, Json, Once},
    problem::{FieldError, Problem, ProblemKind, documented, groups},
    v1::fields::Faults,
};

/// More than there are, so that a new kind needs no other client.
const MAX_KINDS: usize = 10;

/// An address that is to be asked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"email": "postmaster@example.com", "frequency": "weekly", "kinds": ["tls-rpt"]}))]
pub(crate) struct CreateDigestRecipient {
    /// The address: ASCII before the `@`, A-labels after it.
    #[schema(min_length = 3, max_length = 254)]
    email: String,
    /// How often.
    #[schema(value_type = FrequencySchema)]
    frequency: String,
    /// Of which kinds of report; null or absent: of all.
    #[serde(default)]
    #[schema(value_type = Option<Vec<KindSchema>>, min_items = 1, max_items = 10)]
    kinds: Option<Vec<String>>,
}

impl CreateDigestRecipient {
    fn parse(&self, id: DigestRecipientId) -> Result<NewDigestRecipient, Problem> {
        let mut faults = Faults::default();
        let email = self.email.trim().parse::<EmailAddress>();
        let email = faults.keep(email.map_err(|error| FieldError::at("/email", error.code(), error.to_string())));
        let frequency = self.frequency.parse::<DigestFrequency>();
        let frequency = faults
            .keep(frequency.map_err(|error| FieldError::at("/frequency", "frequency-unknown", error.to_string())));
        let kinds = match &self.kinds {
            None => Some(ReportKind::ALL.to_vec()),
            Some(words) => kinds(words, &mut faults),
        };
        match (email, frequency, kinds) {
            (Some(email), Some(frequency), Some(kinds)) => Ok(NewDigestRecipient { id, email, frequency, kinds }),
            _ => Err(faults.into_problem()),
        }
    }
}

/// In their order, each once, at least one.
fn kinds(words: &[String], faults: &mut Faults) -> Option<Vec<ReportKind>> {
    if words.is_empty() || words.len() > MAX_KINDS {
        let message = format!("must name 1 to {MAX_KINDS} kinds; null for all");
        return faults.keep(Err(FieldError::at("/kinds", "wrong-length", message)));
    }
    let mut kinds = faults.keep_all(words.iter().enumerate().map(|(index, word)| {
        word.parse::<ReportKind>()
            .map_err(|error| FieldError::at(format!("/kinds/{index}"), "kind-unknown", error.to_string()))
    }))?;
    kinds.sort_unstable();
    kinds.dedup();
    Some(kinds)
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let own = &[ProblemKind::DigestRecipientQuota, ProblemKind::DigestRecipientExists, ProblemKind::MailOff];
        documented(&[groups::CALL, groups::BODY, groups::ONCE, own])
    }
}

/// Have an address asked for digests
///
/// It gets one mail with a link to a page with a button, and nothing else until that was pressed, within seven days. Asking
/// again sends another one; an address is asked three times a day at most, whoever asks. One that was unsubscribed or
/// disabled is asked anew.
#[utoipa::path(
    tag = "alerts",
    operation_id = "create_digest_recipient",
    params(IdempotencyHeader),
    request_body = CreateDigestRecipient,
    responses(
        (status = 201, description = "The recipient, which is asked.", body = DigestRecipientBody,
            headers(("Location" = String, description = "Where it is."))),
        Errors,
    ),
    security(("api_key" = [])),
)]
#[post("/digest-recipients")]
pub(crate) async fn create_digest_recipient(
    scope: TenantScope,
    key: IdempotencyKey,
    body: Json<CreateDigestRecipient>,
) -> Result<HttpResponse, Problem> {
    let (now, state) = (scope.now(), scope.state());
    if !state.config.mail {
        let detail = "This service has no relay configured to send mail by";
        return Err(Problem::new(ProblemKind::MailOff, detail));
    }
    let new = body.value.parse(DigestRecipientId::draw(now, &*state.entropy))?;
    let answer = Once::new(&key, body.hash, now)
        .run(scope.begin().await?, async |tx| match tx.add_digest_recipient(new, &scope.actor(), now).await? {
            AddedRecipient::Asked(recipient) => {
                let location = format!("/v1/digest-recipients/{}", recipient.id);
                let body = DigestRecipientBody::from(recipient);
                Ok(Answer::new(StatusCode::CREATED, &body)?.location(location))
            }
            AddedRecipient::Exists(id) => {
                let detail = format!("The address gets digests already: delete {id} first");
                Err(Problem::new(ProblemKind::DigestRecipientExists, detail))
            }
            AddedRecipient::TooMany => {
                let detail = format!("There are {DIGEST_RECIPIENTS_PER_TENANT} recipients already: delete one first");
                Err(Problem::new(ProblemKind::DigestRecipientQuota, detail))
            }
        })
        .await?;
    Ok(answer.respond())
}
