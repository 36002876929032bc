//! Ids of orders and users: parsed once at the edge, cheap to share afterwards, and up to 23 bytes without any allocation.

use std::{borrow::Borrow, fmt};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// Longest accepted id, in characters.
pub const MAX_ID_CHARS: usize = 128;

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// The text is empty.
    #[error("is empty")]
    Empty,
    /// The text has more than [`MAX_ID_CHARS`] characters.
    #[error("is longer than {MAX_ID_CHARS} characters")]
    TooLong,
    /// The text has a control character.
    #[error("contains a control character")]
    ControlCharacter,
}

/// What every id must keep.
pub(super) fn check(text: &str) -> Result<(), InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Empty);
    }
    // Bytes bound characters from above, so most ids need no count.
    if text.len() > MAX_ID_CHARS && text.chars().count() > MAX_ID_CHARS {
        return Err(InvalidId::TooLong);
    }
    if has_control(text) {
        return Err(InvalidId::ControlCharacter);
    }
    Ok(())
}

/// Whether a text has a control character. Most are plain ASCII, which vector code looks through.
pub(super) fn has_control(text: &str) -> bool {
    let is_plain = text.bytes().fold(true, |plain, byte| plain & (b' '..=b'~').contains(&byte));
    !is_plain && text.chars().any(char::is_control)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(SmolStr);

        impl $name {
            /// Accepts 1–128 characters without control characters.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                check(text).map(|()| Self(text.into()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::parse(&text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

id! {
    /// Names an order.
    OrderId
}
id! {
    /// Names a user: a customer, a merchant or a courier.
    UserId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_1_to_128_characters_and_no_control_characters() {
        assert_eq!(OrderId::parse(""), Err(InvalidId::Empty));
        assert_eq!(OrderId::parse(&"é".repeat(128)).map(|id| id.as_str().len()), Ok(256));
        assert_eq!(OrderId::parse(&"é".repeat(129)), Err(InvalidId::TooLong));
        assert_eq!(UserId::parse("a\u{7f}b"), Err(InvalidId::ControlCharacter));
        assert_eq!(UserId::parse("a\0"), Err(InvalidId::ControlCharacter));
    }
}
