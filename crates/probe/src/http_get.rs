//! One GET over an open TLS session, with every byte capped.

use bytes::Bytes;
use http::{Request, StatusCode, Version, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mtasts_model::HostName;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::FetchError;

/// RFC 8461 §3.2.
const WELL_KNOWN: &str = "/.well-known/mta-sts.txt";
/// Bound of the status line and all headers.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// An answer that a sender would take.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) content_type: String,
    pub(crate) body: Bytes,
}

/// Asks for the policy and takes at most `max_body` bytes of it.
pub(crate) async fn policy<S>(stream: S, host: &HostName, max_body: usize) -> Result<Answer, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(FetchError::Http)?;
    let exchange = async {
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.version_mut() = Version::HTTP_11;
        *request.uri_mut() = http::Uri::from_static(WELL_KNOWN);
        let headers = request.headers_mut();
        // Without the port, as senders ask: another port than 443 is a matter of this network's plumbing.
        if let Ok(value) = header::HeaderValue::from_str(host.as_str()) {
            headers.insert(header::HOST, value);
        }
        headers.insert(header::USER_AGENT, header::HeaderValue::from_static("mtasts"));
        headers.insert(header::ACCEPT, header::HeaderValue::from_static("text/plain"));
        headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        let response = sender.send_request(request).await.map_err(FetchError::Http)?;
        read(response, max_body).await
    };
    // The connection must be driven for the exchange to move; what it says after the answer is of no interest.
    let mut connection = std::pin::pin!(connection);
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        _ = &mut connection => exchange.await,
    }
}

async fn read(response: http::Response<hyper::body::Incoming>, max_body: usize) -> Result<Answer, FetchError> {
    let status = response.status();
    if status.is_redirection() {
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        return Err(FetchError::Redirect { status: status.as_u16(), location: location.map(str::to_owned) });
    }
    if status != StatusCode::OK {
        return Err(FetchError::Status(status.as_u16()));
    }
    let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = match content_type {
        Some(value) if is_text_plain(value) => value.to_owned(),
        other => return Err(FetchError::ContentType(other.map(str::to_owned))),
    };
    let collected = Limited::new(response.into_body(), max_body).collect().await.map_err(|error| match error
        .downcast::<hyper::Error>(
    ) {
        Ok(error) => FetchError::Http(*error),
        Err(error) => {
            debug_assert!(error.is::<LengthLimitError>(), "Limited has two kinds of errors");
            FetchError::TooLarge
        }
    })?;
    Ok(Answer { content_type, body: collected.to_bytes() })
}

/// RFC 8461 §3.2: the media type is `text/plain`, parameters do not matter (RFC 9110 §8.3.1: case neither).
fn is_text_plain(value: &str) -> bool {
    let media_type = value.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("text/plain")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_plain_is_accepted_with_and_without_parameters() {
        for good in ["text/plain", "text/plain; charset=utf-8", "Text/Plain;charset=us-ascii", "text/plain ;x=y"] {
            assert!(is_text_plain(good), "{good}");
        }
        for bad in ["text/html", "text/plainer", "application/octet-stream", "", "; text/plain"] {
            assert!(!is_text_plain(bad), "{bad}");
        }
    }
}
