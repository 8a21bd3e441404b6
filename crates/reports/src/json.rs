//! A JSON document as a tree, no larger and no deeper than the caps. It borrows its texts, and keeps repeated keys.

mod mend;

use std::{borrow::Cow, cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

pub(crate) use mend::mend;

use crate::{DeviationCode, Deviations, Limits, Unreadable};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// Reads the first document of a text; what follows it is noted.
    pub(crate) fn parse(text: &'a str, limits: &Limits, deviations: &mut Deviations) -> Result<Self, Unreadable> {
        let budget = Budget { left: Cell::new(limits.json_values()), met: Cell::new(None) };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let seed = Seed { budget: &budget, depth: limits.depth() };
        let parsed = seed.deserialize(&mut deserializer);
        let tree = parsed.map_err(|error| match budget.met.get() {
            Some(Cap::Depth) => Unreadable::TooDeep { limit: limits.depth() },
            Some(Cap::Values) => Unreadable::TooManyValues { limit: limits.json_values() },
            None => Unreadable::Json { line: error.line(), column: error.column(), reason: reason(&error.to_string()) },
        })?;
        if deserializer.end().is_err() {
            deviations.note(DeviationCode::TrailingOctets, "", "text behind the JSON document was passed over");
        }
        Ok(tree)
    }

    /// As it came, for keeping what is not understood.
    pub(crate) fn into_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(bool) => Value::Bool(bool),
            Self::Number(number) => Value::Number(number),
            Self::Text(text) => Value::String(text.into_owned()),
            Self::List(list) => Value::Array(list.into_iter().map(Json::into_value).collect()),
            Self::Object(fields) => Value::Object(object(fields)),
        }
    }

    /// What kind of value it is, for a sentence.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// As an object of serde_json. Of a repeated key, the first counts.
pub(crate) fn object(fields: Vec<(Cow<'_, str>, Json<'_>)>) -> Map<String, Value> {
    let mut map = Map::new();
    for (key, value) in fields {
        map.entry(key.into_owned()).or_insert_with(|| value.into_value());
    }
    map
}

/// serde_json puts the place at the end, which is told apart here.
fn reason(text: &str) -> String {
    text.split(" at line ").next().unwrap_or(text).to_owned()
}

#[derive(Debug, Clone, Copy)]
enum Cap {
    Depth,
    Values,
}

struct Budget {
    left: Cell<usize>,
    met: Cell<Option<Cap>>,
}

impl Budget {
    fn spend<E: Error>(&self) -> Result<(), E> {
        match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(self.refuse(Cap::Values)),
        }
    }

    fn refuse<E: Error>(&self, cap: Cap) -> E {
        self.met.set(Some(cap));
        E::custom("a cap was met")
    }
}

#[derive(Clone, Copy)]
struct Seed<'b> {
    budget: &'b Budget,
    depth: usize,
}

impl Seed<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, ..self }),
            None => Err(self.budget.refuse(Cap::Depth)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        self.budget.spend()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, bool: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(bool))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json<'de>, E> {
        Ok(Number::from_f64(number).map_or(Json::Null, Json::Number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json<'de>, A::Error> {
        let seed = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(seed)? {
            values.push(value);
        }
        Ok(Json::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let seed = self.deeper()?;
        let mut fields = Vec::new();
        while let Some(key) = map.next_key_seed(Key)? {
            fields.push((key, map.next_value_seed(seed)?));
        }
        Ok(Json::Object(fields))
    }
}

/// A key, borrowed where it can be.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}
