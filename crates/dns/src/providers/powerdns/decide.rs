//! What is to be done for one change, from what stands at its name and at its marker's.

use mtasts_model::feed::{RecordData, RecordType};

use super::{
    content,
    sets::{SetChange, Standing},
};
use crate::provider::{Marker, ProviderError, RecordChange};

/// The TTL of markers, in seconds: nobody but this service reads them.
const MARKER_TTL: u32 = 300;

/// What stands at a marker's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marking<'a> {
    /// Nothing.
    Absent,
    /// Our marker, and nothing else.
    Ours,
    /// Something that is not our marker.
    Theirs(&'a [Standing]),
}

impl Marking<'_> {
    pub(super) fn is_ours(self) -> bool {
        self == Self::Ours
    }
}

/// Reads what stands at a marker's name.
pub(super) fn marking<'a>(marker: &Marker, at_marker: &'a [Standing]) -> Marking<'a> {
    match at_marker {
        [] => Marking::Absent,
        [one] if one.is(RecordType::Txt) && one.disabled == 0 && one.is_text(&marker.to_string()) => Marking::Ours,
        _ => Marking::Theirs(at_marker),
    }
}

/// The sets to be written in one transaction; none when all is as it was wanted.
pub(super) type Sets = Vec<SetChange>;

/// Decides. `marking` is that of the change's own set.
pub(super) fn decide(
    change: &RecordChange,
    marker: &Marker,
    at_name: &[Standing],
    marking: Marking<'_>,
) -> Result<Sets, ProviderError> {
    let standing = at_name.iter().find(|set| set.is(change.record_type));
    let (name, record_type) = (change.name.as_str(), change.record_type);
    let marker_name = marker.name_for(name, record_type);
    let conflict = |found: String| ProviderError::Conflict {
        name: name.to_owned(),
        record_type,
        wanted: change.set.as_ref().map_or_else(|| "nothing".to_owned(), RecordData::shown),
        found,
    };
    let Some(wanted) = &change.set else {
        let unmark = SetChange::delete(&marker_name, RecordType::Txt);
        return match (standing, marking) {
            (Some(_), Marking::Ours) => Ok(vec![SetChange::delete(name, record_type), unmark]),
            (Some(set), _) => Err(conflict(set.shown(record_type))),
            (None, Marking::Ours) => Ok(vec![unmark]),
            (None, _) => Ok(Vec::new()),
        };
    };

    let (values, contents) = written(record_type, wanted)?;
    if let Some(other) = at_name.iter().find(|other| clashes(other, record_type)) {
        return Err(ProviderError::TypeClash { name: name.to_owned(), record_type, found: other.told() });
    }
    let write = SetChange::replace(name, record_type, wanted.ttl, contents);
    let mark = || {
        let content = content::quoted(marker.to_string().as_bytes());
        SetChange::replace(&marker_name, RecordType::Txt, MARKER_TTL, vec![content])
    };
    let wanted = RecordData { ttl: wanted.ttl, values };
    let is_wanted = |set: &Standing| set.disabled == 0 && set.data(record_type).same_values(&wanted);
    match (standing, marking) {
        (_, Marking::Theirs(found)) => {
            let found = standing.map_or_else(
                || found.iter().map(Standing::told).collect::<Vec<_>>().join(", "),
                |set| set.shown(record_type),
            );
            Err(conflict(found))
        }
        (None, _) => Ok(vec![write, mark()]),
        (Some(set), Marking::Ours) if is_wanted(set) && set.ttl == wanted.ttl => Ok(Vec::new()),
        (Some(_), Marking::Ours) => Ok(vec![write]),
        (Some(set), Marking::Absent) if is_wanted(set) => Ok(vec![mark()]),
        (Some(set), Marking::Absent) => Err(conflict(set.shown(record_type))),
    }
}

/// The values in their canonical form, and as the API wants them.
fn written(record_type: RecordType, wanted: &RecordData) -> Result<(Vec<String>, Vec<String>), ProviderError> {
    let (mut values, mut contents) = (Vec::new(), Vec::new());
    for value in &wanted.values {
        let (value, content) =
            content::write(record_type, value).map_err(|error| ProviderError::Refused { reason: error.to_string() })?;
        // A set has each value once (RFC 2181 §5).
        if !values.contains(&value) {
            values.push(value);
            contents.push(content);
        }
    }
    if contents.is_empty() {
        return Err(ProviderError::Refused { reason: format!("a {record_type} set needs a value") });
    }
    Ok((values, contents))
}

/// RFC 1034 §3.6.2: a CNAME stands alone.
pub(super) fn clashes(other: &Standing, record_type: RecordType) -> bool {
    let is_alias = record_type == RecordType::Cname || other.is(RecordType::Cname);
    is_alias && !other.is(record_type) && !other.contents.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Known;

    const NAME: &str = "a._mta-sts.sts.test";

    fn standing(kind: &str, contents: &[&str]) -> Standing {
        let contents = contents.iter().map(|&text| text.to_owned()).collect();
        Standing { kind: kind.to_owned(), ttl: 60, contents, disabled: 0 }
    }

    fn ours() -> Marker {
        Marker::new("ours").unwrap()
    }

    fn decided(values: Option<&[&str]>, at_name: &[Standing], at_marker: &[Standing]) -> Result<String, ProviderError> {
        let set = values.map(|values| RecordData { ttl: 60, values: values.iter().map(|&v| v.to_owned()).collect() });
        let change = RecordChange { name: NAME.to_owned(), record_type: RecordType::Txt, set, known: Known::Perhaps };
        let sets = decide(&change, &ours(), at_name, marking(&ours(), at_marker))?;
        Ok(sets.iter().map(SetChange::told).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn only_what_is_wrong_and_ours_is_written() {
        let mark = standing("TXT", &["\"heritage=mtasts,owner=ours\""]);
        let theirs = standing("TXT", &["\"heritage=mtasts,owner=theirs\""]);
        let both = standing("TXT", &["\"heritage=mtasts,owner=theirs\"", "\"heritage=mtasts,owner=ours\""]);
        let set = standing("TXT", &["\"b\"", "\"a\""]);
        let set_and_mark = "REPLACE a._mta-sts.sts.test., REPLACE _mtasts-txt.a._mta-sts.sts.test.";
        let (set, mark) = (std::slice::from_ref(&set), std::slice::from_ref(&mark));
        for (values, at_name, at_marker, expected) in [
            (Some(["a", "b"].as_slice()), [].as_slice(), [].as_slice(), set_and_mark),
            (Some(&["a"]), &[], mark, set_and_mark),
            (Some(&["a", "b", "a"]), set, mark, ""),
            (Some(&["a"]), set, mark, "REPLACE a._mta-sts.sts.test."),
            (Some(&["a", "b"]), set, &[], "REPLACE _mtasts-txt.a._mta-sts.sts.test."),
            (Some(&["a"]), &[standing("A", &["192.0.2.1"])], &[], set_and_mark),
            (None, &[], &[], ""),
            (None, set, mark, "DELETE a._mta-sts.sts.test., DELETE _mtasts-txt.a._mta-sts.sts.test."),
            (None, &[], mark, "DELETE _mtasts-txt.a._mta-sts.sts.test."),
            (None, &[], std::slice::from_ref(&theirs), ""),
        ] {
            assert_eq!(decided(values, at_name, at_marker).unwrap(), expected, "{values:?} {at_name:?} {at_marker:?}");
        }
        for (values, at_name, at_marker, reason) in [
            (Some(["a"].as_slice()), set, [].as_slice(), "DnsRecordConflict"),
            (Some(&["a", "b"]), set, std::slice::from_ref(&theirs), "DnsRecordConflict"),
            (Some(&["a", "b"]), set, &[both], "DnsRecordConflict"),
            (Some(&["a"]), &[], std::slice::from_ref(&theirs), "DnsRecordConflict"),
            (None, set, &[], "DnsRecordConflict"),
            (None, set, std::slice::from_ref(&theirs), "DnsRecordConflict"),
            (Some(&["a"]), &[standing("CNAME", &["x.test."])], mark, "DnsRecordTypeClash"),
            (Some(&[]), set, mark, "DnsChangeRefused"),
        ] {
            let error = decided(values, at_name, at_marker).unwrap_err();
            assert_eq!(error.reason(), reason, "{values:?} {at_name:?} {at_marker:?}");
        }
    }

    #[test]
    fn disabled_records_are_neither_right_nor_free_to_be_replaced() {
        let mark = standing("TXT", &["\"heritage=mtasts,owner=ours\""]);
        let partly = Standing { disabled: 1, ..standing("TXT", &["\"a\""]) };
        let wholly = Standing { disabled: 2, ..standing("TXT", &[]) };
        for set in [&partly, &wholly] {
            let set = std::slice::from_ref(set);
            assert_eq!(
                decided(Some(&["a"]), set, std::slice::from_ref(&mark)).unwrap(),
                "REPLACE a._mta-sts.sts.test."
            );
            for values in [Some(["a"].as_slice()), None] {
                assert_eq!(decided(values, set, &[]).unwrap_err().reason(), "DnsRecordConflict");
            }
        }
        assert_eq!(partly.shown(RecordType::Txt), "\"a\" and 1 disabled");
        assert_eq!(wholly.shown(RecordType::Txt), "2 disabled");
        let alias = Standing { disabled: 1, ..standing("CNAME", &[]) };
        assert!(decided(Some(&["a"]), &[alias], &[]).is_ok(), "nobody is led astray by it");
    }

    #[test]
    fn another_ttl_is_put_right() {
        let mut set = standing("TXT", &["\"a\""]);
        set.ttl = 5;
        let mark = standing("TXT", &["\"heritage=mtasts,owner=ours\""]);
        assert_eq!(decided(Some(&["a"]), &[set], &[mark]).unwrap(), "REPLACE a._mta-sts.sts.test.");
    }
}
