//! Which order a tombstone erases: all it has to say is its key.
//!
//! What is no name is a `bad_key`: a binary key that were taken for text could name, and erase, another order.

use std::{borrow::Cow, str};

use super::{
    Refusal, RefusalCode,
    document::{Document, without_mark},
    logical,
    texts::Texts,
    unwrap::{after_schema_id, connect_payload},
};
use crate::domain::OrderId;

/// The members that name an order in a key that is an object.
const ID_MEMBERS: [&str; 3] = ["order_id", "orderId", "id"];

/// Java's serialiser of a `Long` writes so many bytes, of which those of a small number are 00.
const LONG_BYTES: usize = 8;

/// Reads the order id from a tombstone's key: plain text, or what JSON serialisers make of an id. `trim` leaves out
/// white space around it.
pub(super) fn order_id(key: Option<&[u8]>, trim: bool) -> Result<OrderId, Refusal> {
    let key = key.ok_or_else(|| bad_key("a tombstone without a key names no order"))?;
    let texts = Texts::default();
    let id = match after_schema_id(key) {
        // An id begins with no 00, so a key that does was written by one of Confluent's serialisers, or is a number.
        Some(_) if key.len() == LONG_BYTES => return Err(bad_key("the key is a binary number")),
        Some(json) => {
            let json = text(json)?;
            if !json.starts_with(['{', '"']) {
                return Err(bad_key("behind its schema id the key is neither an object nor a string in JSON"));
            }
            from_json(json, &texts)?
        }
        None => match text(key)? {
            json if json.starts_with(['{', '[', '"']) => from_json(json, &texts)?,
            text => Cow::Borrowed(text),
        },
    };
    let id = if trim { id.trim() } else { &id };
    OrderId::parse(id).map_err(|error| bad_key(format!("the order id in the key {error}")))
}

fn text(key: &[u8]) -> Result<&str, Refusal> {
    str::from_utf8(key).map(without_mark).map_err(|_| bad_key("the key is not UTF-8"))
}

fn from_json<'a>(text: &'a str, texts: &'a Texts) -> Result<Cow<'a, str>, Refusal> {
    let key = Document::parse(text, texts);
    let key = key.map_err(|refusal| bad_key(format!("the key is no JSON: {}", refusal.message)))?;
    let key = connect_payload(&key).unwrap_or(key);
    let key = key.held().and_then(Result::ok).unwrap_or(key);
    let id = match key.object() {
        Some(_) => ID_MEMBERS.iter().find_map(|name| key.member(name)),
        None => key.whole(),
    };
    let id = id.ok_or_else(|| bad_key("the key is JSON that names no order"))?;
    logical::text(id).map_err(|problem| bad_key(format!("the order id in the key {problem}")))
}

fn bad_key(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::BadKey, message)
}
