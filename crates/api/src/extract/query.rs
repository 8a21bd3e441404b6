//! Query parameters, and the cursors of lists.

use std::{
    future::{Ready, ready},
    str::FromStr,
};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use data_encoding::BASE64URL_NOPAD;
use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeOwned, Error as _, IntoDeserializer, Visitor,
        value::{Error as ValueError, MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use utoipa::IntoParams;

use crate::problem::Problem;

const DEFAULT_LIMIT: u32 = 50;
/// The store gives at most 200, and one item more is asked for than is shown.
const MAX_LIMIT: u32 = 100;

/// Query parameters. Types that are read have `deny_unknown_fields`.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned + 'static> FromRequest for Query<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(parse(request.query_string()).map(Self))
    }
}

fn parse<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let mut given: Vec<(String, Given)> = Vec::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match given.iter_mut().find(|(known, _)| *known == name) {
            Some((_, before)) => before.values.push(value.into_owned()),
            None => {
                given.push((name.clone().into_owned(), Given { name: name.into_owned(), values: vec![value.into()] }));
            }
        }
    }
    serde_path_to_error::deserialize(MapDeserializer::new(given.into_iter())).map_err(|error| {
        let message = error.inner().to_string();
        let (code, name) = match message.split('`').nth(1) {
            Some(name) if message.starts_with("unknown field") => ("unknown-parameter", name.to_owned()),
            Some(name) if message.starts_with("duplicate field") => ("duplicate-parameter", name.to_owned()),
            Some(name) if message.starts_with("missing field") => ("missing-parameter", name.to_owned()),
            _ => ("invalid-value", error.path().to_string()),
        };
        Problem::parameter(&name, code, message)
    })
}

/// What was given for one parameter: more than once, where it is a list.
struct Given {
    name: String,
    values: Vec<String>,
}

impl Given {
    fn one(mut self) -> Result<String, ValueError> {
        match (self.values.pop(), self.values.is_empty()) {
            (Some(value), true) => Ok(value),
            _ => Err(ValueError::custom(format!("duplicate field `{}`", self.name))),
        }
    }
}

impl IntoDeserializer<'_, ValueError> for Given {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Numbers and the like, as they are written.
macro_rules! parsed {
    ($($method:ident $visit:ident,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
            visitor.$visit(self.one()?.parse().map_err(ValueError::custom)?)
        })*
    };
}

impl<'de> Deserializer<'de> for Given {
    type Error = ValueError;

    parsed! {
        deserialize_bool visit_bool,
        deserialize_u8 visit_u8,
        deserialize_u16 visit_u16,
        deserialize_u32 visit_u32,
        deserialize_u64 visit_u64,
        deserialize_i64 visit_i64,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_string(self.one()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_seq(SeqDeserializer::new(self.values.into_iter()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_enum(self.one()?.into_deserializer())
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct
        identifier ignored_any
    }
}

/// How many items a page may have.
pub(crate) fn limit(given: Option<u32>) -> Result<u32, Problem> {
    limit_up_to(MAX_LIMIT, given)
}

/// The same for a list with longer pages.
pub(crate) fn limit_up_to(most: u32, given: Option<u32>) -> Result<u32, Problem> {
    let limit = given.unwrap_or(DEFAULT_LIMIT);
    if (1..=most).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::parameter("limit", "out-of-range", format!("must be 1 to {most}")))
}

/// Which page, of a list without filters.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhichPage {
    /// How many, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
}

impl WhichPage {
    /// How many items it may have, and behind which key it begins.
    pub(crate) fn read<K: FromStr>(&self) -> Result<(u32, Option<K>), Problem> {
        Ok((limit(self.limit)?, Cursor::read(self.cursor.as_deref())?))
    }
}

/// Where a page of a list begins: opaque to callers, the key of the last item to us.
pub(crate) struct Cursor;

impl Cursor {
    /// The cursor behind the item with this key.
    pub(crate) fn after(key: &impl ToString) -> String {
        BASE64URL_NOPAD.encode(key.to_string().as_bytes())
    }

    /// Reads a cursor.
    pub(crate) fn read<K: FromStr>(cursor: Option<&str>) -> Result<Option<K>, Problem> {
        let Some(cursor) = cursor else { return Ok(None) };
        let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok();
        let key = bytes.and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok());
        key.map(Some).ok_or_else(|| {
            Problem::parameter(
                "cursor",
                "invalid-cursor",
                "is not a cursor of this list: take `next_cursor` as it came",
            )
        })
    }
}

/// The code of a cursor that goes with another order of the list.
pub(crate) const CURSOR_OF_ANOTHER_SORT: &str = "cursor-of-another-sort";

/// A page of a list: one more item was asked for than is shown, so that the last page is known as such.
pub(crate) struct Page<T> {
    items: Vec<T>,
    more: bool,
}

impl<T> Page<T> {
    /// The page of at most `limit` items.
    pub(crate) fn of(mut items: Vec<T>, limit: u32) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        Self { items, more }
    }

    /// The cursor of the next page.
    pub(crate) fn cursor<K: ToString>(&self, key: impl FnOnce(&T) -> K) -> Option<String> {
        self.items.last().filter(|_| self.more).map(|last| Cursor::after(&key(last)))
    }

    /// What is shown.
    pub(crate) fn map<B>(self, body: impl FnMut(T) -> B) -> Vec<B> {
        self.items.into_iter().map(body).collect()
    }
}

#[cfg(test)]
mod tests {
    use mtasts_model::{
        Clock, DomainId, TenantId,
        clock::{ManualClock, SeededEntropy},
    };
    use serde::Deserialize;

    use super::*;
    use crate::problem::ProblemKind;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Params {
        limit: Option<u32>,
        name: Option<String>,
        tag: Vec<String>,
        sure: bool,
    }

    #[test]
    fn parameters_are_read_and_unknown_repeated_or_malformed_ones_are_refused() {
        assert_eq!(parse::<Params>("").unwrap(), Params::default());
        assert_eq!(
            parse::<Params>("limit=3&name=a%20b").unwrap(),
            Params { limit: Some(3), name: Some("a b".into()), ..Params::default() }
        );
        let several = Params { tag: vec!["a".into(), String::new(), "b".into()], sure: true, ..Params::default() };
        assert_eq!(parse::<Params>("tag=a&sure=true&tag=&tag=b").unwrap(), several);
        for (query, code) in [
            ("colour=1", "unknown-parameter"),
            ("limit=1&limit=2", "duplicate-parameter"),
            ("name=a&name=a", "duplicate-parameter"),
            ("sure=yes", "invalid-value"),
            ("limit=many", "invalid-value"),
            ("limit=99999999999", "invalid-value"),
        ] {
            let problem = parse::<Params>(query).unwrap_err();
            assert_eq!(problem.kind(), ProblemKind::InvalidParameters);
            let answer = problem.respond(&"https://api.test".parse().unwrap(), "r");
            let body = actix_web::body::MessageBody::try_into_bytes(answer.into_body()).unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["errors"][0]["code"], code, "{query}");
        }
    }

    #[test]
    fn a_cursor_leads_back_to_its_key_and_to_no_other_kind() {
        let id = DomainId::draw(ManualClock::default().now(), &SeededEntropy::new(1));
        let cursor = Cursor::after(&id);
        assert_eq!(Cursor::read::<DomainId>(Some(&cursor)).unwrap(), Some(id));
        assert_eq!(Cursor::read::<DomainId>(None).unwrap(), None);
        assert!(Cursor::read::<TenantId>(Some(&cursor)).is_err());
        assert!(Cursor::read::<DomainId>(Some("not a cursor")).is_err());
    }

    #[test]
    fn a_page_has_1_to_100_items() {
        assert_eq!(limit(None).unwrap(), 50);
        assert_eq!(limit(Some(100)).unwrap(), 100);
        assert!(limit(Some(0)).is_err() && limit(Some(101)).is_err());
    }
}
