//! The client's decisions, told as what the server says and what follows from it.

use std::time::Duration;

use super::{client::*, *};

const WELCOME: &str = r#"{"type":"welcome","session_id":"s","user_id":"demo","heartbeat_ms":25000,"expires_at":"x","server_time":"x","protocol":1}"#;

fn order(id: &str, status: &str, rev: &str) -> String {
    format!(
        r#"{{"order_id":"{id}","status":"{status}","version":1,"rev":"{rev}","terminal":false,"occurred_at":"2026-11-21T12:00:00.000Z","details":{{}},"timeline":[]}}"#
    )
}

fn snapshot(partial: bool, first: bool, orders: &[String], removed: &str, complete: bool) -> String {
    let orders = orders.join(",");
    format!(
        r#"{{"type":"snapshot","as_of":"x","partial":{partial},"first":{first},"orders":[{orders}],"removed":[{removed}],"complete":{complete}}}"#
    )
}

fn update(id: &str, status: &str, rev: &str) -> String {
    order(id, status, rev).replacen('{', r#"{"type":"order_status","#, 1)
}

/// What follows from each message, in the words of the screen's notices.
fn told(client: &mut Client, text: &str) -> Vec<String> {
    let tell = |step| match step {
        Step::Show(Notice::State(State::Live)) => "live".to_owned(),
        Step::Show(Notice::State(State::Stale { reasons, .. })) => format!("stale {}", reasons.join(" ")),
        Step::Show(Notice::Table(orders)) => {
            let ids: Vec<&str> = orders.iter().map(|order| order.order_id.as_str()).collect();
            format!("table {}", ids.join(" "))
        }
        Step::Show(Notice::Changed { order, from }) => {
            format!("{} {} after {}", order.order_id, order.status, from.as_deref().unwrap_or("nothing"))
        }
        Step::Show(Notice::Removed { order_id }) => format!("{order_id} removed"),
        Step::Show(other) => format!("{other:?}"),
        Step::Send(text) => format!("send {text}"),
        Step::End(ending) => format!("end {:?} {} {:?}", ending.code, ending.reason, ending.after),
    };
    client.on_text(text, Instant::now()).into_iter().map(tell).collect()
}

fn live(orders: &[String]) -> Client {
    let mut client = Client::default();
    assert!(told(&mut client, WELCOME).is_empty());
    assert!(told(&mut client, &snapshot(false, true, orders, "", true)).contains(&"live".to_owned()));
    client
}

fn closed(code: u16) -> Ending {
    Ending { code: Some(code), ..Ending::lost("x") }
}

fn after(client: &mut Client, ending: &Ending, chance: f64) -> Duration {
    match client.on_ended(ending, Instant::now(), chance) {
        Next::Reconnect { after, .. } => after,
        Next::Stop => panic!("stopped"),
    }
}

#[test]
fn it_is_live_only_after_the_last_page_of_a_snapshot() {
    let mut client = Client::default();
    assert!(told(&mut client, WELCOME).is_empty());
    assert!(told(&mut client, &snapshot(false, true, &[order("A-1", "paid", "1")], "", false)).is_empty());
    let last = snapshot(false, false, &[order("A-2", "paid", "2")], "", true);
    assert_eq!(told(&mut client, &last), ["table A-1 A-2", "live"]);
}

#[test]
fn an_update_and_a_removal_are_one_line_each() {
    let mut client = live(&[order("A-1", "paid", "1")]);
    assert_eq!(told(&mut client, &update("A-1", "packed", "2")), ["A-1 packed after paid"]);
    assert_eq!(told(&mut client, &update("A-9", "created", "3")), ["A-9 created after nothing"]);
    assert_eq!(told(&mut client, r#"{"type":"removed","order_id":"A-1"}"#), ["A-1 removed"]);
    assert!(told(&mut client, r#"{"type":"removed","order_id":"A-1"}"#).is_empty());
}

#[test]
fn a_full_snapshot_forgets_what_it_does_not_list() {
    let mut client = live(&[order("A-1", "paid", "1")]);
    assert_eq!(told(&mut client, &snapshot(false, true, &[order("A-2", "paid", "2")], "", true)), ["table A-2"]);
}

#[test]
fn a_partial_snapshot_of_what_is_shown_already_says_nothing() {
    let mut client = live(&[order("A-1", "paid", "1"), order("A-2", "paid", "2")]);
    let partial = snapshot(true, true, &[order("A-1", "paid", "1"), order("A-2", "packed", "3")], "", true);
    assert_eq!(told(&mut client, &partial), ["A-2 packed after paid"]);
}

#[test]
fn on_return_it_names_what_it_shows_and_hears_only_what_differs() {
    let mut client = live(&[order("A-1", "paid", "r1"), order("A-2", "paid", "r2")]);
    after(&mut client, &closed(1012), 0.0);
    assert!(client.waits_for_sync());
    let sync = r#"send {"type":"sync","orders":{"A-1":"r1","A-2":"r2"}}"#;
    assert_eq!(told(&mut client, WELCOME), [sync]);
    let partial = snapshot(true, true, &[order("A-1", "packed", "r3")], r#""A-2""#, true);
    assert_eq!(told(&mut client, &partial), ["A-2 removed", "A-1 packed after paid", "live"]);
}

#[test]
fn a_client_that_shows_nothing_does_not_ask_the_server_to_wait() {
    let mut client = Client::default();
    assert!(!client.waits_for_sync());
    assert!(told(&mut client, WELCOME).is_empty());
}

#[test]
fn another_viewers_orders_are_given_up_before_anything_is_compared() {
    let mut client = live(&[order("A-1", "paid", "1")]);
    after(&mut client, &Ending::lost("x"), 0.0);
    let other = WELCOME.replace(r#""demo""#, "null");
    assert_eq!(told(&mut client, &other), ["A-1 removed", r#"send {"type":"sync"}"#]);
}

#[test]
fn who_shows_more_than_one_sync_holds_starts_with_a_full_snapshot() {
    let orders: Vec<String> = (0..2_001).map(|n| order(&format!("A-{n}"), "paid", "1")).collect();
    let mut client = live(&orders);
    after(&mut client, &Ending::lost("x"), 0.0);
    assert!(!client.waits_for_sync());
    assert!(told(&mut client, WELCOME).is_empty());
}

#[test]
fn stale_and_fresh_are_said_once_per_change() {
    let mut client = live(&[]);
    let stale = r#"{"type":"stale","since":"2026-11-21T12:00:00Z","reasons":["kafka_unavailable"]}"#;
    assert_eq!(told(&mut client, stale), ["stale kafka_unavailable"]);
    assert!(told(&mut client, stale).is_empty());
    assert_eq!(told(&mut client, r#"{"type":"fresh"}"#), ["live"]);
    assert!(told(&mut client, r#"{"type":"fresh"}"#).is_empty());
}

#[test]
fn codes_that_forbid_to_come_back_stop_it_and_all_others_do_not() {
    for code in [1002, 1003, 1007, 1009, 1010, 4500, 4503, 4999] {
        assert_eq!(live(&[]).on_ended(&closed(code), Instant::now(), 0.5), Next::Stop, "{code}");
    }
    for code in [1000, 1001, 1005, 1006, 1011, 1012, 1013, 3000, 4000, 4008, 4014, 4499, 5000] {
        assert_ne!(live(&[]).on_ended(&closed(code), Instant::now(), 0.5), Next::Stop, "{code}");
    }
    for (status, stops) in [(400, true), (401, true), (403, true), (404, true), (426, true), (301, true)]
        .into_iter()
        .chain([(429, false), (500, false), (502, false), (503, false)])
    {
        let ending = Ending { http_status: Some(status), ..Ending::lost("x") };
        assert_eq!(Client::default().on_ended(&ending, Instant::now(), 0.5) == Next::Stop, stops, "{status}");
    }
}

#[test]
fn a_code_that_a_gateway_made_up_before_the_server_spoke_does_not_stop_it() {
    for code in [1002, 1003, 1007, 1009, 1010] {
        let mut client = live(&[]);
        after(&mut client, &closed(1012), 0.0);
        assert_ne!(client.on_ended(&closed(code), Instant::now(), 0.5), Next::Stop, "{code}: another connection");
        let closing = format!(r#"{{"type":"closing","code":{code},"reason":"x","retry":false}}"#);
        assert_eq!(told(&mut client, &closing), [format!("end Some({code}) x None")]);
        assert_eq!(client.on_ended(&closed(code), Instant::now(), 0.5), Next::Stop, "{code}: the server said so");
    }
    for code in [4500, 4503, 4999] {
        let next = Client::default().on_ended(&closed(code), Instant::now(), 0.5);
        assert_eq!(next, Next::Stop, "{code}: nothing in between makes it up");
    }
}

#[test]
fn an_expired_token_is_not_tried_again() {
    let next = Client::default().on_ended(&closed(4005), Instant::now(), 0.0);
    assert_eq!(next, Next::Reconnect { after: Duration::ZERO, with_new_token: true });
}

#[test]
fn attempts_are_up_to_half_a_second_apart_and_then_twice_as_long_up_to_20_s() {
    let mut client = Client::default();
    let longest: Vec<f64> = (0..8).map(|_| after(&mut client, &Ending::lost("x"), 1.0).as_secs_f64()).collect();
    assert_eq!(longest, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0]);
    assert_eq!(after(&mut client, &Ending::lost("x"), 0.5), Duration::from_secs(10));
}

#[test]
fn the_server_may_choose_when_a_client_comes_back() {
    let mut client = live(&[]);
    let closing = r#"{"type":"closing","code":1012,"reason":"server_restart","retry":true,"reconnect_after_ms":3120}"#;
    assert_eq!(told(&mut client, closing), ["end Some(1012) server_restart Some(3.12s)"]);
    let ending = Ending { after: Some(Duration::from_millis(3_120)), ..closed(1012) };
    assert_eq!(after(&mut client, &ending, 0.0), Duration::from_millis(3_120));
}

#[test]
fn only_a_session_that_lived_30_s_starts_the_backoff_anew() {
    let mut client = Client::default();
    for _ in 0..4 {
        after(&mut client, &Ending::lost("x"), 1.0);
    }
    let welcomed_at = Instant::now();
    client.on_text(WELCOME, welcomed_at);
    let short = client.on_ended(&Ending::lost("x"), welcomed_at + Duration::from_millis(29_999), 1.0);
    assert_eq!(short, Next::Reconnect { after: Duration::from_secs(8), with_new_token: false });
    client.on_text(WELCOME, welcomed_at);
    let long = client.on_ended(&Ending::lost("x"), welcomed_at + Duration::from_secs(30), 1.0);
    assert_eq!(long, Next::Reconnect { after: Duration::from_millis(500), with_new_token: false });
}

#[test]
fn two_silent_heartbeats_are_too_many() {
    let mut client = Client::default();
    assert_eq!(client.silence_limit(), OPEN_TIMEOUT);
    client.on_text(WELCOME, Instant::now());
    assert_eq!(client.silence_limit(), Duration::from_secs(50));
}

#[test]
fn what_a_newer_server_may_send_is_passed_over() {
    let mut client = live(&[]);
    assert!(told(&mut client, r#"{"type":"confetti","orders":7}"#).is_empty());
    assert!(told(&mut client, r#"{"type":"heartbeat","server_time":"x"}"#).is_empty());
}

#[test]
fn a_pages_address_is_taken_for_the_service_behind_it() {
    for (given, used) in [
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/order-status"),
        ("https://shop.example/", "wss://shop.example/order-status"),
        ("wss://shop.example/live/order-status", "wss://shop.example/live/order-status"),
    ] {
        assert_eq!(websocket_url(given).unwrap().as_str(), used);
    }
    assert!(websocket_url("ftp://shop.example").is_err());
    assert!(websocket_url("shop.example:8080").is_err());
}
