//! A snapshot: rows and progress, read from SQL in one statement.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{Epoch, History, Lifecycle, OrderId, OrderState, Timestamp, UserId};

/// How far the recorder is in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The partition.
    pub partition: i32,
    /// The life of the log in which the offset counts.
    pub epoch: Epoch,
    /// The next offset the recorder will apply.
    pub next_offset: i64,
}

/// A place in a viewer's list. Lists begin with the greatest: the order that changed last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListPlace {
    /// The order's `occurred_at`, in milliseconds since 1970.
    pub changed_at: i64,
    /// Decides between orders of the same moment.
    pub order_id: OrderId,
}

impl ListPlace {
    /// Where an order in this state stands.
    pub fn of(state: &OrderState) -> Self {
        Self { changed_at: state.occurred_at.as_millis(), order_id: state.order_id.clone() }
    }

    /// Whether an order in this state comes later in the list.
    pub fn precedes(&self, state: &OrderState) -> bool {
        (state.occurred_at.as_millis(), &state.order_id) < (self.changed_at, &self.order_id)
    }
}

/// A part of a user's list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListPart {
    /// The user.
    pub user: UserId,
    /// It begins behind this place; `None`: with the first order.
    pub after: Option<ListPlace>,
    /// Most orders.
    pub max_orders: usize,
}

/// What a snapshot says of a list, or of a part of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// The orders.
    pub orders: Vec<OrderId>,
    /// The list goes on behind this place; `None`: that is all.
    pub end: Option<ListPlace>,
    /// It was not read, because it is longer than each list of its statement might be.
    pub too_long: bool,
}

/// What a snapshot is read for.
#[derive(Debug, Clone, Default)]
pub struct SnapshotQuery {
    /// All orders that name these users, but terminal ones older than [`terminal_since`](Self::terminal_since).
    pub users: Vec<UserId>,
    /// Most orders in the list of each of [`users`](Self::users), the newest; `None`: all.
    pub max_orders: Option<usize>,
    /// Parts of such lists, whatever that bound is.
    pub parts: Vec<ListPart>,
    /// Orders asked for by name: answered at any age, and by their marker if they were erased.
    pub orders: Vec<OrderId>,
    /// Terminal orders that changed at or before this moment are not listed.
    pub terminal_since: Option<Timestamp>,
    /// A list that is to have more orders than this and does is [too long](Listed::too_long); `None`: none is.
    pub most_of_each: Option<usize>,
    /// By which stored statuses count as terminal, as those of records do that come; `None`: as they were stored.
    pub lifecycle: Option<Arc<Lifecycle>>,
}

/// The truth of some orders at one progress.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    positions: Vec<Position>,
    histories: HashMap<OrderId, History>,
    listed: HashMap<ListPart, Listed>,
    whole: HashMap<UserId, ListPart>,
    unreadable_values: u64,
}

impl Snapshot {
    /// Indexes what one statement read for `query`.
    pub fn new(query: &SnapshotQuery, positions: Vec<Position>, histories: HashMap<OrderId, History>) -> Self {
        let parts: Vec<ListPart> = query.lists().collect();
        let mut by_user: HashMap<&UserId, Vec<&OrderState>> =
            parts.iter().map(|part| (&part.user, Vec::new())).collect();
        for state in histories.values().filter_map(|history| history.known.order()) {
            if query.lists_state(state) {
                for user in state.named() {
                    if let Some(states) = by_user.get_mut(user) {
                        states.push(state);
                    }
                }
            }
        }
        for states in by_user.values_mut() {
            states.sort_unstable_by(|a, b| (b.occurred_at, &b.order_id).cmp(&(a.occurred_at, &a.order_id)));
        }
        let cut = |part: &ListPart| {
            let states = by_user.get(&part.user).into_iter().flatten();
            let mut behind = states.filter(|state| part.after.as_ref().is_none_or(|after| after.precedes(state)));
            let states: Vec<_> = behind.by_ref().take(part.max_orders).collect();
            let last = states.last().filter(|_| behind.next().is_some());
            Listed {
                too_long: query.most_of_each.is_some_and(|most| states.len() > most),
                end: last.map(|state| ListPlace::of(state)),
                orders: states.into_iter().map(|state| state.order_id.clone()).collect(),
            }
        };
        let listed = parts.iter().map(|part| (part.clone(), cut(part))).collect();
        let whole = parts.iter().take(query.users.len()).map(|part| (part.user.clone(), part.clone())).collect();
        drop(by_user);
        Self { positions, histories, listed, whole, unreadable_values: 0 }
    }

    /// Notes that more than was read stands behind this place in a list.
    pub fn cut_at(mut self, part: &ListPart, end: ListPlace) -> Self {
        if let Some(listed) = self.listed.get_mut(part) {
            let is_read = |order_id: &OrderId| {
                let state = self.histories.get(order_id).and_then(|history| history.known.order());
                state.is_some_and(|state| !end.precedes(state))
            };
            listed.orders.retain(is_read);
            listed.end = Some(end);
        }
        self
    }

    /// Notes that a list was not read, because it is too long.
    pub fn too_long(mut self, part: &ListPart) -> Self {
        if let Some(listed) = self.listed.get_mut(part) {
            listed.too_long = true;
        }
        self
    }

    /// Notes how many values are not told as they are stored, because no client could read them.
    pub fn with_unreadable_values(self, unreadable_values: u64) -> Self {
        Self { unreadable_values, ..self }
    }

    /// How many values are not told as they are stored, because no client could read them.
    pub fn unreadable_values(&self) -> u64 {
        self.unreadable_values
    }

    /// The recorder's progress the rows were read at, one position per partition.
    pub fn positions(&self) -> &[Position] {
        &self.positions
    }

    /// How many orders it says something of.
    pub fn order_count(&self) -> usize {
        self.histories.len()
    }

    /// What the store knew of an order.
    pub fn history(&self, order: &str) -> Option<&History> {
        self.histories.get(order)
    }

    /// The orders listed for a user the query asked for, newest first.
    pub fn listed_for(&self, user: &UserId) -> &[OrderId] {
        self.list_of(user).map_or(&[], |listed| &listed.orders)
    }

    /// The list of a user the query asked for.
    pub fn list_of(&self, user: &UserId) -> Option<&Listed> {
        self.listed.get(self.whole.get(user)?)
    }

    /// A part the query asked for.
    pub fn part(&self, part: &ListPart) -> Option<&Listed> {
        self.listed.get(part)
    }
}

impl SnapshotQuery {
    /// Whether a viewer's list holds an order in this state, however long it is.
    pub fn lists_state(&self, state: &OrderState) -> bool {
        !state.terminal || self.terminal_since.is_none_or(|since| state.occurred_at > since)
    }

    /// All that is asked for of lists: first those of [`users`](Self::users), then the parts.
    pub fn lists(&self) -> impl Iterator<Item = ListPart> {
        let max_orders = self.max_orders.unwrap_or(usize::MAX);
        let whole = self.users.iter().map(move |user| ListPart { user: user.clone(), after: None, max_orders });
        whole.chain(self.parts.iter().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Change, Known,
        fold::tests::{FIELD, set},
        order::tests::state,
    };

    fn snapshot(query: &SnapshotQuery, many: i64) -> Snapshot {
        let history = |at: i64| {
            let Change::Set(state) = set(at, crate::domain::VersionKind::Field, 1, "paid").change else { panic!() };
            let mut state = Arc::into_inner(state).unwrap();
            state.order_id = OrderId::parse(&format!("A-{at}")).unwrap();
            (state.order_id.clone(), History { known: Known::Order(state.into()), timeline: Arc::default() })
        };
        Snapshot::new(query, Vec::new(), (0..many).map(history).collect())
    }

    fn place(at: i64) -> ListPlace {
        ListPlace { changed_at: at, order_id: OrderId::parse(&format!("A-{at}")).unwrap() }
    }

    fn names(listed: Option<&Listed>) -> (Vec<&str>, Option<i64>) {
        let listed = listed.unwrap();
        (listed.orders.iter().map(OrderId::as_str).collect(), listed.end.as_ref().map(|end| end.changed_at))
    }

    #[test]
    fn a_list_holds_the_newest_and_says_where_it_was_cut() {
        let user = UserId::parse("u-42").unwrap();
        let part = |after: i64, max_orders| ListPart { user: user.clone(), after: Some(place(after)), max_orders };
        let parts = vec![part(3, 2), part(3, 3), part(2, 2), part(0, 2)];
        let query = SnapshotQuery { users: vec![user.clone()], max_orders: Some(2), parts, ..Default::default() };
        let read = snapshot(&query, 5);
        assert_eq!(names(read.list_of(&user)), (vec!["A-4", "A-3"], Some(3)));
        let parts: Vec<_> = query.parts.iter().map(|part| names(read.part(part))).collect();
        let all = (vec!["A-2", "A-1", "A-0"], None);
        assert_eq!(parts, [(vec!["A-2", "A-1"], Some(1)), all, (vec!["A-1", "A-0"], None), (vec![], None)]);
        assert_eq!(names(snapshot(&query, 2).list_of(&user)), (vec!["A-1", "A-0"], None));

        let read = read.cut_at(&query.lists().next().unwrap(), place(4));
        assert_eq!(names(read.list_of(&user)), (vec!["A-4"], Some(4)), "the store knows of more");
    }

    #[test]
    fn a_terminal_order_is_listed_for_a_while_and_any_other_at_any_age() {
        let mut state = state(FIELD, &[]);
        let since = |millis| Some(Timestamp::from_millis(millis).unwrap());
        let listed = |state: &OrderState, terminal_since| {
            SnapshotQuery { terminal_since, ..Default::default() }.lists_state(state)
        };
        assert!(listed(&state, since(1)) && listed(&state, since(2)));
        state.terminal = true;
        assert_eq!(
            [None, since(0), since(1), since(2)].map(|since| listed(&state, since)),
            [true, true, false, false],
            "it changed at 1"
        );
    }

    #[test]
    fn it_says_what_it_read_and_nothing_of_what_it_was_not_asked() {
        let user = UserId::parse("u-42").unwrap();
        let query = SnapshotQuery { users: vec![user.clone()], ..Default::default() };
        let read = snapshot(&query, 3).with_unreadable_values(2);
        assert_eq!((read.order_count(), read.unreadable_values()), (3, 2));
        let at = Position { partition: 3, epoch: Epoch(7), next_offset: 9 };
        assert_eq!(Snapshot::new(&query, vec![at], HashMap::new()).positions(), [at]);
        assert!(read.history("A-2").is_some() && read.history("A-3").is_none());
        assert_eq!(read.listed_for(&user).iter().map(OrderId::as_str).collect::<Vec<_>>(), ["A-2", "A-1", "A-0"]);
        assert!(read.listed_for(&UserId::parse("u-7").unwrap()).is_empty());
    }
}
