//! The closing handshake: who says which code, and when the connection ends.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{Server, close_code, handshake, next_json, raw};

const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];

#[tokio::test]
async fn a_client_s_own_code_comes_back_and_is_counted() {
    let server = Server::start().await;
    for (code, label) in [(1000, "normal"), (1009, "message_too_big"), (3000, "application")] {
        let mut client = server.connect("u-1").await;
        assert_eq!(next_json(&mut client).await["type"], "welcome");
        assert_eq!(next_json(&mut client).await["type"], "snapshot");
        let close = CloseFrame { code: CloseCode::from(code), reason: "why".into() };
        client.send(Message::Close(Some(close))).await.unwrap();
        let Some(Ok(Message::Close(Some(answer)))) = client.next().await else { panic!("no answer to {code}") };
        assert_eq!(u16::from(answer.code), code);
        while client.next().await.is_some() {}
        let counted = format!("ordercast_sessions_closed_by_client_total{{code=\"{label}\"}}");
        let begun = Instant::now();
        while server.metric(&counted) < 1.0 {
            assert!(begun.elapsed() < Duration::from_secs(10), "{code} is counted");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert_eq!(server.metric(r#"ordercast_sessions_closed_total{cause="client_closed"}"#), 3.0);
}

#[tokio::test]
async fn a_code_that_may_not_be_sent_is_answered_by_1002() {
    let server = Server::start().await;
    for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000u16] {
        let mut stream = raw(&server, &format!("u-{code}")).await;
        let [high, low] = code.to_be_bytes();
        stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, high, low]).await.unwrap();
        assert_eq!(close_code(&mut stream).await, Some(1002), "{code}");
    }
}

/// A page whose token is not good: how long the connection lasts after it has read why, if it answers or not.
async fn lasts(server: &Server, answer: &[u8]) -> Duration {
    let page = format!("Host: {0}\r\nOrigin: http://{0}", server.address);
    let request = handshake(server, "u-1").replace("Host: x", &page).replace("token=", "token=not.");
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"invalid_token") {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0, "{}", String::from_utf8_lossy(&read));
    }
    assert!(read.starts_with(b"HTTP/1.1 101"));
    let begun = Instant::now();
    stream.write_all(answer).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut Vec::new())).await;
    ended.expect("it ends in any case").unwrap();
    begun.elapsed()
}

#[tokio::test]
async fn after_a_refusal_the_connection_ends_with_the_client_s_close() {
    let server = Server::start().await;
    let subscribe = [&[0x81, 0x80, 0, 0, 0, 0], &CLOSE[..]].concat();
    let (silent, answered, talked) =
        tokio::join!(lasts(&server, b""), lasts(&server, &CLOSE), lasts(&server, &subscribe));
    assert!(answered * 2 < silent && talked * 2 < silent, "{silent:?} {answered:?} {talked:?}");
}
