//! `http`: the public listener.

use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;

use super::{
    origin::{AllowedOrigin, allowed_origin},
    reader::Section,
    rule::{Rule, duration, number, one_of, parsed},
};

/// What carries a WebSocket after its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebSocketCarrier {
    /// The bare socket, taken from the HTTP server: the least memory and the least work.
    Raw,
    /// The body of the handshake's answer: whatever middleware stands around the routes sees it go by.
    Actix,
}

/// The public listener: WebSockets and `GET /orders`.
#[derive(Debug, Clone)]
pub struct Http {
    /// Where it listens; port 0 takes a free one. Default `0.0.0.0:8080`.
    pub listen: SocketAddr,
    /// Origins of pages that may connect, besides pages of the same host. Default none.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// Networks of proxies whose `X-Forwarded-…` headers are believed. Default none.
    pub trusted_proxies: Vec<IpNet>,
    /// How long a connection may wait for its next request, on both listeners. 1 s to 1 h, default 75 s.
    pub keep_alive: Duration,
    /// What carries a WebSocket after its handshake. Default `raw`.
    pub websocket: WebSocketCarrier,
    /// Bytes that answers with orders may hold in all while they are on their way. 1 MiB to 64 GiB, default 64 MiB.
    pub answer_bytes: usize,
}

impl Http {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        Self {
            listen: section.value("listen", "0.0.0.0:8080", address()),
            allowed_origins: section.list("allowed_origins", "", allowed_origin()),
            trusted_proxies: section.list("trusted_proxies", "", network()),
            keep_alive: section.value("keep_alive", "75s", duration("1s", "1h")),
            websocket: section.value(
                "websocket",
                "raw",
                one_of(&[("raw", WebSocketCarrier::Raw), ("actix", WebSocketCarrier::Actix)]),
            ),
            answer_bytes: section.value("answer_bytes", "67108864", number(1 << 20..=64 << 30)),
        }
    }
}

/// An address to listen on.
pub(super) fn address() -> Rule<SocketAddr> {
    parsed("an IP address and a port, such as 0.0.0.0:8080 or [::]:8080")
}

fn network() -> Rule<IpNet> {
    let allowed = "a network such as 10.0.0.0/8, or one address";
    Rule::new(allowed, |text| {
        text.parse().ok().or_else(|| text.parse().ok().map(|address: std::net::IpAddr| address.into()))
    })
}
