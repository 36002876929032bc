//! What a statement asks for, and what follows where one fails. Pure.

use hashbrown::HashSet;

use crate::{
    domain::{Snapshot, SnapshotQuery, Timestamp},
    hub::{DueReads, SHORT_LIST, SessionRead},
};

/// Orders that the lists of one statement have at most, unless a single one has more.
pub(super) const MAX_ORDERS_PER_STATEMENT: usize = 20_000;
/// Reads that share one statement at most; fewer for a while after a failure, which may have been too much to ask.
pub(super) const MAX_READS_PER_STATEMENT: usize = MAX_ORDERS_PER_STATEMENT / SHORT_LIST;
/// Orders folded under the hub's lock at once, unless a single read has more. One read is folded whole: its screen is told
/// of no record before it is complete, and of each after that, so all of it has to be of one moment.
const MAX_ORDERS_PER_STEP: usize = 500;

/// What one statement asks for all of these reads.
pub(crate) fn query(due: &DueReads, terminal_since: Option<Timestamp>) -> SnapshotQuery {
    let parts: HashSet<_> = due.sessions.iter().filter_map(|read| read.part.as_ref()).collect();
    let whole = due.sessions.iter().filter(|read| read.part.is_none());
    let users: HashSet<_> = whole.filter_map(|read| read.user.as_ref()).collect();
    let by_session = due.sessions.iter().flat_map(|read| &read.orders);
    let orders: HashSet<_> = by_session.chain(due.orders.iter().map(|read| &read.order_id)).collect();
    // Of long ones there are only as many as may be read whole.
    let are_long = due.sessions.iter().all(|read| read.is_long);
    SnapshotQuery {
        most_of_each: (!are_long).then(|| (MAX_ORDERS_PER_STATEMENT / due.len()).max(1)),
        users: users.into_iter().cloned().collect(),
        orders: orders.into_iter().cloned().collect(),
        parts: parts.into_iter().cloned().collect(),
        terminal_since,
        ..SnapshotQuery::default()
    }
}

/// How many of the first reads are folded in one step; those of sessions, or else those of orders.
pub(super) fn reads_of_a_step(due: &DueReads, snapshot: &Snapshot) -> usize {
    if due.sessions.is_empty() {
        return due.orders.len().min(MAX_ORDERS_PER_STEP);
    }
    let mut orders = 0;
    let fits = |read: &&SessionRead| {
        let listed = read.listed(snapshot).map_or(0, |listed| listed.orders.len());
        orders += (listed + read.orders.len()).max(1);
        orders <= MAX_ORDERS_PER_STEP
    };
    due.sessions.iter().take_while(fits).count().max(1)
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

    use hashbrown::HashMap;

    use super::*;
    use crate::{
        domain::{Epoch, History, Known, OrderId, Position, Timeline, UserId, Viewer, order::tests::paid},
        hub::{Gathering, Hub, Joining, Mailbox, OrderRead, SessionKey},
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

    const START: Position = Position { partition: 0, epoch: Epoch(1), next_offset: 0 };

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn users(many: usize) -> Vec<UserId> {
        (0..many).map(|n| user(&format!("u-{n}"))).collect()
    }

    fn hub_of(users: &[UserId]) -> Hub {
        let mut hub = Hub::new(usize::MAX);
        hub.begin(START);
        users.iter().for_each(|id| _ = join(&mut hub, id, true));
        hub
    }

    fn join(hub: &mut Hub, id: &UserId, start: bool) -> SessionKey {
        let viewer = Viewer::User { id: id.clone(), only: None };
        let mailbox = Arc::new(Mailbox::new(1 << 20));
        hub.join(Joining { viewer, mailbox, start, place: None, identity: None }).unwrap()
    }

    fn gather(hub: &mut Hub, mut gathering: Gathering) -> DueReads {
        while hub.gather(&mut gathering) {}
        gathering.due
    }

    fn short() -> Gathering {
        Gathering::short(MAX_READS_PER_STATEMENT, MAX_ORDERS_PER_STATEMENT)
    }

    fn long(longest: usize) -> Gathering {
        Gathering::long(MAX_READS_PER_STATEMENT, MAX_ORDERS_PER_STATEMENT, longest)
    }

    /// Answers all short ones as a database in which each list is so long. Returns how many statements there were.
    fn answer_short(hub: &mut Hub, orders: usize) -> usize {
        let mut statements = 0;
        while hub.due_short_reads() > 0 {
            let due = gather(hub, short());
            if due.is_empty() {
                continue;
            }
            statements += 1;
            let query = query(&due, None);
            assert!(query.users.len() * query.most_of_each.unwrap() <= MAX_ORDERS_PER_STATEMENT);
            let lists: Vec<_> = query.users.iter().map(|user| (user.clone(), orders)).collect();
            let snapshot = Snapshot::new(&query, vec![START], histories(&lists));
            due.sessions.iter().for_each(|read| _ = hub.reconcile(read, &snapshot, Timestamp::from_millis(0).unwrap()));
        }
        statements
    }

    #[test]
    fn a_list_is_asked_for_twice_at_most_and_no_statement_may_list_more_than_the_bound() {
        let mut hub = hub_of(&users(600));
        assert!(answer_short(&mut hub, 110) <= 2, "nobody is asked for in vain twice");
        assert_eq!(hub.due_long_reads(), 500, "a hundred lists fit together");
        let mut shares = Vec::new();
        while hub.due_long_reads() > 0 {
            let due = gather(&mut hub, long(1_500));
            assert_eq!(query(&due, None).most_of_each, None, "each is read whole");
            shares.push(due.len());
        }
        assert_eq!((shares.len(), shares.iter().max()), (500_usize.div_ceil(13), Some(&13)));
    }

    #[test]
    fn whose_list_is_short_does_not_wait_for_the_long_ones() {
        let mut hub = hub_of(&users(200));
        answer_short(&mut hub, 110);
        assert_eq!((hub.due_short_reads(), hub.due_long_reads()), (0, 200));
        join(&mut hub, &user("customer"), true);
        assert_eq!(gather(&mut hub, short()).sessions[0].user, Some(user("customer")));
        assert_eq!((hub.due_short_reads(), hub.due_long_reads()), (0, 200));
    }

    #[test]
    fn who_shows_many_orders_is_read_among_the_long_ones_without_a_try() {
        let mut hub = hub_of(&users(2));
        let orders = (0..=SHORT_LIST).map(|n| (OrderId::parse(&format!("A-{n}")).unwrap(), None)).collect();
        let merchant = join(&mut hub, &user("merchant"), false);
        hub.sync(merchant, orders);
        assert_eq!(gather(&mut hub, short()).len(), 2);
        assert_eq!(gather(&mut hub, long(1_500)).sessions[0].orders.len(), SHORT_LIST + 1);
    }

    #[test]
    fn a_read_that_may_bring_more_than_the_bound_is_read_alone() {
        let mut hub = hub_of(&users(150));
        answer_short(&mut hub, 150);
        assert_eq!(gather(&mut hub, long(3 * MAX_ORDERS_PER_STATEMENT)).len(), 1);
        let parts = [5_000, 15_000, 1];
        let mut hub = hub_of(&[]);
        for max_orders in parts {
            let key = join(&mut hub, &user("merchant"), false);
            hub.read_part(key, None, max_orders);
        }
        let due = gather(&mut hub, short());
        assert_eq!((due.len(), query(&due, None).most_of_each), (3, Some(MAX_ORDERS_PER_STATEMENT / 3)));
        let query = query(&due, None);
        let snapshot = Snapshot::new(&query, Vec::new(), histories(&[(user("merchant"), 7_000)]));
        let is_too_long = |read: &SessionRead| read.listed(&snapshot).unwrap().too_long;
        assert_eq!(due.sessions.iter().map(is_too_long).collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn who_makes_a_statement_fail_fails_alone() {
        let mut statements = Statements::of(reads(0..64));
        let sent = run(&mut statements, &[17]);
        assert!(sent <= 1 + 2 * 6, "{sent} statements");
        assert_eq!(statements.take_refused().iter().flat_map(|due| &due.orders).count(), 1);
        assert!(statements.into_unanswered().is_empty());
        // Where others are answered, each that fails is found, and all the rest are answered.
        for bad in [&[0][..], &[63], &[0, 5], &[17, 40, 41]] {
            let mut statements = Statements::of(reads(0..64));
            run(&mut statements, bad);
            assert_eq!(statements.take_refused().len(), bad.len(), "{bad:?}");
            assert!(statements.into_unanswered().is_empty(), "{bad:?}");
        }
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

    /// A snapshot in which each of these users has so many orders.
    fn snapshot(users: &[(UserId, usize)]) -> Snapshot {
        let query = SnapshotQuery { users: users.iter().map(|(user, _)| user.clone()).collect(), ..Default::default() };
        Snapshot::new(&query, Vec::new(), histories(users))
    }

    fn histories(users: &[(UserId, usize)]) -> HashMap<OrderId, History> {
        let state = |user: &UserId, n: usize| {
            let state = paid(&format!("{}-{n}", user.as_str()), user.as_str());
            let timeline = Arc::new(Timeline::of(&state));
            (state.order_id.clone(), History { known: Known::Order(Arc::new(state)), timeline })
        };
        users.iter().flat_map(|(user, many)| (0..*many).map(move |n| state(user, n))).collect()
    }

    #[test]
    fn no_step_folds_more_orders_than_the_bound_unless_one_read_has_more() {
        let lists: Vec<(UserId, usize)> =
            users(40).into_iter().zip([0, 1, 300, 150, 200, 2_000, 499, 1].into_iter().cycle()).collect();
        let all: Vec<UserId> = lists.iter().map(|(user, _)| user.clone()).collect();
        let snapshot = snapshot(&lists);
        let mut due = hub_of(&all).take_due_reads(usize::MAX);
        let mut steps = Vec::new();
        while !due.is_empty() {
            let many = reads_of_a_step(&due, &snapshot);
            let step = due.take_first(many);
            let orders: usize =
                step.sessions.iter().map(|read| snapshot.listed_for(read.user.as_ref().unwrap()).len()).sum();
            assert!(many == 1 || orders <= MAX_ORDERS_PER_STEP, "{many} reads with {orders} orders");
            steps.push(many);
        }
        assert_eq!(steps.iter().sum::<usize>(), 40);
        assert!(steps.len() < 40, "small ones share a step");
    }
}
