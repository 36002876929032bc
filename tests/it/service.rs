//! The binary under what production does to it: SIGTERM with many sessions, a hostile stream, secrets in every input.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, future::join_all};
use reqwest::header::{AUTHORIZATION, COOKIE};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use crate::{
    parts::topic::Record,
    world::{Screen, Service, World, eventually},
};

/// How one client saw the end.
struct Leave {
    at: Instant,
    closing: Value,
    code: Option<u16>,
}

async fn raw(service: &Service, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let handshake = format!(
        "GET /order-status?token={token} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(handshake.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    stream
}

#[tokio::test]
async fn sigterm_closes_three_hundred_sessions_evenly_and_waits_for_no_one() {
    let (spread, grace) = (Duration::from_secs(4), Duration::from_secs(3));
    let mut world = World::create().await;
    world.set("shutdown.spread", "4s");
    world.set("shutdown.grace", "3s");
    let mut service = Service::start(&world).await;
    let mut clients = Vec::new();
    for user in 0..300 {
        let url = format!("ws://{}/order-status?token={}", service.address, world.token(&format!("u-{user}")));
        clients.push(connect_async(url).await.unwrap().0);
    }
    let mut idle = Vec::new();
    for user in 0..5 {
        idle.push(raw(&service, &world.token(&format!("idle-{user}"))).await);
    }
    let begun = Instant::now();
    service.terminate();
    let url = format!("http://{}/orders", service.address);
    let refused = async {
        eventually("it says that it leaves", async || {
            let Ok(answer) = reqwest::get(&url).await else { return false };
            answer.status() == 503 && answer.json::<Value>().await.unwrap()["code"] == "draining"
        })
        .await;
    };
    let leaves = clients.into_iter().map(async |mut client| {
        let mut closing = Value::Null;
        loop {
            match client.next().await {
                Some(Ok(Message::Text(text))) => closing = serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Close(frame))) => {
                    return Leave { at: Instant::now(), closing, code: frame.map(|frame| frame.code.into()) };
                }
                Some(Ok(_)) => {}
                ended => panic!("no Close frame: {ended:?}"),
            }
        }
    });
    let (leaves, ()) = tokio::join!(join_all(leaves), refused);
    assert_eq!(service.ended().await.code(), Some(0), "{}", service.output());
    assert!(begun.elapsed() < spread + grace, "{:?}", begun.elapsed());
    let mut delays: Vec<u64> = Vec::new();
    let mut quarters = [0; 4];
    for leave in &leaves {
        assert_eq!((leave.code, &leave.closing["reason"]), (Some(1012), &json!("server_restart")));
        delays.push(leave.closing["reconnect_after_ms"].as_u64().unwrap());
        let quarter = (leave.at - begun).as_secs_f64() / spread.as_secs_f64() * 4.0;
        quarters[(quarter as usize).min(3)] += 1;
    }
    assert!(quarters.iter().all(|closes| (50..=100).contains(closes)), "{quarters:?}");
    delays.sort_unstable();
    delays.dedup();
    assert!(delays.len() > 250 && *delays.last().unwrap() < 4_000, "each its own: {delays:?}");
}

#[tokio::test]
async fn a_huge_declared_frame_costs_no_memory_however_much_is_streamed() {
    let world = World::create().await;
    let service = Service::start(&world).await;
    let mut growths = Vec::new();
    for round in 0..6 {
        let mut stream = raw(&service, &world.token(&format!("u-{round}"))).await;
        service.reset_peak();
        let before = service.status_kib("VmHWM");
        let header = [vec![0x81, 0xff], (1u64 << 40).to_be_bytes().to_vec(), vec![0; 4]].concat();
        stream.write_all(&header).await.unwrap();
        let (mut reading, mut writing) = stream.into_split();
        let zeros = vec![0; 1 << 20];
        let streaming = async {
            for _ in 0..64 {
                if writing.write_all(&zeros).await.is_err() {
                    return;
                }
            }
        };
        let mut answer = Vec::new();
        let (_, _) = tokio::join!(streaming, reading.read_to_end(&mut answer));
        assert!(answer.windows(4).any(|close| close[0] == 0x88 && close[2..] == 1009u16.to_be_bytes()), "told why");
        growths.push(service.status_kib("VmHWM") - before);
    }
    // What else the process does in the meantime is not the client's doing, so the calmest round counts.
    assert!(growths.iter().min() <= Some(&64), "KiB: {growths:?}");
}

#[tokio::test]
async fn no_token_secret_or_personal_datum_leaves_the_process() {
    let mut world = World::create().await;
    let url = world.settings["ORDERCAST__DATABASE__URL"].replacen("postgres@", "postgres:canary-password@", 1);
    assert!(url.contains("canary-password"));
    world.set("database.url", &url);
    world.set("auth.secret", "canary-secret canary-secret canary-secret");
    world.set("operations.token", "canary-operations-token");
    world.set("kafka.properties.sasl.password", "canary-broker-password");
    world.settings.retain(|name, _| name != "ORDERCAST__OPERATIONS__TOKEN" || has_setting("operations.token"));
    world.set("log.level", "trace");
    let mut service = Service::start(&world).await;
    let user = "canary-user";
    let token = world.token(user);
    let order = json!({"order_id": "A-1", "user_id": user, "status": "paid", "version": 1,
        "details": {"name": "canary-name"}, "viewers": ["canary-viewer"]});
    world.publish(order).await;
    world.topic.produce(Record::new("A-2", r#"{"order_id":"A-2","user_id":"canary-user","#)).await;
    world.topic.produce(Record::new("A-3", r#"{"order_id":"A-3","status":{"canary-status":1}}"#)).await;
    let http = reqwest::Client::new();
    for path in ["/orders", "/orders/A-1", "/order-status", "/orders/canary-order", "/canary-path"] {
        for credential in [token.clone(), "canary.bad.token".to_owned()] {
            let url = format!("http://{}{path}", service.address);
            let asks = [
                http.get(format!("{url}?token={credential}&canary-query=1")),
                http.get(&url).header(AUTHORIZATION, format!("Bearer {credential}")),
                http.post(&url).header(AUTHORIZATION, format!("Bearer {credential}")).body("canary-body"),
                http.get(&url).header("Sec-WebSocket-Protocol", format!("ordercast.v1, bearer.{credential}")),
            ];
            for ask in asks {
                let answer = ask.header(COOKIE, "session=canary-cookie").send().await.unwrap();
                for (name, value) in [
                    ("cache-control", "no-store"),
                    ("referrer-policy", "no-referrer"),
                    ("x-content-type-options", "nosniff"),
                ] {
                    assert_eq!(
                        answer.headers().get(name).map(|value| value.as_bytes()),
                        Some(value.as_bytes()),
                        "{path}"
                    );
                }
                let status = answer.status();
                let body = answer.text().await.unwrap();
                assert!(status.is_success() || !body.contains("canary"), "{path}: {body}");
            }
        }
    }
    let mut screen = Screen::open(service.address, &token).await;
    screen.expect_status("A-1", "paid").await;
    for message in [
        json!({"type": "refresh", "token": world.token(user)}),
        json!({"type": "refresh", "token": "canary.bad.refresh"}),
        json!({"type": "canary-type"}),
        json!({"type": "subscribe", "order_ids": ["canary-order"]}),
        json!({"action": "subscribe", "userId": "canary-other"}),
        json!({"type": "refresh", "token": world.token("canary-other")}),
    ] {
        screen.send(message).await;
    }
    assert_eq!(screen.close_code().await, Some(4500));
    let mut page =
        format!("ws://{}/order-status?token=canary.bad.page", service.address).into_client_request().unwrap();
    page.headers_mut().insert("Origin", format!("http://{}", service.address).parse().unwrap());
    let (mut page, _) = connect_async(page).await.unwrap();
    while page.next().await.is_some_and(|message| message.is_ok()) {}
    let metrics = reqwest::get(format!("http://{}/metrics", service.operations)).await.unwrap().text().await.unwrap();
    assert!(!metrics.contains("canary"), "{metrics}");
    service.terminate();
    assert_eq!(service.ended().await.code(), Some(0));
    let output = service.output();
    assert!(output.contains("TRACE") && output.contains("session ended"), "everything was logged");
    let signature = token.rsplit('.').next().unwrap();
    let leaks: Vec<&str> = output.lines().filter(|line| line.contains("canary") || line.contains(signature)).collect();
    assert!(leaks.is_empty(), "{} lines, such as\n{}", leaks.len(), leaks[..leaks.len().min(5)].join("\n"));
}

/// Whether the settings know this key.
fn has_setting(key: &str) -> bool {
    ordercast::config::defaults().iter().any(|(known, _)| known == key)
}
