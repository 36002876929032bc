//! A second transport, over a stream in memory: a line is a message, `?` a probe, and `!` its answer. All that a transport takes
//! is in [`carry`]; what a session decides is the same as over a WebSocket.

use std::{future::poll_fn, task::Poll, time::Duration};

use ordercast::{
    auth::Verifier,
    domain::Timestamp,
    protocol::CloseCause,
    session::{Beginning, Now, Output},
    transport::{Arrival, ViewerConnection},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex, split},
    time::{sleep_until, timeout},
};

use super::Server;

/// Carries a viewer's connection until one of the two ends.
async fn carry(mut viewer: ViewerConnection, stream: DuplexStream) {
    let (reader, mut writer) = split(stream);
    let mut lines = BufReader::new(reader).lines();
    viewer.open();
    let cause = loop {
        let deadline = viewer.deadline(Now::read());
        let output = poll_fn(|cx| {
            // Polled anew for each message, so it does not matter whether there is more.
            let _ = viewer.poll(Now::read(), cx);
            viewer.next_output().map_or(Poll::Pending, Poll::Ready)
        });
        let line = tokio::select! {
            line = lines.next_line() => {
                match line {
                    Ok(Some(line)) if line == "!" => viewer.on_noise(line.len(), Now::read()),
                    Ok(Some(line)) => viewer.on_text(&line, Now::read()),
                    Ok(None) | Err(_) => viewer.on_broken(CloseCause::ConnectionLost),
                }
                if let Some(cause) = viewer.cause().filter(|cause| *cause == CloseCause::ConnectionLost) {
                    break cause;
                }
                continue;
            }
            output = output => match output {
                Output::Message(message) => [message.bytes(), &b"\n"[..]].concat(),
                Output::Closing(closing) => [closing.message().bytes(), &b"\n"[..]].concat(),
                Output::Probe => b"?\n".to_vec(),
                Output::End(cause) => break cause,
            },
            () = sleep_until(deadline.into()) => continue,
        };
        if writer.write_all(&line).await.is_err() {
            break CloseCause::ConnectionLost;
        }
    };
    viewer.on_end(cause);
}

/// The client's end.
struct Client(BufReader<DuplexStream>);

impl Client {
    fn connect(server: &Server, token: &str) -> Self {
        let (ours, theirs) = duplex(1 << 16);
        let verifier = Verifier::new(&server.settings.auth).unwrap();
        let principal = verifier.verify(token, Timestamp::now()).unwrap();
        let arrival = Arrival { transport: "lines", wakes: None, address: None, beginning: Beginning::Snapshot };
        let viewer = ViewerConnection::join(&server.viewers, &principal, arrival).unwrap();
        tokio::spawn(carry(viewer, theirs));
        Self(BufReader::new(ours))
    }

    /// The next line; empty at the end of the stream.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(Duration::from_secs(30), self.0.read_line(&mut line)).await.expect("a line in time").unwrap();
        line
    }

    /// The next message.
    async fn next(&mut self) -> Value {
        serde_json::from_str(&self.line().await).unwrap()
    }

    async fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(format!("{text}\n").as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn a_second_transport_shows_the_same_and_is_one_file() {
    let server = Server::start_with(&[("session.heartbeat_interval", "5s")]).await;
    let mut client = Client::connect(&server, &server.token("u-1"));
    let mut browser = server.connect("u-1").await;
    assert_eq!(client.next().await["type"], "welcome");
    assert_eq!(super::next_json(&mut browser).await["type"], "welcome");
    let (snapshot, same) = (client.next().await, super::next_json(&mut browser).await);
    assert_eq!((&snapshot["type"], &snapshot["orders"]), (&same["type"], &same["orders"]));
    server.publish(1, "u-1", "paid", 10);
    let update = client.next().await;
    assert_eq!(update, super::next_json(&mut browser).await);
    assert_eq!((&update["order_id"], &update["status"]), (&"A-1".into(), &"paid".into()));
    client.say(r#"{"type":"ping","id":7}"#).await;
    assert_eq!(client.next().await, json!({"type": "pong", "id": 7}));
    client.say("no JSON").await;
    assert_eq!(client.next().await["code"], "invalid_json");
    assert_eq!(client.next().await["type"], "heartbeat");
    assert_eq!(client.line().await, "?\n");
    client.say("!").await;
    assert!(server.hub.look(|hub| hub.sessions()) == 2);
}

#[tokio::test]
async fn every_end_of_a_session_reaches_a_second_transport_and_every_end_of_that_the_hub() {
    let server = Server::start().await;
    let token = server.token_with(Some("u-1"), None, 2);
    let mut expiring = Client::connect(&server, &token);
    let mut kinds = Vec::new();
    loop {
        let line = expiring.line().await;
        let Ok(message) = serde_json::from_str::<Value>(&line) else { break };
        kinds.push(format!("{} {}", message["type"].as_str().unwrap(), message["reason"].as_str().unwrap_or_default()));
    }
    assert_eq!(kinds.last().unwrap(), "closing token_expired", "{kinds:?}");
    let mut leaving = Client::connect(&server, &server.token("u-1"));
    assert_eq!(leaving.next().await["type"], "welcome");
    drop(leaving);
    timeout(Duration::from_secs(30), async {
        while server.hub.look(|hub| hub.sessions()) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("both have left the hub");
}
