//! `GET /v1/domains`

use std::{collections::BTreeMap, fmt, str::FromStr};

use actix_web::{HttpResponse, get};
use chrono::{DateTime, Utc};
use mtasts_model::{ConditionKind, Mode, Status, Tag, TagError};
use mtasts_store::{DomainFilter, DomainPosition, DomainQuery, DomainSort, DomainState, DomainView};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{
    IntoParams, IntoResponses, ToSchema,
    openapi::{RefOr, Response},
};

use super::body::ConditionBody;
use crate::{
    auth::TenantScope,
    extract::{CURSOR_OF_ANOTHER_SORT, Cursor, Query, limit},
    problem::{Problem, documented, groups},
    v1::fields::ModeSchema,
};

/// How many tags may be asked for at once.
const MAX_TAGS: usize = 5;
/// The shortest text that is sought within names.
const MIN_TEXT: usize = 3;

/// Which domains, and which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListDomains {
    /// How many, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before. Goes with the same filters and the same `sort`.
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// The order: `created_at`, to the millisecond, where absent; `name` where `name_prefix` is given. `-`: backwards.
    #[param(value_type = Option<SortSchema>, inline)]
    sort: Option<String>,
    /// Only those whose policy has this mode.
    #[param(value_type = Option<ModeSchema>, inline)]
    mode: Option<String>,
    /// Only those in this state. All but `gone` where absent.
    #[param(value_type = Option<StateSchema>, inline)]
    state: Option<String>,
    /// Only those with this condition, as `Kind:Status`. May be given for several kinds: all must hold.
    #[param(example = json!(["MxReady:False"]), max_items = 6)]
    condition: Vec<String>,
    /// Only those with this tag. May be given up to 5 times: all must hold.
    #[param(example = json!(["customer:4711"]), max_items = 5)]
    tag: Vec<String>,
    /// Only those whose name begins so (A-labels).
    #[param(example = "shop", max_length = 253)]
    name_prefix: Option<String>,
    /// Only those with this text anywhere in their name (A-labels).
    #[param(example = "shop", min_length = 3, max_length = 253)]
    q: Option<String>,
    /// Only these members of each domain, separated by commas, and `id`. All where absent.
    #[param(example = "name,mode", pattern = "^[a-z_]+(,[a-z_]+)*$")]
    fields: Option<String>,
}

/// The order of a list.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of `DomainSort`, which knows nothing of OpenAPI")]
enum SortSchema {
    #[schema(rename = "created_at")]
    Created,
    #[schema(rename = "-created_at")]
    CreatedDescending,
    #[schema(rename = "name")]
    Name,
    #[schema(rename = "-name")]
    NameDescending,
}

/// How far a registration has come.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "the schema of `DomainState`, which knows nothing of OpenAPI")]
enum StateSchema {
    Pending,
    Active,
    Withdrawing,
    Gone,
}

impl ListDomains {
    fn query(&self) -> Result<DomainQuery, Problem> {
        let sort = match self.sort.as_deref() {
            Some(text) => sort(text)?,
            None if self.name_prefix.is_some() => DomainSort::Name,
            None => DomainSort::default(),
        };
        let after = self.cursor.as_deref().map(|cursor| position(cursor, sort)).transpose()?;
        Ok(DomainQuery { filter: self.filter()?, sort, after, limit: limit(self.limit)? })
    }

    fn filter(&self) -> Result<DomainFilter, Problem> {
        let mode = self.mode.as_deref().map(|text| {
            text.parse::<Mode>().map_err(|error| Problem::parameter("mode", error.code(), error.to_string()))
        });
        let state = self.state.as_deref().map(|text| {
            let state = DomainState::ALL.into_iter().find(|state| state.as_str() == text);
            let message = "must be `pending`, `active`, `withdrawing` or `gone`";
            state.ok_or_else(|| Problem::parameter("state", "state-unknown", message))
        });
        Ok(DomainFilter {
            mode: mode.transpose()?,
            state: state.transpose()?,
            conditions: conditions(&self.condition)?,
            name_prefix: self.name_prefix.as_deref().map(name_prefix).transpose()?,
            text: self.q.as_deref().map(text).transpose()?,
            tags: tags(&self.tag)?,
        })
    }
}

fn sort(text: &str) -> Result<DomainSort, Problem> {
    DomainSort::ALL.into_iter().find(|sort| sort.as_str() == text).ok_or_else(|| {
        let message = format!("must be one of {}", DomainSort::ALL.map(DomainSort::as_str).join(", "));
        Problem::parameter("sort", "sort-unknown", message)
    })
}

/// A cursor: the order, the id, and for an order by name that name.
struct Place {
    sort: DomainSort,
    position: DomainPosition,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.sort.as_str(), self.position.id)?;
        self.position.name.as_ref().map_or(Ok(()), |name| write!(f, " {name}"))
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split(' ');
        let (sort, id, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default(), words.next());
        let sort = DomainSort::ALL.into_iter().find(|known| known.as_str() == sort).ok_or(())?;
        let by_name = matches!(sort, DomainSort::Name | DomainSort::NameDescending);
        // Postgres takes no NUL, and no name has one.
        if words.next().is_some() || name.is_some() != by_name || name.is_some_and(|name| name.contains('\0')) {
            return Err(());
        }
        let position = DomainPosition { id: id.parse().map_err(|_| ())?, name: name.map(str::to_owned) };
        Ok(Self { sort, position })
    }
}

fn position(cursor: &str, sort: DomainSort) -> Result<DomainPosition, Problem> {
    let place = Cursor::read::<Place>(Some(cursor))?.filter(|place| place.sort == sort);
    place.map(|place| place.position).ok_or_else(|| {
        let message =
            format!("is of a list in another order than `{}`: begin anew, or keep to its `sort`", sort.as_str());
        Problem::parameter("cursor", CURSOR_OF_ANOTHER_SORT, message)
    })
}

fn conditions(texts: &[String]) -> Result<Vec<(ConditionKind, Status)>, Problem> {
    let mut conditions: Vec<(ConditionKind, Status)> = Vec::new();
    for text in texts {
        let (kind, status) = condition(text)?;
        if conditions.iter().any(|(other, _)| *other == kind) {
            let message = format!("{} is given twice: it has one status", kind.as_str());
            return Err(Problem::parameter("condition", "condition-repeated", message));
        }
        conditions.push((kind, status));
    }
    Ok(conditions)
}

fn tags(texts: &[String]) -> Result<Vec<Tag>, Problem> {
    if texts.len() > MAX_TAGS {
        let message = format!("at most {MAX_TAGS} tags are possible");
        return Err(Problem::parameter("tag", "too-many", message));
    }
    let parsed = texts.iter().map(|text| {
        text.parse::<Tag>().map_err(|error: TagError| Problem::parameter("tag", error.code(), error.to_string()))
    });
    parsed.collect()
}

/// Which members are shown.
struct Fields(Option<Vec<String>>);

impl Fields {
    const ALL: [&str; 8] = ["id", "name", "state", "mode", "policy_id", "created_at", "tags", "conditions"];

    fn read(text: Option<&str>) -> Result<Self, Problem> {
        let Some(text) = text else { return Ok(Self(None)) };
        let fields: Vec<_> = text.split(',').map(str::to_owned).collect();
        match fields.iter().find(|field| !Self::ALL.contains(&field.as_str())) {
            None => Ok(Self(Some(fields))),
            Some(unknown) => {
                let message = format!("`{unknown}` is no member: there are {}", Self::ALL.join(", "));
                Err(Problem::parameter("fields", "field-unknown", message))
            }
        }
    }

    fn of(&self, domain: DomainView) -> Result<Value, Problem> {
        let mut value = serde_json::to_value(DomainSummary::from(domain)).map_err(Problem::internal)?;
        if let (Some(fields), Some(members)) = (&self.0, value.as_object_mut()) {
            members.retain(|name, _| name == "id" || fields.contains(name));
        }
        Ok(value)
    }
}

fn condition(text: &str) -> Result<(ConditionKind, Status), Problem> {
    let parsed = text.split_once(':').and_then(|(kind, status)| {
        let kind = ConditionKind::ALL.into_iter().find(|known| known.as_str() == kind)?;
        let status = STATUSES.into_iter().find(|known| status_word(*known) == status)?;
        Some((kind, status))
    });
    parsed.ok_or_else(|| {
        let kinds = ConditionKind::ALL.map(ConditionKind::as_str).join(", ");
        let message = format!("must be `Kind:Status`, with one of {kinds} and one of True, False, Unknown");
        Problem::parameter("condition", "condition-unknown", message)
    })
}

const STATUSES: [Status; 3] = [Status::True, Status::False, Status::Unknown];

pub(super) fn status_word(status: Status) -> &'static str {
    match status {
        Status::True => "True",
        Status::False => "False",
        Status::Unknown => "Unknown",
    }
}

fn name_prefix(text: &str) -> Result<String, Problem> {
    let message = "must be the beginning of a name: 1 to 253 letters, digits, hyphens and dots, A-labels for others";
    part_of_name(text, 1).ok_or_else(|| Problem::parameter("name_prefix", "name-character", message))
}

fn text(text: &str) -> Result<String, Problem> {
    let message = "must be a part of a name: 3 to 253 letters, digits, hyphens and dots, A-labels for others";
    part_of_name(text, MIN_TEXT).ok_or_else(|| Problem::parameter("q", "name-character", message))
}

fn part_of_name(text: &str, least: usize) -> Option<String> {
    let plain = (least..=253).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
    plain.then(|| text.to_ascii_lowercase())
}

/// A domain in a list. Members are absent where `fields` does not name them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DomainSummary {
    /// Its id.
    #[schema(example = "dom_0190c3a0b1c27d3e8f4051627384950a")]
    id: String,
    /// The mail domain as A-labels.
    #[schema(required = false, example = "example.com")]
    name: String,
    /// `pending`, `active`, `withdrawing` or `gone`.
    #[schema(required = false, example = "active")]
    state: &'static str,
    /// The mode of the policy; before there is one, the mode that it will have.
    #[schema(required = false, value_type = ModeSchema)]
    mode: Mode,
    /// The `id` in the TXT record of the current version; null until there is one.
    #[schema(required = false, example = "20261121213000a1b2c3")]
    policy_id: Option<String>,
    /// Since when.
    #[schema(required = false)]
    created_at: DateTime<Utc>,
    /// Your tags on it.
    #[schema(required = false, example = json!(["customer:4711"]))]
    tags: Vec<String>,
    /// The domain's health.
    #[schema(required = false)]
    conditions: Vec<ConditionBody>,
}

impl From<DomainView> for DomainSummary {
    fn from(view: DomainView) -> Self {
        Self {
            id: view.id.to_string(),
            name: view.name.to_string(),
            state: view.state.as_str(),
            mode: view.version.as_ref().map_or(view.preferred_mode, |version| version.policy.mode()),
            policy_id: view.version.as_ref().map(|version| version.policy_id.to_string()),
            created_at: view.created_at,
            tags: view.tags.iter().map(Tag::to_string).collect(),
            conditions: view.conditions.into_iter().map(ConditionBody::from).collect(),
        }
    }
}

/// A page of domains.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DomainList {
    /// The domains. Where few of very many match, a page can have fewer than `limit`, or none, and not be the last.
    #[schema(value_type = Vec<DomainSummary>)]
    data: Vec<Value>,
    /// The `cursor` of the next page; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented(&[groups::CALL])
    }
}

/// List the domains
///
/// All given filters must hold. Every page is answered within a bound, whatever is asked for: a page that is not full is
/// the last only if `next_cursor` is null.
#[utoipa::path(
    tag = "domains",
    operation_id = "list_domains",
    params(ListDomains),
    responses((status = 200, description = "A page of domains.", body = DomainList), Errors),
    security(("api_key" = [])),
)]
#[get("/domains")]
pub(crate) async fn list_domains(scope: TenantScope, query: Query<ListDomains>) -> Result<HttpResponse, Problem> {
    let (fields, query) = (Fields::read(query.0.fields.as_deref())?, query.0.query()?);
    let tx = scope.begin().await?;
    let page = tx.domain_page(&query).await?;
    let next_cursor = page.next.map(|position| Cursor::after(&Place { sort: query.sort, position }));
    let data = page.domains.into_iter().map(|domain| fields.of(domain)).collect::<Result<_, _>>()?;
    Ok(HttpResponse::Ok().json(DomainList { data, next_cursor }))
}

#[cfg(test)]
mod tests {
    use mtasts_model::{
        Clock, DomainId,
        clock::{ManualClock, SeededEntropy},
    };

    use super::*;

    #[test]
    fn filters_are_parsed_or_refused_by_name() {
        assert_eq!(condition("MxReady:False").unwrap(), (ConditionKind::MxReady, Status::False));
        assert!(["MxReady", "mxready:False", "MxReady:Maybe", ":"].iter().all(|text| condition(text).is_err()));
        assert_eq!(name_prefix("Shop.").unwrap(), "shop.");
        assert!(["", "a%", "a_b", "bücher", "a\0"].iter().all(|text| name_prefix(text).is_err()));
        let wrong = ListDomains { state: Some("dead".into()), ..ListDomains::default() };
        assert!(wrong.filter().is_err());
        let wrong = ListDomains { mode: Some("Enforce".into()), ..ListDomains::default() };
        assert!(wrong.filter().is_err());
    }

    #[test]
    fn a_cursor_goes_with_its_order_alone() {
        let id = DomainId::draw(ManualClock::default().now(), &SeededEntropy::new(1));
        for sort in DomainSort::ALL {
            let name = sort.as_str().ends_with("name").then(|| "a.example".to_owned());
            let cursor = Cursor::after(&Place { sort, position: DomainPosition { id, name } });
            for other in DomainSort::ALL {
                assert_eq!(position(&cursor, other).is_ok(), other == sort);
            }
        }
        for forged in ["name dom_1 a", "name", "", "created_at", &format!("name {id}"), &format!("created_at {id} a")] {
            assert!(position(&Cursor::after(&forged), DomainSort::Name).is_err(), "{forged}");
        }
    }

    #[test]
    fn members_are_chosen_by_name() {
        assert!(Fields::read(None).unwrap().0.is_none());
        assert_eq!(Fields::read(Some("name,mode")).unwrap().0.unwrap(), ["name", "mode"]);
        assert!(["", "name,", "colour", "name, mode"].iter().all(|text| Fields::read(Some(text)).is_err()));
    }
}
