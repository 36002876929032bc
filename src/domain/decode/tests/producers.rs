//! What real producers put on the topic, byte by byte as they write it.

use super::*;
use crate::domain::{OrderState, Version, VersionKind};

/// What every one of these producers says: order A-1001 of user u-42 is shipped.
#[track_caller]
fn assert_shipped(state: &OrderState) {
    let said = (state.order_id.as_str(), state.user_id.as_str(), &*state.status.to_lowercase());
    assert_eq!(said, ("A-1001", "u-42", "shipped"));
}

fn field(number: u64) -> Version {
    Version { kind: VersionKind::Field, number }
}

#[test]
fn spring_json_serializer_with_jackson_instants() {
    let value = br#"{"orderId":"A-1001","userId":"u-42","status":"SHIPPED","version":0,"occurredAt":1795253400.123456789,"details":{"total":149.90,"carrier":null},"eventId":"0f9c2f1e-7d52-4a07-9d0e-0b1f6a1f6f11","viewers":["m-7",null]}"#;
    let headers = [("__TypeId__", Some(&b"com.example.shop.OrderStatusChanged"[..]))];
    let state = decode(&RawRecord { headers: &headers, ..record(value) });
    assert_shipped(&state);
    assert_eq!(state.status, "SHIPPED", "shown as sent");
    assert_eq!(state.version, field(0));
    assert_eq!(state.occurred_at.to_string(), "2026-11-21T09:30:00.123Z");
    assert_eq!(state.details.as_ref().unwrap().get(), r#"{"total":149.90,"carrier":null}"#);
    assert_eq!(state.event_id.as_deref(), Some("0f9c2f1e-7d52-4a07-9d0e-0b1f6a1f6f11"));
    assert_eq!(state.viewers.len(), 1);
}

#[test]
fn jackson_local_date_time_arrays_give_way_to_the_record_timestamp() {
    let decoded = try_decode(&event_with(r#""occurredAt":[2026,11,21,9,29,58,123000000]"#)).unwrap();
    assert!(decoded.occurred_at_unreadable);
    assert_eq!(set(decoded).occurred_at.as_millis(), RECORD_MILLIS);
}

#[test]
fn node_postgres_rows_with_bigints_as_strings() {
    let value = br#"{"order_id":"90071992547409931","user_id":"42","status":"shipped","version":"17","occurred_at":"2026-11-21T09:30:00.250Z"}"#;
    let state = decode(&record(value));
    assert_eq!((state.order_id.as_str(), state.user_id.as_str()), ("90071992547409931", "42"));
    assert_eq!(state.version, field(17));
}

#[test]
fn numeric_ids_keep_every_digit() {
    let state =
        decode(&record(br#"{"order_id":9007199254740993123,"user_id":42,"status":3,"version":1,"viewers":[7]}"#));
    assert_eq!((state.order_id.as_str(), state.user_id.as_str()), ("9007199254740993123", "42"));
    assert_eq!((&*state.status, state.viewers[0].as_str()), ("3", "7"));
}

#[test]
fn python_json_dumps_with_escaped_text() {
    let value = br#"{"order_id": "A-1001", "user_id": "u-42", "status": "shipped", "version": 3, "occurred_at": 1795253400.25, "details": {"note": "\u00dcbergabe \ud83d\ude9a"}}"#;
    let state = decode(&record(value));
    assert_shipped(&state);
    assert_eq!(state.occurred_at.as_millis(), RECORD_MILLIS + 250);
    assert_eq!(state.details.as_ref().unwrap().get(), r#"{"note": "\u00dcbergabe \ud83d\ude9a"}"#);
}

#[test]
fn confluent_json_schema_serializer() {
    let mut value = vec![0, 0, 0, 0, 42];
    value.extend_from_slice(event_with("").as_bytes());
    assert_shipped(&decode(&record(&value)));
}

#[test]
fn debezium_outbox_router_with_the_payload_as_a_string() {
    let value = br#""{\"order_id\": \"A-1001\", \"user_id\": \"u-42\", \"status\": \"shipped\", \"version\": 3, \"details\": {\"note\": \"\\u00e9\\n\"}}""#;
    let headers = [("id", Some(&b"4d47e190-0402-4048-bc2c-89dd54343cdc"[..])), ("eventType", Some(b"OrderShipped"))];
    let state = decode(&RawRecord { headers: &headers, ..record(value) });
    assert_shipped(&state);
    assert_eq!(state.event_id.as_deref(), Some("4d47e190-0402-4048-bc2c-89dd54343cdc"));
    assert_eq!(state.details.as_ref().unwrap().get(), r#"{"note": "\u00e9\n"}"#);
}

#[test]
fn debezium_outbox_router_through_the_json_converter_with_schemas() {
    let value = br#"{"schema":{"type":"string","optional":true,"name":"io.debezium.data.Json","version":1},"payload":"{\"order_id\":\"A-1001\",\"user_id\":\"u-42\",\"status\":\"shipped\",\"version\":3}"}"#;
    assert_shipped(&decode(&record(value)));
}

#[test]
fn debezium_outbox_router_with_the_payload_expanded() {
    let value = br#"{"schema":{"type":"struct","fields":[{"type":"string","optional":true,"field":"order_id"},{"type":"string","optional":true,"field":"user_id"},{"type":"string","optional":true,"field":"status"},{"type":"int32","optional":true,"field":"version"}],"optional":false,"name":"outbox.value"},"payload":{"order_id":"A-1001","user_id":"u-42","status":"shipped","version":3}}"#;
    assert_shipped(&decode(&record(value)));
    let value = br#"{"schema":null,"payload":{"order_id":"A-1001","user_id":"u-42","status":"shipped","version":3}}"#;
    assert_shipped(&decode(&record(value)));
}

#[test]
fn debezium_change_event_by_pointers() {
    let value = br#"{"before":{"id":1001,"state":"packed"},"after":{"id":1001,"customer":42,"state":"shipped","lock_version":3,"updated_at":1795253400123456},"source":{"version":"3.0.0.Final","connector":"postgresql","db":"shop","table":"orders","lsn":24023128},"transaction":null,"op":"u","ts_ms":1795253400321}"#;
    let mut options = DecoderOptions::default();
    options.fields.order_id = vec!["/after/id".into()];
    options.fields.user_id = vec!["/after/customer".into()];
    options.fields.status = vec!["/after/state".into()];
    options.fields.version = vec!["/after/lock_version".into()];
    options.fields.occurred_at = vec!["/after/updated_at".into(), "/ts_ms".into()];
    options.fields.details = vec!["/after".into()];
    let state = set(Decoder::new(&options).unwrap().decode(&record(value), &LOG).unwrap());
    assert_eq!((state.order_id.as_str(), state.user_id.as_str(), &*state.status), ("1001", "42", "shipped"));
    assert_eq!(state.version, field(3));
    assert_eq!(state.occurred_at.as_millis(), RECORD_MILLIS + 123);
    assert!(state.details.as_ref().unwrap().get().starts_with(r#"{"id":1001,"customer":42"#));
}

#[test]
fn cloud_event_in_binary_mode() {
    let headers = [
        ("content-type", Some(&b"application/json"[..])),
        ("ce_specversion", Some(b"1.0")),
        ("ce_id", Some(b"e-9")),
        ("ce_time", Some(b"2026-11-21T10:29:59.500+01:00")),
        ("ce_type", Some(b"shop.order.shipped")),
        ("ce_source", Some(b"/shop/orders")),
        ("id", Some(b"not this one")),
    ];
    let value = event_with("");
    let state = decode(&RawRecord { headers: &headers, ..record(value.as_bytes()) });
    assert_shipped(&state);
    assert_eq!(state.event_id.as_deref(), Some("e-9"));
    assert_eq!(state.occurred_at.as_millis(), RECORD_MILLIS - 500);
}

#[test]
fn cloud_event_in_structured_mode() {
    let value = br#"{"id":"e-9","time":"2026-11-21T09:29:59.500Z","type":"shop.order.shipped","source":"/shop/orders","specversion":"1.0","datacontenttype":"application/json","data":{"order_id":"A-1001","user_id":"u-42","status":"shipped","version":3}}"#;
    let headers = [("content-type", Some(&b"application/cloudevents+json; charset=utf-8"[..]))];
    for headers in [&headers[..], &[]] {
        let state = decode(&RawRecord { headers, ..record(value) });
        assert_shipped(&state);
        assert_eq!(state.event_id.as_deref(), Some("e-9"));
        assert_eq!(state.occurred_at.as_millis(), RECORD_MILLIS - 500);
    }
}

#[test]
fn cloud_event_by_its_content_type_alone() {
    let value = format!(r#"{{"id":"e-9","data":{}}}"#, event_with(""));
    for content_type in ["application/cloudevents+json", "\"Application/CloudEvents+JSON;charset=UTF-8\""] {
        let headers = [("contentType", Some(content_type.as_bytes()))];
        assert_shipped(&decode(&RawRecord { headers: &headers, ..record(value.as_bytes()) }));
    }
    assert_eq!(refusal_code(&value), RefusalCode::MissingField);
}

#[test]
fn cloud_event_of_the_python_sdk() {
    // It writes the content type of the data, and data given as bytes in Base64.
    let value = br#"{"specversion": "1.0", "id": "e-9", "source": "/shop", "type": "shipped", "time": "2026-11-21T09:29:59.500000+00:00", "data_base64": "eyJvcmRlcl9pZCI6ICJBLTEwMDEiLCAidXNlcl9pZCI6ICJ1LTQyIiwgInN0YXR1cyI6ICJzaGlwcGVkIiwgInZlcnNpb24iOiAzfQ=="}"#;
    let headers = [("content-type", Some(&b"application/json"[..]))];
    let state = decode(&RawRecord { headers: &headers, ..record(value) });
    assert_shipped(&state);
    assert_eq!(state.event_id.as_deref(), Some("e-9"));
    assert_eq!(state.occurred_at.as_millis(), RECORD_MILLIS - 500);
}

#[test]
fn cloud_event_whose_data_is_text() {
    let value = br#"{"specversion":"1.0","id":"e-9","source":"/shop","type":"shipped","data":"{\"order_id\":\"A-1001\",\"user_id\":\"u-42\",\"status\":\"shipped\"}"}"#;
    assert_shipped(&decode(&record(value)));
}

#[test]
fn kcat_lines_without_version_or_time() {
    let state = decode(&record(br#" {"order_id":"A-1001","user_id":"u-42","status":"shipped"} "#));
    assert_shipped(&state);
    assert_eq!(state.version, Version { kind: VersionKind::Log(LOG.epoch), number: 1041 });
    assert_eq!(state.occurred_at.as_millis(), RECORD_MILLIS);
}
