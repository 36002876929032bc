//! What carries a WebSocket makes no difference: all tests of the transport hold for both.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    time::timeout,
};

use super::{CARRIER, Server};

#[tokio::test]
async fn all_of_this_holds_for_websockets_that_are_bodies_of_answers() {
    if std::env::var(CARRIER).is_ok() {
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("transport::").env(CARRIER, "actix").stdin(Stdio::null()).kill_on_drop(true);
    let run = timeout(Duration::from_secs(900), command.output()).await.expect("in time").unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}\n{}", String::from_utf8_lossy(&run.stderr));
    assert!(said.contains("carriers::what_comes_together_with_the_handshake"), "nothing was tried: {said}");
}

const PONG: &str = r#""type":"pong","id":"#;

/// A masked text frame, whose mask is 0.
fn frame(text: &str) -> Vec<u8> {
    let length = text.len();
    assert!((126..0x1_0000).contains(&length));
    let head = [0x81, 0xfe, (length >> 8) as u8, length as u8, 0, 0, 0, 0];
    [&head, text.as_bytes()].concat()
}

#[tokio::test]
async fn what_comes_together_with_the_handshake_is_read_first_and_in_order() {
    let server = Server::start().await;
    // The last is more than the buffers of the server take at once.
    for (messages, bytes_each) in [(1, 400), (12, 400), (4, 40_000)] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let mut bytes = format!(
            "GET /order-status?token={} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            server.token("u-1"),
            server.address
        )
        .into_bytes();
        for id in 0..messages {
            let padding = " ".repeat(bytes_each);
            bytes.extend(frame(&format!(r#"{{"type":"ping","id":{id}}}{padding}"#)));
        }
        let (mut reading, mut writing) = stream.split();
        let write = async {
            writing.write_all(&bytes).await.unwrap();
        };
        let read = async {
            let mut answer = String::new();
            while answer.matches(PONG).count() < messages {
                let mut bytes = [0; 4096];
                let read = timeout(Duration::from_secs(60), reading.read(&mut bytes)).await.expect("more").unwrap();
                assert_ne!(read, 0, "{answer}");
                answer.push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
            answer
        };
        let ((), answer) = tokio::join!(write, read);
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        let pongs: Vec<usize> =
            answer.split(PONG).skip(1).map(|rest| rest[..rest.find('}').unwrap()].parse().unwrap()).collect();
        assert_eq!(pongs, (0..messages).collect::<Vec<_>>(), "{answer}");
    }
}
