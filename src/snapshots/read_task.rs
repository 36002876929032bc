//! One task that reads: reads that were taken from the hub together, until each is answered or goes back. Whatever ends it, a panic
//! and the end of its task included, no read is lost: sessions and orders would wait for it for ever.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use futures_util::FutureExt;

use super::{
    SnapshotDependencies,
    apart::Name,
    statements::{Statements, reads_of_a_step},
};
use crate::{
    domain::{Position, Snapshot, Timestamp},
    hub::{Correction, DueReads, Hub, Reconciled, SharedHub},
    store::StoreError,
};

/// Reads that wait for something. They go back to the hub with the value.
#[derive(Debug)]
pub(super) struct Taken {
    hub: Arc<SharedHub>,
    reads: DueReads,
}

impl Taken {
    pub(super) fn new(hub: &Arc<SharedHub>, reads: DueReads) -> Self {
        Self { hub: hub.clone(), reads }
    }

    pub(super) fn name(&self) -> Option<Name> {
        Name::of(&self.reads)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back(&self.hub, [std::mem::take(&mut self.reads)]);
    }
}

fn give_back(hub: &SharedHub, reads: impl IntoIterator<Item = DueReads>) {
    let reads: Vec<DueReads> = reads.into_iter().filter(|due| !due.is_empty()).collect();
    if !reads.is_empty() {
        hub.step(|hub| reads.into_iter().for_each(|due| hub.retry(due)));
    }
}

/// Why a read was not answered.
#[derive(Debug)]
pub(super) enum Fault {
    Store(StoreError),
    /// It broke off. The hook of panics has told where, and counted it.
    Panic,
}

/// What became of a task.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Some reads went back to the hub, because the database is away.
    pub(super) handed_back: bool,
    /// Reads that failed alone.
    pub(super) refused: Vec<(Taken, Fault)>,
    /// Reads that were asked for alone, and answered.
    pub(super) answered: Vec<Name>,
}

/// A task, and what is left of it.
pub(super) struct ReadTask {
    dependencies: SnapshotDependencies,
    statements: Statements,
    /// What the statement under way asks for, as far as it was not answered.
    under_way: DueReads,
    is_apart: bool,
    outcome: Outcome,
}

impl ReadTask {
    /// Asks for all of these together.
    pub(super) fn together(dependencies: &SnapshotDependencies, due: DueReads) -> Self {
        Self::of(dependencies, Statements::of(due), false)
    }

    /// Asks for each of these alone, one after the other.
    pub(super) fn apart(dependencies: &SnapshotDependencies, reads: Vec<DueReads>) -> Self {
        Self::of(dependencies, Statements::alone(reads), true)
    }

    fn of(dependencies: &SnapshotDependencies, statements: Statements, is_apart: bool) -> Self {
        Self {
            dependencies: dependencies.clone(),
            statements,
            under_way: DueReads::default(),
            is_apart,
            outcome: Outcome::default(),
        }
    }

    pub(super) async fn run(mut self) -> Outcome {
        while let Some(due) = self.statements.next() {
            self.under_way = due;
            let needed = self.dependencies.reads.begin(Instant::now());
            let read = AssertUnwindSafe(self.dependencies.read(&self.under_way)).catch_unwind().await;
            match read.map_err(|_| Fault::Panic).and_then(|read| read.map_err(Fault::Store)) {
                Ok(snapshot) => {
                    self.dependencies.wait_until_reached(&snapshot).await;
                    self.statements.on_answer();
                    self.fold(&snapshot);
                }
                Err(fault) => self.on_fault(fault),
            }
            drop(needed);
        }
        let unanswered = std::mem::take(&mut self.statements).into_unanswered();
        self.outcome.handed_back = !unanswered.is_empty();
        give_back(&self.dependencies.hub, unanswered);
        std::mem::take(&mut self.outcome)
    }

    fn on_fault(&mut self, fault: Fault) {
        let due = std::mem::take(&mut self.under_way);
        let is_retryable = match &fault {
            Fault::Store(error) if error.is_retryable() => {
                tracing::warn!(%error, reads = due.len(), "a snapshot could not be read; trying again");
                true
            }
            _ => false,
        };
        self.statements.on_failure(due, is_retryable);
        let refused = self.statements.take_refused().into_iter().next();
        let taken = refused.map(|due| (Taken::new(&self.dependencies.hub, due), fault));
        self.outcome.refused.extend(taken);
    }

    /// Folds what was read, a few reads at a time. One that panics waits alone; the others are none the worse for it.
    fn fold(&mut self, snapshot: &Snapshot) {
        let now = Timestamp::now();
        while !self.under_way.is_empty() {
            let (mut begun, mut results) = (0, Vec::new());
            let most = reads_of_a_step(&self.under_way, snapshot);
            let step = |hub: &mut Hub| {
                for read in self.under_way.sessions.iter().take(most) {
                    begun += 1;
                    results.push(hub.reconcile(read, snapshot, now));
                }
                for read in self.under_way.orders.iter().take(most - begun) {
                    begun += 1;
                    results.push(hub.prove(read, snapshot, now));
                }
            };
            // A hub that is left in the middle of a step is sound, see `SharedHub::step`.
            let went_through = catch_unwind(AssertUnwindSafe(|| self.dependencies.step(step))).is_ok();
            let broke_off = !went_through && results.len() < begun;
            let mut done = self.under_way.take_first(begun);
            if broke_off {
                self.on_broken_off(done.take_last());
            }
            if self.is_apart {
                self.outcome.answered.extend(Name::of(&done));
            }
            report(&self.dependencies, snapshot, results);
        }
    }

    fn on_broken_off(&mut self, due: DueReads) {
        let due = self.dependencies.hub.step(|hub| DueReads {
            sessions: due.sessions.into_iter().map(|read| hub.broke_off(read)).collect(),
            orders: due.orders,
        });
        self.outcome.refused.push((Taken::new(&self.dependencies.hub, due), Fault::Panic));
    }
}

impl Drop for ReadTask {
    fn drop(&mut self) {
        let unanswered = std::mem::take(&mut self.statements).into_unanswered();
        give_back(&self.dependencies.hub, unanswered.into_iter().chain([std::mem::take(&mut self.under_way)]));
    }
}

fn report(dependencies: &SnapshotDependencies, snapshot: &Snapshot, reconciled: Vec<Reconciled>) {
    for result in reconciled {
        let Reconciled::Done(corrections) = result else { continue };
        for Correction { order_id, shown, truth } in corrections {
            dependencies.metrics.corrections.inc();
            let revision = truth.or(shown);
            let read = |position: &&Position| revision.is_some_and(|at| at.stamp.partition == position.partition);
            tracing::error!(
                order.id = %order_id,
                shown = shown.map(tracing::field::display),
                truth = truth.map(tracing::field::display),
                kafka.read_at = snapshot.positions().iter().find(read).map(|position| position.next_offset),
                kafka.seen_to = revision.and_then(|at| dependencies.hub.look(|hub| hub.end(at.stamp.partition))).map(|end| end.next_offset),
                "a screen showed a wrong state of an order; corrected"
            );
        }
    }
}
