//! Long polling: what differs at once, what comes as soon as it comes, and nothing kept in between.

use std::time::{Duration, Instant};

use ordercast::{
    hub::SessionSelector,
    protocol::{CloseCause, StaleReason, StaleReasons, Staleness},
};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Server;

async fn ask(server: &Server, user: &str, body: &Value) -> Response {
    let url = format!("http://{}/order-status/poll?token={}", server.address, server.token(user));
    timeout(Duration::from_secs(80), Client::new().post(url).json(body).send())
        .await
        .expect("an answer in time")
        .unwrap()
}

/// The messages of an answer, and whether to poll again.
async fn poll(server: &Server, body: &Value) -> (Vec<Value>, bool) {
    let answer = ask(server, "u-1", body).await;
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    (answer["frames"].as_array().unwrap().clone(), answer["poll_again"].as_bool().unwrap())
}

fn kinds(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_screen_is_kept_true_by_polls_alone() {
    let server = Server::start().await;
    let (frames, again) = poll(&server, &json!({})).await;
    assert_eq!((kinds(&frames), &frames[0]["partial"], again), (vec!["snapshot"], &json!(false), true));
    server.publish(1, "u-1", "paid", 10);
    // Nobody was there meanwhile; what has changed differs now.
    let (frames, _) = poll(&server, &json!({"orders": {}, "wait_ms": 50_000})).await;
    assert_eq!((kinds(&frames), frames[0]["orders"].as_array().unwrap().len()), (vec!["snapshot"], 1));
    let rev = frames[0]["orders"][0]["rev"].clone();
    let shown = json!({"orders": {"A-1": rev}, "wait_ms": 50_000});
    let begun = Instant::now();
    let (polled, ()) = tokio::join!(poll(&server, &shown), async {
        while server.hub.look(|hub| hub.sessions()) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.publish(2, "u-1", "paid", 10);
        server.publish(51, "u-1", "shipped", 10);
    });
    assert!(begun.elapsed() < Duration::from_secs(40), "as soon as it comes");
    let mut told = kinds(&polled.0);
    told.dedup();
    assert_eq!(told, ["order_status"], "{:?}", polled.0);
    let (compared, again) = poll(&server, &json!({"orders": {"A-1": "x", "A-2": "x"}, "wait_ms": 0})).await;
    assert!(compared.len() == 1 && compared[0]["orders"].as_array().unwrap().len() == 2 && again, "{compared:?}");
    let rev = |nth: usize| compared[0]["orders"][nth]["rev"].clone();
    let id = |nth: usize| compared[0]["orders"][nth]["order_id"].as_str().unwrap().to_owned();
    let (nothing, _) = poll(&server, &json!({"orders": {id(0): rev(0), id(1): rev(1)}, "wait_ms": 0})).await;
    assert!(nothing.is_empty(), "{nothing:?}");
    let (removed, _) = poll(&server, &json!({"orders": {"A-9": "x"}})).await;
    assert_eq!(removed[0]["removed"], json!(["A-9"]));
    assert_eq!(server.hub.look(|hub| hub.sessions()), 0, "nothing is kept");
    let metrics = [
        "ordercast_sessions_open{transport=\"poll\"}",
        "ordercast_sessions_closed_total{cause=\"client_closed\",transport=\"poll\"}",
    ];
    assert_eq!(metrics.map(|name| server.metric(name)), [0.0, 6.0]);
}

#[tokio::test]
async fn a_poll_that_nothing_comes_for_is_answered_when_its_time_is_over() {
    let server = Server::start_with(&[("session.heartbeat_interval", "5s")]).await;
    let begun = Instant::now();
    let (frames, again) = poll(&server, &json!({"orders": {}, "wait_ms": 12_000})).await;
    assert!(frames.is_empty() && again, "no heartbeat either: {frames:?}");
    assert!(begun.elapsed() >= Duration::from_millis(11_900), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn stale_and_fresh_are_told_to_who_shows_it_otherwise() {
    let server = Server::start().await;
    server.doubt(StaleReason::LogGap);
    let (frames, _) = poll(&server, &json!({"orders": {}})).await;
    assert_eq!((kinds(&frames), &frames[0]["reasons"]), (vec!["stale"], &json!(["log_gap"])));
    let (frames, _) = poll(&server, &json!({"orders": {}, "stale": ["log_gap"], "wait_ms": 300})).await;
    assert!(frames.is_empty(), "{frames:?}");
    let fresh = Staleness { reasons: StaleReasons::NONE, since: ordercast::domain::Timestamp::now() };
    server.staleness.send_replace(fresh);
    let (frames, _) = poll(&server, &json!({"orders": {}, "stale": ["log_gap"]})).await;
    assert_eq!(kinds(&frames), ["fresh"]);
}

#[tokio::test]
async fn an_end_is_told_with_whether_another_poll_is_of_use() {
    let server = Server::start().await;
    for (cause, again) in [(CloseCause::Disconnected, true), (CloseCause::Revoked, false)] {
        let shown = json!({"orders": {}, "wait_ms": 50_000});
        let (polled, ()) = tokio::join!(poll(&server, &shown), async {
            while server.hub.step(|hub| hub.close(SessionSelector::All, cause, |_| true)) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert_eq!((kinds(&polled.0).last(), polled.1), (Some(&"closing"), again), "{polled:?}");
    }
    let waiting = Server::start_with(&[("session.snapshot_timeout", "1s")]).await;
    waiting.answers_no_reads();
    let (frames, again) = poll(&waiting, &json!({})).await;
    assert_eq!((&frames[0]["reason"], again), (&json!("snapshot_unavailable"), true));
    waiting.ready.send_replace(false);
    assert_eq!(ask(&waiting, "u-1", &json!({})).await.status(), 503);
}

#[tokio::test]
async fn one_poll_too_many_is_refused_and_ends_nobody_who_was_there_before() {
    let server =
        Server::start_with(&[("session.max_per_user", "1"), ("session.per_user_policy", "close_oldest")]).await;
    let mut socket = server.connect("u-1").await;
    assert_eq!(super::next_json(&mut socket).await["type"], "welcome");
    assert_eq!(super::next_json(&mut socket).await["type"], "snapshot");
    let refused = ask(&server, "u-1", &json!({})).await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"30".parse().unwrap()));
    server.publish(1, "u-1", "paid", 10);
    assert_eq!(super::next_json(&mut socket).await["type"], "order_status", "the socket is still there");
}

#[tokio::test]
async fn a_poll_whose_client_leaves_leaves_the_hub_and_slips_are_named() {
    let server = Server::start().await;
    let shown = json!({"orders": {}, "wait_ms": 50_000});
    tokio::select! {
        _ = ask(&server, "u-1", &shown) => panic!("nothing comes"),
        () = async {
            while server.hub.look(|hub| hub.sessions()) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        } => {}
    }
    timeout(Duration::from_secs(30), async {
        while server.hub.look(|hub| hub.sessions()) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("it has left the hub");
    for (body, slip) in [
        (json!([]), "JSON object"),
        (json!({"wait_ms": 50_001}), "wait_ms"),
        (json!({"orders": ["A-1"]}), "orders"),
        (json!({"stale": 1}), "stale"),
    ] {
        let refused = ask(&server, "u-1", &body).await;
        assert_eq!(refused.status(), 400);
        let problem: Value = refused.json().await.unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(slip), "{problem}");
    }
}

#[tokio::test]
async fn a_connection_goes_on_after_a_poll_and_pollers_take_no_places_of_handshakes() {
    let server = Server::start_with(&[("session.max_per_user", "100")]).await;
    // More than one address may have without a session.
    let client = Client::new();
    let url = format!("http://{}/order-status/poll?token={}", server.address, server.token("u-1"));
    let many = super::WAITING + 10;
    let mut polls = Vec::new();
    for nth in 1..=many {
        let asked = client.post(&url).json(&json!({"orders": {}, "wait_ms": 50_000})).send();
        polls.push(tokio::spawn(asked));
        timeout(Duration::from_secs(30), async {
            while server.hub.look(|hub| hub.sessions()) < nth {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await
        .expect("it waits");
    }
    server.publish(1, "u-1", "paid", 10);
    for answer in polls {
        let answer = answer.await.unwrap();
        let told: Value = answer.unwrap().json().await.unwrap();
        assert!(!told["frames"].as_array().unwrap().is_empty(), "{told}");
    }
    let again = client.post(&url).json(&json!({})).send().await.unwrap();
    assert_eq!(again.status(), 200);
}

#[tokio::test]
async fn a_poll_whose_connection_has_no_place_any_more_says_that_its_answer_is_the_last() {
    let server = Server::start().await;
    let shown = json!({"orders": {}, "wait_ms": 50_000});
    let (answer, _others) = tokio::join!(ask(&server, "u-1", &shown), async {
        while server.hub.look(|hub| hub.sessions()) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // None of them gives way: each is in the middle of a request.
        let mut others = Vec::new();
        for _ in 0..super::WAITING {
            let mut other = tokio::net::TcpStream::connect(server.address).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut other, b"GET ").await.unwrap();
            others.push(other);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.publish(1, "u-1", "paid", 10);
        others
    });
    assert_eq!((answer.status().as_u16(), &answer.headers()["connection"]), (200, &"close".parse().unwrap()));
    let told: Value = answer.json().await.unwrap();
    assert_eq!(told["poll_again"], true);
}
