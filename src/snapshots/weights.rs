//! How much reads are likely to bring, so that no statement and no step under the hub's lock is as large as chance has it.
//! Pure.
//!
//! A read weighs what it names, or what its user's last one listed, and not more than the part it asks for. Of users who
//! have not been read yet that is a guess; where the guesses were too low, the statement says so in place of an answer,
//! and whose lists are long. Those are asked for in statements of their own, so that the short ones need not wait for
//! them.

use hashbrown::DefaultHashBuilder;
use indexmap::IndexMap;

use crate::{
    domain::{Snapshot, UserId},
    hub::{DueReads, SessionRead},
};

/// Reads that share one statement at most; fewer for a while after a failure, which may have been too much to ask.
pub(super) const MAX_READS_PER_STATEMENT: usize = 500;
/// Orders that one statement lists at most, unless a single user has more.
pub(super) const MAX_ORDERS_PER_STATEMENT: usize = 20_000;
/// Orders folded under the hub's lock at once, unless a single read has more. One read is folded whole: its screen is told
/// of no record before it is complete, and of each after that, so all of it has to be of one moment.
const MAX_ORDERS_PER_STEP: usize = 500;
/// What a user's list is taken for who has not been read yet.
const GUESS: usize = MAX_ORDERS_PER_STATEMENT / MAX_READS_PER_STATEMENT;
/// Users remembered whose lists are longer than the guess.
const MAX_REMEMBERED: usize = 50_000;

/// The users whose lists are long.
#[derive(Debug, Default)]
pub(super) struct Weights(IndexMap<UserId, usize, DefaultHashBuilder>);

impl Weights {
    /// How many orders a read is likely to bring.
    pub(super) fn of(&self, read: &SessionRead) -> usize {
        let listed = read.user.as_ref().map_or(1, |user| self.0.get(user).copied().unwrap_or(GUESS));
        let most = read.part.as_ref().map_or(usize::MAX, |part| part.max_orders);
        listed.min(most).max(read.orders.len())
    }

    /// A user's list was so long.
    pub(super) fn on_answer(&mut self, user: UserId, orders: usize) {
        if orders > GUESS {
            self.remember(user, orders);
        } else {
            self.0.swap_remove(&user);
        }
    }

    /// The lists of these users were too long for one statement: some of them, and how long they are at least. One of them
    /// is longer than it was taken for, so the same is not tried again. The others may be long as well: whoever comes now
    /// does not wait until that is known.
    pub(super) fn on_too_much(&mut self, users: Vec<UserId>, listed: Vec<(UserId, usize)>) {
        for user in users {
            if !self.0.contains_key(&user) {
                self.remember(user, GUESS);
            }
        }
        for (user, orders) in listed {
            if orders > self.0.get(&user).copied().unwrap_or(GUESS) {
                self.remember(user, orders);
            }
        }
    }

    /// Whether no list is known to be long.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this user's list is known to be long, or may be.
    pub(super) fn is_long(&self, user: Option<&UserId>) -> bool {
        user.is_some_and(|user| self.0.contains_key(user))
    }

    fn remember(&mut self, user: UserId, orders: usize) {
        if self.0.len() >= MAX_REMEMBERED && !self.0.contains_key(&user) {
            self.0.swap_remove_index(0);
        }
        self.0.insert(user, orders);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hashbrown::HashMap;

    use super::{super::statements::query, *};
    use crate::{
        domain::{Epoch, OrderId, OrderState, Position, Stamp, Timestamp, Version, VersionKind, Viewer},
        domain::{History, Known, SnapshotQuery, Timeline},
        hub::{Gathering, Hub, Joining, Mailbox},
    };

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn hub_of(users: &[UserId]) -> Hub {
        let mut hub = Hub::new(usize::MAX);
        hub.begin(Position { partition: 0, epoch: Epoch(1), next_offset: 0 });
        for id in users {
            let viewer = Viewer::User { id: id.clone(), only: None };
            let mailbox = Arc::new(Mailbox::new(1 << 20));
            hub.join(Joining { viewer, mailbox, start: true, place: None, identity: None }).unwrap();
        }
        hub
    }

    fn users(many: usize) -> Vec<UserId> {
        (0..many).map(|n| user(&format!("u-{n}"))).collect()
    }

    fn gather_among(hub: &mut Hub, weights: &Weights, long: bool) -> DueReads {
        let mut gathering = Gathering::up_to(MAX_READS_PER_STATEMENT, MAX_ORDERS_PER_STATEMENT);
        while hub.gather(&mut gathering, |user| weights.is_long(user) == long, |read| weights.of(read)) {}
        gathering.due
    }

    /// Short lists, or else long ones.
    fn gather(hub: &mut Hub, weights: &Weights) -> DueReads {
        match gather_among(hub, weights, false) {
            due if due.is_empty() => gather_among(hub, weights, true),
            due => due,
        }
    }

    /// Answers, or says what is too much, as a database does in which each list is so long.
    fn ask(due: &DueReads, orders: usize) -> Result<(), Vec<(UserId, usize)>> {
        let mut left = MAX_ORDERS_PER_STATEMENT + 1;
        let listed = due.sessions.iter().filter_map(|read| {
            let some = left.min(orders);
            left -= some;
            (some > 0).then_some((read.user.clone()?, some))
        });
        let listed: Vec<_> = listed.collect();
        if due.len() > 1 && left == 0 { Err(listed) } else { Ok(()) }
    }

    #[test]
    fn users_who_are_not_known_share_smaller_statements_until_they_fit_and_are_known_then() {
        let (users, orders) = (users(500), 1_500);
        let (mut hub, mut weights) = (hub_of(&users), Weights::default());
        let (mut statements, mut answered, mut in_vain) = (0, 0, 0);
        loop {
            let due = gather(&mut hub, &weights);
            if due.is_empty() {
                break;
            }
            statements += 1;
            match ask(&due, orders) {
                Err(listed) => {
                    in_vain += 1;
                    let asked = due.sessions.iter().filter_map(|read| read.user.clone()).collect();
                    weights.on_too_much(asked, listed);
                    let newcomer = user("customer");
                    assert!(
                        !weights.is_long(Some(&newcomer))
                            && due.sessions.iter().all(|read| weights.is_long(read.user.as_ref()))
                    );
                    hub.retry(due);
                }
                Ok(()) => {
                    answered += due.len();
                    due.sessions.into_iter().for_each(|read| weights.on_answer(read.user.unwrap(), orders));
                }
            }
        }
        assert_eq!(answered, 500);
        assert!(in_vain <= 80, "{in_vain} statements in vain");
        assert!(statements <= 150, "{statements} statements");
        // They return at once.
        let mut hub = hub_of(&users);
        let mut statements = 0;
        while let due = gather(&mut hub, &weights)
            && !due.is_empty()
        {
            assert!(due.len() * orders <= MAX_ORDERS_PER_STATEMENT, "{}", due.len());
            statements += 1;
        }
        assert_eq!(statements, 500_usize.div_ceil(MAX_ORDERS_PER_STATEMENT / orders));
    }

    #[test]
    fn whose_list_is_short_does_not_wait_for_the_long_ones() {
        let (merchants, mut weights) = (users(500), Weights::default());
        merchants.iter().for_each(|user| weights.on_answer(user.clone(), 1_500));
        let everybody: Vec<UserId> = merchants.into_iter().chain([user("customer")]).collect();
        let mut hub = hub_of(&everybody);
        assert_eq!(hub.due_among(|user| !weights.is_long(user)), 1);
        assert_eq!(gather_among(&mut hub, &weights, false).sessions[0].user, Some(user("customer")));
        assert_eq!((hub.due_among(|user| !weights.is_long(user)), hub.due_reads()), (0, 500));
    }

    #[test]
    fn a_part_of_a_list_weighs_no_more_than_it_may_have_and_tells_nothing_of_the_rest() {
        let (users, mut weights) = (users(2), Weights::default());
        users.iter().for_each(|user| weights.on_answer(user.clone(), 1_500));
        let mut hub = hub_of(&[]);
        for (user, max_orders) in users.iter().zip([5, 7]) {
            let viewer = Viewer::User { id: user.clone(), only: None };
            let mailbox = Arc::new(Mailbox::new(1 << 20));
            let key = hub.join(Joining { viewer, mailbox, start: false, place: None, identity: None }).unwrap();
            hub.read_part(key, None, max_orders);
        }
        let due = hub.take_due_reads(2).sessions;
        assert_eq!(due.iter().map(|read| weights.of(read)).collect::<Vec<_>>(), [5, 7]);
        let snapshot = snapshot_of(&query(&DueReads { sessions: due.clone(), orders: vec![] }, None), &users, 6);
        let listed = |read: &SessionRead| read.listed(&snapshot).unwrap().orders.len();
        assert_eq!(due.iter().map(listed).collect::<Vec<_>>(), [5, 6]);
        let lengths: Vec<_> = due.iter().map(|read| read.list_len(&snapshot)).collect();
        assert_eq!(lengths, [None, Some(6)], "the first goes on");
    }

    #[test]
    fn who_has_more_than_a_statement_may_list_is_read_alone() {
        let (users, mut weights) = (users(3), Weights::default());
        let mut hub = hub_of(&users);
        weights.on_answer(users[1].clone(), 3 * MAX_ORDERS_PER_STATEMENT);
        let shares: Vec<usize> = (0..3).map(|_| gather(&mut hub, &weights).len()).collect();
        assert_eq!(shares, [2, 1, 0]);
        weights.on_answer(users[1].clone(), 3);
        assert_eq!(gather(&mut hub_of(&users), &weights).len(), 3, "not any more");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut weights = Weights::default();
        for n in 0..MAX_REMEMBERED + 100 {
            weights.on_answer(user(&format!("u-{n}")), GUESS + 1);
            weights.on_answer(user(&format!("small-{n}")), GUESS);
        }
        assert_eq!(weights.0.len(), MAX_REMEMBERED);
    }

    /// A snapshot in which each of these users has so many orders.
    fn snapshot(users: &[(UserId, usize)]) -> Snapshot {
        let query = SnapshotQuery { users: users.iter().map(|(user, _)| user.clone()).collect(), ..Default::default() };
        Snapshot::new(&query, Vec::new(), histories(users))
    }

    fn snapshot_of(query: &SnapshotQuery, users: &[UserId], orders: usize) -> Snapshot {
        let users: Vec<_> = users.iter().map(|user| (user.clone(), orders)).collect();
        Snapshot::new(query, Vec::new(), histories(&users))
    }

    fn histories(users: &[(UserId, usize)]) -> HashMap<OrderId, History> {
        let state = |user: &UserId, n: usize| {
            let state = OrderState {
                order_id: OrderId::parse(&format!("{}-{n}", user.as_str())).unwrap(),
                user_id: user.clone(),
                viewers: Box::default(),
                status: "created".into(),
                terminal: false,
                version: Version { kind: VersionKind::Field, number: 1 },
                stamp: Stamp { epoch: Epoch(1), partition: 0, offset: 0 },
                occurred_at: Timestamp::from_millis(0).unwrap(),
                details: None,
                event_id: None,
            };
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
        let mut due = gather(&mut hub_of(&all), &Weights::default());
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
