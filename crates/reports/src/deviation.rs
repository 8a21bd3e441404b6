//! Where a report departs from its RFC and was read all the same.

use serde::{Serialize, Serializer};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// What kind of departure it is. The words are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DeviationCode {
            $($(#[$doc])* $variant,)*
        }

        impl DeviationCode {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable word.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

codes! {
    // On the way to the document.
    /// The declared media type or file name says something else than the content.
    WrongMediaType = "wrong-media-type",
    /// A line above the 998 octets of RFC 5322 §2.1.1.
    LineTooLong = "line-too-long",
    /// Octets in base64 that do not belong there (RFC 2045 §6.8 has them ignored).
    StrayOctets = "stray-octets",
    /// The declared transfer encoding is not the one that was used.
    WrongTransferEncoding = "wrong-transfer-encoding",
    /// A multipart without the boundary that it declares.
    BoundaryMissing = "boundary-missing",
    /// A multipart that ends before its last boundary.
    MultipartCutOff = "multipart-cut-off",
    /// Text put ahead of the document, by a gateway.
    BannerAhead = "banner-ahead",
    /// Octets behind the end of a compressed stream or a document.
    TrailingOctets = "trailing-octets",
    /// A checksum or a length that does not fit what was inflated, or an end that is missing.
    ChecksumMismatch = "checksum-mismatch",
    /// The report is within another message.
    NestedMessage = "nested-message",

    // In any document.
    /// A byte order mark.
    ByteOrderMark = "byte-order-mark",
    /// UTF-16, where UTF-8 is asked for.
    Utf16 = "utf-16",
    /// Octets that are not UTF-8; each run is read as U+FFFD.
    InvalidUtf8 = "invalid-utf-8",
    /// A field that has to be there is not.
    MissingField = "missing-field",
    /// `null`, where a value has to be.
    NullField = "null-field",
    /// An empty text, where a value has to be.
    EmptyField = "empty-field",
    /// The same field twice; the first counts.
    DuplicateField = "duplicate-field",
    /// A field whose name is spelt in another way.
    MisspeltField = "misspelt-field",
    /// A value of another type than it should have.
    WrongType = "wrong-type",
    /// A number written as a text.
    NumberAsText = "number-as-text",
    /// What should be a count is none.
    NotACount = "not-a-count",
    /// What should be a time is none.
    NotATime = "not-a-time",
    /// What should be an IP address is none.
    NotAnAddress = "not-an-address",
    /// What should be a domain name is none.
    NotAName = "not-a-name",
    /// A time in another notation than RFC 3339's.
    TimeNotation = "time-notation",
    /// A time without a zone; read as UTC.
    TimeWithoutZone = "time-without-zone",
    /// The end is the next midnight; read as the second before.
    EndIsNextMidnight = "end-is-next-midnight",
    /// The period ends before it begins.
    PeriodBackwards = "period-backwards",
    /// The period is not a day.
    PeriodNotADay = "period-not-a-day",
    /// A word that the RFC does not know; kept as it is.
    UnknownValue = "unknown-value",
    /// A word that the RFC knows in another spelling.
    MisspeltValue = "misspelt-value",
    /// White space or brackets around a value.
    Untrimmed = "untrimmed",
    /// A row that is not one; kept as it came, in `unread`.
    UnreadRow = "unread-row",
    /// A report without a row.
    NoRows = "no-rows",

    // In a TLS-RPT report.
    /// Line ends within texts, lone surrogates, unknown escapes, or a comma behind the last element.
    MendedJson = "mended-json",
    /// One document within a list.
    WrappedInList = "wrapped-in-list",
    /// One value, where a list has to be.
    NotAList = "not-a-list",
    /// A list of texts as one JSON text within an element.
    ListAsJsonText = "list-as-json-text",
    /// Several lines in one element of the policy.
    SeveralLines = "several-lines",
    /// `mx-host` with the policy's key before it.
    MxHostWithKey = "mx-host-with-key",
    /// The policy domain of `tlsa` is the mail domain and not the MX host (RFC 8460 §4.4).
    TlsaPolicyDomain = "tlsa-policy-domain",
    /// The summary counts other failures than the details do.
    SumsDisagree = "sums-disagree",
    /// A prefix in place of an address.
    AddressPrefix = "address-prefix",

    // In a DMARC report.
    /// A namespace that no RFC names.
    UnknownNamespace = "unknown-namespace",
    /// A reference to an entity; never expanded, kept as it is.
    EntityReference = "entity-reference",
    /// A row that is not well-formed XML, or a document that breaks off; `complete` is false.
    CutOff = "cut-off",
}

impl Serialize for DeviationCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One departure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deviation {
    /// Its kind.
    pub code: DeviationCode,
    /// Where: a JSON pointer (RFC 6901), an XML path (`/feedback/record[2]/row/count`), or the place in the message
    /// or archive.
    pub place: String,
    /// What was found, and how it was read.
    pub sentence: String,
}

/// The departures of one document: so many one by one, and the number of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Deviations {
    #[serde(rename = "deviations")]
    list: Vec<Deviation>,
    #[serde(rename = "further_deviations")]
    further: u64,
    #[serde(skip)]
    limit: usize,
}

impl Deviations {
    pub(crate) fn new(limit: usize) -> Self {
        Self { list: Vec::new(), further: 0, limit }
    }

    pub(crate) fn note(&mut self, code: DeviationCode, place: impl Into<String>, sentence: impl Into<String>) {
        if self.list.len() < self.limit {
            self.list.push(Deviation { code, place: place.into(), sentence: sentence.into() });
        } else {
            self.further += 1;
        }
    }

    /// Those that are told one by one, in the order of the document.
    pub fn list(&self) -> &[Deviation] {
        &self.list
    }

    /// How many more there are.
    pub fn further(&self) -> u64 {
        self.further
    }

    /// Whether one of this kind is told.
    pub fn has(&self, code: DeviationCode) -> bool {
        self.list.iter().any(|deviation| deviation.code == code)
    }
}

/// A stranger's text, short enough for a sentence.
pub(crate) fn excerpt(text: &str) -> String {
    format!("{:?}", shortened(text, 80))
}

/// At most so many characters, and a sign that there were more.
pub(crate) fn shortened(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
