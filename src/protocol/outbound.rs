//! What the server sends, one JSON object per message.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{CloseCause, Message, StaleReasons};
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

/// The `closing` message of a cause.
pub fn closing(cause: CloseCause, reconnect_after_ms: Option<u64>) -> Message {
    ServerMessage::Closing { code: cause.code(), reason: cause.reason(), retry: cause.retry(), reconnect_after_ms }
        .message()
}

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
