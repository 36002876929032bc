//! What the settings decide, and how a wrong one is told.

use super::*;
use crate::domain::decode::MissingVersion;

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
fn white_space_around_ids_and_statuses_is_left_out_where_the_settings_say_so() {
    let value = br#"{"order_id":"A-1001    ","user_id":" u-42","status":"shipped\t","version":" 3 ","event_id":"e ","viewers":["m-7 ","u-42  ","m-7"],"details":{"a":" x "}}"#;
    let trimming = Decoder::new(&options(|options| {
        (options.trim, options.statuses) = (true, vec!["shipped".into()]);
    }))
    .unwrap();
    let state = set(trimming.decode(&record(value), &LOG).unwrap());
    assert_eq!((state.order_id.as_str(), state.user_id.as_str(), &*state.status), ("A-1001", "u-42", "shipped"));
    assert_eq!((state.version.number, state.event_id.as_deref()), (3, Some("e")));
    assert_eq!(state.viewers.iter().map(|id| id.as_str()).collect::<Vec<_>>(), ["m-7"]);
    assert_eq!(state.details.as_ref().unwrap().get(), r#"{"a":" x "}"#, "nobody asks what stands in there");
    let blank = trimming.decode(&record(br#"{"order_id":"  ","user_id":"u","status":"shipped"}"#), &LOG).unwrap_err();
    assert_eq!(blank.to_string(), "invalid_field: order_id is empty");
    let value = br#"{"order_id":"A-1001 ","user_id":"u","status":"s"}"#;
    assert_eq!(decode(&record(value)).order_id.as_str(), "A-1001 ");
    let escaped = br#"{"order_id":"A-1001\u0020","user_id":"u","status":"s"}"#;
    assert_eq!(decode(&record(escaped)).order_id.as_str(), "A-1001 ");
}

#[test]
fn rows_that_say_they_are_deleted_erase_their_order_where_the_settings_say_so() {
    let decoder = Decoder::new(&options(|options| {
        options.fields.deleted = vec!["/__deleted".into(), "/op".into()];
        options.fields.order_id.push("/before/id".into());
    }))
    .unwrap();
    let decode = |value: &str| decoder.decode(&record(value.as_bytes()), &LOG);
    for deleted in [
        r#"{"order_id":"A-1001","user_id":"u","status":"s","__deleted":"true"}"#,
        r#"{"order_id":"A-1001","__deleted":true}"#,
        r#"{"order_id":"A-1001","status":"","__deleted":"True"}"#,
        r#"{"before":{"id":"A-1001"},"after":null,"op":"d"}"#,
        r#"{"schema":null,"payload":{"order_id":"A-1001","__deleted":"true"}}"#,
        r#"{"payload":"{\"order_id\":\"A-1001\",\"__deleted\":true}","x":1}"#,
    ] {
        let event = decode(deleted).unwrap().event;
        assert!(matches!(event.change, Change::Erase), "{deleted}");
        assert_eq!((event.order_id.as_str(), event.stamp.offset), ("A-1001", 1040));
    }
    for kept in
        [r#""__deleted":"false""#, r#""__deleted":false"#, r#""__deleted":null,"op":"u""#, r#""__deleted":0"#, ""]
    {
        assert!(matches!(decode(&event_with(kept)).unwrap().event.change, Change::Set(_)), "{kept}");
    }
    assert_eq!(decode(r#"{"__deleted":"true"}"#).unwrap_err().code, RefusalCode::MissingField);
    let row = event_with(r#""__deleted":"true""#);
    assert!(matches!(try_decode(&row).unwrap().event.change, Change::Set(_)), "by default nothing means that");
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
