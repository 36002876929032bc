//! The rules of the fields, where they accept.

use super::*;
use crate::event::{Stamp, Version, VersionKind, version::MAX_VERSION};

#[test]
fn every_field_arrives_as_sent() {
    let value = br#"{
        "order_id": "A-1001", "user_id": "u-42", "status": "Out for delivery", "version": 3,
        "occurred_at": "2026-11-21T09:29:00.000Z",
        "details": { "total": 1.50e1,  "big": 12345678901234567890123, "a": 1, "a": 2 },
        "event_id": "e-1", "viewers": ["m-7", "c-19"], "ignored": [{}]
    }"#;
    let decoded = decoder().decode(&record(value), &LOG).unwrap();
    assert!(!decoded.occurred_at_unreadable);
    let stamp = Stamp { epoch: LOG.epoch, partition: 3, offset: 1040 };
    assert_eq!((decoded.event.order_id.as_str(), decoded.event.stamp), ("A-1001", stamp));
    let state = set(decoded);
    assert_eq!((state.order_id.as_str(), state.user_id.as_str()), ("A-1001", "u-42"));
    assert_eq!((&*state.status, state.terminal, state.stamp), ("Out for delivery", false, stamp));
    assert_eq!(state.version, Version { kind: VersionKind::Field, number: 3 });
    assert_eq!(state.occurred_at.to_string(), "2026-11-21T09:29:00.000Z");
    let details = r#"{ "total": 1.50e1,  "big": 12345678901234567890123, "a": 1, "a": 2 }"#;
    assert_eq!(state.details.as_ref().unwrap().get(), details);
    assert_eq!(state.event_id.as_deref(), Some("e-1"));
    assert_eq!(state.viewers.iter().map(|id| id.as_str()).collect::<Vec<_>>(), ["m-7", "c-19"]);
}

#[test]
fn null_means_absent() {
    let value = event_with(r#""details":null,"viewers":null,"event_id":null,"occurred_at":null,"orderId":null"#);
    let decoded = try_decode(&value).unwrap();
    assert!(!decoded.occurred_at_unreadable);
    let state = set(decoded);
    assert!(state.details.is_none() && state.viewers.is_empty() && state.event_id.is_none());
    assert_eq!(state.occurred_at.as_millis(), RECORD_MILLIS);
    let state = decode(&record(br#"{"order_id":null,"orderId":"A","user_id":"u","status":"s","version":1}"#));
    assert_eq!(state.order_id.as_str(), "A");
}

#[test]
fn of_repeated_members_the_last_counts() {
    assert_eq!(&*set(try_decode(&event_with(r#""status":"packed","version":4"#)).unwrap()).status, "packed");
    assert_eq!(refusal_code(&event_with(r#""status":null"#)), RefusalCode::MissingField);
}

#[test]
fn versions_are_whole_numbers_or_their_decimal_text() {
    for (version, number) in [("0", 0), ("3", 3), ("\"3\"", 3), ("\"0017\"", 17), ("9007199254740991", MAX_VERSION)] {
        let state = set(try_decode(&event_with(&format!(r#""version":{version}"#))).unwrap());
        assert_eq!(state.version, Version { kind: VersionKind::Field, number }, "{version}");
    }
}

#[test]
fn a_replayed_record_keeps_its_first_place_in_the_log() {
    let value = br#"{"order_id":"A-1001","user_id":"u-42","status":"shipped"}"#;
    let decode = |version: Option<&[u8]>| {
        let headers = [("ordercast-version", version)];
        let decoded = decoder().decode(&RawRecord { headers: &headers, ..record(value) }, &LOG);
        decoded.map(|decoded| set(decoded).version).map_err(|refusal| refusal.code)
    };
    let log = |number| Ok(Version { kind: VersionKind::Log(LOG.epoch), number });
    assert_eq!(decode(Some(b"17")), log(17));
    assert_eq!(decode(None), log(1041));
    for broken in [&b""[..], b"x", b"-1", b"\xff", b"9007199254740992"] {
        assert_eq!(decode(Some(broken)), Err(RefusalCode::InvalidField));
    }
    let headers = [("ordercast-version", Some(&b"17"[..]))];
    let versioned = event_with("");
    let state = super::decode(&RawRecord { headers: &headers, ..record(versioned.as_bytes()) });
    assert_eq!(state.version.kind, VersionKind::Field, "the event's own version comes first");
}

#[test]
fn an_unreadable_moment_is_counted_and_never_refused() {
    for moment in [r#""soon""#, "[2026,11,21]", "{}", "true", "1e300", r#""2026-11-21T09:30:00""#] {
        let decoded = try_decode(&event_with(&format!(r#""occurred_at":{moment}"#))).unwrap();
        assert!(decoded.occurred_at_unreadable, "{moment}");
        assert_eq!(set(decoded).occurred_at.as_millis(), RECORD_MILLIS, "{moment}");
    }
    let headers = [("ce_specversion", Some(&b"1.0"[..])), ("ce_time", Some(b"soon"))];
    let value = event_with("");
    let decoded = decoder().decode(&RawRecord { headers: &headers, ..record(value.as_bytes()) }, &LOG).unwrap();
    assert!(decoded.occurred_at_unreadable);
}

#[test]
fn without_any_timestamp_the_moment_of_receipt_stands_in() {
    let value = event_with("");
    for timestamp_millis in [None, Some(-1), Some(i64::MAX)] {
        let record = RawRecord { timestamp_millis, ..record(value.as_bytes()) };
        assert_eq!(decode(&record).occurred_at, record.received_at, "{timestamp_millis:?}");
    }
}

#[test]
fn viewers_are_named_once_and_without_the_user() {
    let state = set(try_decode(&event_with(r#""viewers":["m-7","u-42",null,7,"7","m-7"]"#)).unwrap());
    assert_eq!(state.viewers.iter().map(|id| id.as_str()).collect::<Vec<_>>(), ["m-7", "7"]);
    let most = (0..64).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(set(try_decode(&event_with(&format!(r#""viewers":[{most}]"#))).unwrap()).viewers.len(), 64);
}

#[test]
fn the_event_id_is_the_events_own_then_the_cloud_events_then_the_header() {
    let decode = |members: &str, headers: &[(&str, Option<&[u8]>)]| {
        let value = event_with(members);
        super::decode(&RawRecord { headers, ..record(value.as_bytes()) }).event_id.clone()
    };
    let all: [(&str, Option<&[u8]>); 3] =
        [("ce_specversion", Some(b"1.0")), ("ce_id", Some(b"ce")), ("id", Some(b"header"))];
    assert_eq!(decode(r#""event_id":17"#, &all).as_deref(), Some("17"));
    assert_eq!(decode("", &all).as_deref(), Some("ce"));
    assert_eq!(decode("", &all[2..]).as_deref(), Some("header"));
    // A header is nobody's promise to this service: what is no id is passed over.
    for unusable in [&b""[..], b"\x00\x01", b"\xff", &[b'x'; 129]] {
        assert_eq!(decode("", &[("id", Some(unusable))]), None);
        assert_eq!(decode("", &[all[0], ("ce_id", Some(unusable)), all[2]]).as_deref(), Some("header"));
    }
    assert_eq!(decode("", &[("id", None)]), None);
}

#[test]
fn each_wrapping_comes_off_once() {
    let twice = serde_json::to_string(&serde_json::to_string(&event_with("")).unwrap()).unwrap();
    assert_eq!(refusal_code(&twice), RefusalCode::MissingField);
    let connect = |inner: &str| format!(r#"{{"schema":{{}},"payload":{inner}}}"#);
    assert!(try_decode(&connect(&event_with(""))).is_ok());
    assert_eq!(refusal_code(&connect(&connect(&event_with("")))), RefusalCode::MissingField);
    // All of them, from the outside in.
    let text = serde_json::to_string(&event_with("")).unwrap();
    let all = format!("\0\0\0\0\u{7}{{\"specversion\":\"1.0\",\"id\":\"e-9\",\"data\":{}}}", connect(&text));
    assert_eq!(set(try_decode(&all).unwrap()).event_id.as_deref(), Some("e-9"));
}

#[test]
fn an_event_may_have_members_named_as_wrappings_are() {
    assert!(try_decode(&event_with(r#""payload":{},"schema":1"#)).is_ok());
    assert!(try_decode(&event_with(r#""data":{},"id":"x","time":"y""#)).is_ok());
}
