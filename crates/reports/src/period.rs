//! Times as strangers write them.

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Timelike};
use mtasts_model::Timestamp;
use serde::Serialize;

use crate::{DeviationCode, Deviations, deviation::excerpt};

/// The time that a report speaks of, both ends included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Period {
    /// Its first second.
    pub begin: Option<Timestamp>,
    /// Its last second.
    pub end: Option<Timestamp>,
}

impl Period {
    /// The UTC day that most of it is in.
    pub fn day(&self) -> Option<NaiveDate> {
        match (self.begin, self.end) {
            (Some(begin), Some(end)) if end >= begin => Some((begin + (end - begin) / 2).date_naive()),
            (Some(time), _) | (None, Some(time)) => Some(time.date_naive()),
            (None, None) => None,
        }
    }

    /// Notes what is odd about it, and takes the midnight after for the second before it.
    pub(crate) fn settle(&mut self, place: &str, must_be_a_day: bool, deviations: &mut Deviations) {
        let (Some(begin), Some(end)) = (self.begin, self.end) else { return };
        if end < begin {
            deviations.note(DeviationCode::PeriodBackwards, place, format!("{end} is before {begin}"));
            return;
        }
        let at_midnight = end.num_seconds_from_midnight() == 0;
        if at_midnight && end > begin {
            if must_be_a_day {
                deviations.note(
                    DeviationCode::EndIsNextMidnight,
                    place,
                    format!("{end} is the next midnight; read as the second before"),
                );
            }
            self.end = end.checked_sub_signed(TimeDelta::seconds(1)).or(self.end);
        }
        let length = self.end.unwrap_or(end) - begin;
        // RFC 8460 §4.1: from midnight to midnight, UTC.
        let is_a_day = begin.num_seconds_from_midnight() == 0 && length.num_seconds() == 86_399;
        if must_be_a_day && !is_a_day {
            deviations.note(
                DeviationCode::PeriodNotADay,
                place,
                format!("from {begin} to {end} is not one day of UTC"),
            );
        }
    }
}

/// Reads RFC 3339, and what is sent in its place: no zone, no `T`, no time, seconds since 1970, RFC 5322.
pub(crate) fn instant(text: &str, place: &str, deviations: &mut Deviations) -> Option<Timestamp> {
    let trimmed = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(trimmed) {
        if trimmed.contains(' ') {
            deviations.note(DeviationCode::TimeNotation, place, format!("{} is not RFC 3339", excerpt(text)));
        }
        return Some(time.to_utc());
    }
    let without_zone = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    let naive = without_zone.iter().find_map(|format| NaiveDateTime::parse_from_str(trimmed, format).ok());
    let day = || NaiveDate::parse_from_str(trimmed, "%Y-%m-%d").ok().and_then(|day| day.and_hms_opt(0, 0, 0));
    if let Some(time) = naive.or_else(day) {
        let sentence = format!("{} has no zone; read as UTC", excerpt(text));
        deviations.note(DeviationCode::TimeWithoutZone, place, sentence);
        return Some(time.and_utc());
    }
    let other = seconds(trimmed)
        .or_else(|| DateTime::parse_from_rfc2822(trimmed).ok().map(|time| time.to_utc()))
        .or_else(|| DateTime::parse_from_str(trimmed, "%Y-%m-%dT%H:%M:%S%.f%#z").ok().map(|time| time.to_utc()))
        .or_else(|| DateTime::parse_from_str(trimmed, "%Y-%m-%d %H:%M:%S%.f %#z").ok().map(|time| time.to_utc()));
    let (code, what) = match other {
        Some(_) => (DeviationCode::TimeNotation, "is not RFC 3339"),
        None => (DeviationCode::NotATime, "is not a time"),
    };
    deviations.note(code, place, format!("{} {what}", excerpt(text)));
    other
}

/// Seconds since 1970, as DMARC has them.
pub(crate) fn seconds(text: &str) -> Option<Timestamp> {
    let whole = text.trim().split('.').next()?;
    DateTime::from_timestamp(whole.parse().ok()?, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<i64>, Option<DeviationCode>) {
        let mut deviations = Deviations::new(10);
        let time = instant(text, "/x", &mut deviations).map(|time| time.timestamp());
        (time, deviations.list().first().map(|deviation| deviation.code))
    }

    #[test]
    fn times_are_read_in_every_notation_that_is_met() {
        let day = Some(1_459_468_800);
        assert_eq!(read("2016-04-01T00:00:00Z"), (day, None));
        assert_eq!(read("2016-04-01T02:00:00+02:00"), (day, None));
        for text in ["2016-04-01T00:00:00", "2016-04-01 00:00:00", "2016-04-01T00:00", "2016-04-01"] {
            assert_eq!(read(text), (day, Some(DeviationCode::TimeWithoutZone)), "{text}");
        }
        for text in [
            "1459468800",
            "2016-04-01 00:00:00Z",
            "Fri, 01 Apr 2016 00:00:00 +0000",
            "2016-04-01T00:00:00+0000",
            "2016-04-01 00:00:00 +00:00",
        ] {
            assert_eq!(read(text), (day, Some(DeviationCode::TimeNotation)), "{text}");
        }
        for text in ["", "yesterday", "99999999999999999999", "-9999999999999999"] {
            assert_eq!(read(text), (None, Some(DeviationCode::NotATime)), "{text}");
        }
    }
}
