//! Digests, and the mail that asks, as messages (RFC 5322).

use std::time::SystemTime;

use lettre::{
    Message,
    message::{
        Attachment, Mailbox, MultiPart, SinglePart,
        header::{ContentType, Header, HeaderName, HeaderValue},
    },
};
use mtasts_model::{EmailAddress, Timestamp};
use mtasts_store::DueMail;

use super::{
    body,
    chart::{self, ChartError},
    content::Digest,
};

/// Shown as the sender.
const SENDER: &str = "Mail reports";

/// Why there is no message.
#[derive(Debug, thiserror::Error)]
pub(super) enum MessageError {
    /// An address that this crate's library does not take.
    #[error("the address cannot be written to")]
    Address(#[from] lettre::address::AddressError),
    /// It cannot be put together.
    #[error("the mail cannot be put together")]
    Build(#[from] lettre::error::Error),
    /// A chart of it cannot be drawn.
    #[error(transparent)]
    Chart(#[from] ChartError),
}

macro_rules! header {
    ($(#[$doc:meta])* $type:ident, $name:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        struct $type(String);

        impl Header for $type {
            fn name() -> HeaderName {
                HeaderName::new_from_ascii_str($name)
            }

            fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
                Ok(Self(text.to_owned()))
            }

            fn display(&self) -> HeaderValue {
                HeaderValue::new(Self::name(), self.0.clone())
            }
        }
    };
}

header!(
    /// RFC 2369 §3.2.
    ListUnsubscribe, "List-Unsubscribe"
);
header!(
    /// RFC 8058 §3.1.
    ListUnsubscribePost, "List-Unsubscribe-Post"
);
header!(
    /// RFC 3834 §5: nobody's absence note is sent for it.
    AutoSubmitted, "Auto-Submitted"
);

/// A message and what it is called. The same mail has the same `Message-ID` in each attempt, so that one that comes twice
/// can be told.
fn begin(
    mail: &DueMail,
    from: &EmailAddress,
    now: Timestamp,
) -> Result<(lettre::message::MessageBuilder, String), MessageError> {
    let stem =
        format!("{}.{}.{}", mail.recipient.as_uuid().as_simple(), mail.purpose.as_str(), mail.period.format("%Y%m%d"));
    let host = from.as_str().rsplit_once('@').map_or("localhost", |(_, host)| host);
    let builder = Message::builder()
        .message_id(Some(format!("<{stem}@{host}>")))
        .date(SystemTime::from(now))
        .from(Mailbox::new(Some(SENDER.to_owned()), from.as_str().parse()?))
        .to(Mailbox::new(None, mail.email.parse()?))
        .header(AutoSubmitted("auto-generated".to_owned()));
    Ok((builder, stem))
}

/// The mail that asks.
pub(super) fn question(
    mail: &DueMail,
    from: &EmailAddress,
    link: &str,
    now: Timestamp,
) -> Result<Vec<u8>, MessageError> {
    let (builder, _) = begin(mail, from, now)?;
    let text = format!(
        "Somebody wants to send digests of mail reports (TLS-RPT, DMARC) to this\naddress. To get them, open this page and \
         press its button:\n\n{link}\n\nThe link holds for seven days. If you do not want them, do nothing: nothing\nelse is \
         sent to this address.\n"
    );
    let message = builder.subject("Do you want digests of mail reports?").singlepart(SinglePart::plain(text))?;
    Ok(message.formatted())
}

/// A digest.
pub(super) fn digest(
    mail: &DueMail,
    digest: &Digest,
    from: &EmailAddress,
    unsubscribe: &str,
    now: Timestamp,
) -> Result<Vec<u8>, MessageError> {
    let (builder, stem) = begin(mail, from, now)?;
    let png = ContentType::parse("image/png").unwrap_or(ContentType::TEXT_PLAIN);
    let mut related = MultiPart::builder()
        .kind(lettre::message::MultiPartKind::Related)
        .boundary(format!("related.{stem}"))
        .singlepart(SinglePart::html(body::html(digest, unsubscribe)));
    for part in &digest.parts {
        let image = chart::png(&chart::svg(&part.figures.days))?;
        related = related.singlepart(Attachment::new_inline(body::chart_id(part.kind)).body(image, png.clone()));
    }
    let alternative = MultiPart::builder()
        .kind(lettre::message::MultiPartKind::Alternative)
        .boundary(format!("alternative.{stem}"))
        .singlepart(SinglePart::plain(body::text(digest, unsubscribe)))
        .multipart(related);
    let message = builder
        .subject(body::subject(digest))
        .header(ListUnsubscribe(format!("<{unsubscribe}>")))
        .header(ListUnsubscribePost("List-Unsubscribe=One-Click".to_owned()))
        .multipart(alternative)?;
    Ok(message.formatted())
}
