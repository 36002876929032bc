//! A client's message: what is accepted is what JSON says, and within its bounds; what is refused gets a short answer that
//! quotes nothing.

use std::{sync::Arc, time::Duration};

use ordercast::{
    domain::Timestamp,
    protocol::{
        ClientMessage, MessageError, PingForm,
        inbound::{MAX_SUBSCRIBED, MAX_SYNCED, Token},
        outbound::RawId,
    },
    session::{Beginning, Now, Opening, Output, Session, SessionConfig},
};
use serde::de::IgnoredAny;
use serde_json::Value;

/// Longest answer that a single message gets from the session itself.
const MAX_ANSWER_BYTES: usize = 512;

/// The input is a message, where it is text.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let answer = ClientMessage::parse(text);
    assert_eq!(answer, ClientMessage::parse(text), "the same message gets the same answer");
    match &answer {
        Ok(message) => check_accepted(text, message),
        Err(error) => check_refused(error),
    }
    check_answer(text);
}

fn check_accepted(text: &str, message: &ClientMessage) {
    if let ClientMessage::Ping { form: PingForm::Word(answer), .. } = message {
        assert_eq!(answer.len(), text.trim_ascii().len());
        return;
    }
    if *message == ClientMessage::Alive && !text.contains('{') {
        return;
    }
    serde_json::from_str::<IgnoredAny>(text).expect("what is accepted is JSON");
    // Numbers beyond a double and lone surrogates are JSON, which this does not hold.
    let Ok(value) = serde_json::from_str::<Value>(text) else { return };
    assert!(depth(&value) <= 16);
    let name = [&value["type"], &value["action"]].into_iter().find(|name| !name.is_null()).and_then(Value::as_str);
    match message {
        ClientMessage::Ping { id, form } => {
            let PingForm::Member { name, .. } = form else { panic!("a word is no object") };
            assert!(value[*name].is_string());
            let answer: Value = serde_json::from_slice(form.pong(id.as_ref()).bytes()).expect("it is JSON");
            assert!(answer["type"].as_str().is_some_and(|pong| pong.eq_ignore_ascii_case("pong")));
            assert_eq!(answer["id"], value["id"]);
            check_id(id.as_ref(), &value["id"]);
        }
        ClientMessage::Alive => {}
        ClientMessage::Sync { orders, id } => {
            check_id(id.as_ref(), &value["id"]);
            assert_eq!(name, Some("sync"));
            assert_eq!(
                orders.as_ref().map(|orders| orders.len()),
                value["orders"].as_object().map(|orders| orders.len())
            );
            for (order_id, rev) in orders.iter().flatten() {
                check_order_id(order_id.as_str());
                let said = value["orders"][order_id.as_str()].as_str().expect("a rev is text");
                assert_eq!(*rev, said.parse().ok());
                assert_eq!(*rev, rev.and_then(|rev| rev.to_string().parse().ok()), "a rev comes back as it was");
            }
            assert!(orders.as_ref().is_none_or(|orders| orders.len() <= MAX_SYNCED));
        }
        ClientMessage::Subscribe { order_ids, user_id, id } => {
            check_id(id.as_ref(), &value["id"]);
            assert_eq!(name, Some("subscribe"));
            assert_eq!(user_id.is_some(), !value["userId"].is_null());
            assert_eq!(order_ids.as_ref().map(Vec::len), value["order_ids"].as_array().map(Vec::len));
            order_ids.iter().flatten().for_each(|order_id| check_order_id(order_id.as_str()));
            assert!(order_ids.as_ref().is_none_or(|order_ids| order_ids.len() <= MAX_SUBSCRIBED));
        }
        ClientMessage::Refresh { token, id } => {
            assert_eq!(name, Some("refresh"));
            assert_eq!(Some(token.expose()), value["token"].as_str().map(str::trim));
            check_id(id.as_ref(), &value["id"]);
            let other = ClientMessage::Refresh { token: Token::from("another".to_owned()), id: id.clone() };
            assert_eq!(format!("{message:?}"), format!("{other:?}"), "a token shows nothing of itself");
        }
    }
}

fn check_id(echoed: Option<&RawId>, said: &Value) {
    let echoed = echoed.map(|id| serde_json::to_string(id).expect("an id is JSON"));
    assert!(echoed.as_ref().is_none_or(|echoed| echoed.len() <= 64));
    let echoed: Value = echoed.map_or(Value::Null, |echoed| serde_json::from_str(&echoed).expect("an id is JSON"));
    assert!(matches!(echoed, Value::Null | Value::String(_) | Value::Number(_)));
    assert_eq!(echoed, *said);
}

fn check_order_id(order_id: &str) {
    assert!((1..=128).contains(&order_id.chars().count()) && !order_id.chars().any(char::is_control), "{order_id:?}");
}

fn check_refused(error: &MessageError) {
    let known = ["invalid_json", "invalid_message", "unknown_type", "sync_too_large"];
    assert!(known.contains(&error.code), "{error:?}");
    assert!(error.message.len() < 128 && error.message.is_ascii(), "the message is not quoted: {error:?}");
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// What a session says to it by itself is short, however long it was.
fn check_answer(text: &str) {
    let now = Now { instant: std::time::Instant::now(), wall: at(0) };
    let minute = Duration::from_secs(60);
    let rules = SessionConfig { heartbeat_interval: minute, snapshot_timeout: minute, ..SessionConfig::default() };
    let opening =
        Opening { session_id: "s".to_owned(), user: None, expires_at: at(3_600_000), beginning: Beginning::Snapshot };
    let mut session = Session::open(Arc::new(rules), opening, now);
    while session.next_output().is_some() {}
    let _ = session.on_message(text.len(), || ClientMessage::parse(text), now);
    let answered: usize = std::iter::from_fn(|| session.next_output())
        .map(|output| match output {
            Output::Message(message) => message.len(),
            Output::Closing(closing) => closing.message().len(),
            Output::Probe | Output::End(_) => 0,
        })
        .sum();
    assert!(answered <= MAX_ANSWER_BYTES, "{answered} bytes of answer to {}", text.len());
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_795_253_400_000 + millis).expect("is in range")
}
