//! JSON Pointers (RFC 6901): where the settings say a field stands.

use std::{fmt, str::FromStr};

/// A JSON Pointer. Without tokens (`""`) it points at the whole value.
#[derive(Debug, Clone)]
pub(super) struct Pointer {
    text: Box<str>,
    tokens: Box<[Box<str>]>,
}

/// Why a text is not a JSON Pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidPointer {
    #[error("is not a JSON Pointer: it must be empty (the whole value) or begin with \"/\"")]
    NoSlash,
    #[error("is not a JSON Pointer: \"~\" must be followed by 0 (for \"~\") or 1 (for \"/\")")]
    BadEscape,
}

impl Pointer {
    /// The member names and array indices to follow, from the outside in.
    pub(super) fn tokens(&self) -> &[Box<str>] {
        &self.tokens
    }
}

impl FromStr for Pointer {
    type Err = InvalidPointer;

    fn from_str(text: &str) -> Result<Self, InvalidPointer> {
        let mut parts = text.split('/');
        if parts.next() != Some("") {
            return Err(InvalidPointer::NoSlash);
        }
        Ok(Self { text: text.into(), tokens: parts.map(unescape).collect::<Result<_, _>>()? })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tokens.is_empty() { f.write_str("the whole value") } else { f.write_str(&self.text) }
    }
}

fn unescape(token: &str) -> Result<Box<str>, InvalidPointer> {
    let mut unescaped = String::with_capacity(token.len());
    let mut chars = token.chars();
    while let Some(char) = chars.next() {
        unescaped.push(match char {
            '~' => match chars.next() {
                Some('0') => '~',
                Some('1') => '/',
                _ => return Err(InvalidPointer::BadEscape),
            },
            char => char,
        });
    }
    Ok(unescaped.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<Vec<String>, InvalidPointer> {
        text.parse::<Pointer>().map(|pointer| pointer.tokens().iter().map(|token| token.to_string()).collect())
    }

    #[test]
    fn the_examples_of_rfc_6901_are_read() {
        assert_eq!(tokens(""), Ok(vec![]));
        assert_eq!(tokens("/"), Ok(vec![String::new()]));
        assert_eq!(tokens("/foo/0"), Ok(vec!["foo".into(), "0".into()]));
        assert_eq!(tokens("/a~1b"), Ok(vec!["a/b".into()]));
        assert_eq!(tokens("/m~0n/~01"), Ok(vec!["m~n".into(), "~1".into()]));
        assert_eq!(tokens("/ "), Ok(vec![" ".into()]));
    }

    #[test]
    fn what_is_no_pointer_is_refused_with_a_reason() {
        assert_eq!(tokens("order_id"), Err(InvalidPointer::NoSlash));
        assert_eq!(tokens("$.order_id"), Err(InvalidPointer::NoSlash));
        assert_eq!(tokens("#/order_id"), Err(InvalidPointer::NoSlash));
        assert_eq!(tokens("/a~"), Err(InvalidPointer::BadEscape));
        assert_eq!(tokens("/a~2b"), Err(InvalidPointer::BadEscape));
    }
}
