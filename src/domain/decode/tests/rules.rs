//! The rules of the fields, where they accept.

use super::*;
use crate::domain::{Stamp, Version, VersionKind, version::MAX_VERSION};

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
    for (version, number) in [
        ("0", 0),
        ("3", 3),
        ("\"3\"", 3),
        ("\"0017\"", 17),
        ("3.0", 3),
        ("3e0", 3),
        ("1.7e3", 1_700),
        ("0.0", 0),
        ("9007199254740991", MAX_VERSION),
        ("9007199254740991.0", MAX_VERSION),
    ] {
        let state = set(try_decode(&event_with(&format!(r#""version":{version}"#))).unwrap());
        assert_eq!(state.version, Version { kind: VersionKind::Field, number }, "{version}");
    }
}

#[test]
fn whole_numbers_become_ids_however_they_are_written() {
    let state =
        decode(&record(br#"{"order_id":1001.0,"user_id":42e0,"status":3.0,"version":1,"viewers":[7.0,7,4.2e1]}"#));
    assert_eq!((state.order_id.as_str(), state.user_id.as_str(), &*state.status), ("1001", "42", "3"));
    assert_eq!(state.viewers.iter().map(|id| id.as_str()).collect::<Vec<_>>(), ["7"]);
}

#[test]
fn details_are_kept_byte_for_byte_unless_they_break_lines() {
    let details = |json: &str| {
        let state = set(try_decode(&event_with(&format!(r#""details":{json}"#))).unwrap());
        state.details.as_ref().unwrap().get().to_owned()
    };
    for kept in
        ["{ \"a\" :\t1.50e1 }", "{\"a\":\"\u{2028}\u{85}\",\"b\":-0,\"b\":1e-400}", r#"{"id":"2f1e-7d52","h":"9e99"}"#]
    {
        assert_eq!(details(kept), kept);
    }
    assert_eq!(details("{\n  \"a\" : [ 1,\r\n 2 ], \"b\": \"x \\n y\"\n}"), r#"{"a":[1,2],"b":"x \n y"}"#);
    let whole = "{\n\"order_id\":\"A\",\"user_id\":\"u\",\"status\":\"s\",\"details\":{ \"a\": 1 }\n}";
    assert_eq!(decode(&record(whole.as_bytes())).details.as_ref().unwrap().get(), "{ \"a\": 1 }", "they break none");
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
    for moment in
        [r#""soon""#, "[2026,11,21]", "{}", "true", "1e300", "-99999999999", "4e9", r#""2026-11-21T09:30:00""#]
    {
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
fn a_time_that_stands_for_none_is_not_counted() {
    for none in [r#""0001-01-01T00:00:00Z""#, r#""0001-01-01T00:53:28+00:53:28""#, r#""NaT""#, r#""""#, "0", "null"] {
        let decoded = try_decode(&event_with(&format!(r#""occurred_at":{none}"#))).unwrap();
        assert!(!decoded.occurred_at_unreadable, "{none}");
        assert_eq!(set(decoded).occurred_at.as_millis(), RECORD_MILLIS, "{none}");
    }
    let headers = [("ce_specversion", Some(&b"1.0"[..])), ("ce_time", Some(b"2026-11-21T09:00:00Z"))];
    let value = event_with(r#""occurred_at":"0001-01-01T00:00:00Z""#);
    let state = decode(&RawRecord { headers: &headers, ..record(value.as_bytes()) });
    assert_eq!(state.occurred_at.to_string(), "2026-11-21T09:00:00.000Z", "the CloudEvent knows more");
}

#[test]
fn what_lies_more_than_a_day_ahead_of_its_record_is_unreadable() {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    let decode = |millis: i64, record_millis: Option<i64>| {
        let value = event_with(&format!(r#""occurred_at":{millis}"#));
        let record = RawRecord { timestamp_millis: record_millis, ..record(value.as_bytes()) };
        let decoded = decoder().decode(&record, &LOG).unwrap();
        let unreadable = decoded.occurred_at_unreadable;
        (set(decoded).occurred_at.as_millis() - RECORD_MILLIS, unreadable)
    };
    let own = Some(RECORD_MILLIS);
    assert_eq!(decode(RECORD_MILLIS + DAY, own), (DAY, false), "time zones are mistaken for one another");
    assert_eq!(decode(RECORD_MILLIS + DAY + 1, own), (0, true));
    assert_eq!(decode(4_102_444_800_000, own), (0, true));
    assert_eq!(decode(RECORD_MILLIS + DAY + 60, None), (55, true), "of the receipt, where the record says nothing");
    assert_eq!(decode(RECORD_MILLIS - 400 * DAY, own), (-400 * DAY, false), "what is past may be long past");
}

#[test]
fn a_record_from_the_future_has_no_time_to_stand_in() {
    let value = event_with("");
    for ahead in [2 * 24 * 60 * 60 * 1000, i64::MAX - RECORD_MILLIS] {
        let record = RawRecord { timestamp_millis: Some(RECORD_MILLIS + ahead), ..record(value.as_bytes()) };
        let decoded = decoder().decode(&record, &LOG).unwrap();
        assert!(decoded.occurred_at_unreadable);
        assert_eq!(set(decoded).occurred_at, record.received_at);
    }
}

#[test]
fn without_any_timestamp_the_moment_of_receipt_stands_in() {
    let value = event_with("");
    for timestamp_millis in [None, Some(-1), Some(0), Some(i64::MAX)] {
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
fn of_a_header_that_comes_twice_the_last_counts() {
    let value = br#"{"order_id":"A-1","user_id":"u-42","status":"shipped"}"#;
    let headers = [
        ("id", Some(&b"first"[..])),
        ("ordercast-version", Some(b"17")),
        ("id", Some(b"last")),
        ("ordercast-version", Some(b"18")),
    ];
    let state = super::decode(&RawRecord { headers: &headers, ..record(value) });
    assert_eq!((state.event_id.as_deref(), state.version.number), (Some("last"), 18));
    let absent = [headers[0], ("id", None)];
    let state = super::decode(&RawRecord { headers: &absent, ..record(value) });
    assert_eq!(state.event_id, None, "and a null one is none");
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
    // Nobody decides anything by it, so one that is none is passed over.
    for unusable in [r#""""#, r#""a\nb""#, &format!("\"{}\"", "x".repeat(129))] {
        assert_eq!(decode(&format!(r#""event_id":{unusable}"#), &all).as_deref(), Some("ce"), "{unusable}");
    }
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
fn a_string_that_holds_an_object_is_taken_for_it_once() {
    let quoted = |json: &str| serde_json::to_string(json).unwrap();
    let state = |value: &str| set(try_decode(value).unwrap_or_else(|refusal| panic!("{value}: {refusal}")));
    let details = |json: &str| state(&event_with(&format!(r#""details":{}"#, quoted(json)))).details.clone();
    assert_eq!(details(r#"{"carrier":"DHL"}"#).unwrap().get(), r#"{"carrier":"DHL"}"#);
    assert_eq!(details("\u{feff} {\"a\":\n1}\n").unwrap().get(), r#"{"a":1}"#);
    assert!(details("null").is_none(), "a column of JSON may hold its null");
    let details = |json: &str| refusal_code(&event_with(&format!(r#""details":{}"#, quoted(json))));
    assert_eq!(details(r#"{"a":1\u0065400}"#), RefusalCode::InvalidField);
    assert_eq!(details(r#"{"a":1e400}"#), RefusalCode::InvalidField);
    assert_eq!(details(r#"{"a":"\u0000"}"#), RefusalCode::InvalidField);
    assert_eq!(details(&quoted("{}")), RefusalCode::InvalidField, "once");
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(64), "]".repeat(64));
    assert_eq!(details(&deep), RefusalCode::TooDeep);

    let viewers = state(&event_with(r#""viewers":"[\"m-7\", 7]""#)).viewers.clone();
    assert_eq!(viewers.iter().map(|id| id.as_str()).collect::<Vec<_>>(), ["m-7", "7"]);
    assert!(state(&event_with(r#""viewers":"null""#)).viewers.is_empty());

    let event = quoted(&event_with(r#""details":"{\"a\":1}""#));
    for value in [
        event.clone(),
        format!(r#"{{"specversion":"1.0","id":"e-9","data":{event}}}"#),
        quoted(&format!(r#"{{"specversion":"1.0","id":"e-9","data":{event}}}"#)),
        format!(r#"{{"schema":null,"payload":{event}}}"#),
        format!(r#"{{"payload":{event},"eventType":"OrderShipped"}}"#),
        format!(r#"{{"schema":null,"payload":{{"payload":{event},"eventType":"OrderShipped"}}}}"#),
        format!("\0\0\0\0\u{7}{event}"),
    ] {
        assert_eq!(state(&value).details.as_ref().unwrap().get(), r#"{"a":1}"#, "{value}");
    }
}

#[test]
fn the_envelope_of_an_outbox_comes_off_only_around_an_event() {
    let event = event_with("");
    for envelope in [
        format!(r#"{{"payload":{event},"eventType":"OrderShipped"}}"#),
        format!(r#"{{"payload":{event}}}"#),
        format!(r#"{{"order_id":"B-7","payload":{event}}}"#),
    ] {
        assert_eq!(set(try_decode(&envelope).unwrap()).order_id.as_str(), "A-1001", "{envelope}");
    }
    let own = event_with(r#""payload":{"order_id":"B-7","user_id":"u","status":"s"}"#);
    assert_eq!(set(try_decode(&own).unwrap()).order_id.as_str(), "A-1001", "an event may have such a member");
    for none in [r#"{"payload":{},"eventType":"x"}"#, r#"{"payload":"x"}"#, r#"{"payload":"{"}"#, r#"{"payload":[]}"#] {
        let refusal = try_decode(none).unwrap_err();
        assert_eq!(refusal.to_string(), "missing_field: order_id is missing (looked at /order_id, /orderId)", "{none}");
    }
    let twice = format!(r#"{{"payload":{{"payload":{event},"x":1}},"x":1}}"#);
    assert_eq!(refusal_code(&twice), RefusalCode::MissingField);
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let marked = format!("\u{feff}{}", event_with(""));
    assert!(try_decode(&marked).is_ok());
    assert!(try_decode(&format!("\0\0\0\0\u{7}{marked}")).is_ok());
    let base64 =
        r#"{"specversion":"1.0","data_base64":"77u/eyJvcmRlcl9pZCI6IkEiLCJ1c2VyX2lkIjoidSIsInN0YXR1cyI6InMifQ=="}"#;
    assert_eq!(set(try_decode(base64).unwrap()).order_id.as_str(), "A");
}

#[test]
fn an_event_may_have_members_named_as_wrappings_are() {
    assert!(try_decode(&event_with(r#""payload":{},"schema":1"#)).is_ok());
    assert!(try_decode(&event_with(r#""data":{},"id":"x","time":"y""#)).is_ok());
}
