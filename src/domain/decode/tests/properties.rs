//! What holds for any input: arbitrary bytes, damaged events, valid events in every wrapping.

use std::{fs, path::Path};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Any valid event, as JSON.
fn events() -> impl Strategy<Value = Value> {
    let id = || "[^\\p{Cc}]{1,20}";
    let details = prop::option::of(prop::collection::hash_map("[^\0]{0,8}", "[^\0]{0,8}", 0..4));
    let viewers = prop::collection::vec(id(), 0..4);
    (id(), id(), id(), 0..=domain::version::MAX_VERSION, 1..RECORD_MILLIS, details, viewers).prop_map(
        |(order_id, user_id, status, version, occurred_at, details, viewers)| {
            json!({
                "order_id": order_id, "user_id": user_id, "status": status, "version": version,
                "occurred_at": Timestamp::from_millis(occurred_at), "details": details, "viewers": viewers,
            })
        },
    )
}

/// The same event in each wrapping.
fn wrapped(event: &Value) -> Vec<Vec<u8>> {
    let text = event.to_string();
    let cloud_event = |data: &Value| json!({"specversion": "1.0", "id": "e", "source": "/", "type": "t", "data": data});
    let connect = |payload: &Value| json!({"schema": {"type": "struct"}, "payload": payload});
    let string = Value::String(text.clone());
    let json = [cloud_event(event), connect(event), string.clone(), connect(&string), cloud_event(&connect(&string))];
    let outbox = |payload: &Value| json!({"payload": payload, "eventType": "OrderShipped"});
    let json = json.into_iter().chain([outbox(event), outbox(&string), connect(&outbox(&string))]);
    let mut values: Vec<_> = json.map(|value| value.to_string().into_bytes()).collect();
    values.push([b"\0\0\0\0\x01", text.as_bytes()].concat());
    values.push([b"\0\0\0\0\x01", string.to_string().as_bytes()].concat());
    values.push(["\u{feff}", &text].concat().into_bytes());
    values.push(text.into_bytes());
    values
}

/// What decode makes of a value, as far as wrappings must not change it.
fn outcome(value: &[u8]) -> String {
    let state = decode(&record(value));
    format!(
        "{:?}",
        (
            &state.order_id,
            &state.user_id,
            &state.status,
            state.version,
            state.occurred_at,
            &state.details,
            &state.viewers
        )
    )
}

proptest! {
    #[test]
    fn arbitrary_bytes_break_no_rule(input in prop::collection::vec(any::<u8>(), 0..200)) {
        accepted::check(&decoder(), &input);
    }

    #[test]
    fn arbitrary_json_like_text_breaks_no_rule(
        input in r#"([\[\]{}:,"\\ue0d8\n -]|"order_id"|"details"|\\u[0d][08]00|null|1e?|1e400){0,40}"#,
    ) {
        accepted::check(&decoder(), input.as_bytes());
    }

    #[test]
    fn damaged_events_break_no_rule(
        event in events(), wrapping in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..4),
    ) {
        let values = wrapped(&event);
        let mut value = values[wrapping.index(values.len())].clone();
        for (place, byte, kind) in damage {
            let at = place.index(value.len());
            match kind {
                0 => value[at] = byte,
                1 => value.insert(at, byte),
                _ => value.truncate(at.max(1)),
            }
        }
        accepted::check(&decoder(), &value);
    }

    #[test]
    fn every_wrapping_gives_the_same_event(event in events()) {
        let plain = outcome(event.to_string().as_bytes());
        for value in wrapped(&event) {
            prop_assert_eq!(&outcome(&value), &plain);
        }
    }

    #[test]
    fn a_valid_event_arrives_as_sent(event in events()) {
        let state = decode(&record(event.to_string().as_bytes()));
        prop_assert_eq!(Some(state.order_id.as_str()), event["order_id"].as_str());
        prop_assert_eq!(Some(state.user_id.as_str()), event["user_id"].as_str());
        prop_assert_eq!(Some(&*state.status), event["status"].as_str());
        prop_assert_eq!(Some(state.version.number), event["version"].as_u64());
        let occurred_at = state.occurred_at.to_string();
        prop_assert_eq!(Some(occurred_at.as_str()), event["occurred_at"].as_str());
        let details = state.details.as_ref().map_or(Value::Null, |details| serde_json::from_str(details.get()).unwrap());
        prop_assert_eq!(&details, &event["details"]);
    }
}

#[test]
fn the_fuzz_corpus_breaks_no_rule() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/decode");
    let inputs: Vec<_> = fs::read_dir(corpus).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(inputs.len() >= 20, "the corpus is there");
    inputs.iter().for_each(|input| accepted::check(&decoder(), input));
}
