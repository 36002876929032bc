//! The binary under what production does to it: SIGTERM with many sessions, a hostile stream, secrets in every input.

mod answers;
mod idle;
mod leaks;
mod outsiders;
mod readers;

use std::time::{Duration, Instant};

use futures_util::{StreamExt, future::join_all};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Error, Message},
};

use crate::world::{Service, World, eventually};

/// How one client saw the end.
struct Leave {
    at: Instant,
    closing: Value,
    code: Option<u16>,
}

async fn raw(service: &Service, token: &str) -> TcpStream {
    raw_by(TcpSocket::new_v4().unwrap(), service, token).await
}

/// A session whose frames nobody has read, over this socket.
async fn raw_by(socket: TcpSocket, service: &Service, token: &str) -> TcpStream {
    let mut stream = socket.connect(service.address).await.unwrap();
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
    let (spread, grace) = (Duration::from_secs(4), Duration::from_secs(5));
    let mut world = World::create().await;
    world.set("shutdown.spread", "4s");
    world.set("shutdown.grace", "5s");
    // Whoever takes nothing is not ended by that in the meantime.
    world.set("session.send_timeout", "60s");
    let elsewhere = world.start().await;
    let pad = "x".repeat(12_000);
    let large: Vec<_> = (0..60)
        .map(|n| json!({"order_id": format!("L-{n}"), "user_id": "stalled", "status": "paid", "details": {"pad": pad}}))
        .collect();
    world.publish_all(&large).await;
    let mut service = Service::start(&world).await;
    let mut clients = Vec::new();
    for user in 0..300 {
        let url = format!("ws://{}/order-status?token={}", service.address, world.token(&format!("u-{user}")));
        clients.push(connect_async(url).await.unwrap().0);
    }
    let mut idle = Vec::new();
    for user in ["idle-1", "idle-2", "idle-3", "stalled", "stalled"] {
        idle.push(raw(&service, &world.token(user)).await);
    }
    let begun = Instant::now();
    service.terminate();
    let newcomer = world.token("newcomer");
    let url = format!("http://{}/orders", service.address);
    let handshake = format!("ws://{}/order-status?token={newcomer}", service.address);
    let ready = format!("http://{}/health/ready", service.operations);
    let refused = async {
        eventually("it says that it leaves", async || {
            let Ok(answer) = reqwest::get(&url).await else { return false };
            answer.status() == 503 && answer.json::<Value>().await.unwrap()["code"] == "draining"
        })
        .await;
        let Err(Error::Http(answer)) = connect_async(&handshake).await else { panic!("it is let in") };
        let problem: Value = serde_json::from_slice(answer.body().as_ref().unwrap()).unwrap();
        assert_eq!((answer.status().as_u16(), &problem["code"]), (503, &json!("draining")));
        assert_eq!(reqwest::get(&ready).await.unwrap().status(), 503, "not ready, while most are still there");
        for user in 0..10 {
            let order = json!({"order_id": format!("M-{user}"), "user_id": format!("u-{user}"), "status": "meanwhile"});
            world.publish(order).await;
        }
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
    // What a busy machine adds is not the service's.
    assert!(begun.elapsed() < spread + grace + Duration::from_secs(10), "{:?}", begun.elapsed());
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
    for user in 0..10 {
        world.watch(&elsewhere, &format!("u-{user}")).await.expect_status(&format!("M-{user}"), "meanwhile").await;
    }
    elsewhere.stop().await;
}

#[tokio::test]
async fn a_huge_declared_frame_costs_no_memory_however_much_is_streamed() {
    let world = World::create().await;
    let service = Service::start(&world).await;
    let mut growths = Vec::new();
    // What else the process does in the meantime is not the client's doing, so one calm round is enough.
    while growths.iter().min().is_none_or(|growth| *growth > 64) {
        assert!(growths.len() < 30, "KiB: {growths:?}");
        let round = growths.len();
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
}
