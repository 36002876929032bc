//! What dead letters, hub, snapshots and sessions count.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};

use crate::{
    domain::decode::RefusalCode,
    protocol::{ClientCode, CloseCause, StaleReason, StaleReasons},
};

/// Records that could not be used, or were never seen.
#[derive(Debug)]
pub struct DeadLetterMetrics {
    /// Records the dead-letter topic did not take.
    pub topic_failures: Counter,
    /// Ranges of records that were deleted before they were recorded.
    pub lost_ranges: Counter,
    by_code: Family<Code, Counter>,
}

impl DeadLetterMetrics {
    pub(super) fn new(by_code: Family<Code, Counter>, topic_failures: Counter, lost_ranges: Counter) -> Self {
        for code in RefusalCode::ALL {
            drop(by_code.get_or_create(&Code { code: code.as_str() }));
        }
        Self { topic_failures, lost_ranges, by_code }
    }

    /// Counts a dead letter.
    pub fn count(&self, code: RefusalCode) {
        self.by_code.get_or_create(&Code { code: code.as_str() }).inc();
    }
}

/// Tail and mailboxes. The hub is pure: its callers carry its counts over.
#[derive(Debug)]
pub struct HubMetrics {
    /// Updates put into mailboxes.
    pub deliveries: Counter,
    /// Updates replaced by newer ones before the reader took them.
    pub coalesced: Counter,
    /// Mailboxes given up for a snapshot.
    pub overflows: Counter,
    /// Events in the tail.
    pub tail_events: Gauge,
    /// Their size.
    pub tail_bytes: Gauge,
    pub(super) lock_hold: Histogram,
}

impl HubMetrics {
    /// Notes for how long the hub's lock was held.
    pub fn held(&self, lock: Duration) {
        self.lock_hold.observe(lock.as_secs_f64());
    }
}

/// Reads from SQL and what they corrected.
#[derive(Debug)]
pub struct SnapshotMetrics {
    /// Statements that failed.
    pub failures: Counter,
    /// Orders shown wrongly until reconciled.
    pub corrections: Counter,
    /// Values in rows that no client could read.
    pub unreadable_values: Counter,
    pub(super) lock_hold: Histogram,
    pub(super) statements: Counter,
    pub(super) viewers: Histogram,
    pub(super) orders: Histogram,
    pub(super) duration: Histogram,
}

impl SnapshotMetrics {
    /// Notes for how long the hub's lock was held.
    pub fn held(&self, lock: Duration) {
        self.lock_hold.observe(lock.as_secs_f64());
    }

    /// Counts a statement sent for this many viewers.
    pub fn sent(&self, viewers: usize) {
        self.statements.inc();
        self.viewers.observe(viewers as f64);
    }

    /// Counts its answer.
    pub fn answered(&self, orders: usize, took: Duration) {
        self.orders.observe(orders as f64);
        self.duration.observe(took.as_secs_f64());
    }
}

/// Answers with orders that are on their way to their readers.
#[derive(Debug)]
pub struct AnswerMetrics {
    /// How many there are.
    pub open: Gauge,
    /// What they hold.
    pub bytes: Gauge,
    /// Pages that ended early, because their readers took nothing for long and others needed the room.
    pub shortened: Counter,
}

/// What instances tell each other.
#[derive(Debug)]
pub struct ControlMetrics {
    /// Tokens and users with something revoked.
    pub revocations: Gauge,
    records: Family<Kind, Counter>,
}

impl ControlMetrics {
    pub(super) fn new(revocations: Gauge, records: Family<Kind, Counter>) -> Self {
        for kind in ["revocation", "kick", "announcement", "erasure", "unreadable"] {
            drop(records.get_or_create(&Kind { kind }));
        }
        Self { revocations, records }
    }

    /// Counts a record of the control topic.
    pub fn record(&self, kind: &'static str) {
        self.records.get_or_create(&Kind { kind }).inc();
    }
}

/// Connections that ended by our doing, before or between their requests.
#[derive(Debug)]
pub struct ConnectionMetrics {
    cut: Family<Reason, Counter>,
}

/// Why a connection was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// What came was no request.
    Unreadable,
    /// A request's head did not come in time.
    TooSlow,
    /// There was no place for it.
    NoPlace,
    /// It waited for its next request while another needed its place.
    GaveWay,
    /// Its address had sent too much that was no request.
    ShutOut,
}

impl Cut {
    const ALL: [Self; 5] = [Self::Unreadable, Self::TooSlow, Self::NoPlace, Self::GaveWay, Self::ShutOut];

    fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::TooSlow => "too_slow",
            Self::NoPlace => "no_place",
            Self::GaveWay => "gave_way",
            Self::ShutOut => "shut_out",
        }
    }
}

impl ConnectionMetrics {
    pub(super) fn new(cut: Family<Reason, Counter>) -> Self {
        for reason in Cut::ALL {
            drop(cut.get_or_create(&Reason { reason: reason.as_str() }));
        }
        Self { cut }
    }

    /// Counts a connection that was cut.
    pub fn cut(&self, why: Cut) {
        self.cut.get_or_create(&Reason { reason: why.as_str() }).inc();
    }
}

/// Sockets, and what their screens are told.
#[derive(Debug)]
pub struct SessionMetrics {
    open: Family<Transport, Gauge>,
    closed: Family<Ending, Counter>,
    closed_by_client: Family<Code, Counter>,
    refused: Family<Code, Counter>,
    refreshes: Family<Outcome, Counter>,
    stale: Family<Reason, Gauge>,
}

impl SessionMetrics {
    pub(super) fn new(
        open: Family<Transport, Gauge>,
        closed: Family<Ending, Counter>,
        closed_by_client: Family<Code, Counter>,
        refused: Family<Code, Counter>,
        refreshes: Family<Outcome, Counter>,
        stale: Family<Reason, Gauge>,
    ) -> Self {
        for code in ClientCode::ALL {
            drop(closed_by_client.get_or_create(&Code { code: code.as_str() }));
        }
        for outcome in
            ["accepted", "invalid_token", "expired_token", "keys_unavailable", "other_user", "too_many_snapshots"]
        {
            drop(refreshes.get_or_create(&Outcome { outcome }));
        }
        let metrics = Self { open, closed, closed_by_client, refused, refreshes, stale };
        metrics.set_stale(StaleReasons::NONE);
        metrics
    }

    /// Sessions may come over this transport: its series begin.
    pub fn offer(&self, transport: &'static str) {
        drop(self.open.get_or_create(&Transport { transport }));
        for cause in CloseCause::ALL {
            drop(self.closed.get_or_create(&Ending { cause: cause.reason(), transport }));
        }
    }

    /// Counts a session that begins.
    pub fn opened(&self, transport: &'static str) {
        self.open.get_or_create(&Transport { transport }).inc();
    }

    /// Counts the end of a session that was [opened](Self::opened).
    pub fn closed(&self, transport: &'static str, cause: CloseCause) {
        self.open.get_or_create(&Transport { transport }).dec();
        self.closed.get_or_create(&Ending { cause: cause.reason(), transport }).inc();
    }

    /// Counts what a client's own Close said.
    pub fn closed_by_client(&self, code: ClientCode) {
        self.closed_by_client.get_or_create(&Code { code: code.as_str() }).inc();
    }

    /// Counts a request that was refused, by the stable code of its refusal.
    pub fn refused(&self, code: &'static str) {
        self.refused.get_or_create(&Code { code }).inc();
    }

    /// Counts a `refresh`, by what became of it.
    pub fn refreshed(&self, outcome: &'static str) {
        self.refreshes.get_or_create(&Outcome { outcome }).inc();
    }

    /// Sets what this instance's screens are told to be stale for.
    pub fn set_stale(&self, reasons: StaleReasons) {
        for reason in StaleReason::ALL {
            let gauge = self.stale.get_or_create(&Reason { reason: reason.as_str() });
            gauge.set(i64::from(reasons.contains(reason)));
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Code {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(in crate::telemetry) struct Kind {
    pub(in crate::telemetry) kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Transport {
    transport: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Ending {
    cause: &'static str,
    transport: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Reason {
    reason: &'static str,
}
