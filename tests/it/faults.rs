//! What breaks, breaks for real here: brokers, databases, networks and instances. Afterwards every screen is true, and in
//! between none says that it is fresh when nobody can know.

mod audits;
mod honesty;
mod outages;

use serde_json::{Value, json};

/// An event of an order of user `u-1`.
fn event(order: &str, status: &str, version: u64) -> Value {
    json!({"order_id": order, "user_id": "u-1", "status": status, "version": version})
}
