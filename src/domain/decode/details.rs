//! `details` go out as they came in. So they must be what every reader of a frame can read: one order must not make
//! the frame unreadable in which others stand, too.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// Longest number, in characters: Jackson reads none that is longer.
const MAX_NUMBER_CHARS: usize = 1000;

/// A number with fewer digits than two of these is finite, unless its exponent is positive.
const CHUNK_BYTES: usize = 128;

/// The details of a row, in which an older version may have stored anything. `None`: no reader could be sure to read
/// them.
pub fn stored(details: String) -> Option<Box<RawValue>> {
    let is_object = details.starts_with('{');
    let passed_on = match passed_on(&details).ok()? {
        Cow::Borrowed(_) => details,
        Cow::Owned(made) => made,
    };
    RawValue::from_string(passed_on).ok().filter(|_| is_object)
}

/// What is passed on of the text of some details, or what is wrong with them.
///
/// Readers of JSON differ in what they make of a number that no double holds: infinity, an error, an error of the whole
/// frame. Line breaks between the tokens are taken out, with all other white space there: what carries frames as lines
/// could not hold them.
pub(super) fn passed_on(details: &str) -> Result<Cow<'_, str>, &'static str> {
    let bytes = details.as_bytes();
    if may_be_large(bytes) {
        check_numbers(details)?;
    }
    // In JSON they can only stand between two tokens.
    let breaks = bytes.iter().fold(false, |breaks, byte| breaks | (*byte == b'\n') | (*byte == b'\r'));
    Ok(if breaks { Cow::Owned(compact(details)) } else { Cow::Borrowed(details) })
}

/// Whether something looks like a number that may be too large or too long: it has a positive exponent or very many
/// digits. Without a branch in its body the first loop becomes vector code: some 20 ns for ordinary details, where
/// walking them takes five times as long.
fn may_be_large(details: &[u8]) -> bool {
    let behind = |by: usize| details.get(by..).unwrap_or_default();
    let mut exponents = 0_u8;
    for ((digit, letter), next) in details.iter().zip(behind(1)).zip(behind(2)) {
        let is_positive = next.is_ascii_digit() | (*next == b'+');
        exponents |= u8::from(digit.is_ascii_digit() & (*letter | 0x20 == b'e') & is_positive);
    }
    let is_long = |chunk: &[u8]| chunk.iter().all(|byte| is_of_number(*byte));
    exponents > 0 || details.chunks_exact(CHUNK_BYTES).any(is_long)
}

/// Whether a number may have this byte.
fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'.' | b'+' | b'-' | b'e' | b'E')
}

fn check_numbers(details: &str) -> Result<(), &'static str> {
    let between = pieces(details).filter(|piece| !piece.starts_with('"'));
    let words = between.flat_map(|piece| piece.split(|c: char| !u8::try_from(c).is_ok_and(is_of_number)));
    for number in words.filter(|word| word.starts_with(|c: char| c == '-' || c.is_ascii_digit())) {
        if number.len() > MAX_NUMBER_CHARS {
            return Err("holds a number of more than 1000 characters");
        }
        if !number.parse::<f64>().is_ok_and(f64::is_finite) {
            return Err("holds a number that no double holds");
        }
    }
    Ok(())
}

fn compact(details: &str) -> String {
    let mut compacted = String::with_capacity(details.len());
    for piece in pieces(details) {
        if piece.starts_with('"') {
            compacted.push_str(piece);
        } else {
            compacted.extend(piece.chars().filter(|c| !c.is_ascii_whitespace()));
        }
    }
    compacted
}

/// The strings of a JSON text, with their quotes, and what stands between them.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = if rest.starts_with('"') { end_of_string(rest) } else { rest.find('"').unwrap_or(rest.len()) };
        let (piece, behind) = rest.split_at(end);
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Where the string is over that a text begins with.
fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    let closing = text.bytes().skip(1).position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    closing.map_or(text.len(), |at| at + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed_on(details: &str) -> Result<String, &'static str> {
        super::passed_on(details).map(Cow::into_owned)
    }

    #[test]
    fn numbers_that_a_double_holds_pass_as_they_are_written() {
        let digits = format!("0.{}", "3".repeat(998));
        for number in
            ["1", "-0", "1.50e1", "1e308", "-1.7976931348623157e308", "1e-400", "12345678901234567890", &digits]
        {
            let details = format!(r#"{{"a":[{{"b":{number}}}]}}"#);
            assert_eq!(passed_on(&details).as_deref(), Ok(&*details));
        }
        let digits = "9".repeat(308);
        let details = format!(r#"{{"a":{digits}}}"#);
        assert_eq!(passed_on(&details).as_deref(), Ok(&*details));
    }

    #[test]
    fn numbers_that_no_double_holds_are_found_wherever_they_stand() {
        let long = "9".repeat(309);
        let longer = format!("0.{}", "3".repeat(999));
        for number in ["1e400", "-1e400", "1E+309", "1.8e308", "0.1e999999999999", &long, &longer] {
            for details in [
                format!(r#"{{"a":{number}}}"#),
                format!(r#"{{"a":{{"b":[[1,{number}]]}}}}"#),
                format!(r#"{{"a":"\\\"","b": {number} }}"#),
            ] {
                assert!(passed_on(&details).is_err(), "{details:.80}");
                assert!(stored(details).is_none());
            }
        }
    }

    #[test]
    fn a_large_number_is_found_at_any_place() {
        let digits = "9".repeat(309);
        for at in 0..300 {
            for number in ["1e400", "1E400", "1e+400", "-1.0e400", &digits] {
                let details = format!(r#"{{"a":[{}{number}]}}"#, " ".repeat(at));
                assert!(passed_on(&details).is_err(), "{number} at {at}");
            }
            let details = format!(r#"{{"a":[{}1.5e-400,"2f1e-7d52",12]}}"#, " ".repeat(at));
            assert!(passed_on(&details).is_ok() && !may_be_large(details.as_bytes()), "at {at}");
        }
    }

    #[test]
    fn what_stands_in_a_string_is_no_number() {
        for details in [r#"{"a":"1e400"}"#, r#"{"1e400":"\" 1e400"}"#, r#"{"a":true,"tracking":"9e999"}"#] {
            assert_eq!(passed_on(details).as_deref(), Ok(details));
        }
    }

    #[test]
    fn line_breaks_between_tokens_go_with_all_white_space_there() {
        let details = "{\r\n  \"a b\" : [ 1,\t2 ],\n  \"note\": \"x \\n \\\" y\\\\\"\n}";
        assert_eq!(passed_on(details).as_deref(), Ok(r#"{"a b":[1,2],"note":"x \n \" y\\"}"#));
        let spaced = "{ \"a\" : [ 1,\t2 ] }";
        assert_eq!(passed_on(spaced).as_deref(), Ok(spaced), "what fits on a line stays");
    }

    #[test]
    fn stored_details_that_are_no_object_are_none() {
        for details in ["", "[]", "1", "\"{}\"", "{", "{\"a\":}", "nul"] {
            assert!(stored(details.into()).is_none(), "{details}");
        }
        assert_eq!(stored("{\"a\":\n1}".into()).unwrap().get(), r#"{"a":1}"#);
        assert_eq!(stored("{ \"a\": 1 }".into()).unwrap().get(), r#"{ "a": 1 }"#);
    }
}
