//! A bug in one session: it ends as `internal_error`, and nobody else notices.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use actix_web::{
    App, HttpRequest,
    web::{self, Bytes},
};
use futures_util::{SinkExt, StreamExt};
use ordercast::{
    domain::Timestamp,
    http::{
        rate::RequestRate,
        server::{Transport, bind, serve},
        source::TrustedProxies,
        upgrade::accept,
    },
    protocol::CloseCause,
    session::Now,
    telemetry::Metrics,
    transport::websocket::{Carrier, ConnectionHandler, FrameRules, Incoming, Outgoing},
};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use super::{Client, next_json};

const RULES: FrameRules = FrameRules { max_message_bytes: 1000, max_fragments: 1, binary: false };

/// Repeats what it hears, and has a bug.
struct Fragile {
    said: Option<Bytes>,
    ends: Arc<Mutex<Vec<CloseCause>>>,
}

impl ConnectionHandler for Fragile {
    fn on_message(&mut self, message: Incoming<'_>, _now: Now) {
        match message {
            Incoming::Text("\"panic\"") => panic!("a bug, as the test wants it"),
            Incoming::Text(text) => self.said = Some(Bytes::copy_from_slice(text.as_bytes())),
            Incoming::Binary(_) => {}
        }
    }

    fn on_noise(&mut self, _bytes: usize, _now: Now) {}

    fn on_closed(&mut self, _code: Option<u16>) {}

    fn on_broken(&mut self, _cause: CloseCause) {}

    fn poll(&mut self, _now: Now, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn next_outgoing(&mut self) -> Option<Outgoing> {
        self.said.take().map(Outgoing::Text)
    }

    fn deadline(&self, now: Now) -> Instant {
        now.instant + Duration::from_secs(60)
    }

    fn cause(&self) -> Option<CloseCause> {
        None
    }

    fn on_end(&mut self, cause: CloseCause) {
        self.ends.lock().unwrap().push(cause);
    }
}

async fn echoes(client: &mut Client) {
    client.send(Message::text("1")).await.unwrap();
    assert_eq!(next_json(client).await, 1);
}

#[tokio::test]
async fn a_panic_ends_its_own_session_only() {
    let ends = Arc::new(Mutex::new(Vec::new()));
    let seen = ends.clone();
    let transport = Transport {
        // One thread for all: whoever breaks it breaks everybody.
        workers: 1,
        max_sessions: 10,
        max_waiting: 10,
        max_waiting_per_address: 10,
        proxies: TrustedProxies::default(),
        keep_alive: Duration::from_secs(5),
        send_timeout: Duration::from_secs(5),
        websocket: Carrier::Socket,
        rate: Arc::new(RequestRate::new(NonZeroU32::MAX)),
        metrics: Metrics::new(Timestamp::now()),
    };
    let listener = bind("127.0.0.1:0".parse().unwrap(), "a test").unwrap();
    let listening = serve(listener, transport, move || {
        let ends = seen.clone();
        App::new().default_service(web::to(move |request: HttpRequest, payload: web::Payload| {
            let handler = Fragile { said: None, ends: ends.clone() };
            async move { accept(&request, payload, RULES, Duration::from_secs(5), handler) }
        }))
    })
    .unwrap();
    let url = format!("ws://{}", listening.address);
    let (mut healthy, _) = connect_async(&url).await.unwrap();
    let (mut broken, _) = connect_async(&url).await.unwrap();
    echoes(&mut healthy).await;
    echoes(&mut broken).await;
    broken.send(Message::text("\"panic\"")).await.unwrap();
    let closing = next_json(&mut broken).await;
    assert_eq!(
        (&closing["code"], &closing["reason"], &closing["retry"]),
        (&1011.into(), &"internal_error".into(), &true.into())
    );
    let Some(Ok(Message::Close(Some(close)))) = broken.next().await else { panic!("a Close frame") };
    assert_eq!(u16::from(close.code), 1011);
    echoes(&mut healthy).await;
    let (mut newcomer, _) = connect_async(&url).await.unwrap();
    echoes(&mut newcomer).await;
    assert_eq!(*ends.lock().unwrap(), [CloseCause::InternalError], "told once, and of nobody else");
}
