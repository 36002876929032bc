//! Frames of snapshots, against a client that takes no more of them than it says.

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
    futures_util::SinkExt::send(&mut client, Message::text(r#"{"type":"ping"}"#)).await.unwrap();
    assert_eq!(next_json(&mut client).await["type"], "pong");
}
