//! The WebSocket transport against an independent client: frames, endings, slow and hostile peers. No broker and no
//! database: the test plays the fanout and the snapshots.

mod bodies;
mod carriers;
mod closing;
mod events;
mod fallback;
mod frames;
mod handshakes;
mod lines;
mod orders;
mod origins;
mod panics;
mod pending;
mod polls;
mod silence;
mod sizes;
mod tokens;
mod upgrades;
mod wire;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::world::value_of;
use futures_util::{SinkExt, StreamExt};
use ordercast::{
    app::{carrier, session_config, session_limits},
    auth::{Grant, Origins, RevocationList, Signer, Verifier},
    config::{self, Settings, Sources},
    control::ControlWriter,
    domain::{
        Change, Epoch, OrderEvent, OrderId, OrderState, Position, Snapshot, Stamp, Timestamp, UserId, Version,
        VersionKind,
    },
    http::{
        answers::Answers,
        operations::{Guard, Operations},
        public::Public,
        rate::RequestRate,
        server::{Listening, Transport, bind, serve_operations, serve_public},
        source::TrustedProxies,
    },
    hub::{Hub, SharedHub},
    log::kafka::KafkaClients,
    protocol::{StaleReason, StaleReasons, Staleness},
    store::gateway::StoreHandle,
    telemetry::Metrics,
    transport::{Instance, ViewerContext},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest},
};

const EPOCH: Epoch = Epoch(7);
/// What carries the WebSockets of all these tests; raw sockets if it is not set.
const CARRIER: &str = "ORDERCAST_TEST_WEBSOCKET";
/// Connections without a session that one address may have.
const WAITING: usize = 24;
/// Those that all addresses together may have.
const ALL_WAITING: usize = 160;

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

struct Server {
    address: SocketAddr,
    hub: Arc<SharedHub>,
    viewers: Arc<ViewerContext>,
    metrics: Metrics,
    signer: Signer,
    settings: Settings,
    transport: Transport,
    snapshots: JoinHandle<()>,
    _listening: Listening,
    staleness: watch::Sender<Staleness>,
    ready: watch::Sender<bool>,
    revocations: Arc<RevocationList>,
}

fn position() -> Position {
    Position { partition: 0, epoch: EPOCH, next_offset: 0 }
}

impl Server {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A server with these settings, written as `("session.max_per_user", "2")`, besides those of all these tests.
    async fn start_with(settings: &[(&str, &str)]) -> Self {
        let carrier_of_run = std::env::var(CARRIER).unwrap_or_else(|_| "raw".to_owned());
        let common = [
            ("http.websocket", carrier_of_run.as_str()),
            ("auth.secret", "a secret of at least thirty-two bytes!"),
            ("session.max_per_user", "2"),
            ("session.send_timeout", "2s"),
            ("session.complete_after", "1s"),
        ];
        let environment =
            common.iter().chain(settings).map(|(key, value)| (config::variable(key), (*value).to_owned()));
        let sources = Sources { environment: environment.collect(), ..Sources::default() };
        let settings = config::load(&sources, &[]).unwrap();
        let mut hub = Hub::new(1 << 20);
        hub.begin(position());
        let hub = Arc::new(SharedHub::new(hub));
        let fresh = Staleness { reasons: StaleReasons::NONE, since: Timestamp::now() };
        let (staleness, stale) = watch::channel(fresh);
        let (ready_sender, ready) = watch::channel(true);
        let session = &settings.session;
        let metrics = Metrics::new(Timestamp::now());
        let revocations = Arc::new(RevocationList::new(settings.auth.leeway));
        let viewers = Arc::new(ViewerContext {
            hub: hub.clone(),
            instance: Arc::new(Instance::new(stale)),
            verifier: Arc::new(Verifier::new(&settings.auth).unwrap()),
            revocations: revocations.clone(),
            config: Arc::new(session_config(&settings)),
            limits: session_limits(&settings),
            metrics: metrics.sessions.clone(),
            outside: metrics.outside.clone(),
        });
        let public = Public {
            viewers: viewers.clone(),
            ready,
            store: StoreHandle::open().0,
            origins: Origins::new(&settings.http),
            proxies: TrustedProxies::new(&settings.http.trusted_proxies),
            rate: Arc::new(RequestRate::new(session.max_handshakes_per_second)),
            answers: Answers::new(settings.http.answer_bytes, session.send_timeout, metrics.answers.clone()),
        };
        let transport = Transport {
            workers: 1,
            max_sessions: session.max_total,
            max_waiting: ALL_WAITING,
            max_waiting_per_address: WAITING,
            proxies: TrustedProxies::new(&settings.http.trusted_proxies),
            keep_alive: settings.http.keep_alive,
            send_timeout: session.send_timeout,
            websocket: carrier(&settings),
            rate: public.rate.clone(),
            metrics: metrics.clone(),
        };
        let listener = bind("127.0.0.1:0".parse().unwrap(), "http.listen").unwrap();
        let public = actix_web::web::Data::new(public);
        let listening = serve_public(listener, public, transport.clone(), |_| {}).unwrap();
        let snapshots = tokio::spawn(snapshots(hub.clone()));
        Self {
            address: listening.address,
            hub,
            viewers,
            metrics,
            signer: Signer::new(&settings.auth).unwrap(),
            settings,
            transport,
            snapshots,
            _listening: listening,
            staleness,
            ready: ready_sender,
            revocations,
        }
    }

    /// An operations listener beside it, whose brokers are away.
    fn operations(&self) -> Listening {
        let clients = KafkaClients::new(&self.settings.kafka).unwrap();
        let operations = Operations {
            instance: Arc::new(Instance::new(self.staleness.subscribe())),
            ready: self.ready.subscribe(),
            pushes: true,
            database_answers: Box::new(|| false),
            metrics: self.metrics.clone(),
            name: "i-1".to_owned(),
            hub: self.hub.clone(),
            revocations: Arc::new(RevocationList::new(self.settings.auth.leeway)),
            control: Arc::new(ControlWriter::new(&clients, "control")),
            store: StoreHandle::open().0,
            guard: Guard::new(None, self.address),
        };
        let listener = bind("127.0.0.1:0".parse().unwrap(), "operations.listen").unwrap();
        serve_operations(listener, actix_web::web::Data::new(operations), self.transport.clone()).unwrap()
    }

    /// From now on the database is silent.
    fn answers_no_reads(&self) {
        self.snapshots.abort();
    }

    /// And from now on it is not.
    fn answers_reads(&mut self) {
        self.snapshots = tokio::spawn(snapshots(self.hub.clone()));
    }

    fn token(&self, user: &str) -> String {
        self.token_with(Some(user), None, 3600)
    }

    fn token_with(&self, user: Option<&str>, orders: Option<&[&str]>, seconds: i64) -> String {
        let now = Timestamp::now();
        self.signer.sign(&Grant {
            user: user.map(|user| UserId::parse(user).unwrap()),
            orders: orders.map(|orders| orders.iter().map(|order| OrderId::parse(order).unwrap()).collect()),
            issued_at: now,
            expires_at: Timestamp::from_millis(now.as_millis() + seconds * 1000).unwrap(),
            token_id: None,
        })
    }

    async fn open(&self, token: &str) -> Client {
        let url = format!("ws://{}/order-status?token={token}", self.address);
        tokio_tungstenite::connect_async(url).await.unwrap().0
    }

    /// The value of a metric, labels and all as it is written.
    fn metric(&self, name: &str) -> f64 {
        let text = self.metrics.encode();
        value_of(&text, name).unwrap_or_else(|| panic!("no metric {name} in\n{text}"))
    }

    /// Tells every session that it may be out of date for this reason.
    fn doubt(&self, reason: StaleReason) {
        let stale = Staleness { reasons: [reason].into_iter().collect(), since: Timestamp::now() };
        self.staleness.send_replace(stale);
        self.hub.step(|hub| hub.nudge_all());
    }

    async fn connect(&self, user: &str) -> Client {
        self.open(&self.token(user)).await
    }

    fn publish(&self, offset: i64, user: &str, status: &str, details_bytes: usize) {
        self.publish_order(offset, user, status, format!(r#"{{"pad":"{}"}}"#, "x".repeat(details_bytes)));
    }

    fn publish_order(&self, offset: i64, user: &str, status: &str, details: String) {
        let stamp = Stamp { epoch: EPOCH, partition: 0, offset };
        let order_id = OrderId::parse(&format!("A-{}", offset % 50)).unwrap();
        let state = OrderState {
            order_id: order_id.clone(),
            user_id: UserId::parse(user).unwrap(),
            viewers: Box::default(),
            status: status.into(),
            terminal: status == "delivered",
            version: Version { kind: VersionKind::Field, number: offset.unsigned_abs() },
            stamp,
            occurred_at: Timestamp::now(),
            details: Some(serde_json::value::RawValue::from_string(details).unwrap()),
            event_id: None,
        };
        let event = OrderEvent { order_id, stamp, change: Change::Set(Arc::new(state)) };
        self.hub.step(|hub| hub.on_record(&event));
    }
}

/// Answers every read with nothing stored.
async fn snapshots(hub: Arc<SharedHub>) {
    loop {
        hub.reads_due().await;
        let reads = hub.step(|hub| hub.take_due_reads(100));
        let snapshot = Snapshot::new(&Default::default(), vec![position()], Default::default());
        for read in &reads.sessions {
            hub.step(|hub| hub.reconcile(read, &snapshot, Timestamp::now()));
        }
        for read in &reads.orders {
            hub.step(|hub| hub.prove(read, &snapshot, Timestamp::now()));
        }
    }
}

async fn next_json(client: &mut Client) -> serde_json::Value {
    loop {
        let message = tokio::time::timeout(Duration::from_secs(20), client.next()).await.expect("a message in time");
        match message.expect("the connection is open").unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Close(frame) => panic!("closed: {frame:?}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_session_gets_welcome_snapshot_and_updates() {
    let server = Server::start().await;
    let mut client = server.connect("u-1").await;
    assert_eq!(next_json(&mut client).await["type"], "welcome");
    assert_eq!(next_json(&mut client).await["type"], "snapshot");
    server.publish(1, "u-1", "paid", 10);
    let update = next_json(&mut client).await;
    assert_eq!((&update["type"], &update["status"]), (&"order_status".into(), &"paid".into()));
    client.send(Message::text(r#"{"type":"ping","id":7}"#)).await.unwrap();
    assert_eq!(next_json(&mut client).await, serde_json::json!({"type": "pong", "id": 7}));
    client.close(None).await.unwrap();
    while let Some(Ok(message)) = client.next().await {
        assert!(matches!(message, Message::Close(_)), "{message:?}");
    }
}

#[tokio::test]
async fn words_of_other_clients_are_answered_as_they_come_for_as_long_as_they_come() {
    let server = Server::start().await;
    let mut client = server.connect("u-1").await;
    assert_eq!(next_json(&mut client).await["type"], "welcome");
    assert_eq!(next_json(&mut client).await["type"], "snapshot");
    for (said, answer) in [("ping", "pong"), ("\"ping\"", "\"pong\""), ("heartbeat", "heartbeat")].repeat(5) {
        client.send(Message::text(said)).await.unwrap();
        let told = tokio::time::timeout(Duration::from_secs(20), client.next()).await.expect("an answer in time");
        assert_eq!(told.unwrap().unwrap(), Message::text(answer));
        client.send(Message::text("")).await.unwrap();
    }
}

#[tokio::test]
async fn a_stalled_reader_is_closed_and_nobody_else_waits_for_it() {
    let server = Server::start().await;
    // A reader that never reads: a raw socket with a small window.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stalled = socket.connect(server.address).await.unwrap();
    stalled.write_all(handshake(&server, "u-1").as_bytes()).await.unwrap();
    let mut head = [0; 1024];
    stalled.read_exact(&mut head[..12]).await.unwrap();
    assert_eq!(&head[..12], b"HTTP/1.1 101");
    let mut healthy = server.connect("u-1").await;
    assert_eq!(next_json(&mut healthy).await["type"], "welcome");
    assert_eq!(next_json(&mut healthy).await["type"], "snapshot");
    assert_eq!(server.hub.step(|hub| hub.sessions()), 2);
    let begun = Instant::now();
    let mut offset = 0;
    while server.hub.step(|hub| hub.sessions()) == 2 {
        offset += 1;
        server.publish(offset, "u-1", "paid", 10_000);
        let update = next_json(&mut healthy).await;
        assert_eq!(update["version"], offset);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(begun.elapsed() < Duration::from_secs(20), "the stalled reader still sits there");
    }
}

#[tokio::test]
async fn a_reader_that_is_always_behind_hears_that_a_partition_has_halted() {
    let server = Server::start_with(&[("session.send_timeout", "60s")]).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut reader = socket.connect(server.address).await.unwrap();
    reader.write_all(handshake(&server, "u-1").as_bytes()).await.unwrap();
    let (mut read, mut offset) = (Vec::new(), 0);
    let mut halted_at = None;
    let says_stale = |read: &Vec<u8>| {
        let news = &read[read.len().saturating_sub(2_048 + 16)..];
        String::from_utf8_lossy(news).contains(r#""type":"stale""#)
    };
    while !says_stale(&read) {
        // Three times as much is published as is read.
        for _ in 0..10 {
            offset += 1;
            server.publish(offset, "u-1", "paid", 400);
        }
        read.reserve(2_048);
        assert!((&mut reader).take(2_048).read_buf(&mut read).await.unwrap() > 0, "the session goes on");
        if halted_at.is_none() && read.len() > 300_000 {
            server.doubt(StaleReason::LogGap);
            halted_at = Some(read.len());
        }
        assert!(halted_at.is_none_or(|at| read.len() < at + 2_000_000), "{} bytes, and no word", read.len());
    }
}

/// A socket of a user's session, without anything in between that keeps to the rules.
async fn raw(server: &Server, user: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(handshake(server, user).as_bytes()).await.unwrap();
    stream
}

fn handshake(server: &Server, user: &str) -> String {
    format!(
        "GET /order-status?token={} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        server.token(user)
    )
}

/// Reads to the end and gives the code of the last Close frame.
async fn close_code(stream: &mut TcpStream) -> Option<u16> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await;
    read.expect("the server ends the connection").ok();
    let close = bytes.windows(2).rposition(|pair| pair[0] == 0x88 && pair[1] >= 2)?;
    Some(u16::from_be_bytes([bytes[close + 2], bytes[close + 3]]))
}

#[tokio::test]
async fn a_page_is_told_after_the_upgrade_what_others_read_in_the_answer() {
    let server = Server::start().await;
    let url = format!("ws://{}/order-status?token=not.a.token", server.address);
    let mut request = url.as_str().into_client_request().unwrap();
    request.headers_mut().insert("Origin", format!("http://{}", server.address).parse().unwrap());
    let (mut page, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let closing = next_json(&mut page).await;
    assert_eq!((&closing["type"], &closing["code"]), (&"closing".into(), &4500.into()));
    let refused = tokio_tungstenite::connect_async(url).await.unwrap_err();
    let tokio_tungstenite::tungstenite::Error::Http(response) = refused else { panic!("{refused}") };
    assert_eq!(response.status(), 401);
    let problem: serde_json::Value = serde_json::from_slice(response.body().as_ref().unwrap()).unwrap();
    assert_eq!(problem["code"], "invalid_token");
}

#[tokio::test]
async fn one_session_too_many_is_refused_until_another_ends() {
    let server = Server::start().await;
    let mut first = server.connect("u-1").await;
    let _second = server.connect("u-1").await;
    let url = format!("ws://{}/order-status?token={}", server.address, server.token("u-1"));
    let refused = tokio_tungstenite::connect_async(&url).await.unwrap_err();
    let tokio_tungstenite::tungstenite::Error::Http(response) = refused else { panic!("{refused}") };
    assert_eq!(response.status(), 429);
    assert!(response.headers().contains_key("retry-after"));
    first.close(None).await.unwrap();
    while first.next().await.is_some() {}
    let begun = Instant::now();
    while tokio_tungstenite::connect_async(&url).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
