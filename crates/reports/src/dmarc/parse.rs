//! From XML to the normal form.

use mtasts_model::{HostName, Timestamp};

use super::{
    Alignment, Disposition, DkimAuth, Extra, Namespace, PolicyPublished, Reason, Record, Report, SpfAuth, SpfResult,
    values::Word,
};
use crate::{
    Address, DeviationCode, Deviations, Limits, Period, Unreadable,
    deviation::excerpt,
    names, period,
    text::decode,
    xml::{Children, Element, Next, declared_encoding},
};

/// Encodings of one octet that are read as ISO 8859-1, which they are but for a few signs.
const LATIN: [&str; 4] = ["iso-8859-1", "iso8859-1", "latin1", "windows-1252"];

pub(super) fn report(document: &[u8], limits: &Limits) -> Result<Report, Unreadable> {
    if document.trim_ascii().is_empty() {
        return Err(Unreadable::Empty);
    }
    let mut deviations = Deviations::new(limits.deviations);
    let is_latin = declared_encoding(document).is_some_and(|encoding| LATIN.contains(&encoding.as_str()));
    let text = decode(document, is_latin, limits, &mut deviations)?;
    let mut children = Children::open(&text, limits, &mut deviations)?;
    if !children.root.eq_ignore_ascii_case("feedback") {
        return Err(Unreadable::NotAReport { what: "XML with another root than feedback" });
    }
    let namespace = Namespace::read(children.namespace.as_deref());
    if let Namespace::Other(name) = &namespace {
        let sentence = format!("{} is a namespace of no DMARC report", excerpt(name));
        deviations.note(DeviationCode::UnknownNamespace, "/feedback", sentence);
    }
    let mut reader = Reader {
        report: Report {
            namespace,
            version: None,
            organization: None,
            contact: None,
            extra_contact: None,
            report_id: None,
            period: Period::default(),
            errors: Vec::new(),
            generator: None,
            policy: PolicyPublished::default(),
            records: Vec::new(),
            complete: true,
            extra: Vec::new(),
            deviations: Deviations::default(),
        },
        deviations,
        limits,
        seen: Vec::new(),
    };
    loop {
        match children.next(&mut reader.deviations)? {
            Next::Child(element) => reader.child(element)?,
            Next::End => break,
            Next::Broken { offset, reason } => {
                let sentence =
                    format!("at octet {offset} it is no longer XML ({reason}); went on with the next record");
                reader.deviations.note(DeviationCode::CutOff, "", sentence);
                reader.report.complete = false;
                if !children.resume(offset) {
                    if reader.seen.is_empty() {
                        let offset = u64::try_from(offset).unwrap_or(u64::MAX);
                        return Err(Unreadable::Xml { offset, reason });
                    }
                    break;
                }
            }
        }
    }
    reader.end()
}

struct Reader<'l> {
    report: Report,
    deviations: Deviations,
    limits: &'l Limits,
    /// Parts of the report that were there.
    seen: Vec<&'static str>,
}

/// An element whose children are taken out one by one.
struct Fields {
    path: String,
    children: Vec<Element>,
}

impl Fields {
    fn new(path: String, element: Element) -> Self {
        Self { path, children: element.children }
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    fn take(&mut self, name: &str) -> Option<Element> {
        let index = self.children.iter().position(|child| child.name.eq_ignore_ascii_case(name))?;
        Some(self.children.remove(index))
    }

    fn take_all(&mut self, name: &str) -> Vec<Element> {
        let (taken, rest) =
            std::mem::take(&mut self.children).into_iter().partition(|child| child.name.eq_ignore_ascii_case(name));
        self.children = rest;
        taken
    }

    /// Children of one name with their paths, which are counted from 1 if there are several.
    fn take_rows(&mut self, name: &str) -> Vec<(String, Element)> {
        let path = self.at(name);
        let rows = self.take_all(name);
        let several = rows.len() > 1;
        let path = |index| if several { format!("{path}[{}]", index + 1) } else { path.clone() };
        rows.into_iter().enumerate().map(|(index, element)| (path(index), element)).collect()
    }

    /// The text of a child that may be absent or empty.
    fn text(&mut self, name: &str) -> Option<String> {
        self.take(name).map(|element| element.text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// What nobody took.
    fn rest(self, extra: &mut Vec<Extra>) {
        extra.extend(self.children.into_iter().map(|element| Extra { place: self.path.clone(), element }));
    }
}

impl Reader<'_> {
    fn child(&mut self, element: Element) -> Result<(), Unreadable> {
        match element.name.to_ascii_lowercase().as_str() {
            "version" if self.report.version.is_none() => {
                self.report.version = Some(element.text.trim().to_owned()).filter(|text| !text.is_empty());
            }
            "report_metadata" if self.first("report_metadata") => self.metadata(element),
            "policy_published" if self.first("policy_published") => self.policy(element),
            "record" => {
                if self.report.records.len() >= self.limits.rows {
                    return Err(Unreadable::TooManyRows { limit: self.limits.rows });
                }
                self.seen.push("record");
                self.seen.dedup();
                let record = self.record(element);
                self.report.records.push(record);
            }
            _ => self.report.extra.push(Extra { place: "/feedback".to_owned(), element }),
        }
        Ok(())
    }

    fn first(&mut self, part: &'static str) -> bool {
        if self.seen.contains(&part) {
            let sentence = "it is there twice; the first counts";
            self.deviations.note(DeviationCode::DuplicateField, format!("/feedback/{part}"), sentence);
            return false;
        }
        self.seen.push(part);
        true
    }

    fn end(mut self) -> Result<Report, Unreadable> {
        if self.seen.is_empty() {
            return Err(Unreadable::NotAReport { what: "a feedback element without any part of a report" });
        }
        // Optional since RFC 9990.
        if self.report.version.is_none() && self.report.namespace != Namespace::Rfc9990 {
            self.missing("/feedback/version".to_owned());
        }
        for part in ["report_metadata", "policy_published"] {
            if !self.seen.contains(&part) {
                self.missing(format!("/feedback/{part}"));
            }
        }
        if self.report.records.is_empty() {
            self.deviations.note(DeviationCode::NoRows, "/feedback", "it has no record");
        }
        self.report.deviations = self.deviations;
        Ok(self.report)
    }

    fn missing(&mut self, place: String) {
        let name = place.rsplit('/').next().unwrap_or_default().to_owned();
        self.deviations.note(DeviationCode::MissingField, place, format!("{name} is missing"));
    }

    /// The text of a child that has to be there.
    fn required(&mut self, fields: &mut Fields, name: &str) -> Option<String> {
        let place = fields.at(name);
        match fields.take(name) {
            None => {
                self.missing(place);
                None
            }
            Some(element) => {
                let text = element.text.trim();
                if text.is_empty() {
                    self.deviations.note(DeviationCode::EmptyField, place, "it is empty");
                    return None;
                }
                Some(text.to_owned())
            }
        }
    }

    fn metadata(&mut self, element: Element) {
        let mut fields = Fields::new("/feedback/report_metadata".to_owned(), element);
        self.report.organization = self.required(&mut fields, "org_name");
        self.report.contact = self.required(&mut fields, "email");
        self.report.extra_contact = fields.text("extra_contact_info");
        let place = fields.at("report_id");
        self.report.report_id = self.required(&mut fields, "report_id").and_then(|id| {
            let bare = names::unbracketed(&id);
            if bare.len() != id.len() {
                self.deviations.note(DeviationCode::Untrimmed, place, format!("brackets around {}", excerpt(bare)));
            }
            Some(bare.to_owned()).filter(|id| !id.is_empty())
        });
        let place = fields.at("date_range");
        match fields.take("date_range") {
            Some(element) => {
                let mut range = Fields::new(place.clone(), element);
                self.report.period.begin = self.instant(&mut range, "begin");
                self.report.period.end = self.instant(&mut range, "end");
                range.rest(&mut self.report.extra);
            }
            None => self.missing(place.clone()),
        }
        self.report.period.settle(&place, false, &mut self.deviations);
        self.report.errors = fields.take_all("error").into_iter().map(|error| error.text.trim().to_owned()).collect();
        self.report.generator = fields.text("generator");
        fields.rest(&mut self.report.extra);
    }

    /// Seconds since 1970, or what is sent in their place.
    fn instant(&mut self, range: &mut Fields, name: &str) -> Option<Timestamp> {
        let place = range.at(name);
        let text = self.required(range, name)?;
        period::seconds(&text).or_else(|| {
            let mut other = Deviations::new(1);
            let time = period::instant(&text, &place, &mut other);
            let (code, what) = match time {
                Some(_) => (DeviationCode::TimeNotation, "is not seconds since 1970"),
                None => (DeviationCode::NotATime, "is not a time"),
            };
            self.deviations.note(code, place, format!("{} {what}", excerpt(&text)));
            time
        })
    }

    fn policy(&mut self, element: Element) {
        let mut fields = Fields::new("/feedback/policy_published".to_owned(), element);
        let place = fields.at("domain");
        let domain = self.required(&mut fields, "domain").map(|domain| self.domain(&domain, &place));
        self.report.policy = PolicyPublished {
            domain,
            p: self.required(&mut fields, "p").map(|word| word.to_ascii_lowercase()),
            sp: fields.text("sp"),
            np: fields.text("np"),
            adkim: fields.text("adkim"),
            aspf: fields.text("aspf"),
            pct: fields.text("pct"),
            fo: fields.text("fo"),
            testing: fields.text("testing"),
            discovery_method: fields.text("discovery_method"),
        };
        fields.rest(&mut self.report.extra);
    }

    fn record(&mut self, element: Element) -> Record {
        let path = format!("/feedback/record[{}]", self.report.records.len() + 1);
        let mut extra = Vec::new();
        let mut fields = Fields::new(path, element);
        let mut row = self.part(&mut fields, "row");
        let place = row.at("source_ip");
        let source =
            self.required(&mut row, "source_ip").map(|text| Address::read(&text, &place, &mut self.deviations));
        let place = row.at("count");
        let messages = self.required(&mut row, "count").and_then(|text| {
            let count = text.parse().ok();
            if count.is_none() {
                self.deviations.note(DeviationCode::NotACount, place, format!("{} is not a count", excerpt(&text)));
            }
            count
        });
        let mut evaluated = self.part(&mut row, "policy_evaluated");
        let disposition = self.word::<Disposition>(&mut evaluated, "disposition");
        if disposition == Some(Disposition::Pass) && self.report.namespace != Namespace::Rfc9990 {
            let place = evaluated.at("disposition");
            self.deviations.note(DeviationCode::UnknownValue, place, "\"pass\" is not a disposition of RFC 7489");
        }
        let dkim = self.word::<Alignment>(&mut evaluated, "dkim");
        let spf = self.word::<Alignment>(&mut evaluated, "spf");
        let reasons = evaluated.take_all("reason");
        let reasons = reasons.into_iter().filter_map(|reason| self.reason(reason, &evaluated, &mut extra)).collect();
        evaluated.rest(&mut extra);
        row.rest(&mut extra);

        // RFC 7489's schema has `identifiers`, some senders `identities`.
        let mut identifiers = match fields.take("identities") {
            Some(element) => {
                let place = fields.at("identities");
                self.deviations.note(DeviationCode::MisspeltField, &place, "\"identities\" is read as identifiers");
                Fields::new(place, element)
            }
            None => self.part(&mut fields, "identifiers"),
        };
        let place = identifiers.at("header_from");
        let header_from = self.required(&mut identifiers, "header_from").map(|domain| self.domain(&domain, &place));
        let [envelope_from, envelope_to] =
            ["envelope_from", "envelope_to"].map(|name| identifiers.text(name).map(|text| text.to_lowercase()));
        identifiers.rest(&mut extra);

        let mut auth = self.part(&mut fields, "auth_results");
        let dkim_results = auth.take_rows("dkim");
        let dkim_results =
            dkim_results.into_iter().map(|(path, element)| self.dkim(path, element, &mut extra)).collect();
        let spf_results = auth.take_rows("spf");
        let spf_results = spf_results.into_iter().map(|(path, element)| self.spf(path, element, &mut extra)).collect();
        auth.rest(&mut extra);
        fields.rest(&mut extra);
        Record {
            source,
            messages,
            disposition,
            dkim,
            spf,
            reasons,
            header_from,
            envelope_from,
            envelope_to,
            dkim_results,
            spf_results,
            extra,
        }
    }

    /// A child that has children of its own, and has to be there.
    fn part(&mut self, fields: &mut Fields, name: &str) -> Fields {
        let place = fields.at(name);
        let element = fields.take(name).unwrap_or_else(|| {
            self.missing(place.clone());
            Element::default()
        });
        Fields::new(place, element)
    }

    /// `<reason>` has a type and a comment; some put a text there. An empty one says nothing.
    fn reason(&mut self, element: Element, evaluated: &Fields, extra: &mut Vec<Extra>) -> Option<Reason> {
        let text = element.text.trim().to_owned();
        let mut fields = Fields::new(evaluated.at("reason"), element);
        let kind = fields.text("type");
        let mut comment = fields.text("comment");
        if !text.is_empty() {
            let sentence = format!("the text {}, and no type", excerpt(&text));
            self.deviations.note(DeviationCode::WrongType, &fields.path, sentence);
            comment = comment.or(Some(text));
        }
        fields.rest(extra);
        (kind.is_some() || comment.is_some()).then_some(Reason { kind, comment })
    }

    fn dkim(&mut self, path: String, element: Element, extra: &mut Vec<Extra>) -> DkimAuth {
        let mut fields = Fields::new(path, element);
        let place = fields.at("domain");
        let auth = DkimAuth {
            domain: self.required(&mut fields, "domain").map(|domain| self.domain(&domain, &place)),
            selector: fields.text("selector"),
            result: self.word(&mut fields, "result"),
            human_result: fields.text("human_result"),
        };
        fields.rest(extra);
        auth
    }

    fn spf(&mut self, path: String, element: Element, extra: &mut Vec<Extra>) -> SpfAuth {
        let mut fields = Fields::new(path, element);
        let place = fields.at("domain");
        let domain = self.required(&mut fields, "domain").map(|domain| self.domain(&domain, &place));
        let mut result = self.word::<SpfResult>(&mut fields, "result");
        // As the drafts of SPF had it (RFC 8601 §2.7.2).
        if matches!(&result, Some(SpfResult::Other(word)) if word.eq_ignore_ascii_case("hardfail")) {
            result = Some(SpfResult::Fail);
        }
        let auth = SpfAuth { domain, scope: fields.text("scope"), result, human_result: fields.text("human_result") };
        fields.rest(extra);
        auth
    }

    fn word<T: Word>(&mut self, fields: &mut Fields, name: &str) -> Option<T> {
        let place = fields.at(name);
        let text = self.required(fields, name)?;
        let known = T::known().iter().find(|known| text.eq_ignore_ascii_case(known.word()));
        let Some(known) = known else {
            let sentence = format!("{} is not a word of the schema", excerpt(&text));
            self.deviations.note(DeviationCode::UnknownValue, place, sentence);
            return Some(T::other(text));
        };
        if text != known.word() {
            let sentence = format!("{} is read as {}", excerpt(&text), known.word());
            self.deviations.note(DeviationCode::MisspeltValue, place, sentence);
        }
        Some(known.clone())
    }

    /// A domain name in lower case without the dot at the end; what is none is kept in lower case. Names with an
    /// underscore sign mail too.
    fn domain(&mut self, text: &str, place: &str) -> String {
        let bare = text.trim_end_matches('.').to_lowercase();
        if HostName::parse(&bare.replace('_', "x")).is_err() {
            self.deviations.note(DeviationCode::NotAName, place, format!("{} is not a domain name", excerpt(text)));
        }
        bare
    }
}
