//! The syntax of names in lower-case ASCII without the dot at the end.

use std::net::IpAddr;

use super::NameError;

/// Octets of a name as text: 255 on the wire, less the first length and the root (RFC 1035 §2.3.4).
pub(crate) const MAX_NAME: usize = 253;
/// Octets of a label (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// Checks a whole name: letters, digits, hyphens (RFC 1123 §2.1), lengths, lower case, and that it is no address.
pub(crate) fn check_name(name: &str, limit: usize) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > limit {
        return Err(NameError::TooLong { octets: name.len(), limit });
    }
    if is_ip_address(name) {
        return Err(NameError::IpAddress);
    }
    name.split('.').try_for_each(check_label)
}

fn check_label(label: &str) -> Result<(), NameError> {
    if label.is_empty() {
        return Err(NameError::EmptyLabel);
    }
    for character in label.chars() {
        match character {
            'a'..='z' | '0'..='9' | '-' => {}
            'A'..='Z' => return Err(NameError::UpperCase),
            character if character.is_ascii() => return Err(NameError::Character { character }),
            character => return Err(NameError::NotAscii { character }),
        }
    }
    if label.len() > MAX_LABEL {
        return Err(NameError::LabelTooLong { octets: label.len() });
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(NameError::Hyphen { label: label.to_owned() });
    }
    Ok(())
}

/// Addresses as text, in brackets (RFC 5321 §4.1.3), and all names whose last label is a number: software that
/// follows the URL standard takes those for IPv4, hexadecimal too.
pub(super) fn is_ip_address(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.starts_with('[') || text.parse::<IpAddr>().is_ok() {
        return true;
    }
    let last = text.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What is wrong with a plain ASCII input, in words that are better than IDNA's.
pub(super) fn first_fault_of_ascii(input: &str) -> Option<NameError> {
    let name = input.strip_suffix('.').unwrap_or(input).to_ascii_lowercase();
    if !name.is_ascii() {
        return None;
    }
    check_name(&name, MAX_NAME).err()
}
