//! `docs/asyncapi.yaml` against the types: what the service writes is exactly what the document says, and what the
//! document gives as an example is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ordercast::{
    domain::{
        Change, Decoder, Epoch, History, ListPlace, LogContext, OrderEvent, OrderState, RawRecord, RefusalCode,
        Timestamp, UserId,
        decode::{self, DecoderOptions, MAX_DETAILS_BYTES},
    },
    protocol::{
        self, Claims, ClientMessage, CloseCause, Message, OrderView, PageLimits, ServerMessage, SnapshotPages,
        StaleReason, outbound,
    },
    session::{Beginning, Now, Opening, Output, RefusedToken, Session},
};
use serde_json::{Value, json};

const LOG: LogContext = LogContext { epoch: Epoch(7), accepts_unversioned: true };

fn document() -> Value {
    serde_yaml_ng::from_str(include_str!("../../docs/asyncapi.yaml")).unwrap()
}

fn names(value: &Value) -> BTreeSet<&str> {
    value.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

/// Where a `$ref` leads, as often as it has to be followed.
fn resolved<'a>(document: &'a Value, mut schema: &'a Value) -> &'a Value {
    while let Some(place) = schema["$ref"].as_str() {
        schema = document.pointer(&place[1..]).unwrap_or_else(|| panic!("{place} leads nowhere"));
    }
    schema
}

fn check(document: &Value, name: &str, value: &Value) -> Result<(), String> {
    let schema = json!({ "$ref": format!("#/components/schemas/{name}"), "components": document["components"] });
    let validator = jsonschema::draft7::new(&schema).unwrap();
    validator.validate(value).map_err(|error| format!("{name}: {error} at {} in {value}", error.instance_path()))
}

/// Every place in `value` that an object's field stands at, noted as `Schema.field`; panics at one the schema lacks.
fn note_fields(document: &Value, name: &str, value: &Value, noted: &mut BTreeSet<String>) {
    let properties = &document["components"]["schemas"][name]["properties"];
    for (field, value) in value.as_object().unwrap() {
        let schema = &properties[field];
        assert!(!schema.is_null(), "{name} of docs/asyncapi.yaml says nothing of {field}, which the service writes");
        noted.insert(format!("{name}.{field}"));
        let item = resolved(document, schema)["items"]["$ref"].as_str().and_then(|place| place.rsplit('/').next());
        if let Some(item) = item {
            for value in value.as_array().unwrap().iter().filter(|value| value.is_object()) {
                note_fields(document, item, value, noted);
            }
        }
    }
}

fn state(value: &str, offset: i64) -> (Arc<OrderState>, OrderEvent) {
    let record = RawRecord {
        partition: 2,
        offset,
        timestamp_millis: None,
        received_at: Timestamp::from_millis(1_795_253_400_123).unwrap(),
        key: Some(b"A-1001"),
        value: Some(value.as_bytes()),
        headers: &[],
    };
    let event = Decoder::new(&DecoderOptions::default()).unwrap().decode(&record, &LOG).unwrap().event;
    let Change::Set(state) = &event.change else { panic!("a tombstone") };
    (state.clone(), event)
}

/// One of every message, by the name of its schema, with every optional field there and absent.
fn written() -> Vec<(&'static str, Message)> {
    let (packed, first) = state(r#"{"order_id":"A-1001","user_id":"u-42","status":"packed","version":2}"#, 1040);
    let full =
        r#"{"order_id":"A-1001","user_id":"u-42","status":"shipped","version":3,"event_id":"e-1","details":{"a":1}}"#;
    let (shipped, second) = state(full, 1041);
    let history =
        [first, second].iter().fold(None, |history, event| History::fold(history, event, |_| true).0).unwrap();
    let view = OrderView { state: shipped.clone(), timeline: history.timeline };
    let (order_id, user_id, now) = (&shipped.order_id, &shipped.user_id, Timestamp::now());
    let limits = PageLimits { orders: 1, bytes: 4_096 };
    let pages = SnapshotPages::new(now, true, vec![view], vec![order_id.clone()], limits);

    let mut messages: Vec<(&str, Message)> = ServerMessages::all(order_id, user_id, now);
    messages.push(("OrderStatus", outbound::order_status(&packed, None)));
    messages.push(("OrderStatus", outbound::order_status(&shipped, Some(&packed))));
    messages.extend(pages.map(|page| ("Snapshot", page)));
    messages.extend(SnapshotPages::new(now, false, vec![], vec![], limits).map(|page| ("Snapshot", page)));
    let end = ListPlace { changed_at: 0, order_id: order_id.clone() };
    let cut = SnapshotPages::new(now, false, vec![], vec![], limits).truncated_at(&end);
    messages.extend(cut.map(|page| ("Snapshot", page)));
    messages
}

struct ServerMessages;

impl ServerMessages {
    fn all(order_id: &ordercast::domain::OrderId, user_id: &UserId, now: Timestamp) -> Vec<(&'static str, Message)> {
        let ids: Vec<_> = [r#"{"type":"ping","id":7}"#, r#"{"type":"ping","id":"x"}"#]
            .map(|text| match ClientMessage::parse(text) {
                Ok(ClientMessage::Ping { id, .. }) => id,
                other => panic!("{other:?}"),
            })
            .into();
        let welcome = |user_id| ServerMessage::Welcome {
            session_id: "01J",
            user_id,
            heartbeat_ms: 25_000,
            expires_at: now,
            server_time: now,
            protocol: protocol::VERSION,
        };
        let error = |id, order_id| ServerMessage::Error { code: "forbidden", message: "no", id, order_id };
        let mut messages = vec![
            welcome(Some(user_id)),
            welcome(None),
            ServerMessage::Removed { order_id },
            ServerMessage::Heartbeat { server_time: now },
            ServerMessage::Pong { id: None },
            ServerMessage::Pong { id: ids[0].as_ref() },
            ServerMessage::Pong { id: ids[1].as_ref() },
            ServerMessage::Stale { since: now, reasons: StaleReason::ALL.into_iter().collect() },
            ServerMessage::Fresh,
            ServerMessage::Announcement { content: "we move", timestamp: now },
            ServerMessage::TokenExpiring { expires_at: now },
            ServerMessage::TokenRefreshed { expires_at: now },
            error(None, None),
            error(ids[0].as_ref(), Some(order_id)),
        ];
        for (cause, reconnect_after_ms) in CloseCause::ALL.into_iter().zip([None, Some(3_120)].into_iter().cycle()) {
            if cause.is_announced() {
                let (code, reason, retry) = (cause.code(), cause.reason(), cause.retry());
                messages.push(ServerMessage::Closing { code, reason, retry, reconnect_after_ms });
            }
        }
        messages.iter().map(|message| (Self::schema(message), message.message())).collect()
    }

    /// Exhaustive, so that a new message is not forgotten here.
    fn schema(message: &ServerMessage<'_>) -> &'static str {
        match message {
            ServerMessage::Welcome { .. } => "Welcome",
            ServerMessage::Removed { .. } => "Removed",
            ServerMessage::Heartbeat { .. } => "Heartbeat",
            ServerMessage::Pong { .. } => "Pong",
            ServerMessage::Stale { .. } => "Stale",
            ServerMessage::Fresh => "Fresh",
            ServerMessage::Announcement { .. } => "Announcement",
            ServerMessage::TokenExpiring { .. } => "TokenExpiring",
            ServerMessage::TokenRefreshed { .. } => "TokenRefreshed",
            ServerMessage::Error { .. } => "Error",
            ServerMessage::Closing { .. } => "Closing",
        }
    }
}

#[test]
fn every_reference_of_the_document_leads_somewhere_and_every_schema_is_used() {
    fn walk<'a>(document: &'a Value, value: &'a Value, used: &mut BTreeSet<&'a str>) {
        if let Some(place) = value["$ref"].as_str() {
            assert!(!resolved(document, value).is_null(), "{place}");
            used.insert(place);
        }
        match value {
            Value::Object(fields) => fields.values().for_each(|value| walk(document, value, used)),
            Value::Array(items) => items.iter().for_each(|value| walk(document, value, used)),
            _ => {}
        }
    }
    let document = document();
    let mut used = BTreeSet::new();
    walk(&document, &document, &mut used);
    for (kind, names) in document["components"].as_object().unwrap() {
        for name in names.as_object().unwrap().keys() {
            assert!(used.contains(&*format!("#/components/{kind}/{name}")), "nothing uses {kind}/{name}");
        }
    }
    for name in document["channels"]["session"]["messages"].as_object().unwrap().keys() {
        assert!(used.contains(&*format!("#/channels/session/messages/{name}")), "no operation sends or takes {name}");
    }
}

#[test]
fn what_the_service_writes_is_exactly_what_the_document_says() {
    let document = document();
    let mut noted = BTreeSet::new();
    let mut kinds = BTreeSet::new();
    for (name, frame) in written() {
        let value: Value = serde_json::from_slice(frame.bytes()).unwrap();
        check(&document, name, &value).unwrap();
        note_fields(&document, name, &value, &mut noted);
        kinds.insert(name);
    }
    for name in kinds.iter().chain(&["Order", "Step"]) {
        for field in document["components"]["schemas"][*name]["properties"].as_object().unwrap().keys() {
            assert!(
                noted.contains(&format!("{name}.{field}")),
                "no message of `written` has {field}, which docs/asyncapi.yaml gives {name}"
            );
        }
    }
    let sent = document["operations"]["sendToClient"]["messages"].as_array().unwrap();
    assert_eq!(sent.len(), kinds.len(), "{kinds:?}");
}

#[test]
fn reasons_and_codes_of_tomorrow_are_legal() {
    let document = document();
    for (schema, value) in [
        ("Stale", json!({"type": "stale", "since": "2026-11-21T10:00:00.000Z", "reasons": ["of_tomorrow"]})),
        ("Error", json!({"type": "error", "code": "of_tomorrow", "message": "x"})),
        ("Closing", json!({"type": "closing", "code": 4555, "reason": "of_tomorrow", "retry": false})),
        ("DeadLetterHeaders", json!({"x-error-code": "of_tomorrow"})),
    ] {
        check(&document, schema, &value).unwrap();
    }
}

#[test]
fn lists_of_codes_and_limits_are_those_of_the_code() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let announced = || CloseCause::ALL.into_iter().filter(|cause| cause.is_announced());
    let closing = &schemas["Closing"]["properties"];
    let codes: BTreeSet<u64> =
        closing["code"]["examples"].as_array().unwrap().iter().map(|code| code.as_u64().unwrap()).collect();
    assert_eq!(codes, announced().map(|cause| cause.code().into()).collect(), "examples of Closing.code");
    let reasons = names(&closing["reason"]["examples"]);
    assert_eq!(reasons, announced().map(CloseCause::reason).collect(), "examples of Closing.reason");
    let stale = names(&schemas["StaleReason"]["examples"]);
    assert_eq!(stale, StaleReason::ALL.map(StaleReason::as_str).into(), "examples of StaleReason");
    let refusals = names(&schemas["DeadLetterHeaders"]["properties"]["x-error-code"]["examples"]);
    assert_eq!(refusals, RefusalCode::ALL.map(RefusalCode::as_str).into(), "examples of x-error-code");
    let errors = names(&schemas["Error"]["properties"]["code"]["examples"]);
    assert_eq!(errors, error_codes(), "examples of Error.code; `error_codes` has to bring each about");

    use ordercast::{
        domain::{ids, timeline, version},
        protocol::inbound,
    };
    let event = &schemas["OrderEvent"]["properties"];
    for (limit, wanted) in [
        (&schemas["Id"]["maxLength"], ids::MAX_ID_CHARS as u64),
        (&schemas["Version"]["maximum"], version::MAX_VERSION),
        (&schemas["Order"]["properties"]["timeline"]["maxItems"], timeline::MAX_STEPS as u64),
        (&event["status"]["oneOf"][0]["maxLength"], decode::MAX_STATUS_CHARS as u64),
        (&event["viewers"]["maxItems"], decode::MAX_VIEWERS as u64),
        (&schemas["Sync"]["properties"]["orders"]["maxProperties"], inbound::MAX_SYNCED as u64),
        (&schemas["Subscribe"]["properties"]["order_ids"]["maxItems"], inbound::MAX_SUBSCRIBED as u64),
        (&document["channels"]["session"]["bindings"]["ws"]["query"]["properties"]["token"]["maxLength"], {
            ordercast::auth::MAX_TOKEN_BYTES as u64
        }),
    ] {
        assert_eq!(limit.as_u64(), Some(wanted));
    }
    assert_eq!(MAX_DETAILS_BYTES, 16 * 1024);
    assert_eq!(ordercast::config::MAX_SNAPSHOT_BYTES, protocol::message::MAX_FRAME_BYTES);
}

/// Every code that an `error` can carry, each provoked.
fn error_codes() -> BTreeSet<&'static str> {
    let too_many: BTreeMap<String, &str> = (0..2_001).map(|number| (number.to_string(), "")).collect();
    let mut codes: BTreeSet<&'static str> = BTreeSet::new();
    for text in ["{", "[]", r#"{"type":"dance"}"#, &json!({"type": "sync", "orders": too_many}).to_string()] {
        codes.insert(ClientMessage::parse(text).unwrap_err().code);
    }
    let now = Now::read();
    let opening =
        Opening { session_id: "s".into(), user: None, expires_at: Timestamp::now(), beginning: Beginning::Claims };
    let mut session = Session::open(Arc::default(), opening, now);
    say(&mut session, r#"{"action":"subscribe","userId":"somebody"}"#, now);
    let order_id = ordercast::domain::OrderId::parse("A-1001").unwrap();
    session.on_delivery(ordercast::protocol::Delivery::NotVisible(vec![order_id]), now);
    let output = said(&mut session);
    for code in ["forbidden", "order_not_visible"] {
        assert!(output.contains(&format!(r#""code":"{code}""#)), "{output}");
        codes.insert(code);
    }
    for code in ["invalid_token", "expired_token", "keys_unavailable"] {
        assert_eq!(session.on_renewal(Err(RefusedToken { code, message: String::new() }), None, now), Err(code));
        codes.insert(code);
    }
    let output = said(&mut session);
    assert!(output.contains("invalid_token") && output.contains("expired_token"), "{output}");
    for _ in 0..6 {
        say(&mut session, r#"{"type":"sync"}"#, now);
    }
    let output = said(&mut session);
    assert!(output.contains(r#""code":"too_many_snapshots""#), "{output}");
    codes.insert("too_many_snapshots");
    codes
}

fn say(session: &mut Session, text: &str, now: Now) {
    session.on_message(text.len(), || ClientMessage::parse(text), now);
}

/// Everything the session has to say now.
fn said(session: &mut Session) -> String {
    let output = std::iter::from_fn(|| session.next_output());
    output
        .filter_map(|output| match output {
            Output::Message(message) => Some(message),
            Output::Closing(closing) => Some(closing.message()),
            Output::Probe | Output::End(_) => None,
        })
        .map(|message| String::from_utf8_lossy(message.bytes()).into_owned())
        .collect()
}

#[test]
fn examples_of_the_document_are_read_as_what_they_are() {
    let document = document();
    for (message, schema, read) in [
        ("ping", "Ping", "Ping"),
        ("sync", "Sync", "Sync"),
        ("subscribe", "Subscribe", "Subscribe"),
        ("refresh", "Refresh", "Refresh"),
        ("claims", "Claims", ""),
        ("orderEvent", "OrderEvent", "OrderEvent"),
    ] {
        let examples = document["components"]["messages"][message]["examples"].as_array().unwrap();
        assert!(examples.len() > 1, "{message}");
        for example in examples {
            check(&document, schema, &example["payload"]).unwrap();
            let text = example["payload"].to_string();
            match message {
                "orderEvent" => drop(state(&text, 1)),
                "claims" => drop(Claims::parse(text.as_bytes()).unwrap()),
                _ => {
                    let parsed = ClientMessage::parse(&text).unwrap();
                    assert!(format!("{parsed:?}").starts_with(read), "{text}: {parsed:?}");
                }
            }
        }
    }
}

#[test]
fn headers_of_the_source_topic_are_those_that_are_read() {
    let document = document();
    let of = |message: &str| {
        let headers = resolved(&document, &document["components"]["messages"][message]["headers"]);
        headers["properties"].as_object().unwrap().keys().map(String::as_str).collect::<BTreeSet<_>>()
    };
    let replay = ordercast::recorder::dead_letters::REPLAY_HEADER;
    assert_eq!(of("orderEvent"), BTreeSet::from(["id", decode::VERSION_HEADER, replay]));
    assert_eq!(of("tombstone"), BTreeSet::from([decode::RESET_HEADER]));
    let examples =
        &document["components"]["schemas"]["TombstoneHeaders"]["properties"][decode::RESET_HEADER]["examples"];
    let headers = [(decode::RESET_HEADER, Some(examples[0].as_str().unwrap().as_bytes()))];
    let tombstone = RawRecord {
        partition: 2,
        offset: 1041,
        timestamp_millis: None,
        received_at: Timestamp::now(),
        key: Some(b"A-1001"),
        value: None,
        headers: &headers,
    };
    let decoder = Decoder::new(&DecoderOptions::default()).unwrap();
    let change = |record: &RawRecord<'_>| decoder.decode(record, &LOG).unwrap().event.change;
    assert!(matches!(change(&tombstone), Change::Reset));
    assert!(matches!(change(&RawRecord { headers: &[], ..tombstone }), Change::Erase));
}

#[test]
fn what_the_document_forbids_is_refused() {
    let document = document();
    let ids: Vec<String> = (0..501).map(|number| number.to_string()).collect();
    for (schema, value) in [
        ("Ping", json!({"type": "ping", "id": {}})),
        ("Ping", json!({"type": "ping", "id": true})),
        ("Sync", json!({"type": "sync", "orders": ["A-1001"]})),
        ("Sync", json!({"type": "sync", "orders": {"A-1001": 3}})),
        ("Sync", json!({"type": "sync", "orders": {"": "1-2-3"}})),
        ("Subscribe", json!({"type": "subscribe", "order_ids": "A-1001"})),
        ("Subscribe", json!({"type": "subscribe", "order_ids": [1001]})),
        ("Subscribe", json!({"type": "subscribe", "order_ids": ids})),
        ("Subscribe", json!({"type": "subscribe", "userId": {}})),
        ("Subscribe", json!({"order_ids": []})),
    ] {
        assert!(check(&document, schema, &value).is_err(), "the document allows {value}");
        assert!(ClientMessage::parse(&value.to_string()).is_err(), "{value} is accepted");
    }
    for value in [
        json!({"orders": ["A-1001"]}),
        json!({"orders": {"": "1-2-3"}}),
        json!({"stale": "log_gap"}),
        json!({"wait_ms": 50_001}),
        json!({"wait_ms": 0.5}),
    ] {
        assert!(check(&document, "Claims", &value).is_err(), "the document allows {value}");
        assert!(Claims::parse(value.to_string().as_bytes()).is_err(), "{value} is accepted");
    }
    let decoder = Decoder::new(&DecoderOptions::default()).unwrap();
    let whole = json!({"order_id": "A-1001", "user_id": "u-42", "status": "shipped", "version": 3});
    for (field, bad) in [
        ("order_id", json!("")),
        ("order_id", json!(1.5)),
        ("user_id", json!("x".repeat(129))),
        ("status", json!("x".repeat(65))),
        ("status", json!(null)),
        ("version", json!(-1)),
        ("version", json!("three")),
        ("version", json!(1_u64 << 53)),
        ("details", json!("text")),
        ("viewers", json!({})),
        ("viewers", json!(vec!["u"; 65])),
        ("event_id", json!({})),
    ] {
        let mut event = whole.clone();
        event[field] = bad;
        let text = event.to_string();
        let record = RawRecord {
            partition: 0,
            offset: 0,
            timestamp_millis: None,
            received_at: Timestamp::now(),
            key: None,
            value: Some(text.as_bytes()),
            headers: &[],
        };
        assert!(check(&document, "OrderEvent", &event).is_err(), "the document allows {event}");
        assert!(decoder.decode(&record, &LOG).is_err(), "{event} is accepted");
    }
}
