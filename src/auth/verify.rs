//! The verifier: a token and a time in, a principal or a refusal out.

use std::fmt;

use jsonwebtoken::{
    decode, decode_header,
    errors::{Error, ErrorKind},
};
use serde_json::{Map, Value};

use super::{Flaw, Principal, TokenError, claims::ClaimRules, error::TOO_LARGE, keys::Keys};
use crate::{
    config::{Auth, SettingsError},
    event::Timestamp,
};

/// Largest token that is looked at.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Checks tokens. Made once, shared by all workers.
pub struct Verifier {
    keys: Keys,
    rules: ClaimRules,
}

impl Verifier {
    /// Reads the key files; what is wrong with them is a problem of the settings.
    pub fn new(auth: &Auth) -> Result<Self, SettingsError> {
        let rules = ClaimRules { user_claim: auth.user_claim.clone(), leeway: auth.leeway };
        Ok(Self { keys: Keys::new(auth)?, rules })
    }

    /// Whom `token` speaks for at `now`.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Principal, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed(TOO_LARGE));
        }
        let claims = self.verified_claims(token).map_err(TokenError::Invalid)?;
        self.rules.principal(&claims, now)
    }

    fn verified_claims(&self, token: &str) -> Result<Map<String, Value>, Flaw> {
        let header = decode_header(token).map_err(|_| Flaw::Malformed)?;
        if header.crit.is_some() {
            return Err(Flaw::Extension);
        }
        let mut flaw = Flaw::Algorithm;
        for key in self.keys.candidates(&header) {
            match decode(token, &key.key, &key.validation) {
                Ok(verified) => return Ok(verified.claims),
                Err(error) => flaw = flaw_of(&error),
            }
            // Another key may have signed it; nothing else gets better with another key.
            if flaw != Flaw::Signature {
                break;
            }
        }
        Err(flaw)
    }
}

/// Shows no key.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("rules", &self.rules).finish_non_exhaustive()
    }
}

fn flaw_of(error: &Error) -> Flaw {
    match error.kind() {
        ErrorKind::InvalidSignature => Flaw::Signature,
        ErrorKind::InvalidAlgorithm => Flaw::Algorithm,
        ErrorKind::InvalidIssuer => Flaw::Issuer,
        ErrorKind::InvalidAudience => Flaw::Audience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => Flaw::Issuer,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => Flaw::Audience,
        _ => Flaw::Malformed,
    }
}
