//! Peers that are there no more, or as good as that.

use std::time::{Duration, Instant};

use socket2::{SockFilter, SockRef};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Server, close_code, raw};

/// Waits until nobody is in the registry; much longer than it may take.
async fn nobody_is_left(server: &Server, at_most: Duration) {
    let begun = Instant::now();
    while server.hub.step(|hub| hub.sessions()) > 0 {
        assert!(begun.elapsed() < at_most * 5, "still there after {:?}", begun.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn closed(server: &Server, cause: &str) -> f64 {
    server.metric(&format!("ordercast_sessions_closed_total{{cause=\"{cause}\"}}"))
}

/// Waits until so many sessions have ended for a reason, and sees that none has for the other. A session is counted a moment
/// after it has left the registry.
async fn ended(server: &Server, many: f64, cause: &str, not: &str) {
    let begun = Instant::now();
    while closed(server, cause) + closed(server, not) < many {
        assert!(begun.elapsed() < Duration::from_secs(10), "none is counted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((closed(server, cause), closed(server, not)), (many, 0.0));
}

/// From now on the kernel drops whatever comes for this socket before it is acknowledged: a cable that was cut.
fn cut(stream: &TcpStream) {
    let drop_all = SockFilter::new(0x06, 0, 0, 0);
    SockRef::from(stream).attach_filter(&[drop_all]).unwrap();
}

async fn hears(stream: &mut TcpStream, kind: &str) {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(&format!(r#""type":"{kind}""#)) {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0);
    }
}

async fn started(server: &Server, user: &str) -> TcpStream {
    let mut stream = raw(server, user).await;
    hears(&mut stream, "snapshot").await;
    stream
}

#[tokio::test]
async fn a_quiet_session_behind_a_cut_network_is_gone_within_two_heartbeats_and_the_send_timeout() {
    let settings = [("session.heartbeat_interval", "1s"), ("session.send_timeout", "10s")];
    let server = Server::start_with(&settings).await;
    let stream = started(&server, "u-1").await;
    cut(&stream);
    nobody_is_left(&server, Duration::from_secs(2 + 10)).await;
    ended(&server, 1.0, "heartbeat_timeout", "connection_lost").await;
}

#[tokio::test]
async fn a_busy_session_behind_a_cut_network_is_gone_within_the_send_timeout() {
    let settings = [("session.heartbeat_interval", "1h"), ("session.send_timeout", "1s")];
    let server = Server::start_with(&settings).await;
    let stream = started(&server, "u-1").await;
    cut(&stream);
    server.publish(1, "u-1", "paid", 10);
    nobody_is_left(&server, Duration::from_secs(1)).await;
    ended(&server, 1.0, "slow_consumer", "connection_lost").await;
}

#[tokio::test]
async fn a_peer_whose_kernel_is_there_and_that_answers_no_ping_is_told_and_gone_after_two_heartbeats() {
    let server = Server::start_with(&[("session.heartbeat_interval", "1s")]).await;
    let mut deaf = started(&server, "u-1").await;
    let mut reader = started(&server, "u-2").await;
    let told = close_code(&mut reader).await;
    nobody_is_left(&server, Duration::from_secs(2 + 2)).await;
    assert_eq!((told, close_code(&mut deaf).await), (Some(4012), Some(4012)));
    ended(&server, 2.0, "heartbeat_timeout", "connection_lost").await;
}

#[tokio::test]
async fn who_takes_nothing_is_a_slow_consumer_whatever_it_sends_meanwhile() {
    let server = Server::start().await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stalled = socket.connect(server.address).await.unwrap();
    stalled.write_all(super::handshake(&server, "u-1").as_bytes()).await.unwrap();
    let (begun, mut offset) = (Instant::now(), 0);
    // Its Pongs say that it lives.
    while stalled.write_all(&[0x8a, 0x80, 1, 2, 3, 4]).await.is_ok() {
        offset += 1;
        server.publish(offset, "u-1", "paid", 10_000);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(begun.elapsed() < Duration::from_secs(60), "the stalled reader still sits there");
    }
    ended(&server, 1.0, "slow_consumer", "connection_lost").await;
}

#[tokio::test]
async fn who_hangs_up_is_no_slow_consumer_however_long_it_had_nothing_to_say() {
    let send_timeout = Duration::from_millis(500);
    let server = Server::start_with(&[("session.send_timeout", "500ms")]).await;
    let mut stream = started(&server, "u-1").await;
    server.publish(1, "u-1", "paid", 10);
    hears(&mut stream, "order_status").await;
    // It has taken everything, and now there is nothing to take.
    tokio::time::sleep(send_timeout * 2).await;
    assert_eq!(server.hub.step(|hub| hub.sessions()), 1);
    stream.shutdown().await.unwrap();
    nobody_is_left(&server, send_timeout).await;
    ended(&server, 1.0, "connection_lost", "slow_consumer").await;
}
