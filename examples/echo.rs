//! The product's transport and frame checks with an echo in place of a viewer's session: what a conformance suite runs
//! against. `cargo run --example echo -- 127.0.0.1:9001`; any path answers a WebSocket handshake.
#![allow(clippy::print_stdout, reason = "who starts it wants to know where it listens")]

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    sync::Arc,
    task::Context,
    time::{Duration, Instant},
};

use actix_web::{App, HttpRequest, HttpResponse, web};
use bytes::Bytes;
use ordercast::{
    event::Timestamp,
    http::{
        rate::RequestRate,
        refusal::Refusal,
        server::{Transport, bind, serve},
        source::TrustedProxies,
        websocket::{FrameRules, Speaker, speak},
    },
    protocol::{CloseCause, Frame},
    session::{Inbound, Now},
    telemetry::Metrics,
};

const RULES: FrameRules =
    FrameRules { max_message_bytes: 16 * 1024 * 1024, max_fragments: 16 * 1024 * 1024, binary: true };
/// Longer than any case of a suite waits between two pieces of a frame.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// Says what it hears.
#[derive(Default)]
struct Echo {
    output: VecDeque<Frame>,
    cause: Option<CloseCause>,
    ended: bool,
}

impl Speaker for Echo {
    fn on_inbound(&mut self, inbound: Inbound<'_>, _now: Now) {
        if let Inbound::Close(_) | Inbound::Broken(CloseCause::ConnectionLost) = inbound {
            self.ended = true;
        }
        if self.cause.is_some() {
            return;
        }
        match inbound {
            Inbound::Text(text) => self.output.push_back(Frame::text(text)),
            Inbound::Binary(bytes) => self.output.push_back(Frame::binary(bytes)),
            Inbound::Ping(payload) => self.output.push_back(Frame::pong(payload)),
            Inbound::Pong => {}
            Inbound::Close(code) => {
                self.output.push_back(Frame::close(code.map(|code| (code, ""))));
                self.cause = Some(CloseCause::ClientClosed);
            }
            Inbound::Broken(cause) => {
                if cause.is_announced() {
                    self.output.push_back(Frame::close(Some((cause.code(), cause.reason()))));
                }
                self.cause = Some(cause);
            }
        }
    }

    fn poll(&mut self, _now: Now, _cx: &mut Context<'_>) {}

    fn take_output(&mut self, _limit: usize) -> Option<Bytes> {
        self.output.pop_front().map(|frame| frame.bytes().clone())
    }

    fn wants_inbound(&self) -> bool {
        self.output.is_empty()
    }

    fn deadline(&self, now: Now) -> Instant {
        now.instant + SEND_TIMEOUT
    }

    fn has_ended(&self) -> bool {
        self.ended
    }

    fn cause(&self) -> Option<CloseCause> {
        self.cause
    }

    fn on_end(&mut self, _cause: CloseCause) {}
}

async fn echo(request: HttpRequest, payload: web::Payload) -> Result<HttpResponse, Refusal> {
    speak(&request, payload, RULES, SEND_TIMEOUT, Echo::default())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned()).parse()?;
    let transport = Transport {
        workers: 2,
        max_sessions: 1000,
        max_waiting: 1000,
        max_waiting_per_address: 1000,
        proxies: TrustedProxies::default(),
        keep_alive: SEND_TIMEOUT,
        send_timeout: SEND_TIMEOUT,
        rate: Arc::new(RequestRate::new(NonZeroU32::MAX)),
        metrics: Metrics::new(Timestamp::now()),
    };
    let mut listening =
        serve(bind(address, "the first argument")?, transport, || App::new().default_service(web::to(echo)))?;
    println!("ws://{}", listening.address);
    Ok(listening.ended().await?)
}
