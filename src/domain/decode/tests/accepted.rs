//! What holds for every input, whatever it is. Shared by the property tests and the fuzz target, which both provide
//! `domain` beside this module.

use std::collections::HashSet;

use serde_json::Value;

use super::domain::{
    Change, Decoded, Decoder, Epoch, LogContext, OrderState, RawRecord, Refusal, RefusalCode, Timestamp, decode,
    version::MAX_VERSION,
};

const LOG: LogContext = LogContext { epoch: Epoch(7), accepts_unversioned: true };

const RECEIVED_AT: i64 = 1_795_253_400_123;
const A_DAY: i64 = 24 * 60 * 60 * 1000;

/// Decodes `input` as a value in all the ways headers can ask for, and as a tombstone's key. Panics if a rule is broken.
pub(crate) fn check(decoder: &Decoder, input: &[u8]) {
    let plain = RawRecord {
        partition: 3,
        offset: 1040,
        timestamp_millis: Some(RECEIVED_AT - 123),
        received_at: Timestamp::from_millis(RECEIVED_AT).expect("is in range"),
        key: Some(b"A-1001"),
        value: Some(input),
        headers: &[],
    };
    let binary = [("ce_specversion", Some(&b"1.0"[..])), ("ce_id", Some(input)), ("ce_time", Some(input))];
    let reset = [("ordercast-reset", Some(&b"true"[..]))];
    let replayed = [("id", Some(input)), ("ordercast-version", Some(input)), ("content-type", Some(input))];
    for record in [
        plain,
        RawRecord { headers: &binary, ..plain },
        RawRecord { headers: &replayed, key: Some(input), timestamp_millis: None, ..plain },
        RawRecord { value: None, key: Some(input), ..plain },
        RawRecord { value: None, key: Some(input), headers: &reset, ..plain },
    ] {
        let answer = decoder.decode(&record, &LOG);
        let again = decoder.decode(&record, &LOG);
        assert_eq!(format!("{answer:?}"), format!("{again:?}"), "the same record gets the same answer");
        match answer {
            Ok(decoded) => check_accepted(&decoded),
            Err(refusal) => check_refused(&refusal),
        }
    }
}

fn check_accepted(decoded: &Decoded) {
    check_text(decoded.event.order_id.as_str(), 128);
    let Change::Set(state) = &decoded.event.change else { return };
    assert_eq!((&state.order_id, state.stamp), (&decoded.event.order_id, decoded.event.stamp));
    check_text(state.user_id.as_str(), 128);
    check_text(&state.status, 64);
    assert!(state.version.number <= MAX_VERSION);
    assert!(state.occurred_at.is_readable() && state.occurred_at.to_string().len() == "2026-11-21T09:30:00.000Z".len());
    assert!(state.occurred_at.as_millis() <= RECEIVED_AT + A_DAY, "nothing happens tomorrow");
    state.event_id.iter().for_each(|id| check_text(id, 128));
    check_viewers(state);
    check_details(state);
}

fn check_text(text: &str, max_chars: usize) {
    assert!((1..=max_chars).contains(&text.chars().count()), "{text:?}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

fn check_viewers(state: &OrderState) {
    state.viewers.iter().for_each(|viewer| check_text(viewer.as_str(), 128));
    let named: HashSet<_> = state.named().collect();
    assert_eq!(named.len(), 1 + state.viewers.len(), "nobody is named twice");
    assert!(state.viewers.len() <= decode::MAX_VIEWERS);
}

fn check_details(state: &OrderState) {
    let Some(details) = state.details.as_deref() else { return };
    assert!(details.get().len() <= decode::MAX_DETAILS_BYTES);
    assert!(details.get().starts_with('{') && details.get().ends_with('}'));
    assert!(!details.get().contains(['\n', '\r']), "a line holds it");
    let value: Value = serde_json::from_str(details.get()).expect("every reader reads it");
    check_json(&value, 0);
}

fn check_json(value: &Value, depth: usize) {
    assert!(depth <= decode::MAX_DEPTH);
    match value {
        Value::String(text) => assert!(!text.contains('\0')),
        Value::Array(items) => items.iter().for_each(|item| check_json(item, depth + 1)),
        Value::Object(members) => members.iter().for_each(|(name, member)| {
            assert!(!name.contains('\0'));
            check_json(member, depth + 1);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn check_refused(refusal: &Refusal) {
    assert_ne!(refusal.code, RefusalCode::RejectedByStore);
    assert!((1..512).contains(&refusal.message.len()), "the payload is not quoted at length: {refusal}");
    assert!(!refusal.message.chars().any(char::is_control), "{refusal:?}");
}
