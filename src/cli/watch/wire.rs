//! The wire as a client reads it: what the server sends, and the `sync` a client may send. Tolerant: what is not known is
//! passed over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The server's limits for one `sync`.
const MAX_SYNC_ORDERS: usize = 2_000;
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// An order as it is shown.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(in crate::cli) struct Order {
    pub(in crate::cli) order_id: String,
    pub(in crate::cli) status: String,
    pub(in crate::cli) version: u64,
    /// Opaque: names this state of the order.
    pub(in crate::cli) rev: String,
    pub(in crate::cli) occurred_at: String,
    #[serde(default)]
    pub(in crate::cli) details: Map<String, Value>,
}

/// The orders shown, by id.
pub(in crate::cli) type Orders = BTreeMap<String, Order>;

/// What the server sends.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::cli) enum Message {
    Welcome {
        user_id: Option<String>,
        heartbeat_ms: u64,
    },
    Snapshot(Page),
    OrderStatus(Order),
    Removed {
        order_id: String,
    },
    Stale {
        since: String,
        reasons: Vec<String>,
    },
    Fresh,
    Announcement {
        content: String,
    },
    TokenExpiring {
        expires_at: String,
    },
    Error {
        code: String,
        message: String,
    },
    Closing {
        code: u16,
        reason: String,
        reconnect_after_ms: Option<u64>,
    },
    #[serde(other)]
    Other,
}

/// One frame of a snapshot.
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct Page {
    pub(in crate::cli) partial: bool,
    pub(in crate::cli) first: bool,
    pub(in crate::cli) orders: Vec<Order>,
    #[serde(default)]
    pub(in crate::cli) removed: Vec<String>,
    pub(in crate::cli) complete: bool,
}

/// A `sync` that asks for everything.
pub(in crate::cli) const SYNC_ALL: &str = r#"{"type":"sync"}"#;

/// The `sync` that names the orders shown; `None` when nothing is shown, or more than one message holds.
pub(in crate::cli) fn sync(orders: &Orders) -> Option<String> {
    #[derive(Serialize)]
    struct Sync {
        r#type: &'static str,
        orders: BTreeMap<String, String>,
    }
    if orders.is_empty() || orders.len() > MAX_SYNC_ORDERS {
        return None;
    }
    let text = serde_json::to_string(&Sync { r#type: "sync", orders: revs(orders) });
    let text = text.expect("text keys and values are JSON");
    (text.len() <= MAX_MESSAGE_BYTES).then_some(text)
}

fn revs(orders: &Orders) -> BTreeMap<String, String> {
    orders.values().map(|order| (order.order_id.clone(), order.rev.clone())).collect()
}

/// What a request over HTTP says of what is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct Claims {
    /// As in a `sync`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) orders: Option<BTreeMap<String, String>>,
    /// The reasons of the last `stale`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::cli) stale: Vec<String>,
    /// How long to wait for news.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) wait_ms: Option<u64>,
}

impl Claims {
    pub(in crate::cli) fn of(orders: &Orders, stale: &[String]) -> Self {
        let orders = sync(orders).map(|_| revs(orders));
        Self { orders, stale: stale.to_vec(), wait_ms: None }
    }
}
