//! What lookups give back.

/// A conclusive "there is none".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Negative {
    /// The name does not exist, and nothing beneath it (RFC 8020).
    NxDomain,
    /// The name exists without records of the asked type (RFC 2308 §2.2).
    NoData,
}

/// The answer of one step along CNAMEs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CnameAnswer {
    /// The name is an alias of this one (lower-case, without the trailing dot).
    Target(String),
    /// The name is no alias.
    None(Negative),
}

/// A conclusive answer: records, or one of the two kinds of absence. "Could not find out" is
/// [`super::ResolveError`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup<T> {
    /// There are records.
    Found(T),
    /// The name exists without records of this type.
    NoData,
    /// The name does not exist.
    NxDomain,
}

impl<T> Lookup<T> {
    /// The records, if there are any.
    pub fn found(self) -> Option<T> {
        match self {
            Self::Found(records) => Some(records),
            Self::NoData | Self::NxDomain => None,
        }
    }

    /// The same answer with other contents.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Lookup<U> {
        match self {
            Self::Found(records) => Lookup::Found(f(records)),
            Self::NoData => Lookup::NoData,
            Self::NxDomain => Lookup::NxDomain,
        }
    }
}

impl<T> From<Negative> for Lookup<T> {
    fn from(negative: Negative) -> Self {
        match negative {
            Negative::NxDomain => Self::NxDomain,
            Negative::NoData => Self::NoData,
        }
    }
}

/// The mail exchangers of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MxSet {
    /// RFC 7505: the domain says that it takes no mail.
    Null,
    /// By preference, then by name. Not empty.
    Hosts(Vec<Mx>),
}

/// One MX record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mx {
    /// Lower is asked first (RFC 5321 §5.1).
    pub preference: u16,
    /// Lower-case, without the trailing dot. A stranger chose it: parse it before use.
    pub host: String,
}

/// The TLSA records of a service (RFC 6698 §2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsaSet {
    /// Each as in a zone file: usage, selector, matching type, and the data in lower-case hexadecimal. Not empty.
    pub records: Vec<String>,
    /// The resolver says that it validated them by DNSSEC (RFC 4035 §3.2.3). Without that, DANE does not apply.
    pub authenticated: bool,
}

/// The relevant CAA record set (RFC 8659 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaaSet {
    /// The name at which it was found: the asked one or an ancestor.
    pub owner: String,
    /// Not empty.
    pub records: Vec<Caa>,
}

/// One CAA record (RFC 8659 §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caa {
    /// Bit 0 (128): a CA that does not know the tag must not issue.
    pub critical: bool,
    /// Lower-case, such as `issue`.
    pub tag: String,
    /// As published; octets that are not UTF-8 are replaced.
    pub value: String,
}
