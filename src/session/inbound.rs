//! What a client said, and what it gets for it.

use super::{HubRequest, Now, Phase, Request, Session};
use crate::protocol::{ClientMessage, CloseCause, Frame, MessageError, ServerMessage, close::NO_CODE, outbound::RawId};

pub(super) const TOO_MANY_SNAPSHOTS: &str = "too_many_snapshots";

/// One thing that came from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A Ping with its payload.
    Ping(&'a [u8]),
    /// A Pong.
    Pong,
    /// A Close frame, with its code if it has one.
    Close(Option<u16>),
    /// Something that ends the session: what the transport found out about the frames, or the end of the connection.
    Broken(CloseCause),
}

impl Session {
    /// Takes what came from the client. May ask for something.
    pub fn on_inbound(&mut self, inbound: Inbound<'_>, now: Now) -> Option<Request> {
        self.keepalive.on_sign_of_life(now.instant);
        if let Inbound::Close(code) = inbound {
            self.on_close(code);
            return None;
        }
        if let Inbound::Broken(CloseCause::ConnectionLost) = inbound {
            self.phase = Phase::Ended { cause: self.cause().unwrap_or(CloseCause::ConnectionLost) };
            return None;
        }
        if self.cause().is_some() {
            return None;
        }
        match inbound {
            Inbound::Text(text) => self.on_text(text, now),
            Inbound::Ping(payload) => {
                if self.admits(payload.len(), now) {
                    self.outbox.set_pong(payload);
                }
                None
            }
            Inbound::Pong => {
                // Nobody asked for more than one a heartbeat.
                self.admits(0, now);
                None
            }
            Inbound::Binary(_) => {
                self.close(CloseCause::BinaryNotSupported, None, now);
                None
            }
            Inbound::Broken(cause) => {
                self.close(cause, None, now);
                None
            }
            Inbound::Close(_) => None,
        }
    }

    fn on_text(&mut self, text: &str, now: Now) -> Option<Request> {
        if !self.admits(text.len(), now) {
            return None;
        }
        match ClientMessage::parse(text) {
            Ok(ClientMessage::Ping { id, form }) => {
                self.outbox.push(form.pong(id.as_ref()));
                None
            }
            Ok(ClientMessage::Alive) => None,
            Ok(ClientMessage::Sync { orders, id }) => {
                self.ask(orders.map_or(HubRequest::Restart, HubRequest::Sync), id, now)
            }
            Ok(ClientMessage::Subscribe { order_ids, user_id, id }) => {
                let foreign = user_id.is_some() && user_id.as_deref() != self.user.as_ref().map(|user| user.as_str());
                if foreign {
                    let message = "\"userId\" is not the user of the token".to_owned();
                    self.refuse(&MessageError { code: "forbidden", message, id }, now);
                    return None;
                }
                self.ask(HubRequest::Subscribe(order_ids), id, now)
            }
            Ok(ClientMessage::Refresh { token, id }) => Some(Request::Verify { token, id }),
            Err(error) => {
                self.refuse(&error, now);
                let follows = error.code == "sync_too_large" && self.cause().is_none();
                if follows { self.ask(HubRequest::Restart, error.id, now) } else { None }
            }
        }
    }

    /// Asks the hub for a snapshot.
    fn ask(&mut self, request: HubRequest, id: Option<RawId>, now: Now) -> Option<Request> {
        if !self.affords(&request, id, now) {
            return None;
        }
        self.phase = Phase::Open;
        self.snapshot_due = Some(now.instant + self.rules.snapshot_timeout);
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
            self.close(CloseCause::TooManyMessages, None, now);
        }
        admitted
    }

    pub(super) fn refuse(&mut self, error: &MessageError, now: Now) {
        let answer =
            ServerMessage::Error { code: error.code, message: &error.message, id: error.id.as_ref(), order_id: None };
        self.outbox.push(answer.frame());
        self.count_error(now);
    }

    /// A message of the client was answered by `error`, once or, for each order it named, again.
    pub(super) fn count_error(&mut self, now: Now) {
        if !self.limits.tolerates_error(now.instant) {
            self.close(CloseCause::TooManyErrors, None, now);
        }
    }

    /// The client's Close ends the session; if it is not the answer to ours, it is answered, with its own code.
    fn on_close(&mut self, code: Option<u16>) {
        if let Some(cause) = self.cause() {
            self.phase = Phase::Ended { cause };
            return;
        }
        self.outbox.clear();
        let cause = CloseCause::ClientClosed;
        self.outbox.push(Frame::close(code.map(|code| (code, cause.reason()))));
        self.client_code = Some(code.unwrap_or(NO_CODE));
        self.phase = Phase::Ended { cause };
    }
}
