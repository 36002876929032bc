//! From the claims of a token whose signature is good to a principal. Pure; the time is an argument.

use std::{collections::HashSet, sync::Arc, time::Duration};

use serde_json::{Map, Value};

use super::{Flaw, TokenError};
use crate::domain::{OrderId, OrderList, Timestamp, UserId, Viewer};

/// Most orders a token may list.
pub const MAX_ORDERS: usize = 500;

/// Whom a token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Who looks.
    pub viewer: Viewer,
    /// When a session with this token ends. May have just passed: the leeway is for the handshake only.
    pub expires_at: Timestamp,
    /// When the token was issued, where it says so.
    pub issued_at: Option<Timestamp>,
    /// The token's own id, where it has one.
    pub token_id: Option<String>,
}

/// How claims are read.
#[derive(Debug, Clone)]
pub(super) struct ClaimRules {
    pub(super) user_claim: String,
    pub(super) leeway: Duration,
}

impl ClaimRules {
    /// Expiry is judged last, so *expired* means that nothing else is wrong.
    pub(super) fn principal(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<Principal, TokenError> {
        let claim = |name: &str| claims.get(name).filter(|value| !value.is_null());
        let moment =
            |name, flaw| claim(name).map(|value| numeric_date(value).ok_or(TokenError::Invalid(flaw))).transpose();
        let leeway = i64::try_from(self.leeway.as_millis()).unwrap_or(i64::MAX);
        let is_ahead = |moment: Timestamp| now.as_millis().saturating_add(leeway) < moment.as_millis();

        let viewer = viewer(claim(&self.user_claim), claim("orders")).map_err(TokenError::Invalid)?;
        let token_id =
            claim("jti").map(|value| id_text(value).ok_or(TokenError::Invalid(Flaw::TokenId))).transpose()?;
        let issued_at = moment("iat", Flaw::IssuedAt)?;
        // What revokes a user's tokens goes by this moment: one that is dated ahead would outlive that.
        if issued_at.is_some_and(is_ahead) {
            return Err(TokenError::Invalid(Flaw::IssuedAt));
        }
        if moment("nbf", Flaw::NotBefore)?.is_some_and(is_ahead) {
            return Err(TokenError::Invalid(Flaw::NotBefore));
        }
        let expires_at = moment("exp", Flaw::Expiry)?.ok_or(TokenError::Invalid(Flaw::Expiry))?;
        if now.as_millis() >= expires_at.as_millis().saturating_add(leeway) {
            return Err(TokenError::Expired);
        }
        Ok(Principal { viewer, expires_at, issued_at, token_id })
    }
}

fn viewer(user: Option<&Value>, orders: Option<&Value>) -> Result<Viewer, Flaw> {
    let user =
        user.map(|value| id_text(value).and_then(|text| UserId::parse(&text).ok()).ok_or(Flaw::User)).transpose()?;
    let orders = orders.map(|value| order_list(value).ok_or(Flaw::Orders)).transpose()?;
    match (user, orders) {
        (Some(id), only) => Ok(Viewer::User { id, only }),
        (None, Some(orders)) if !orders.is_empty() => Ok(Viewer::Link { orders }),
        _ => Err(Flaw::Nobody),
    }
}

fn order_list(value: &Value) -> Option<OrderList> {
    let ids = value.as_array().filter(|ids| ids.len() <= MAX_ORDERS)?;
    let orders: Option<HashSet<_>> = ids.iter().map(|id| OrderId::parse(&id_text(id)?).ok()).collect();
    orders.map(Arc::new)
}

/// An id as in events: text, or an integer's decimal digits.
fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

/// RFC 7519's NumericDate: seconds, perhaps with a fraction. A time in milliseconds falls outside the years there are.
fn numeric_date(value: &Value) -> Option<Timestamp> {
    let millis = match value.as_i64() {
        Some(seconds) => seconds.checked_mul(1000)?,
        // The cast saturates, and what is that large is no time.
        None => (value.as_f64()? * 1000.0).floor() as i64,
    };
    Timestamp::from_millis(millis)
}
