//! What a message of the server means to a session of the load. Pure. Updates are scanned, since there are many; all else is
//! parsed.

use std::borrow::Cow;

use serde::Deserialize;

use super::names::number;

/// How every update begins, as the service writes it.
const UPDATE: &[u8] = br#"{"type":"order_status","order_id":""#;
const HEARTBEAT: &[u8] = br#"{"type":"heartbeat""#;
const VERSION: &[u8] = br#""version":"#;
/// Stands in the event's `details`, which the service passes on as they are.
const DUE: &[u8] = br#""due":""#;

/// A message.
#[derive(Debug, PartialEq)]
pub(super) enum Message<'a> {
    Update(Update<'a>),
    Said(Said<'a>),
    /// Nothing to do about it.
    Heartbeat,
    Unreadable,
}

/// An order has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Update<'a> {
    pub(super) order_id: &'a [u8],
    pub(super) version: u32,
    /// When its event was due, in nanoseconds since 1970; not there in events of others.
    pub(super) due: Option<u64>,
}

/// Everything else that matters.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Said<'a> {
    Welcome {
        heartbeat_ms: u64,
    },
    Snapshot {
        partial: bool,
        first: bool,
        complete: bool,
        #[serde(borrow)]
        orders: Vec<Shown<'a>>,
        #[serde(borrow)]
        removed: Vec<Cow<'a, str>>,
    },
    Removed {
        #[serde(borrow)]
        order_id: Cow<'a, str>,
    },
    Stale,
    Fresh,
    Closing {
        code: u16,
    },
    #[serde(other)]
    Other,
}

/// An order of a snapshot.
#[derive(Debug, PartialEq, Deserialize)]
pub(super) struct Shown<'a> {
    #[serde(borrow)]
    pub(super) order_id: Cow<'a, str>,
    pub(super) version: u64,
}

/// Reads one.
pub(super) fn read(text: &[u8]) -> Message<'_> {
    if let Some(rest) = text.strip_prefix(UPDATE) {
        return update(rest).map_or(Message::Unreadable, Message::Update);
    }
    if text.starts_with(HEARTBEAT) {
        return Message::Heartbeat;
    }
    serde_json::from_slice(text).map_or(Message::Unreadable, Message::Said)
}

/// `rest` begins with the order's id.
fn update(rest: &[u8]) -> Option<Update<'_>> {
    let (order_id, rest) = rest.split_at(rest.iter().position(|byte| *byte == b'"')?);
    let rest = &rest[find(rest, VERSION)? + VERSION.len()..];
    let version = number(digits(rest))?;
    let due = find(rest, DUE).and_then(|at| number(digits(&rest[at + DUE.len()..])));
    Some(Update { order_id, version, due })
}

/// The range of the digits of an update's due time.
pub(super) fn due_digits(text: &[u8]) -> Option<std::ops::Range<usize>> {
    let from = find(text, DUE)? + DUE.len();
    Some(from..from + digits(&text[from..]).len())
}

fn digits(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len())]
}

/// Where `needle` begins. It begins with a quotation mark, of which there are few.
fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == needle[0]) {
        if bytes[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"type":"order_status","order_id":"load-r-7-0","status":"paid","version":3,"rev":"1-2-3","terminal":false,"occurred_at":"2026-11-21T09:30:07.000Z","details":{"carrier":"DHL","due":"1795253400000000001"},"previous_status":"created","previous_version":2}"#;

    #[test]
    fn an_update_is_scanned_for_what_counts() {
        let update = Update { order_id: b"load-r-7-0", version: 3, due: Some(1_795_253_400_000_000_001) };
        assert_eq!(read(TEXT.as_bytes()), Message::Update(update));
        assert_eq!(&TEXT[due_digits(TEXT.as_bytes()).unwrap()], "1795253400000000001");
        let foreign = TEXT.replace("due", "eta");
        assert!(matches!(read(foreign.as_bytes()), Message::Update(Update { due: None, .. })));
        assert_eq!(read(&TEXT.as_bytes()[..60]), Message::Unreadable);
    }

    #[test]
    fn all_else_is_parsed() {
        let said = |text: &'static str| match read(text.as_bytes()) {
            Message::Said(said) => said,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(
            said(r#"{"type":"welcome","heartbeat_ms":25000,"user_id":null}"#),
            Said::Welcome { heartbeat_ms: 25_000 }
        );
        let snapshot = r#"{"type":"snapshot","partial":false,"first":true,"orders":[{"order_id":"A-1","version":2,"details":{}}],"removed":[],"complete":true}"#;
        let orders = vec![Shown { order_id: "A-1".into(), version: 2 }];
        let removed = Vec::new();
        assert_eq!(said(snapshot), Said::Snapshot { partial: false, first: true, complete: true, orders, removed });
        assert_eq!(said(r#"{"type":"stale","since":"x","reasons":["catching_up"]}"#), Said::Stale);
        assert_eq!(said(r#"{"type":"fresh"}"#), Said::Fresh);
        assert_eq!(said(r#"{"type":"closing","code":1012,"reason":"server_restart"}"#), Said::Closing { code: 1012 });
        assert_eq!(said(r#"{"type":"something_new","code":"x"}"#), Said::Other);
        assert_eq!(read(br#"{"type":"heartbeat","server_time":"x"}"#), Message::Heartbeat);
        assert_eq!(read(b"pong"), Message::Unreadable);
    }
}
