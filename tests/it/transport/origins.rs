//! Pages and their browsers: preflights, what an allowed origin may read, and origins that nobody can read.

use super::{
    Server, handshake,
    wire::{Answer, Wire},
};

const ALLOWED: &str = "https://shop.example";

async fn server() -> Server {
    Server::start_with(&[("http.allowed_origins", "https://shop.example, null, file://")]).await
}

async fn asked(server: &Server, request: impl AsRef<[u8]>) -> Answer {
    let mut wire = Wire::to(server.address).await;
    wire.send(request).await;
    wire.answer().await.expect("an answer")
}

fn preflight(path: &str, origin: &str, headers: &str) -> String {
    format!(
        "OPTIONS {path} HTTP/1.1\r\nHost: api.example\r\nOrigin: {origin}\r\n\
         Access-Control-Request-Method: POST\r\n{headers}\r\n"
    )
}

fn cors(answer: &Answer) -> Vec<&str> {
    answer.head.lines().filter(|line| line.starts_with("access-control-")).collect()
}

#[tokio::test]
async fn pages_of_allowed_origins_may_send_any_header() {
    let server = server().await;
    for asked_headers in [
        "authorization",
        "traceparent,tracestate",
        "baggage,sentry-trace",
        "x-requested-with",
        "authorization, content-type, x-datadog-trace-id, x-b3-traceid, ngsw-bypass, x-whatever-comes-next",
    ] {
        for path in ["/tickets", "/orders", "/orders/A-1", "/order-status"] {
            for origin in [ALLOWED, "null", "file://", "https://api.example"] {
                let headers = format!("Access-Control-Request-Headers: {asked_headers}\r\n");
                let answer = asked(&server, preflight(path, origin, &headers)).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
                assert_eq!(answer.header("access-control-allow-headers"), Some(asked_headers));
                let methods = answer.header("access-control-allow-methods").unwrap();
                assert!(["get", "head", "post"].iter().all(|method| methods.contains(method)), "{methods}");
            }
        }
    }
    let answer = asked(&server, preflight("/tickets", ALLOWED, "")).await;
    assert_eq!(answer.header("access-control-allow-headers"), Some("*, authorization"));
    let unreadable: &[u8] = b"Access-Control-Request-Headers: x\xff\r\n";
    let request = preflight("/tickets", ALLOWED, "X: x\r\n").into_bytes();
    let at = request.windows(6).position(|bytes| bytes == b"X: x\r\n").unwrap();
    let answer = asked(&server, [&request[..at], unreadable, &request[at..]].concat()).await;
    assert_eq!(answer.header("access-control-allow-headers"), Some("*, authorization"));
}

#[tokio::test]
async fn pages_of_other_origins_get_no_word_of_cors_and_no_error_of_their_own() {
    let server = server().await;
    for origin in ["https://evil.example", "https://shop.example.evil.example", "", "file:///", "https://shop.example "]
    {
        let headers = "Access-Control-Request-Headers: traceparent\r\n";
        let answer = asked(&server, preflight("/tickets", origin, headers)).await;
        let good = origin.trim() == ALLOWED;
        assert_eq!((answer.status, cors(&answer).is_empty()), (200, !good), "{origin:?} {answer:?}");
        let request = format!("GET /nothing HTTP/1.1\r\nHost: api.example\r\nOrigin: {origin}\r\n\r\n");
        let answer = asked(&server, request).await;
        assert_eq!((answer.status, cors(&answer).is_empty()), (404, !good), "{origin:?} {answer:?}");
    }
}

#[tokio::test]
async fn pages_of_allowed_origins_read_every_answer_refusals_included() {
    let server = server().await;
    let token = server.token("u-1");
    for (status, line, headers) in [
        (200, "GET /orders", format!("Authorization: Bearer {token}\r\n")),
        (401, "GET /orders", String::new()),
        (401, "POST /tickets", "Authorization: Bearer x\r\n".to_owned()),
        (400, "GET /orders?after=nowhere", format!("Authorization: Bearer {token}\r\n")),
        (404, "GET /nothing", String::new()),
        (405, "DELETE /orders", String::new()),
        (400, &format!("GET /orders?x={}", "x".repeat(40_000)), String::new()),
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: api.example\r\nOrigin: {ALLOWED}\r\n{headers}\r\n");
        let answer = asked(&server, request).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(ALLOWED), "{answer:?}");
        assert_eq!(answer.header("access-control-expose-headers"), Some("retry-after"));
    }
    let answer = asked(&server, "OPTIONS /orders HTTP/1.1\r\nHost: api.example\r\n\r\n").await;
    assert_eq!(answer.status, 405, "without a page it is a method like any other");
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused_by_every_path_and_told_nothing_of_the_token() {
    let server = server().await;
    let token = server.token("u-1");
    let origins = [
        "https://evil.example",
        "https://evilshop.example",
        "https://shop.example.evil.example",
        "http://shop.example",
    ];
    for origin in origins {
        for line in ["GET /order-status", "GET /orders", "GET /orders/A-1", "POST /tickets"] {
            for token in [token.as_str(), "no.good.token"] {
                let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                               Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
                let more = if line.ends_with("order-status") { upgrade } else { "" };
                let request = format!(
                    "{line} HTTP/1.1\r\nHost: api.example\r\nOrigin: {origin}\r\nAuthorization: Bearer {token}\r\n{more}\r\n"
                );
                let answer = asked(&server, request).await;
                assert_eq!(answer.status, 403, "{line} {origin} {answer:?}");
                assert!(cors(&answer).is_empty() && answer.body.contains("origin_not_allowed"), "{answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn preflights_count_like_any_other_request() {
    let settings = [("session.max_handshakes_per_second", "3"), ("http.allowed_origins", ALLOWED)];
    let server = Server::start_with(&settings).await;
    let mut wire = Wire::to(server.address).await;
    let mut refused = 0;
    for origin in [ALLOWED, "https://evil.example"].iter().cycle().take(60) {
        wire.send(preflight("/tickets", origin, "")).await;
        let answer = wire.answer().await.expect("an answer");
        assert!([200, 429].contains(&answer.status), "{answer:?}");
        assert_eq!(cors(&answer).is_empty(), *origin != ALLOWED, "a page can read why");
        refused += usize::from(answer.status == 429);
    }
    assert!(refused > 20, "{refused} of 60");
}

#[tokio::test]
async fn an_origin_that_cannot_be_read_is_refused_as_a_foreign_one() {
    for allowed in [ALLOWED, "*"] {
        let server = Server::start_with(&[("http.allowed_origins", allowed)]).await;
        for origins in [
            &[&b"Origin: https://shop.example\xff"[..]][..],
            &["Origin: https://bücher.example".as_bytes()],
            &[b"Origin: \xff\xfe"],
            &[b"Origin: \xc3\x28"],
            &[b"Origin: https://shop.example", b"Origin: https://shop.example"],
            &[b"Origin: https://shop.example", b"Origin: https://evil.example"],
            &[b"Origin: https://evil.example", b"Origin:"],
        ] {
            let lines: Vec<u8> = origins.iter().flat_map(|line| [*line, b"\r\n"].concat()).collect();
            let token = server.token("u-1");
            let good = handshake(&server, "u-1");
            let ordinary = |line: &str| format!("{line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
            for request in [good, ordinary("GET /orders"), ordinary("POST /tickets"), ordinary("GET /orders/A-1")] {
                let at = request.find("\r\n").unwrap() + 2;
                let bytes = [&request.as_bytes()[..at], &lines, &request.as_bytes()[at..]].concat();
                let answer = asked(&server, bytes).await;
                assert_eq!(answer.status, 403, "{} {allowed}", String::from_utf8_lossy(&lines));
                assert!(cors(&answer).is_empty() && answer.body.contains("origin_not_allowed"), "{answer:?}");
            }
        }
    }
    let server = server().await;
    let request = handshake(&server, "u-1").replace("Host: x", "Host: x\r\nOrigin:");
    assert_eq!(asked(&server, request).await.status, 403, "an empty one is no origin that is listed");
}

#[tokio::test]
async fn a_header_that_may_carry_a_token_and_cannot_be_read_is_not_taken_for_none() {
    let server = server().await;
    let token = server.token("u-1");
    for line in [
        b"Authorization: Bearer \xff".as_slice(),
        "Authorization: Bearer ü".as_bytes(),
        b"Sec-WebSocket-Protocol: ordercast.v1, bearer.\xff",
    ] {
        for path in [format!("/orders?token={token}"), "/orders".to_owned()] {
            let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\n");
            let answer = asked(&server, [head.as_bytes(), line, b"\r\n\r\n"].concat()).await;
            assert_eq!(answer.status, 400, "{path} {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_host_that_cannot_be_read_is_no_loopback_host() {
    let server = server().await;
    let operations = server.operations();
    for (host, status) in [(&b"localhost"[..], 200), (b"localhost\xff", 404), (b"rebound.example\xff", 404)] {
        let mut wire = Wire::to(operations.address).await;
        wire.send([b"GET /sessions HTTP/1.1\r\nHost: ", host, b"\r\n\r\n"].concat()).await;
        assert_eq!(wire.answer().await.expect("an answer").status, status, "{host:?}");
    }
}
