//! Where the links of digests lead: pages with a button, for people without any credential but the link.
//!
//! What looks at links by itself, as mail scanners do, sends GET: that changes nothing, and says nothing of the link.

use actix_web::{
    HttpRequest, HttpResponse, get,
    http::{StatusCode, header},
    post,
    web::{Data, Path},
};
use mtasts_store::{Actor, DigestLink};
use sha2::{Digest, Sha256};

use crate::{auth::source, observe::RequestId, problem::Problem, state::State};

/// Characters of a token: 32 octets in base64.
const TOKEN: usize = 43;

/// A page as it stands in the browser. Nothing of a request is in it.
struct Page {
    status: StatusCode,
    title: &'static str,
    text: &'static str,
    /// What the button says, if there is one. It posts to where the page is.
    button: Option<&'static str>,
}

impl Page {
    const fn ok(title: &'static str, text: &'static str) -> Self {
        Self { status: StatusCode::OK, title, text, button: None }
    }

    const UNKNOWN: Self = Self {
        status: StatusCode::NOT_FOUND,
        title: "This link does not hold",
        text: "It was used before, its time is over, or a part of it is missing. Whoever wants digests can have the address \
               asked again.",
        button: None,
    };

    fn answer(&self) -> HttpResponse {
        let button = self.button.map_or_else(String::new, |button| {
            format!("<form method=\"post\"><button type=\"submit\">{button}</button></form>\n")
        });
        let html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width\"><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n<p>{text}</p>\n{button}\
             </body>\n</html>\n",
            title = self.title,
            text = self.text,
        );
        HttpResponse::build(self.status)
            .content_type("text/html; charset=utf-8")
            // The link is a credential: it is told to nobody, kept nowhere, and no other page frames the button.
            .insert_header((header::REFERRER_POLICY, "no-referrer"))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::X_FRAME_OPTIONS, "DENY"))
            .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .insert_header((
                header::CONTENT_SECURITY_POLICY,
                "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
            ))
            .insert_header(("X-Robots-Tag", "noindex"))
            .body(html)
    }
}

/// The page of the link in the mail that asks.
#[get("/digest/confirm/{token}")]
pub(crate) async fn ask_to_confirm(token: Path<String>) -> HttpResponse {
    let page = Page {
        button: Some("Yes, send me digests"),
        ..Page::ok("Digests of mail reports", "Do you want digests of mail reports sent to your address?")
    };
    if is_token(&token) { page.answer() } else { Page::UNKNOWN.answer() }
}

/// Its button.
#[post("/digest/confirm/{token}")]
pub(crate) async fn confirm(
    request: HttpRequest,
    state: Data<State>,
    token: Path<String>,
) -> Result<HttpResponse, Problem> {
    let done = Page::ok("You get digests", "Each digest has a link to be rid of the next ones.");
    let page = if change(&request, &state, &token, DigestLink::Confirm).await? { done } else { Page::UNKNOWN };
    Ok(page.answer())
}

/// The page of the link in each digest.
#[get("/digest/unsubscribe/{token}")]
pub(crate) async fn ask_to_unsubscribe(token: Path<String>) -> HttpResponse {
    let page = Page {
        button: Some("No more digests"),
        ..Page::ok("Digests of mail reports", "Do you want no more digests sent to your address?")
    };
    if is_token(&token) { page.answer() } else { Page::UNKNOWN.answer() }
}

/// Its button, and what mail programs post by themselves once their user says so (RFC 8058 §3.2).
#[post("/digest/unsubscribe/{token}")]
pub(crate) async fn unsubscribe(
    request: HttpRequest,
    state: Data<State>,
    token: Path<String>,
) -> Result<HttpResponse, Problem> {
    let done = Page::ok("You get no more digests", "Nothing more is sent to your address.");
    let page = if change(&request, &state, &token, DigestLink::Unsubscribe).await? { done } else { Page::UNKNOWN };
    Ok(page.answer())
}

fn is_token(token: &str) -> bool {
    token.len() == TOKEN && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// Does what the link is for. False: there is no such link.
async fn change(request: &HttpRequest, state: &State, token: &str, link: DigestLink) -> Result<bool, Problem> {
    if !is_token(token) {
        return Ok(false);
    }
    let now = state.now();
    let hash = Sha256::digest(token.as_bytes()).into();
    let Some(found) = state.store.digest_token(&hash, now).await?.filter(|found| found.link == link) else {
        return Ok(false);
    };
    // Nobody of ours, and nobody's key: the service itself, at the request of whoever has the link.
    let actor = Actor::worker().by_request(source(request), Some(RequestId::of(request).as_str().to_owned()));
    let mut tx = state.store.tenant_tx(found.tenant).await?;
    let done = match link {
        DigestLink::Confirm => tx.confirm_digest_recipient(found.recipient, &actor, now).await?,
        // Whoever asks twice gets none as well.
        DigestLink::Unsubscribe => {
            tx.unsubscribe_digest_recipient(found.recipient, &actor, now).await?;
            true
        }
    };
    tx.commit().await?;
    Ok(done)
}
