//! Reads when an event happened from whatever upstream writes for a moment.

use std::iter;

use serde_json::value::RawValue;

use super::document::string;
use crate::event::Timestamp;

/// The moment cannot be read; the record's own is used instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Reads RFC 3339 with any offset, or a number since 1970 whose size tells its unit.
pub(super) fn read(value: &RawValue) -> Result<Timestamp, Unreadable> {
    let moment = match value.get().as_bytes().first() {
        Some(b'"') => string(value).and_then(|text| Timestamp::parse_rfc3339(&text)),
        Some(b'-' | b'0'..=b'9') => from_number(value.get()),
        _ => None,
    };
    moment.ok_or(Unreadable)
}

/// Reads a JSON number digit by digit: a float would turn Jackson's `1732181400.123456789` into another millisecond.
///
/// Below 10^11 it counts seconds, below 10^14 milliseconds, below 10^17 microseconds, else nanoseconds.
fn from_number(number: &str) -> Option<Timestamp> {
    let (number, sign) = number.strip_prefix('-').map_or((number, 1), |number| (number, -1));
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    let leading_zeros = digits().take_while(|digit| *digit == b'0').count();

    // How many digits stand before the decimal point, and how many of them (or of the fraction) make milliseconds.
    let integer_digits = i64::try_from(whole.len()).ok()? + i64::from(exponent) - i64::try_from(leading_zeros).ok()?;
    let millisecond_digits = integer_digits
        + match integer_digits {
            ..=11 => 3,
            12..=14 => 0,
            15..=17 => -3,
            18.. => -6,
        };
    // 18 digits fit an i64, and 15 already reach beyond the year 9999.
    let count = usize::try_from(millisecond_digits.max(0)).ok().filter(|count| *count <= 18)?;
    let millis = digits()
        .skip(leading_zeros)
        .chain(iter::repeat(b'0'))
        .take(count)
        .fold(0, |millis, digit| millis * 10 + i64::from(digit - b'0'));
    Timestamp::from_millis(sign * millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(json: &str) -> Option<i64> {
        let value: &RawValue = serde_json::from_str(json).unwrap();
        read(value).ok().map(Timestamp::as_millis)
    }

    #[test]
    fn the_size_of_a_number_tells_its_unit() {
        for (number, expected) in [
            ("0", 0),
            ("1732181400", 1_732_181_400_000),
            ("99999999999", 99_999_999_999_000),
            ("100000000000", 100_000_000_000),
            ("1732181400123", 1_732_181_400_123),
            ("99999999999999", 99_999_999_999_999),
            ("100000000000000", 100_000_000_000),
            ("1732181400123456", 1_732_181_400_123),
            ("1732181400123456789", 1_732_181_400_123),
            ("-1", -1_000),
            ("-1732181400123", -1_732_181_400_123),
        ] {
            assert_eq!(millis(number), Some(expected), "{number}");
        }
    }

    #[test]
    fn fractions_and_exponents_keep_their_millisecond() {
        for (number, expected) in [
            ("1732181400.123456789", 1_732_181_400_123),
            ("1732181400.1239999999", 1_732_181_400_123),
            ("1732181400.001", 1_732_181_400_001),
            ("1732181400.1", 1_732_181_400_100),
            ("1732181400123.9", 1_732_181_400_123),
            ("1.732181400123E9", 1_732_181_400_123),
            ("1.732181400123e+12", 1_732_181_400_123),
            ("17321814001230e-4", 1_732_181_400_123),
            ("0.0015", 1),
            ("0.0001", 0),
            ("0.0", 0),
            ("-0.5", -500),
            ("1e-400", 0),
        ] {
            assert_eq!(millis(number), Some(expected), "{number}");
        }
    }

    #[test]
    fn rfc_3339_is_read_in_the_spellings_of_ordinary_producers() {
        for text in [
            "2026-11-21T09:30:00.000Z",
            "2026-11-21T09:30:00Z",
            "2026-11-21T09:30:00.000000000Z",
            "2026-11-21T10:30:00+01:00",
            "2026-11-21T04:30:00.0-0500",
            "2026-11-21 09:30:00+00",
            "2026-11-21t09:30:00z",
            "2026-11-21T09:30Z",
            "2026-11-21T10:30:00+01:00[Europe/Berlin]",
        ] {
            assert_eq!(millis(&format!("\"{text}\"")), Some(1_795_253_400_000), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_unreadable() {
        for json in [
            r#""yesterday""#,
            r#""2026-11-21T09:30:00""#,
            r#""2026-11-21""#,
            r#""1732181400""#,
            r#""""#,
            "[2026,11,21,9,30]",
            r#"{"seconds":1}"#,
            "true",
            "1e300",
            "1e99999999999999999999",
            "99999999999999999999999999",
        ] {
            assert_eq!(millis(json), None, "{json}");
        }
    }
}
