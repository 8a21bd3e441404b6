//! When to renew: as the CA advises (ARI, RFC 9773), or when a third of the lifetime is left.

use std::{fmt, str::FromStr, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use mtasts_model::Timestamp;
use x509_parser::{extensions::ParsedExtension, parse_x509_certificate};

use crate::chain::ChainError;

/// What a CA advises for one certificate (RFC 9773 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalInfo {
    start: Timestamp,
    end: Timestamp,
    retry_after: Duration,
}

impl RenewalInfo {
    /// Takes the CA's advice; None if the window does not end after it starts, which RFC 9773 §4.2 has clients refuse.
    /// `retry_after` is held between a minute and a day (§4.3.2).
    pub fn new(start: Timestamp, end: Timestamp, retry_after: Duration) -> Option<Self> {
        let retry_after = retry_after.clamp(Duration::from_mins(1), Duration::from_hours(24));
        (start < end).then_some(Self { start, end, retry_after })
    }

    /// The suggested window: start, and end (exclusive).
    pub fn suggested_window(&self) -> (Timestamp, Timestamp) {
        (self.start, self.end)
    }

    /// When to ask again.
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }
}

/// When to renew a certificate.
///
/// With advice: a uniformly random point in the window, as RFC 9773 §4.2 has it, but not later than when a sixth of the
/// lifetime is left, so that a window near or past the expiry leaves time for a CA that fails for days. A point that
/// has passed means at once. Without advice: when a third of the lifetime is left, or up to a thirtieth of it sooner,
/// so that what was issued in one hour is not renewed in one hour.
///
/// The same seed (take bytes of the certificate's id) gives the same moment, however often it is asked.
pub fn renew_at(not_before: Timestamp, not_after: Timestamp, ari: Option<&RenewalInfo>, seed: u64) -> Timestamp {
    let lifetime = (not_after - not_before).max(TimeDelta::zero());
    match ari {
        Some(RenewalInfo { start, end, .. }) => (*start + fraction(*end - *start, seed)).min(not_after - lifetime / 6),
        None => not_after - lifetime / 3 - fraction(lifetime / 30, seed),
    }
}

/// A uniformly drawn part of the span, to the second.
fn fraction(span: TimeDelta, seed: u64) -> TimeDelta {
    // SplitMix64's finaliser: ids that differ in one bit are spread over the whole span.
    let mut word = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^= word >> 31;
    let seconds = u128::try_from(span.num_seconds()).unwrap_or(0);
    let drawn = (seconds * u128::from(word)) >> 64;
    TimeDelta::seconds(i64::try_from(drawn).unwrap_or(0))
}

/// A certificate's name in ARI: base64url of key identifier and serial (RFC 9773 §4.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RenewalKey {
    pub(crate) authority_key: String,
    pub(crate) serial: String,
}

impl RenewalKey {
    /// The name of the certificate in this DER; None if it has no authority key identifier, and so no name in ARI.
    pub fn of(leaf_der: &[u8]) -> Result<Option<Self>, ChainError> {
        let (_, certificate) =
            parse_x509_certificate(leaf_der).map_err(|source| ChainError::Certificate { index: 0, source })?;
        let authority_key = certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(aki) => aki.key_identifier.as_ref(),
            _ => None,
        });
        Ok(authority_key.map(|authority_key| Self {
            authority_key: BASE64_URL_SAFE_NO_PAD.encode(authority_key.0),
            serial: BASE64_URL_SAFE_NO_PAD.encode(certificate.tbs_certificate.raw_serial()),
        }))
    }
}

impl fmt::Display for RenewalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.authority_key, self.serial)
    }
}

impl FromStr for RenewalKey {
    type Err = ChainError;

    fn from_str(text: &str) -> Result<Self, ChainError> {
        let is_part =
            |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).is_ok_and(|bytes| (1..=64).contains(&bytes.len()));
        match text.split_once('.') {
            Some((authority_key, serial)) if is_part(authority_key) && is_part(serial) => {
                Ok(Self { authority_key: authority_key.to_owned(), serial: serial.to_owned() })
            }
            _ => Err(ChainError::RenewalKey),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(day: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::days(20_000 + day)
    }

    #[test]
    fn without_advice_about_a_third_of_the_lifetime_is_left() {
        for seed in 0..1_000 {
            let at = renew_at(day(0), day(90), None, seed);
            assert!(day(57) <= at && at <= day(60), "{at}");
        }
    }

    #[test]
    fn points_are_spread_evenly_over_the_window() {
        let advice = RenewalInfo::new(day(60), day(64), Duration::from_hours(1)).unwrap();
        let mut quarters = [0; 4];
        for seed in 0..4_000 {
            let at = renew_at(day(0), day(90), Some(&advice), seed);
            quarters[usize::try_from((at - day(60)).num_days()).unwrap()] += 1;
        }
        assert!(quarters.iter().all(|count| (900..1_100).contains(count)), "{quarters:?}");
    }

    #[test]
    fn a_window_in_the_past_means_at_once() {
        let advice = RenewalInfo::new(day(1), day(2), Duration::from_hours(1)).unwrap();
        assert!(renew_at(day(0), day(90), Some(&advice), 1) < day(2));
    }

    #[test]
    fn a_window_past_the_expiry_still_leaves_a_sixth_of_the_lifetime() {
        let advice = RenewalInfo::new(day(100), day(110), Duration::from_hours(1)).unwrap();
        assert_eq!(renew_at(day(0), day(90), Some(&advice), 1), day(75));
    }

    #[test]
    fn a_window_that_does_not_end_after_its_start_is_refused() {
        assert_eq!(RenewalInfo::new(day(2), day(2), Duration::from_hours(1)), None);
        assert_eq!(RenewalInfo::new(day(2), day(1), Duration::from_hours(1)), None);
    }

    #[test]
    fn the_interval_is_held_between_a_minute_and_a_day() {
        let interval = |asked| RenewalInfo::new(day(1), day(2), asked).unwrap().retry_after();
        assert_eq!(interval(Duration::ZERO), Duration::from_mins(1));
        assert_eq!(interval(Duration::from_hours(1_000)), Duration::from_hours(24));
    }

    #[test]
    fn a_renewal_key_reads_back_as_itself() {
        // RFC 9773 §4.1.
        let key: RenewalKey = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE".parse().unwrap();
        assert_eq!(key.to_string(), "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
        for text in ["", "aYhb", "aYhb.", ".AIdlQyE", "aYhb.AId=lQyE", "a.b.c", "aYhb/../x.AIdlQyE"] {
            assert!(text.parse::<RenewalKey>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_moment_lies_in_the_lifetime_and_is_repeatable(hours in 1..200_000_i64, seed: u64) {
            let not_after = day(0) + TimeDelta::hours(hours);
            let at = renew_at(day(0), not_after, None, seed);
            prop_assert!(day(0) < at && at < not_after);
            prop_assert_eq!(at, renew_at(day(0), not_after, None, seed));
        }
    }
}
