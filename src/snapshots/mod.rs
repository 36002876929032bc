//! Snapshots: SQL → hub. Takes the reads that are due, lets many share one statement, and hands each answer to the hub,
//! which reconciles it. The one way by which sessions reach the database.
//!
//! Nothing queues here: what is due waits in the hub, where it is bounded by the sessions and what they show. A session
//! that waits too long for its first snapshot ends itself.

mod apart;
pub mod audits;
mod batch_window;
pub mod progress;
mod read_task;
mod statements;
mod weights;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

pub use self::progress::ReadsInFlight;
use self::{
    apart::Apart,
    batch_window::BatchWindow,
    read_task::{Fault, Outcome, ReadTask, Taken},
    weights::{MAX_ORDERS_PER_STATEMENT, MAX_READS_PER_STATEMENT, Weights},
};
use crate::{
    domain::{Lifecycle, Snapshot, Timestamp, UserId},
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
/// How often the hub is asked whether it has reached a snapshot.
const REACH_INTERVAL: Duration = Duration::from_millis(2);
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

/// Inputs: reads due in the hub, the time for which they are gathered, ends of tasks and of waits of reads that failed,
/// stop.
async fn run(dependencies: SnapshotDependencies, stop: CancellationToken) {
    let mut coalescer = Coalescer::new(dependencies);
    let mut tasks: JoinSet<Outcome> = JoinSet::new();
    let mut waits: JoinSet<()> = JoinSet::new();
    let mut backoff = Backoff::between(FIRST_BACKOFF, LAST_BACKOFF);
    let (mut window, mut gathered_at) = (BatchWindow::default(), None);
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
            () = at(gathered_at), if gathered_at.is_some() => {}
        }
        gathered_at = None;
        while tasks.len() < STATEMENTS_IN_FLIGHT {
            let now = Instant::now();
            let wait = match coalescer.due(Lists::Short) {
                0 => break,
                due => window.wait(due, now),
            };
            if !wait.is_zero() {
                gathered_at = Some(now + wait);
                break;
            }
            window.sent(coalescer.send(Lists::Short, now, &mut tasks, &mut waits), now);
        }
        // Each waits for its turn anyway, so there is no need to gather.
        while tasks.len() < STATEMENTS_IN_FLIGHT && coalescer.may_send_long() && coalescer.due(Lists::Long) > 0 {
            coalescer.send(Lists::Long, Instant::now(), &mut tasks, &mut waits);
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
    weights: Weights,
    told: Reminder,
    reads_per_statement: usize,
    /// Held by each task for long lists: fewer than all, so that short ones are never behind them.
    long: Arc<()>,
}

impl Coalescer {
    fn new(dependencies: SnapshotDependencies) -> Self {
        Self {
            dependencies,
            apart: Apart::default(),
            weights: Weights::default(),
            told: Reminder::default(),
            reads_per_statement: MAX_READS_PER_STATEMENT,
            long: Arc::default(),
        }
    }

    fn due(&self, lists: Lists) -> usize {
        // Mostly no list is known to be long, and nobody has to be looked up.
        match (self.weights.is_empty(), lists) {
            (true, Lists::Short) => self.dependencies.hub.look(Hub::due_reads),
            (true, Lists::Long) => 0,
            (false, _) => self.dependencies.hub.look(|hub| hub.due_among(|user| self.is_among(lists, user))),
        }
    }

    fn is_among(&self, lists: Lists, user: Option<&UserId>) -> bool {
        self.weights.is_long(user) == (lists == Lists::Long)
    }

    fn may_send_long(&self) -> bool {
        Arc::strong_count(&self.long) < STATEMENTS_IN_FLIGHT
    }

    /// Takes what is due and starts to ask for it. Returns how many reads share a statement.
    fn send(&mut self, lists: Lists, now: Instant, tasks: &mut JoinSet<Outcome>, waits: &mut JoinSet<()>) -> usize {
        let is_among = |user: Option<&UserId>| self.is_among(lists, user);
        let mut gathering = Gathering::up_to(self.reads_per_statement, MAX_ORDERS_PER_STATEMENT);
        while self.dependencies.step(|hub| hub.gather(&mut gathering, is_among, |read| self.weights.of(read))) {}
        let sorted = self.apart.sort(gathering.due, now);
        for (wait, read) in sorted.later {
            self.wait(wait, Taken::new(&self.dependencies.hub, read), waits);
        }
        if !sorted.alone.is_empty() {
            tasks.spawn(ReadTask::apart(&self.dependencies, sorted.alone).run());
        }
        let together = sorted.together.len();
        if together > 0 {
            let long = (lists == Lists::Long).then(|| self.long.clone());
            let read_task = ReadTask::together(&self.dependencies, sorted.together);
            tasks.spawn(async move {
                let outcome = read_task.run().await;
                drop(long);
                outcome
            });
        }
        together
    }

    /// Whether the database answers, as far as this task knows.
    fn on_outcome(&mut self, outcome: Outcome, waits: &mut JoinSet<()>) -> bool {
        let now = Instant::now();
        outcome.answered.iter().for_each(|name| self.apart.on_answer(name));
        outcome.listed.into_iter().for_each(|(user, orders)| self.weights.on_answer(user, orders));
        for (taken, listed) in outcome.too_much {
            self.weights.on_too_much(taken.users(), listed);
            // Due again at once.
            drop(taken);
        }
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

/// Which reads share a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lists {
    /// All but those of users whose lists are known to be long.
    Short,
    /// These.
    Long,
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
            // Nothing is wrong; it is asked for in dependencies.
            Err(StoreError::TooMuch { .. }) => {}
            Err(_) => drop(self.metrics.failures.inc()),
        }
        snapshot
    }

    /// The recorder may be ahead of the fanout for a moment. What cannot be proved after that is the hub's to judge.
    async fn wait_until_reached(&self, snapshot: &Snapshot) {
        let deadline = Instant::now() + self.snapshot_timeout / 2;
        while !self.hub.look(|hub| hub.has_reached(snapshot)) && Instant::now() < deadline {
            sleep(REACH_INTERVAL).await;
        }
    }
}

#[cfg(test)]
mod tests;
