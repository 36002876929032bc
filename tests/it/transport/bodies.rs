//! Bodies that nobody asked for, and requests that never end: what they cost has a bound in time and in bytes.

use std::{cell::Cell, convert::Infallible, io, net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Server, wire::Wire};
use crate::world::eventually;

/// Longer than any of these connections may last, five times.
const BOUND: Duration = Duration::from_secs(35);

/// Sends a head, then the same bytes again and again with a pause in between, until the server ends the connection. Says how
/// many bytes were taken, and what the first line of the answer was.
async fn endless(address: SocketAddr, head: &str, again: &[u8], pause: Duration) -> (usize, String) {
    let (mut reading, mut writing) = TcpStream::connect(address).await.unwrap().into_split();
    let sent = Cell::new(head.len());
    let sends = async {
        writing.write_all(head.as_bytes()).await?;
        loop {
            sent.set(sent.get() + writing.write(again).await?);
            tokio::time::sleep(pause).await;
        }
    };
    let mut answer = Vec::new();
    let reads = reading.read_to_end(&mut answer);
    let ends = async {
        tokio::pin!(reads);
        tokio::select! {
            _ = &mut reads => {}
            stopped = sends => {
                let _: io::Result<Infallible> = stopped;
                _ = reads.await;
            }
        }
    };
    tokio::time::timeout(BOUND, ends).await.unwrap_or_else(|_| panic!("still there: {head}"));
    (sent.get(), String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
}

/// Every way to begin a body and to go on for ever.
fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 65536], b"\r\n"].concat();
    vec![
        ("Transfer-Encoding: chunked\r\n\r\n", chunk),
        ("Transfer-Encoding: chunked\r\n\r\nfffffffff\r\n", vec![b'x'; 65536]),
        ("Transfer-Encoding: chunked\r\n\r\n1;", vec![b'x'; 65536]),
        ("Transfer-Encoding: chunked\r\n\r\n1", vec![b' '; 65536]),
        ("Transfer-Encoding: chunked\r\n\r\n0\r\n", b"trailer: x\r\n".repeat(5000)),
        ("Transfer-Encoding: chunked\r\n\r\n0\r\ntrailer: ", vec![b'x'; 65536]),
        ("Content-Length: 100000000000\r\n\r\n", vec![b'x'; 65536]),
        ("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n", vec![b'x'; 65536]),
        ("Connection: close\r\nContent-Length: 100000000000\r\n\r\n", vec![b'x'; 65536]),
        ("Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", vec![b'x'; 65536]),
    ]
}

/// Requests before any token, one of each kind: known and unknown paths, with and without a handler that reads.
fn requests(server: &Server, operations: SocketAddr) -> Vec<(SocketAddr, String)> {
    let json = "Content-Type: application/json\r\n";
    let public =
        ["GET /order-status", "GET /orders", "POST /tickets", "POST /orders", "PUT /nothing", "OPTIONS /orders"];
    let inner = ["GET /health/live", "GET /metrics", "POST /announcements", "DELETE /revocations", "POST /nothing"];
    let of = |address: SocketAddr, line: &&str| (address, format!("{line} HTTP/1.1\r\nHost: localhost\r\n{json}"));
    let public = public.iter().map(|line| of(server.address, line));
    public.chain(inner.iter().map(|line| of(operations, line))).collect()
}

#[tokio::test]
async fn a_body_without_end_is_not_read_on_and_ends_the_connection() {
    let server = Server::start_with(&[("http.trusted_proxies", "127.0.0.0/8")]).await;
    let operations = server.operations();
    for (address, request) in requests(&server, operations.address) {
        let attacks = bodies().into_iter().map(async |(body, again)| {
            let head = format!("{request}{body}");
            let (sent, _) = endless(address, &head, &again, Duration::ZERO).await;
            // What the kernels hold in between comes on top of what is read.
            assert!(sent < 16 << 20, "{sent} bytes were taken of {head}");
        });
        join_all(attacks).await;
    }
}

#[tokio::test]
async fn a_body_that_never_goes_on_is_answered_and_ends_the_connection() {
    let server = Server::start_with(&[("http.trusted_proxies", "127.0.0.0/8")]).await;
    let operations = server.operations();
    for (address, request) in requests(&server, operations.address) {
        // Without the first: a chunk that is left in the middle of its length is another's first byte.
        let attacks = bodies().into_iter().skip(1).flat_map(|(body, again)| {
            let head = format!("{request}{body}");
            [Duration::from_millis(100), BOUND * 2].map(|pause| {
                let (head, byte) = (head.clone(), again[..1].to_vec());
                async move {
                    let (_, answer) = endless(address, &head, &byte, pause).await;
                    assert!(answer.starts_with("HTTP/1.1 "), "no answer to {head}");
                }
            })
        });
        join_all(attacks).await;
    }
}

#[tokio::test]
async fn who_sends_a_large_body_reads_its_answer() {
    let server = Server::start().await;
    let mut wire = Wire::to(server.address).await;
    let body = vec![b'x'; 150_000];
    wire.send(format!("POST /tickets HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len())).await;
    wire.send(body).await;
    let answer = wire.answer().await.expect("an answer, and no reset in its place");
    assert_eq!((answer.status, answer.says_close()), (401, true));
    assert!(wire.answer().await.is_none());
}

#[tokio::test]
async fn every_head_has_its_time_and_not_the_first_alone() {
    let server = Server::start_with(&[("http.trusted_proxies", "127.0.0.0/8")]).await;
    let operations = server.operations();
    let good = "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let slow = |address: SocketAddr, before: &'static str| async move {
        let head = format!("{before}GET /nothing HTTP/1.1\r\nX: ");
        endless(address, &head, b"x", Duration::from_millis(50)).await
    };
    let attacks = [server.address, operations.address].map(|address| async move {
        // Behind an answer, behind the bytes of a request that is answered, and first.
        let mut wire = Wire::to(address).await;
        wire.send(good).await;
        assert_eq!(wire.answer().await.unwrap().status, 404);
        wire.send("GET /nothing HTTP/1.1\r\nX: ").await;
        let dripping = async {
            while wire.stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let dripping = tokio::time::timeout(BOUND, dripping);
        let (dripped, _, _) = tokio::join!(dripping, slow(address, good), slow(address, ""));
        dripped.expect("the connection ends");
    });
    join_all(attacks).await;
    assert!(server.metric(r#"ordercast_connections_cut_total{reason="too_slow"}"#) >= 4.0);
}

#[tokio::test]
async fn places_that_bodies_without_end_have_taken_are_free_again() {
    let server = Server::start().await;
    let chunked = "POST /tickets HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n";
    let mut held = Vec::new();
    for _ in 0..super::WAITING {
        let mut wire = Wire::to(server.address).await;
        wire.send(chunked).await;
        held.push(wire);
    }
    for wire in &mut held {
        assert_eq!(wire.answer().await.expect("an answer").status, 401);
        assert!(wire.answer().await.is_none());
    }
    drop(held);
    // Its place is free a moment after a connection has ended.
    eventually("somebody is let in", async || {
        let mut wire = Wire::to(server.address).await;
        let sent = wire.stream.write_all(super::handshake(&server, "u-1").as_bytes()).await;
        sent.is_ok() && wire.answer().await.is_some_and(|answer| answer.status == 101)
    })
    .await;
}
