//! What somebody sees: a WebSocket client that is not ours, and a screen that shows what the last frame said.

use std::{collections::BTreeMap, net::SocketAddr, time::Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

use super::PATIENCE;

/// One viewer's screen. Every frame is checked against the rules of the wire as it comes.
pub struct Screen {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub orders: BTreeMap<String, Value>,
    pub frames: Vec<Value>,
    pub stale: Option<Vec<String>>,
    in_pages: bool,
    /// The first snapshot has come, to its last page.
    has_begun: bool,
}

impl Screen {
    /// Connects with a token and waits for the first snapshot.
    pub async fn open(address: SocketAddr, token: &str) -> Self {
        let mut screen = Self::connect(address, &format!("token={token}")).await.expect("the handshake succeeds");
        screen.until("the first snapshot", |screen| screen.has_snapshot()).await;
        screen
    }

    /// Connects with a query string.
    pub async fn connect(address: SocketAddr, query: &str) -> Result<Self, Error> {
        let (socket, _) = connect_async(format!("ws://{address}/order-status?{query}")).await?;
        Ok(Self::new(socket))
    }

    /// Connects again as the client for pages does: keeps what it shows, says so, and is told what differs.
    pub async fn reconnect(address: SocketAddr, token: &str, shown: BTreeMap<String, Value>) -> Result<Self, Error> {
        let mut screen = Self::connect(address, &format!("token={token}&sync=wait")).await?;
        let revs: BTreeMap<_, _> = shown.iter().map(|(id, order)| (id, &order["rev"])).collect();
        let sync = serde_json::json!({"type": "sync", "orders": revs});
        screen.socket.send(Message::text(sync.to_string())).await?;
        screen.orders = shown;
        Ok(screen)
    }

    /// Connects as a page does: with its origin.
    pub async fn of_page(address: SocketAddr, origin: &str, token: &str) -> Self {
        let mut request = format!("ws://{address}/order-status?token={token}").into_client_request().unwrap();
        request.headers_mut().insert("Origin", origin.parse().unwrap());
        Self::new(connect_async(request).await.expect("the handshake succeeds").0)
    }

    fn new(socket: WebSocketStream<MaybeTlsStream<TcpStream>>) -> Self {
        let (orders, frames) = (BTreeMap::new(), Vec::new());
        Self { socket, orders, frames, stale: None, in_pages: false, has_begun: false }
    }

    pub fn has_snapshot(&self) -> bool {
        self.has_begun
    }

    /// Whether it shows exactly this, order → (status, version), and that it is fresh.
    pub fn shows(&self, wanted: &BTreeMap<String, (String, u64)>) -> bool {
        let is_wanted = |(id, order): (&String, &Value)| {
            wanted.get(id).is_some_and(|(status, version)| order["status"] == **status && order["version"] == *version)
        };
        self.has_begun && self.stale.is_none() && self.orders.len() == wanted.len() && self.orders.iter().all(is_wanted)
    }

    /// Forgets the frames so far, all but the first, so that it can be watched for hours.
    pub fn forget_frames(&mut self) {
        self.frames.truncate(1);
    }

    pub async fn send(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    /// Reads on until the order shows this status.
    pub async fn expect_status(&mut self, order: &str, status: &str) {
        self.until(&format!("{order} shows {status}"), |screen| {
            screen.orders.get(order).is_some_and(|shown| shown["status"] == status)
        })
        .await;
    }

    /// Reads on until the order is gone.
    pub async fn expect_gone(&mut self, order: &str) {
        self.until(&format!("{order} is gone"), |screen| !screen.orders.contains_key(order)).await;
    }

    /// Reads on until the screen is as wanted.
    pub async fn until(&mut self, what: &str, holds: impl FnMut(&Self) -> bool) {
        if let Err(wrong) = self.try_until(what, holds).await {
            panic!("{wrong}: shown {:#?}, frames {:#?}", self.orders, self.frames);
        }
    }

    /// Reads on until the screen is as wanted, or says why it never will be.
    pub async fn try_until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.next()).await {
                Ok(Ok(())) => {}
                Ok(Err(code)) => return Err(format!("closed with {code:?} before {what}")),
                Err(_) => return Err(format!("not within {PATIENCE:?}: {what}")),
            }
        }
        Ok(())
    }

    /// Watches for a while, as an open page does.
    pub async fn watch_until(&mut self, ends: tokio::time::Instant) {
        while let Ok(frame) = tokio::time::timeout_at(ends, self.next()).await {
            frame.unwrap_or_else(|code| panic!("closed with {code:?}: {:#?}", self.frames));
        }
    }

    /// Reads to the end of the session and gives its close code.
    pub async fn close_code(&mut self) -> Option<u16> {
        tokio::time::timeout(PATIENCE, async {
            loop {
                if let Err(code) = self.next().await {
                    return code;
                }
            }
        })
        .await
        .expect("the session ends in time")
    }

    /// Whether the screen says now that it is stale for this reason, and maybe for others.
    pub fn is_stale_for(&self, reason: &str) -> bool {
        self.stale.iter().flatten().any(|told| told == reason)
    }

    /// Whether the screen was ever stale for this reason.
    pub fn told_stale_for(&self, reason: &str) -> bool {
        let reasons = self.frames.iter().filter_map(|frame| frame["reasons"].as_array());
        reasons.flatten().any(|told| told == reason)
    }

    pub fn statuses_of(&self, order: &str) -> Vec<String> {
        let updates = self.frames.iter().filter(|frame| frame["type"] == "order_status" && frame["order_id"] == order);
        updates.map(|frame| frame["status"].as_str().unwrap().to_owned()).collect()
    }

    /// Takes one message; the error is the close code.
    pub async fn next(&mut self) -> Result<(), Option<u16>> {
        match self.socket.next().await {
            Some(Ok(Message::Text(text))) => {
                let frame: Value = serde_json::from_str(&text).expect("every text frame is JSON");
                self.show(&frame);
                self.frames.push(frame);
                Ok(())
            }
            Some(Ok(Message::Close(frame))) => Err(frame.map(|frame| frame.code.into())),
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) | None => Err(None),
        }
    }

    fn show(&mut self, frame: &Value) {
        let kind = frame["type"].as_str().expect("every frame has a type");
        assert!(
            !self.frames.is_empty() || kind == "welcome" || kind == "closing",
            "welcome is the first frame: {frame}"
        );
        assert!(!self.in_pages || kind == "snapshot" || kind == "closing", "nothing between pages: {frame}");
        match kind {
            "snapshot" => {
                if frame["first"] == true && frame["partial"] == false {
                    self.orders.clear();
                }
                for order in frame["orders"].as_array().unwrap() {
                    self.orders.insert(order["order_id"].as_str().unwrap().to_owned(), order.clone());
                }
                for removed in frame["removed"].as_array().unwrap() {
                    self.orders.remove(removed.as_str().unwrap());
                }
                self.in_pages = frame["complete"] == false;
                self.has_begun |= frame["complete"] == true;
            }
            "order_status" => {
                assert!(self.has_snapshot(), "an update before the first snapshot: {frame}");
                let order = frame["order_id"].as_str().unwrap();
                if let Some(shown) = self.orders.get(order) {
                    let (before, after) = (shown["version"].as_u64().unwrap(), frame["version"].as_u64().unwrap());
                    assert!(after > before, "{order} went from version {before} to {after}: {frame}");
                }
                self.orders.insert(order.to_owned(), frame.clone());
            }
            "removed" => {
                self.orders.remove(frame["order_id"].as_str().unwrap());
            }
            "stale" => {
                let reasons = frame["reasons"].as_array().unwrap().iter();
                self.stale = Some(reasons.map(|reason| reason.as_str().unwrap().to_owned()).collect());
            }
            "fresh" => self.stale = None,
            _ => {}
        }
    }
}
