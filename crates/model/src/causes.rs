//! An error with everything behind it, for a log line or a condition's message.

use std::error::Error;

/// An error and its sources in one line. A source whose text is in its parent's already is left out.
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("inner: {0}")]
    struct Inner(#[source] std::num::ParseIntError);

    #[test]
    fn every_source_is_told_once() {
        let error = Outer(Inner("x".parse::<u8>().unwrap_err()));
        assert_eq!(causes(&error), "outer: inner: invalid digit found in string");
    }
}
