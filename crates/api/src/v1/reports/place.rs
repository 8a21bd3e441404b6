//! Where a page of rows begins.

use std::{fmt, str::FromStr};

use mtasts_store::ReportPosition;

/// A position as it stands in a cursor.
pub(crate) struct Place(pub(crate) ReportPosition);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ReportPosition { day, report, seq } = self.0;
        write!(f, "{day} {report} {seq}")
    }
}

/// A text that is no position.
pub(crate) struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let mut parts = text.split(' ');
        let mut part = || parts.next().ok_or(NoPlace);
        let day = part()?.parse().map_err(|_| NoPlace)?;
        let report = part()?.parse().map_err(|_| NoPlace)?;
        let seq = part()?.parse().map_err(|_| NoPlace)?;
        let place = Self(ReportPosition { day, report, seq });
        // One way to write it: a year beyond 9999 or a sign would be another.
        if parts.next().is_none() && place.to_string() == text && text.as_bytes().get(4) == Some(&b'-') {
            Ok(place)
        } else {
            Err(NoPlace)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_as_itself_and_nothing_else_is_one() {
        let text = "2026-11-21 rpt_0190c3a0b1c27d3e8f4051627384950a 7";
        assert_eq!(text.parse::<Place>().map(|place| place.to_string()).ok().as_deref(), Some(text));
        for bad in ["", "2026-11-21", "2026-11-21 rpt_1 7", "+12026-11-21 rpt_0190c3a0b1c27d3e8f4051627384950a 7"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
        for bad in
            [format!("{text} 1"), text.replace(" 7", " +7"), text.replace(" 7", " -1"), text.replace("rpt", "dom")]
        {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}
