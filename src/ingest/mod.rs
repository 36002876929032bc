//! Ingest: from the log to the hub and to SQL, and from SQL back to screens. The only room that knows Kafka clients.
//!
//! ```text
//!              ┌── log_watch: what the log looks like ──┐     progress: how far the recorder is, once a second
//!              ▼                                    ▼        │
//!   Kafka ─► fanout ─► hub                 Kafka ─► recorder ─► SQL ─► snapshots ─► hub
//! ```
//!
//! Read in the order of the data: [`log_watch`], [`compaction`] and [`log_check`] (is it the log we know?), [`fanout`] (and
//! [`freshness`], by [`log_ends`]), [`recorder`], [`progress`], [`recording`], [`snapshots`], [`audits`]. Beside them,
//! [`control`]: what one instance tells the others; and [`desk`]: what HTTP asks of SQL.

pub mod audits;
pub mod cleaning;
mod client;
pub mod compaction;
mod component;
pub mod control;
pub mod dead_letters;
pub mod desk;
pub mod embedded;
mod events;
pub mod fanout;
pub mod freshness;
mod inquirer;
pub mod log_check;
pub mod log_ends;
pub mod log_watch;
mod metadata;
mod pace;
mod polling;
pub mod producer;
pub mod progress;
mod proof;
mod reach;
pub(crate) mod record;
pub mod recorder;
pub mod recording;
mod repeats;
pub mod rights;
pub(crate) mod rules;
mod secrets;
pub mod snapshots;
pub mod topics;

pub use client::KafkaClients;
pub use component::{Component, Overdue};
pub use log_check::Policies;
pub use log_watch::StartError;
pub use progress::ReadsInFlight;
