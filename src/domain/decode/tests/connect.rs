//! Kafka Connect's wrapper: what its schema calls a value is what the value is.

use super::*;

/// A field of a schema, by its type, the name of its logical type and further members.
fn field(name: &str, kind: &str, logical: &str, more: &str) -> String {
    format!(r#"{{"type":"{kind}","optional":true,"name":"{logical}","version":1{more},"field":"{name}"}}"#)
}

fn connect(name: &str, logical: &str) -> String {
    let kind = match logical {
        "Decimal" => "bytes",
        "Timestamp" => "int64",
        _ => "int32",
    };
    let scale =
        if logical == "Decimal" { r#","parameters":{"scale":"0","connect.decimal.precision":"38"}"# } else { "" };
    field(name, kind, &format!("org.apache.kafka.connect.data.{logical}"), scale)
}

fn wrapped(fields: &[String], payload: &str) -> String {
    format!(r#"{{"schema":{{"type":"struct","fields":[{}],"optional":false}},"payload":{payload}}}"#, fields.join(","))
}

/// A row in which one field has this schema and this value.
fn row(name: &str, schema: String, value: &str) -> Result<Decoded, Refusal> {
    // Of repeated members the last counts.
    try_decode(&wrapped(&[schema], &event_with(&format!(r#""{name}":{value}"#))))
}

#[test]
fn decimals_are_numbers() {
    let columns = ["order_id", "user_id", "status", "version", "event_id"].map(|name| connect(name, "Decimal"));
    let viewers = r#"{"type":"array","items":{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"0"}},"field":"viewers"}"#;
    let fields = [&columns[..], &[viewers.to_owned()]].concat();
    let payload = r#"{"order_id":"A+k=","user_id":"Kg==","status":"Aw==","version":"Ag==","event_id":"BQ==","viewers":["Bw==",null]}"#;
    let state = set(try_decode(&wrapped(&fields, payload)).unwrap());
    assert_eq!((state.order_id.as_str(), state.user_id.as_str(), &*state.status), ("1001", "42", "3"));
    assert_eq!((state.version.number, state.event_id.as_deref()), (2, Some("5")));
    assert_eq!(state.viewers.iter().map(|id| id.as_str()).collect::<Vec<_>>(), ["7"]);
}

#[test]
fn a_decimal_may_have_a_scale_a_sign_and_be_written_as_a_number() {
    let user = |scale: &str, value: &str| {
        let more = format!(r#","parameters":{{"scale":"{scale}"}}"#);
        let decoded = row("user_id", field("user_id", "bytes", "org.apache.kafka.connect.data.Decimal", &more), value);
        decoded.map(|decoded| set(decoded).user_id.to_string()).map_err(|refusal| refusal.code)
    };
    assert_eq!(user("2", r#""EGg=""#).as_deref(), Ok("42"), "4200 / 100");
    assert_eq!(user("-2", r#""Kg==""#).as_deref(), Ok("4200"));
    assert_eq!(user("0", r#""1g==""#).as_deref(), Ok("-42"));
    assert_eq!(user("0", "42").as_deref(), Ok("42"));
    assert_eq!(user("2", "42.00").as_deref(), Ok("42"));
    // 64 bytes, most of which are zeros, and 65.
    assert_eq!(user("0", &format!("\"{}Kg==\"", "A".repeat(84))).as_deref(), Ok("42"));
    assert_eq!(user("0", &format!("\"{}ACo=\"", "A".repeat(84))), Err(RefusalCode::InvalidField));
    let long = format!("\"{}\"", "A".repeat(400));
    for (scale, value) in [
        ("1", r#""Kg==""#),
        ("0", r#""""#),
        ("0", r#""%%""#),
        ("x", r#""Kg==""#),
        ("-2147483648", r#""Kg==""#),
        ("0", &long),
    ] {
        assert_eq!(user(scale, value), Err(RefusalCode::InvalidField), "{scale}: {value:.20}");
    }
    let variable = |value: &str| {
        let schema = r#"{"type":"struct","name":"io.debezium.data.VariableScaleDecimal","fields":[{"type":"int32","field":"scale"},{"type":"bytes","field":"value"}],"field":"user_id"}"#;
        row("user_id", schema.to_owned(), value).map(|decoded| set(decoded).user_id.to_string())
    };
    assert_eq!(variable(r#"{"scale":0,"value":"Kg=="}"#).unwrap(), "42");
    assert_eq!(variable(r#"{"value":"EGg=","scale":2}"#).unwrap(), "42");
    assert!(variable(r#"{"scale":1,"value":"Kg=="}"#).is_err() && variable(r#"{"value":"Kg=="}"#).is_err());
}

#[test]
fn what_is_no_text_by_its_schema_is_never_taken_for_one() {
    for name in ["order_id", "user_id", "status", "event_id"] {
        for (kind, logical, value) in [
            ("bytes", "", r#""dS00Mg==""#),
            ("bytes", "io.debezium.data.Bits", r#""Kg==""#),
            ("int32", "org.apache.kafka.connect.data.Date", "20778"),
            ("int32", "org.apache.kafka.connect.data.Time", "34200000"),
            ("int64", "org.apache.kafka.connect.data.Timestamp", "1795253400123"),
            ("int64", "io.debezium.time.MicroTimestamp", "1795253400123456"),
            ("string", "io.debezium.time.ZonedTimestamp", r#""2026-11-21T09:30:00Z""#),
            ("string", "io.debezium.time.Interval", r#""P1D""#),
        ] {
            let refusal = row(name, field(name, kind, logical, ""), value).unwrap_err();
            assert_eq!(refusal.code, RefusalCode::InvalidField, "{name}: {logical}");
            assert!(refusal.message.starts_with(name), "{refusal}");
        }
        for (kind, logical) in
            [("string", "io.debezium.data.Enum"), ("string", "io.debezium.data.Uuid"), ("string", "")]
        {
            assert!(row(name, field(name, kind, logical, ""), r#""x-1""#).is_ok(), "{logical}");
        }
    }
}

#[test]
fn a_version_may_be_a_moment_that_is_a_number() {
    let version = |kind: &str, logical: &str, value: &str| {
        row("version", field("version", kind, logical, ""), value).map(|decoded| set(decoded).version.number).ok()
    };
    assert_eq!(version("int64", "org.apache.kafka.connect.data.Timestamp", "1795253400123"), Some(1_795_253_400_123));
    assert_eq!(version("int64", "io.debezium.time.MicroTimestamp", "1795253400123456"), Some(1_795_253_400_123_456));
    assert_eq!(version("int32", "org.apache.kafka.connect.data.Time", "34200000"), None, "it begins anew every day");
    assert_eq!(version("string", "io.debezium.time.ZonedTimestamp", r#""2026-11-21T09:30:00Z""#), None);
    assert_eq!(version("string", "io.debezium.time.ZonedTimestamp", "3"), None, "a text that is a number is no moment");
}

#[test]
fn a_moment_is_read_in_the_unit_of_its_schema() {
    let moment = |kind: &str, logical: &str, value: &str| {
        let decoded = row("occurred_at", field("occurred_at", kind, logical, ""), value).unwrap();
        let unreadable = decoded.occurred_at_unreadable;
        (!unreadable).then(|| set(decoded).occurred_at.to_string())
    };
    for (kind, logical, value, expected) in [
        ("int32", "org.apache.kafka.connect.data.Date", "20777", "2026-11-20T00:00:00.000Z"),
        ("int32", "io.debezium.time.Date", "20777", "2026-11-20T00:00:00.000Z"),
        ("int64", "org.apache.kafka.connect.data.Timestamp", "86400000", "1970-01-02T00:00:00.000Z"),
        ("int64", "io.debezium.time.Timestamp", "1795253400123", "2026-11-21T09:30:00.123Z"),
        ("int64", "io.debezium.time.MicroTimestamp", "1795253400123456", "2026-11-21T09:30:00.123Z"),
        ("int64", "io.debezium.time.NanoTimestamp", "1795253400123456789", "2026-11-21T09:30:00.123Z"),
        ("string", "io.debezium.time.ZonedTimestamp", r#""2026-11-21T09:30:00.123456Z""#, "2026-11-21T09:30:00.123Z"),
    ] {
        assert_eq!(moment(kind, logical, value).as_deref(), Some(expected), "{logical}");
    }
    for (kind, logical, value) in [
        ("int32", "org.apache.kafka.connect.data.Time", "34200000"),
        ("int64", "io.debezium.time.MicroTime", "34200000000"),
        ("bytes", "", r#""Kg==""#),
        ("bytes", "", r#""2026-11-21T09:30:00Z""#),
        ("string", "io.debezium.time.ZonedTime", r#""2026-11-21T09:30:00Z""#),
    ] {
        assert_eq!(moment(kind, logical, value), None, "{logical}");
    }
}

#[test]
fn a_schema_counts_for_what_pointers_lead_to_and_not_for_details() {
    let inner = |name: &str| {
        format!(
            r#"{{"type":"struct","fields":[{}],"field":"{name}"}}"#,
            [connect("id", "Decimal"), connect("total", "Decimal")].join(",")
        )
    };
    let value = wrapped(
        &[inner("before"), inner("after")],
        r#"{"before":null,"after":{"id":"A+k=","user_id":"u-42","status":"shipped","total":"EGg="},"op":"u"}"#,
    );
    let mut options = DecoderOptions::default();
    options.fields.order_id = vec!["/after/id".into()];
    options.fields.user_id = vec!["/after/user_id".into()];
    options.fields.status = vec!["/after/status".into()];
    options.fields.details = vec!["/after".into()];
    let state = set(Decoder::new(&options).unwrap().decode(&record(value.as_bytes()), &LOG).unwrap());
    assert_eq!(state.order_id.as_str(), "1001");
    assert!(state.details.as_ref().unwrap().get().contains(r#""total":"EGg=""#), "passed on as they are");
    let outbox = wrapped(
        &[r#"{"type":"struct","field":"payload","fields":["#.to_owned() + &connect("user_id", "Decimal") + "]}"],
        r#"{"payload":{"order_id":"A-1001","user_id":"Kg==","status":"s"},"eventType":"x"}"#,
    );
    assert_eq!(set(try_decode(&outbox).unwrap()).user_id.as_str(), "42");
}

#[test]
fn a_schema_that_is_none_says_nothing() {
    for schema in ["null", "{}", "[]", "1", r#""bytes""#, r#"{"type":"bytes","fields":7}"#, r#"{"type":["bytes"]}"#] {
        let value = format!(r#"{{"schema":{schema},"payload":{}}}"#, event_with(""));
        assert!(try_decode(&value).is_ok(), "{schema}");
    }
}
