//! One line: what it asks for, and how that is carried out.

use std::{fmt, marker::PhantomData};

use mtasts_model::{DomainId, MailDomain, Mode};
use mtasts_store::{DomainView, OperationKind, TenantTx};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, IntoDeserializer, MapAccess, Visitor, value::MapAccessDeserializer},
};
use utoipa::ToSchema;

use super::outcome::Told;
use crate::{
    auth::TenantScope,
    extract::{IfMatch, json},
    problem::{FieldError, Problem, ProblemKind},
    v1::{
        domains::{
            create::{self, CreateDomain, Registration, wanted},
            delete::withdraw,
        },
        fields::{ModeSchema, TagSchema, TlsRpt, mx_choice_schema},
        policy::mode::{SetMode, carry_out},
    },
};

/// The member that says what a line of a batch asks for.
const OP: &str = "op";

/// What a line of a batch asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Create,
    SetMode,
    Delete,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::SetMode => "set_mode",
            Self::Delete => "delete",
        }
    }
}

/// What a line of a batch asks for, whatever else stands in it.
pub(crate) fn kind_of(line: &[u8]) -> Result<Kind, Problem> {
    #[derive(Deserialize)]
    struct Op {
        op: Kind,
    }

    json::parse::<Op>(line).map(|line| line.op)
}

/// Register a domain: the members of `POST /v1/domains`, and `op`.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BatchCreate)]
#[expect(dead_code, reason = "the schema of a line that is read as `CreateDomain`")]
pub(crate) struct CreateLine {
    /// `create`
    #[schema(pattern = "^create$", example = "create")]
    op: String,
    /// The mail domain: the part behind `@`.
    #[schema(min_length = 1, max_length = 1012, example = "example.com")]
    name: String,
    /// The mode to start in: `testing` where absent.
    #[schema(value_type = Option<ModeSchema>)]
    mode: Option<Mode>,
    /// The MX patterns: `"auto"` where absent.
    #[schema(schema_with = mx_choice_schema, required = false)]
    mx: (),
    /// How long senders may keep the policy, in seconds. A week where absent.
    #[schema(minimum = 0, maximum = 31_557_600, default = 604_800)]
    max_age: Option<u64>,
    /// TLS reporting: off where absent.
    tls_rpt: Option<TlsRpt>,
    /// Tags of your own.
    #[serde(default)]
    #[schema(value_type = Vec<TagSchema>, max_items = 20, example = json!(["customer:4711"]))]
    tags: Vec<String>,
}

/// A change of a domain's mode: the members of `PUT /v1/domains/{domain_id}/mode`, `op`, and which domain.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BatchSetMode)]
pub(crate) struct SetModeLine {
    /// `set_mode`
    #[serde(default, rename = "op")]
    #[schema(value_type = String, required = true, pattern = "^set_mode$", example = "set_mode")]
    _op: Option<String>,
    /// The domain's id; or give its `name`.
    #[schema(pattern = "^dom_[0-9a-f]{32}$")]
    domain_id: Option<String>,
    /// The domain's name; or give its `domain_id`.
    #[schema(min_length = 1, max_length = 1012)]
    name: Option<String>,
    /// The mode.
    #[schema(value_type = ModeSchema)]
    mode: Mode,
    /// Set `enforce` although it is not proven to be safe.
    #[serde(default)]
    force: bool,
    /// Why. Goes with `force`.
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

/// The removal of a domain.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BatchDelete)]
pub(crate) struct DeleteLine {
    /// `delete`
    #[serde(default, rename = "op")]
    #[schema(value_type = String, required = true, pattern = "^delete$", example = "delete")]
    _op: Option<String>,
    /// The domain's id; or give its `name`.
    #[schema(pattern = "^dom_[0-9a-f]{32}$")]
    domain_id: Option<String>,
    /// The domain's name; or give its `domain_id`.
    #[schema(min_length = 1, max_length = 1012)]
    name: Option<String>,
}

/// Which domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Id(DomainId),
    Name(MailDomain),
}

impl Target {
    fn read(domain_id: Option<&str>, name: Option<&str>, scope: &TenantScope) -> Result<Self, Problem> {
        match (domain_id, name) {
            (Some(id), None) => {
                let id = id.parse::<DomainId>();
                id.map(Self::Id).map_err(|error| Problem::field("/domain_id", "invalid-id", error.to_string()))
            }
            (None, Some(name)) => MailDomain::parse(name, &scope.state().config.name_rules)
                .map(Self::Name)
                .map_err(|error| Problem::field("/name", error.code(), error.to_string())),
            (None, None) => {
                Err(Problem::field("/domain_id", "missing-field", "say which domain by `domain_id` or by `name`"))
            }
            (Some(_), Some(_)) => {
                let message = "say which domain by `domain_id` or by `name`, not by both";
                Err(Problem::fields(vec![FieldError::at("/name", "ambiguous", message)]))
            }
        }
    }

    async fn find(&self, tx: &TenantTx) -> Result<DomainView, Problem> {
        let found = match self {
            Self::Id(id) => tx.domain(*id).await?,
            Self::Name(name) => tx.domain_by_name(name).await?,
        };
        found.ok_or_else(|| Problem::not_found("domain"))
    }
}

/// What is to be done, valid in itself.
#[derive(Debug)]
pub(crate) enum Change {
    Create(Box<Registration>),
    SetMode { target: Target, mode: Mode, override_reason: Option<String> },
    Delete { target: Target },
}

/// Reads a line: what is known of it, and what is to be done, or what is wrong with it.
pub(crate) fn read(
    operation: OperationKind,
    line: Option<&[u8]>,
    scope: &TenantScope,
) -> (Told, Result<Change, Problem>) {
    let mut told = Told::default();
    let change = change(operation, line, scope, &mut told);
    (told, change)
}

fn change(
    operation: OperationKind,
    line: Option<&[u8]>,
    scope: &TenantScope,
    told: &mut Told,
) -> Result<Change, Problem> {
    let limit = scope.state().config.body_limit;
    let line = line.ok_or_else(|| {
        Problem::new(ProblemKind::BodyTooLarge, format!("A line may have {limit} octets"))
            .with("limit", u64::try_from(limit).unwrap_or(u64::MAX))
    })?;
    let kind = match operation {
        OperationKind::Import => Kind::Create,
        OperationKind::Batch => kind_of(line)?,
    };
    told.op = Some(kind.as_str().to_owned());
    match (operation, kind) {
        (OperationKind::Import, _) => {
            let mut body: CreateDomain = json::parse(line)?;
            body.lower_enforce();
            registration(&body, scope, told)
        }
        (OperationKind::Batch, Kind::Create) => {
            registration(&json::parse::<WithoutOp<CreateDomain>>(line)?.0, scope, told)
        }
        (OperationKind::Batch, Kind::SetMode) => {
            let line = json::parse::<WithoutOp<SetModeLine>>(line)?.0;
            let target = Target::read(line.domain_id.as_deref(), line.name.as_deref(), scope)?;
            told.about(&target);
            let body = SetMode { mode: line.mode, force: line.force, reason: line.reason };
            Ok(Change::SetMode { target, mode: body.mode, override_reason: body.override_reason()? })
        }
        (OperationKind::Batch, Kind::Delete) => {
            let line = json::parse::<WithoutOp<DeleteLine>>(line)?.0;
            let target = Target::read(line.domain_id.as_deref(), line.name.as_deref(), scope)?;
            told.about(&target);
            Ok(Change::Delete { target })
        }
    }
}

fn registration(body: &CreateDomain, scope: &TenantScope, told: &mut Told) -> Result<Change, Problem> {
    let registration = wanted(body, scope)?;
    told.name = Some(registration.new.name.as_str().to_owned());
    Ok(Change::Create(Box::new(registration)))
}

impl Change {
    /// The domain that is to be locked for it.
    pub(crate) fn target(&self) -> Option<&Target> {
        match self {
            Self::Create(_) => None,
            Self::SetMode { target, .. } | Self::Delete { target } => Some(target),
        }
    }

    /// Does it, exactly as the single call.
    pub(crate) async fn carry_out(
        self,
        tx: &mut TenantTx,
        scope: &TenantScope,
        told: &mut Told,
    ) -> Result<(), Problem> {
        let domain = match self {
            Self::Create(registration) => create::carry_out(tx, scope, *registration).await?,
            Self::SetMode { target, mode, override_reason } => {
                let domain = target.find(tx).await?;
                // Any version: the line was written without looking at one.
                let set = carry_out(tx, scope, &domain, (mode, override_reason), &IfMatch::Any).await?;
                told.mode = Some(set.version().policy.mode().as_str().to_owned());
                domain
            }
            Self::Delete { target } => {
                let domain = target.find(tx).await?;
                withdraw(tx, scope, domain.id).await?
            }
        };
        told.domain_id = Some(domain.id.to_string());
        told.name = Some(domain.name.as_str().to_owned());
        if told.mode.is_none() {
            let mode = domain.version.as_ref().map_or(domain.preferred_mode, |version| version.policy.mode());
            told.mode = Some(mode.as_str().to_owned());
        }
        Ok(())
    }
}

/// A `T` in whose object the member `op` stands as well.
struct WithoutOp<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for WithoutOp<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(Passing(map)))
            }
        }

        deserializer.deserialize_map(Object(PhantomData)).map(Self)
    }
}

/// The members of an object but `op`, which [`kind_of`] has read.
struct Passing<A>(A);

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Passing<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.0.next_key::<String>()? {
            if key != OP {
                return seed.deserialize(key.into_deserializer()).map(Some);
            }
            self.0.next_value::<IgnoredAny>()?;
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.0.next_value_seed(seed)
    }
}
