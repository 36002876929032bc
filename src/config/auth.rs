//! `auth`: which tokens are good.

use std::{path::PathBuf, time::Duration};

use secrecy::SecretString;

use super::{
    reader::{STARS, Section},
    rule::{duration, one_of, readable_file, secret, text},
};

/// Shortest secret for HMAC, as RFC 7518 wants it for HS256.
pub const MIN_SECRET_BYTES: usize = 32;

/// Keys and claims of tokens. The keys come from exactly one source: `secret` or `public_key_files`.
#[derive(Debug, Clone)]
pub struct Auth {
    /// Signature algorithms accepted, all of the kind of the keys. Default `HS256`.
    pub algorithms: Vec<Algorithm>,
    /// Verifies and signs HMAC tokens. At least 32 bytes.
    pub secret: Option<SecretString>,
    /// Verifies HMAC tokens too, while the secret is being replaced. At least 32 bytes.
    pub previous_secret: Option<SecretString>,
    /// PEM files of one public key each. A token whose `kid` is the name of one of the files without its ending is checked
    /// with that key, any other with every key that fits its algorithm. Default none.
    pub public_key_files: Vec<PathBuf>,
    /// The claim that names the user. Default `sub`.
    pub user_claim: String,
    /// `iss` a token must have. Default: any.
    pub issuer: Option<String>,
    /// `aud` a token must have or list. Default: any.
    pub audience: Option<String>,
    /// How far clocks may be apart when a token is checked. 0 s to 30 s, default 5 s.
    pub leeway: Duration,
}

/// How a token is signed (RFC 7518).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as RFC 7518 names them")]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    const NAMES: &[(&str, Self)] = &[
        ("HS256", Self::HS256),
        ("HS384", Self::HS384),
        ("HS512", Self::HS512),
        ("RS256", Self::RS256),
        ("RS384", Self::RS384),
        ("RS512", Self::RS512),
        ("PS256", Self::PS256),
        ("PS384", Self::PS384),
        ("PS512", Self::PS512),
        ("ES256", Self::ES256),
        ("ES384", Self::ES384),
        ("EdDSA", Self::EdDSA),
    ];

    /// Whether the key is a secret that both sides know.
    pub fn is_hmac(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }
}

impl Auth {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let stars = |_: &str| STARS.to_owned();
        Self {
            algorithms: section.list("algorithms", "HS256", one_of(Algorithm::NAMES)),
            secret: section.secret("secret", secret(MIN_SECRET_BYTES), stars),
            previous_secret: section.secret("previous_secret", secret(MIN_SECRET_BYTES), stars),
            public_key_files: section.list("public_key_files", "", readable_file()),
            user_claim: section.value("user_claim", "sub", text(128)),
            issuer: section.optional("issuer", text(512)),
            audience: section.optional("audience", text(512)),
            leeway: section.value("leeway", "5s", duration("0s", "30s")),
        }
    }
}
