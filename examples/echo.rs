//! The product's transport and frame checks with an echo in place of a viewer's session: what a conformance suite runs
//! against. `cargo run --example echo -- 127.0.0.1:9001`, and `actix` behind it for the other carrier; any path answers a
//! WebSocket handshake.
#![allow(clippy::print_stdout, reason = "who starts it wants to know where it listens")]

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use actix_web::{App, HttpRequest, HttpResponse, web};
use bytes::Bytes;
use ordercast::{
    domain::Timestamp,
    http::{
        rate::RequestRate,
        refusal::Refusal,
        server::{Transport, bind, serve},
        source::TrustedProxies,
        upgrade::accept,
    },
    protocol::CloseCause,
    session::Now,
    telemetry::Metrics,
    transport::websocket::{Carrier, ConnectionHandler, FrameRules, Incoming, Outgoing},
};

const RULES: FrameRules =
    FrameRules { max_message_bytes: 16 * 1024 * 1024, max_fragments: 16 * 1024 * 1024, binary: true };
/// Longer than any case of a suite waits between two pieces of a frame.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// Says what it hears.
#[derive(Default)]
struct Echo {
    output: VecDeque<Outgoing>,
    cause: Option<CloseCause>,
    /// A Ping is to be answered before the next is read.
    pinged: bool,
}

impl ConnectionHandler for Echo {
    fn on_message(&mut self, message: Incoming<'_>, _now: Now) {
        self.output.push_back(match message {
            Incoming::Text(text) => Outgoing::Text(Bytes::copy_from_slice(text.as_bytes())),
            Incoming::Binary(bytes) => Outgoing::Binary(Bytes::copy_from_slice(bytes)),
        });
    }

    fn on_noise(&mut self, _bytes: usize, _now: Now) {
        self.pinged = true;
    }

    fn on_closed(&mut self, _code: Option<u16>) {
        self.end(CloseCause::ClientClosed);
    }

    fn on_broken(&mut self, cause: CloseCause) {
        self.end(cause);
    }

    fn poll(&mut self, _now: Now, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn next_outgoing(&mut self) -> Option<Outgoing> {
        self.pinged = false;
        self.output.pop_front()
    }

    fn wants_inbound(&self) -> bool {
        self.output.is_empty() && !self.pinged
    }

    fn deadline(&self, now: Now) -> Instant {
        now.instant + SEND_TIMEOUT
    }

    fn cause(&self) -> Option<CloseCause> {
        self.cause
    }

    fn on_end(&mut self, _cause: CloseCause) {}
}

impl Echo {
    fn end(&mut self, cause: CloseCause) {
        if self.cause.is_none() {
            self.cause = Some(cause);
            self.output.push_back(Outgoing::End(cause));
        }
    }
}

async fn echo(request: HttpRequest, payload: web::Payload) -> Result<HttpResponse, Refusal> {
    accept(&request, payload, RULES, SEND_TIMEOUT, Echo::default())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned()).parse()?;
    let websocket = match std::env::args().nth(2).as_deref() {
        None | Some("raw") => Carrier::Socket,
        Some("actix") => Carrier::Body,
        Some(_) => return Err("the second argument is raw or actix".into()),
    };
    let transport = Transport {
        workers: 2,
        max_sessions: 1000,
        max_waiting: 1000,
        max_waiting_per_address: 1000,
        proxies: TrustedProxies::default(),
        keep_alive: SEND_TIMEOUT,
        send_timeout: SEND_TIMEOUT,
        websocket,
        rate: Arc::new(RequestRate::new(NonZeroU32::MAX)),
        metrics: Metrics::new(Timestamp::now()),
    };
    let mut listening =
        serve(bind(address, "the first argument")?, transport, || App::new().default_service(web::to(echo)))?;
    println!("ws://{}", listening.address);
    Ok(listening.ended().await?)
}
