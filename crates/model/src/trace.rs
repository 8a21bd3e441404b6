//! A place in a trace, as W3C Trace Context writes it (`traceparent`).

use std::{fmt, str::FromStr};

/// A trace and a span in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    sampled: bool,
}

/// Why a text is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no traceparent of W3C Trace Context")]
pub struct TraceParentError;

impl TraceParent {
    /// None if one of the ids is all zeroes, which no id may be.
    pub fn new(trace_id: [u8; 16], span_id: [u8; 8], sampled: bool) -> Option<Self> {
        (trace_id != [0; 16] && span_id != [0; 8]).then_some(Self { trace_id, span_id, sampled })
    }

    /// Of the trace.
    pub fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// Of the span.
    pub fn span_id(&self) -> [u8; 8] {
        self.span_id
    }

    /// Whether whoever wrote it has recorded the span.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The trace's id as people and logs write it: 32 hexadecimal digits.
    pub fn trace(&self) -> String {
        hex(&self.trace_id)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", hex(&self.trace_id), hex(&self.span_id), u8::from(self.sampled))
    }
}

impl FromStr for TraceParent {
    type Err = TraceParentError;

    /// Later versions may add fields behind those of version 00; `ff` is no version.
    fn from_str(text: &str) -> Result<Self, TraceParentError> {
        let mut fields = text.split('-');
        let mut field = || fields.next().ok_or(TraceParentError);
        let [version] = octets(field()?)?;
        let (trace_id, span_id, [flags]) = (octets(field()?)?, octets(field()?)?, octets(field()?)?);
        let has_more = fields.next().is_some();
        if version == 0xff || (version == 0 && has_more) {
            return Err(TraceParentError);
        }
        Self::new(trace_id, span_id, flags & 1 == 1).ok_or(TraceParentError)
    }
}

fn hex(octets: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(octets)
}

/// Exactly so many, in lower case.
fn octets<const N: usize>(text: &str) -> Result<[u8; N], TraceParentError> {
    let mut octets = [0; N];
    if text.len() != 2 * N {
        return Err(TraceParentError);
    }
    data_encoding::HEXLOWER.decode_mut(text.as_bytes(), &mut octets).map_err(|_| TraceParentError)?;
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_reads_back_as_it_was_written() {
        let parent: TraceParent = GOOD.parse().unwrap();
        assert!(parent.is_sampled());
        assert_eq!(parent.trace(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parent.to_string(), GOOD);
        let unsampled: TraceParent = GOOD.replace("-01", "-00").parse().unwrap();
        assert!(!unsampled.is_sampled());
        let later: TraceParent = format!("cc{}-what-comes", &GOOD[2..]).parse().unwrap();
        assert_eq!(later, parent);
    }

    #[test]
    fn what_is_no_traceparent_is_refused() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736é-0f067aa0ba902b7-01",
            "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        ] {
            assert_eq!(bad.parse::<TraceParent>(), Err(TraceParentError), "{bad:?}");
        }
    }
}
