//! The signer: tokens for `ordercast token`, for `ordercast dev` and for tests. The service itself issues none.

use std::fmt;

use jsonwebtoken::{EncodingKey, Header, encode};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

use super::keys::wire;
use crate::{
    config::{Algorithm, Auth},
    domain::{OrderId, Timestamp, UserId},
};

/// What a token is to say. It should name a user, orders, or both, or no verifier will take it.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The user.
    pub user: Option<UserId>,
    /// The only orders it shows.
    pub orders: Option<Vec<OrderId>>,
    /// From when.
    pub issued_at: Timestamp,
    /// Until when; cut to whole seconds.
    pub expires_at: Timestamp,
    /// Its own id.
    pub token_id: Option<String>,
}

/// Signs tokens that a verifier with the same settings takes.
pub struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
    user_claim: String,
    issuer: Option<String>,
    audience: Option<String>,
}

impl Signer {
    /// Signs with `auth.secret` and the first HMAC algorithm of `auth.algorithms`; `None` without them.
    pub fn new(auth: &Auth) -> Option<Self> {
        Some(Self {
            key: EncodingKey::from_secret(auth.secret.as_ref()?.expose_secret().as_bytes()),
            algorithm: auth.algorithms.iter().copied().find(|algorithm| algorithm.is_hmac())?,
            user_claim: auth.user_claim.clone(),
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
        })
    }

    /// A signed token.
    pub fn sign(&self, grant: &Grant) -> String {
        let seconds = |moment: Timestamp| Value::from(moment.as_millis().div_euclid(1000));
        let orders = grant.orders.as_ref().map(|orders| orders.iter().map(OrderId::as_str).collect::<Value>());
        let claims: Map<String, Value> = [
            ("iss", self.issuer.clone().map(Value::from)),
            ("aud", self.audience.clone().map(Value::from)),
            ("jti", grant.token_id.clone().map(Value::from)),
            ("iat", Some(seconds(grant.issued_at))),
            ("exp", Some(seconds(grant.expires_at))),
            ("orders", orders),
            (self.user_claim.as_str(), grant.user.as_ref().map(|user| Value::from(user.as_str()))),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect();
        encode(&Header::new(wire(self.algorithm)), &claims, &self.key).expect("an HMAC of JSON text cannot fail")
    }
}

/// Shows no key.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}
