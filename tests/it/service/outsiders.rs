//! What strangers make the binary write: its log in bytes.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::world::{Service, World};

/// More than the log may grow by anything here; it grew by megabytes.
const FEW_BYTES: usize = 20_000;

async fn connect(from: &str, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(format!("{from}:0").parse().unwrap())?;
    socket.connect(to).await
}

/// Sends bytes on a connection of its own and reads until that ends.
async fn shout(from: &str, to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut heard = Vec::new();
    if let Ok(mut stream) = connect(from, to).await
        && stream.write_all(bytes).await.is_ok()
    {
        let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut heard)).await;
    }
    heard
}

/// Whether an address is answered.
async fn is_heard(from: &str, to: SocketAddr) -> bool {
    let request = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    shout(from, to, request).await.starts_with(b"HTTP/1.1 404")
}

#[tokio::test]
async fn bytes_that_are_no_request_are_counted_and_not_told_and_shut_their_address_out() {
    let mut world = World::create().await;
    world.set("session.max_handshakes_per_second", "20");
    let service = Service::start(&world).await;
    let tls_hello = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), &[7; 500]].concat();
    let attacks = [
        b"GET / HTTP/1.1\r\nHost: x\r\nX: \x01\x02\r\n\r\n".to_vec(),
        tls_hello,
        b"\x1b]0;owned\x07\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"POST /tickets HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n".to_vec(),
        b"POST /tickets HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n".to_vec(),
        [b"GET /".as_slice(), &[b'x'; 140_000]].concat(),
    ];
    let before = service.output().len();
    for address in [service.address, service.operations] {
        let begun = Instant::now();
        let attack = async |bytes: &Vec<u8>| {
            while begun.elapsed() < Duration::from_secs(3) {
                shout("127.0.0.2", address, bytes).await;
            }
        };
        join_all(attacks.iter().map(attack)).await;
        assert!(is_heard("127.0.0.1", address).await, "nobody else is shut out");
        let begun = Instant::now();
        while !is_heard("127.0.0.2", address).await {
            assert!(begun.elapsed() < Duration::from_secs(20), "it may come back");
        }
    }
    let grown = service.output().len() - before;
    assert!(grown < FEW_BYTES, "{grown} bytes:\n{}", &service.output()[before..][..FEW_BYTES]);
    for reason in ["unreadable", "shut_out"] {
        let cut = service.metric(&format!("ordercast_connections_cut_total{{reason=\"{reason}\"}}")).await;
        assert!(cut >= 20.0, "{reason}: {cut}");
    }
}

#[tokio::test]
async fn origins_that_may_not_connect_are_told_once_cut_short_and_not_without_end() {
    let mut world = World::create().await;
    world.set("session.max_handshakes_per_second", "100000");
    let service = Service::start(&world).await;
    let before = service.output().len();
    let refused = async |origin: &str| {
        let request =
            format!("GET /orders HTTP/1.1\r\nHost: api.example\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n");
        assert!(shout("127.0.0.1", service.address, request.as_bytes()).await.starts_with(b"HTTP/1.1 403"));
    };
    for _ in 0..50 {
        refused("https://shop.example").await;
    }
    let output = service.output();
    let lines: Vec<&str> = output[before..].lines().collect();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    for said in ["WARN", "https://shop.example", "api.example", "; add it to http.allowed_origins"] {
        assert!(lines[0].contains(said), "{said} is not in {}", lines[0]);
    }
    // None like the one before, and all of them long.
    let pad = "x".repeat(28_000);
    let many = 600;
    for number in 0..many {
        refused(&format!("https://{number}.{pad}.example")).await;
    }
    let grown = service.output().len() - before;
    assert!(grown < 128 * 1_000, "{grown} bytes");
    assert!(!service.output().contains(&pad[..300]));
    let left_out = service.metric(r#"ordercast_log_lines_left_out_total{kind="foreign_origin"}"#).await;
    assert!(left_out >= f64::from(49 + many - 128), "{left_out}");
}
