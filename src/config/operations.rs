//! `operations`: the listener for health checks and metrics, apart from the public one.

use std::net::SocketAddr;

use super::{http::address, reader::Section};

/// The operations listener.
#[derive(Debug, Clone)]
pub struct Operations {
    /// Where it listens; port 0 takes a free one. Default `127.0.0.1:9090`.
    pub listen: SocketAddr,
}

impl Operations {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        Self { listen: section.value("listen", "127.0.0.1:9090", address()) }
    }
}
