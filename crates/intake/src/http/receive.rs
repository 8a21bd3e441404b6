//! `POST /v1/tlsrpt/{label}`.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName},
    },
    web,
};
use futures_util::StreamExt;
use mtasts_model::{
    ArrivalId, Label,
    network::client_behind,
    report::{ReportKind, ReportVia},
};
use mtasts_store::{Acceptance, NewArrival, Recipient};
use serde_json::json;
use tokio::time::timeout;

use super::{Connection, answer};
use crate::{
    body::{Body, Full},
    counters::{self, Outcome},
    desk::{column, digest_of},
    intake::Shared,
};

/// What reports are sent as (RFC 8460 §5.4), and what they are really sent as. What is in it decides later.
const TYPES: [&str; 8] = [
    "application/tlsrpt+json",
    "application/tlsrpt+gzip",
    "application/json",
    "application/gzip",
    "application/x-gzip",
    "application/octet-stream",
    "application/zip",
    "application/x-zip-compressed",
];

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Octets of a body that is refused, and how long they are waited for.
const REST: usize = 256 << 10;
const REST_DEADLINE: Duration = Duration::from_secs(2);

/// 201 once it is stored, 200 if it was before.
pub(super) async fn receive(
    request: HttpRequest,
    label: web::Path<String>,
    mut payload: web::Payload,
    shared: web::Data<Shared>,
) -> HttpResponse {
    let taken = take(&request, &label, &mut payload, &shared).await;
    if taken.is_err() {
        // Whoever is cut off while still sending does not get to read why.
        let _ = timeout(REST_DEADLINE, read_over(&mut payload)).await;
    }
    let (Ok((outcome, answer)) | Err((outcome, answer))) = taken;
    counters::outcome(ReportVia::Https, outcome);
    answer
}

/// What is left of a body that is not wanted, if it is little.
async fn read_over(payload: &mut web::Payload) {
    let mut octets = 0;
    while let Some(Ok(chunk)) = payload.next().await {
        octets += chunk.len();
        if octets > REST {
            return;
        }
    }
}

type Answer = (Outcome, HttpResponse);

async fn take(
    request: &HttpRequest,
    label: &str,
    payload: &mut web::Payload,
    shared: &Shared,
) -> Result<Answer, Answer> {
    let headers = request.headers();
    // A connection without a place is being shut down.
    let Some(connection) = request.conn_data::<Connection>() else {
        return Err((Outcome::NoRoom, answer::unavailable("too many connections")));
    };
    let Ok(label) = label.parse::<Label>() else { return Err((Outcome::UnknownRecipient, answer::not_found().await)) };
    let recipient = match shared.directory.find(&label).await {
        Ok(Some(recipient)) => recipient,
        Ok(None) => return Err((Outcome::UnknownRecipient, answer::not_found().await)),
        Err(_) => return Err(not_stored()),
    };
    let content_type = text(headers, &header::CONTENT_TYPE);
    if !content_type.is_none_or(is_taken) {
        let detail = "send it as application/tlsrpt+gzip or application/tlsrpt+json";
        return Err((Outcome::Unsupported, answer::problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)));
    }
    if !recipient.has_room {
        return Err(over_quota(shared, None));
    }
    let announced = text(headers, &header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > shared.config.limits.max_octets as u64) {
        return Err(too_large(shared));
    }
    let body = match timeout(shared.config.limits.body_deadline, read(payload, shared)).await {
        Ok(body) => body?,
        Err(_) => {
            return Err((Outcome::TooSlow, answer::problem(StatusCode::REQUEST_TIMEOUT, "the body came too slowly")));
        }
    };
    store(request, connection, (&label, recipient), body, shared).await
}

async fn read(payload: &mut web::Payload, shared: &Shared) -> Result<Body, Answer> {
    let mut body = Body::new(&shared.budget, shared.config.limits.max_octets);
    while let Some(chunk) = payload.next().await {
        let Ok(chunk) = chunk else {
            return Err((Outcome::Malformed, answer::problem(StatusCode::BAD_REQUEST, "the body breaks off")));
        };
        match body.push(&chunk) {
            Ok(()) => {}
            Err(Full::TooLarge) => return Err(too_large(shared)),
            Err(Full::NoRoom) => {
                return Err((Outcome::NoRoom, answer::unavailable("too many reports at once")));
            }
        }
    }
    Ok(body)
}

async fn store(
    request: &HttpRequest,
    connection: &Connection,
    (label, recipient): (&Label, Recipient),
    body: Body,
    shared: &Shared,
) -> Result<Answer, Answer> {
    let (raw, held) = body.into_parts();
    if raw.is_empty() {
        return Err((Outcome::Malformed, answer::problem(StatusCode::BAD_REQUEST, "the body is empty")));
    }
    let headers = request.headers();
    let octets = raw.len();
    let received_at = shared.clock.now();
    let arrival = NewArrival {
        id: ArrivalId::draw(received_at, &*shared.entropy),
        tenant_id: recipient.tenant_id,
        domain_id: recipient.domain_id,
        kind: ReportKind::TlsRpt,
        via: ReportVia::Https,
        received_at,
        peer: client(connection, headers, shared),
        client_name: text(headers, &header::USER_AGENT).and_then(|agent| column(agent, 255)),
        envelope_from: None,
        content_type: text(headers, &header::CONTENT_TYPE).and_then(|kind| column(kind, 255)),
        tls_version: tls_version(connection, headers, shared),
        digest: digest_of(&raw),
        raw,
    };
    let id = arrival.id;
    let fates = shared.desk.hand_in(vec![arrival], held).await.map_err(|_| not_stored())?;
    match fates.first() {
        Some(Acceptance::Accepted) => {
            counters::octets(ReportVia::Https, octets);
            Ok((Outcome::Accepted, HttpResponse::Created().json(json!({ "id": id }))))
        }
        Some(Acceptance::Duplicate) => Ok((Outcome::Duplicate, HttpResponse::Ok().json(json!({ "duplicate": true })))),
        Some(Acceptance::OverQuota { again_at }) => {
            shared.directory.has_no_room(label, recipient);
            Err(over_quota(shared, Some(*again_at)))
        }
        None => Err(not_stored()),
    }
}

/// A header, if it is text.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether it is sent as one of the types, parameters aside.
fn is_taken(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.is_empty() || TYPES.iter().any(|known| known.eq_ignore_ascii_case(essence))
}

fn client(connection: &Connection, headers: &HeaderMap, shared: &Shared) -> std::net::IpAddr {
    let lines = headers.get_all(header::X_FORWARDED_FOR).map(|line| line.to_str().unwrap_or("?"));
    // The lines in their order; the header's own iterator gives them so.
    client_behind(connection.peer, lines, &shared.config.trusted_proxies)
}

/// Behind a proxy of ours it is the proxy that knows, and it does not tell which version.
fn tls_version(connection: &Connection, headers: &HeaderMap, shared: &Shared) -> Option<String> {
    if connection.tls.is_some() {
        return connection.tls.map(str::to_owned);
    }
    let is_proxy = shared.config.trusted_proxies.iter().any(|network| network.contains(connection.peer));
    let by_tls = text(headers, &FORWARDED_PROTO).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    (is_proxy && by_tls).then(|| "TLS".to_owned())
}

fn too_large(shared: &Shared) -> Answer {
    let detail = format!("a report may have {} octets", shared.config.limits.max_octets);
    (Outcome::TooLarge, answer::problem(StatusCode::PAYLOAD_TOO_LARGE, &detail))
}

fn not_stored() -> Answer {
    (Outcome::NotStored, answer::unavailable("it cannot be stored now"))
}

fn over_quota(shared: &Shared, again_at: Option<mtasts_model::Timestamp>) -> Answer {
    let now = shared.clock.now();
    let tomorrow = now.date_naive().and_time(chrono::NaiveTime::MIN).and_utc() + chrono::TimeDelta::days(1);
    let seconds = (again_at.unwrap_or(tomorrow) - now).num_seconds();
    (Outcome::OverQuota, answer::later(StatusCode::TOO_MANY_REQUESTS, "no more reports today", seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_taken_whatever_their_case_and_parameters() {
        for taken in [
            "application/tlsrpt+gzip",
            "Application/TLSRPT+JSON; charset=utf-8",
            "application/json",
            "application/x-gzip",
            "application/octet-stream ; a=b",
            "",
        ] {
            assert!(is_taken(taken), "{taken}");
        }
        for refused in ["text/html", "application/tlsrpt", "multipart/form-data; boundary=application/json"] {
            assert!(!is_taken(refused), "{refused}");
        }
    }
}
