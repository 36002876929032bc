//! What the server sends, one JSON object per message.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Message, StaleReasons};
use crate::domain::{OrderId, OrderState, Rev, Timestamp, UserId};

/// Every message but the order-carrying ones, which are encoded once and shared: see [`order_status`] and
/// [`super::SnapshotPages`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage<'a> {
    /// The first message of every session.
    Welcome {
        /// Names the session in logs and for operators.
        session_id: &'a str,
        /// Null for a link.
        user_id: Option<&'a UserId>,
        /// A client that has seen nothing for twice this long treats the socket as dead.
        heartbeat_ms: u64,
        /// When the token, and with it the session, ends.
        expires_at: Timestamp,
        /// The server's clock.
        server_time: Timestamp,
        /// [`super::VERSION`].
        protocol: u32,
    },
    /// The order is not, or no longer, for this viewer.
    Removed {
        /// The order.
        order_id: &'a OrderId,
    },
    /// Sent every `session.heartbeat_interval`, followed by a Ping in the same write.
    Heartbeat {
        /// The server's clock.
        server_time: Timestamp,
    },
    /// Answers a client's `ping`.
    Pong {
        /// What the ping carried.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RawId>,
    },
    /// What is shown may be out of date.
    Stale {
        /// Since when.
        since: Timestamp,
        /// Why.
        reasons: StaleReasons,
    },
    /// Nothing is stale any more.
    Fresh,
    /// What an operator has to say to everybody, or to one user. Told once.
    Announcement {
        /// The text.
        content: &'a str,
        /// When it was made.
        timestamp: Timestamp,
    },
    /// The token ends soon.
    TokenExpiring {
        /// When.
        expires_at: Timestamp,
    },
    /// The session goes on with the token of a `refresh`.
    TokenRefreshed {
        /// Until when.
        expires_at: Timestamp,
    },
    /// A message of the client was refused.
    Error {
        /// Stable, for programs.
        code: &'static str,
        /// For people.
        message: &'a str,
        /// The `id` of the refused message, if it had one.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RawId>,
        /// The order it is about, for `order_not_visible`.
        #[serde(skip_serializing_if = "Option::is_none")]
        order_id: Option<&'a OrderId>,
    },
    /// The last message.
    Closing {
        /// The close code that follows.
        code: u16,
        /// Its name.
        reason: &'static str,
        /// Whether to connect again.
        retry: bool,
        /// After how long, where the server wants to say.
        #[serde(skip_serializing_if = "Option::is_none")]
        reconnect_after_ms: Option<u64>,
    },
}

impl ServerMessage<'_> {
    /// The message, finished.
    pub fn message(&self) -> Message {
        Message::json(self)
    }
}

/// A client's own `id`, echoed as it came: any JSON string or number of at most 64 bytes.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct RawId(pub(super) Box<RawValue>);

impl PartialEq for RawId {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}
impl Eq for RawId {}

/// The `removed` message of an order.
pub fn removed(order_id: &OrderId) -> Message {
    ServerMessage::Removed { order_id }.message()
}

/// An order's new state, as one record set it: encoded once, shared with every session that may see the order.
pub fn order_status(state: &OrderState, previous: Option<&OrderState>) -> Message {
    #[derive(Serialize)]
    struct OrderStatus<'a> {
        r#type: &'static str,
        #[serde(flatten)]
        order: OrderFields<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        event_id: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        previous_status: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        previous_version: Option<u64>,
    }
    Message::json(&OrderStatus {
        r#type: "order_status",
        order: OrderFields::of(state),
        event_id: state.event_id.as_deref(),
        previous_status: previous.map(|previous| &*previous.status),
        previous_version: previous.map(|previous| previous.version.number),
    })
}

/// What every order-carrying message says of an order, but its timeline.
#[derive(Serialize)]
pub(super) struct OrderFields<'a> {
    order_id: &'a OrderId,
    status: &'a str,
    version: u64,
    rev: WireRev,
    terminal: bool,
    occurred_at: Timestamp,
    details: &'a RawValue,
}

#[derive(Serialize)]
#[serde(into = "String")]
#[derive(Clone)]
struct WireRev(Rev);

impl From<WireRev> for String {
    fn from(rev: WireRev) -> Self {
        rev.0.to_string()
    }
}

impl<'a> OrderFields<'a> {
    pub(super) fn of(state: &'a OrderState) -> Self {
        Self {
            order_id: &state.order_id,
            status: &state.status,
            version: state.version.number,
            rev: WireRev(state.rev()),
            terminal: state.terminal,
            occurred_at: state.occurred_at,
            details: state.details.as_deref().unwrap_or_else(|| no_details()),
        }
    }
}

fn no_details() -> &'static RawValue {
    serde_json::from_str("{}").expect("an empty object is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Epoch, Stamp, Version, VersionKind, order::tests::paid};

    #[test]
    fn an_update_says_which_state_it_is_and_what_was_before() {
        let state = |number, offset| OrderState {
            status: format!("s{number}").into(),
            terminal: true,
            version: Version { kind: VersionKind::Field, number },
            stamp: Stamp { epoch: Epoch(7), partition: 3, offset },
            occurred_at: Timestamp::parse_rfc3339("2026-11-21T10:00:00Z").unwrap(),
            event_id: Some("e-1".into()),
            ..paid("A-1", "u-1")
        };
        let message = order_status(&state(2, 9), Some(&state(1, 8)));
        let told: serde_json::Value = serde_json::from_slice(message.bytes()).unwrap();
        let wanted = serde_json::json!({
            "type": "order_status", "order_id": "A-1", "status": "s2", "version": 2, "rev": state(2, 9).rev().to_string(),
            "terminal": true, "occurred_at": "2026-11-21T10:00:00.000Z", "details": {}, "event_id": "e-1",
            "previous_status": "s1", "previous_version": 1,
        });
        assert_eq!(told, wanted);
        assert_eq!(told["rev"].as_str().unwrap().parse::<Rev>(), Ok(state(2, 9).rev()));
    }

    #[test]
    fn ids_are_the_same_that_were_written_the_same() {
        let id = |text: &str| RawId(RawValue::from_string(text.to_owned()).unwrap());
        assert_eq!(id("7"), id("7"));
        assert!(id("7") != id("8") && id("7") != id(r#""7""#) && id("7") != id("7.0"), "each is echoed as it came");
    }
}
