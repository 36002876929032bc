//! Reads when an event happened from whatever upstream writes for a moment, and knows what it writes for none.

use std::iter;

use super::{
    document::{Found, string},
    logical, number,
    schema::{Logical, Unit},
};
use crate::domain::Timestamp;

/// The moment cannot be read; the record's own is used instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// How far after its record an event may happen. Clocks differ, and time zones are mistaken for one another.
const MAX_AHEAD_MILLIS: i64 = DAY_MILLIS;
/// pandas' `NaT` as a whole number.
const NOT_A_TIME: &str = "-9223372036854775808";

/// Reads RFC 3339 with any offset, a number since 1970 whose size tells its unit, or what a schema says it is. `None`:
/// it is what writers put where there is no moment.
pub(super) fn read(found: Found<'_>) -> Result<Option<Timestamp>, Unreadable> {
    let value = found.value;
    match (found.logical, value.get().as_bytes().first()) {
        (Logical::Bytes | Logical::Time, _) => Err(Unreadable),
        (Logical::Decimal { .. } | Logical::VariableDecimal, _) => {
            logical::decimal(found).ok_or(Unreadable).and_then(|number| from_number(&number))
        }
        (_, Some(b'"')) => string(value).ok_or(Unreadable).and_then(|text| from_text(&text)),
        (Logical::Moment(unit), Some(b'-' | b'0'..=b'9')) => {
            let count = value.get().parse().ok().and_then(|count| unit.millis(count));
            count.ok_or(Unreadable).and_then(moment)
        }
        (Logical::Plain, Some(b'-' | b'0'..=b'9')) => from_number(value.get()),
        _ => Err(Unreadable),
    }
}

/// Reads RFC 3339 with any offset.
pub(super) fn from_text(text: &str) -> Result<Option<Timestamp>, Unreadable> {
    let text = text.trim();
    // Go, .NET and MySQL write their zero for none, the first two in any time zone.
    let is_none = text.is_empty() || text == "NaT" || text.starts_with("0001-01-01") || text.starts_with("0000-00-00");
    if is_none {
        return Ok(None);
    }
    Timestamp::parse_rfc3339(text).ok_or(Unreadable).and_then(|read| moment(read.as_millis()))
}

/// Whether a moment lies so far behind another that it cannot be meant.
pub(super) fn is_far_ahead(moment: Timestamp, of: Timestamp) -> bool {
    moment.as_millis().saturating_sub(of.as_millis()) > MAX_AHEAD_MILLIS
}

/// Clients read years of four digits. The zero of a clock is what a variable holds that nobody has set.
fn moment(millis: i64) -> Result<Option<Timestamp>, Unreadable> {
    let moment = Timestamp::from_millis(millis).filter(|moment| moment.is_readable()).ok_or(Unreadable)?;
    Ok(Some(moment).filter(|_| millis != 0 && moment != Timestamp::YEAR_ONE))
}

impl Unit {
    fn millis(self, count: i64) -> Option<i64> {
        match self {
            Self::Days => count.checked_mul(DAY_MILLIS),
            Self::Millis => Some(count),
            Self::Micros => Some(count.div_euclid(1_000)),
            Self::Nanos => Some(count.div_euclid(1_000_000)),
            Self::Text => None,
        }
    }
}

/// Reads a JSON number digit by digit: a float would turn Jackson's `1732181400.123456789` into another millisecond.
///
/// Below 10^11 it counts seconds, below 10^14 milliseconds, below 10^17 microseconds, else nanoseconds.
fn from_number(number: &str) -> Result<Option<Timestamp>, Unreadable> {
    if number == NOT_A_TIME {
        return Ok(None);
    }
    millis_of(number).ok_or(Unreadable).and_then(moment)
}

fn millis_of(number: &str) -> Option<i64> {
    let (number, sign) = number.strip_prefix('-').map_or((number, 1), |number| (number, -1));
    let (mantissa, exponent) = number::parts(number)?;
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
    Some(sign * millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Option<i64>, Unreadable> {
        let moment = super::read(Found::plain(serde_json::from_str(json).unwrap()))?;
        Ok(moment.map(Timestamp::as_millis))
    }

    #[track_caller]
    fn millis(json: &str) -> Option<i64> {
        read(json).ok().flatten()
    }

    #[test]
    fn the_size_of_a_number_tells_its_unit() {
        for (number, expected) in [
            ("1732181400", 1_732_181_400_000),
            ("99999999999", 99_999_999_999_000),
            ("100000000000", 100_000_000_000),
            ("1732181400123", 1_732_181_400_123),
            ("99999999999999", 99_999_999_999_999),
            ("100000000000000", 100_000_000_000),
            ("1732181400123456", 1_732_181_400_123),
            ("9999999999999999", 9_999_999_999_999),
            ("10000000000000000", 10_000_000_000_000),
            ("17321814001234567", 17_321_814_001_234),
            ("99999999999999999", 99_999_999_999_999),
            ("100000000000000000", 100_000_000_000),
            ("999999999999999999", 999_999_999_999),
            ("1000000000000000000", 1_000_000_000_000),
            ("1732181400123456789", 1_732_181_400_123),
            ("-1", -1_000),
            ("-1732181400123", -1_732_181_400_123),
            ("-17321814001234", -17_321_814_001_234),
            ("-100000000000000", -100_000_000_000),
            ("-17321814001234567", -17_321_814_001_234),
            ("-100000000000000000", -100_000_000_000),
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
            ("-0.5", -500),
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
            "[2026,11,21,9,30]",
            r#"{"seconds":1}"#,
            "true",
            "1e300",
            "1e99999999999999999999",
            "99999999999999999999999999",
            "-99999999999",
            "-62135596801",
            "-99999999999999",
            r#""0000-12-31T23:59:59Z""#,
            r#""-001199-01-01T00:00:00Z""#,
            r#""+010000-01-01T00:00:00Z""#,
            r#""10000-01-01T00:00:00Z""#,
        ] {
            assert_eq!(read(json), Err(Unreadable), "{json}");
        }
        assert_eq!(millis(r#""0001-01-02T00:00:00Z""#), Some(-62_135_510_400_000));
        assert_eq!(millis(r#""9999-12-30T00:00:00Z""#), Some(253_402_128_000_000));
    }

    #[test]
    fn what_writers_put_where_there_is_no_moment_is_none() {
        for json in [
            r#""0001-01-01T00:00:00Z""#,
            r#""0001-01-01T00:00:00.0000000+00:00""#,
            r#""0001-01-01T00:00:00+01:00""#,
            r#""0001-01-01T00:53:28+00:53:28""#,
            r#""0000-12-31T19:00:00-05:00""#,
            r#""0001-01-01T00:00:00""#,
            r#""0001-01-01""#,
            r#""0000-00-00 00:00:00""#,
            "-62135596800",
            "-62135596800000",
            "-62135596800000000",
            r#""NaT""#,
            "-9223372036854775808",
            r#""""#,
            r#"" ""#,
            "0",
            "0.0",
            "-0",
            "0e0",
            r#""1970-01-01T00:00:00Z""#,
            r#""1970-01-01T01:00:00.000+01:00""#,
        ] {
            assert_eq!(read(json), Ok(None), "{json}");
        }
    }

    #[test]
    fn a_schema_tells_the_unit_of_a_moment() {
        let read = |json: &str, logical| {
            let found = Found { logical, ..Found::plain(serde_json::from_str(json).unwrap()) };
            super::read(found).map(|moment| moment.map(Timestamp::as_millis))
        };
        for (json, unit, expected) in [
            ("20778", Unit::Days, 1_795_219_200_000),
            ("1795253400123", Unit::Millis, 1_795_253_400_123),
            ("1795253400123456", Unit::Micros, 1_795_253_400_123),
            ("1795253400123456789", Unit::Nanos, 1_795_253_400_123),
            (r#""2026-11-21T09:30:00.123456Z""#, Unit::Text, 1_795_253_400_123),
            // Two days after 1970, which a number alone would not say.
            ("172800000", Unit::Millis, 172_800_000),
            ("-1", Unit::Micros, -1),
        ] {
            assert_eq!(read(json, Logical::Moment(unit)), Ok(Some(expected)), "{json} in {unit:?}");
        }
        assert_eq!(read(r#""AaH9cPI7""#, Logical::Decimal { scale: 3 }), Ok(Some(1_795_253_400_123)));
        assert_eq!(read("34200000", Logical::Time), Err(Unreadable), "a time of day is no moment");
        assert_eq!(read("9223372036854775807", Logical::Moment(Unit::Days)), Err(Unreadable));
        assert_eq!(read("0", Logical::Moment(Unit::Days)), Ok(None));
    }
}
