//! Why a request's token is refused. What the outside learns is the code; which part was wrong stays inside.

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
    /// It is larger than any token may be.
    #[error("the token is larger than 8 KiB")]
    TooLarge,
    /// The request carries two different ones.
    #[error("the request carries two different tokens")]
    Conflicting,
    /// It came as the subprotocol `bearer.…`, without the subprotocol the server could select.
    #[error("the subprotocol bearer.<token> must be offered together with ordercast.v1")]
    WithoutSubprotocol,
}

impl TokenError {
    /// The stable code of the refusal.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing_token",
            Self::Invalid(_) => "invalid_token",
            Self::Expired => "expired_token",
            Self::TooLarge | Self::Conflicting | Self::WithoutSubprotocol => "bad_request",
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
    /// `iat` is no time.
    IssuedAt,
    /// `jti` is no id.
    TokenId,
    /// The user's claim is no id.
    User,
    /// `orders` is no list of ids, or too long.
    Orders,
    /// It names neither a user nor an order.
    Nobody,
}
