//! What holds for the text of a whole JSON value, checked once before anything reads it: how deep it nests, and that
//! every string in it is Unicode text that a database and every JSON reader can hold. Whoever hands a part of the text
//! on is told what to look for in it.
//!
//! Not a parser: whether the text is JSON is for [`Document`](super::document::Document) to say.

use super::{Refusal, RefusalCode};

/// How many objects and arrays may stand inside one another.
pub const MAX_DEPTH: usize = 64;

/// The longest escape: a surrogate pair takes two of these.
const UNICODE_ESCAPE_BYTES: usize = r"\u0000".len();

/// How many bytes are looked at together: few enough to be counted in a byte.
const CHUNK_BYTES: usize = 128;

/// What has been seen of a text that concerns who hands a part of it on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// A line break. In JSON it can only stand between two tokens.
    pub(super) line_breaks: bool,
    /// What may be a number that no double holds, or one of very many digits.
    pub(super) odd_numbers: bool,
}

impl Findings {
    /// What either text has.
    pub(super) fn and(self, other: Self) -> Self {
        Self { line_breaks: self.line_breaks | other.line_breaks, odd_numbers: self.odd_numbers | other.odd_numbers }
    }
}

/// Checks nesting and escapes in one pass, without recursion.
///
/// U+0000 is refused because PostgreSQL has no text with it. Half a surrogate pair is refused because it is no
/// character: some JSON readers fail on the whole frame that carries it, so one order would hide all others.
pub(super) fn check(text: &str) -> Result<Findings, Refusal> {
    let bytes = text.as_bytes();
    let (findings, cannot_offend) = scan(bytes);
    if !cannot_offend {
        walk(bytes)?;
    }
    Ok(findings)
}

/// What is to be looked for in a text that has been checked before.
pub(super) fn findings(text: &str) -> Findings {
    scan(text.as_bytes()).0
}

/// Looks at a whole text. The second answer is whether it opens too few containers to be too deep and escapes nothing,
/// as most do. Short chunks and byte-wide counts let the compiler make vector code of it: a fifth of the time that
/// walking the text takes.
fn scan(bytes: &[u8]) -> (Findings, bool) {
    let (mut findings, mut opened, mut escapes) = (Findings::default(), 0, 0_u8);
    for (index, chunk) in bytes.chunks(CHUNK_BYTES).enumerate() {
        let (mut opens, mut breaks, mut others) = (0_u8, 0_u8, 0_u8);
        for byte in chunk {
            opens += u8::from(matches!(byte, b'{' | b'['));
            escapes |= u8::from(*byte == b'\\');
            breaks |= u8::from(matches!(byte, b'\n' | b'\r'));
            others |= u8::from(!is_of_number(*byte));
        }
        // A number with less than a chunk of digits is finite, unless its exponent is positive.
        let (from, mut exponents) = (index * CHUNK_BYTES, 0_u8);
        let behind = |by: usize| bytes.get(from + by..).unwrap_or_default();
        for ((digit, letter), next) in chunk.iter().zip(behind(1)).zip(behind(2)) {
            let is_exponent = (*letter | 0x20 == b'e') & (next.is_ascii_digit() | (*next == b'+'));
            exponents |= u8::from(digit.is_ascii_digit() & is_exponent);
        }
        opened += usize::from(opens);
        findings.line_breaks |= breaks > 0;
        findings.odd_numbers |= exponents > 0 || others == 0 && chunk.len() == CHUNK_BYTES;
    }
    (findings, escapes == 0 && opened <= MAX_DEPTH)
}

/// Whether a number may have this byte.
pub(super) fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() | matches!(byte, b'.' | b'+' | b'-' | b'e' | b'E')
}

fn walk(bytes: &[u8]) -> Result<(), Refusal> {
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
    fn line_breaks_and_numbers_that_may_be_too_large_are_found_anywhere() {
        let found = |text: &str| check(text).map(|found| (found.line_breaks, found.odd_numbers)).ok();
        for at in [0, 1, 100, 126, 127, 128, 129, 255, 256, 300] {
            let text = |what: &str| format!("[{}{what}]", " ".repeat(at));
            assert_eq!(found(&text("1.5e-400, \"2f1e-7d52\", 12")), Some((false, false)), "{at}");
            assert_eq!(found(&text("\n1")), Some((true, false)), "{at}");
            assert_eq!(found(&text("\r1")), Some((true, false)), "{at}");
            for number in ["1e400", "1E400", "1e+400", "1.0e400", &"9".repeat(309)] {
                assert_eq!(found(&text(number)), Some((false, true)), "{number} at {at}");
            }
            let escaped = text(r#""\\",1e400"#);
            assert_eq!(found(&escaped), Some((false, true)), "a text with escapes is looked at to its end");
        }
    }

    #[test]
    fn what_is_no_json_is_left_to_the_parser() {
        for text in ["", "\"", "\"\\", "\"\\u", "\"\\u12", "\"\\u+123\"", "\"\\uZZZZ\"", "]]]]}}", "\\u0000"] {
            assert_eq!(code(text), None, "{text}");
        }
    }
}
