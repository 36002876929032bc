//! Tickets: what a page shows instead of its token, once. Pure; where they are kept knows their digests only.

use std::{fmt, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Flaw, Principal, TokenError};
use crate::domain::{OrderId, Timestamp, UserId, Viewer};

const PREFIX: &str = "oct_";
const RANDOM_BYTES: usize = 32;
/// How long a ticket is good at most.
const LIFETIME: Duration = Duration::from_secs(30);

/// A new ticket.
pub struct Ticket(SecretString);

/// Names a ticket without being one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TicketDigest([u8; 32]);

impl Ticket {
    /// A ticket that nobody can guess.
    pub fn generate() -> Self {
        let random: [u8; RANDOM_BYTES] = rand::random();
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)).into())
    }

    /// What its holder is given.
    pub fn text(&self) -> &str {
        self.0.expose_secret()
    }

    /// Its name.
    pub fn digest(&self) -> TicketDigest {
        TicketDigest(Sha256::digest(self.text().as_bytes()).into())
    }
}

impl TicketDigest {
    /// The name of a ticket that somebody shows; `None` if it looks like no ticket, but perhaps like a token.
    pub fn of(shown: &str) -> Option<Self> {
        let random = shown.strip_prefix(PREFIX)?;
        let is_ticket = random.len() == (RANDOM_BYTES * 4).div_ceil(3)
            && random.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        is_ticket.then(|| Self(Sha256::digest(shown.as_bytes()).into()))
    }

    /// The bytes it is kept under.
    pub fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

impl fmt::Debug for TicketDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketDigest(…)")
    }
}

/// A principal as a ticket carries it.
#[derive(Serialize, Deserialize)]
struct Carried {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    orders: Option<Vec<OrderId>>,
    expires_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issued_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
}

impl Principal {
    /// What a ticket says of the principal whose token it was had for.
    pub fn to_claims(&self) -> String {
        let carried = Carried {
            user: self.viewer.user().cloned(),
            orders: self.viewer.listed_orders().map(|orders| orders.iter().cloned().collect()),
            expires_at: self.expires_at,
            issued_at: self.issued_at,
            token_id: self.token_id.clone(),
        };
        serde_json::to_string(&carried).expect("texts and times always have a JSON form")
    }

    /// How long a ticket for this token is good: never longer than the token itself. Where that has ended, even if it is within
    /// the leeway of handshakes, there is none, because nobody could use it.
    pub fn ticket_lifetime(&self, now: Timestamp) -> Result<Duration, TokenError> {
        let left = self.expires_at.as_millis().saturating_sub(now.as_millis());
        match u64::try_from(left) {
            Ok(left) if left > 0 => Ok(LIFETIME.min(Duration::from_millis(left))),
            _ => Err(TokenError::Expired),
        }
    }

    /// The principal a ticket speaks for, as long as the token would.
    pub fn from_claims(claims: &str, now: Timestamp) -> Result<Self, TokenError> {
        let carried: Carried = serde_json::from_str(claims).map_err(|_| TokenError::Invalid(Flaw::Malformed))?;
        let orders = carried.orders.map(|orders| std::sync::Arc::new(orders.into_iter().collect()));
        let viewer = match (carried.user, orders) {
            (Some(id), only) => Viewer::User { id, only },
            (None, Some(orders)) => Viewer::Link { orders },
            (None, None) => return Err(TokenError::Invalid(Flaw::Nobody)),
        };
        if now >= carried.expires_at {
            return Err(TokenError::Expired);
        }
        let Carried { expires_at, issued_at, token_id, .. } = carried;
        Ok(Self { viewer, expires_at, issued_at, token_id })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_ticket_is_found_by_its_digest_and_looks_like_no_token() {
        let (one, other) = (Ticket::generate(), Ticket::generate());
        assert_ne!(one.text(), other.text());
        assert_eq!(TicketDigest::of(one.text()), Some(one.digest()));
        assert_ne!(one.digest(), other.digest());
        assert_eq!(one.digest().to_bytes()[..], Sha256::digest(one.text())[..], "and kept under it");
        let text = one.text();
        for shown in
            ["eyJhbGciOiJIUzI1NiJ9.e30.x", "oct_", "oct_short", &text[4..], &format!("{text}A"), &text.to_uppercase()]
        {
            assert_eq!(TicketDigest::of(shown), None, "{shown}");
        }
    }

    #[test]
    fn a_ticket_ends_with_its_token_and_a_token_that_has_ended_is_changed_for_none() {
        let at = |millis: i64| Timestamp::from_millis(millis).unwrap();
        let viewer = Viewer::User { id: UserId::parse("u-1").unwrap(), only: None };
        let principal = Principal { viewer, expires_at: at(60_000), issued_at: None, token_id: None };
        for (now, seconds) in [
            (0, Some(30.0)),
            (30_000, Some(30.0)),
            (30_001, Some(29.999)),
            (59_999, Some(0.001)),
            (60_000, None),
            (64_000, None),
        ] {
            let lifetime = principal.ticket_lifetime(at(now));
            assert_eq!(lifetime, seconds.map(Duration::from_secs_f64).ok_or(TokenError::Expired), "{now}");
            let shown = Principal::from_claims(&principal.to_claims(), at(now));
            assert_eq!(shown.is_ok(), lifetime.is_ok(), "{now}: what is given can be used");
        }
    }

    #[test]
    fn a_ticket_carries_its_token_s_claims_and_ends_with_it() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000).unwrap();
        let orders: Arc<std::collections::HashSet<OrderId>> = Arc::new([OrderId::parse("A-1").unwrap()].into());
        let id = UserId::parse("u-1").unwrap();
        for viewer in [
            Viewer::User { id: id.clone(), only: None },
            Viewer::User { id: id.clone(), only: Some(Arc::default()) },
            Viewer::User { id, only: Some(orders.clone()) },
            Viewer::Link { orders },
        ] {
            let principal =
                Principal { viewer, expires_at: at(60), issued_at: Some(at(1)), token_id: Some("t-\0".into()) };
            let claims = principal.to_claims();
            assert!(!claims.contains('\0'));
            assert_eq!(Principal::from_claims(&claims, at(60)), Err(TokenError::Expired));
            assert_eq!(Principal::from_claims(&claims, at(59)), Ok(principal));
        }
    }
}
