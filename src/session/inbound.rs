//! What a client said, and what it gets for it.

use super::{HubRequest, Now, Phase, Session};
use crate::protocol::{ClientMessage, CloseCause, Frame, MessageError, ServerMessage};

/// One thing that came from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound<'a> {
    /// A text message.
    Text(&'a str),
    /// A Ping with its payload.
    Ping(&'a [u8]),
    /// A Pong.
    Pong,
    /// A Close frame with its code.
    Close(Option<u16>),
    /// Something that ends the session: what the transport found out about the frames, or the end of the connection.
    Broken(CloseCause),
}

impl Session {
    /// Takes what came from the client. May ask something of the hub.
    pub fn on_inbound(&mut self, inbound: Inbound<'_>, now: Now) -> Option<HubRequest> {
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
                if self.admits(now) {
                    self.outbox.set_pong(payload);
                }
                None
            }
            Inbound::Broken(cause) => {
                self.close(cause, None, now);
                None
            }
            Inbound::Pong | Inbound::Close(_) => None,
        }
    }

    fn on_text(&mut self, text: &str, now: Now) -> Option<HubRequest> {
        if !self.admits(now) {
            return None;
        }
        match ClientMessage::parse(text) {
            Ok(ClientMessage::Ping { id }) => {
                self.outbox.push(ServerMessage::Pong { id: id.as_ref() }.frame());
                None
            }
            Ok(ClientMessage::Sync { orders }) => {
                Some(self.ask(orders.map_or(HubRequest::Restart, HubRequest::Sync), now))
            }
            Ok(ClientMessage::Subscribe { order_ids, user_id }) => {
                let foreign = user_id.is_some() && user_id.as_deref() != self.user.as_ref().map(|user| user.as_str());
                if foreign {
                    let message = "\"userId\" is not the user of the token".to_owned();
                    self.refuse(&MessageError { code: "forbidden", message, id: None }, now);
                    return None;
                }
                Some(self.ask(HubRequest::Subscribe(order_ids), now))
            }
            Err(error) => {
                self.refuse(&error, now);
                (error.code == "sync_too_large" && self.cause().is_none()).then(|| self.ask(HubRequest::Restart, now))
            }
        }
    }

    fn ask(&mut self, request: HubRequest, now: Now) -> HubRequest {
        self.phase = Phase::Open;
        self.snapshot_due = Some(now.instant + self.rules.snapshot_timeout);
        request
    }

    fn admits(&mut self, now: Now) -> bool {
        let admitted = self.limits.admits_message(now.instant);
        if !admitted {
            self.close(CloseCause::TooManyMessages, None, now);
        }
        admitted
    }

    fn refuse(&mut self, error: &MessageError, now: Now) {
        let answer =
            ServerMessage::Error { code: error.code, message: &error.message, id: error.id.as_ref(), order_id: None };
        self.outbox.push(answer.frame());
        if !self.limits.tolerates_error(now.instant) {
            self.close(CloseCause::TooManyErrors, None, now);
        }
    }

    /// The client's Close ends the session; if it is not the answer to ours, it is answered.
    fn on_close(&mut self, code: Option<u16>) {
        if let Some(cause) = self.cause() {
            self.phase = Phase::Ended { cause };
            return;
        }
        self.outbox.clear();
        // RFC 6455, section 7.4: codes a client may not send are a protocol error.
        let (cause, answer) = match code {
            None => (CloseCause::ClientClosed, Frame::close(None)),
            Some(1000..=1003 | 1007..=1014 | 3000..=4999) => {
                (CloseCause::ClientClosed, Frame::close(Some((1000, CloseCause::ClientClosed.reason()))))
            }
            Some(_) => {
                let cause = CloseCause::ProtocolError;
                (cause, Frame::close(Some((cause.code(), cause.reason()))))
            }
        };
        self.outbox.push(answer);
        self.phase = Phase::Ended { cause };
    }
}
