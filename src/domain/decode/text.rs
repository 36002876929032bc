//! What holds for the text of a whole JSON value, checked once before anything reads it: how deep it nests, and that
//! every string in it is Unicode text that a database and every JSON reader can hold.
//!
//! Not a parser: whether the text is JSON is for [`Document`](super::document::Document) to say.

use super::{Refusal, RefusalCode};

/// How many objects and arrays may stand inside one another.
pub const MAX_DEPTH: usize = 64;

/// The longest escape: a surrogate pair takes two of these.
const UNICODE_ESCAPE_BYTES: usize = r"\u0000".len();

/// Checks nesting and escapes in one pass, without recursion.
///
/// U+0000 is refused because PostgreSQL has no text with it. Half a surrogate pair is refused because it is no
/// character: some JSON readers fail on the whole frame that carries it, so one order would hide all others.
pub(super) fn check(text: &str) -> Result<(), Refusal> {
    let bytes = text.as_bytes();
    if cannot_offend(bytes) {
        return Ok(());
    }
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = end_of_string(bytes, at + 1)?;
                continue;
            }
            b'{' | b'[' if depth == MAX_DEPTH => {
                let message = format!("the value is nested deeper than {MAX_DEPTH} levels at byte {at}");
                return Err(Refusal::new(RefusalCode::TooDeep, message));
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Whether a text opens too few containers to be too deep and escapes nothing, as most do. Short chunks and byte-wide
/// counts let the compiler make vector code of it: a fifth of the time that walking the text takes.
fn cannot_offend(bytes: &[u8]) -> bool {
    let mut opened = 0;
    for chunk in bytes.chunks(128) {
        let (mut opens, mut escapes) = (0_u8, 0_u8);
        for byte in chunk {
            opens += u8::from(matches!(byte, b'{' | b'['));
            escapes |= u8::from(*byte == b'\\');
        }
        opened += usize::from(opens);
        if escapes > 0 || opened > MAX_DEPTH {
            return false;
        }
    }
    true
}

/// Where the string that begins at `at` is over. An unfinished one is over at the end.
fn end_of_string(bytes: &[u8], mut at: usize) -> Result<usize, Refusal> {
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'"' => return Ok(at + 1),
            b'\\' => escape_length(bytes, at)?,
            _ => 1,
        };
    }
    Ok(at)
}

/// How long the escape at `at` is. What is not an escape at all is left for the parser.
fn escape_length(bytes: &[u8], at: usize) -> Result<usize, Refusal> {
    let refused = |what: &str| {
        Err(Refusal::new(RefusalCode::InvalidField, format!("a string contains {what} at byte {at} of the value")))
    };
    match code_unit(bytes, at) {
        None => Ok(2),
        Some(0) => refused("U+0000"),
        Some(0xD800..=0xDBFF) => match code_unit(bytes, at + UNICODE_ESCAPE_BYTES) {
            Some(0xDC00..=0xDFFF) => Ok(2 * UNICODE_ESCAPE_BYTES),
            _ => refused("half a surrogate pair"),
        },
        Some(0xDC00..=0xDFFF) => refused("half a surrogate pair"),
        Some(_) => Ok(UNICODE_ESCAPE_BYTES),
    }
}

/// The UTF-16 code unit that `\uXXXX` at `at` stands for.
fn code_unit(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + UNICODE_ESCAPE_BYTES)?.strip_prefix(br"\u")?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Option<RefusalCode> {
        check(text).err().map(|refusal| refusal.code)
    }

    #[test]
    fn nesting_is_counted_outside_strings_only() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(code(&nested(MAX_DEPTH)), None);
        assert_eq!(code(&nested(MAX_DEPTH + 1)), Some(RefusalCode::TooDeep));
        assert_eq!(code(&"{\"a\":".repeat(100_000)), Some(RefusalCode::TooDeep));
        assert_eq!(code(&"[],".repeat(1_000)), None, "siblings do not nest");
        assert_eq!(code(&format!("\"{}\"", "[".repeat(1_000))), None);
        assert_eq!(code(&format!(r#""\"{}""#, "[".repeat(1_000))), None, "an escaped quote ends no string");
        assert_eq!(
            code(&format!(r#""\\"{}"#, nested(65))),
            Some(RefusalCode::TooDeep),
            "an escaped backslash does not"
        );
    }

    #[test]
    fn escapes_must_stand_for_characters_other_than_u0000() {
        for fine in
            [r#""\u0001""#, r#""\\u0000""#, r#""\ud83d\ude9a""#, r#""\uD83D\uDE9A""#, r#""\n\"\\""#, r#""\u00e9""#]
        {
            assert_eq!(code(fine), None, "{fine}");
        }
        for bad in [
            r#""\u0000""#,
            r#"{"a":{"b":["x\u0000"]}}"#,
            r#"{"a\u0000":1}"#,
            r#""\ud83d""#,
            r#""\ud83d\n""#,
            r#""\ud83dx\ude9a""#,
            r#""\ud83d\ud83d""#,
            r#""\ude9a\ud83d""#,
            r#""\\\u0000""#,
        ] {
            assert_eq!(code(bad), Some(RefusalCode::InvalidField), "{bad}");
        }
    }

    #[test]
    fn what_is_no_json_is_left_to_the_parser() {
        for text in ["", "\"", "\"\\", "\"\\u", "\"\\u12", "\"\\u+123\"", "\"\\uZZZZ\"", "]]]]}}", "\\u0000"] {
            assert_eq!(code(text), None, "{text}");
        }
    }
}
