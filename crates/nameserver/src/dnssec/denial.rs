//! NSEC records that cover one name and no more (RFC 9824 §3).

use hickory_proto::{
    dnssec::rdata::{DNSSECRData, NSEC},
    rr::{Name, RData, RecordType},
};

/// In the type bitmap of a name that does not exist (RFC 9824 §2).
pub(super) const NXNAME: RecordType = RecordType::Unknown(128);

const MAX_LABEL: usize = 63;
/// RFC 1035 §3.1, with the octet of the root.
const MAX_NAME: usize = 255;

/// The NSEC record at `name`, which has sets of these types besides NSEC and RRSIG.
pub(super) fn nsec(name: &Name, origin: &Name, types: impl IntoIterator<Item = RecordType>) -> RData {
    RData::DNSSEC(DNSSECRData::NSEC(NSEC::new_cover_self(successor(name, origin), types)))
}

/// The first name after `name` in canonical order (RFC 4034 §6.1), lower-case: the absolute method of RFC 4471 §3.1.2.
/// The origin after the last one of the zone.
fn successor(name: &Name, origin: &Name) -> Name {
    let name = name.to_lowercase();
    // A child with the least label, but for names that have no room for one.
    if let Ok(child) = name.prepend_label(&[0_u8][..]) {
        return child;
    }
    let mut labels: Vec<Vec<u8>> = name.iter().map(<[u8]>::to_vec).collect();
    let depth = origin.iter().count();
    while labels.len() > depth {
        let length: usize = 1 + labels.iter().map(|label| 1 + label.len()).sum::<usize>();
        let label = &mut labels[0];
        if label.len() < MAX_LABEL && length < MAX_NAME {
            label.push(0);
            return absolute(&labels, origin);
        }
        // The next label of at most this length.
        while let Some(last) = label.pop() {
            if last < u8::MAX {
                label.push(after(last));
                return absolute(&labels, origin);
            }
        }
        labels.remove(0);
    }
    origin.clone()
}

/// The next octet in canonical order, which knows no capitals.
fn after(octet: u8) -> u8 {
    match octet + 1 {
        b'A'..=b'Z' => b'Z' + 1,
        next => next,
    }
}

/// The labels are no longer than those of a name.
fn absolute(labels: &[Vec<u8>], origin: &Name) -> Name {
    Name::from_labels(labels.iter().map(Vec::as_slice)).unwrap_or_else(|_| origin.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(labels: &[&[u8]]) -> Name {
        Name::from_labels(labels.iter().copied()).unwrap()
    }

    fn check(labels: &[&[u8]], expected: &[&[u8]]) {
        let origin = named(&[b"sts", b"example"]);
        assert_eq!(successor(&named(labels), &origin), named(expected));
    }

    #[test]
    fn the_successor_is_the_least_child() {
        check(&[b"sts", b"example"], &[b"\0", b"sts", b"example"]);
        check(&[b"A", b"sts", b"example"], &[b"\0", b"a", b"sts", b"example"]);
    }

    #[test]
    fn where_no_child_fits_the_next_sibling_of_the_nearest_name_follows() {
        let full = [b'x'; 63];
        let origin: [&[u8]; 2] = [b"sts", b"example"];
        // 255 octets: 3 * 64 and 13 for the origin leave 50, one of which is the length.
        let with = |first: &[u8]| {
            let labels = [first, &full, &full, &full, origin[0], origin[1]];
            labels.iter().map(|label| label.to_vec()).collect::<Vec<_>>()
        };
        let check = |from: Vec<Vec<u8>>, to: Vec<Vec<u8>>| {
            let origin = named(&origin);
            let from = Name::from_labels(from.iter().map(Vec::as_slice)).unwrap();
            assert_eq!(successor(&from, &origin), Name::from_labels(to.iter().map(Vec::as_slice)).unwrap());
        };
        let mut first = [b'a'; 49];
        let mut next = first;
        next[48] = b'b';
        check(with(&first), with(&next));
        first[48] = b'@';
        next[48] = b'[';
        check(with(&first), with(&next));
        first[47..].copy_from_slice(b"a\xff");
        check(with(&first), {
            let mut shorter = with(&first);
            shorter[0].pop();
            shorter[0][47] = b'b';
            shorter
        });
        // 254 octets: too long for a child, not for an octet more.
        check(with(&[b'a'; 48]), with(&[&[b'a'; 48][..], b"\0"].concat()));
        // All of its kind are used up: the next sibling of the parent.
        check(with(&[0xff; 49]), {
            let mut above = with(b"")[1..].to_vec();
            above[0][62] = b'y';
            above
        });
    }

    proptest! {
        #[test]
        fn the_successor_is_later_and_of_the_zone_or_the_origin(
            labels in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..64), 0..5),
        ) {
            let origin = named(&[b"sts", b"example"]);
            let all = labels.iter().map(Vec::as_slice).chain([&b"sts"[..], b"example"]);
            let Ok(name) = Name::from_labels(all) else { return Ok(()) };
            let next = successor(&name, &origin);
            prop_assert!(origin.zone_of(&next));
            prop_assert!(next == origin || name < next, "{name} {next}");
        }
    }
}
