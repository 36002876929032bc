//! What the settings decide, and how a wrong one is told.

use super::*;
use crate::event::decode::MissingVersion;

fn options(change: impl FnOnce(&mut DecoderOptions)) -> DecoderOptions {
    let mut options = DecoderOptions::default();
    change(&mut options);
    options
}

#[test]
fn all_wrong_settings_are_told_at_once_by_their_keys() {
    let wrong = options(|options| {
        options.fields.status = vec!["state".into(), "/a~b".into()];
        options.fields.order_id = vec![];
        options.statuses = vec!["created".into(), String::new(), " shipped".into()];
        options.terminal = vec!["x".repeat(65)];
    });
    let problems: Vec<_> = Decoder::new(&wrong).err().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            r#"event.fields.status: "state" is not a JSON Pointer: it must be empty (the whole value) or begin with "/""#,
            r#"event.fields.status: "/a~b" is not a JSON Pointer: "~" must be followed by 0 (for "~") or 1 (for "/")"#,
            r#"event.fields.order_id: "" names no place for a required field"#,
            r#"lifecycle.statuses: "" is empty"#,
            r#"lifecycle.statuses: " shipped" begins or ends with a space"#,
            &format!(r#"lifecycle.terminal: "{}" is longer than 64 characters"#, "x".repeat(65)),
        ]
    );
}

#[test]
fn by_default_any_status_is_known_and_the_usual_ends_are_terminal() {
    for (status, terminal) in
        [("Delivered", true), ("CANCELLED", true), ("refunded", true), ("returned", true), ("lost", false)]
    {
        let value = event_with(&format!(r#""status":"{status}""#));
        assert_eq!(set(try_decode(&value).unwrap()).terminal, terminal, "{status}");
    }
}

#[test]
fn an_optional_field_may_have_no_place() {
    let decoder = Decoder::new(&options(|options| options.fields.details = vec![])).unwrap();
    let value = event_with(r#""details":{"a":1}"#);
    assert!(set(decoder.decode(&record(value.as_bytes()), &LOG).unwrap()).details.is_none());
}

#[test]
fn the_first_pointer_that_leads_to_something_other_than_null_wins() {
    let decoder = Decoder::new(&options(|options| {
        options.fields.status = vec!["/new/state".into(), "/history/0".into(), "/status".into()];
        options.fields.details = vec![String::new()];
    }))
    .unwrap();
    for (members, status) in [
        (r#""new":{"state":"a"},"history":["b"]"#, "a"),
        (r#""new":{"state":null},"history":["b"]"#, "b"),
        (r#""new":"text","history":[]"#, "shipped"),
    ] {
        let value = event_with(members);
        let state = set(decoder.decode(&record(value.as_bytes()), &LOG).unwrap());
        assert_eq!(&*state.status, status, "{members}");
        assert_eq!(state.details.as_ref().unwrap().get(), value, "the whole value");
    }
}

#[test]
fn a_version_is_required_where_the_settings_say_so() {
    let decoder = Decoder::new(&options(|options| options.missing_version = MissingVersion::DeadLetter)).unwrap();
    let value = br#"{"order_id":"A-1001","user_id":"u-42","status":"shipped","version":null}"#;
    let headers = [("ordercast-version", Some(&b"5"[..]))];
    let refusal = decoder.decode(&RawRecord { headers: &headers, ..record(value) }, &LOG).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::MissingVersion);
    assert!(decoder.decode(&record(event_with("").as_bytes()), &LOG).is_ok());
}

#[test]
fn statuses_and_terminal_ones_come_from_the_lifecycle() {
    let decoder = Decoder::new(&options(|options| {
        options.statuses = vec!["packed".into(), "shipped".into(), "picked_up".into()];
        options.terminal = vec!["picked_up".into()];
    }))
    .unwrap();
    let decode = |status: &str| {
        let value = format!(r#"{{"order_id":"A","user_id":"u","status":{status},"version":1}}"#);
        decoder.decode(&record(value.as_bytes()), &LOG).map(|decoded| set(decoded).terminal)
    };
    assert!(!decode(r#""SHIPPED""#).unwrap());
    assert!(decode(r#""Picked up""#).unwrap());
    let refusal = decode(r#""shiped""#).unwrap_err();
    assert_eq!(refusal.to_string(), r#"unknown_status: status "shiped" is not one of lifecycle.statuses"#);
}
