//! Which order a tombstone erases: all it has to say is its key.

use std::{borrow::Cow, str};

use super::{
    Refusal, RefusalCode,
    document::Document,
    fields::text_of,
    unwrap::{after_schema_id, connect_payload},
};
use crate::event::OrderId;

/// The members that name an order in a key that is an object.
const ID_MEMBERS: [&str; 3] = ["order_id", "orderId", "id"];

/// Reads the order id from a tombstone's key: plain text, or what JSON serialisers make of an id.
pub(super) fn order_id(key: Option<&[u8]>) -> Result<OrderId, Refusal> {
    let key = key.ok_or_else(|| bad_key("a tombstone without a key names no order"))?;
    // An id begins with no 00, so a key that does was written by one of Confluent's serialisers.
    let registered = after_schema_id(key);
    let text = str::from_utf8(registered.unwrap_or(key)).map_err(|_| bad_key("the key is not UTF-8"))?;
    let is_json = registered.is_some() || text.starts_with(['{', '[', '"']);
    let id = if is_json { from_json(text)? } else { Cow::Borrowed(text) };
    OrderId::parse(&id).map_err(|error| bad_key(format!("the order id in the key {error}")))
}

fn from_json(text: &str) -> Result<Cow<'_, str>, Refusal> {
    let key = Document::parse(text).map_err(|refusal| bad_key(format!("the key is no JSON: {}", refusal.message)))?;
    let key = key.object().and_then(connect_payload).unwrap_or(key);
    let id = match key.object() {
        Some(object) => ID_MEMBERS.iter().find_map(|name| object.get(name)),
        None => key.whole(),
    };
    id.and_then(text_of).ok_or_else(|| bad_key("the key is JSON that names no order"))
}

fn bad_key(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::BadKey, message)
}
