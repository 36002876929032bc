//! Snapshots of one instance: statements on their way, as the coalescer sends them.

use super::{
    database::Ask,
    flaws::{Flaw, Flaws},
    instance::{Clock, Instance},
};
use crate::{
    domain::Snapshot,
    hub::{DueReads, Reconciled},
    snapshots::{self, progress::ReadInFlight},
    store::StoreError,
};

/// Statements under way at once.
const MOST: usize = 3;
/// How long an answer waits until the fanout has come to where it was read.
const PATIENCE: u64 = 5_000;

/// Reads that were taken together, and the statement that is under way for some of them.
pub(super) struct Flight {
    statements: snapshots::Statements,
    /// Names the statement under way.
    pub(super) number: u64,
    due: Option<DueReads>,
    /// Keeps the tail.
    needed: Option<ReadInFlight>,
    answer: Option<(u64, Snapshot)>,
}

impl Instance {
    /// Takes what is due. Whether there was anything.
    pub(super) fn gather(&mut self, now: u64) -> bool {
        if self.flights.len() >= MOST || now < self.reads_not_before || !self.hub.look(|hub| hub.has_due_reads()) {
            return false;
        }
        let mut due = self.hub.step(|hub| hub.take_due_reads(usize::MAX));
        // The order in which the hub found them is chance, and no part of a seed.
        due.orders.sort_by(|a, b| a.order_id.cmp(&b.order_id));
        due.sessions.iter_mut().for_each(|read| read.orders.sort());
        if due.is_empty() {
            return false;
        }
        let statements = snapshots::Statements::of(due);
        self.flights.push(Flight { statements, number: 0, due: None, needed: None, answer: None });
        true
    }

    /// What one of the flights does next: may ask the database, as `number`.
    pub(super) fn fly(&mut self, place: usize, number: u64, clock: Clock, flaws: &mut Flaws) -> Option<Ask> {
        let Self { flights, hub, reads, .. } = self;
        let flight = &mut flights[place];
        if let Some((since, snapshot)) = &flight.answer {
            let reached = hub.step(|hub| hub.has_reached(snapshot));
            if reached || clock.now >= since + PATIENCE {
                flight.statements.on_answer();
                let (_, snapshot) = flight.answer.take()?;
                let due = flight.due.take()?;
                flight.needed = None;
                let now = clock.wall();
                let outcomes: Vec<Reconciled> = hub.step(|hub| {
                    let sessions: Vec<_> =
                        due.sessions.iter().map(|read| hub.reconcile(read, &snapshot, now)).collect();
                    sessions.into_iter().chain(due.orders.iter().map(|read| hub.prove(read, &snapshot, now))).collect()
                });
                let wrong = outcomes.into_iter().filter_map(|outcome| match outcome {
                    Reconciled::Done(corrections) if !corrections.is_empty() => Some(corrections),
                    _ => None,
                });
                flaws.extend(wrong.map(|corrections| (Flaw::Alarm, format!("{corrections:?}"))));
            }
            return None;
        }
        if flight.due.is_some() {
            return None;
        }
        let Some(due) = flight.statements.next() else {
            let failed = self.flights.swap_remove(place).statements.into_unanswered();
            if !failed.is_empty() {
                self.reads_not_before = clock.now + 500;
                self.hub.step(|hub| failed.into_iter().for_each(|due| hub.retry(due)));
            }
            return None;
        };
        flight.needed = Some(reads.begin(clock.instant()));
        let mut query = snapshots::query(&due, None);
        query.users.sort();
        query.orders.sort();
        (flight.due, flight.number) = (Some(due), number);
        Some(Ask::Snapshot(query))
    }

    /// The database answered a statement.
    pub(super) fn on_snapshot(&mut self, number: u64, answer: Result<Snapshot, StoreError>, now: u64) {
        let Some(flight) = self.flights.iter_mut().find(|flight| flight.number == number) else { return };
        match answer {
            Ok(snapshot) => flight.answer = Some((now, snapshot)),
            Err(error) => {
                flight.needed = None;
                if let Some(due) = flight.due.take() {
                    flight.statements.on_failure(due, error.is_retryable());
                }
            }
        }
    }
}
