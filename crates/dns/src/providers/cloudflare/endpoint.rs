//! The calls of the API that we make, as `EndpointSpec`s of our own.
//!
//! The crate's own endpoints for DNS records know neither batches nor comments, and one CAA record makes their listing
//! fail.

use std::fmt::Debug;

use cloudflare::framework::{
    endpoint::{Method, RequestBody, serialize_query, spec::EndpointSpec},
    response::{ApiResult, ApiSuccess},
};
use serde::{Deserialize, Serialize};

use super::record::{Record, RecordBody};

/// The API's id of a zone or a record: what may stand in a path and in a reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Id(String);

impl Id {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Id {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let fits = (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        if fits { Ok(Self(text)) } else { Err("an id has 1 to 32 letters and digits") }
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

/// A list of things, which the crate's `ApiResult` must be ours to be implemented for.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Listed<T>(pub(super) Vec<T>);

impl<T: serde::de::DeserializeOwned + Debug> ApiResult for Listed<T> {}

/// A zone, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(super) struct Zone {
    pub(super) id: Id,
    pub(super) name: String,
    #[serde(default)]
    pub(super) status: Option<String>,
}

impl ApiResult for Zone {}
impl ApiResult for Record {}

/// `GET zones`: the zones of this name that the token shows.
#[derive(Debug, Serialize)]
pub(super) struct FindZones<'a> {
    pub(super) name: &'a str,
}

impl EndpointSpec for FindZones<'_> {
    type JsonResponse = Listed<Zone>;
    type ResponseType = ApiSuccess<Self::JsonResponse>;

    fn method(&self) -> Method {
        Method::GET
    }

    fn path(&self) -> String {
        "zones".to_owned()
    }

    fn query(&self) -> Option<String> {
        serialize_query(self)
    }
}

/// `GET zones/{zone_id}`.
pub(super) struct ReadZone<'a> {
    pub(super) zone: &'a Id,
}

impl EndpointSpec for ReadZone<'_> {
    type JsonResponse = Zone;
    type ResponseType = ApiSuccess<Self::JsonResponse>;

    fn method(&self) -> Method {
        Method::GET
    }

    fn path(&self) -> String {
        format!("zones/{}", self.zone.as_str())
    }
}

/// Which records to list. Names and comments are compared by the API without regard to case.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct RecordQuery<'a> {
    #[serde(rename = "name.exact", skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    #[serde(rename = "name.endswith", skip_serializing_if = "Option::is_none")]
    pub(super) name_ends_with: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) record_type: Option<&'a str>,
    /// By name, so that the records of a set follow each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) order: Option<&'a str>,
    pub(super) page: u32,
    pub(super) per_page: u32,
}

/// `GET zones/{zone_id}/dns_records`.
pub(super) struct ListRecords<'a> {
    pub(super) zone: &'a Id,
    pub(super) query: RecordQuery<'a>,
}

impl EndpointSpec for ListRecords<'_> {
    type JsonResponse = Listed<Record>;
    type ResponseType = ApiSuccess<Self::JsonResponse>;

    fn method(&self) -> Method {
        Method::GET
    }

    fn path(&self) -> String {
        format!("zones/{}/dns_records", self.zone.as_str())
    }

    fn query(&self) -> Option<String> {
        serialize_query(&self.query)
    }
}

/// `POST zones/{zone_id}/dns_records`.
pub(super) struct CreateRecord<'a> {
    pub(super) zone: &'a Id,
    pub(super) record: &'a RecordBody,
}

impl EndpointSpec for CreateRecord<'_> {
    type JsonResponse = Record;
    type ResponseType = ApiSuccess<Self::JsonResponse>;

    fn method(&self) -> Method {
        Method::POST
    }

    fn path(&self) -> String {
        format!("zones/{}/dns_records", self.zone.as_str())
    }

    fn body(&self) -> Option<RequestBody<'_>> {
        json(self.record)
    }
}

/// Changes that take effect together or not at all, in the order of the fields.
#[derive(Debug, Default, Serialize)]
pub(super) struct BatchBody<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) deletes: Vec<Deletion<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) patches: Vec<Patch<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) posts: Vec<&'a RecordBody>,
}

#[derive(Debug, Serialize)]
pub(super) struct Deletion<'a> {
    pub(super) id: &'a Id,
}

#[derive(Debug, Serialize)]
pub(super) struct Patch<'a> {
    pub(super) id: &'a Id,
    #[serde(flatten)]
    pub(super) record: &'a RecordBody,
}

/// What a batch created; what it changed and deleted we know by id.
#[derive(Debug, Default, Deserialize)]
pub(super) struct BatchResult {
    #[serde(default)]
    pub(super) posts: Option<Vec<Record>>,
}

impl ApiResult for BatchResult {}

/// `POST zones/{zone_id}/dns_records/batch`.
pub(super) struct Batch<'a> {
    pub(super) zone: &'a Id,
    pub(super) body: BatchBody<'a>,
}

impl EndpointSpec for Batch<'_> {
    type JsonResponse = BatchResult;
    type ResponseType = ApiSuccess<Self::JsonResponse>;

    fn method(&self) -> Method {
        Method::POST
    }

    fn path(&self) -> String {
        format!("zones/{}/dns_records/batch", self.zone.as_str())
    }

    fn body(&self) -> Option<RequestBody<'_>> {
        json(&self.body)
    }
}

/// Strings and numbers only, which cannot fail.
fn json<T: Serialize>(body: &T) -> Option<RequestBody<'static>> {
    serde_json::to_string(body).ok().map(RequestBody::Json)
}
