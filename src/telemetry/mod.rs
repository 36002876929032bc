//! What operators see: logs and metrics. Knows the codes of `event` and `protocol`, and no other room.

pub mod logs;
pub mod metrics;
mod reminder;

pub use logs::{Destination, report_panics, start_logging};
pub use metrics::{
    ConnectionMetrics, ControlMetrics, Cut, DeadLetterMetrics, HubMetrics, Metrics, OPEN_METRICS, PipelineMetrics,
    SessionMetrics, SnapshotMetrics,
};
pub use reminder::Reminder;
