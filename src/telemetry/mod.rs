//! What operators see: logs and metrics. Knows the codes of `domain` and `protocol`, and the settings of logs.

pub mod logs;
pub mod metrics;
pub mod outside;
mod reminder;

pub use logs::{Destination, report_panics, start_logging};
pub use metrics::{
    AnswerMetrics, ConnectionMetrics, ControlMetrics, Cut, DeadLetterMetrics, HubMetrics, Metrics, OPEN_METRICS,
    PipelineMetrics, SessionMetrics, SnapshotMetrics,
};
pub use outside::{OutsideLine, OutsideLog, shown};
pub use reminder::Reminder;
