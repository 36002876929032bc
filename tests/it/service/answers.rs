//! What answers cost that nobody reads.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::world::{Service, World, eventually};

const ORDERS: usize = 200;
const READERS: usize = 100;
const USERS: usize = 2;

/// Asks for a list and takes no more of the answer than its first line; whether it is one.
async fn unread(service: &Service, token: &str) -> (TcpStream, bool) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(service.address).await.unwrap();
    let request = format!("GET /orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    (stream, &head == b"HTTP/1.1 200")
}

#[tokio::test]
async fn a_hundred_answers_that_nobody_reads_cost_a_fixed_amount_whatever_the_list() {
    let mut world = World::create().await;
    world.set("session.send_timeout", "60s");
    let pad = "x".repeat(12_000);
    let orders: Vec<_> = (0..ORDERS)
        .map(|n| json!({"order_id": format!("L-{n}"), "user_id": "u-0", "viewers": ["u-1"], "status": "paid", "details": {"pad": pad}}))
        .collect();
    world.publish_all(&orders).await;
    let service = Service::start(&world).await;
    let stored = async || world.database.number("select count(*) from orders").await == Some(ORDERS as i64);
    eventually("all are stored", stored).await;
    // What reading the list takes is the same for one answer and for many.
    let token = world.token("u-0");
    for _ in 0..3 {
        let url = format!("http://{}/orders", service.address);
        let page = reqwest::Client::new().get(url).bearer_auth(&token).send().await.unwrap().text().await.unwrap();
        assert!(page.len() > 200_000 && page.contains(r#""next":"/orders?after="#));
    }
    service.reset_peak();
    let before = service.status_kib("VmHWM");
    let (mut held, mut answered) = (Vec::new(), 0);
    for reader in 0..READERS {
        let (stream, is_answer) = unread(&service, &world.token(&format!("u-{}", reader % USERS))).await;
        answered += usize::from(is_answer);
        held.push(stream);
    }
    assert_eq!(answered, 20 * USERS, "the others are refused");
    let growth = service.status_kib("VmHWM") - before;
    eprintln!("{READERS} unread answers over a list of {ORDERS} orders of 12 KB: {growth} KiB");
    // Forty pages, and the reading of one list at a time; without a bound it was a list each.
    assert!(growth < 100 * 1024, "{growth} KiB");
    assert!(service.metric("ordercast_answers_bytes").await < 20.0 * USERS as f64 * 260.0 * 1024.0);
}
