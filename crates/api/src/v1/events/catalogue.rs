//! The section `webhooks` of the OpenAPI document: what is posted for each type of event, with an example.

use mtasts_model::{EventType, event};
use serde_json::{Value, json};
use utoipa::{
    ToSchema,
    openapi::{
        ContentBuilder, HttpMethod, OpenApi, PathItem, Paths, Ref, RefOr, Required, ResponseBuilder, Schema,
        path::{Operation, OperationBuilder, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type},
    },
};

use super::payload;

/// The moment of all examples.
const EXAMPLE_TIME: &str = "2026-01-01T00:00:00Z";

/// What the document says of a type of event.
struct Entry {
    summary: &'static str,
    description: &'static str,
    /// The schema of `data`.
    name: String,
    schema: RefOr<Schema>,
    /// What the example's `data` has besides the domain.
    example: Value,
}

impl Entry {
    fn new<T: ToSchema>(summary: &'static str, description: &'static str, example: Value) -> Self {
        let (name, schema) = named::<T>();
        Self { summary, description, name, schema, example }
    }
}

fn entry(event_type: EventType) -> Entry {
    let version = json!({"version_id": "pol_0190c3a0b1c27d3e8f4051627384950a", "policy_id": "20260101000000a1b2c3"});
    let certificate =
        json!({"certificate_id": "crt_0190c3a0b1c27d3e8f4051627384950a", "not_after": "2026-04-01T00:00:00Z"});
    match event_type {
        EventType::DomainCreated => Entry::new::<payload::DomainCreated>(
            "A domain was registered",
            "Nothing is checked yet: its conditions tell how far it has come.",
            json!({}),
        ),
        EventType::DomainWithdrawing => Entry::new::<payload::DomainWithdrawing>(
            "A domain is being withdrawn",
            "Mode `none` is served until no sender can hold another policy.",
            json!({}),
        ),
        EventType::DomainRemoved => Entry::new::<payload::DomainRemoved>(
            "A domain is gone",
            "Nothing of it is served or published any more: its CNAMEs can be removed.",
            json!({}),
        ),
        EventType::DomainStillDelegated => Entry::new::<payload::DomainStillDelegated>(
            "CNAMEs of a removed domain lead here still",
            "Told weekly for 30 days after its removal. They lead to names that nobody serves: remove them.",
            json!({
                "remove_records": ["mta-sts.example.com", "_mta-sts.example.com"],
                "gone_at": "2026-01-01T00:00:00Z",
            }),
        ),
        EventType::ConditionChanged => Entry::new::<payload::ConditionChanged>(
            "A domain's condition has another status",
            "A condition that was never looked at counts as `Unknown`.",
            json!({
                "condition": "MxReady",
                "status_before": "True",
                "status": "False",
                "reason": "HostFails",
                "message": "mx2.example.com does not offer STARTTLS: switch it on.",
            }),
        ),
        EventType::PolicyChanged => Entry::new::<payload::PolicyChanged>(
            "A policy version was made",
            "By a request, from the MX hosts that were found, or because the domain is being withdrawn.",
            with(version, json!({"mode_before": "testing", "mode": "enforce"})),
        ),
        EventType::PolicyPublished => Entry::new::<payload::PolicyPublished>(
            "A policy version is published",
            "Every edge serves it, and the TXT record with its id was read back from DNS.",
            with(version, json!({"mode": "enforce"})),
        ),
        EventType::CertificateIssued => Entry::new::<payload::CertificateIssued>(
            "A domain has a new certificate",
            "For its policy host.",
            with(certificate, json!({"renewal": true})),
        ),
        EventType::RenewalFailed => Entry::new::<payload::RenewalFailed>(
            "A certificate could not be renewed",
            "Told once, at the first failure since the last success; it is tried again until it succeeds. The certificate \
             stays in use.",
            with(
                certificate,
                json!({
                    "reason": "ValidationFailed",
                    "message": "The CA could not reach mta-sts.example.com.",
                }),
            ),
        ),
        EventType::CertificateExpiring => Entry::new::<payload::CertificateExpiring>(
            "A certificate ends and is not renewed",
            "Told once for each certificate at 30, 14 and 7 days before its end, while its renewal is overdue.",
            with(
                certificate,
                json!({
                    "days_left": 13,
                    "reason": "CaaForbids",
                    "message": "No certificate can be ordered: the CAA records of example.com allow ca.example.org alone.",
                    "what_to_do": "Allow the service's CA in the CAA records of your zone, or remove them.",
                }),
            ),
        ),
        EventType::CheckFailed => Entry::new::<payload::CheckFailed>(
            "Senders do not find what they are meant to find",
            "Two looks from outside in a row found the record, the certificate or the policy to be other than is meant.",
            json!({
                "version_id": "pol_0190c3a0b1c27d3e8f4051627384950a",
                "code": "sts-record-several",
                "message": "_mta-sts.example.com: 2 records begin with `v=STSv1;`. Remove all but one.",
            }),
        ),
        EventType::CheckRecovered => Entry::new::<payload::CheckRecovered>(
            "Senders find again what they are meant to find",
            "After `domain.check_failed`.",
            json!({"version_id": "pol_0190c3a0b1c27d3e8f4051627384950a"}),
        ),
        EventType::DriftFound => Entry::new::<payload::DriftFound>(
            "The MX hosts have drifted from the policy",
            "DNS names MX hosts that the policy does not cover, and others than at the look before.",
            json!({"uncovered_mx": ["mx3.example.com"], "mode": "enforce"}),
        ),
        EventType::FailureNew => Entry::new::<payload::FailureNew>(
            "Senders report a new failure",
            "A result at an MX host that this domain never had before. Told once.",
            json!({
                "result": "certificate-expired",
                "receiving_mx": "mx1.example.com",
                "first_day": "2025-12-31",
                "sessions": 12,
                "verified": true,
            }),
        ),
        EventType::FailureRate => Entry::new::<payload::FailureRate>(
            "Too many sessions of a day failed, or no longer",
            "`raised` on a day above the threshold of your settings, `cleared` on a later one that is below four fifths of \
             it; one change a day and domain at most.",
            json!({
                "state": "raised",
                "day": "2025-12-31",
                "good": 1855,
                "failed": 145,
                "rate_percent": 7.25,
                "threshold_percent": 5,
            }),
        ),
        EventType::ReporterSilent => Entry::new::<payload::ReporterSilent>(
            "An organisation reports no more",
            "It reported on most days of two weeks, and then not for the days of your settings.",
            json!({"kind": "tls-rpt", "organization": "Example Mail", "last_day": "2025-12-26"}),
        ),
        EventType::ReporterBack => Entry::new::<payload::ReporterBack>(
            "An organisation that was silent reports again",
            "After `report.reporter_silent`.",
            json!({
                "kind": "tls-rpt",
                "organization": "Example Mail",
                "last_day": "2025-12-26",
                "day": "2025-12-31",
            }),
        ),
        EventType::ReportQuarantined => Entry::new::<payload::ReportQuarantined>(
            "Reports could not be read",
            "At most once an hour and domain.",
            json!({
                "arrivals": 3,
                "arrival_id": "arr_0190c3a0b1c27d3e8f4051627384950a",
                "reason": "not-json",
            }),
        ),
        EventType::ProposalMade => Entry::new::<payload::ProposalMade>(
            "Another policy is proposed",
            "The MX hosts in DNS are others than the policy names: `GET /v1/domains/{domain_id}/proposal` has the policy that \
             would follow.",
            json!({
                "proposal_id": "prp_0190c3a0b1c27d3e8f4051627384950a",
                "new_mx": ["mx3.example.com"],
                "gone_mx": ["mx1.example.com"],
                "mode": "enforce",
            }),
        ),
        EventType::RolloutPromoting => Entry::new::<payload::RolloutPromoting>(
            "A rollout plan is about to take its next step",
            "Told 24 hours ahead at least: `POST /v1/domains/{domain_id}/rollout:pause` prevents it.",
            json!({"step": 2, "mode": "enforce", "max_age": 86_400, "at": "2026-01-02T00:00:00Z"}),
        ),
        EventType::RolloutPromoted => Entry::new::<payload::RolloutPromoted>(
            "A rollout plan has taken a step",
            "There is a policy version with the step's mode and `max_age`.",
            json!({
                "step": 2,
                "mode": "enforce",
                "max_age": 86_400,
                "version_id": "pol_0190c3a0b1c27d3e8f4051627384950a",
            }),
        ),
        EventType::RolloutPaused => Entry::new::<payload::RolloutPaused>(
            "A rollout plan stands still",
            "For what was found, by a request (`held`), or because the policy was changed by hand (`policy-changed`).",
            json!({
                "step": 2,
                "reason": "mx-not-covered",
                "message": "no `mx` pattern of the policy covers mx3.example.com: add it, or remove the MX record",
            }),
        ),
        EventType::RolloutFellBack => Entry::new::<payload::RolloutFellBack>(
            "A rollout plan has gone back to testing",
            "Verified reports told of too many failures, and the plan's `fallback` is `testing`. It waits for you.",
            json!({
                "step": 2,
                "reason": "verified-failures",
                "message": "verified reports of the last 7 days tell of 40 failed sessions among 1000",
                "version_id": "pol_0190c3a0b1c27d3e8f4051627384950a",
            }),
        ),
        EventType::RolloutCompleted => Entry::new::<payload::RolloutCompleted>(
            "A rollout plan is completed",
            "The policy stays as the last step has made it.",
            json!({}),
        ),
        EventType::WebhookTest => Entry::new::<payload::WebhookTest>(
            "A test",
            "Made by `POST /v1/webhooks/{webhook_id}/test`.",
            json!({"webhook_id": "whk_0190c3a0b1c27d3e8f4051627384950a"}),
        ),
    }
}

fn with(mut object: Value, more: Value) -> Value {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}

/// An example of what is posted.
fn example(event_type: EventType, entry: &Entry) -> Value {
    let data = if event_type == EventType::WebhookTest {
        entry.example.clone()
    } else {
        let domain = json!({"domain_id": "dom_0190c3a0b1c27d3e8f4051627384950a", "domain": "example.com"});
        with(domain, entry.example.clone())
    };
    json!({
        "type": event_type.as_str(),
        "schema_version": event::SCHEMA_VERSION,
        "timestamp": EXAMPLE_TIME,
        "data": data,
    })
}

/// Writes the section, and the schemas that it refers to.
pub(crate) fn document(openapi: &mut OpenApi) {
    let mut webhooks = Paths::new();
    let components = openapi.components.get_or_insert_default();
    for event_type in EventType::ALL.iter().copied() {
        let entry = entry(event_type);
        let example = example(event_type, &entry);
        let item = PathItem::new(HttpMethod::Post, operation(event_type, &entry, example));
        webhooks.paths.insert(event_type.as_str().to_owned(), item);
        components.schemas.insert(entry.name, entry.schema);
    }
    for (name, schema) in [
        named::<payload::ConditionSchema>(),
        named::<payload::ConditionStatusSchema>(),
        named::<payload::AlertStateSchema>(),
        named::<payload::ReportKindSchema>(),
    ] {
        components.schemas.insert(name, schema);
    }
    openapi.webhooks = Some(webhooks);
}

fn named<T: ToSchema>() -> (String, RefOr<Schema>) {
    (T::name().into_owned(), T::schema())
}

fn operation(event_type: EventType, entry: &Entry, example: Value) -> Operation {
    let content = ContentBuilder::new().schema(Some(payload_schema(event_type, entry))).example(Some(example)).build();
    let body = RequestBodyBuilder::new()
        .description(Some("The event."))
        .content("application/json", content)
        .required(Some(Required::True))
        .build();
    let operation_id = format!("on_{}", event_type.as_str().replace('.', "_"));
    let mut operation = OperationBuilder::new()
        .tag("webhooks")
        .operation_id(Some(operation_id))
        .summary(Some(entry.summary))
        .description(Some(entry.description))
        .request_body(Some(body))
        .response("2XX", ResponseBuilder::new().description("Taken: it is not delivered again."))
        .response("410", ResponseBuilder::new().description("The webhook is switched off at once."))
        .response(
            "default",
            ResponseBuilder::new()
                .description("Anything else, and no answer within 15 seconds: it is tried again, for three days."),
        );
    for (name, description) in [
        ("webhook-id", "The event's id: the same in every attempt, so that what comes twice can be told."),
        (
            "webhook-timestamp",
            "When this attempt was made: seconds since 1970. Refuse what is older than some minutes.",
        ),
        (
            "webhook-signature",
            "`v1,` and the base64 of the HMAC-SHA256 of `<webhook-id>.<webhook-timestamp>.<body>` under the secret \
             without `whsec_`, decoded; separated by spaces if there are several, as after a rotation.",
        ),
    ] {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(Required::True)
            .description(Some(description))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)));
        operation = operation.parameter(parameter.build());
    }
    let mut operation = operation.build();
    // The signature is all that vouches for the sender.
    operation.security = Some(Vec::new());
    operation
}

fn payload_schema(event_type: EventType, entry: &Entry) -> RefOr<Schema> {
    let described = |builder: ObjectBuilder, text| builder.description(Some(text));
    let word = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([event_type.as_str()]));
    let version = ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some([event::SCHEMA_VERSION]));
    let time =
        ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("type", described(word, "The event's type."))
        .required("type")
        .property(
            "schema_version",
            described(version, "The version of this form. Members may be added to a version, and are to be ignored."),
        )
        .required("schema_version")
        .property("timestamp", described(time, "When it happened."))
        .required("timestamp")
        .property("data", RefOr::Ref(Ref::from_schema_name(&entry.name)))
        .required("data")
        .into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mtasts_model::EventData;

    use super::*;

    #[test]
    fn every_type_of_event_is_in_the_document_with_the_content_that_is_sent() {
        let document = serde_json::to_value(crate::openapi()).unwrap();
        let webhooks = document["webhooks"].as_object().unwrap();
        assert_eq!(webhooks.len(), EventType::ALL.len());
        let mut operation_ids = BTreeSet::new();
        for event_type in EventType::ALL {
            let operation = &webhooks[event_type.as_str()]["post"];
            assert!(operation_ids.insert(operation["operationId"].to_string()));
            let content = &operation["requestBody"]["content"]["application/json"];
            // The model reads the example, and would send the very same.
            let example = &content["example"];
            let tagged = json!({"type": example["type"], "data": example["data"]});
            let data: EventData = serde_json::from_value(tagged.clone()).unwrap();
            assert_eq!(data.event_type(), *event_type);
            assert_eq!(serde_json::to_value(&data).unwrap(), tagged, "{event_type}");
            let keys = |object: &Value| object.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
            let required = |schema: &Value| {
                let names = schema["required"].as_array().unwrap().iter();
                names.map(|name| name.as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
            };
            let payload = &content["schema"];
            assert_eq!((keys(&payload["properties"]), required(payload)), (keys(example), keys(example)));
            let reference = payload["properties"]["data"]["$ref"].as_str().unwrap();
            let schema = document.pointer(&reference[1..]).unwrap();
            let sent = keys(&example["data"]);
            assert_eq!((keys(&schema["properties"]), required(schema)), (sent.clone(), sent), "{event_type}");
        }
    }

    #[test]
    fn the_conditions_of_the_document_are_those_of_the_model() {
        let document = serde_json::to_value(crate::openapi()).unwrap();
        let words = |name: &str| {
            let words = document["components"]["schemas"][name]["enum"].as_array().unwrap();
            words.iter().map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let kinds = mtasts_model::ConditionKind::ALL.map(mtasts_model::ConditionKind::as_str);
        assert_eq!(words("ConditionKind"), kinds);
        assert_eq!(words("ConditionStatus"), ["True", "False", "Unknown"]);
    }
}
