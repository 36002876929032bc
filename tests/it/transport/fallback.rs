//! The client for browsers behind networks that let not everything through: in Chromium, with a proxy for each that misbehaves.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use super::Server;
use crate::parts::{browser, repository};

/// What a proxy does.
#[derive(Clone, Copy, PartialEq)]
enum Misbehaves {
    /// Everything gets through.
    No,
    /// It answers upgrades itself, as a page that there is.
    AnswersUpgrades,
    /// Upgrades are never answered.
    SwallowsUpgrades,
    /// It answers upgrades, and passes on no answer before it has all of it.
    HoldsAnswersBack,
    /// It ends each connection after some time.
    CutsConnections,
}

/// A proxy in front of a server.
async fn proxy(server: SocketAddr, how: Misbehaves) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass(client, server, how));
        }
    });
    origin
}

async fn pass(mut client: TcpStream, server: SocketAddr, how: Misbehaves) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if client.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let is_upgrade = String::from_utf8_lossy(&head).to_ascii_lowercase().contains("upgrade: websocket");
    match how {
        Misbehaves::SwallowsUpgrades if is_upgrade => return sleep(Duration::from_secs(60)).await,
        Misbehaves::AnswersUpgrades | Misbehaves::HoldsAnswersBack if is_upgrade => {
            _ = client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
            return;
        }
        _ => {}
    }
    let Ok(mut upstream) = TcpStream::connect(server).await else { return };
    if how == Misbehaves::HoldsAnswersBack {
        // Each connection has one request, so that its answer has an end.
        let head = String::from_utf8_lossy(&head).replacen("\r\n", "\r\nConnection: close\r\n", 1);
        upstream.write_all(head.as_bytes()).await.unwrap();
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = upstream.split();
        let mut answer = Vec::new();
        tokio::select! {
            _ = from_server.read_to_end(&mut answer) => drop(to_client.write_all(&answer).await),
            _ = copy(&mut from_client, &mut to_server) => {}
        }
        return;
    }
    upstream.write_all(&head).await.unwrap();
    let passed = copy_bidirectional(&mut client, &mut upstream);
    let longest = if how == Misbehaves::CutsConnections { 3 } else { 60 };
    let _ = timeout(Duration::from_secs(longest), passed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_finds_what_gets_through_its_network_and_shows_the_truth_by_it() {
    let settings = [("session.max_per_user", "100"), ("session.heartbeat_interval", "5s")];
    let server = Server::start_with(&settings).await;
    let ways = [
        (Misbehaves::No, "websocket"),
        (Misbehaves::AnswersUpgrades, "sse"),
        (Misbehaves::SwallowsUpgrades, "sse"),
        (Misbehaves::HoldsAnswersBack, "poll"),
        (Misbehaves::CutsConnections, "websocket"),
    ];
    let file = repository("clients/browser/ordercast.js").display().to_string();
    let mut arguments = vec![file, server.token("u-1")];
    for (how, transport) in ways {
        arguments.extend([proxy(server.address, how).await, transport.to_owned()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let publish = async {
        for offset in (1..).step_by(50) {
            server.publish(offset, "u-1", "paid", 10);
            sleep(Duration::from_millis(200)).await;
        }
    };
    let printed = tokio::select! {
        printed = browser::run("./fallback.mjs", &arguments) => printed,
        () = publish => unreachable!("it goes on"),
    };
    let reached: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(reached.len(), ways.len(), "{printed}");
}
