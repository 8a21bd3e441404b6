//! How much of what a stranger sent is looked at.

/// Caps on one input. What goes beyond one of them is an [`Unreadable`](crate::Unreadable), never an allocation.
///
/// With the defaults, no input makes this crate hold more than some 200 MB at a time; what is really sent takes less
/// than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets that come in: a mail, an archive, a document.
    pub octets: usize,
    /// Octets that all gzip streams and zip entries of one input may inflate to, together.
    pub inflated: usize,
    /// How many times its size a compressed stream may inflate to. Looked at beyond the first MiB, because little
    /// reports are very regular.
    pub ratio: usize,
    /// MIME parts, in all nested messages together.
    pub parts: usize,
    /// How deep messages, multiparts and archives are nested in each other, and JSON and XML in themselves.
    pub depth: usize,
    /// Entries of a zip archive, and members of a gzip stream.
    pub entries: usize,
    /// Rows of one report: policies and failure details of TLS-RPT, records of DMARC.
    pub rows: usize,
    /// Elements and attributes of one XML document. A JSON document may have half as many values, because each takes
    /// twice the room.
    pub values: usize,
    /// Deviations of one report that are told one by one; more are only counted.
    pub deviations: usize,
}

impl Limits {
    /// Above this, containers are not followed whatever `depth` says: each level takes stack.
    pub(crate) const MAX_DEPTH: usize = 32;

    pub(crate) fn json_values(&self) -> usize {
        self.values / 2
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth.min(Self::MAX_DEPTH)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            octets: 10 << 20,
            inflated: 32 << 20,
            ratio: 250,
            parts: 200,
            depth: 16,
            entries: 50,
            rows: 50_000,
            values: 1_000_000,
            deviations: 100,
        }
    }
}
