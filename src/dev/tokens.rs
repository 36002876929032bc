//! Tokens for everybody who asks: what makes `ordercast dev` unfit for production.

use std::time::Duration;

use crate::{
    auth::{Grant, Signer},
    domain::{Timestamp, UserId},
};

/// Signs tokens of the demo's users.
#[derive(Debug)]
pub(super) struct Tokens(Signer);

impl Tokens {
    /// Signs with the instance's own key.
    pub(super) fn new(signer: Signer) -> Self {
        Self(signer)
    }

    /// A new token of this user, good from now on.
    pub(super) fn token(&self, user: &UserId, ttl: Duration) -> String {
        let issued_at = Timestamp::now();
        let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let expires_at = Timestamp::from_millis(issued_at.as_millis().saturating_add(ttl)).unwrap_or(issued_at);
        self.0.sign(&Grant { user: Some(user.clone()), orders: None, issued_at, expires_at, token_id: None })
    }
}
