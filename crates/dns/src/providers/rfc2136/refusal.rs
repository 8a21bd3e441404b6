//! What a server's refusals mean, and what to do about them.

use hickory_proto::{
    op::ResponseCode,
    rr::{Record, RecordType as WireType},
};

use mtasts_model::causes;

use super::{
    connection::{Connection, ExchangeFailure, Primary, question},
    update,
};
use crate::{
    name,
    provider::ProviderError,
    tsig::{TsigError, TsigErrorCode},
};

/// What was asked of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Records,
    Update,
    Transfer,
}

impl Primary {
    fn key_shown(&self) -> String {
        self.key.as_ref().map_or_else(
            || "requests without a TSIG key".to_owned(),
            |key| format!("the TSIG key {} ({})", key.name(), key.algorithm()),
        )
    }

    fn zone_not_found(&self) -> ProviderError {
        ProviderError::ZoneNotFound { zone: name::text(&self.zone) }
    }

    /// An answer with this code. Not for codes of prerequisites that failed.
    pub(super) fn refusal(&self, asked: Asked, code: ResponseCode) -> ProviderError {
        let key = self.key_shown();
        let unauthorized = |reason| ProviderError::Unauthorized { reason };
        match (code, asked) {
            (ResponseCode::ServFail, _) => {
                ProviderError::Unavailable { retry_after: None, source: "the server answered SERVFAIL".into() }
            }
            // Servers answer the questions of strangers about their zones, and refuse them about others' zones.
            (ResponseCode::NotAuth, _) | (ResponseCode::Refused, Asked::Records) => self.zone_not_found(),
            (ResponseCode::Refused, Asked::Update) => unauthorized(format!(
                "the server refuses updates by {key} (REFUSED): allow them for the zone (BIND: allow-update or \
                 update-policy; Knot: an acl with action update), and name the primary server"
            )),
            (ResponseCode::Refused, Asked::Transfer) => unauthorized(format!(
                "the server refuses zone transfers to {key} (REFUSED): allow them for the zone (BIND: \
                 allow-transfer; Knot: an acl with action transfer)"
            )),
            (ResponseCode::NotImp, Asked::Update) => {
                ProviderError::Refused { reason: "the server does not do dynamic updates (NOTIMP)".to_owned() }
            }
            (code, _) => ProviderError::Refused { reason: format!("the server answered {code}") },
        }
    }

    /// No answer came that can be trusted.
    pub(super) async fn failure(&self, asked: Asked, failure: ExchangeFailure) -> ProviderError {
        if let ExchangeFailure::Tsig(TsigError::Unsigned, Some(code)) = &failure
            && is_plain_refusal(*code)
        {
            return self.unsigned_refusal(asked, *code).await;
        }
        self.explained(failure)
    }

    /// Servers need not sign a refusal: Knot does not for zones that it does not have, nor PowerDNS for keys that do not
    /// fit. Without a key the server tells whether it has the zone. To believe it changes nothing.
    async fn unsigned_refusal(&self, asked: Asked, code: ResponseCode) -> ProviderError {
        if !matches!(code, ResponseCode::Refused | ResponseCode::NotAuth) {
            return self.refusal(asked, code);
        }
        let unsigned = Self { key: None, ..self.clone() };
        let question = question(&self.zone, WireType::SOA);
        match Connection::new(&unsigned).ask(question).await {
            Err(failure) => self.explained(failure),
            Ok(answer) => match self.read_answer(&answer, &self.zone, WireType::SOA) {
                Ok(Ok(read)) if !read.records.is_empty() => ProviderError::Unauthorized {
                    reason: format!(
                        "the server has the zone, but answered {code} to {}: compare name, algorithm and secret, and \
                         what the key may do",
                        self.key_shown()
                    ),
                },
                _ => self.zone_not_found(),
            },
        }
    }

    fn explained(&self, failure: ExchangeFailure) -> ProviderError {
        let key = self.key_shown();
        let reason = match &failure {
            ExchangeFailure::Tsig(TsigError::Refused(TsigErrorCode::BadKey), _) => {
                format!("the server does not know {key} (BADKEY): create it there, or correct name and algorithm")
            }
            ExchangeFailure::Tsig(TsigError::Refused(TsigErrorCode::BadSig), _) => {
                format!("the server has another secret for {key} (BADSIG): enter the same on both sides")
            }
            ExchangeFailure::Tsig(TsigError::Refused(TsigErrorCode::BadTime) | TsigError::OutOfTime { .. }, _) => {
                format!(
                    "the clocks of the server and of this machine differ by more than {} seconds ({}): set them",
                    crate::tsig::FUDGE,
                    causes(&failure)
                )
            }
            ExchangeFailure::Tsig(TsigError::Unsigned, code) => {
                let code = code.unwrap_or(ResponseCode::NoError);
                format!("the server answered {code} to {key} without a signature: does it know the key?")
            }
            ExchangeFailure::Tsig(error, _) => format!("{error} (with {key})"),
            ExchangeFailure::Encode(_) => return ProviderError::Other(Box::new(failure)),
            // An answer that cannot be read leaves open what the server did, as one that never came.
            ExchangeFailure::Timeout
            | ExchangeFailure::Io(_)
            | ExchangeFailure::Decode(_)
            | ExchangeFailure::OtherQuestion => {
                return ProviderError::Unavailable { retry_after: None, source: Box::new(failure) };
            }
        };
        ProviderError::Unauthorized { reason }
    }
}

fn is_plain_refusal(code: ResponseCode) -> bool {
    matches!(code, ResponseCode::Refused | ResponseCode::NotAuth | ResponseCode::ServFail | ResponseCode::NotImp)
}

impl Primary {
    /// Sends an update and gives the server's code. NOTAUTH is how BIND says that it does not have the zone, and how
    /// Knot says that it has, but not for this key: the latter is given as REFUSED.
    pub(super) async fn update(
        &self,
        connection: &mut Connection<'_>,
        prerequisites: Vec<Record>,
        updates: Vec<Record>,
    ) -> Result<ResponseCode, ProviderError> {
        let code = match connection.ask(update::message(&self.zone, prerequisites, updates)).await {
            Ok(answer) => answer.metadata.response_code,
            Err(failure) => return Err(self.failure(Asked::Update, failure).await),
        };
        self.told_apart(connection, code).await
    }

    /// See [`Self::update`].
    pub(super) async fn told_apart(
        &self,
        connection: &mut Connection<'_>,
        code: ResponseCode,
    ) -> Result<ResponseCode, ProviderError> {
        if code == ResponseCode::NotAuth {
            self.find_zone(connection).await?;
            return Ok(ResponseCode::Refused);
        }
        Ok(code)
    }

    /// Whether the server speaks for the zone; [`ProviderError::ZoneNotFound`] if not.
    pub(super) async fn find_zone(&self, connection: &mut Connection<'_>) -> Result<(), ProviderError> {
        let answers = self.answers(connection, &[(&self.zone, WireType::SOA)]).await?;
        match answers.into_iter().next() {
            Some(Ok(answer)) if !answer.records.is_empty() => Ok(()),
            Some(Err(error)) => Err(error),
            _ => Err(self.zone_not_found()),
        }
    }
}

/// The same error once more, for each of several changes that it befell.
pub(super) fn again(error: &ProviderError) -> ProviderError {
    match error {
        ProviderError::Unavailable { retry_after, source } => {
            ProviderError::Unavailable { retry_after: *retry_after, source: causes(&**source).into() }
        }
        ProviderError::RateLimited { retry_after } => ProviderError::RateLimited { retry_after: *retry_after },
        ProviderError::Unauthorized { reason } => ProviderError::Unauthorized { reason: reason.clone() },
        ProviderError::ZoneNotFound { zone } => ProviderError::ZoneNotFound { zone: zone.clone() },
        ProviderError::Refused { reason } => ProviderError::Refused { reason: reason.clone() },
        other => ProviderError::Other(causes(other).into()),
    }
}
