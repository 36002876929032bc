//! Snapshots: SQL → hub. Takes the reads that are due, lets many share one statement, and hands each answer to the hub,
//! which reconciles it. The one way by which sessions reach the database.
//!
//! Nothing queues here: what is due waits in the hub, where it is bounded by the sessions and what they show. A session
//! that waits too long for its first snapshot ends itself.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::HashSet;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{component::Component, pace::Pace, progress::ReadsInFlight};
use crate::{
    event::{Lifecycle, Position, Snapshot, SnapshotQuery, Timestamp},
    hub::{Correction, DueReads, Hub, Reconciled, SharedHub},
    store::{Store, StoreError},
    telemetry::SnapshotMetrics,
};

/// Reads that share one statement at most; fewer for a while after a failure, which may have been too much to ask.
const MAX_READS_PER_STATEMENT: usize = 500;
/// Statements under way at once. More only queue in the database; fewer let one large answer hold up the others.
const STATEMENTS_IN_FLIGHT: usize = 3;
/// How often the hub is asked whether it has reached a snapshot.
const REACH_INTERVAL: Duration = Duration::from_millis(2);
/// Reads reconciled under the hub's lock at once.
const READS_PER_STEP: usize = 8;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(2);

/// What the coalescer works with.
#[derive(Clone)]
pub struct SnapshotParts {
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
pub fn start(parts: SnapshotParts) -> Component {
    Component::task("snapshots", |stop| run(parts, stop))
}

/// Inputs: reads due in the hub, the time for which they are gathered, ends of statements, stop.
async fn run(parts: SnapshotParts, stop: CancellationToken) {
    let mut statements: JoinSet<Outcome> = JoinSet::new();
    let mut backoff = Backoff::default();
    let mut reads_per_statement = MAX_READS_PER_STATEMENT;
    let (mut pace, mut gathered_at) = (Pace::default(), None);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(ended) = statements.join_next() => match ended {
                Ok(Outcome::Answered) => {
                    backoff = Backoff::default();
                    reads_per_statement = (reads_per_statement * 2).min(MAX_READS_PER_STATEMENT);
                }
                Ok(Outcome::HandedBack) => {
                    reads_per_statement = (reads_per_statement / 2).max(1);
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(backoff.next()) => {}
                    }
                }
                // Its reads are lost with it; audits and the sessions' own deadlines repair that.
                Err(error) => tracing::error!(%error, "a snapshot could not be reconciled"),
            },
            () = parts.hub.reads_due(), if statements.len() < STATEMENTS_IN_FLIGHT => {}
            () = at(gathered_at), if gathered_at.is_some() => {}
        }
        gathered_at = None;
        while statements.len() < STATEMENTS_IN_FLIGHT {
            let now = Instant::now();
            let wait = match parts.hub.look(Hub::due_reads) {
                0 => break,
                due => pace.wait(due, now),
            };
            if !wait.is_zero() {
                gathered_at = Some(now + wait);
                break;
            }
            let due = parts.hub.step(|hub| hub.take_due_reads(reads_per_statement));
            if due.is_empty() {
                break;
            }
            pace.sent(due.len(), now);
            let parts = parts.clone();
            statements.spawn(async move { parts.answer(due).await });
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

enum Outcome {
    Answered,
    /// Some reads were handed back to the hub.
    HandedBack,
}

impl SnapshotParts {
    async fn answer(&self, due: DueReads) -> Outcome {
        let mut statements = Statements::of(due);
        while let Some(due) = statements.next() {
            let needed = self.reads.begin(Instant::now());
            match self.read(&due).await {
                Ok(snapshot) => {
                    self.wait_until_reached(&snapshot).await;
                    self.reconcile(&due, &snapshot);
                }
                Err(error) => {
                    if error.is_retryable() || due.len() > 1 {
                        tracing::warn!(%error, reads = due.len(), "a snapshot could not be read; trying again");
                    } else {
                        tracing::error!(%error, "the database refuses to read a snapshot; trying again");
                    }
                    statements.on_error(due, &error);
                }
            }
            drop(needed);
        }
        let failed = statements.into_failed();
        if failed.is_empty() {
            return Outcome::Answered;
        }
        self.hub.step(|hub| failed.into_iter().for_each(|due| hub.retry(due)));
        Outcome::HandedBack
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
        let deadline = Instant::now() + self.snapshot_timeout / 2;
        while !self.hub.step(|hub| hub.has_reached(snapshot)) && Instant::now() < deadline {
            tokio::time::sleep(REACH_INTERVAL).await;
        }
    }

    fn reconcile(&self, due: &DueReads, snapshot: &Snapshot) {
        let now = Timestamp::now();
        for reads in due.sessions.chunks(READS_PER_STEP) {
            self.report(
                snapshot,
                self.hub.step(|hub| reads.iter().map(|read| hub.reconcile(read, snapshot, now)).collect::<Vec<_>>()),
            );
        }
        for reads in due.orders.chunks(READS_PER_STEP) {
            self.report(
                snapshot,
                self.hub.step(|hub| reads.iter().map(|read| hub.prove(read, snapshot, now)).collect::<Vec<_>>()),
            );
        }
    }

    fn report(&self, snapshot: &Snapshot, reconciled: Vec<Reconciled>) {
        for result in reconciled {
            let Reconciled::Done(corrections) = result else { continue };
            for Correction { order_id, shown, truth } in corrections {
                self.metrics.corrections.inc();
                let revision = truth.or(shown);
                let read = |position: &&Position| revision.is_some_and(|at| at.stamp.partition == position.partition);
                tracing::error!(
                    order.id = %order_id,
                    shown = shown.map(tracing::field::display),
                    truth = truth.map(tracing::field::display),
                    kafka.read_at = snapshot.positions().iter().find(read).map(|position| position.next_offset),
                    kafka.seen_to = revision.and_then(|at| self.hub.step(|hub| hub.end(at.stamp.partition))).map(|end| end.next_offset),
                    "a screen showed a wrong state of an order; corrected"
                );
            }
        }
    }
}

/// What one statement asks for all of these reads.
pub(crate) fn query(due: &DueReads, terminal_since: Option<Timestamp>) -> SnapshotQuery {
    let parts: HashSet<_> = due.sessions.iter().filter_map(|read| read.part.as_ref()).collect();
    let whole = due.sessions.iter().filter(|read| read.part.is_none());
    let users: HashSet<_> = whole.filter_map(|read| read.user.as_ref()).collect();
    let by_session = due.sessions.iter().flat_map(|read| &read.orders);
    let orders: HashSet<_> = by_session.chain(due.orders.iter().map(|read| &read.order_id)).collect();
    SnapshotQuery {
        users: users.into_iter().cloned().collect(),
        orders: orders.into_iter().cloned().collect(),
        parts: parts.into_iter().cloned().collect(),
        terminal_since,
        ..SnapshotQuery::default()
    }
}

/// Reads that are asked for once for all, and in halves where the database refuses: whoever makes a statement fail fails
/// alone in the end. Pure.
#[derive(Debug)]
pub(crate) struct Statements {
    left: Vec<DueReads>,
    failed: Vec<DueReads>,
}

impl Statements {
    /// All of these, in one statement at first.
    pub(crate) fn of(due: DueReads) -> Self {
        Self { left: vec![due], failed: Vec::new() }
    }

    /// What the next statement is to ask for.
    pub(crate) fn next(&mut self) -> Option<DueReads> {
        self.left.pop()
    }

    /// The statement failed. Where the database may be away, the others would only fail as well.
    pub(crate) fn on_error(&mut self, mut due: DueReads, error: &StoreError) {
        if error.is_retryable() {
            self.failed.push(due);
            self.failed.append(&mut self.left);
        } else if due.len() < 2 {
            self.failed.push(due);
        } else {
            let half = due.split_half();
            self.left.extend([half, due]);
        }
    }

    /// What is to be handed back to the hub.
    pub(crate) fn into_failed(self) -> Vec<DueReads> {
        self.failed
    }
}

#[derive(Default)]
struct Backoff(Option<Duration>);

impl Backoff {
    fn next(&mut self) -> Duration {
        let pause = self.0.map_or(FIRST_BACKOFF, |pause| (pause * 2).min(LAST_BACKOFF));
        self.0 = Some(pause);
        pause.mul_f64(rand::random_range(0.5..1.0))
    }
}
