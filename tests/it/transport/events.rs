//! Server-sent events, read by an independent client: the same messages as over a WebSocket, every end and every refusal as
//! EventSource has to be told it.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use ordercast::{hub::SessionSelector, protocol::CloseCause};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::Server;
use crate::{parts::browser, world::value_of};

const PATIENCE: Duration = Duration::from_secs(30);

/// One event, as EventSource reads it.
#[derive(Debug, Default, Clone, PartialEq)]
struct Event {
    id: Option<String>,
    retry: Option<u64>,
    data: Option<String>,
}

impl Event {
    fn json(&self) -> Value {
        serde_json::from_str(self.data.as_deref().expect("an event with data")).unwrap()
    }
}

/// A stream of events that is being read.
struct Stream {
    response: Response,
    read: Vec<u8>,
}

impl Stream {
    /// The next block that ends with an empty line; `None`: the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.read.drain(..end + 2).collect();
                return Some(parse(&String::from_utf8(block).unwrap()));
            }
            match timeout(PATIENCE, self.response.chunk()).await.expect("an event in time").unwrap() {
                Some(bytes) => self.read.extend_from_slice(&bytes),
                None => {
                    assert!(self.read.is_empty(), "half an event");
                    return None;
                }
            }
        }
    }

    /// The next message.
    async fn message(&mut self) -> Value {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.data.is_some() {
                return event.json();
            }
        }
    }

    /// The last event, and nothing behind it.
    async fn last(&mut self) -> Event {
        let mut last = None;
        while let Some(event) = self.next().await {
            last = Some(event);
        }
        last.expect("there was an event")
    }
}

fn parse(block: &str) -> Event {
    let (mut event, mut data) = (Event::default(), Vec::new());
    for line in block.lines().filter(|line| !line.is_empty()) {
        match line.split_once(": ").expect(line) {
            ("id", id) => event.id = Some(id.to_owned()),
            ("retry", millis) => event.retry = Some(millis.parse().unwrap()),
            ("data", line) => data.push(line),
            other => panic!("{other:?}"),
        }
    }
    event.data = (!data.is_empty()).then(|| data.join("\n"));
    event
}

fn request(server: &Server, method: Method, query: &str) -> RequestBuilder {
    let url = format!("http://{}/order-status/events{query}", server.address);
    Client::new().request(method, url).header("Accept", "text/event-stream")
}

async fn open(server: &Server, query: &str) -> Stream {
    let response = request(server, Method::GET, query).send().await.unwrap();
    assert_eq!(response.status(), 200);
    Stream { response, read: Vec::new() }
}

async fn opened(server: &Server, user: &str) -> Stream {
    let mut stream = open(server, &format!("?token={}", server.token(user))).await;
    assert_eq!(stream.message().await["type"], "welcome");
    assert_eq!(stream.message().await["type"], "snapshot");
    stream
}

#[tokio::test]
async fn events_are_the_messages_of_a_websocket_in_their_order() {
    let server = Server::start_with(&[("session.heartbeat_interval", "5s")]).await;
    let mut socket = server.connect("u-1").await;
    let mut stream = open(&server, &format!("?token={}", server.token("u-1"))).await;
    let header = |name| stream.response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header("content-type").as_deref(), Some("text/event-stream"));
    assert_eq!(header("cache-control").as_deref(), Some("no-store, no-transform"));
    assert_eq!(header("x-accel-buffering").as_deref(), Some("no"));
    assert_eq!(header("content-encoding"), None);
    let first = stream.next().await.unwrap();
    assert!((2_000..5_000).contains(&first.retry.unwrap()) && first.data.is_none(), "{first:?}");
    for kind in ["welcome", "snapshot"] {
        assert_eq!(stream.message().await["type"], kind);
        assert_eq!(super::next_json(&mut socket).await["type"], kind);
    }
    for offset in 1..=60 {
        server.publish(offset, "u-1", "paid", 10);
        assert_eq!(stream.message().await, super::next_json(&mut socket).await);
    }
    let heartbeat = stream.next().await.unwrap();
    assert_eq!((&heartbeat.json()["type"], &heartbeat.id), (&json!("heartbeat"), &None));
    let transports: Vec<_> = ["websocket", "sse"]
        .iter()
        .map(|name| server.metric(&format!("ordercast_sessions_open{{transport=\"{name}\"}}")))
        .collect();
    assert_eq!(transports, [1.0, 1.0]);
}

#[tokio::test]
async fn who_is_silent_and_takes_everything_stays_and_who_leaves_is_gone_at_once() {
    let server = Server::start_with(&[("session.heartbeat_interval", "5s")]).await;
    let mut stream = opened(&server, "u-1").await;
    let begun = Instant::now();
    // A WebSocket that is silent for two heartbeats is dead.
    while begun.elapsed() < Duration::from_secs(16) {
        assert_eq!(stream.message().await["type"], "heartbeat");
    }
    // The next heartbeat is five seconds away: it is the end of the client's side that is noticed.
    let left = Instant::now();
    drop(stream);
    until_open(&server, 0).await;
    assert!(left.elapsed() < Duration::from_secs(4), "{:?}", left.elapsed());
    assert_eq!(server.metric("ordercast_sessions_closed_total{cause=\"connection_lost\",transport=\"sse\"}"), 1.0);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_a_slow_consumer() {
    let server = Server::start().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stalled: TcpStream = socket.connect(server.address).await.unwrap();
    let request = format!("GET /order-status/events?token={} HTTP/1.1\r\nHost: x\r\n\r\n", server.token("u-1"));
    stalled.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stalled.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let begun = Instant::now();
    let mut offset = 0;
    while server.hub.look(|hub| hub.sessions()) == 1 {
        offset += 1;
        server.publish(offset, "u-1", "paid", 10_000);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(begun.elapsed() < PATIENCE, "the stalled reader still sits there");
    }
    assert_eq!(server.metric("ordercast_sessions_closed_total{cause=\"slow_consumer\",transport=\"sse\"}"), 1.0);
}

#[tokio::test]
async fn every_end_says_when_to_come_back_or_that_nobody_is_to() {
    let server = Server::start().await;
    for cause in [CloseCause::Revoked, CloseCause::Disconnected, CloseCause::Replaced] {
        let mut stream = opened(&server, "u-1").await;
        end(&server, cause);
        check_end(&stream.last().await, cause);
        until_open(&server, 0).await;
    }
    let leaving = Server::start().await;
    let mut stream = opened(&leaving, "u-1").await;
    drain(&leaving);
    check_end(&stream.last().await, CloseCause::ServerRestart);
    let short = server.token_with(Some("u-1"), None, 2);
    check_end(&open(&server, &format!("?token={short}")).await.last().await, CloseCause::TokenExpired);
    let mut waiting = Server::start_with(&[("session.snapshot_timeout", "1s")]).await;
    waiting.answers_no_reads();
    let mut stream = open(&waiting, &format!("?token={}", waiting.token("u-1"))).await;
    check_end(&stream.last().await, CloseCause::SnapshotUnavailable);
    waiting.answers_reads();
    let link = server.token_with(None, Some(&["A-1"]), 3600);
    let mut stream = open(&server, &format!("?token={link}")).await;
    assert_eq!(stream.message().await["user_id"], Value::Null);
    assert_eq!(stream.message().await["type"], "snapshot");
    server.publish(1, "u-9", "delivered", 1);
    check_end(&stream.last().await, CloseCause::Complete);
}

fn end(server: &Server, cause: CloseCause) {
    assert_eq!(server.hub.step(|hub| hub.close(SessionSelector::All, cause, |_| true)), 1);
}

fn drain(server: &Server) {
    server.viewers.instance.begin_drain(Duration::from_millis(100));
    server.hub.step(|hub| hub.nudge_all());
}

fn check_end(event: &Event, cause: CloseCause) {
    let told = event.json();
    assert_eq!((&told["type"], &told["code"]), (&json!("closing"), &json!(cause.code())), "{told}");
    let stops = cause.is_final_for_token().then(|| format!("stop-{}", cause.code()));
    assert_eq!(event.id, stops, "{told}");
    assert_eq!(event.retry, told["reconnect_after_ms"].as_u64(), "{told}");
}

#[tokio::test]
async fn what_may_pass_is_told_as_an_event_and_what_may_not_by_a_status() {
    let server = Server::start_with(&[("session.max_per_user", "1")]).await;
    let token = format!("?token={}", server.token("u-1"));
    let told = async |reason: &str, retry: u64| {
        let event = open(&server, &token).await.last().await;
        let closing = event.json();
        assert_eq!(
            (&closing["type"], &closing["code"], &closing["retry"]),
            (&json!("closing"), &json!(1013), &json!(true))
        );
        assert_eq!((&closing["reason"], &event.id), (&json!(reason), &None));
        assert!((retry..retry + 3_000).contains(&event.retry.unwrap()), "{event:?}");
        let plain = Client::new().get(format!("http://{}/order-status/events{token}", server.address));
        let plain = plain.send().await.unwrap();
        assert!(plain.status() == 503 || plain.status() == 429, "who asks for no events reads the status");
    };
    server.ready.send_replace(false);
    told("not_ready", 2_000).await;
    server.ready.send_replace(true);
    let one = opened(&server, "u-1").await;
    told("too_many_sessions", 30_000).await;
    drop(one);
    until_open(&server, 0).await;
    drain(&server);
    told("draining", 2_000).await;

    let server = Server::start().await;
    for (query, origin, status) in
        [("?token=not.a.token", None, 401), ("", None, 401), (token.as_str(), Some("https://evil.example"), 403)]
    {
        let mut asked = request(&server, Method::GET, query);
        if let Some(origin) = origin {
            asked = asked.header("Origin", origin);
        }
        assert_eq!(asked.send().await.unwrap().status(), status, "{query}");
    }
    let over = request(&server, Method::GET, &token).header("Last-Event-ID", "stop-4503").send().await.unwrap();
    assert_eq!(over.status(), 204);
    for query in ["lastEventId=stop-4005", "Last-Event-ID=stop-1002"] {
        let over = request(&server, Method::GET, &format!("{token}&{query}")).send().await.unwrap();
        assert_eq!(over.status(), 204, "{query}");
    }
    let put = request(&server, Method::PUT, &token).send().await.unwrap();
    assert_eq!(put.status(), 405);
}

#[tokio::test]
async fn who_says_what_it_shows_is_told_what_differs_and_who_names_orders_is_shown_these() {
    let server = Server::start().await;
    let token = format!("?token={}", server.token("u-1"));
    let mut first = opened(&server, "u-1").await;
    server.publish(1, "u-1", "paid", 10);
    server.publish(2, "u-1", "paid", 10);
    let (one, two) = (first.message().await, first.message().await);
    let body = json!({"orders": {"A-1": one["rev"], "A-9": "x"}});
    let response = request(&server, Method::POST, &token).json(&body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let mut stream = Stream { response, read: Vec::new() };
    assert_eq!(stream.message().await["type"], "welcome");
    let snapshot = stream.message().await;
    assert_eq!((&snapshot["partial"], &snapshot["removed"]), (&json!(true), &json!(["A-9"])), "{snapshot}");
    assert_eq!(snapshot["orders"].as_array().unwrap().len(), 1);
    assert_eq!(snapshot["orders"][0]["order_id"], two["order_id"]);
    drop((first, stream));
    until_open(&server, 0).await;

    let mut some = open(&server, &format!("{token}&orders=A-3,A-4")).await;
    assert_eq!(some.message().await["type"], "welcome");
    assert_eq!(some.message().await["type"], "snapshot");
    for offset in 3..=5 {
        server.publish(offset, "u-1", "shipped", 10);
    }
    server.publish(53, "u-1", "delivered", 10);
    let mut shown = HashMap::new();
    while shown.get("A-3") != Some(&json!(53)) {
        let message = some.message().await;
        let alone = message["order_id"].is_string().then_some(&message);
        for order in message["orders"].as_array().into_iter().flatten().chain(alone) {
            shown.insert(order["order_id"].as_str().unwrap().to_owned(), order["version"].clone());
        }
    }
    assert!(!shown.contains_key("A-5"), "{shown:?}");
    for (query, body, kind) in [
        ("&orders=", None, "application/json"),
        ("", Some("[]"), "application/json"),
        ("", Some(r#"{"orders":[]}"#), "application/json"),
        ("", Some("{}"), "text/plain"),
    ] {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let mut asked = request(&server, method, &format!("{token}{query}")).header("Content-Type", kind);
        if let Some(body) = body {
            asked = asked.body(body);
        }
        let refused = asked.send().await.unwrap();
        assert_eq!(refused.status(), 400, "{query} {body:?}");
        assert_eq!(refused.json::<Value>().await.unwrap()["code"], "bad_request");
    }
}

/// Waits until so many sessions are open.
async fn until_open(server: &Server, many: usize) {
    timeout(PATIENCE, async {
        while server.hub.look(|hub| hub.sessions()) != many {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("it comes back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_s_event_source_comes_back_by_itself_and_gives_up_where_it_must() {
    let server = Server::start().await;
    let page = format!("http://{}/", server.address);
    let address = format!("/order-status/events?token={}", server.token("u-1"));
    let arguments = [page.as_str(), address.as_str()];
    let (printed, ()) = tokio::join!(browser::run("./events.mjs", &arguments), async {
        until_open(&server, 1).await;
        server.publish_order(1, "u-1", "paid", "{\"lines\":\r\n[1,\n2]}".to_owned());
        end(&server, CloseCause::Disconnected);
        until_open(&server, 0).await;
        until_open(&server, 1).await;
        server.ready.send_replace(false);
        end(&server, CloseCause::Disconnected);
        let told = "ordercast_handshakes_refused_total{code=\"not_ready\"}";
        timeout(PATIENCE, async {
            while value_of(&server.metrics.encode(), told).is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("it asks again");
        server.ready.send_replace(true);
        until_open(&server, 1).await;
        end(&server, CloseCause::Revoked);
    });
    let told: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<String> = told
        .iter()
        .map(|message| match message["type"].as_str().unwrap() {
            "closing" => message["reason"].as_str().unwrap().to_owned(),
            "error" => format!("comes back: {}", message["comes_back"]),
            kind => kind.to_owned(),
        })
        .filter(|kind| kind != "stale" && kind != "fresh")
        .collect();
    let update = told.iter().find(|message| message["type"] == "order_status");
    if let Some(update) = update {
        assert_eq!(update["details"], json!({"lines": [1, 2]}));
    }
    let ends: Vec<&str> = kinds
        .iter()
        .map(String::as_str)
        .filter(|kind| !["welcome", "snapshot", "order_status"].contains(kind))
        .collect();
    let back = "comes back: true";
    assert_eq!(ends[..4], ["disconnected", back, "disconnected", back], "{kinds:?}");
    assert_eq!(ends[ends.len() - 4..], [back, "revoked", back, "comes back: false"], "{kinds:?}");
    assert!(ends.contains(&"not_ready"), "{kinds:?}");
    assert!(kinds.iter().filter(|kind| *kind == "welcome").count() >= 2, "{kinds:?}");
}
