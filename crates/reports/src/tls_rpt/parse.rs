//! From JSON to the normal form.

use mtasts_model::Timestamp;

use super::{
    EdgeHint, Failure, PolicyReport, PolicySeen, PolicyType, Report, ResultType, Unread,
    fields::{Fields, text},
};
use crate::{
    Address, DeviationCode, Deviations, Limits, Period, Unreadable,
    deviation::excerpt,
    json::{Json, mend},
    names, period,
    text::decode,
};

/// Fields of which a report has one at least.
const OF_A_REPORT: [&str; 4] = ["policies", "report-id", "organization-name", "date-range"];

pub(super) fn report(document: &[u8], limits: &Limits) -> Result<Report, Unreadable> {
    if document.trim_ascii().is_empty() {
        return Err(Unreadable::Empty);
    }
    let mut deviations = Deviations::new(limits.deviations);
    let text = decode(document, false, limits, &mut deviations)?;
    let mended;
    let mut tree = match Json::parse(&text, limits, &mut deviations) {
        Err(why @ Unreadable::Json { .. }) => {
            mended = mend(&text);
            let tree = Json::parse(&mended, limits, &mut deviations);
            // What cannot be mended is told as it was.
            let tree = tree.map_err(|still| if still.is_cap() { still } else { why.clone() })?;
            deviations.note(DeviationCode::MendedJson, "", format!("{why}; read after small repairs"));
            tree
        }
        parsed => parsed?,
    };
    let mut root = String::new();
    if let Json::List(list) = &mut tree
        && list.len() == 1
    {
        deviations.note(DeviationCode::WrappedInList, "", "the report is within a list");
        tree = list.remove(0);
        "/0".clone_into(&mut root);
    }
    let Json::Object(fields) = tree else {
        return Err(Unreadable::NotAReport { what: "JSON other than one object" });
    };
    let fields = Fields::new(root, fields);
    if !OF_A_REPORT.iter().any(|name| fields.has(name)) {
        return Err(Unreadable::NotAReport { what: "JSON without any field of a TLS report" });
    }
    let mut reader = Reader { deviations, unread: Vec::new(), rows: 0, split: 0, limits };
    reader.report(fields)
}

struct Reader<'l> {
    deviations: Deviations,
    unread: Vec<Unread>,
    rows: usize,
    /// Texts split off from others.
    split: usize,
    limits: &'l Limits,
}

impl Reader<'_> {
    fn report(&mut self, mut fields: Fields<'_>) -> Result<Report, Unreadable> {
        let organization = fields.text("organization-name", &mut self.deviations);
        let contact = fields.text("contact-info", &mut self.deviations);
        let place = fields.at("report-id");
        let report_id = fields.text("report-id", &mut self.deviations).and_then(|id| self.report_id(&id, place));
        let period = self.period(&mut fields);
        let place = fields.at("policies");
        let policies = if let Some(value) = fields.take("policies", &mut self.deviations) {
            self.rows(value, &place, Self::policy)?
        } else {
            fields.missing("policies", &mut self.deviations);
            Vec::new()
        };
        if policies.is_empty() {
            self.deviations.note(DeviationCode::NoRows, place, "it has no policy");
        }
        self.look_at_tlsa_domains(&policies, &fields.at("policies"));
        let extra = fields.rest();
        Ok(Report {
            organization,
            contact,
            report_id,
            period,
            policies,
            extra,
            unread: std::mem::take(&mut self.unread),
            deviations: std::mem::take(&mut self.deviations),
        })
    }

    fn report_id(&mut self, id: &str, place: String) -> Option<String> {
        let bare = names::unbracketed(id);
        if bare.len() != id.len() {
            self.deviations.note(DeviationCode::Untrimmed, place, format!("brackets around {}", excerpt(bare)));
        }
        Some(bare.to_owned()).filter(|id| !id.is_empty())
    }

    fn period(&mut self, fields: &mut Fields<'_>) -> Period {
        let place = fields.at("date-range");
        let mut period = Period::default();
        match fields.take("date-range", &mut self.deviations) {
            Some(Json::Object(range)) => {
                let mut range = Fields::new(place.clone(), range);
                period.begin = self.instant(&mut range, "start-datetime");
                period.end = self.instant(&mut range, "end-datetime");
            }
            Some(other) => {
                self.deviations.note(DeviationCode::WrongType, &place, format!("{} and not an object", other.kind()));
            }
            None => fields.missing("date-range", &mut self.deviations),
        }
        period.settle(&place, true, &mut self.deviations);
        period
    }

    fn instant(&mut self, range: &mut Fields<'_>, name: &str) -> Option<Timestamp> {
        let place = range.at(name);
        match range.take(name, &mut self.deviations) {
            // Seconds since 1970; the notation is noted there.
            Some(Json::Number(number)) => period::instant(&number.to_string(), &place, &mut self.deviations),
            Some(value) => text(value, &place, &mut self.deviations)
                .and_then(|text| period::instant(&text, &place, &mut self.deviations)),
            None => {
                range.missing(name, &mut self.deviations);
                None
            }
        }
    }

    /// A list of objects, each read for itself: one that cannot be read is kept apart, and the others are read.
    fn rows<T>(
        &mut self,
        value: Json<'_>,
        place: &str,
        read: fn(&mut Self, Fields<'_>) -> Result<T, Unreadable>,
    ) -> Result<Vec<T>, Unreadable> {
        let list = match value {
            Json::List(list) => list,
            Json::Null => {
                self.deviations.note(DeviationCode::NullField, place, "it is null");
                return Ok(Vec::new());
            }
            Json::Object(fields) => {
                self.deviations.note(DeviationCode::NotAList, place, "an object, and not a list of them");
                vec![Json::Object(fields)]
            }
            other => vec![other],
        };
        let mut rows = Vec::new();
        for (index, value) in list.into_iter().enumerate() {
            self.rows += 1;
            if self.rows > self.limits.rows {
                return Err(Unreadable::TooManyRows { limit: self.limits.rows });
            }
            let place = format!("{place}/{index}");
            match value {
                Json::Object(fields) => rows.push(read(self, Fields::new(place, fields))?),
                other => {
                    let sentence = format!("{} and not an object; kept as it came", other.kind());
                    self.deviations.note(DeviationCode::UnreadRow, &place, sentence);
                    self.unread.push(Unread { place, value: other.into_value() });
                }
            }
        }
        Ok(rows)
    }

    fn policy(&mut self, mut fields: Fields<'_>) -> Result<PolicyReport, Unreadable> {
        let place = fields.at("policy");
        let policy = match fields.take("policy", &mut self.deviations) {
            Some(Json::Object(policy)) => Fields::new(place.clone(), policy),
            Some(other) => {
                let sentence = format!("{} and not an object; kept as it came", other.kind());
                self.deviations.note(DeviationCode::WrongType, &place, sentence);
                self.unread.push(Unread { place: place.clone(), value: other.into_value() });
                Fields::new(place.clone(), Vec::new())
            }
            None => {
                fields.missing("policy", &mut self.deviations);
                Fields::new(place.clone(), Vec::new())
            }
        };
        let policy = self.policy_seen(policy)?;

        let place = fields.at("summary");
        let (mut successful_sessions, mut failed_sessions) = (None, None);
        match fields.take("summary", &mut self.deviations) {
            Some(Json::Object(summary)) => {
                let mut summary = Fields::new(place.clone(), summary);
                successful_sessions = summary.count("total-successful-session-count", &mut self.deviations);
                failed_sessions = summary.count("total-failure-session-count", &mut self.deviations);
            }
            Some(other) => {
                self.deviations.note(DeviationCode::WrongType, &place, format!("{} and not an object", other.kind()));
            }
            None => fields.missing("summary", &mut self.deviations),
        }

        let details = fields.at("failure-details");
        let failures = match fields.take("failure-details", &mut self.deviations) {
            Some(value) => self.rows(value, &details, |reader, fields| Ok(reader.failure(fields)))?,
            None => Vec::new(),
        };
        let policy = PolicyReport {
            policy,
            successful_sessions,
            failed_sessions,
            failures,
            about_report_host: false,
            extra: fields.rest(),
        };
        if let Some(failed) = policy.failed_sessions.filter(|failed| *failed != policy.detailed()) {
            let sentence =
                format!("the summary has {failed} failed sessions, and the details have {}", policy.detailed());
            self.deviations.note(DeviationCode::SumsDisagree, place, sentence);
        }
        Ok(policy)
    }

    fn policy_seen(&mut self, mut fields: Fields<'_>) -> Result<PolicySeen, Unreadable> {
        let place = fields.at("policy-type");
        let kind = match fields.text("policy-type", &mut self.deviations) {
            None => PolicyType::Other(String::new()),
            Some(word) => {
                self.word(word, place, PolicyType::KNOWN, PolicyType::as_str, PolicyType::Other, "a policy type")
            }
        };
        let strings = self.texts(&mut fields, "policy-string")?;
        if strings.is_none() {
            fields.missing("policy-string", &mut self.deviations);
        }
        let place = fields.at("policy-domain");
        let domain = fields.text("policy-domain", &mut self.deviations).map(|domain| self.host(&domain, &place));
        let mx_hosts = self.texts(&mut fields, "mx-host")?.unwrap_or_default();
        let place = fields.at("mx-host");
        let mx_hosts = mx_hosts.iter().map(|host| self.mx_host(host, &place)).collect();
        Ok(PolicySeen { kind, domain, strings: strings.unwrap_or_default(), mx_hosts, extra: fields.rest() })
    }

    /// A list of texts, or what stands in its place: one text, several lines in one, JSON within one.
    fn texts(&mut self, fields: &mut Fields<'_>, name: &str) -> Result<Option<Vec<String>>, Unreadable> {
        let place = fields.at(name);
        let list = match fields.take(name, &mut self.deviations) {
            None => return Ok(None),
            Some(Json::List(list)) => list,
            Some(Json::Null) => {
                self.deviations.note(DeviationCode::NullField, &place, "it is null");
                return Ok(Some(Vec::new()));
            }
            Some(other) => {
                // Errata 6241 has it that `mx-host` is a list too.
                self.deviations.note(DeviationCode::NotAList, &place, format!("{} and not a list", other.kind()));
                vec![other]
            }
        };
        let mut texts = Vec::new();
        for (index, value) in list.into_iter().enumerate() {
            let place = format!("{place}/{index}");
            let Json::Text(text) = value else {
                texts.extend(self::text(value, &place, &mut self.deviations));
                continue;
            };
            let text = text.trim();
            if let Some(inner) = self.inner_list(text) {
                self.deviations.note(DeviationCode::ListAsJsonText, place, "a list of texts as one JSON text");
                for text in &inner {
                    self.add_text(text, &mut texts)?;
                }
            } else if text.contains(['\n', '\r']) {
                self.deviations.note(DeviationCode::SeveralLines, place, "several lines in one text");
                for line in text.split(['\n', '\r']) {
                    self.add_text(line, &mut texts)?;
                }
            } else {
                texts.extend(Some(text.to_owned()).filter(|text| !text.is_empty()));
            }
        }
        Ok(Some(texts))
    }

    /// The texts of a JSON list, if the text is one.
    fn inner_list(&self, text: &str) -> Option<Vec<String>> {
        if !text.starts_with('[') {
            return None;
        }
        let Ok(Json::List(list)) = Json::parse(text, self.limits, &mut Deviations::default()) else { return None };
        let texts = list.into_iter().map(|value| match value {
            Json::Text(text) => Some(text.into_owned()),
            _ => None,
        });
        texts.collect()
    }

    /// Texts that are split off from one are counted, because they take more room than they did in it.
    fn add_text(&mut self, text: &str, texts: &mut Vec<String>) -> Result<(), Unreadable> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(());
        }
        self.split += 1;
        if self.split > self.limits.json_values() {
            return Err(Unreadable::TooManyValues { limit: self.limits.json_values() });
        }
        texts.push(text.to_owned());
        Ok(())
    }

    fn mx_host(&mut self, text: &str, place: &str) -> String {
        let bare = match text.split_once(':') {
            Some((key, host)) if key.trim().eq_ignore_ascii_case("mx") => {
                let sentence = format!("{} has the policy's key before the host", excerpt(text));
                self.deviations.note(DeviationCode::MxHostWithKey, place, sentence);
                host.trim()
            }
            _ => text,
        };
        // A pattern of the policy, as RFC 8460's own example has it.
        match bare.strip_prefix("*.") {
            Some(rest) => format!("*.{}", self.host(rest, place)),
            None => self.host(bare, place),
        }
    }

    /// A host or domain name in lower case without the dot at the end; what is none is kept in lower case.
    fn host(&mut self, text: &str, place: &str) -> String {
        mtasts_model::HostName::parse(text).map_or_else(
            |_| {
                self.deviations.note(DeviationCode::NotAName, place, format!("{} is not a host name", excerpt(text)));
                text.trim_end_matches('.').to_lowercase()
            },
            |name| name.as_str().to_owned(),
        )
    }

    fn failure(&mut self, mut fields: Fields<'_>) -> Failure {
        let place = fields.at("result-type");
        let result = match fields.text("result-type", &mut self.deviations) {
            None => ResultType::Other(String::new()),
            Some(word) => {
                self.word(word, place, ResultType::KNOWN, ResultType::as_str, ResultType::Other, "a result type")
            }
        };
        let sessions = fields.count("failed-session-count", &mut self.deviations);
        let sending_ip = self.address(&mut fields, "sending-mta-ip", true);
        // Fetching a policy takes no MX host.
        let needs_mx = !result.is_about_the_policy();
        let place = fields.at("receiving-mx-hostname");
        let receiving_mx = if needs_mx {
            fields.text("receiving-mx-hostname", &mut self.deviations)
        } else {
            fields.optional_text("receiving-mx-hostname", &mut self.deviations)
        };
        let receiving_mx = receiving_mx.map(|host| self.host(&host, &place));
        let receiving_helo = fields.optional_text("receiving-mx-helo", &mut self.deviations);
        let receiving_ip = self.address(&mut fields, "receiving-ip", false);
        let reason = fields.optional_text("failure-reason-code", &mut self.deviations);
        // §4.4 has one name, and the JSON schema of §4.5 another.
        let additional_information = fields
            .optional_text("additional-information", &mut self.deviations)
            .or_else(|| fields.optional_text("additional-info-uri", &mut self.deviations));
        let edge = EdgeHint::read(&result, reason.as_deref(), additional_information.as_deref());
        Failure {
            result,
            sessions,
            sending_ip,
            receiving_mx,
            receiving_helo,
            receiving_ip,
            reason,
            additional_information,
            edge,
            extra: fields.rest(),
        }
    }

    fn address(&mut self, fields: &mut Fields<'_>, name: &str, required: bool) -> Option<Address> {
        let place = fields.at(name);
        let text = if required {
            fields.text(name, &mut self.deviations)
        } else {
            fields.optional_text(name, &mut self.deviations)
        };
        text.map(|text| Address::read(&text, &place, &mut self.deviations))
    }

    /// One of the words that RFC 8460 knows, in whatever spelling, or another one.
    fn word<T: Clone>(
        &mut self,
        text: String,
        place: String,
        known: &[T],
        name: fn(&T) -> &str,
        other: fn(String) -> T,
        what: &str,
    ) -> T {
        let Some(value) = known.iter().find(|value| is_word(&text, name(value))) else {
            let sentence = format!("{} is not {what} of RFC 8460", excerpt(&text));
            self.deviations.note(DeviationCode::UnknownValue, place, sentence);
            return other(text);
        };
        if text != name(value) {
            let sentence = format!("{} is read as {}", excerpt(&text), name(value));
            self.deviations.note(DeviationCode::MisspeltValue, place, sentence);
        }
        value.clone()
    }

    /// RFC 8460 §4.4: for DANE the policy domain is the MX host. Some name the mail domain.
    fn look_at_tlsa_domains(&mut self, policies: &[PolicyReport], place: &str) {
        for (index, report) in policies.iter().enumerate() {
            let (PolicyType::Tlsa, Some(domain)) = (&report.policy.kind, &report.policy.domain) else { continue };
            let hosts = || {
                let failed = report.failures.iter().filter_map(|failure| failure.receiving_mx.as_ref());
                report.policy.mx_hosts.iter().chain(failed)
            };
            let is_named = hosts().next().is_some() && !hosts().any(|host| host == domain);
            let is_mail_domain = policies
                .iter()
                .any(|other| other.policy.kind == PolicyType::Sts && other.policy.domain.as_ref() == Some(domain));
            if is_named || is_mail_domain {
                let sentence = format!("{} is the mail domain, and for tlsa the MX host is asked for", excerpt(domain));
                let place = format!("{place}/{index}/policy/policy-domain");
                self.deviations.note(DeviationCode::TlsaPolicyDomain, place, sentence);
            }
        }
    }
}

/// A word in any case, with underscores or spaces in place of hyphens.
fn is_word(text: &str, word: &str) -> bool {
    text.len() == word.len()
        && text
            .bytes()
            .zip(word.bytes())
            .all(|(a, b)| a.eq_ignore_ascii_case(&b) || (matches!(a, b'_' | b' ') && b == b'-'))
}
