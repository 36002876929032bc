//! Statements on their way: sent, run, failed, split and answered, in any order.

use rand::{Rng, seq::IteratorRandom};

use super::{client::Flaw, database::terminal_since, mix::Feature, world::World};
use crate::{
    domain::{Snapshot, SnapshotQuery, Timestamp},
    hub::{DueReads, Reconciled, rules::HubRule},
};

/// A statement on its way: first to the database, then back.
pub(super) struct Flight {
    pub(super) due: DueReads,
    snapshot: Option<Snapshot>,
}

impl World {
    /// A statement is sent, runs, fails, or is answered.
    pub(super) fn read(&mut self) {
        let bad = self.mix.has(Feature::BadReads);
        let chance = self.rng.random::<f64>();
        if self.rng.random_bool(self.mix.audit)
            && let Some(seat) = self.seats.iter().choose(&mut self.rng)
        {
            let key = seat.key;
            self.hub.step(|hub| hub.audit(key));
            self.say(|| format!("{key:?} is audited"));
        }
        if chance < 0.35 || self.flights.is_empty() {
            let most = self.rng.random_range(1..=8);
            self.send_reads(most);
            return;
        }
        let place = self.rng.random_range(0..self.flights.len());
        if bad && chance < 0.40 {
            let mut flight = self.flights.swap_remove(place);
            let half = flight.due.split_half();
            self.hub.step(|hub| hub.retry(half));
            self.flights.push(Flight { snapshot: None, ..flight });
        } else if bad && chance < 0.44 {
            let flight = self.flights.swap_remove(place);
            self.hub.step(|hub| hub.retry(flight.due));
        } else if self.flights[place].snapshot.is_none() {
            self.run_statement(place);
        } else {
            let impatient = bad && chance > 0.95;
            self.answer(place, impatient);
        }
    }

    /// Sends what is due. Whether there was anything.
    pub(super) fn send_reads(&mut self, most: usize) -> bool {
        let due = self.hub.step(|hub| hub.take_due_reads(most));
        let sent = !due.is_empty();
        if sent {
            self.say(|| format!("asked: {due:?}"));
            self.flights.push(Flight { due, snapshot: None });
            if self.rng.random_bool(0.5) {
                self.run_statement(self.flights.len() - 1);
            }
        }
        sent
    }

    /// The database answers.
    pub(super) fn run_statement(&mut self, place: usize) {
        let flight = &mut self.flights[place];
        let named = flight.due.sessions.iter().flat_map(|read| &read.orders);
        let query = SnapshotQuery {
            users: flight.due.sessions.iter().filter_map(|read| read.user.clone()).collect(),
            orders: flight.due.orders.iter().map(|read| &read.order_id).chain(named).cloned().collect(),
            terminal_since: Some(terminal_since()),
            max_orders: self.max_orders,
            ..SnapshotQuery::default()
        };
        flight.snapshot = Some(self.database.snapshot(&query));
    }

    /// The hub gets an answer, if it has come to where that was read or is tired of waiting.
    pub(super) fn answer(&mut self, place: usize, impatient: bool) {
        let proof_off = self.off == Some(HubRule::Proof);
        let Some(snapshot) = self.flights[place].snapshot.as_ref() else { return };
        if !impatient && !proof_off && !self.hub.step(|hub| hub.has_reached(snapshot)) {
            return;
        }
        let flight = self.flights.swap_remove(place);
        let snapshot = flight.snapshot.expect("it was there just now");
        let now = Timestamp::from_millis(0).expect("1970 is a moment");
        let outcomes: Vec<Reconciled> = self.hub.step(|hub| {
            let sessions = flight.due.sessions.iter().map(|read| (Some(read), None));
            let orders = flight.due.orders.iter().map(|read| (None, Some(read)));
            let reads = sessions.chain(orders).collect::<Vec<_>>();
            reads
                .into_iter()
                .map(|(session, order)| match (session, order) {
                    (Some(read), _) => hub.reconcile(read, &snapshot, now),
                    (_, Some(read)) => hub.prove(read, &snapshot, now),
                    _ => Reconciled::Gone,
                })
                .collect()
        });
        for outcome in &outcomes {
            // What the store refused is seen to be missing before the hub hears why.
            if let Reconciled::Done(corrections) = outcome
                && !corrections.is_empty()
                && self.refused.is_empty()
            {
                self.flaws.push((Flaw::Alarm, format!("{corrections:?}")));
            }
        }
        self.say(|| format!("answered at {:?}: {:?} {outcomes:?}", snapshot.positions(), flight.due));
    }
}
