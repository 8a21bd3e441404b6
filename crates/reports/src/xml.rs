//! XML, read element by element. Document types are refused and entities never expanded, so nothing grows.

use std::borrow::Cow;

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};
use serde::Serialize;

use crate::{
    DeviationCode, Deviations, Limits, Unreadable,
    deviation::{excerpt, shortened},
};

/// An element with its text and its children.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Element {
    /// Without its prefix. Attributes are children with `@` before their name.
    pub name: String,
    /// Its text, that of its children left out.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// What is in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Element>,
}

/// The name of what a report has many of.
const ROW: &str = "record";

const ENDS_WITHIN: &str = "it ends within an element";

fn reader(text: &str) -> Reader<&[u8]> {
    let mut reader = Reader::from_str(text);
    // A lone `&` is met in comments and names.
    reader.config_mut().allow_dangling_amp = true;
    reader
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Next {
    /// A child of the root, complete.
    Child(Element),
    /// The root's end; whether anything but white space follows is noted.
    End,
    /// It is not XML from here on, or at least until [`Children::resume`].
    Broken {
        /// Counted from 0.
        offset: usize,
        reason: String,
    },
}

/// The children of a document's root, one at a time.
pub(crate) struct Children<'a, 'l> {
    text: &'a str,
    reader: Reader<&'a [u8]>,
    /// Where in the text the reader began.
    base: usize,
    limits: &'l Limits,
    values: usize,
    /// The root's name, without its prefix.
    pub(crate) root: String,
    /// The namespace that the root's name is in, if it declares one.
    pub(crate) namespace: Option<String>,
    /// The root has ended.
    ended: bool,
}

impl<'a, 'l> Children<'a, 'l> {
    pub(crate) fn open(text: &'a str, limits: &'l Limits, deviations: &mut Deviations) -> Result<Self, Unreadable> {
        let text = text.trim_start();
        let mut reader = reader(text);
        loop {
            let offset = reader.buffer_position();
            let (start, ended) = match reader.read_event() {
                Ok(Event::Start(start)) => (start, false),
                Ok(Event::Empty(start)) => (start, true),
                Ok(Event::DocType(_)) => return Err(Unreadable::Dtd),
                Ok(Event::Eof) => return Err(Unreadable::NotAReport { what: "XML without an element" }),
                Ok(Event::Text(text)) if !text.trim().is_empty() => {
                    return Err(Unreadable::Xml { offset, reason: "text ahead of the first element".to_owned() });
                }
                Ok(_) => continue,
                Err(error) => return Err(Unreadable::Xml { offset, reason: shortened(&error.to_string(), 200) }),
            };
            let root = start.local_name().into_inner().to_owned();
            let namespace = namespace(&start, deviations);
            return Ok(Self { text, reader, base: 0, limits, values: 0, root, namespace, ended });
        }
    }

    /// The root's next child.
    pub(crate) fn next(&mut self, deviations: &mut Deviations) -> Result<Next, Unreadable> {
        if self.ended {
            return Ok(Next::End);
        }
        loop {
            let offset = self.reader.buffer_position();
            match self.reader.read_event() {
                Ok(Event::Start(start)) => {
                    let element = self.named(&start)?;
                    return self.element(element, deviations);
                }
                Ok(Event::Empty(start)) => return Ok(Next::Child(self.named(&start)?)),
                Ok(Event::End(_)) => {
                    self.ended = true;
                    self.trailing(deviations);
                    return Ok(Next::End);
                }
                Ok(Event::DocType(_)) => return Err(Unreadable::Dtd),
                Ok(Event::Eof) => return Ok(self.broken(offset, ENDS_WITHIN)),
                Ok(_) => {}
                Err(error) => return Ok(self.broken(offset, &error.to_string())),
            }
        }
    }

    fn broken(&self, offset: u64, reason: &str) -> Next {
        let offset = self.base + usize::try_from(offset).unwrap_or(usize::MAX - self.base);
        Next::Broken { offset, reason: shortened(reason, 200) }
    }

    /// Goes on with the next row from an offset on: what is broken in one loses no other. False if there is none.
    pub(crate) fn resume(&mut self, offset: usize) -> bool {
        let is_row = |at: usize| {
            let behind = self.text[at..].strip_prefix('<').and_then(|rest| rest.strip_prefix(ROW));
            behind.is_some_and(|rest| {
                rest.starts_with(|char: char| char.is_ascii_whitespace() || matches!(char, '>' | '/'))
            })
        };
        // Further than it began, so that each try leads on.
        let from = offset.max(self.base + 1);
        let rest = self.text.get(from..).unwrap_or_default();
        let Some(at) = rest.match_indices('<').map(|(at, _)| from + at).find(|at| is_row(*at)) else { return false };
        self.base = at;
        self.reader = reader(&self.text[at..]);
        // The root's end, whose start the new reader has not seen.
        self.reader.config_mut().allow_unmatched_ends = true;
        true
    }

    /// White space and comments behind the root are nothing to tell.
    fn trailing(&mut self, deviations: &mut Deviations) {
        loop {
            match self.reader.read_event() {
                Ok(Event::Eof) => return,
                Ok(Event::Comment(_) | Event::PI(_)) => {}
                Ok(Event::Text(text)) if text.trim().is_empty() => {}
                Ok(_) | Err(_) => {
                    deviations.note(
                        DeviationCode::TrailingOctets,
                        "",
                        "what is behind the report's end was passed over",
                    );
                    return;
                }
            }
        }
    }

    fn count(&mut self) -> Result<(), Unreadable> {
        self.values += 1;
        if self.values > self.limits.values {
            return Err(Unreadable::TooManyValues { limit: self.limits.values });
        }
        Ok(())
    }

    /// An element with its attributes, of which those that cannot be read are left out.
    fn named(&mut self, start: &BytesStart<'_>) -> Result<Element, Unreadable> {
        self.count()?;
        let mut element = Element { name: name(start.local_name().into_inner()), ..Element::default() };
        for attribute in start.attributes().with_checks(false).flatten() {
            if attribute.key.as_namespace_binding().is_some() {
                continue;
            }
            self.count()?;
            let text = attribute.normalized_value(XmlVersion::Implicit1_0);
            let text = text.map_or_else(|_| attribute.value.to_string(), Cow::into_owned);
            let name = name(&format!("@{}", attribute.key.local_name().into_inner()));
            element.children.push(Element { name, text, children: Vec::new() });
        }
        Ok(element)
    }

    /// Reads the content of an element whose start was read.
    fn element(&mut self, outermost: Element, deviations: &mut Deviations) -> Result<Next, Unreadable> {
        let mut open = vec![outermost];
        loop {
            let offset = self.reader.buffer_position();
            let event = match self.reader.read_event() {
                Ok(event) => event,
                Err(error) => return Ok(self.broken(offset, &error.to_string())),
            };
            let closed = match event {
                Event::Start(start) => {
                    // The one before was never closed.
                    if start.local_name().into_inner() == ROW && open[0].name == ROW {
                        return Ok(self.broken(offset, "a record within a record"));
                    }
                    if open.len() >= self.limits.depth() {
                        return Err(Unreadable::TooDeep { limit: self.limits.depth() });
                    }
                    let element = self.named(&start)?;
                    open.push(element);
                    continue;
                }
                Event::Empty(start) => Some(self.named(&start)?),
                Event::End(_) => open.pop(),
                Event::Text(text) => {
                    add(&mut open, &text);
                    continue;
                }
                Event::CData(text) => {
                    add(&mut open, &text);
                    continue;
                }
                Event::GeneralRef(reference) => {
                    if let Some(char) = resolve(&reference) {
                        add(&mut open, char.encode_utf8(&mut [0; 4]));
                    } else {
                        let sentence = format!("the entity {} is kept as it is", excerpt(&reference));
                        let place = open.iter().fold(String::new(), |place, element| place + "/" + &element.name);
                        deviations.note(DeviationCode::EntityReference, format!("/{}{place}", self.root), sentence);
                        add(&mut open, &format!("&{};", &*reference));
                    }
                    continue;
                }
                Event::DocType(_) => return Err(Unreadable::Dtd),
                Event::Eof => return Ok(self.broken(offset, ENDS_WITHIN)),
                Event::Comment(_) | Event::PI(_) | Event::Decl(_) => continue,
            };
            let Some(closed) = closed else { continue };
            match open.last_mut() {
                Some(parent) => parent.children.push(closed),
                None => return Ok(Next::Child(closed)),
            }
        }
    }
}

/// A name, which is in the path of all that is in the element: so no longer than names are.
fn name(text: &str) -> String {
    shortened(text, 100)
}

fn add(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

/// The five that XML itself has, and characters by number.
fn resolve(reference: &quick_xml::events::BytesRef<'_>) -> Option<char> {
    match &**reference {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "apos" => Some('\''),
        "quot" => Some('"'),
        _ => reference.resolve_char_ref().ok().flatten(),
    }
}

/// The namespace of an element's own name.
fn namespace(start: &BytesStart<'_>, deviations: &mut Deviations) -> Option<String> {
    let prefix = start.name().prefix().map(|prefix| prefix.into_inner().to_owned());
    let wanted = prefix.map_or_else(|| "xmlns".to_owned(), |prefix| format!("xmlns:{prefix}"));
    let attribute = start.try_get_attribute(wanted.as_str()).ok().flatten()?;
    let value = attribute.normalized_value(XmlVersion::Implicit1_0);
    match value {
        Ok(value) => Some(value.trim().to_owned()).filter(|value| !value.is_empty()),
        Err(error) => {
            deviations.note(
                DeviationCode::UnknownNamespace,
                "/feedback",
                format!("its namespace is unreadable: {error}"),
            );
            None
        }
    }
}

/// The encoding that an XML declaration names, in lower case.
pub(crate) fn declared_encoding(bytes: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes)).to_ascii_lowercase();
    let declaration = head.trim_start_matches(|char: char| char.is_whitespace() || char == '\u{feff}');
    let declaration = declaration.strip_prefix("<?xml")?.split("?>").next()?;
    let value = declaration.split("encoding").nth(1)?.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|char| matches!(char, '"' | '\''))?;
    value[1..].split(quote).next().map(str::to_owned)
}
