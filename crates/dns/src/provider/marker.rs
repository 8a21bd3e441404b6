//! How an installation tells its own records from a stranger's.

use std::fmt;

use mtasts_model::feed::RecordType;

/// What an installation writes beside each of its record sets: as the record's comment where a provider has comments,
/// and as a TXT record at [`Marker::name_for`] elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    owner: String,
}

/// Why a text cannot name an installation.
#[derive(Debug, thiserror::Error)]
#[error("the owner's name in markers needs 1 to 40 characters of a-z, 0-9, `-`, `_` and `.`")]
pub struct OwnerError;

const FIRST: &str = "_mtasts-";

impl Marker {
    /// The marker of the installation with this name. Two installations that share a zone need different names.
    pub fn new(owner: &str) -> Result<Self, OwnerError> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
        if owner.is_empty() || owner.len() > 40 || !owner.bytes().all(fits) {
            return Err(OwnerError);
        }
        Ok(Self { owner: owner.to_owned() })
    }

    /// Where the marker of a record set stands, for providers without comments. A wildcard's stands beside it: a name
    /// beneath `*` would be no wildcard (RFC 4592 §2.1.1).
    pub fn name_for(&self, name: &str, record_type: RecordType) -> String {
        let word = record_type.as_str().to_ascii_lowercase();
        match name.strip_prefix("*.") {
            Some(rest) => format!("{FIRST}{word}._wildcard.{rest}"),
            None => format!("{FIRST}{word}.{name}"),
        }
    }
}

/// The name and type of the record set whose marker stands at this name; `None` if it is no marker's name.
pub fn marked_name(name: &str) -> Option<(String, RecordType)> {
    let (first, rest) = name.split_once('.')?;
    let word = first.strip_prefix(FIRST)?;
    let record_type = RecordType::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(word))?;
    let name = rest.strip_prefix("_wildcard.").map_or_else(|| rest.to_owned(), |rest| format!("*.{rest}"));
    Some((name, record_type))
}

impl fmt::Display for Marker {
    /// The text of the marker.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "heritage=mtasts,owner={}", self.owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_stands_beneath_its_record_and_leads_back_to_it() {
        let marker = Marker::new("mtasts-1").unwrap();
        assert_eq!(marker.to_string(), "heritage=mtasts,owner=mtasts-1");
        for (name, record_type, at) in [
            ("a._mta-sts.sts.test", RecordType::Txt, "_mtasts-txt.a._mta-sts.sts.test"),
            ("*.edge.sts.test", RecordType::Aaaa, "_mtasts-aaaa._wildcard.edge.sts.test"),
        ] {
            assert_eq!(marker.name_for(name, record_type), at);
            assert_eq!(marked_name(at), Some((name.to_owned(), record_type)));
        }
        for other in ["a._mta-sts.sts.test", "_mtasts-mx.a.sts.test", "_mtasts-txt"] {
            assert_eq!(marked_name(other), None, "{other}");
        }
    }

    #[test]
    fn an_owner_that_could_be_mistaken_for_more_is_refused() {
        for bad in ["", "a,owner=b", "A", "a b", &"a".repeat(41)] {
            assert!(Marker::new(bad).is_err(), "{bad:?}");
        }
    }
}
