//! `operations`: the listener for health checks, metrics and operators, apart from the public one.

use std::net::SocketAddr;

use secrecy::SecretString;

use super::{http::address, reader::Section, rule::secret, shown};

/// Shorter ones are guessed, or typed by mistake.
const MIN_TOKEN_BYTES: usize = 8;

/// The operations listener.
#[derive(Debug, Clone)]
pub struct Operations {
    /// Where it listens; port 0 takes a free one. Default `127.0.0.1:9090`.
    pub listen: SocketAddr,
    /// What operators show as `Authorization: Bearer` to list and end sessions, to revoke, announce and trace. Without it
    /// they can do so only where the listener is on a loopback address. Health checks and metrics are always open.
    pub token: Option<SecretString>,
}

impl Operations {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        Self {
            listen: section.value("listen", "127.0.0.1:9090", address()),
            token: section.secret("token", secret(MIN_TOKEN_BYTES), shown::nothing),
        }
    }
}
