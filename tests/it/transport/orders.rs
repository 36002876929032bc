//! `GET /orders`: pages, readers that take nothing, and how many answers may be on their way.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use ordercast::{
    auth::Revocation,
    domain::{Snapshot, Timestamp, UserId},
    protocol::StaleReason,
};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::Server;

/// Answers of one viewer that may be on their way.
const MANY: usize = 20;

/// A server with so many orders of one user, each of 12 KB.
async fn server_with(orders: i64, settings: &[(&str, &str)]) -> Server {
    let server = Server::start_with(settings).await;
    (1..=orders).for_each(|offset| server.publish(offset, "u-1", "paid", 12_000));
    server
}

/// Asks, and takes no more of the answer than its first line.
async fn unread(server: &Server, path: &str, token: &str) -> (TcpStream, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    (stream, String::from_utf8_lossy(&head[9..]).into_owned())
}

async fn get(server: &Server, path: &str, token: &str) -> Response {
    Client::new().get(format!("http://{}{path}", server.address)).bearer_auth(token).send().await.unwrap()
}

/// The status of an answer, its code if it is a refusal, and when to come again.
async fn refusal(answer: Response) -> (u16, String, String) {
    let status = answer.status().as_u16();
    let again = answer.headers().get("retry-after").map_or("", |after| after.to_str().unwrap()).to_owned();
    let problem: Value = answer.json().await.unwrap();
    (status, problem["code"].as_str().unwrap_or_default().to_owned(), again)
}

#[tokio::test]
async fn a_large_answer_that_is_the_last_of_its_connection_says_that_it_has_ended() {
    let server = server_with(20, &[]).await;
    let url = format!("http://{}/orders", server.address);
    let asked = Client::new().get(url).bearer_auth(server.token("u-1")).header("Connection", "close").send();
    let answer = asked.await.unwrap();
    assert_eq!((&answer.headers()["connection"], answer.content_length()), (&"close".parse().unwrap(), None));
    let page: Value = answer.json().await.unwrap();
    assert_eq!(page["orders"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn the_pages_of_a_list_are_bounded_in_bytes_and_together_are_the_list() {
    let server = server_with(50, &[]).await;
    let token = server.token("u-1");
    let (mut path, mut shown, mut pages) = ("/orders".to_owned(), Vec::new(), 0);
    loop {
        let page = get(&server, &path, &token).await;
        assert_eq!(
            (page.status().as_u16(), &page.headers()["content-type"]),
            (200, &"application/json".parse().unwrap())
        );
        let text = page.text().await.unwrap();
        assert!(text.len() < 257 * 1024, "{}", text.len());
        let page: Value = serde_json::from_str(&text).unwrap();
        assert!(page["as_of"].is_string() && page["stale"] == serde_json::json!([]));
        shown.extend(page["orders"].as_array().unwrap().iter().map(|order| order["order_id"].to_string()));
        pages += 1;
        let Some(next) = page["next"].as_str() else { break };
        path = next.to_owned();
    }
    assert_eq!((pages, shown.len(), shown.iter().collect::<HashSet<_>>().len()), (3, 50, 50));
    let none = get(&server, "/orders", &server.token("u-2")).await.json::<Value>().await.unwrap();
    assert_eq!((&none["orders"], &none["next"]), (&serde_json::json!([]), &Value::Null));
}

#[tokio::test]
async fn answers_that_nobody_reads_are_few_for_a_viewer_hold_little_and_end_after_a_while() {
    let server = server_with(50, &[]).await;
    let token = server.token("u-1");
    let mut unanswered = Vec::new();
    for _ in 0..MANY {
        let (stream, status) = unread(&server, "/orders", &token).await;
        assert_eq!(status, "200");
        unanswered.push(stream);
    }
    let one_more = || get(&server, "/orders", &token);
    assert_eq!(refusal(one_more().await).await, (429, "too_many_requests".into(), "1".into()));
    assert_eq!(refusal(get(&server, "/orders/A-1", &token).await).await.0, 429, "of whatever kind");
    assert_eq!(get(&server, "/orders", &server.token("u-2")).await.status(), 200, "nobody else is refused");
    assert_eq!(server.metric("ordercast_answers_open"), MANY as f64);
    let held = server.metric("ordercast_answers_bytes");
    assert!(held > 0.0 && held <= (MANY * 260 * 1024) as f64, "{held}");
    let refused = r#"ordercast_handshakes_refused_total{code="too_many_requests"}"#;
    assert_eq!(server.metric(refused), 2.0);
    let begun = Instant::now();
    while server.metric("ordercast_answers_open") > 0.0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "they are ended after session.send_timeout");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.metric("ordercast_answers_bytes"), 0.0);
    assert_eq!(one_more().await.status(), 200);
    drop(unanswered);
}

#[tokio::test]
async fn what_all_answers_hold_is_bounded_whoever_asks() {
    let settings = [("http.answer_bytes", "1048576"), ("session.send_timeout", "1m")];
    let server = server_with(50, &settings).await;
    // The holder of each link sees the orders, and each is another viewer.
    let orders: Vec<String> = (1..=40).map(|n| format!("A-{n}")).collect();
    let mut held = Vec::new();
    let refused = loop {
        let mut listed: Vec<&str> = orders.iter().map(String::as_str).collect();
        listed.truncate(40 - held.len());
        let token = server.token_with(None, Some(&listed), 600);
        let (stream, status) = unread(&server, "/orders", &token).await;
        held.push(stream);
        if status != "200" {
            break status;
        }
        assert!(held.len() < 10, "there is no end");
    };
    // Four pages of 256 KB, and a little more, because what is written holds nothing any more.
    assert!(refused == "503" && (5..8).contains(&held.len()), "{refused} {}", held.len());
    let answer = get(&server, "/orders", &server.token("u-1")).await;
    assert_eq!(refusal(answer).await, (503, "at_capacity".into(), "2".into()));
    assert!(server.metric("ordercast_answers_bytes") <= 1_048_576.0);
    drop(held);
    let begun = Instant::now();
    while get(&server, "/orders", &server.token("u-1")).await.status() != 200 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the room is free again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_waits_for_the_database_is_bounded_for_a_viewer_too() {
    let server = server_with(1, &[]).await;
    server.answers_no_reads();
    let (token, other) = (server.token("u-1"), server.token("u-2"));
    let hanging: Vec<_> = (0..MANY)
        .map(|n| {
            let request = Client::new().get(format!("http://{}/orders/A-{n}", server.address)).bearer_auth(&token);
            tokio::spawn(request.send())
        })
        .collect();
    let begun = Instant::now();
    while server.metric("ordercast_answers_open") < MANY as f64 {
        assert!(begun.elapsed() < Duration::from_secs(4), "all of them wait");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(refusal(get(&server, "/orders", &token).await).await.1, "too_many_requests");
    assert_eq!(refusal(get(&server, "/orders", &other).await).await.1, "snapshot_unavailable");
    for request in hanging {
        assert_eq!(refusal(request.await.unwrap().unwrap()).await.1, "snapshot_unavailable");
    }
    assert_eq!(server.metric("ordercast_answers_open"), 0.0);
}

#[tokio::test]
async fn answers_take_no_places_of_sessions_and_sessions_none_of_answers() {
    let server = Server::start_with(&[("session.max_total", "2")]).await;
    let hanging: Vec<_> = {
        server.answers_no_reads();
        let url = format!("http://{}/orders", server.address);
        (0..MANY).map(|_| tokio::spawn(Client::new().get(&url).bearer_auth(server.token("u-1")).send())).collect()
    };
    let begun = Instant::now();
    while server.hub.step(|hub| hub.sessions()) < MANY {
        assert!(begun.elapsed() < Duration::from_secs(4), "all of them wait in the hub");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (_one, _two) = (server.connect("u-2").await, server.connect("u-3").await);
    let url = format!("ws://{}/order-status?token={}", server.address, server.token("u-4"));
    let full = tokio_tungstenite::connect_async(url).await.unwrap_err();
    assert!(full.to_string().contains("503"), "{full}");
    for request in hanging {
        assert_eq!(refusal(request.await.unwrap().unwrap()).await.1, "snapshot_unavailable", "let in, and not read");
    }
}

#[tokio::test]
async fn a_list_says_what_may_be_out_of_date_for_all_and_for_itself() {
    let server = server_with(1, &[]).await;
    let stale =
        async || get(&server, "/orders", &server.token("u-1")).await.json::<Value>().await.unwrap()["stale"].take();
    assert_eq!(stale().await, json!([]));
    server.doubt(StaleReason::LogGap);
    assert_eq!(stale().await, json!(["log_gap"]));
    server.answers_no_reads();
    // From a database that cannot say how far it is, nothing is proved.
    let nowhere = Snapshot::new(&Default::default(), Vec::new(), Default::default());
    let hub = server.hub.clone();
    let unproven = tokio::spawn(async move {
        loop {
            hub.reads_due().await;
            let reads = hub.step(|hub| hub.take_due_reads(100));
            reads
                .sessions
                .iter()
                .for_each(|read| drop(hub.step(|hub| hub.reconcile(read, &nowhere, Timestamp::now()))));
        }
    });
    assert_eq!(stale().await, json!(["catching_up", "log_gap"]));
    unproven.abort();
}

#[tokio::test]
async fn a_token_that_was_revoked_while_its_orders_were_read_is_shown_none_of_them() {
    for path in ["/orders", "/orders/A-1"] {
        let mut server = server_with(1, &[]).await;
        let (token, other) = (server.token("u-1"), server.token("u-2"));
        assert_eq!(get(&server, path, &token).await.status(), 200);
        server.answers_no_reads();
        let ask = |token: &str| {
            tokio::spawn(Client::new().get(format!("http://{}{path}", server.address)).bearer_auth(token).send())
        };
        let hanging = [ask(&token), ask(&other)];
        let begun = Instant::now();
        while server.hub.step(|hub| hub.sessions()) < hanging.len() {
            assert!(begun.elapsed() < Duration::from_secs(4), "both wait in the hub");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let user_id = UserId::parse("u-1").unwrap();
        let revocation = Revocation::User { user_id, issued_before: Timestamp::now() };
        server.revocations.write(|revocations| revocations.insert("k-1", revocation));
        server.answers_reads();
        let [revoked, good] = hanging;
        let (status, code, _) = refusal(revoked.await.unwrap().unwrap()).await;
        assert_eq!((status, code.as_str()), (401, "invalid_token"), "{path}");
        assert_ne!(good.await.unwrap().unwrap().status(), 401, "{path}");
    }
}
