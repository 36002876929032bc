//! Numbers as decimal digits: what is a whole number, however it is written. Nothing here is rounded.

use std::borrow::Cow;

use crate::domain::ids::MAX_ID_CHARS;

/// The digits of a number in JSON, if it is a whole one that an id can hold: `3`, but also `3.0` and `3e0`, which
/// writers make of whole numbers that they keep as floating-point ones.
pub(super) fn whole(number: &str) -> Option<Cow<'_, str>> {
    let digits = number.strip_prefix('-').unwrap_or(number);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Cow::Borrowed(number));
    }
    let (mantissa, exponent) = parts(digits)?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return (!digits.is_empty()).then_some(Cow::Borrowed("0"));
    }
    // How many zeros stand behind the last digit that is none.
    let cut = digits.trim_start_matches('0').len() - significant.len();
    let zeros = i64::from(exponent) + i64::try_from(cut).ok()? - i64::try_from(fraction.len()).ok()?;
    let zeros = usize::try_from(zeros).ok().filter(|zeros| significant.len() + zeros <= MAX_ID_CHARS)?;
    let sign = if number.starts_with('-') { "-" } else { "" };
    Some(Cow::Owned(format!("{sign}{significant}{}", "0".repeat(zeros))))
}

/// Mantissa and exponent of a number without its sign.
pub(super) fn parts(number: &str) -> Option<(&str, i32)> {
    match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => Some((mantissa, exponent.parse().ok()?)),
        None => Some((number, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_whole_however_it_is_written() {
        for (number, digits) in [
            ("3", "3"),
            ("-3", "-3"),
            ("0", "0"),
            ("9007199254740993123", "9007199254740993123"),
            ("3.0", "3"),
            ("3.000", "3"),
            ("-3.0", "-3"),
            ("3e0", "3"),
            ("3E2", "300"),
            ("3e+2", "300"),
            ("30e-1", "3"),
            ("1.50e1", "15"),
            ("1.7e3", "1700"),
            ("100.0", "100"),
            ("0.0", "0"),
            ("-0.0", "0"),
            ("0e5", "0"),
            ("0.003e3", "3"),
            ("9007199254740993123.0", "9007199254740993123"),
            ("1e21", "1000000000000000000000"),
        ] {
            assert_eq!(whole(number).as_deref(), Some(digits), "{number}");
        }
        assert!(matches!(whole("3"), Some(Cow::Borrowed("3"))), "digits that are there are not copied");
        assert_eq!(whole("1e127").map(|digits| digits.len()), Some(MAX_ID_CHARS));
        assert_eq!(whole("1e128"), None);
    }

    #[test]
    fn a_number_with_a_fraction_or_too_many_digits_is_not() {
        for number in ["4.2", "3.0000001", "1e-1", "15e-2", "1e400", "1e2147483647", "1e99999999999", "0.1", "1e-400"] {
            assert_eq!(whole(number), None, "{number}");
        }
    }
}
