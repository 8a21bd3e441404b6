//! Who is calling. The middleware finds out once; handlers get it by [`Operator`] or [`TenantScope`], and cannot reach
//! a tenant's data without one of them.

pub(crate) mod access;
mod acting;
mod user;

use std::{
    future::{Ready, ready},
    net::IpAddr,
    sync::Arc,
};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    body::{EitherBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::header::{self, HeaderValue},
    middleware::Next,
    web::Data,
};
use mtasts_model::{ApiKeyId, Scopes, TenantId, Timestamp};
use mtasts_store::{Actor, ActorKind, Operation, TenantTx};
use secrecy::SecretString;

use self::user::{Lacking, User};
use crate::{
    limits::Found,
    observe::{RequestId, Subject},
    problem::{Problem, ProblemKind},
    state::State,
    token::ApiKeySecret,
};

/// What the credential says.
#[derive(Clone)]
enum Caller {
    /// None, or none that is valid.
    Unknown { given: bool },
    /// The operator token.
    Operator { credential: SecretString },
    /// A tenant's API key, or a token of an identity provider for a tenant.
    Tenant(TenantCaller),
    /// A token of an identity provider for no tenant or role that is known.
    NotAdmitted { user: Arc<User>, lacking: Lacking },
}

/// Who holds a tenant's credential.
#[derive(Clone)]
enum Who {
    Key(ApiKeyId),
    User(Arc<User>),
}

impl Who {
    /// For the audit log.
    fn actor(&self, home: TenantId) -> Actor {
        match self {
            Self::Key(id) => Actor::api_key(*id, home),
            Self::User(user) => user.actor(home),
        }
    }
}

/// What a tenant's credential says.
#[derive(Clone)]
struct TenantCaller {
    /// The credential's tenant.
    home: TenantId,
    who: Who,
    scopes: Scopes,
    /// The tenant within which the call acts; None: the one that it names is not there, or not within its reach.
    acts_for: Option<TenantId>,
    /// Whether the operator has suspended either tenant.
    suspended: bool,
    credential: SecretString,
}

/// Looks at `Authorization`, once for each request under `/v1`.
pub(crate) async fn authenticate<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    match caller_within_limits(&request).await {
        Ok(caller) => {
            if let Caller::Tenant(TenantCaller { home, acts_for, .. }) = &caller {
                Subject::of(&request).set_tenant(acts_for.unwrap_or(*home));
            }
            request.extensions_mut().insert(caller);
            next.call(request).await.map(ServiceResponse::map_into_left_body)
        }
        Err(problem) => Ok(request.error_response(problem).map_into_right_body()),
    }
}

/// Looks a credential up if its client may try one, and counts the call.
async fn caller_within_limits(request: &ServiceRequest) -> Result<Caller, Problem> {
    let state = state(request.request())?;
    let Some(limits) = &state.limits else { return caller(request).await };
    let attempt = limits.attempt(request)?;
    let caller = caller(request).await;
    if let Some(attempt) = attempt {
        let found = match &caller {
            Ok(Caller::Tenant(TenantCaller { home, who: Who::Key(id), .. })) => Found::Key(*home, *id),
            Ok(Caller::Tenant(TenantCaller { home, who: Who::User(user), .. })) => {
                Found::User(Some(*home), user.hash())
            }
            Ok(Caller::NotAdmitted { user, .. }) => Found::User(None, user.hash()),
            Ok(Caller::Operator { .. }) => Found::Operator,
            Ok(Caller::Unknown { .. }) => Found::Invalid,
            Err(_) => Found::Unclear,
        };
        attempt.settle(found).await?;
    }
    caller
}

async fn caller(request: &ServiceRequest) -> Result<Caller, Problem> {
    let Some(value) = request.headers().get(header::AUTHORIZATION) else {
        return Ok(Caller::Unknown { given: false });
    };
    let unknown = Caller::Unknown { given: true };
    // The scheme's name is case-insensitive (RFC 9110 §11.1).
    let Some((scheme, token)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else {
        return Ok(unknown);
    };
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Ok(unknown);
    }
    let state = state(request.request())?;
    if state.is_operator(token) {
        return Ok(Caller::Operator { credential: token.into() });
    }
    // What is wrong with the header is told to whoever turns out to have a valid credential, by [`TenantScope`].
    let target = acting::target(request.headers()).unwrap_or(None);
    let Some(secret) = ApiKeySecret::parse(token) else {
        return Ok(user::caller(&state, token, target).await?.unwrap_or(unknown));
    };
    Ok(match state.store.authenticate(&secret.hash(), target, state.now()).await? {
        Some(key) => Caller::Tenant(TenantCaller {
            home: key.tenant_id,
            who: Who::Key(key.key_id),
            scopes: key.scopes,
            acts_for: key.acts_for,
            suspended: key.suspended,
            credential: token.into(),
        }),
        None => unknown,
    })
}

/// A call by the operator.
pub(crate) struct Operator {
    state: Data<State>,
    request_id: RequestId,
    credential: SecretString,
    source: Option<IpAddr>,
}

/// A call by a tenant, with a credential that has the operation's scope, and the only way to its data.
pub(crate) struct TenantScope {
    state: Data<State>,
    request_id: RequestId,
    /// Within which the call acts.
    tenant_id: TenantId,
    /// The credential's own.
    home: TenantId,
    who: Who,
    scopes: Scopes,
    credential: SecretString,
    source: Option<IpAddr>,
}

impl Operator {
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn credential(&self) -> &SecretString {
        &self.credential
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.state.now()
    }

    /// For the audit log.
    pub(crate) fn actor(&self) -> Actor {
        Actor::operator().by_request(self.source, Some(self.request_id.as_str().to_owned()))
    }

    /// A transaction within a tenant that exists.
    pub(crate) async fn begin(&self, tenant_id: TenantId) -> Result<TenantTx, Problem> {
        let tenant = self.state.store.tenant(tenant_id).await?;
        tenant.ok_or_else(|| Problem::not_found("tenant"))?;
        Ok(self.state.store.tenant_tx(tenant_id).await?)
    }
}

impl TenantScope {
    /// The call by which an operation was asked for, on behalf of which its lines are carried out later, maybe by another
    /// process. None unless a tenant's credential asked. Its scopes were looked at when it asked.
    pub(crate) fn deferred(state: Data<State>, operation: &Operation) -> Option<Self> {
        let Actor { kind, source, request_id } = &operation.actor;
        let (who, home) = match kind {
            ActorKind::ApiKey { id, home } => (Who::Key(*id), *home),
            ActorKind::User { issuer, subject, home } => (Who::User(Arc::new(User::of(issuer, subject))), *home),
            ActorKind::Operator | ActorKind::Worker => return None,
        };
        Some(Self {
            state,
            request_id: RequestId::noted(request_id.as_deref().unwrap_or_default()),
            tenant_id: operation.tenant_id,
            home,
            who,
            scopes: Scopes::ALL,
            credential: SecretString::default(),
            source: *source,
        })
    }

    pub(crate) fn request_id(&self) -> &str {
        self.request_id.as_str()
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The tenant within which the call acts: the credential's own, or the one beneath it that `X-Tenant` names.
    pub(crate) fn tenant_id(&self) -> TenantId {
        self.tenant_id
    }

    /// The credential's own tenant: what a call takes of shared means counts for it.
    pub(crate) fn home(&self) -> TenantId {
        self.home
    }

    /// What the credential may do.
    pub(crate) fn scopes(&self) -> Scopes {
        self.scopes
    }

    /// For the audit log.
    pub(crate) fn actor(&self) -> Actor {
        let actor = self.who.actor(self.home);
        actor.by_request(self.source, Some(self.request_id.as_str().to_owned()))
    }

    pub(crate) fn credential(&self) -> &SecretString {
        &self.credential
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.state.now()
    }

    /// Lets `act` do what it does within the caller's tenant, and takes all of it back.
    pub(crate) async fn rehearse<T>(
        &self,
        act: impl AsyncFnOnce(&mut TenantTx) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        self.state.store.rehearse(self.tenant_id, act).await
    }

    /// A transaction within the caller's tenant.
    pub(crate) async fn begin(&self) -> Result<TenantTx, Problem> {
        Ok(self.state.store.tenant_tx(self.tenant_id).await?)
    }

    /// A transaction within a tenant beneath the caller's.
    pub(crate) async fn begin_for_customer(&self, customer: TenantId) -> Result<TenantTx, Problem> {
        let tx = self.state.store.customer_tx(self.tenant_id, customer).await?;
        tx.ok_or_else(|| Problem::not_found("customer"))
    }
}

impl TenantScope {
    fn of(request: &HttpRequest, caller: &TenantCaller) -> Result<Self, Problem> {
        if caller.suspended {
            let detail = "The operator of the service has suspended this tenant: its credentials open nothing until that is \
                          taken back. What it has published goes on being served. Ask the operator";
            return Err(Problem::new(ProblemKind::TenantSuspended, detail));
        }
        acting::target(request.headers())?;
        let tenant_id = caller.acts_for.ok_or_else(|| Problem::not_found("tenant"))?;
        // The path as the router read it, percent-encoding resolved.
        access::allow(request.method(), request.match_info().as_str(), caller.scopes)?;
        Ok(Self {
            state: state(request)?,
            request_id: RequestId::of(request),
            tenant_id,
            home: caller.home,
            who: caller.who.clone(),
            scopes: caller.scopes,
            credential: caller.credential.clone(),
            source: source(request),
        })
    }
}

impl FromRequest for Operator {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(match request.extensions().get::<Caller>() {
            Some(Caller::Operator { credential }) => state(request).map(|state| Self {
                state,
                request_id: RequestId::of(request),
                credential: credential.clone(),
                source: source(request),
            }),
            Some(Caller::Tenant(_)) => Err(Problem::new(
                ProblemKind::WrongCredential,
                "This route takes the operator token, not a tenant's credential",
            )),
            Some(Caller::NotAdmitted { lacking, .. }) => Err(lacking.problem()),
            other => Err(unauthenticated(other)),
        })
    }
}

impl FromRequest for TenantScope {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(match request.extensions().get::<Caller>() {
            Some(Caller::Tenant(caller)) => Self::of(request, caller),
            Some(Caller::Operator { .. }) => Err(Problem::new(
                ProblemKind::WrongCredential,
                "This route takes a tenant's credential, not the operator token",
            )),
            Some(Caller::NotAdmitted { lacking, .. }) => Err(lacking.problem()),
            other => Err(unauthenticated(other)),
        })
    }
}

/// Where the request came from, for the audit log: the client behind our proxies, as the limits see it.
pub(crate) fn source(request: &HttpRequest) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip();
    let limits = state(request).ok()?.limits.as_ref().map(|limits| limits.client(peer, request.headers()));
    Some(limits.unwrap_or(peer))
}

/// The shared state; that it is absent would be a fault in the wiring.
pub(crate) fn state(request: &HttpRequest) -> Result<Data<State>, Problem> {
    request.app_data::<Data<State>>().cloned().ok_or_else(|| Problem::internal("the application state is not wired"))
}

fn unauthenticated(caller: Option<&Caller>) -> Problem {
    // RFC 6750 §3.1: no error code where no credential was sent.
    let (detail, challenge) = match caller {
        Some(Caller::Unknown { given: true }) => (
            "The credential is not valid: it is mistyped, expired, revoked or of another service",
            "Bearer realm=\"mtasts\", error=\"invalid_token\"",
        ),
        _ => ("Send `Authorization: Bearer <API key or operator token>`", "Bearer realm=\"mtasts\""),
    };
    Problem::new(ProblemKind::Unauthenticated, detail)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}
