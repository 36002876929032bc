//! Values that are read by their [schema](super::schema), where JSON alone would take them for something else.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    document::{Found, kind, object_of, string},
    number,
    schema::Logical,
};

/// Longest decimal, in bytes: more digits than an id may have.
const MAX_DECIMAL_BYTES: usize = 64;

/// The text of an id or a status: a string's, or the digits of a whole number.
pub(super) fn text<'a>(found: Found<'a>) -> Result<Cow<'a, str>, String> {
    let no_text = |what: &str| Err(format!("is {what} by its schema, and must be a string or a whole number"));
    let value = found.value;
    match found.logical {
        Logical::Plain => string(value)
            .or_else(|| number::whole(value.get()))
            .ok_or_else(|| format!("must be a string or a whole number, not {}", kind(value))),
        Logical::Decimal { .. } | Logical::VariableDecimal => {
            let digits = decimal(found).and_then(|decimal| Some(number::whole(&decimal)?.into_owned()));
            digits.map_or_else(|| no_text("no whole Decimal"), |digits| Ok(Cow::Owned(digits)))
        }
        Logical::Bytes => no_text("bytes"),
        Logical::Moment(_) | Logical::Time => no_text("a time"),
    }
}

/// A decimal as JSON would write a number.
pub(super) fn decimal(found: Found<'_>) -> Option<Cow<'_, str>> {
    let (value, scale) = match found.logical {
        Logical::Decimal { scale } => (found.value, scale),
        Logical::VariableDecimal => {
            let object = object_of(found.value)?;
            (object.get("value")?, object.get("scale")?.get().parse().ok()?)
        }
        _ => return None,
    };
    let Some(base64) = string(value) else { return Some(Cow::Borrowed(value.get())) };
    let bytes = BASE64_STANDARD.decode(base64.as_bytes()).ok().filter(|bytes| bytes.len() <= MAX_DECIMAL_BYTES)?;
    let digits = digits(&bytes)?;
    Some(Cow::Owned(format!("{digits}e{}", i64::from(scale).saturating_neg())))
}

/// The decimal digits of a whole number in two's complement, the highest byte first.
fn digits(bytes: &[u8]) -> Option<String> {
    let is_negative = bytes.first()? & 0x80 != 0;
    let mut digits: Vec<u8> = vec![0];
    for byte in bytes {
        // Of a negative number -n this makes n - 1.
        let byte = if is_negative { !byte } else { *byte };
        shift_in(&mut digits, 256, byte);
    }
    if is_negative {
        shift_in(&mut digits, 1, 1);
    }
    let digits: String = digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect();
    Some(if is_negative { format!("-{digits}") } else { digits })
}

/// Multiplies a number, lowest digit first, and adds to it.
fn shift_in(digits: &mut Vec<u8>, times: u32, plus: u8) {
    let mut carry = u32::from(plus);
    for digit in digits.iter_mut() {
        let value = u32::from(*digit) * times + carry;
        // A remainder of 10 fits.
        *digit = (value % 10) as u8;
        carry = value / 10;
    }
    while carry > 0 {
        digits.push((carry % 10) as u8);
        carry /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_of_twos_complement() {
        for (base64, number) in [
            ("Kg==", Some("42")),
            ("AA==", Some("0")),
            ("/w==", Some("-1")),
            ("gA==", Some("-128")),
            ("AIA=", Some("128")),
            ("AQAAAAAAAAAA", Some("18446744073709551616")),
            ("/wAAAAAAAAAA", Some("-18446744073709551616")),
            ("", None),
        ] {
            let bytes = BASE64_STANDARD.decode(base64).unwrap();
            assert_eq!(digits(&bytes).as_deref(), number, "{base64}");
        }
        for number in [i64::MIN, i64::MAX, -1_000, 1_000, 255, 256, -255, -256, -257] {
            assert_eq!(digits(&number.to_be_bytes()), Some(number.to_string()));
        }
    }
}
