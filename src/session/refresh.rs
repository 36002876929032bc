//! Going on with another token. The core asks for its verification; what comes back decides here.

use super::{HubRequest, Now, Session, inbound::TOO_MANY_SNAPSHOTS};
use crate::{
    domain::{Timestamp, Viewer},
    protocol::{CloseCause, MessageError, ServerMessage, outbound::RawId},
};

/// What a verified token of a `refresh` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// Who looks.
    pub viewer: Viewer,
    /// When the session ends now.
    pub expires_at: Timestamp,
}

/// The token of a `refresh` was not accepted: code and text of the `error` answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedToken {
    /// `invalid_token`, `expired_token` or `keys_unavailable`.
    pub code: &'static str,
    /// For people; holds nothing of the token.
    pub message: String,
}

impl Session {
    /// Takes what became of the token that was to be verified; `id` is the one of the `refresh`.
    ///
    /// A user stays that user and a link stays a link: a token of somebody else ends the session. Which orders the token
    /// lists may change, and the screen follows. A refused token changes nothing: the session lives on to its old end. The
    /// error is what metrics call it. A change of what may be seen counts as a request for a snapshot.
    pub fn on_renewal(
        &mut self,
        renewal: Result<Renewal, RefusedToken>,
        id: Option<RawId>,
        now: Now,
    ) -> Result<HubRequest, &'static str> {
        if self.cause().is_some() {
            return Err("too_late");
        }
        // The leeway of the clocks is for handshakes: with a token that has passed its end the session would end at once.
        let renewal = renewal.and_then(|renewal| match renewal.expires_at > now.wall {
            true => Ok(renewal),
            false => Err(RefusedToken { code: "expired_token", message: "the token has expired".to_owned() }),
        });
        match renewal {
            Ok(renewal) if renewal.viewer.user() != self.user.as_ref() => {
                self.close(CloseCause::InvalidToken, None);
                Err("other_user")
            }
            Ok(renewal) => {
                let same_eyes = self.renewed.as_ref() == Some(&renewal.viewer);
                let request = HubRequest::Refresh(renewal.viewer.clone());
                // Another viewer is shown what they see, which costs as much as any snapshot.
                if !same_eyes && !self.affords(&request, id, now) {
                    return Err(TOO_MANY_SNAPSHOTS);
                }
                self.renewed = Some(renewal.viewer);
                self.expiry.renew(renewal.expires_at);
                self.outbox.push(ServerMessage::TokenRefreshed { expires_at: renewal.expires_at }.message());
                Ok(request)
            }
            Err(RefusedToken { code, message }) => {
                self.refuse(&MessageError { code, message, id }, now);
                Err(code)
            }
        }
    }
}
