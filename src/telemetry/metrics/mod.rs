//! Metrics: every name in one place. Made once, by `app`, which hands each room its own part.
//!
//! Names begin with `ordercast_` and end with their unit; a counter's `_total` is added when it is written. Labels come from
//! enums; partitions are the one number among them. A series whose labels are known begins at 0.

mod pipeline;
mod rooms;

use std::sync::{Arc, atomic::AtomicU64};

use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

pub use pipeline::PipelineMetrics;
pub(super) use rooms::Kind;
pub use rooms::{
    AnswerMetrics, ConnectionMetrics, ControlMetrics, Cut, DeadLetterMetrics, HubMetrics, SessionMetrics,
    SnapshotMetrics,
};

use super::outside::OutsideLog;
use crate::domain::Timestamp;

/// The content type of [`Metrics::encode`].
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const SECONDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const COUNTS: [f64; 15] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4];
const MOMENTS: [f64; 12] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

/// All metrics of one instance. Clones share their values.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Kafka → hub.
    pub fanout: Arc<PipelineMetrics>,
    /// Kafka → SQL.
    pub recorder: Arc<PipelineMetrics>,
    /// Records that could not be used.
    pub dead_letters: Arc<DeadLetterMetrics>,
    /// Partitions of which nothing is recorded although there is something, by whoever has them.
    pub partitions_not_recorded: Gauge,
    /// Partitions in which a transaction has been open for too long.
    pub open_transactions: Gauge,
    /// Tail and mailboxes.
    pub hub: Arc<HubMetrics>,
    /// Reads from SQL and what they corrected.
    pub snapshots: Arc<SnapshotMetrics>,
    /// What instances tell each other.
    pub control: Arc<ControlMetrics>,
    /// Answers with orders.
    pub answers: Arc<AnswerMetrics>,
    /// Sockets.
    pub sessions: Arc<SessionMetrics>,
    /// Connections of both listeners.
    pub connections: Arc<ConnectionMetrics>,
    /// What is left out of the log.
    pub outside: Arc<OutsideLog>,
    /// Orders that were erased because they ended long ago.
    pub orders_cleaned: Counter,
    /// Records that the recorder took over from the fanout of this instance.
    pub records_taken_over: Counter,
    /// Records that the recorder read by itself.
    pub records_read: Counter,
    /// Recorded versions that jumped.
    pub version_jumps: Counter,
    /// Fetches of the key set.
    pub key_fetches: Counter,
    /// Those that failed: the keys stay as they were.
    pub key_fetch_failures: Counter,
    /// Times key or secret files had changed and were read again.
    pub key_file_reads: Counter,
    /// Times they could not be used: the keys stay as they were.
    pub key_file_failures: Counter,
    /// Panics caught by the hook.
    pub panics: Counter,
    registry: Arc<Registry>,
}

impl Metrics {
    /// Which pipelines the instance runs: the other's state is not told.
    pub fn runs(&self, push: bool, record: bool) {
        if !push {
            self.fanout.not_run();
        }
        if !record {
            self.recorder.not_run();
        }
    }

    /// Registers every metric of an instance that began at `started`.
    pub fn new(started: Timestamp) -> Self {
        let mut names = Names(Registry::with_prefix("ordercast"));

        let records =
            names.add("records", "Records of the topic, by pipeline and what came of them", Family::default());
        let refused =
            names.add("records_refused", "Records that cannot be used, by pipeline and code", Family::default());
        let unreadable = names.add(
            "occurred_at_unreadable",
            "Events whose occurred_at is no time, so the record's stands in",
            Family::default(),
        );
        let kind_changed = names.add(
            "version_kind_changed",
            "Events that replaced a version of the other kind, by log order",
            Family::default(),
        );
        let orders_cleaned = names.add(
            "orders_cleaned",
            "Orders erased because they ended longer ago than lifecycle.erase_after",
            Counter::default(),
        );
        let records_taken_over = names.add(
            "recorder_records_taken_over",
            "Records that the recorder took over from the fanout",
            Counter::default(),
        );
        let records_read =
            names.add("recorder_records_read", "Records that the recorder read by itself", Counter::default());
        let version_jumps = names.add(
            "version_jumps",
            "Events recorded whose version lies far above the one before",
            Counter::default(),
        );
        let partition_changed = names.add(
            "partition_changed",
            "Events without a version in another partition than their order, which are refused",
            Family::default(),
        );
        let lag =
            names.add("lag_records", "Records of a partition that a pipeline has still to take", Family::default());
        let up = names.add("kafka_up", "Whether a pipeline reaches its brokers: 1 or 0", Family::default());
        let halted = names.add(
            "partitions_halted",
            "Partitions a pipeline does not go on with until an operator helps",
            Family::default(),
        );
        let families =
            pipeline::Families { records, refused, unreadable, kind_changed, partition_changed, lag, up, halted };

        let partitions_not_recorded = names.add(
            "partitions_not_recorded",
            "Partitions whose progress stands still although there is something to record, whoever has them",
            Gauge::default(),
        );
        let open_transactions = names.add(
            "partitions_open_transaction",
            "Partitions in which a transaction has been open for longer than kafka.stale_after",
            Gauge::default(),
        );

        let dead_letters = DeadLetterMetrics::new(
            names.add("dead_letters", "Dead letters, by code", Family::default()),
            names.add("dead_letter_topic_failures", "Records the dead-letter topic did not take", Counter::default()),
            names.add(
                "lost_ranges",
                "Ranges of records that were deleted before they were recorded",
                Counter::default(),
            ),
        );

        let lock_hold = names.add_with_unit(
            "hub_lock_hold",
            "Time for which the hub's lock was held to fold records, or reads",
            Unit::Seconds,
            Histogram::new(MOMENTS),
        );
        let hub = HubMetrics {
            lock_hold: lock_hold.clone(),
            deliveries: names.add("deliveries", "Updates put into mailboxes", Counter::default()),
            coalesced: names.add(
                "coalesced",
                "Updates replaced by newer ones before a slow reader took them",
                Counter::default(),
            ),
            overflows: names.add("mailbox_overflows", "Mailboxes given up for a snapshot", Counter::default()),
            tail_events: names.add("tail_events", "Events held in memory", Gauge::default()),
            tail_bytes: names.add_with_unit("tail", "Size of the events held in memory", Unit::Bytes, Gauge::default()),
        };

        let snapshots = SnapshotMetrics {
            lock_hold,
            statements: names.add("snapshot_statements", "Statements sent to read snapshots", Counter::default()),
            failures: names.add("snapshot_failures", "Statements that failed", Counter::default()),
            viewers: names.add("snapshot_viewers", "Viewers served by one statement", Histogram::new(COUNTS)),
            orders: names.add("snapshot_orders", "Orders read by one statement", Histogram::new(COUNTS)),
            duration: names.add_with_unit(
                "snapshot_duration",
                "Time one statement took",
                Unit::Seconds,
                Histogram::new(SECONDS),
            ),
            unreadable_values: names.add(
                "stored_values_unreadable",
                "Values in rows that were told otherwise, because no client could read them",
                Counter::default(),
            ),
            corrections: names.add(
                "reconcile_corrections",
                "Orders shown wrongly until reconciled; should stay 0",
                Counter::default(),
            ),
        };

        let sessions = SessionMetrics::new(
            names.add("sessions_open", "Sessions open now, by transport", Family::default()),
            names.add("sessions_closed", "Sessions that ended, by cause and transport", Family::default()),
            names.add("sessions_closed_by_client", "Sessions that clients ended, by what they said", Family::default()),
            names.add("handshakes_refused", "Requests refused, by code", Family::default()),
            names.add("token_refreshes", "Tokens offered by open sessions, by what became of them", Family::default()),
            names.add("stale", "Whether screens may be out of date for this reason: 1 or 0", Family::default()),
        );

        let connections = ConnectionMetrics::new(names.add(
            "connections_cut",
            "Connections without a session that were cut, by reason",
            Family::default(),
        ));
        let answers = AnswerMetrics {
            open: names.add(
                "answers_open",
                "Answers with orders that are on their way to their readers",
                Gauge::default(),
            ),
            bytes: names.add_with_unit("answers", "Size of what these answers hold", Unit::Bytes, Gauge::default()),
            shortened: names.add(
                "answers_shortened",
                "Pages of orders that ended early because their readers took nothing and others needed the room",
                Counter::default(),
            ),
        };

        let outside = OutsideLog::new(names.add(
            "log_lines_left_out",
            "Lines that somebody outside caused and that were not written, by kind",
            Family::default(),
        ));

        let control = ControlMetrics::new(
            names.add("revocations", "Tokens and users with something revoked", Gauge::default()),
            names.add("control_records", "Records read from the control topic, by kind", Family::default()),
        );

        let key_fetches = names.add("key_fetches", "Fetches of auth.jwks_url", Counter::default());
        let key_fetch_failures =
            names.add("key_fetch_failures", "Fetches of auth.jwks_url that brought no keys", Counter::default());
        let key_file_reads = names.add(
            "key_file_reads",
            "Times key or secret files had changed and were read again",
            Counter::default(),
        );
        let key_file_failures =
            names.add("key_file_failures", "Times changed key or secret files could not be used", Counter::default());
        let panics = names.add("panics", "Panics of any thread", Counter::default());
        names.0.register("build", "The version that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let start = Gauge::<f64, AtomicU64>::default();
        start.set(started.as_millis() as f64 / 1000.0);
        names.add_with_unit("start_time", "When the instance began, since the Unix epoch", Unit::Seconds, start);

        Self {
            fanout: Arc::new(families.of("fanout")),
            recorder: Arc::new(families.of("recorder")),
            dead_letters: Arc::new(dead_letters),
            partitions_not_recorded,
            open_transactions,
            hub: Arc::new(hub),
            snapshots: Arc::new(snapshots),
            control: Arc::new(control),
            answers: Arc::new(answers),
            sessions: Arc::new(sessions),
            connections: Arc::new(connections),
            outside: Arc::new(outside),
            orders_cleaned,
            records_taken_over,
            records_read,
            version_jumps,
            key_fetches,
            key_fetch_failures,
            key_file_reads,
            key_file_failures,
            panics,
            registry: Arc::new(names.0),
        }
    }

    /// All values, as [`OPEN_METRICS`].
    pub fn encode(&self) -> String {
        let mut body = String::new();
        text::encode(&mut body, &self.registry).expect("writing to a string cannot fail");
        body
    }
}

/// Registers a metric and hands it back.
struct Names(Registry);

impl Names {
    fn add<M: prometheus_client::registry::Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }

    fn add_with_unit<M>(&mut self, name: &str, help: &str, unit: Unit, metric: M) -> M
    where
        M: prometheus_client::registry::Metric + Clone,
    {
        self.0.register_with_unit(name, help, unit, metric.clone());
        metric
    }
}

#[cfg(test)]
mod tests;
