//! What a statement asks for, and what follows where one fails. Pure.

use hashbrown::HashSet;

use super::weights::MAX_ORDERS_PER_STATEMENT;
use crate::{
    domain::{SnapshotQuery, Timestamp},
    hub::DueReads,
};

/// What one statement asks for all of these reads.
pub(crate) fn query(due: &DueReads, terminal_since: Option<Timestamp>) -> SnapshotQuery {
    let parts: HashSet<_> = due.sessions.iter().filter_map(|read| read.part.as_ref()).collect();
    let whole = due.sessions.iter().filter(|read| read.part.is_none());
    let users: HashSet<_> = whole.filter_map(|read| read.user.as_ref()).collect();
    let by_session = due.sessions.iter().flat_map(|read| &read.orders);
    let orders: HashSet<_> = by_session.chain(due.orders.iter().map(|read| &read.order_id)).collect();
    SnapshotQuery {
        // Who has more alone is to have it all the same.
        most_listed: (users.len() + parts.len() > 1).then_some(MAX_ORDERS_PER_STATEMENT),
        users: users.into_iter().cloned().collect(),
        orders: orders.into_iter().cloned().collect(),
        parts: parts.into_iter().cloned().collect(),
        terminal_since,
        ..SnapshotQuery::default()
    }
}

/// Reads that are asked for once for all, and in halves where that fails for what they ask: whoever makes a statement fail
/// fails alone in the end.
#[derive(Debug, Default)]
pub(crate) struct Statements {
    left: Vec<DueReads>,
    failed: Vec<DueReads>,
    /// Reads that failed alone.
    refused: Vec<DueReads>,
    /// How many did.
    refusals: usize,
    /// Whether one of these reads is known to be able to be done, or each to be likely not to.
    is_theirs: bool,
}

impl Statements {
    /// All of these, in one statement at first.
    pub(crate) fn of(due: DueReads) -> Self {
        Self { left: vec![due], ..Self::default() }
    }

    /// Each of these in a statement of its own, because each has failed alone before.
    pub(crate) fn alone(reads: Vec<DueReads>) -> Self {
        Self { left: reads, is_theirs: true, ..Self::default() }
    }

    /// What the next statement is to ask for.
    pub(crate) fn next(&mut self) -> Option<DueReads> {
        self.left.pop()
    }

    /// A statement was answered.
    pub(crate) fn on_answer(&mut self) {
        self.is_theirs = true;
    }

    /// The statement failed. Where the database may be away, or refuses whatever it is asked, the others would only fail
    /// as well.
    pub(crate) fn on_failure(&mut self, mut due: DueReads, is_retryable: bool) {
        if is_retryable {
            self.failed.push(due);
            self.failed.append(&mut self.left);
        } else if due.len() < 2 {
            self.refused.push(due);
            self.refusals += 1;
            if self.refusals > 1 && !self.is_theirs {
                self.failed.append(&mut self.left);
            }
        } else {
            let half = due.split_half();
            self.left.extend([half, due]);
        }
    }

    /// Reads that failed alone.
    pub(crate) fn take_refused(&mut self) -> Vec<DueReads> {
        std::mem::take(&mut self.refused)
    }

    /// All that was not answered.
    pub(crate) fn into_unanswered(self) -> Vec<DueReads> {
        let Self { left, failed, refused, .. } = self;
        [left, failed, refused].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        domain::{Epoch, OrderId, Position, UserId, Viewer},
        hub::{Hub, Joining, Mailbox, OrderRead},
    };

    fn reads(orders: impl IntoIterator<Item = usize>) -> DueReads {
        let read = |n| OrderRead { order_id: OrderId::parse(&format!("A-{n}")).unwrap() };
        DueReads { orders: orders.into_iter().map(read).collect(), ..DueReads::default() }
    }

    /// Runs all, on a database that refuses these orders. Returns how many statements that took.
    fn run(statements: &mut Statements, bad: &[usize]) -> usize {
        let bad = reads(bad.iter().copied()).orders;
        let mut sent = 0;
        while let Some(due) = statements.next() {
            sent += 1;
            match due.orders.iter().any(|read| bad.contains(read)) {
                true => statements.on_failure(due, false),
                false => statements.on_answer(),
            }
        }
        sent
    }

    #[test]
    fn one_list_is_read_however_long_it_is_and_several_only_up_to_a_bound() {
        let mut hub = Hub::new(usize::MAX);
        hub.begin(Position { partition: 0, epoch: Epoch(1), next_offset: 0 });
        let mut most_listed = |parts: &[Option<usize>]| {
            for part in parts {
                let viewer = Viewer::User { id: UserId::parse("u-1").unwrap(), only: None };
                let mailbox = Arc::new(Mailbox::new(1 << 20));
                let start = part.is_none();
                let key = hub.join(Joining { viewer, mailbox, start, place: None, identity: None }).unwrap();
                part.inspect(|max_orders| hub.read_part(key, None, *max_orders));
            }
            let due = hub.take_due_reads(10);
            assert_eq!(due.len(), parts.len());
            query(&due, None).most_listed
        };
        for one in [&[None][..], &[None, None], &[Some(100)], &[Some(100), Some(100)]] {
            assert_eq!(most_listed(one), None, "{one:?}");
        }
        for several in [[None, Some(100)], [Some(100), Some(50)]] {
            assert_eq!(most_listed(&several), Some(MAX_ORDERS_PER_STATEMENT), "{several:?}");
        }
    }

    #[test]
    fn who_makes_a_statement_fail_fails_alone() {
        let mut statements = Statements::of(reads(0..64));
        let sent = run(&mut statements, &[17]);
        assert!(sent <= 1 + 2 * 6, "{sent} statements");
        assert_eq!(statements.take_refused().iter().flat_map(|due| &due.orders).count(), 1);
        assert!(statements.into_unanswered().is_empty());
        let mut alone = Statements::alone((0..5).map(|n| reads([n])).collect());
        assert_eq!(run(&mut alone, &[0, 1, 2, 3, 4]), 5, "each is asked for");
        assert_eq!(alone.take_refused().len(), 5);
    }

    #[test]
    fn a_database_that_refuses_everything_is_not_asked_for_each() {
        let all: Vec<usize> = (0..64).collect();
        let mut statements = Statements::of(reads(all.iter().copied()));
        let sent = run(&mut statements, &all);
        assert!(sent <= 8, "{sent} statements");
        let left: usize = statements.into_unanswered().iter().map(DueReads::len).sum();
        assert_eq!(left, 64);
    }

    #[test]
    fn a_database_that_is_away_is_not_asked_for_the_rest() {
        let mut statements = Statements::of(reads(0..8));
        let due = statements.next().unwrap();
        statements.on_failure(due, false);
        let due = statements.next().unwrap();
        statements.on_failure(due, true);
        assert!(statements.next().is_none());
        assert_eq!(statements.into_unanswered().iter().map(DueReads::len).sum::<usize>(), 8);
    }
}
