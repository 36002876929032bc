//! Going on with another token, links that are complete, and a user's newest session in the place of the oldest.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use futures_util::SinkExt;
use ordercast::{
    auth::Revocation,
    domain::{Timestamp, UserId},
};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Error, Message, client::IntoClientRequest};

use super::{Client, Server, next_json};

async fn refresh(client: &mut Client, token: &str) {
    client.send(Message::text(json!({"type": "refresh", "token": token, "id": 7}).to_string())).await.unwrap();
}

async fn started(server: &Server, token: &str) -> Client {
    let mut client = server.open(token).await;
    assert_eq!(next_json(&mut client).await["type"], "welcome");
    assert_eq!(next_json(&mut client).await["type"], "snapshot");
    client
}

fn ids(list: &Value) -> Vec<&str> {
    let mut ids: Vec<_> =
        list.as_array().unwrap().iter().map(|order| order["order_id"].as_str().or(order.as_str()).unwrap()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn a_refresh_narrows_and_widens_what_the_screen_shows() {
    let server = Server::start().await;
    (1..=3).for_each(|offset| server.publish(offset, "u-1", "paid", 10));
    let mut client = started(&server, &server.token_with(Some("u-1"), None, 600)).await;
    refresh(&mut client, &server.token_with(Some("u-1"), Some(&["A-1"]), 600)).await;
    assert_eq!(next_json(&mut client).await["type"], "token_refreshed");
    let narrowed = next_json(&mut client).await;
    assert_eq!((&narrowed["type"], &narrowed["partial"]), (&json!("snapshot"), &json!(true)));
    assert_eq!((ids(&narrowed["orders"]), ids(&narrowed["removed"])), (vec![], vec!["A-2", "A-3"]));
    refresh(&mut client, &server.token_with(Some("u-1"), Some(&["A-1", "A-3"]), 600)).await;
    assert_eq!(next_json(&mut client).await["type"], "token_refreshed");
    let widened = next_json(&mut client).await;
    assert_eq!((ids(&widened["orders"]), ids(&widened["removed"])), (vec!["A-3"], vec![]));
    assert_eq!(server.metric(r#"ordercast_token_refreshes_total{outcome="accepted"}"#), 2.0);
}

#[tokio::test]
async fn a_refused_refresh_is_an_error_and_the_token_of_another_user_ends_the_session() {
    let server = Server::start().await;
    let mut client = started(&server, &server.token("u-1")).await;
    for (token, code) in [
        ("not.a.token".to_owned(), "invalid_token"),
        ("x".repeat(9_000), "invalid_token"),
        (server.token_with(Some("u-1"), None, -60), "expired_token"),
    ] {
        refresh(&mut client, &token).await;
        let error = next_json(&mut client).await;
        assert_eq!((&error["type"], &error["code"], &error["id"]), (&json!("error"), &json!(code), &json!(7)));
    }
    refresh(&mut client, &server.token("u-2")).await;
    let closing = next_json(&mut client).await;
    assert_eq!(
        (&closing["type"], &closing["code"], &closing["retry"]),
        (&json!("closing"), &json!(4500), &json!(false))
    );
    for (outcome, many) in [("accepted", 0.0), ("invalid_token", 2.0), ("expired_token", 1.0), ("other_user", 1.0)] {
        let series = format!("ordercast_token_refreshes_total{{outcome=\"{outcome}\"}}");
        assert_eq!(server.metric(&series), many, "{outcome}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_between_its_check_and_its_exchange_ends_the_session() {
    let server = Server::start().await;
    let mut client = started(&server, &server.token("u-1")).await;
    // While nobody else gets at the hub, the session stands between the two.
    let (hub, (go, may_go), (hold, holds)) = (server.hub.clone(), mpsc::channel::<()>(), mpsc::channel());
    let holder = std::thread::spawn(move || {
        hub.step(|_| {
            hold.send(()).unwrap();
            // An error: the test has failed, and is gone.
            may_go.recv().ok();
        });
    });
    holds.recv().unwrap();
    refresh(&mut client, &server.token("u-1")).await;
    let begun = Instant::now();
    while server.metric(r#"ordercast_token_refreshes_total{outcome="accepted"}"#) < 1.0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is checked");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let revocation = Revocation::User { user_id: UserId::parse("u-1").unwrap(), issued_before: Timestamp::now() };
    server.revocations.write(|revocations| revocations.insert("k-1", revocation));
    go.send(()).unwrap();
    holder.join().unwrap();
    let mut told = next_json(&mut client).await;
    while told["type"] != "closing" {
        told = next_json(&mut client).await;
    }
    assert_eq!((&told["code"], &told["reason"]), (&json!(4503), &json!("revoked")));
}

#[tokio::test]
async fn a_link_ends_once_its_orders_have_been_terminal_for_a_while() {
    let server = Server::start().await;
    server.publish(1, "u-1", "paid", 10);
    server.publish(2, "u-1", "delivered", 10);
    let mut link = started(&server, &server.token_with(None, Some(&["A-1", "A-2"]), 600)).await;
    server.publish(51, "u-1", "delivered", 10);
    assert_eq!(next_json(&mut link).await["status"], "delivered");
    let closing = next_json(&mut link).await;
    assert_eq!((&closing["code"], &closing["reason"]), (&json!(4510), &json!("complete")));
    let late = next_json(&mut started(&server, &server.token_with(None, Some(&["A-2"]), 600)).await).await;
    assert_eq!(late["reason"], "complete", "who comes later sees it, and is then told");
}

/// The status of a handshake, and the code of its refusal.
async fn refused(server: &Server, token: &str) -> Option<(u16, Value)> {
    let url = format!("ws://{}/order-status?token={token}", server.address);
    match tokio_tungstenite::connect_async(url).await {
        Ok(_) => None,
        Err(Error::Http(answer)) => {
            let problem: Value = serde_json::from_slice(answer.body().as_ref().unwrap()).unwrap();
            Some((answer.status().as_u16(), problem["code"].clone()))
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn one_link_fills_no_instance_however_many_hold_it() {
    let settings = [("session.max_per_link", "3"), ("session.max_total", "6"), ("session.complete_after", "1h")];
    let server = Server::start_with(&settings).await;
    let mailed = server.token_with(None, Some(&["A-1", "A-2"]), 600);
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(started(&server, &mailed).await);
    }
    let again = server.token_with(None, Some(&["A-2", "A-1"]), 700);
    for token in [&mailed, &again] {
        assert_eq!(refused(&server, token).await, Some((429, json!("too_many_sessions"))));
    }
    // Going on with another link's token makes no room for more.
    let other = server.token_with(None, Some(&["A-3"]), 600);
    refresh(&mut open[0], &other).await;
    assert_eq!(next_json(&mut open[0]).await["type"], "token_refreshed");
    assert_eq!(refused(&server, &mailed).await, Some((429, json!("too_many_sessions"))));
    open.push(started(&server, &other).await);
    open.push(started(&server, &server.token("u-1")).await);
    let mut page = format!("ws://{}/order-status?token={mailed}", server.address).into_client_request().unwrap();
    page.headers_mut().insert("Origin", format!("http://{}", server.address).parse().unwrap());
    let mut page = tokio_tungstenite::connect_async(page).await.unwrap().0;
    let closing = next_json(&mut page).await;
    assert_eq!((&closing["code"], &closing["reconnect_after_ms"]), (&json!(4014), &json!(30_000)));
}

#[tokio::test]
async fn a_link_s_newest_session_may_replace_the_oldest() {
    let settings = [("session.max_per_link", "1"), ("session.per_user_policy", "close_oldest")];
    let server = Server::start_with(&settings).await;
    let mailed = server.token_with(None, Some(&["A-1"]), 600);
    let mut first = started(&server, &mailed).await;
    let mut other = started(&server, &server.token_with(None, Some(&["A-2"]), 600)).await;
    let mut second = started(&server, &mailed).await;
    assert_eq!(next_json(&mut first).await["code"], 4504);
    server.publish(1, "u-1", "paid", 10);
    server.publish(2, "u-2", "paid", 10);
    for client in [&mut second, &mut other] {
        assert_eq!(next_json(client).await["type"], "order_status");
    }
}

#[tokio::test]
async fn a_user_s_newest_session_may_replace_the_oldest() {
    let server = Server::start_with(&[("session.per_user_policy", "close_oldest")]).await;
    let mut first = started(&server, &server.token("u-1")).await;
    let mut second = started(&server, &server.token("u-1")).await;
    let mut stranger = started(&server, &server.token("u-2")).await;
    let mut third = started(&server, &server.token("u-1")).await;
    let closing = next_json(&mut first).await;
    assert_eq!(
        (&closing["code"], &closing["reason"], &closing["retry"]),
        (&json!(4504), &json!("replaced"), &json!(false))
    );
    server.publish(1, "u-1", "paid", 10);
    server.publish(2, "u-2", "paid", 10);
    for client in [&mut second, &mut third, &mut stranger] {
        assert_eq!(next_json(client).await["type"], "order_status");
    }
}
