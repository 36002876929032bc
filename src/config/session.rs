//! `session`: what one open socket may take, and how long things may last.

use std::{num::NonZeroU32, time::Duration};

use super::{
    reader::Section,
    rule::{duration, number, one_of},
};

/// The smallest mailbox: any single update fits an empty one.
pub const MIN_MAILBOX_BYTES: usize = 32 * 1024;

/// The largest frame of a snapshot that may be asked for: what gateways pass at the most.
pub const MAX_SNAPSHOT_BYTES: usize = 65_536;

const MAX_RATE: NonZeroU32 = NonZeroU32::new(100_000).expect("it is not 0");

/// What happens when a user, or somebody with a link, opens one session too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PerUserPolicy {
    /// The new one is refused.
    Reject,
    /// The oldest one of the same user or link ends.
    CloseOldest,
}

/// Sessions and their limits, per instance.
#[derive(Debug, Clone)]
pub struct Session {
    /// Time between two heartbeats; a client silent for two of them is gone. 100 ms to 1 h, default 25 s.
    pub heartbeat_interval: Duration,
    /// How long a reader may take nothing before it is closed. 100 ms to 10 min, default 10 s.
    pub send_timeout: Duration,
    /// How long a session may wait for its first snapshot. 100 ms to 5 min, default 5 s.
    pub snapshot_timeout: Duration,
    /// Bytes that may wait for a slow reader before a snapshot takes their place. 32768 to 64 MiB, default 65536.
    pub mailbox_bytes: usize,
    /// Sessions a user may have open. 1 to 100000, default 20.
    pub max_per_user: usize,
    /// Sessions that may be open with one link: with tokens of the same `jti` or, without that, the same orders. 1 to
    /// 100000, default 20.
    pub max_per_link: usize,
    /// What happens with one more of either. Default `reject`.
    pub per_user_policy: PerUserPolicy,
    /// Sessions an instance may have open. 1 to 1000000, default 15000.
    pub max_total: usize,
    /// Requests an address (of IPv6: a /64) may begin in a second; as many may come at once. 1 to 100000, default 500.
    pub max_handshakes_per_second: NonZeroU32,
    /// Orders in a snapshot's list at most, the newest. 1 to 100000, default 1000.
    pub max_orders: usize,
    /// How long an order in a terminal status stays in a snapshot's list. 0 s to 1 year, default 24 h.
    pub terminal_window: Duration,
    /// Orders in one frame of a snapshot at most. 1 to 10000, default 500.
    pub snapshot_page: usize,
    /// Bytes of one frame of a snapshot at most, unless a single order is larger. 4096 to 65536, default 32768.
    pub snapshot_bytes: usize,
    /// How long all orders of a link have been terminal when its session ends. 1 s to 24 h, default 60 s.
    pub complete_after: Duration,
    /// Open sessions, picked by chance, whose screen is compared with the database each second. 0 to 1000, default 5.
    pub audits_per_second: usize,
}

impl Session {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        Self {
            heartbeat_interval: section.value("heartbeat_interval", "25s", duration("100ms", "1h")),
            send_timeout: section.value("send_timeout", "10s", duration("100ms", "10m")),
            snapshot_timeout: section.value("snapshot_timeout", "5s", duration("100ms", "5m")),
            mailbox_bytes: section.value("mailbox_bytes", "65536", number(MIN_MAILBOX_BYTES..=64 << 20)),
            max_per_user: section.value("max_per_user", "20", number(1..=100_000)),
            max_per_link: section.value("max_per_link", "20", number(1..=100_000)),
            per_user_policy: section.value(
                "per_user_policy",
                "reject",
                one_of(&[("reject", PerUserPolicy::Reject), ("close_oldest", PerUserPolicy::CloseOldest)]),
            ),
            max_total: section.value("max_total", "15000", number(1..=1_000_000)),
            max_handshakes_per_second: section.value(
                "max_handshakes_per_second",
                "500",
                number(NonZeroU32::MIN..=MAX_RATE),
            ),
            max_orders: section.value("max_orders", "1000", number(1..=100_000)),
            terminal_window: section.value("terminal_window", "24h", duration("0s", "1y")),
            snapshot_page: section.value("snapshot_page", "500", number(1..=10_000)),
            snapshot_bytes: section.value("snapshot_bytes", "32768", number(4_096..=MAX_SNAPSHOT_BYTES)),
            complete_after: section.value("complete_after", "60s", duration("1s", "24h")),
            audits_per_second: section.value("audits_per_second", "5", number(0..=1_000)),
        }
    }
}
