//! The canonical form of a line, and its hash: what the function `audit_hash` of the database writes, written here anew,
//! so that whoever changes the function in the database changes no verdict.

use sea_orm::FromQueryResult;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::HASH_LENGTH;

/// The first field: a later form would have another.
const FORM: &[u8] = b"mtasts audit 1";

/// A line as it is hashed.
#[derive(Debug, FromQueryResult)]
pub(super) struct Content {
    pub(super) tenant_id: Uuid,
    pub(super) id: Uuid,
    /// Microseconds since 1970.
    pub(super) at_micros: i64,
    pub(super) actor: String,
    pub(super) source: Option<String>,
    pub(super) request_id: Option<String>,
    pub(super) action: String,
    pub(super) object: String,
    /// JSON as the text that Postgres shows.
    pub(super) before_text: Option<String>,
    pub(super) after_text: Option<String>,
}

impl Content {
    /// Whether nothing of it is left but what it was and when: see `Store::erase_tenant`.
    pub(super) fn is_erased(&self) -> bool {
        self.actor == "erased"
            && [&self.source, &self.request_id, &self.before_text, &self.after_text].into_iter().all(Option::is_none)
    }

    /// Its hash with this number, after the line with this hash.
    pub(super) fn hash(&self, seq: i64, previous: &[u8]) -> [u8; HASH_LENGTH] {
        let text = |text: &Option<String>| text.as_ref().map(|text| text.as_bytes().to_vec());
        let fields = [
            Some(FORM.to_vec()),
            Some(self.tenant_id.as_bytes().to_vec()),
            Some(seq.to_be_bytes().to_vec()),
            Some(previous.to_vec()),
            Some(self.id.as_bytes().to_vec()),
            Some(self.at_micros.to_be_bytes().to_vec()),
            Some(self.actor.as_bytes().to_vec()),
            text(&self.source),
            text(&self.request_id),
            Some(self.action.as_bytes().to_vec()),
            Some(self.object.as_bytes().to_vec()),
            text(&self.before_text),
            text(&self.after_text),
        ];
        let mut hash = Sha256::new();
        for field in &fields {
            add(&mut hash, field.as_deref());
        }
        hash.finalize().into()
    }
}

/// The length in four octets, and the field; a length of -1 for none.
fn add(hash: &mut Sha256, field: Option<&[u8]>) {
    // A field of Postgres has less than a gigabyte.
    let length = field.map_or(-1, |field| i32::try_from(field.len()).unwrap_or(i32::MAX));
    hash.update(length.to_be_bytes());
    hash.update(field.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Content {
        Content {
            tenant_id: Uuid::from_u128(1),
            id: Uuid::from_u128(2),
            at_micros: 3,
            actor: "worker".to_owned(),
            source: None,
            request_id: None,
            action: "domain.create".to_owned(),
            object: "dom_1".to_owned(),
            before_text: None,
            after_text: None,
        }
    }

    #[test]
    fn what_is_moved_from_one_field_to_the_next_has_another_hash() {
        let zeros = [0; HASH_LENGTH];
        let hash = content().hash(1, &zeros);
        let moved = Content { action: "domain.created".to_owned(), object: "om_1".to_owned(), ..content() };
        assert_ne!(moved.hash(1, &zeros), hash);
        let empty = Content { source: Some(String::new()), ..content() };
        assert_ne!(empty.hash(1, &zeros), hash, "an empty text is not none");
        assert_ne!(content().hash(2, &zeros), hash);
        assert_ne!(content().hash(1, &[1; HASH_LENGTH]), hash);
    }
}
