//! The verifier: a token and a time in, a principal or a refusal out.

use std::fmt;

use jsonwebtoken::{
    decode, decode_header,
    errors::{Error, ErrorKind},
};
use serde_json::{Map, Value};

use super::{Flaw, Principal, TokenError, claims::ClaimRules, error::TOO_LARGE, keyring::Keyring, keys::Keys};
use crate::{
    config::{Auth, SettingsError},
    domain::Timestamp,
};

/// Largest token that is looked at.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Checks tokens. Made once, shared by all workers.
pub struct Verifier {
    keyring: Keyring,
    auth: Auth,
    rules: ClaimRules,
}

impl Verifier {
    /// Reads the key files; what is wrong with them is a problem of the settings.
    pub fn new(auth: &Auth) -> Result<Self, SettingsError> {
        let rules = ClaimRules { user_claim: auth.user_claim.clone(), leeway: auth.leeway };
        let keyring = match auth.jwks_url {
            Some(_) => Keyring::remote(),
            None => Keyring::given(Keys::new(auth)?),
        };
        Ok(Self { keyring, auth: auth.clone(), rules })
    }

    /// Reads the key files and secret files again. What is wrong with one of them leaves all keys as they are.
    pub fn reread_files(&self) -> Result<(), SettingsError> {
        self.keyring.replace(Keys::new(&self.auth.with_secrets_reread()?)?);
        Ok(())
    }

    /// Takes a key set that was fetched, or kept from an earlier fetch. What is wrong with it leaves the keys as they are.
    pub fn take_key_set(&self, set: &[u8]) -> Result<(), &'static str> {
        self.keyring.replace(Keys::of_set(set, &self.auth)?);
        Ok(())
    }

    /// Notes that a fetch of the key set has begun.
    pub fn on_fetching(&self, now: Timestamp) {
        self.keyring.on_fetching(now);
    }

    /// Notes how a fetch of the key set that was begun at `now` ended, and lets those go on who wait for it.
    pub fn on_fetched(&self, succeeded: bool, now: Timestamp) {
        self.keyring.on_fetched(succeeded, now);
    }

    /// Waits until a key is asked for that the set does not have. Cancel safe.
    pub async fn key_wanted(&self) {
        self.keyring.wanted().await;
    }

    /// As [`verify`](Self::verify), but waits a moment for a key that is not here yet.
    pub async fn verify_fetching(&self, token: &str, clock: impl Fn() -> Timestamp) -> Result<Principal, TokenError> {
        let mut fetches = self.keyring.fetches();
        match self.verify(token, clock()) {
            Err(TokenError::KeysUnavailable) => {
                fetches.wait().await;
                self.verify(token, clock())
            }
            verified => verified,
        }
    }

    /// Whom `token` speaks for at `now`; white space around it is none of it. Where its key would have to be fetched first, that is asked for, and the answer is
    /// [`TokenError::KeysUnavailable`].
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Principal, TokenError> {
        let token = token.trim();
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed(TOO_LARGE));
        }
        let claims = self.verified_claims(token, now)?;
        self.rules.principal(&claims, now)
    }

    fn verified_claims(&self, token: &str, now: Timestamp) -> Result<Map<String, Value>, TokenError> {
        let header = decode_header(token).map_err(|_| TokenError::Invalid(Flaw::Malformed))?;
        if header.crit.is_some() {
            return Err(TokenError::Invalid(Flaw::Extension));
        }
        let keys = self.keyring.keys_for(header.kid.as_deref(), now)?;
        let mut flaw = Flaw::Algorithm;
        for key in keys.candidates(&header) {
            match decode(token, &key.key, &key.validation) {
                Ok(verified) => return Ok(verified.claims),
                Err(error) => flaw = flaw_of(&error),
            }
            // Another key may have signed it; nothing else gets better with another key.
            if flaw != Flaw::Signature {
                break;
            }
        }
        Err(TokenError::Invalid(flaw))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys are chosen by a token's algorithm, and of claims only two are required, so no token comes as far as this.
    #[test]
    fn what_the_library_may_find_besides_has_its_flaw_too() {
        let missing = |claim: &str| ErrorKind::MissingRequiredClaim(claim.to_owned());
        for (found, flaw) in [
            (ErrorKind::InvalidAlgorithm, Flaw::Algorithm),
            (missing("iss"), Flaw::Issuer),
            (missing("aud"), Flaw::Audience),
            (missing("sub"), Flaw::Malformed),
        ] {
            assert_eq!(flaw_of(&found.into()), flaw);
        }
    }
}
