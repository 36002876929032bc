//! Upgrades that are asked for and not taken, and handshakes behind which no frames can come.

use std::net::SocketAddr;

use futures_util::future::join_all;
use tokio::io::AsyncReadExt;

use super::{
    Server, handshake,
    wire::{Answer, Wire},
};

/// As nginx sends it by most tutorials, Java's `HttpClient`, and clients that ask for a WebSocket at another door.
const UPGRADES: [&str; 7] = [
    "Connection: upgrade\r\n",
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA\r\n",
    "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
    "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "Upgrade: websocket\r\n",
    "Upgrade: TLS/1.0\r\n",
];
const BODIES: [&str; 4] = [
    "\r\n",
    "Content-Length: 0\r\n\r\n",
    "Content-Length: 2\r\nContent-Type: application/json\r\n\r\n{}",
    "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
];

/// Two requests on one connection, and what came of them: the second is answered, or the first has said that it is the last.
async fn two_on_one_connection(address: SocketAddr, request: &str, pipelined: bool) -> Vec<Answer> {
    let mut wire = Wire::to(address).await;
    let mut answers = Vec::new();
    if pipelined {
        wire.send(request.repeat(2)).await;
    }
    for _ in 0..2 {
        if !pipelined {
            wire.send(request).await;
        }
        let answer = wire.answer().await.unwrap_or_else(|| panic!("no answer to {request}"));
        let is_last = answer.says_close();
        answers.push(answer);
        if is_last {
            let more = wire.answer().await;
            assert!(more.is_none(), "behind the last answer: {more:?}");
            break;
        }
    }
    answers
}

#[tokio::test]
async fn an_upgrade_that_is_not_taken_leaves_the_connection_or_says_that_it_ends() {
    let settings = [("session.max_handshakes_per_second", "10000"), ("http.trusted_proxies", "127.0.0.0/8")];
    let server = Server::start_with(&settings).await;
    let operations = server.operations();
    let credentials = format!("Authorization: Bearer {}\r\n", server.token("u-1"));
    for upgrade in UPGRADES {
        let asked = |address, line, status| {
            let head = format!("{line} HTTP/1.1\r\nHost: localhost\r\n{credentials}{upgrade}");
            let requests =
                BODIES.iter().flat_map(move |body| [false, true].map(|pipelined| (format!("{head}{body}"), pipelined)));
            requests.map(move |(request, pipelined)| async move {
                for answer in two_on_one_connection(address, &request, pipelined).await {
                    assert_eq!(answer.status, status, "{request}\n{answer:?}");
                }
            })
        };
        let all = [
            asked(server.address, "POST /tickets", 503),
            asked(server.address, "GET /orders", 200),
            asked(operations.address, "GET /health/live", 200),
            asked(operations.address, "POST /announcements", 400),
        ];
        join_all(all.into_iter().flatten()).await;
    }
}

#[tokio::test]
async fn an_ordinary_request_leaves_the_connection_whatever_small_body_comes_along() {
    let server = Server::start().await;
    let operations = server.operations();
    for body in BODIES {
        for pipelined in [false, true] {
            for (address, line) in [(server.address, "POST /tickets"), (operations.address, "GET /health/live")] {
                let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\n{body}");
                let answers = two_on_one_connection(address, &request, pipelined).await;
                assert_eq!(answers.len(), 2, "{request}\n{answers:?}");
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_answered_behind_an_answer_that_says_it_is_the_last() {
    let server = Server::start().await;
    let one = "GET /orders HTTP/1.1\r\nHost: x\r\n";
    for last in ["Connection: close\r\n", "Connection: upgrade\r\n", "Content-Length: 100000\r\n"] {
        let mut wire = Wire::to(server.address).await;
        wire.send(format!("{one}\r\n{one}{last}\r\n").as_bytes()).await;
        wire.send(format!("{one}\r\n").repeat(20).as_bytes()).await;
        let mut answers = Vec::new();
        while let Some(answer) = wire.answer().await {
            answers.push(answer);
        }
        let last = answers.iter().position(Answer::says_close).expect("one of them is the last");
        assert_eq!((last, answers.len()), (last, last + 1), "{answers:?}");
        assert!(last <= 1, "{answers:?}");
    }
}

#[tokio::test]
async fn a_handshake_is_followed_by_bare_frames_or_refused() {
    let server = Server::start().await;
    let good = handshake(&server, "u-1");
    let ping = [0x89, 0x81, 0, 0, 0, 0, b'x'];
    let chunked = [b"7\r\n".as_slice(), &ping, b"\r\n0\r\n\r\n"].concat();
    let instead = |from: &str, to: &str| good.replace(from, to);
    let cases = [
        (400, instead("Host: x", "Host: x\r\nTransfer-Encoding: chunked"), chunked.clone()),
        (400, instead("Host: x", "Host: x\r\nOrigin: http://x\r\nTransfer-Encoding: chunked"), chunked),
        (400, instead("Host: x", "Host: x\r\nContent-Length: 7"), ping.to_vec()),
        (400, instead("Host: x", "Host: x\r\nTransfer-Encoding: identity"), ping.to_vec()),
        (426, instead("Upgrade: websocket", "Upgrade: websocket, h2c"), ping.to_vec()),
        (426, instead("Upgrade: websocket", "Upgrade: h2c, websocket"), ping.to_vec()),
        (426, instead("Upgrade: websocket", "Upgrade: h2c\r\nUpgrade: websocket"), ping.to_vec()),
        (426, instead("Upgrade: websocket", "Upgrade: websocket/13"), ping.to_vec()),
        (426, instead("HTTP/1.1", "HTTP/1.0"), ping.to_vec()),
        (426, instead("Connection: Upgrade", "Connection: Upgrade, close"), ping.to_vec()),
        (101, instead("Host: x", "Host: x\r\nContent-Length: 0"), ping.to_vec()),
        (101, instead("Upgrade: websocket", "Upgrade:   WebSocket "), ping.to_vec()),
        (101, instead("Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: h2c"), ping.to_vec()),
    ];
    for (status, request, behind) in cases {
        let mut wire = Wire::to(server.address).await;
        wire.send([request.as_bytes(), &behind].concat()).await;
        let answer = wire.answer().await.unwrap_or_else(|| panic!("no answer to {request}"));
        assert_eq!(answer.status, status, "{request}");
        if status == 101 {
            let pong = [0x8a, 1, b'x'];
            let mut read = wire.unread().to_vec();
            while !read.windows(3).any(|frame| frame == pong) {
                assert!(wire.stream.read_buf(&mut read).await.unwrap() > 0, "a pong behind {request}");
            }
        } else {
            let more = wire.answer().await;
            let says_close = answer.says_close() || answer.head.starts_with("http/1.0");
            assert!(says_close && more.is_none(), "{request}\n{more:?}");
        }
    }
    assert_eq!(server.metric(r#"ordercast_sessions_closed_total{cause="protocol_error"}"#), 0.0);
}
