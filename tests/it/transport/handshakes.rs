//! Handshakes that are too many, too slow or too large, and the places they may take.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use ordercast::hub::SessionSelector;
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_tungstenite::tungstenite;

use super::{Server, WAITING, close_code, handshake, raw};

async fn get(server: &Server, forwarded_for: &str) -> Response {
    let url = format!("http://{}/orders", server.address);
    reqwest::Client::new().get(url).header("X-Forwarded-For", forwarded_for).send().await.unwrap()
}

/// More at once than the second may have that a busy machine takes for them.
const MANY: usize = 60;

#[tokio::test]
async fn each_address_behind_a_trusted_proxy_has_its_own_rate() {
    let settings = [("session.max_handshakes_per_second", "3"), ("http.trusted_proxies", "127.0.0.0/8")];
    let server = Server::start_with(&settings).await;
    let answers = join_all((0..MANY).map(|n| get(&server, ["1.1.1.1, 192.0.2.1", "2.2.2.2, 192.0.2.1"][n % 2]))).await;
    let (refused, admitted): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status() == StatusCode::TOO_MANY_REQUESTS);
    assert!(admitted.len() >= 3 && admitted.iter().all(|answer| answer.status() == StatusCode::UNAUTHORIZED));
    assert_eq!(server.metric(r#"ordercast_handshakes_refused_total{code="rate_limited"}"#), refused.len() as f64);
    let refused = refused.into_iter().next().expect("one of them is one too many");
    for (name, value) in [("retry-after", "1"), ("cache-control", "no-store"), ("x-content-type-options", "nosniff")] {
        assert_eq!(refused.headers()[name], value);
    }
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "rate_limited");
    assert_eq!(get(&server, "192.0.2.2").await.status(), StatusCode::UNAUTHORIZED);
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

#[tokio::test]
async fn tickets_and_handshakes_of_a_network_have_one_rate() {
    let settings = [("session.max_handshakes_per_second", "3"), ("http.trusted_proxies", "127.0.0.0/8")];
    let server = Server::start_with(&settings).await;
    let post = async |address: String| {
        let url = format!("http://{}/tickets", server.address);
        let answer = reqwest::Client::new().post(url).header("X-Forwarded-For", address).send().await.unwrap();
        answer.status()
    };
    let (tickets, handshakes) = tokio::join!(
        join_all((0..MANY).map(|host| post(format!("2001:db8::{host:x}")))),
        join_all((0..MANY).map(async |host| get(&server, &format!("2001:db8::f:{host:x}")).await.status())),
    );
    for answers in [tickets, handshakes] {
        assert!(answers.contains(&StatusCode::TOO_MANY_REQUESTS), "{answers:?}");
    }
    assert_eq!(post("2001:db8:0:1::1".to_owned()).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_session_is_listed_with_the_address_its_proxy_names_and_a_stranger_names_none() {
    for (trusted, listed) in [("127.0.0.0/8", "192.0.2.7"), ("10.0.0.0/8", "127.0.0.1")] {
        let server = Server::start_with(&[("http.trusted_proxies", trusted)]).await;
        let request = handshake(&server, "u-1").replace("Host: x", "Host: x\r\nX-Forwarded-For: 1.1.1.1, 192.0.2.7");
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        let sessions = server.hub.step(|hub| hub.list(SessionSelector::All, 9));
        let addresses: Vec<_> = sessions.into_iter().map(|session| session.identity.address).collect();
        assert_eq!(addresses, [Some(listed.parse().unwrap())]);
    }
}

/// One handshake from an address of this machine; the answer's first line, if one came.
async fn shake_hands(server: &Server, from: &str, user: &str) -> Option<[u8; 12]> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let mut stream = socket.connect(server.address).await.ok()?;
    stream.write_all(handshake(server, user).as_bytes()).await.ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.ok()?;
    Some(head)
}

#[tokio::test]
async fn who_comes_before_the_instance_has_caught_up_is_told_to_come_again_and_let_in_afterwards() {
    let server = Server::start().await;
    let http = reqwest::Client::new();
    let token = server.token("u-1");
    let url = |scheme: &str, path: &str| format!("{scheme}://{}{path}", server.address);
    let socket = url("ws", &format!("/order-status?token={token}"));
    for (round, ready) in [false, true, false].into_iter().enumerate() {
        server.ready.send_replace(ready);
        for (method, path) in [(Method::GET, "/orders"), (Method::GET, "/orders/A-1"), (Method::POST, "/tickets")] {
            let answer = http.request(method, url("http", path)).bearer_auth(&token).send().await.unwrap();
            let (status, again) = (answer.status().as_u16(), answer.headers().get("retry-after").cloned());
            let problem: serde_json::Value = answer.json().await.unwrap();
            if ready {
                assert_ne!(problem["code"], "not_ready", "{path} {round}");
            } else {
                assert_eq!((status, &problem["code"]), (503, &"not_ready".into()), "{path} {round}");
                assert_eq!(again.unwrap(), "2");
            }
        }
        match tokio_tungstenite::connect_async(&socket).await {
            Ok(_) => assert!(ready, "let in before there is anything to show"),
            Err(tungstenite::Error::Http(answer)) => assert_eq!((ready, answer.status().as_u16()), (false, 503)),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_storm_of_reconnects_from_one_address_starves_nobody_else() {
    let server = Server::start_with(&[("session.max_handshakes_per_second", "20")]).await;
    let refused = || {
        let text = server.metrics.encode();
        let refused = text
            .lines()
            .find_map(|line| line.strip_prefix(r#"ordercast_handshakes_refused_total{code="rate_limited"} "#));
        refused.map_or(0.0, |many| many.parse().unwrap())
    };
    let storm = async |number: usize| {
        for round in 0.. {
            shake_hands(&server, "127.0.0.2", &format!("storm-{number}-{round}")).await;
        }
    };
    let newcomers = async {
        let begun = Instant::now();
        while refused() < 100.0 {
            assert!(begun.elapsed() < Duration::from_secs(20), "the storm is refused");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for number in 0..20 {
            let head = shake_hands(&server, "127.0.0.1", &format!("u-{number}")).await;
            assert_eq!(head.as_ref().map(<[u8; 12]>::as_slice), Some(&b"HTTP/1.1 101"[..]), "{number}");
        }
        assert!(refused() > 100.0, "it goes on");
    };
    tokio::select! {
        _ = join_all((0..40).map(storm)) => unreachable!("it goes on"),
        () = newcomers => {}
    }
}

#[tokio::test]
async fn every_answer_is_kept_by_nobody_and_tells_no_page_where_it_came_from() {
    let settings = [("session.max_handshakes_per_second", "100"), ("http.trusted_proxies", "127.0.0.0/8")];
    let server = Server::start_with(&settings).await;
    let good = handshake(&server, "u-1");
    let plain = |line: &str, headers: &str| format!("{line} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    let token = format!("Authorization: Bearer {}\r\n", server.token("u-1"));
    let long = format!("GET /order-status?x={}", "x".repeat(40_000));
    let preflight = "Origin: http://x\r\nAccess-Control-Request-Method: GET\r\n";
    let cases = [
        (101, good.clone()),
        (101, good.replace("token=", "token=bad").replace("Host: x", "Host: x\r\nOrigin: http://x")),
        (200, plain("GET /orders", &token)),
        (200, plain("OPTIONS /orders", preflight)),
        (400, plain(&long, "")),
        (400, good.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Key: x")),
        (400, plain("GET /orders?after=nowhere", &token)),
        (401, plain("GET /orders", "")),
        (403, good.replace("Host: x", "Host: x\r\nOrigin: http://evil.example")),
        (404, plain("GET /nothing", "")),
        (404, plain("GET /orders/%ff", &token)),
        (404, plain("GET /orders/A-1", &token)),
        (405, plain("DELETE /orders", "")),
        (426, good.replace("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 12")),
        (426, plain("GET /order-status", &token)),
        (503, plain("POST /tickets", &token)),
    ];
    for (status, request) in cases {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        while !read.windows(4).any(|end| end == b"\r\n\r\n") {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0, "an answer to {request}");
        }
        let head = String::from_utf8_lossy(&read).to_lowercase();
        let asked = &request[..request.len().min(200)];
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{asked}\n{head}");
        for header in ["cache-control: no-store", "referrer-policy: no-referrer", "x-content-type-options: nosniff"] {
            assert_eq!(head.matches(&format!("\r\n{header}\r\n")).count(), 1, "{header} of {asked}\n{head}");
        }
    }
}
