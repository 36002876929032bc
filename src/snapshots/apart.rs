//! Reads that failed although the database answers, each for a reason of its own: a row that cannot be read, an answer that
//! breaks off. They wait alone, longer each time, and are asked for alone, so that nobody else pays for them. Pure: time
//! is passed in.

use std::time::{Duration, Instant};

use hashbrown::HashMap;

use crate::{
    domain::{ListPart, OrderId, UserId},
    hub::{DueReads, OrderRead, SessionRead},
};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// How often it is told that a row cannot be read.
const REMINDER_INTERVAL: Duration = Duration::from_secs(3600);
/// Reads, and orders told, that are remembered: more share their statements again.
const MAX_REMEMBERED: usize = 1_000;

/// Whose read it is: that of another session may fail for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Name {
    User(UserId),
    /// A part of a user's list.
    Part(ListPart),
    /// The order of a point read, or all that a link lists.
    Orders(Vec<OrderId>),
}

impl Name {
    /// The name of a single read.
    pub(super) fn of(due: &DueReads) -> Option<Self> {
        let session = due.sessions.first().map(Self::of_session);
        session.or_else(|| due.orders.first().map(Self::of_order))
    }

    fn of_session(read: &SessionRead) -> Self {
        match (&read.part, &read.user) {
            (Some(part), _) => Self::Part(part.clone()),
            (None, Some(user)) => Self::User(user.clone()),
            (None, None) => {
                let mut orders = read.orders.clone();
                orders.sort_unstable();
                Self::Orders(orders)
            }
        }
    }

    fn of_order(read: &OrderRead) -> Self {
        Self::Orders(vec![read.order_id.clone()])
    }
}

/// What is known of such reads.
#[derive(Debug, Default)]
pub(super) struct Apart {
    troubles: HashMap<Name, Trouble>,
    /// Orders whose rows cannot be read, and when that was told.
    told: HashMap<String, Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Trouble {
    pause: Duration,
    until: Instant,
}

/// Reads sorted by how they are to be asked for.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// In one statement.
    pub(super) together: DueReads,
    /// Each alone.
    pub(super) alone: Vec<DueReads>,
    /// Each after a while.
    pub(super) later: Vec<(Duration, DueReads)>,
}

impl Apart {
    /// Takes those out that are not to share a statement.
    pub(super) fn sort(&self, mut due: DueReads, now: Instant) -> Sorted {
        let mut sorted = Sorted::default();
        if !self.troubles.is_empty() {
            let sessions = due.sessions.extract_if(.., |read| self.troubles.contains_key(&Name::of_session(read)));
            let sessions = sessions.map(|read| DueReads { sessions: vec![read], orders: Vec::new() });
            let orders = due.orders.extract_if(.., |read| self.troubles.contains_key(&Name::of_order(read)));
            let orders = orders.map(|read| DueReads { sessions: Vec::new(), orders: vec![read] });
            for read in sessions.chain(orders) {
                match self.wait(&read, now) {
                    Duration::ZERO => sorted.alone.push(read),
                    wait => sorted.later.push((wait, read)),
                }
            }
        }
        sorted.together = due;
        sorted
    }

    fn wait(&self, read: &DueReads, now: Instant) -> Duration {
        let trouble = Name::of(read).and_then(|name| self.troubles.get(&name));
        trouble.map_or(Duration::ZERO, |trouble| trouble.until.saturating_duration_since(now))
    }

    /// A read failed alone. Returns how long it is to wait.
    pub(super) fn on_failure(&mut self, name: Name, now: Instant) -> Duration {
        if self.troubles.len() >= MAX_REMEMBERED && !self.troubles.contains_key(&name) {
            self.troubles.retain(|_, trouble| trouble.until > now);
            if self.troubles.len() >= MAX_REMEMBERED {
                return LAST_PAUSE;
            }
        }
        let trouble = self.troubles.entry(name);
        let trouble = trouble
            .and_modify(|trouble| trouble.pause = (trouble.pause * 2).min(LAST_PAUSE))
            .or_insert(Trouble { pause: FIRST_PAUSE, until: now });
        trouble.until = now + trouble.pause;
        trouble.pause
    }

    /// A read was answered that had failed before.
    pub(super) fn on_answer(&mut self, name: &Name) {
        self.troubles.remove(name);
    }

    /// Whether it is to be told now that the row of this order cannot be read.
    pub(super) fn tells(&mut self, order: &str, now: Instant) -> bool {
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < REMINDER_INTERVAL;
        if self.told.get(order).is_some_and(is_recent) {
            return false;
        }
        if self.told.len() >= MAX_REMEMBERED {
            self.told.retain(|_, at| is_recent(at));
        }
        if self.told.len() >= MAX_REMEMBERED {
            return false;
        }
        self.told.insert(order.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(order: &str) -> DueReads {
        DueReads { sessions: Vec::new(), orders: vec![OrderRead { order_id: OrderId::parse(order).unwrap() }] }
    }

    fn name(order: &str) -> Name {
        Name::of(&read(order)).unwrap()
    }

    #[test]
    fn a_read_that_fails_alone_waits_longer_each_time_and_nobody_with_it() {
        let (start, mut apart) = (Instant::now(), Apart::default());
        let due = || DueReads { orders: [read("bad"), read("good")].map(|due| due.orders).concat(), ..read("bad") };
        assert_eq!(apart.sort(due(), start).together.len(), 2);
        let mut pauses = Vec::new();
        let mut now = start;
        for _ in 0..7 {
            let pause = apart.on_failure(name("bad"), now);
            let sorted = apart.sort(due(), now + pause / 2);
            assert_eq!((sorted.together.len(), sorted.alone.len()), (1, 0));
            assert_eq!(sorted.later[0].0, pause - pause / 2);
            now += pause;
            let sorted = apart.sort(due(), now);
            assert_eq!((sorted.together.len(), sorted.alone.len(), sorted.later.len()), (1, 1, 0));
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        apart.on_answer(&name("bad"));
        assert_eq!(apart.sort(due(), now).together.len(), 2);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (start, mut apart) = (Instant::now(), Apart::default());
        for n in 0..3 * MAX_REMEMBERED {
            apart.on_failure(name(&format!("A-{n}")), start);
            apart.tells(&format!("A-{n}"), start);
        }
        assert_eq!((apart.troubles.len(), apart.told.len()), (MAX_REMEMBERED, MAX_REMEMBERED));
        apart.on_failure(name("later"), start + LAST_PAUSE);
        assert_eq!(apart.troubles.len(), 1);
    }

    #[test]
    fn a_row_that_cannot_be_read_is_told_once_in_a_while() {
        let (start, mut apart) = (Instant::now(), Apart::default());
        assert!(apart.tells("A-1", start) && apart.tells("A-2", start));
        assert!(!apart.tells("A-1", start + REMINDER_INTERVAL / 2));
        assert!(apart.tells("A-1", start + REMINDER_INTERVAL));
    }
}
