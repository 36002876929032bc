//! What a client said, and what it gets for it.

use super::{HubRequest, Now, Phase, Request, Session};
use crate::protocol::{ClientMessage, CloseCause, MessageError, ServerMessage, outbound::RawId};

pub(super) const TOO_MANY_SNAPSHOTS: &str = "too_many_snapshots";

impl Session {
    /// The client said something, in a message of so many bytes, which `read` makes out if it may say so much. May ask for
    /// something.
    pub fn on_message(
        &mut self,
        bytes: usize,
        read: impl FnOnce() -> Result<ClientMessage, MessageError>,
        now: Now,
    ) -> Option<Request> {
        self.on_alive(now);
        if self.cause().is_some() || !self.admits(bytes, now) {
            return None;
        }
        match read() {
            Ok(message) => self.on_said(message, now),
            Err(error) => {
                self.refuse(&error, now);
                let follows = error.code == "sync_too_large" && self.cause().is_none();
                if follows { self.ask(HubRequest::Restart, error.id, now) } else { None }
            }
        }
    }

    /// The client sent so many bytes that say nothing, and count nevertheless.
    pub fn on_noise(&mut self, bytes: usize, now: Now) {
        self.on_alive(now);
        if self.cause().is_none() {
            self.admits(bytes, now);
        }
    }

    /// The client lives.
    pub fn on_alive(&mut self, now: Now) {
        self.keepalive.on_sign_of_life(now.instant);
    }

    /// The client says goodbye, by this code if its transport has any. It is told nothing more.
    pub fn on_closed(&mut self, code: u16) {
        if self.cause().is_some() {
            return;
        }
        self.outbox.clear();
        self.client_code = Some(code);
        self.phase = Phase::Ending { cause: CloseCause::ClientClosed };
    }

    /// What the transport found out about the connection ends the session.
    pub fn on_broken(&mut self, cause: CloseCause) {
        match cause {
            CloseCause::ConnectionLost => self.phase = Phase::Ended { cause: self.cause().unwrap_or(cause) },
            _ => self.close(cause, None),
        }
    }

    fn on_said(&mut self, message: ClientMessage, now: Now) -> Option<Request> {
        match message {
            ClientMessage::Ping { id, form } => {
                self.outbox.push(form.pong(id.as_ref()));
                None
            }
            ClientMessage::Alive => None,
            ClientMessage::Sync { orders, id } => {
                self.ask(orders.map_or(HubRequest::Restart, HubRequest::Sync), id, now)
            }
            ClientMessage::Subscribe { order_ids, user_id, id } => {
                let foreign = user_id.is_some() && user_id.as_deref() != self.user.as_ref().map(|user| user.as_str());
                if foreign {
                    let message = "\"userId\" is not the user of the token".to_owned();
                    self.refuse(&MessageError { code: "forbidden", message, id }, now);
                    return None;
                }
                self.ask(HubRequest::Subscribe(order_ids), id, now)
            }
            ClientMessage::Refresh { token, id } => Some(Request::Verify { token, id }),
        }
    }

    /// Asks the hub for a snapshot.
    fn ask(&mut self, request: HubRequest, id: Option<RawId>, now: Now) -> Option<Request> {
        if !self.affords(&request, id, now) {
            return None;
        }
        self.phase = Phase::Open;
        self.snapshot_due = Some(now.instant + self.config.snapshot_timeout);
        Some(request.into())
    }

    /// Whether the client may ask for this, which is answered by a snapshot, now. If not, it is told.
    pub(super) fn affords(&mut self, request: &HubRequest, id: Option<RawId>, now: Now) -> bool {
        let affords = self.limits.admits_snapshot(request.named(), now.instant);
        if !affords {
            let message = "snapshots were asked for too often; once a second is always fine".to_owned();
            self.refuse(&MessageError { code: TOO_MANY_SNAPSHOTS, message, id }, now);
        }
        affords
    }

    fn admits(&mut self, bytes: usize, now: Now) -> bool {
        let admitted = self.limits.admits_message(bytes, now.instant);
        if !admitted {
            self.close(CloseCause::TooManyMessages, None);
        }
        admitted
    }

    pub(super) fn refuse(&mut self, error: &MessageError, now: Now) {
        let answer =
            ServerMessage::Error { code: error.code, message: &error.message, id: error.id.as_ref(), order_id: None };
        self.outbox.push(answer.message());
        self.count_error(now);
    }

    /// A message of the client was answered by `error`, once or, for each order it named, again.
    pub(super) fn count_error(&mut self, now: Now) {
        if !self.limits.tolerates_error(now.instant) {
            self.close(CloseCause::TooManyErrors, None);
        }
    }
}
