//! How large frames of snapshots are, and how many bytes a client gets for how few.

use std::time::Instant;

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::{
    connect_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use super::{Client, Server, next_json};

/// A client that ends the session above so many bytes, as clients of servlet containers and Go do.
async fn open(server: &Server, user: &str, most: usize) -> Client {
    let url = format!("ws://{}/order-status?token={}", server.address, server.token(user));
    let config = WebSocketConfig::default().max_frame_size(Some(most)).max_message_size(Some(most));
    let mut client = connect_async_with_config(url, Some(config), false).await.unwrap().0;
    assert_eq!(next_json(&mut client).await["type"], "welcome");
    client
}

async fn snapshot(client: &mut Client) -> Vec<Value> {
    let mut orders = Vec::new();
    loop {
        let page = next_json(client).await;
        assert_eq!(page["type"], "snapshot");
        orders.extend(page["orders"].as_array().unwrap().clone());
        if page["complete"] == true {
            return orders;
        }
    }
}

#[tokio::test]
async fn forty_large_orders_come_in_frames_that_common_clients_take() {
    let server = Server::start().await;
    (0..40).for_each(|offset| server.publish(offset, "u-1", "paid", 16_000));
    let mut client = open(&server, "u-1", 32_768).await;
    assert_eq!(snapshot(&mut client).await.len(), 40);
}

#[tokio::test]
async fn frames_are_as_small_as_the_setting_says() {
    let server = Server::start_with(&[("session.snapshot_bytes", "8192")]).await;
    (0..40).for_each(|offset| server.publish(offset, "u-1", "paid", 1_000));
    let mut client = open(&server, "u-1", 8_192).await;
    assert_eq!(snapshot(&mut client).await.len(), 40);
}

#[tokio::test]
async fn an_update_behind_a_large_snapshot_is_not_left_waiting_for_a_heartbeat() {
    let server = Server::start_with(&[("session.heartbeat_interval", "1h")]).await;
    (0..2).for_each(|offset| server.publish(offset, "u-1", "paid", 16_000));
    let mut client = open(&server, "u-1", 65_536).await;
    assert_eq!(snapshot(&mut client).await.len(), 2);
    server.publish(50, "u-1", "packed", 10);
    let update = next_json(&mut client).await;
    assert_eq!((&update["type"], &update["status"]), (&json!("order_status"), &json!("packed")));
    client.send(Message::text(r#"{"type":"ping"}"#)).await.unwrap();
    assert_eq!(next_json(&mut client).await["type"], "pong");
}

/// Asks for everything and reads the answer: its bytes, or `None` for a refusal.
async fn ask(client: &mut Client) -> Option<usize> {
    client.send(Message::text(r#"{"type":"sync"}"#)).await.unwrap();
    let mut bytes = 0;
    loop {
        let message = next_json(client).await;
        bytes += message.to_string().len();
        match message["type"].as_str().unwrap() {
            "snapshot" if message["complete"] == true => return Some(bytes),
            "snapshot" => {}
            _ => {
                assert_eq!(message["code"], "too_many_snapshots", "{message}");
                return None;
            }
        }
    }
}

#[tokio::test]
async fn a_few_bytes_do_not_ask_for_megabytes_without_end() {
    let server = Server::start().await;
    (0..50).for_each(|offset| server.publish(offset, "u-1", "paid", 5_500));
    let mut client = open(&server, "u-1", 65_536).await;
    assert_eq!(snapshot(&mut client).await.len(), 50);
    let begun = Instant::now();
    let (mut answered, mut refused) = (0, 0);
    for _ in 0..25 {
        match ask(&mut client).await {
            Some(bytes) => {
                assert!((50 * 5_500..350_000).contains(&bytes), "{bytes} bytes");
                answered += 1;
            }
            None => refused += 1,
        }
        if refused == 5 {
            break;
        }
    }
    let most = 5.0 + begun.elapsed().as_secs_f64() / 0.8;
    assert!(f64::from(answered) <= most, "{answered} were answered, {most} at most");
    for _ in 0..10 - refused {
        client.send(Message::text(r#"{"type":"sync"}"#)).await.unwrap();
    }
    let told = loop {
        let message = next_json(&mut client).await;
        if message["type"] != "snapshot" {
            break message;
        }
    };
    assert_eq!(told["code"], "too_many_snapshots", "however slow this machine is");
}
