//! Why a request's token is refused. What the outside learns is the code; which part was wrong stays inside.

pub(super) const TOO_LARGE: &str = "the token is larger than 8 KiB";
pub(super) const CONFLICTING: &str = "the request carries two different tokens";
pub(super) const WITHOUT_SUBPROTOCOL: &str =
    "the subprotocol bearer.<token> must be offered together with ordercast.v1";

/// The parts that may carry a token are no text, so nobody can say whether one is there.
pub const UNREADABLE: &str = "a header that may carry a token cannot be read";

/// A token is not accepted. Displays what the outside may know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The request carries none.
    #[error("a token is needed: ?token=, Authorization: Bearer, or the subprotocols ordercast.v1, bearer.<token>")]
    Missing,
    /// Something about it is wrong.
    #[error("the token is not valid")]
    Invalid(Flaw),
    /// It was good, and its time is over.
    #[error("the token has expired")]
    Expired,
    /// The key that would verify it cannot be had now. Says nothing about the token.
    #[error("the keys that verify tokens cannot be had now; try again")]
    KeysUnavailable,
    /// The request cannot be read as carrying one token; the text says why.
    #[error("{0}")]
    Malformed(&'static str),
}

impl TokenError {
    /// The stable code of the refusal.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing_token",
            Self::Invalid(_) => "invalid_token",
            Self::Expired => "expired_token",
            Self::KeysUnavailable => "keys_unavailable",
            Self::Malformed(_) => "bad_request",
        }
    }

    /// Which part was wrong: for the log at debug level, never for the answer.
    pub fn flaw(self) -> Option<Flaw> {
        match self {
            Self::Invalid(flaw) => Some(flaw),
            _ => None,
        }
    }
}

/// Which part of a token was wrong. Holds none of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Not a JWT, or its header or claims are not what they must be.
    Malformed,
    /// Its algorithm is not among those configured.
    Algorithm,
    /// It asks for an extension (`crit`); none is known here.
    Extension,
    /// No key verifies it.
    Signature,
    /// `iss` is not the configured one.
    Issuer,
    /// `aud` does not name the configured one.
    Audience,
    /// `exp` is missing or no time.
    Expiry,
    /// `nbf` is no time, or still ahead.
    NotBefore,
    /// `iat` is no time, or lies ahead.
    IssuedAt,
    /// `jti` is no id.
    TokenId,
    /// The user's claim is no id.
    User,
    /// `orders` is no list of ids, or too long.
    Orders,
    /// It names neither a user nor an order.
    Nobody,
    /// An operator took it back.
    Revoked,
}
