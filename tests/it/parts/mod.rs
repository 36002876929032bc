//! The real parts that the integration tests run against: Apache Kafka, PostgreSQL, a network that can be cut, Chromium.
//! Nothing here knows Ordercast. `scripts/test` brings the programs and starts the shared broker and server.

pub mod browser;
pub mod clock;
pub mod disk;
pub mod kafka;
pub mod postgres;
mod process;
pub mod proxy;
pub mod rights;
pub mod topic;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// How long a part may take for anything it is asked; generous, because the machine may be busy compiling.
const PATIENCE: Duration = Duration::from_secs(60);

/// A value that `scripts/test` exports.
fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run the tests with scripts/test (docs/testing.md says how else)")
    })
}

/// A file of this repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A free port outside the range the kernel hands out by itself: a part that is down keeps its port, and a client that
/// retries cannot be given that port as its own end and so connect to itself.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = (std::process::id() % 100) as u16 * 100;
    loop {
        let port = 20_000 + (spread + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
