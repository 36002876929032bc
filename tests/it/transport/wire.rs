//! HTTP/1.1 as bytes, for what no client library would send.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// How long anything may take; far more than it should.
const PATIENCE: Duration = Duration::from_secs(40);

/// A connection without anything in between that keeps to the rules.
pub struct Wire {
    pub stream: TcpStream,
    read: Vec<u8>,
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn says_close(&self) -> bool {
        self.head.lines().any(|line| line.starts_with("connection:") && line.contains("close"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
    }
}

impl Wire {
    pub async fn to(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), read: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The next answer; `None`: the connection has ended, in good order.
    pub async fn answer(&mut self) -> Option<Answer> {
        let head_bytes = loop {
            match self.read.windows(4).position(|end| end == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None if !self.more().await => {
                    assert!(self.read.is_empty(), "half an answer: {}", String::from_utf8_lossy(&self.read));
                    return None;
                }
                None => {}
            }
        };
        let head = String::from_utf8(self.read[..head_bytes].to_vec()).unwrap().to_lowercase();
        let mut answer = Answer { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head, body: String::new() };
        let body_bytes = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.read.len() < head_bytes + body_bytes {
            assert!(self.more().await, "half an answer");
        }
        let rest = self.read.split_off(head_bytes + body_bytes);
        answer.body = String::from_utf8_lossy(&self.read[head_bytes..]).into_owned();
        self.read = rest;
        Some(answer)
    }

    /// What has come behind the last answer.
    pub fn unread(&self) -> &[u8] {
        &self.read
    }

    async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
        read.expect("an answer in time").unwrap() > 0
    }
}
