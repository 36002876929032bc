//! Snapshots: SQL → hub. Takes the reads that are due, lets many share one statement, and hands each answer to the hub,
//! which reconciles it. The one way by which sessions reach the database.
//!
//! Nothing queues here: what is due waits in the hub, where it is bounded by the sessions and what they show. A session
//! that waits too long for its first snapshot ends itself.

mod apart;
pub mod audits;
mod pace;
pub mod progress;
mod read_task;
mod statements;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

pub use self::progress::ReadsInFlight;
use self::{
    apart::Apart,
    pace::Pace,
    read_task::{Fault, Outcome, ReadTask, Taken},
    statements::{MAX_ORDERS_PER_STATEMENT, MAX_READS_PER_STATEMENT},
};
use crate::{
    domain::{Lifecycle, Snapshot, Timestamp},
    hub::{DueReads, Gathering, Hub, SharedHub},
    runtime::{Backoff, Component},
    store::{Store, StoreError},
    telemetry::{Reminder, SnapshotMetrics},
};

#[cfg(test)]
pub(crate) use self::statements::Statements;
pub(crate) use self::statements::query;

/// Statements under way at once. More only queue in the database; fewer let one large answer hold up the others.
const STATEMENTS_IN_FLIGHT: usize = 3;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(2);

/// What the coalescer works with.
#[derive(Clone)]
pub struct SnapshotDependencies {
    /// Where rows and progress are read.
    pub store: Arc<dyn Store>,
    /// The source topic.
    pub topic: String,
    /// Says what is due and takes the answers.
    pub hub: Arc<SharedHub>,
    /// Tells the tail what is still needed.
    pub reads: Arc<ReadsInFlight>,
    /// Which statuses are terminal.
    pub lifecycle: Arc<Lifecycle>,
    /// `session.max_orders`.
    pub max_orders: usize,
    /// `session.terminal_window`.
    pub terminal_window: Duration,
    /// `session.snapshot_timeout`.
    pub snapshot_timeout: Duration,
    /// What is counted.
    pub metrics: Arc<SnapshotMetrics>,
}

/// Starts the coalescer.
pub fn start(dependencies: SnapshotDependencies) -> Component {
    Component::task("snapshots", |stop| run(dependencies, stop))
}

/// Inputs: reads due in the hub, the moment when those that wait for others go, ends of tasks and of waits of reads that
/// failed, stop.
async fn run(dependencies: SnapshotDependencies, stop: CancellationToken) {
    let mut coalescer = Coalescer::new(dependencies);
    let mut tasks: JoinSet<Outcome> = JoinSet::new();
    let mut waits: JoinSet<()> = JoinSet::new();
    let mut backoff = Backoff::between(FIRST_BACKOFF, LAST_BACKOFF);
    let (mut pace, mut go_at) = (Pace::default(), None);
    'running: loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = tasks.join_next() => {
                let outcome = ended.unwrap_or_else(|error| {
                    tracing::error!(%error, "snapshots broke off; trying again");
                    Outcome { handed_back: true, ..Outcome::default() }
                });
                if coalescer.on_outcome(outcome, &mut waits) {
                    backoff.reset();
                } else {
                    tokio::select! {
                        () = stop.cancelled() => break 'running,
                        () = sleep(backoff.next_pause()) => {}
                    }
                }
            }
            Some(_) = waits.join_next() => {}
            () = coalescer.dependencies.hub.reads_due(), if tasks.len() < STATEMENTS_IN_FLIGHT => {}
            () = at(go_at), if go_at.is_some() => {}
        }
        go_at = None;
        while tasks.len() < STATEMENTS_IN_FLIGHT {
            let now = Instant::now();
            let wait = match coalescer.dependencies.hub.look(Hub::due_short_reads) {
                0 => break,
                due => pace.wait(due, coalescer.short_under_way(), now),
            };
            if !wait.is_zero() {
                go_at = Some(now + wait);
                break;
            }
            let reads = coalescer.send(coalescer.short(), now, &mut tasks, &mut waits);
            if reads > 0 {
                pace.begin(reads, now);
            }
        }
        // Each waits for its turn anyway, so there is no need to gather.
        while tasks.len() < STATEMENTS_IN_FLIGHT && coalescer.has_long_to_send() {
            coalescer.send(coalescer.long(), Instant::now(), &mut tasks, &mut waits);
        }
    }
    // What they have not answered goes back to the hub.
    tasks.shutdown().await;
    waits.shutdown().await;
}

/// What the coalescer knows of the reads it takes.
struct Coalescer {
    dependencies: SnapshotDependencies,
    apart: Apart,
    told: Reminder,
    reads_per_statement: usize,
    /// Held by each task for short lists.
    short: Arc<()>,
    /// Held by each task for long ones: fewer than all, so that short ones are never behind them.
    long: Arc<()>,
}

impl Coalescer {
    fn new(dependencies: SnapshotDependencies) -> Self {
        Self {
            dependencies,
            apart: Apart::default(),
            told: Reminder::default(),
            reads_per_statement: MAX_READS_PER_STATEMENT,
            short: Arc::default(),
            long: Arc::default(),
        }
    }

    fn short(&self) -> Gathering {
        Gathering::short(self.reads_per_statement, MAX_ORDERS_PER_STATEMENT)
    }

    fn long(&self) -> Gathering {
        Gathering::long(self.reads_per_statement, MAX_ORDERS_PER_STATEMENT, self.dependencies.max_orders)
    }

    fn short_under_way(&self) -> usize {
        Arc::strong_count(&self.short) - 1
    }

    fn has_long_to_send(&self) -> bool {
        Arc::strong_count(&self.long) < STATEMENTS_IN_FLIGHT && self.dependencies.hub.look(Hub::due_long_reads) > 0
    }

    /// Takes what is due and starts to ask for it. Returns how many reads share a statement.
    fn send(
        &self,
        mut gathering: Gathering,
        now: Instant,
        tasks: &mut JoinSet<Outcome>,
        waits: &mut JoinSet<()>,
    ) -> usize {
        while self.dependencies.step(|hub| hub.gather(&mut gathering)) {}
        let held = if gathering.is_long() { &self.long } else { &self.short }.clone();
        let sorted = self.apart.sort(gathering.due, now);
        for (wait, read) in sorted.later {
            self.wait(wait, Taken::new(&self.dependencies.hub, read), waits);
        }
        if !sorted.alone.is_empty() {
            tasks.spawn(ReadTask::apart(&self.dependencies, sorted.alone).run());
        }
        let together = sorted.together.len();
        if together > 0 {
            let read_task = ReadTask::together(&self.dependencies, sorted.together);
            tasks.spawn(async move {
                let outcome = read_task.run().await;
                drop(held);
                outcome
            });
        }
        together
    }

    /// Whether the database answers, as far as this task knows.
    fn on_outcome(&mut self, outcome: Outcome, waits: &mut JoinSet<()>) -> bool {
        let now = Instant::now();
        outcome.answered.iter().for_each(|name| self.apart.on_answer(name));
        for (taken, fault) in outcome.refused {
            self.tell(&fault, now);
            if let Some(name) = taken.name() {
                let pause = self.apart.on_failure(name, now);
                self.wait(pause, taken, waits);
            }
        }
        let reads = self.reads_per_statement;
        self.reads_per_statement =
            if outcome.handed_back { (reads / 2).max(1) } else { (reads * 2).min(MAX_READS_PER_STATEMENT) };
        !outcome.handed_back
    }

    /// Gives a read back after a while.
    fn wait(&self, pause: Duration, taken: Taken, waits: &mut JoinSet<()>) {
        waits.spawn(async move {
            sleep(pause).await;
            drop(taken);
        });
    }

    fn tell(&mut self, fault: &Fault, now: Instant) {
        match fault {
            Fault::Store(StoreError::Unreadable { order, error }) => {
                if self.apart.tells(order, now) {
                    tracing::error!(
                        order.id = order,
                        %error,
                        "the stored row of an order cannot be read: who may see it waits, until it is set right"
                    );
                }
            }
            Fault::Store(error) => {
                if self.told.is_due("refused", now) {
                    tracing::error!(%error, "the database refuses to read a snapshot; trying again");
                }
            }
            Fault::Panic => {}
        }
    }
}

/// Waits for a moment, or for ever.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

impl SnapshotDependencies {
    /// A step of the hub that may take long, measured.
    fn step<T>(&self, step: impl FnOnce(&mut Hub) -> T) -> T {
        let (result, held) = self.hub.step(|hub| {
            let began = Instant::now();
            let result = step(hub);
            (result, began.elapsed())
        });
        self.metrics.held(held);
        result
    }

    async fn read(&self, due: &DueReads) -> Result<Snapshot, StoreError> {
        let window = i64::try_from(self.terminal_window.as_millis()).unwrap_or(i64::MAX);
        let mut query = query(due, Timestamp::from_millis(Timestamp::now().as_millis().saturating_sub(window)));
        query.max_orders = Some(self.max_orders);
        query.lifecycle = Some(self.lifecycle.clone());
        self.metrics.sent(due.len());
        let sent = Instant::now();
        let snapshot = self.store.snapshot(&self.topic, &query).await;
        match &snapshot {
            Ok(snapshot) => {
                self.metrics.answered(snapshot.order_count(), sent.elapsed());
                self.metrics.unreadable_values.inc_by(snapshot.unreadable_values());
            }
            Err(_) => drop(self.metrics.failures.inc()),
        }
        snapshot
    }

    /// The recorder may be ahead of the fanout for a moment. What cannot be proved after that is the hub's to judge.
    async fn wait_until_reached(&self, snapshot: &Snapshot) {
        let reached = self.hub.reached(|hub| hub.has_reached(snapshot));
        // Whether it was is looked at again.
        let _ = timeout(self.snapshot_timeout / 2, reached).await;
    }
}

#[cfg(test)]
mod tests;
