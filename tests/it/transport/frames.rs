//! Clients that break RFC 6455, or keep to it and take too much.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Server, close_code, raw};

const MASK: [u8; 4] = [1, 2, 3, 4];

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    let mut frame = vec![first, 0x80 | payload.len() as u8];
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes(), reason].concat())
}

#[tokio::test]
async fn what_breaks_rfc_6455_is_answered_with_its_close_code() {
    let server = Server::start().await;
    let endless = [vec![0x81, 0xff], (1u64 << 40).to_be_bytes().to_vec(), vec![0; 4]].concat();
    let nested = format!(r#"{{"type":"ping","x":{}"#, "[".repeat(90));
    let cases = [
        ("unmasked", vec![0x81, 0x01, b'a'], 1002),
        ("reserved bit", frame(0xc1, b""), 1002),
        ("unknown opcode", frame(0x83, b""), 1002),
        ("fragmented ping", frame(0x09, b""), 1002),
        ("continuation of nothing", frame(0x80, b""), 1002),
        ("close with half a code", frame(0x88, b"x"), 1002),
        ("bad close code", close(1005, b""), 1002),
        ("close reason that is no text", close(1000, b"\xff"), 1007),
        ("binary", frame(0x82, b""), 1003),
        ("bad text", frame(0x81, &[0xff, 0xfe]), 1007),
        ("bad text over fragments", [frame(0x01, b"\xe2\x82"), frame(0x00, b"\x28")].concat(), 1007),
        ("a length in two bytes for one", [&[0x81, 0xfe, 0x00, 0x17][..], &MASK, &[0; 0x17]].concat(), 1002),
        ("endless frame", endless, 1009),
        ("endless empty fragments", [frame(0x01, b""), frame(0x00, b"").repeat(1100)].concat(), 1009),
        ("pings without end", frame(0x89, b"x").repeat(80), 4013),
        ("pongs without end", frame(0x8a, b"").repeat(80), 4013),
        ("messages without end", frame(0x81, br#"{"type":"ping"}"#).repeat(80), 4013),
        ("deep messages", frame(0x81, nested.as_bytes()).repeat(12), 4513),
        ("normal close", close(1000, b"bye"), 1000),
    ];
    join_all(cases.map(async |(name, bytes, code)| {
        let mut stream = raw(&server, name).await;
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(close_code(&mut stream).await, Some(code), "{name}");
    }))
    .await;
    let begun = Instant::now();
    while server.hub.step(|hub| hub.sessions()) > 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "every one of them left the registry");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Breaks a rule, and says how long the connection lasts from then on. Who goes on talking does so until it is ended.
async fn lasts(server: &Server, user: &str, goes_on: bool) -> Duration {
    let (mut reading, mut writing) = raw(server, user).await.into_split();
    writing.write_all(&frame(0x83, b"")).await.unwrap();
    let begun = Instant::now();
    let talk = async {
        while goes_on && writing.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut bytes = Vec::new();
    let read = async {
        reading.read_to_end(&mut bytes).await.ok();
        begun.elapsed()
    };
    let (lasted, ()) = tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(read, talk) }).await.unwrap();
    assert!(bytes.windows(4).any(|close| close[0] == 0x88 && close[2..] == 1002u16.to_be_bytes()), "told why");
    lasted
}

#[tokio::test]
async fn who_broke_a_rule_reads_why_and_is_ended_as_soon_as_it_is_silent_and_soon_in_any_case() {
    let server = Server::start().await;
    let (silent, talker) = tokio::join!(lasts(&server, "u-1", false), lasts(&server, "u-2", true));
    assert!(silent * 2 < talker, "{silent:?} {talker:?}");
}
