//! Handshakes that are too many, too slow or too large, and the places they may take.

use std::time::{Duration, Instant};

use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Server, WAITING, close_code, raw};

async fn get(server: &Server, forwarded_for: &str) -> Response {
    let url = format!("http://{}/orders", server.address);
    reqwest::Client::new().get(url).header("X-Forwarded-For", forwarded_for).send().await.unwrap()
}

#[tokio::test]
async fn each_address_behind_a_trusted_proxy_has_its_own_rate() {
    let settings = [("session.max_handshakes_per_second", "3"), ("http.trusted_proxies", "127.0.0.0/8")];
    let server = Server::start_with(&settings).await;
    for _ in 0..3 {
        assert_eq!(get(&server, "1.1.1.1, 192.0.2.1").await.status(), StatusCode::UNAUTHORIZED);
    }
    let refused = get(&server, "2.2.2.2, 192.0.2.1").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    for (name, value) in [("retry-after", "1"), ("cache-control", "no-store"), ("x-content-type-options", "nosniff")] {
        assert_eq!(refused.headers()[name], value);
    }
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "rate_limited");
    assert_eq!(get(&server, "192.0.2.2").await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(server.metric(r#"ordercast_handshakes_refused_total{code="rate_limited"}"#), 1.0);
}

#[tokio::test]
async fn a_handshake_that_is_too_slow_is_ended() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let begun = Instant::now();
    let slow = async {
        for byte in b"GET /order-status HTTP/1.1\r\nHost: x\r\n".iter().cycle() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let mut answer = [0; 512];
            if stream.write_all(&[*byte]).await.is_err()
                || !matches!(stream.try_read(&mut answer), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
            {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), slow).await.expect("it is not waited for");
    assert!(begun.elapsed() > Duration::from_secs(2), "it had its time");
}

#[tokio::test]
async fn what_is_too_long_is_refused() {
    let server = Server::start().await;
    let url = format!("http://{}/order-status?token={}", server.address, "x".repeat(40_000));
    assert_eq!(reqwest::get(url).await.unwrap().status(), StatusCode::BAD_REQUEST);
    let url = format!("http://{}/order-status", server.address);
    let request = reqwest::Client::new().get(&url).header("X-Long", "x".repeat(40_000));
    assert_eq!(request.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    // More than that is not even read.
    let request = reqwest::Client::new().get(url).header("X-Long", "x".repeat(1_000_000));
    assert!(request.send().await.map_or(true, |answer| answer.status().is_client_error()));
}

#[tokio::test]
async fn connections_without_a_session_are_few_for_an_address_and_sessions_do_not_count() {
    let server = Server::start().await;
    let mut sessions = Vec::new();
    for user in 0..2 * WAITING {
        let mut stream = raw(&server, &format!("u-{user}")).await;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 101");
        sessions.push(stream);
    }
    let mut idle = Vec::new();
    for _ in 0..WAITING {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    let mut one_more = TcpStream::connect(server.address).await.unwrap();
    let read = tokio::time::timeout(Duration::from_secs(4), one_more.read(&mut [0; 1])).await;
    assert!(matches!(read.expect("it is ended at once"), Ok(0) | Err(_)));
    drop(idle);
    let begun = Instant::now();
    loop {
        let mut stream = raw(&server, "u-raw").await;
        let mut head = [0; 12];
        if stream.read_exact(&mut head).await.is_ok() {
            assert_eq!(&head, b"HTTP/1.1 101");
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "their places are free again");
    }
}

#[tokio::test]
async fn an_instance_that_is_full_says_so_and_goes_on_to_accept() {
    let server = Server::start_with(&[("session.max_total", "1")]).await;
    let mut first = raw(&server, "u-raw").await;
    let mut head = [0; 12];
    first.read_exact(&mut head).await.unwrap();
    for _ in 0..20 {
        let mut stream = raw(&server, "u-raw").await;
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 503");
    }
    first.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.unwrap();
    close_code(&mut first).await;
    let mut next = raw(&server, "u-raw").await;
    next.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
}
