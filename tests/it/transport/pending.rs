//! Connections that wait for their next request, and the places they give up for others.

use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::{ALL_WAITING, Server, WAITING, handshake, wire::Wire};

const TICKET: &str = "POST /tickets HTTP/1.1\r\nHost: x\r\n\r\n";

async fn idle(server: &Server) -> Wire {
    let mut wire = Wire::to(server.address).await;
    wire.send(TICKET).await;
    let answer = wire.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.says_close()), (401, false));
    wire
}

async fn opens(server: &Server, user: &str) -> Wire {
    let mut wire = Wire::to(server.address).await;
    wire.send(handshake(server, user)).await;
    let answer = wire.answer().await.unwrap_or_else(|| panic!("{user} is not let in"));
    assert_eq!(answer.status, 101, "{user}");
    wire
}

/// Whether a connection is still there: it answers another request.
async fn answers(wire: &mut Wire) -> bool {
    use tokio::io::AsyncWriteExt;
    wire.stream.write_all(TICKET.as_bytes()).await.is_ok() && matches!(wire.stream.read(&mut [0; 1]).await, Ok(1))
}

#[tokio::test]
async fn connections_that_wait_for_another_request_give_way_oldest_first() {
    // From one address, and from a proxy, which may bring any number.
    for (proxies, places) in [("", WAITING), ("127.0.0.0/8", ALL_WAITING)] {
        let settings = [("http.trusted_proxies", proxies), ("session.max_handshakes_per_second", "10000")];
        let server = Server::start_with(&settings).await;
        let mut waiting = Vec::new();
        for _ in 0..3 * places {
            waiting.push(idle(&server).await);
        }
        let mut sessions = Vec::new();
        for user in 0..10 {
            sessions.push(opens(&server, &format!("u-{user}")).await);
        }
        let newest = waiting.split_off(waiting.len() - places / 2);
        for mut oldest in waiting.drain(..places) {
            assert!(oldest.answer().await.is_none(), "its place is another's, and it was told by a plain end");
        }
        for mut wire in newest {
            assert!(answers(&mut wire).await, "it was not its turn");
        }
        assert!(server.metric(r#"ordercast_connections_cut_total{reason="gave_way"}"#) >= (2 * places) as f64);
        assert_eq!(server.metric(r#"ordercast_connections_cut_total{reason="no_place"}"#), 0.0);
    }
}

#[tokio::test]
async fn a_connection_in_the_middle_of_a_request_gives_way_to_nobody() {
    let settings = [("http.trusted_proxies", "127.0.0.0/8"), ("session.max_handshakes_per_second", "10000")];
    let server = Server::start_with(&settings).await;
    let operations = server.operations();
    let health = async || {
        let mut wire = Wire::to(operations.address).await;
        wire.send("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(wire.answer().await.unwrap().status, 200);
        wire
    };
    // They have waited longest, and all places are taken.
    let (mut in_head, mut in_body) = (idle(&server).await, health().await);
    let mut waiting = Vec::new();
    for _ in 1..ALL_WAITING {
        waiting.extend([idle(&server).await, health().await]);
    }
    // One is in a head now, the other in a body that is awaited.
    in_head.send("POST /tickets HTTP/1.1\r\nHost").await;
    let content = "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n";
    in_body.send(format!("POST /announcements HTTP/1.1\r\nHost: localhost\r\n{content}{{")).await;
    // Their first bytes are read before those who come now are let in: both are served by the same thread.
    tokio::time::sleep(Duration::from_millis(200)).await;
    for _ in 0..3 {
        waiting.extend([idle(&server).await, health().await]);
    }
    assert!(server.metric(r#"ordercast_connections_cut_total{reason="gave_way"}"#) >= 6.0, "others had to");
    in_head.send(": x\r\n\r\n").await;
    assert_eq!(in_head.answer().await.expect("it was not cut").status, 401);
    in_body.send("}").await;
    assert_eq!(in_body.answer().await.expect("it was not cut").status, 400);
}

#[tokio::test]
async fn a_connection_waits_for_its_next_request_as_long_as_the_setting_says() {
    let server = Server::start_with(&[("http.keep_alive", "1s")]).await;
    for address in [server.address, server.operations().address] {
        let mut wire = Wire::to(address).await;
        for _ in 0..3 {
            wire.send("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
            assert_eq!(wire.answer().await.expect("it has not waited that long").status, 404);
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        assert!(wire.answer().await.is_none());
    }
    let patient = Server::start().await;
    let mut wire = idle(&patient).await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(answers(&mut wire).await, "75 s unless set");
}
