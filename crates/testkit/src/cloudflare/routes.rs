//! The operations of the API.

use serde_json::{Value, json};

use super::{
    BATCH_LIMIT, Refusal, State,
    schema::{Form, RecordInput, object, query},
    zone::{CloudflareRecord, gone, stamp},
};

/// A request, taken apart.
pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    /// Beneath the API's own path.
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) authorization: Option<&'a str>,
    pub(super) content_type: Option<&'a str>,
    pub(super) body: &'a [u8],
    /// Only half of a batch's new records are created, and then it fails.
    pub(super) is_half_done: bool,
}

/// `result` and `result_info`.
type Answer = Result<(Value, Option<Value>), Refusal>;

const ZONE_PARAMETERS: [&str; 9] =
    ["name", "status", "type", "account.id", "account.name", "page", "per_page", "order", "direction"];
const RECORD_PARAMETERS: [&str; 18] = [
    "name",
    "name.exact",
    "name.contains",
    "name.startswith",
    "name.endswith",
    "type",
    "content",
    "content.exact",
    "content.contains",
    "comment.present",
    "comment.absent",
    "comment.exact",
    "comment.contains",
    "proxied",
    "page",
    "per_page",
    "order",
    "direction",
];

impl State {
    pub(super) fn answer(&mut self, call: &Call<'_>) -> Answer {
        let token = self.authorize(call)?;
        let segments: Vec<_> = call.path.split('/').collect();
        match (call.method, segments.as_slice()) {
            ("GET", ["user", "tokens", "verify"]) => {
                query(call.query, &[])?;
                Ok((json!({"id": super::zone::id('1', 1), "status": "active"}), None))
            }
            ("GET", ["zones"]) => self.zones(token, call.query),
            ("GET", ["zones", id]) => {
                query(call.query, &[])?;
                let zone = self.open(token, id)?;
                Ok((self.zone_json(zone), None))
            }
            (_, ["zones", id, "dns_records", rest @ ..]) => {
                let zone = self.open(token, id)?;
                self.records(zone, call, rest)
            }
            _ => Err(Refusal { status: 404, ..Refusal::complaint(7000, "No route for that URI") }),
        }
    }

    /// Which token it is.
    fn authorize(&self, call: &Call<'_>) -> Result<usize, Refusal> {
        let Some(header) = call.authorization else {
            let message = "Missing X-Auth-Key, X-Auth-Email or Authorization headers";
            return Err(Refusal::complaint(9106, message));
        };
        let Some(token) = header.strip_prefix("Bearer ").filter(|token| token.bytes().all(|b| b.is_ascii_graphic()))
        else {
            let chain = Some((6111, "Invalid format for Authorization header".to_owned()));
            return Err(Refusal { chain, ..Refusal::complaint(6003, "Invalid request headers") });
        };
        let known = self.tokens.iter().position(|known| known.text == token && !known.is_revoked);
        known.ok_or_else(|| Refusal::new(403, 9109, "Invalid access token"))
    }

    /// The zone of this id, if the token opens it.
    fn open(&self, token: usize, id: &str) -> Result<usize, Refusal> {
        let Some(at) = self.zones.iter().position(|zone| zone.id == id) else {
            let message = format!("Could not route to /zones/{id}, perhaps your object identifier is invalid?");
            return Err(Refusal::new(404, 7003, message));
        };
        if self.tokens[token].zones.contains(&self.zones[at].name) {
            return Ok(at);
        }
        Err(Refusal::new(403, 10000, "Authentication error"))
    }

    fn zone_json(&self, at: usize) -> Value {
        let (zone, time) = (&self.zones[at], stamp(0));
        json!({
            "id": zone.id, "name": zone.name, "status": "active", "paused": false, "type": "full",
            "development_mode": 0, "name_servers": ["ada.ns.cloudflare.test", "bob.ns.cloudflare.test"],
            "account": {"id": super::zone::id('1', 2), "name": "an account"}, "meta": {}, "owner": {}, "plan": {},
            "created_on": time, "modified_on": time, "activated_on": time,
        })
    }

    fn zones(&self, token: usize, text: &str) -> Answer {
        let parameters = query(text, &ZONE_PARAMETERS)?;
        let value = |name: &str| parameters.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let opened = &self.tokens[token].zones;
        let found = (0..self.zones.len()).filter(|&at| {
            let name = &self.zones[at].name;
            opened.contains(name) && value("name").is_none_or(|wanted| wanted == name)
        });
        let (zones, info) = page(found.map(|at| self.zone_json(at)).collect(), &parameters, 20, 5..=50)?;
        Ok((zones.into(), info))
    }

    fn records(&mut self, zone: usize, call: &Call<'_>, rest: &[&str]) -> Answer {
        if call.method == "GET" {
            return match rest {
                [] => self.list(zone, call.query),
                [id] => self.zones[zone].record(id).map(|record| (record.json(), None)).ok_or_else(gone),
                _ => Err(Refusal::complaint(7000, "No route for that URI")),
            };
        }
        query(call.query, &[])?;
        if let ("DELETE", [id]) = (call.method, rest) {
            self.tick();
            return self.zones[zone].delete(id).map(|record| (json!({"id": record.id}), None));
        }
        if call.content_type != Some("application/json") {
            return Err(Refusal::complaint(9207, "Content-type must be application/json."));
        }
        let body: Value = serde_json::from_slice(call.body)
            .map_err(|error| Refusal::complaint(9207, format!("Request body is invalid: {error}")))?;
        let record = match (call.method, rest) {
            ("POST", ["batch"]) => return self.batch(zone, &body, call.is_half_done),
            ("POST", []) => {
                let input = RecordInput::read(&body, Form::Whole)?;
                let tick = self.tick();
                self.zones[zone].create(tick, &input)
            }
            ("PUT", [id]) => {
                let input = RecordInput::read(&body, Form::Whole)?;
                let tick = self.tick();
                self.zones[zone].overwrite(tick, id, &input)
            }
            ("PATCH", [id]) => {
                let input = RecordInput::read(&body, Form::Part)?;
                let tick = self.tick();
                self.zones[zone].edit(tick, id, &input)
            }
            _ => Err(Refusal::complaint(7000, "No route for that URI")),
        };
        record.map(|record| (record.json(), None))
    }

    fn list(&self, zone: usize, text: &str) -> Answer {
        let parameters = query(text, &RECORD_PARAMETERS)?;
        let zone = &self.zones[zone];
        let mut found: Vec<&CloudflareRecord> = match parameters.iter().find(|(name, _)| is_exact_name(name)) {
            Some((_, name)) => zone.at(&name.to_ascii_lowercase()).iter().collect(),
            None => zone.records().collect(),
        };
        let (mut order, mut is_descending) = (None, false);
        for (name, value) in &parameters {
            let lower = value.to_ascii_lowercase();
            let comment = |record: &CloudflareRecord| record.comment.as_deref().map(str::to_ascii_lowercase);
            match name.as_str() {
                "name.contains" => found.retain(|record| record.name.contains(&lower)),
                "name.startswith" => found.retain(|record| record.name.starts_with(&lower)),
                "name.endswith" => found.retain(|record| record.name.ends_with(&lower)),
                "type" => found.retain(|record| record.kind == *value),
                "content" | "content.exact" => found.retain(|record| record.content.eq_ignore_ascii_case(value)),
                "content.contains" => found.retain(|record| record.content.to_ascii_lowercase().contains(&lower)),
                "comment.present" => found.retain(|record| record.comment.is_some()),
                "comment.absent" => found.retain(|record| record.comment.is_none()),
                "comment.exact" => found.retain(|record| comment(record).as_ref() == Some(&lower)),
                "comment.contains" => found.retain(|record| comment(record).is_some_and(|text| text.contains(&lower))),
                "proxied" => found.retain(|record| record.proxied.to_string() == *value),
                "order" => order = Some(value.as_str()),
                "direction" => is_descending = value == "desc",
                _ => {}
            }
        }
        match order {
            None | Some("name") => {}
            Some("type") => found.sort_by(|a, b| a.kind.cmp(&b.kind)),
            Some("content") => found.sort_by(|a, b| a.content.cmp(&b.content)),
            Some("ttl") => found.sort_by_key(|record| record.ttl),
            Some("proxied") => found.sort_by_key(|record| record.proxied),
            Some(other) => return Err(Refusal::complaint(6003, format!("Unknown order {other}."))),
        }
        if is_descending {
            found.reverse();
        }
        let (records, info) = page(found, &parameters, 100, 1..=5000)?;
        Ok((records.into_iter().map(CloudflareRecord::json).collect(), info))
    }

    /// All or nothing, in the documented order.
    fn batch(&mut self, zone: usize, body: &Value, is_half_done: bool) -> Answer {
        let parts = object(body, &["deletes", "patches", "puts", "posts"])?;
        let list = |name: &str| match parts.get(name) {
            None => Ok(&[][..]),
            Some(Value::Array(list)) => Ok(list.as_slice()),
            Some(_) => Err(Refusal::complaint(9207, format!("Request body is invalid: {name} is no list."))),
        };
        let (deletes, patches, puts, mut posts) = (list("deletes")?, list("patches")?, list("puts")?, list("posts")?);
        let writes = deletes.len() + patches.len() + puts.len() + posts.len();
        if writes == 0 || writes > BATCH_LIMIT {
            return Err(Refusal::complaint(
                9207,
                format!("{writes} records in a batch, which takes 1 to {BATCH_LIMIT}"),
            ));
        }
        if is_half_done {
            posts = &posts[..posts.len() / 2];
        }
        let mut undo: Vec<(String, Option<CloudflareRecord>)> = Vec::new();
        match self.carry_out(zone, [deletes, patches, puts, posts], &mut undo) {
            Ok(_) if is_half_done => Err(Refusal::new(500, 10001, "Internal error")),
            Ok(done) => {
                let [deletes, patches, puts, posts] = done;
                Ok((json!({"deletes": deletes, "patches": patches, "puts": puts, "posts": posts}), None))
            }
            Err(refusal) => {
                for (id, before) in undo.into_iter().rev() {
                    self.zones[zone].restore(&id, before);
                }
                Err(refusal)
            }
        }
    }

    fn carry_out(
        &mut self,
        zone: usize,
        [deletes, patches, puts, posts]: [&[Value]; 4],
        undo: &mut Vec<(String, Option<CloudflareRecord>)>,
    ) -> Result<[Vec<Value>; 4], Refusal> {
        let mut done = [const { Vec::new() }; 4];
        for value in deletes {
            let id = object(value, &["id"])?.get("id").and_then(Value::as_str).unwrap_or_default();
            self.tick();
            let before = self.zones[zone].delete(id)?;
            done[0].push(before.json());
            undo.push((before.id.clone(), Some(before)));
        }
        for (at, values, form) in [(1, patches, Form::PartWithId), (2, puts, Form::WholeWithId)] {
            for value in values {
                let input = RecordInput::read(value, form)?;
                let (tick, id) = (self.tick(), input.id.clone().unwrap_or_default());
                let before = self.zones[zone].record(&id).cloned().ok_or_else(gone)?;
                let zone = &mut self.zones[zone];
                let after = if at == 1 { zone.edit(tick, &id, &input) } else { zone.overwrite(tick, &id, &input) }?;
                undo.push((id, Some(before)));
                done[at].push(after.json());
            }
        }
        for value in posts {
            let input = RecordInput::read(value, Form::Whole)?;
            let tick = self.tick();
            let record = self.zones[zone].create(tick, &input)?;
            undo.push((record.id.clone(), None));
            done[3].push(record.json());
        }
        Ok(done)
    }
}

fn is_exact_name(parameter: &str) -> bool {
    matches!(parameter, "name" | "name.exact")
}

fn page<T>(
    found: Vec<T>,
    parameters: &[(String, String)],
    usual: usize,
    allowed: std::ops::RangeInclusive<usize>,
) -> Result<(Vec<T>, Option<Value>), Refusal> {
    let number = |name: &str, usual: usize| {
        let value = parameters.iter().find(|(other, _)| other == name).map(|(_, value)| value.parse());
        let refusal = |_| Refusal::complaint(6003, format!("{name} is no number."));
        value.transpose().map(|value| value.unwrap_or(usual)).map_err(refusal)
    };
    let (page, per_page) = (number("page", 1)?, number("per_page", usual)?);
    if page == 0 || !allowed.contains(&per_page) {
        return Err(Refusal::complaint(6003, format!("page {page} of {per_page} entries")));
    }
    let total = found.len();
    let entries: Vec<T> = found.into_iter().skip((page - 1) * per_page).take(per_page).collect();
    let info = json!({
        "page": page, "per_page": per_page, "count": entries.len(), "total_count": total,
        "total_pages": total.div_ceil(per_page),
    });
    Ok((entries, Some(info)))
}
