//! What the sessions of this instance share, whatever their transport.

use std::{sync::Arc, time::Duration};

use super::Instance;
use crate::{
    auth::{Flaw, Principal, RevocationList, TokenError, Verifier},
    domain::{Holder, Timestamp},
    hub::{Place, SharedHub},
    protocol::inbound::Token,
    session::SessionConfig,
    telemetry::{OutsideLog, SessionMetrics},
};

/// Shared by all sessions.
pub struct ViewerContext {
    /// Where sessions join.
    pub hub: Arc<SharedHub>,
    /// Freshness and drain.
    pub instance: Arc<Instance>,
    /// Checks tokens.
    pub verifier: Arc<Verifier>,
    /// Which good tokens are good no more.
    pub revocations: Arc<RevocationList>,
    /// What the settings say of every session.
    pub config: Arc<SessionConfig>,
    /// The limits of every session.
    pub limits: SessionLimits,
    /// Counts sessions and refusals.
    pub metrics: Arc<SessionMetrics>,
    /// Says which lines are written that somebody outside can cause.
    pub outside: Arc<OutsideLog>,
}

/// What sessions may take, as the settings of the same names say.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// `session.mailbox_bytes`.
    pub mailbox_bytes: usize,
    /// `session.max_per_user`.
    pub max_per_user: usize,
    /// `session.max_per_link`.
    pub max_per_link: usize,
    /// `session.per_user_policy` is `close_oldest`.
    pub closes_oldest: bool,
    /// `session.max_total`.
    pub max_total: usize,
    /// `session.send_timeout`.
    pub send_timeout: Duration,
}

impl SessionLimits {
    /// The place that a session with this principal's token takes.
    pub fn place(&self, principal: &Principal) -> Place {
        let holder = principal.viewer.holder(principal.token_id.as_deref());
        let max = match holder {
            Holder::User(_) => self.max_per_user,
            Holder::Link(_) => self.max_per_link,
        };
        Place { holder, max, closes_oldest: self.closes_oldest }
    }
}

impl ViewerContext {
    /// Verifies the token of a `refresh` with the keys that are at hand.
    pub(super) fn verify(&self, token: &Token, now: Timestamp) -> Result<Principal, TokenError> {
        match self.verifier.verify(token.expose(), now) {
            Ok(principal) if self.is_revoked(&principal, now) => Err(TokenError::Invalid(Flaw::Revoked)),
            verified => verified,
        }
    }

    /// Whether a good token is good no more.
    pub(super) fn is_revoked(&self, principal: &Principal, now: Timestamp) -> bool {
        self.revocations.is_revoked(principal, now)
    }
}
