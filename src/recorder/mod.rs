//! The recorder: Kafka → SQL. The instances share the partitions as one consumer group; where each goes on is read from
//! SQL, never from Kafka. Shows nothing to anybody.
//!
//! ```text
//!   consumer ─► assignment ─► batches ──bounded channel──► writer ─► dead-letter topic, then one transaction
//!       ▲            ▲                                        │
//!       └── assign ──┴────────────── replies ◄────────────────┘
//! ```
//!
//! An OS thread with the consumer, a task with the store, which stores a large batch in two transactions at once.
//! [`assignment`] and [`write_task`] decide, these two perform; so a simulation can perform in their place.

pub(crate) mod assignment;
pub(crate) mod batch;
pub mod cleaning;
pub mod coverage;
pub mod dead_letters;
pub(crate) mod in_flight;
mod rebalance;
pub(crate) mod scheduler;
mod thread;
pub(crate) mod write_task;
mod writer;

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use tokio::sync::watch;

use self::{dead_letters::delivery::DeadLetters, in_flight::InFlight, thread::RecorderThread, writer::Writer};
use crate::{
    domain::{Halts, decode::Decoder},
    log::{
        Policies,
        hand_over::Taker,
        kafka::{KafkaClients, StartError, producer::Producer},
        progress::ProgressViews,
        view::{LogViews, LookNow},
    },
    runtime::Component,
    store::Store,
    telemetry::Metrics,
};

/// What the writer may be given ahead: what is in flight and what it has done unheard included.
pub(crate) const MAX_TASKS: usize = 3;
/// How long a dead letter may take.
const DEAD_LETTER_TIMEOUT: Duration = Duration::from_secs(5);

/// What the recorder works with.
pub struct RecorderDependencies {
    /// Makes its clients.
    pub clients: KafkaClients,
    /// The source topic.
    pub topic: String,
    /// Where records go that cannot be used.
    pub dead_letter_topic: String,
    /// Its consumer group.
    pub group_id: String,
    /// Shared with the fanout.
    pub decoder: Arc<Decoder>,
    /// Where orders and progress are stored.
    pub store: Arc<dyn Store>,
    /// What the topic looks like.
    pub log: LogViews,
    /// Asks for a newer view.
    pub look_now: LookNow,
    /// For the partition count that versions from the log count on.
    pub progress: ProgressViews,
    /// What the settings say about logs that do not go on.
    pub policies: Policies,
    /// `event.version_jump`.
    pub version_jump: u64,
    /// `kafka.stale_after`: brokers that were silent for longer count as away.
    pub stale_after: Duration,
    /// What is counted.
    pub metrics: Metrics,
}

/// Starts the recorder: its writer, its thread, and what it has halted. The thread is to be stopped first. What the fanout of
/// this instance reads it takes by `taker`.
pub fn start(
    dependencies: RecorderDependencies,
    taker: Taker,
    halts: watch::Sender<Halts>,
) -> Result<(Component, Component), StartError> {
    let in_flight = Arc::new(InFlight::default());
    let (tasks, tasks_out) = tokio::sync::mpsc::channel(MAX_TASKS);
    let (replies, replies_out) = mpsc::sync_channel(MAX_TASKS);
    let writer = Writer {
        store: dependencies.store.clone(),
        dead_letters: DeadLetters {
            producer: Producer::new(&dependencies.clients, DEAD_LETTER_TIMEOUT),
            topic: dependencies.dead_letter_topic.clone(),
            source: dependencies.topic.clone(),
            group_id: dependencies.group_id.clone(),
        },
        in_flight: in_flight.clone(),
        tasks: tasks_out,
        replies,
    };
    let thread = RecorderThread::new(dependencies, taker, halts, in_flight, tasks, replies_out)?;
    let writer = Component::task("recorder-writer", |stop| writer.run(stop));
    let thread = Component::thread("recorder", move |stop| thread.run(&stop))?;
    Ok((writer, thread))
}
