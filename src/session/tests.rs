//! The rules of a session, with time as an argument.

use serde_json::Value;

use super::*;
use crate::{
    domain::{Epoch, OrderList, OrderState, Timeline, Version, VersionKind},
    protocol::{ClientMessage, OrderView, PendingSnapshot, StaleReason},
};

const HEARTBEAT: Duration = Duration::from_secs(25);

struct Clock(Now);

impl Clock {
    fn start() -> Self {
        Self(Now { instant: Instant::now(), wall: Timestamp::parse_rfc3339("2026-11-21T10:00:00Z").unwrap() })
    }

    fn forward(&mut self, by: Duration) -> Now {
        self.0.instant += by;
        self.0.wall = Timestamp::from_millis(self.0.wall.as_millis() + i64::try_from(by.as_millis()).unwrap()).unwrap();
        self.0
    }

    fn now(&self) -> Now {
        self.0
    }
}

fn catching_up() -> StaleReasons {
    StaleReasons::from_iter([StaleReason::CatchingUp])
}

fn rules() -> Arc<SessionConfig> {
    Arc::new(SessionConfig { heartbeat_interval: HEARTBEAT, ..SessionConfig::default() })
}

fn opening(clock: &Clock, ttl: Duration) -> Opening {
    let expires = clock.now().wall.as_millis() + i64::try_from(ttl.as_millis()).unwrap();
    Opening {
        session_id: "01J".to_owned(),
        user: Some(UserId::parse("u-42").unwrap()),
        expires_at: Timestamp::from_millis(expires).unwrap(),
        beginning: Beginning::Snapshot,
    }
}

fn open(clock: &Clock) -> Session {
    Session::open(rules(), opening(clock, Duration::from_secs(3600)), clock.now())
}

fn live(clock: &Clock) -> Session {
    ending_in(clock, Duration::from_secs(3600))
}

/// A live session whose token ends after `ttl`.
fn ending_in(clock: &Clock, ttl: Duration) -> Session {
    let mut session = Session::open(rules(), opening(clock, ttl), clock.now());
    sent(&mut session);
    session.on_delivery(Delivery::Snapshot(PendingSnapshot::new(clock.now().wall, false)), clock.now());
    sent(&mut session);
    session
}

/// Everything the session has to say now: messages, probes as `{"probe": true}`, and its end as `{"end": its code}`.
fn sent(session: &mut Session) -> Vec<Value> {
    let output = std::iter::from_fn(|| session.next_output());
    output
        .map(|output| match output {
            Output::Message(message) => serde_json::from_slice(message.bytes()).unwrap(),
            Output::Closing(closing) => serde_json::from_slice(closing.message().bytes()).unwrap(),
            Output::Probe => serde_json::json!({"probe": true}),
            Output::End(cause) => serde_json::json!({"end": cause.code()}),
        })
        .collect()
}

/// The client says this.
fn say(session: &mut Session, text: &str, now: Now) -> Option<Request> {
    session.on_message(text.len(), || ClientMessage::parse(text), now)
}

fn types(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["type"].as_str().unwrap_or("end")).collect()
}

#[test]
fn welcome_comes_first_then_the_snapshot_then_updates() {
    let clock = Clock::start();
    let mut session = open(&clock);
    assert!(!session.wants_delivery(), "the welcome has not been taken yet");
    let welcome = sent(&mut session);
    assert_eq!(types(&welcome), ["welcome"]);
    assert_eq!(welcome[0]["user_id"], "u-42");
    assert_eq!(welcome[0]["heartbeat_ms"], 25_000);
    assert!(session.wants_delivery());
    session.on_delivery(Delivery::Snapshot(PendingSnapshot::new(clock.now().wall, false)), clock.now());
    assert!(!session.wants_delivery(), "nothing is sent between the pages of a snapshot");
    let snapshot = sent(&mut session);
    assert_eq!(types(&snapshot), ["snapshot"]);
    assert_eq!((&snapshot[0]["first"], &snapshot[0]["complete"]), (&Value::Bool(true), &Value::Bool(true)));
    session.on_delivery(Delivery::Updates(vec![Message::text(r#"{"type":"order_status"}"#)]), clock.now());
    assert_eq!(types(&sent(&mut session)), ["order_status"]);
}

fn large_order(clock: &Clock, bytes: usize) -> OrderView {
    let order_id = OrderId::parse("A-1").unwrap();
    let details = format!(r#"{{"pad":"{}"}}"#, "x".repeat(bytes));
    let state = Arc::new(OrderState {
        order_id,
        user_id: UserId::parse("u-42").unwrap(),
        viewers: Box::default(),
        status: "paid".into(),
        terminal: false,
        version: Version { kind: VersionKind::Field, number: 1 },
        stamp: crate::domain::Stamp { epoch: Epoch(7), partition: 0, offset: 1 },
        occurred_at: clock.now().wall,
        details: Some(serde_json::value::RawValue::from_string(details).unwrap()),
        event_id: None,
    });
    OrderView { timeline: Arc::new(Timeline::of(&state)), state }
}

#[test]
fn with_its_last_page_a_snapshot_is_out_however_large_that_is() {
    let clock = Clock::start();
    let mut session = live(&clock);
    let mut snapshot = PendingSnapshot::new(clock.now().wall, false);
    snapshot.put(&OrderId::parse("A-1").unwrap(), Some(large_order(&clock, 16_384)));
    session.on_delivery(Delivery::Snapshot(snapshot), clock.now());
    assert!(session.next_output().is_some());
    assert!(session.wants_delivery(), "the mailbox is looked into, and keeps the waker");
}

#[test]
fn a_session_without_a_snapshot_in_time_is_closed_and_told_when_to_come_back() {
    let mut clock = Clock::start();
    let mut session = open(&clock);
    sent(&mut session);
    session.on_time(clock.forward(Duration::from_millis(4_999)));
    assert_eq!(session.cause(), None);
    session.on_time(clock.forward(Duration::from_millis(1)));
    let closing = sent(&mut session);
    assert_eq!(closing[0]["reason"], "snapshot_unavailable");
    assert_eq!(closing[0]["reconnect_after_ms"], 5_000);
    assert_eq!(closing[1]["end"], 1013);
    assert_eq!(session.cause(), Some(CloseCause::SnapshotUnavailable));
}

#[test]
fn a_client_that_asks_for_a_snapshot_is_answered_in_time_or_told_when_to_come_back() {
    let mut clock = Clock::start();
    let mut session = live(&clock);
    let asked = clock.forward(Duration::from_secs(10));
    assert!(say(&mut session, r#"{"type":"sync"}"#, asked).is_some());
    session.on_time(clock.forward(Duration::from_millis(4_999)));
    assert_eq!(session.cause(), None);
    session.on_time(clock.forward(Duration::from_millis(1)));
    assert_eq!(session.cause(), Some(CloseCause::SnapshotUnavailable));
}

#[test]
fn heartbeats_carry_a_ping_and_silence_for_two_of_them_ends_the_session() {
    let mut clock = Clock::start();
    let mut session = live(&clock);
    session.on_time(clock.forward(HEARTBEAT));
    let heartbeat = sent(&mut session);
    assert_eq!(heartbeat[0]["type"], "heartbeat");
    assert_eq!(heartbeat[1]["probe"], true);
    session.on_noise(0, clock.now());
    session.on_time(clock.forward(HEARTBEAT));
    session.on_time(clock.forward(HEARTBEAT));
    assert_eq!(session.cause(), None, "a Pong is a sign of life");
    session.on_time(clock.forward(HEARTBEAT / 4));
    assert_eq!(session.cause(), Some(CloseCause::HeartbeatTimeout));
}

#[test]
fn the_token_s_end_is_announced_and_is_the_session_s_end() {
    let mut clock = Clock::start();
    let mut session = Session::open(rules(), opening(&clock, Duration::from_secs(90)), clock.now());
    sent(&mut session);
    session.on_delivery(Delivery::Snapshot(PendingSnapshot::new(clock.now().wall, false)), clock.now());
    session.on_time(clock.forward(Duration::from_secs(29)));
    assert!(!types(&sent(&mut session)).contains(&"token_expiring"));
    session.on_time(clock.forward(Duration::from_secs(1)));
    assert!(types(&sent(&mut session)).contains(&"token_expiring"));
    session.on_noise(0, clock.now());
    session.on_time(clock.forward(Duration::from_secs(30)));
    session.on_noise(0, clock.now());
    assert!(!types(&sent(&mut session)).contains(&"token_expiring"), "once");
    session.on_time(clock.forward(Duration::from_secs(30)));
    let closing = sent(&mut session);
    assert_eq!((&closing[0]["code"], &closing[0]["retry"]), (&Value::from(4005), &Value::Bool(true)));
}

#[test]
fn deadlines_are_never_later_than_what_has_to_happen() {
    let clock = Clock::start();
    let session = live(&clock);
    assert!(session.deadline(clock.now()) <= clock.now().instant + HEARTBEAT);
    let waiting = open(&clock);
    assert!(waiting.deadline(clock.now()) <= clock.now().instant + Duration::from_secs(5));
}

#[test]
fn sync_wait_asks_for_nothing_until_the_sync_or_five_seconds() {
    let mut clock = Clock::start();
    let waits = Opening { beginning: Beginning::Claims, ..opening(&clock, HEARTBEAT * 100) };
    let mut session = Session::open(rules(), waits.clone(), clock.now());
    let asked = say(&mut session, r#"{"type":"sync","orders":{}}"#, clock.now());
    assert_eq!(asked, Some(HubRequest::Sync(Default::default()).into()));
    let mut session = Session::open(rules(), waits, clock.now());
    assert_eq!(session.on_time(clock.forward(Duration::from_millis(4_900))), None);
    assert_eq!(session.on_time(clock.forward(Duration::from_millis(100))), Some(HubRequest::Restart));
    assert_eq!(session.on_time(clock.forward(Duration::from_millis(4_900))), None);
    assert_eq!(session.cause(), None, "the snapshot's deadline starts there");
}

#[test]
fn who_asks_for_differences_alone_is_told_nothing_of_a_screen_that_is_as_it_should_be() {
    let mut clock = Clock::start();
    let begin = |stale| Opening { beginning: Beginning::Difference(stale), ..opening(&clock, HEARTBEAT * 100) };
    let nothing = |clock: &Clock| Delivery::Snapshot(PendingSnapshot::new(clock.now().wall, true));
    for (shown, is, told) in [
        (StaleReasons::NONE, StaleReasons::NONE, None),
        (catching_up(), catching_up(), None),
        (catching_up(), StaleReasons::NONE, Some("fresh")),
        (StaleReasons::NONE, catching_up(), Some("stale")),
        (StaleReasons::named(["eclipse"]), StaleReasons::NONE, Some("fresh")),
    ] {
        let mut session = Session::open(rules(), begin(shown), clock.now());
        say(&mut session, r#"{"type":"sync","orders":{}}"#, clock.now());
        session.on_stale(is, clock.now().wall, StaleReasons::NONE);
        assert_eq!(sent(&mut session), Vec::<Value>::new(), "nothing before the answer to what it shows");
        session.on_delivery(nothing(&clock), clock.now());
        let kinds: Vec<_> = sent(&mut session).iter().map(|message| message["type"].clone()).collect();
        assert_eq!(kinds, Vec::from_iter(told), "{shown:?} {is:?}");
    }
    let mut session = Session::open(rules(), begin(StaleReasons::NONE), clock.now());
    say(&mut session, r#"{"type":"sync"}"#, clock.now());
    session.on_delivery(Delivery::Snapshot(PendingSnapshot::new(clock.now().wall, false)), clock.now());
    assert_eq!(sent(&mut session)[0]["type"], "snapshot", "a full one replaces all that is shown");
    session.on_alive(clock.forward(HEARTBEAT));
    assert_eq!(session.on_time(clock.now()), None);
    assert_eq!(sent(&mut session), Vec::<Value>::new(), "no heartbeat");
}

#[test]
fn a_sync_that_was_waited_for_is_followed_by_no_snapshot_that_nobody_asked_for() {
    let mut clock = Clock::start();
    let waits = Opening { beginning: Beginning::Claims, ..opening(&clock, HEARTBEAT * 100) };
    let mut session = Session::open(rules(), waits, clock.now());
    let sync = r#"{"type":"sync","orders":{}}"#;
    assert!(say(&mut session, sync, clock.forward(Duration::from_secs(4))).is_some());
    session.on_delivery(Delivery::Snapshot(PendingSnapshot::new(clock.now().wall, false)), clock.now());
    sent(&mut session);
    for _ in 0..10 {
        assert_eq!(session.on_time(clock.forward(Duration::from_secs(2))), None);
    }
    assert_eq!(session.cause(), None);
}

#[test]
fn after_a_pause_there_is_one_heartbeat_and_the_next_is_an_interval_later() {
    let mut clock = Clock::start();
    let mut session = live(&clock);
    session.on_noise(0, clock.forward(HEARTBEAT * 5));
    for (pause, heartbeats) in [(Duration::ZERO, 1), (HEARTBEAT / 2, 0), (HEARTBEAT / 2, 1)] {
        session.on_time(clock.forward(pause));
        session.on_time(clock.now());
        assert_eq!(types(&sent(&mut session)).iter().filter(|told| **told == "heartbeat").count(), heartbeats);
    }
}

#[test]
fn stale_says_since_when_though_reasons_change_and_is_not_told_for_what_passed_unseen() {
    let mut clock = Clock::start();
    let mut session = live(&clock);
    let reasons = [StaleReason::KafkaUnavailable, StaleReason::LogGap].map(|reason| StaleReasons::from_iter([reason]));
    let since = clock.now().wall;
    for reasons in reasons {
        session.on_stale(reasons, clock.now().wall, StaleReasons::NONE);
        assert_eq!(sent(&mut session)[0]["since"], serde_json::to_value(since).unwrap());
        clock.forward(Duration::from_secs(10));
    }
    session.on_stale(StaleReasons::NONE, clock.now().wall, StaleReasons::NONE);
    session.on_stale(reasons[1], clock.now().wall, StaleReasons::NONE);
    assert!(sent(&mut session).is_empty(), "as it was told");
    session.on_stale(StaleReasons::NONE, clock.now().wall, StaleReasons::NONE);
    assert_eq!(types(&sent(&mut session)), ["fresh"]);
    session.on_stale(reasons[0], clock.now().wall, StaleReasons::NONE);
    assert_eq!(sent(&mut session)[0]["since"], serde_json::to_value(clock.now().wall).unwrap(), "anew");
}

#[test]
fn after_our_close_nothing_more_is_said_whatever_comes() {
    let mut clock = Clock::start();
    let mut session = ending_in(&clock, Duration::from_secs(60));
    session.on_stale(catching_up(), clock.now().wall, StaleReasons::NONE);
    session.close(CloseCause::Disconnected, None);
    assert_eq!(types(&sent(&mut session)), ["closing", "end"]);
    session.on_noise(1, clock.now());
    session.on_broken(CloseCause::BinaryNotSupported);
    for text in ["ping", "?"] {
        assert_eq!(say(&mut session, text, clock.now()), None);
    }
    let good = renewal(&clock, user("u-42", None), Duration::from_secs(600));
    assert_eq!(session.on_renewal(Ok(good), None, clock.now()), Err("too_late"));
    session.on_time(clock.forward(Duration::from_secs(1)));
    assert!(!session.wants_delivery());
    assert!(sent(&mut session).is_empty());
}

#[test]
fn stale_follows_the_first_snapshot_and_is_told_once_per_change() {
    let clock = Clock::start();
    let mut session = open(&clock);
    let unavailable = StaleReasons::from_iter([StaleReason::KafkaUnavailable]);
    session.on_stale(unavailable, clock.now().wall, catching_up());
    assert_eq!(types(&sent(&mut session)), ["welcome"]);
    session.on_delivery(Delivery::Snapshot(PendingSnapshot::new(clock.now().wall, false)), clock.now());
    session.on_stale(unavailable, clock.now().wall, StaleReasons::NONE);
    let messages = sent(&mut session);
    assert_eq!(types(&messages), ["snapshot", "stale"]);
    assert_eq!(messages[1]["reasons"], serde_json::json!(["kafka_unavailable"]));
    session.on_stale(unavailable, clock.now().wall, StaleReasons::NONE);
    assert!(sent(&mut session).is_empty());
    session.on_stale(StaleReasons::NONE, clock.now().wall, StaleReasons::NONE);
    assert_eq!(types(&sent(&mut session)), ["fresh"]);
}

#[test]
fn a_start_that_was_proved_says_nothing_of_what_it_was_before() {
    let clock = Clock::start();
    let mut session = open(&clock);
    session.on_stale(StaleReasons::NONE, clock.now().wall, catching_up());
    sent(&mut session);
    session.on_delivery(Delivery::Snapshot(PendingSnapshot::new(clock.now().wall, false)), clock.now());
    assert_eq!(types(&sent(&mut session)), ["snapshot"]);
}

#[test]
fn a_start_without_proof_says_that_it_is_catching_up() {
    let clock = Clock::start();
    let mut session = live(&clock);
    session.on_stale(StaleReasons::NONE, clock.now().wall, catching_up());
    assert_eq!(sent(&mut session)[0]["reasons"], serde_json::json!(["catching_up"]));
}

#[test]
fn the_older_subscribe_is_for_the_token_s_user_only() {
    let clock = Clock::start();
    let mut session = live(&clock);
    let own = r#"{"action":"subscribe","userId":"u-42"}"#;
    assert_eq!(say(&mut session, own, clock.now()), Some(HubRequest::Subscribe(None).into()));
    let foreign = r#"{"action":"subscribe","userId":"u-43","id":8}"#;
    assert_eq!(say(&mut session, foreign, clock.now()), None);
    let error = sent(&mut session);
    assert_eq!((&error[0]["code"], &error[0]["id"]), (&"forbidden".into(), &8.into()));
}

#[test]
fn the_tenth_refused_message_in_a_minute_ends_the_session() {
    let mut clock = Clock::start();
    let mut session = live(&clock);
    for _ in 0..9 {
        say(&mut session, "?", clock.forward(Duration::from_secs(1)));
    }
    assert_eq!(session.cause(), None);
    say(&mut session, "?", clock.forward(Duration::from_secs(1)));
    assert_eq!(session.cause(), Some(CloseCause::TooManyErrors));
}

#[test]
fn refused_messages_are_forgotten_after_a_minute() {
    let mut clock = Clock::start();
    let mut session = live(&clock);
    for refused in 0..60 {
        say(&mut session, "?", clock.forward(Duration::from_secs(7)));
        assert_eq!(session.cause(), None, "{refused}");
    }
    for _ in 0..9 {
        say(&mut session, "?", clock.forward(Duration::from_secs(60)));
    }
    for _ in 0..8 {
        say(&mut session, "?", clock.now());
    }
    say(&mut session, "?", clock.forward(Duration::from_secs(60)));
    assert_eq!(session.cause(), None, "those of a minute ago count no more");
}

#[test]
fn a_sync_of_too_many_orders_is_refused_and_followed_by_a_full_snapshot() {
    let clock = Clock::start();
    let sync = |many: usize| {
        let orders = (0..many).map(|n| format!(r#""A-{n}":"""#)).collect::<Vec<_>>().join(",");
        format!(r#"{{"type":"sync","id":7,"orders":{{{orders}}}}}"#)
    };
    let mut session = live(&clock);
    assert!(matches!(
        say(&mut session, &sync(2_000), clock.now()),
        Some(Request::Hub(HubRequest::Sync(claims))) if claims.len() == 2_000
    ));
    assert!(sent(&mut session).is_empty());
    let mut session = live(&clock);
    let asked = say(&mut session, &sync(2_001), clock.now());
    assert_eq!(asked, Some(HubRequest::Restart.into()));
    assert_eq!(sent(&mut session)[0]["code"], "sync_too_large");
    // As a sync without orders would be, it is charged, and its snapshot has a deadline.
    assert!(session.deadline(clock.now()) <= clock.now().instant + Duration::from_secs(5));
    let mut session = live(&clock);
    for _ in 0..9 {
        say(&mut session, "?", clock.now());
    }
    assert_eq!(say(&mut session, &sync(2_001), clock.now()), None, "it was the tenth");
    assert_eq!(session.cause(), Some(CloseCause::TooManyErrors));
}

#[test]
fn every_refused_message_is_answered_in_few_bytes_and_by_its_id() {
    let clock = Clock::start();
    let long = "x".repeat(60_000);
    let many = (0..2_001).map(|n| format!(r#""A-{n}":"""#)).collect::<Vec<_>>().join(",");
    let lists = |kind: &str, name: &str| format!(r#"{{"type":"{kind}","id":"m-1","{name}":["{long}"]}}"#);
    for (message, code) in [
        (format!(r#"{{"type":"{long}","id":"m-1"}}"#), "unknown_type"),
        (format!(r#"{{"id":"m-1","text":"{long}"}}"#), "invalid_message"),
        (lists("subscribe", "order_ids"), "invalid_message"),
        (lists("sync", "orders"), "invalid_message"),
        (lists("refresh", "token"), "invalid_message"),
        (format!(r#"{{"type":"sync","id":"m-1","orders":{{{many}}}}}"#), "sync_too_large"),
        (format!(r#"{{"action":"subscribe","id":"m-1","userId":"{long}"}}"#), "forbidden"),
    ] {
        let mut session = live(&clock);
        say(&mut session, &message, clock.now());
        let answer = sent(&mut session);
        assert_eq!((answer.len(), &answer[0]["code"], &answer[0]["id"]), (1, &code.into(), &"m-1".into()), "{code}");
        assert!(answer[0].to_string().len() < 200, "{}", answer[0]);
    }
    for message in [long.clone(), format!(r#"{{"type":"ping","id":"{long}"}}"#)] {
        let mut session = live(&clock);
        say(&mut session, &message, clock.now());
        assert!(sent(&mut session)[0].to_string().len() < 200);
    }
}

#[test]
fn a_message_answered_by_errors_counts_once_however_many_orders_it_named() {
    let mut clock = Clock::start();
    let mut session = live(&clock);
    let orders: Vec<_> = (0..500).map(|n| OrderId::parse(&format!("A-{n}")).unwrap()).collect();
    for _ in 0..9 {
        session.on_delivery(Delivery::NotVisible(orders.clone()), clock.forward(Duration::from_secs(1)));
        assert_eq!(sent(&mut session).len(), orders.len());
    }
    assert_eq!(session.cause(), None);
    session.on_delivery(Delivery::NotVisible(orders), clock.forward(Duration::from_secs(1)));
    assert_eq!(session.cause(), Some(CloseCause::TooManyErrors));
    assert_eq!(types(&sent(&mut session)), ["closing", "end"], "what was to be answered is not");
}

#[test]
fn sixty_messages_at_once_are_fine_and_the_next_is_too_many() {
    let mut clock = Clock::start();
    let mut session = live(&clock);
    let ping = r#"{"type":"ping"}"#;
    for text in ["ping", "pong", "", r#"{"type":"ping"}"#].into_iter().cycle().take(60) {
        say(&mut session, text, clock.now());
    }
    assert_eq!(session.cause(), None);
    say(&mut session, ping, clock.forward(Duration::from_millis(50)));
    assert_eq!(session.cause(), None, "twenty a second are given back");
    say(&mut session, ping, clock.now());
    assert_eq!(session.cause(), Some(CloseCause::TooManyMessages));
}

#[test]
fn a_client_that_says_goodbye_is_told_nothing_more_and_its_code_is_remembered() {
    let clock = Clock::start();
    let mut session = live(&clock);
    session.on_delivery(update(), clock.now());
    session.on_closed(1009);
    assert_eq!(session.next_output(), Some(Output::End(CloseCause::ClientClosed)));
    assert!(session.has_ended() && session.next_output().is_none());
    assert_eq!((session.cause(), session.client_code()), (Some(CloseCause::ClientClosed), Some(1009)));
    let mut session = live(&clock);
    session.close(CloseCause::Revoked, None);
    session.on_closed(1000);
    assert_eq!((session.cause(), session.client_code()), (Some(CloseCause::Revoked), None), "it answered ours");
}

#[test]
fn the_first_cause_counts_and_the_end_comes_last() {
    let clock = Clock::start();
    let mut session = live(&clock);
    session.close(CloseCause::ServerRestart, Some(Duration::from_millis(3_120)));
    session.close(CloseCause::InternalError, None);
    assert!(!session.has_ended(), "the client has not been told");
    let closing = sent(&mut session);
    assert_eq!(closing[0]["reconnect_after_ms"], 3_120);
    assert_eq!((&closing[1]["end"], closing.len()), (&1012.into(), 2));
    assert!(session.has_ended());
    assert_eq!(session.cause(), Some(CloseCause::ServerRestart));
}

#[test]
fn a_connection_that_is_lost_ends_at_once_and_a_rule_that_is_broken_is_told() {
    let clock = Clock::start();
    let mut session = live(&clock);
    session.on_broken(CloseCause::ConnectionLost);
    assert!(session.has_ended());
    let mut session = live(&clock);
    session.on_broken(CloseCause::InvalidUtf8);
    assert_eq!(sent(&mut session)[1]["end"], 1007);
    session.on_broken(CloseCause::ConnectionLost);
    assert_eq!(session.cause(), Some(CloseCause::InvalidUtf8));
}

#[test]
fn a_leaving_instance_closes_each_session_at_its_own_time() {
    let mut clock = Clock::start();
    let mut session = live(&clock);
    let at = clock.now().instant + Duration::from_secs(3);
    session.on_departure(Departure { at, reconnect_after: Duration::from_millis(700) });
    session.on_departure(Departure { at: at + HEARTBEAT, reconnect_after: Duration::ZERO });
    assert!(session.deadline(clock.now()) <= at);
    session.on_time(clock.forward(Duration::from_millis(2_999)));
    assert_eq!(session.cause(), None);
    session.on_time(clock.forward(Duration::from_millis(1)));
    let closing = sent(&mut session);
    assert_eq!((&closing[0]["reason"], &closing[0]["reconnect_after_ms"]), (&"server_restart".into(), &700.into()));
}

fn user(id: &str, only: Option<&[&str]>) -> Viewer {
    let only = only.map(|orders| orders.iter().map(|order| OrderId::parse(order).unwrap()).collect());
    Viewer::User { id: UserId::parse(id).unwrap(), only: only.map(OrderList::new) }
}

fn renewal(clock: &Clock, viewer: Viewer, ttl: Duration) -> Renewal {
    Renewal { viewer, expires_at: opening(clock, ttl).expires_at }
}

#[test]
fn a_refresh_asks_for_the_token_s_verification_and_moves_the_end() {
    let mut clock = Clock::start();
    let mut session = ending_in(&clock, Duration::from_secs(90));
    session.on_noise(0, clock.now());
    session.on_time(clock.forward(Duration::from_secs(31)));
    assert!(types(&sent(&mut session)).contains(&"token_expiring"), "told a first time");
    let asked = say(&mut session, r#"{"type":"refresh","token":"t"}"#, clock.now());
    assert_eq!(asked, Some(Request::Verify { token: "t".to_owned().into(), id: None }));
    assert!(sent(&mut session).is_empty(), "nothing is told before it is verified");
    let narrower = user("u-42", Some(&["A-1"]));
    let good = renewal(&clock, narrower.clone(), Duration::from_secs(600));
    let expires_at = good.expires_at;
    assert_eq!(session.on_renewal(Ok(good), None, clock.now()), Ok(HubRequest::Refresh(narrower)));
    let told = sent(&mut session);
    assert_eq!(types(&told), ["token_refreshed"]);
    assert_eq!(told[0]["expires_at"], serde_json::to_value(expires_at).unwrap());
    // Ten minutes from here, so that the warning is due after nine.
    let mut told_at = Vec::new();
    for second in (10..600).step_by(10) {
        session.on_noise(0, clock.now());
        session.on_time(clock.forward(Duration::from_secs(10)));
        assert_eq!(session.cause(), None, "the old end has passed long since");
        let told = sent(&mut session);
        told_at.extend(types(&told).iter().filter(|told| **told == "token_expiring").map(|_| second));
    }
    assert_eq!(told_at, [540], "told again ahead of the new end, and once");
}

#[test]
fn a_refresh_within_the_last_minute_is_followed_by_one_warning_and_by_none_if_the_end_stays() {
    for (ttl, warnings) in [(30, 1), (20, 1), (29, 0)] {
        let mut clock = Clock::start();
        let mut session = ending_in(&clock, Duration::from_secs(30));
        session.on_time(clock.forward(Duration::from_secs(1)));
        assert_eq!(types(&sent(&mut session)), ["token_expiring"]);
        for again in 0..3 {
            let good = renewal(&clock, user("u-42", None), Duration::from_secs(ttl));
            session.on_renewal(Ok(good), None, clock.now()).unwrap();
            session.on_delivery(update(), clock.now());
            session.on_time(clock.now());
            session.on_time(clock.now());
            let told = sent(&mut session);
            let told = types(&told).iter().filter(|told| **told == "token_expiring").count();
            assert_eq!(told, if again == 0 { warnings } else { 0 }, "{ttl} {again}");
        }
    }
}

#[test]
fn nothing_is_said_of_the_token_s_end_before_the_first_snapshot() {
    let mut clock = Clock::start();
    let mut session = Session::open(rules(), opening(&clock, Duration::from_secs(30)), clock.now());
    assert_eq!(types(&sent(&mut session)), ["welcome"]);
    session.on_time(clock.forward(Duration::from_secs(1)));
    session.on_delivery(Delivery::Nothing, clock.now());
    assert!(sent(&mut session).is_empty());
    assert!(
        session.deadline(clock.now()) > clock.now().instant,
        "and nothing is waited for by looking again and again"
    );
    session.on_delivery(Delivery::Snapshot(PendingSnapshot::new(clock.now().wall, false)), clock.now());
    assert!(session.deadline(clock.now()) <= clock.now().instant);
    session.on_time(clock.now());
    assert_eq!(types(&sent(&mut session)), ["snapshot", "token_expiring"], "right after it");
}

#[test]
fn a_wall_clock_that_jumps_is_noticed_within_half_a_minute_and_warns_nobody_twice() {
    let mut clock = Clock::start();
    let rare = SessionConfig { heartbeat_interval: Duration::from_secs(3600), ..(*rules()).clone() };
    let mut session = Session::open(rare.into(), opening(&clock, Duration::from_secs(3600)), clock.now());
    session.on_delivery(Delivery::Snapshot(PendingSnapshot::new(clock.now().wall, false)), clock.now());
    sent(&mut session);
    assert!(session.deadline(clock.now()) <= clock.now().instant + Duration::from_secs(30));
    let start = clock.now().wall;
    let mut told_at = |session: &mut Session, millis: i64| {
        clock.0.wall = Timestamp::from_millis(start.as_millis() + millis).unwrap();
        session.on_time(clock.now());
        types(&sent(session)).contains(&"token_expiring")
    };
    assert!(told_at(&mut session, 3_540_000));
    assert!(!told_at(&mut session, 0) && !told_at(&mut session, 3_599_999), "set back, and forward again");
    assert_eq!(session.cause(), None);
    told_at(&mut session, 3_600_000);
    assert_eq!(session.cause(), Some(CloseCause::TokenExpired));
}

#[test]
fn a_refresh_with_the_token_of_somebody_else_ends_the_session() {
    let link = Viewer::Link { orders: OrderList::new([OrderId::parse("A-1").unwrap()].into()) };
    for other in [user("u-43", None), link] {
        let clock = Clock::start();
        let mut session = live(&clock);
        let good = renewal(&clock, other, Duration::from_secs(600));
        assert_eq!(session.on_renewal(Ok(good), None, clock.now()), Err("other_user"));
        let closing = sent(&mut session);
        assert_eq!((&closing[0]["code"], &closing[0]["retry"]), (&4500.into(), &false.into()));
    }
}

#[test]
fn a_refused_refresh_changes_nothing_and_echoes_its_id() {
    let mut clock = Clock::start();
    let mut session = Session::open(rules(), opening(&clock, Duration::from_secs(20)), clock.now());
    sent(&mut session);
    let Some(Request::Verify { id, .. }) = say(&mut session, r#"{"type":"refresh","token":"t","id":7}"#, clock.now())
    else {
        panic!("a token to verify")
    };
    let refused = RefusedToken { code: "invalid_token", message: "the token is not valid".to_owned() };
    assert_eq!(session.on_renewal(Err(refused), id, clock.now()), Err("invalid_token"));
    let error = sent(&mut session);
    assert_eq!((&error[0]["code"], &error[0]["id"]), (&"invalid_token".into(), &7.into()));
    let too_late = renewal(&clock, user("u-42", None), Duration::ZERO);
    assert_eq!(session.on_renewal(Ok(too_late), None, clock.now()), Err("expired_token"));
    assert_eq!(sent(&mut session)[0]["code"], "expired_token", "the leeway is for handshakes only");
    session.on_delivery(Delivery::Snapshot(PendingSnapshot::new(clock.now().wall, false)), clock.now());
    session.on_time(clock.forward(Duration::from_secs(20)));
    assert_eq!(session.cause(), Some(CloseCause::TokenExpired), "at the old end");
}

#[test]
fn a_link_ends_when_its_orders_have_been_terminal_for_a_while() {
    let mut clock = Clock::start();
    let mut session = live(&clock);
    // Nothing that waits to be written holds up an end: heartbeats go out as they come.
    let mut pass = |session: &mut Session, seconds| {
        session.on_noise(0, clock.now());
        session.on_time(clock.forward(Duration::from_secs(seconds)));
        sent(session);
        session.on_time(clock.now());
        clock.now()
    };
    let now = pass(&mut session, 1);
    session.on_complete(true, now);
    let now = pass(&mut session, 30);
    session.on_complete(false, now);
    session.on_complete(true, now);
    let now = pass(&mut session, 50);
    session.on_complete(true, now);
    let now = pass(&mut session, 9);
    assert_eq!(session.cause(), None, "not all the time");
    assert!(session.deadline(now) <= now.instant + Duration::from_secs(1));
    session.on_delivery(Delivery::Updates(vec![Message::text(r#"{"type":"order_status"}"#)]), clock.now());
    session.on_time(clock.forward(Duration::from_secs(1)));
    assert_eq!(types(&sent(&mut session))[0], "order_status", "what is to be shown is shown first");
    session.on_time(clock.now());
    let closing = sent(&mut session);
    assert_eq!((&closing[0]["code"], &closing[0]["reason"]), (&4510.into(), &"complete".into()));
}

#[test]
fn pongs_nobody_asked_for_and_too_many_bytes_end_the_session() {
    let clock = Clock::start();
    let mut session = live(&clock);
    for _ in 0..60 {
        session.on_noise(0, clock.now());
    }
    assert_eq!(session.cause(), None);
    session.on_noise(0, clock.now());
    assert_eq!(session.cause(), Some(CloseCause::TooManyMessages));
    let mut session = live(&clock);
    let large = format!(r#"{{"type":"ping","x":"{}"}}"#, "x".repeat(60_000));
    for _ in 0..4 {
        say(&mut session, &large, clock.now());
        assert_eq!(session.cause(), None);
    }
    say(&mut session, &large, clock.now());
    assert_eq!(session.cause(), Some(CloseCause::TooManyMessages));
}

fn large_snapshot(clock: &Clock) -> Delivery {
    let mut snapshot = PendingSnapshot::new(clock.now().wall, false);
    for n in 0..30 {
        snapshot.put(&OrderId::parse(&format!("A-{n}")).unwrap(), Some(large_order(clock, 16_000)));
    }
    Delivery::Snapshot(snapshot)
}

#[test]
fn large_snapshots_that_are_asked_for_too_often_are_refused_by_name_and_counted() {
    let messages = [
        r#"{"type":"sync","id":7}"#,
        r#"{"type":"sync","id":7,"orders":{}}"#,
        r#"{"type":"subscribe","id":7}"#,
        r#"{"type":"subscribe","id":7,"order_ids":["A-1"]}"#,
    ];
    for message in messages {
        let clock = Clock::start();
        let mut session = live(&clock);
        for asked in 0..5 {
            assert!(say(&mut session, message, clock.now()).is_some(), "{message} {asked}");
            session.on_delivery(large_snapshot(&clock), clock.now());
            sent(&mut session);
        }
        for _ in 0..9 {
            assert_eq!(say(&mut session, message, clock.now()), None);
            let told = sent(&mut session);
            assert_eq!((&told[0]["code"], &told[0]["id"]), (&"too_many_snapshots".into(), &7.into()), "{message}");
        }
        assert_eq!(session.on_delivery(Delivery::Overflowed, clock.now()), Some(HubRequest::Restart), "it is owed");
        say(&mut session, message, clock.now());
        assert_eq!(session.cause(), Some(CloseCause::TooManyErrors));
    }
}

#[test]
fn a_client_that_asks_for_everything_once_a_second_is_never_refused() {
    let mut clock = Clock::start();
    let mut session = live(&clock);
    for asked in 0..300 {
        let sync = r#"{"type":"sync"}"#;
        assert!(say(&mut session, sync, clock.forward(Duration::from_secs(1))).is_some(), "{asked}");
        session.on_delivery(large_snapshot(&clock), clock.now());
        sent(&mut session);
    }
}

#[test]
fn tokens_that_change_what_is_seen_again_and_again_are_refused_and_the_same_eyes_are_not() {
    let clock = Clock::start();
    let mut session = live(&clock);
    let eyes = [user("u-42", Some(&["A-1"])), user("u-42", None)];
    let mut refresh = |viewer: &Viewer| {
        let good = renewal(&clock, viewer.clone(), Duration::from_secs(600));
        let renewed = session.on_renewal(Ok(good), None, clock.now());
        session.on_delivery(large_snapshot(&clock), clock.now());
        sent(&mut session);
        renewed
    };
    for asked in 0..5 {
        assert!(refresh(&eyes[asked % 2]).is_ok(), "{asked}");
    }
    assert!(refresh(&eyes[0]).is_ok(), "as before");
    assert_eq!(refresh(&eyes[1]), Err("too_many_snapshots"));
    assert!(refresh(&eyes[0]).is_ok(), "nothing has changed");
}

fn update() -> Delivery {
    Delivery::Updates(vec![Message::text(r#"{"type":"order_status"}"#)])
}

#[test]
fn a_reader_for_whom_updates_always_wait_hears_what_else_there_is_to_say_ahead_of_the_next() {
    let mut clock = Clock::start();
    let mut session = Session::open(rules(), opening(&clock, Duration::from_secs(90)), clock.now());
    sent(&mut session);
    session.on_delivery(Delivery::Snapshot(PendingSnapshot::new(clock.now().wall, false)), clock.now());
    sent(&mut session);
    let halted = StaleReasons::from_iter([StaleReason::LogGap]);
    let mut told = Vec::new();
    // As a transport does it: the mailbox has an update whenever it is looked into, and each frame is one write.
    for second in 1..=40 {
        let now = clock.forward(Duration::from_secs(1));
        session.on_noise(0, now);
        let reasons = if (10..20).contains(&second) { halted } else { StaleReasons::NONE };
        session.on_stale(reasons, now.wall, StaleReasons::NONE);
        if session.wants_delivery() {
            session.on_delivery(update(), now);
        }
        session.on_time(now);
        if let Output::Message(written) = session.next_output().expect("an update waits") {
            told.push((second, String::from_utf8_lossy(written.bytes()).into_owned()));
        }
    }
    let at = |kind: &str| told.iter().find(|(_, frame)| frame.contains(kind)).map(|(second, _)| *second);
    assert_eq!((at("\"stale\""), at("fresh"), at("token_expiring")), (Some(10), Some(20), Some(30)), "{told:?}");
}

#[test]
fn a_complete_link_for_which_updates_always_wait_ends_when_what_was_begun_is_out() {
    let mut clock = Clock::start();
    let mut session = live(&clock);
    session.on_complete(true, clock.now());
    let now = clock.forward(Duration::from_secs(60));
    session.on_noise(0, now);
    session.on_delivery(update(), now);
    session.on_time(now);
    assert_eq!(types(&sent(&mut session))[0], "order_status");
    assert!(session.is_completing() && !session.wants_delivery());
    session.on_complete(false, now);
    assert!(session.wants_delivery(), "an order has changed again meanwhile");
    session.on_complete(true, now);
    let now = clock.forward(Duration::from_secs(60));
    session.on_noise(0, now);
    session.on_delivery(update(), now);
    session.on_time(now);
    sent(&mut session);
    session.on_time(now);
    assert_eq!(session.cause(), Some(CloseCause::Complete));
}

#[test]
fn what_is_named_is_charged_though_the_answer_has_nothing_to_say_of_it() {
    let orders: serde_json::Map<String, Value> = (0..2_000).map(|n| (format!("A-{n}"), "7-0-1".into())).collect();
    let sync = serde_json::json!({"type": "sync", "orders": orders}).to_string();
    let named: Vec<String> = (0..500).map(|n| format!("A-{n}")).collect();
    let subscribe = serde_json::json!({"type": "subscribe", "order_ids": named}).to_string();
    for (message, admitted) in [(&sync, 5), (&subscribe, 5), (&r#"{"type":"sync","orders":{}}"#.to_owned(), 20)] {
        let clock = Clock::start();
        let mut session = live(&clock);
        let asks = (0..20).filter(|_| {
            let asked = say(&mut session, message, clock.now()).is_some();
            session.on_delivery(Delivery::Snapshot(PendingSnapshot::new(clock.now().wall, true)), clock.now());
            sent(&mut session);
            asked && session.cause().is_none()
        });
        assert_eq!(asks.count(), admitted, "{}", &message[..40.min(message.len())]);
    }
}

#[test]
fn at_its_deadline_a_session_acts_and_the_next_one_is_later() {
    let mut clock = Clock::start();
    let start = clock.now().instant;
    let mut session = live(&clock);
    while session.cause().is_none() {
        let due = session.deadline(clock.now()).duration_since(clock.now().instant);
        assert!(!due.is_zero(), "after {:?}", clock.now().instant - start);
        clock.forward(due);
        session.on_time(clock.now());
        sent(&mut session);
    }
    assert_eq!(session.cause(), Some(CloseCause::HeartbeatTimeout));
}

#[test]
fn a_session_knows_that_the_instance_leaves_once_it_was_told() {
    let clock = Clock::start();
    let mut session = live(&clock);
    assert!(!session.is_departing());
    session.on_departure(Departure { at: clock.now().instant + HEARTBEAT, reconnect_after: Duration::ZERO });
    assert!(session.is_departing());
}

#[test]
fn a_complete_link_that_ends_for_another_reason_is_not_asked_whether_it_still_is() {
    let mut clock = Clock::start();
    let mut session = live(&clock);
    assert!(!session.is_completing());
    session.on_complete(true, clock.now());
    session.on_delivery(update(), clock.now());
    let now = clock.forward(Duration::from_secs(60));
    session.on_noise(0, now);
    session.on_time(now);
    assert!(session.is_completing());
    session.close(CloseCause::Disconnected, None);
    assert!(!session.is_completing());
}
