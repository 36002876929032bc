//! What a check publishes, when, and what every screen must show in the end. Pure: chance is given.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use rand::Rng;

use crate::domain::{OrderId, UserId};

/// How often an order changes, on average.
const CHANGE_INTERVAL: Duration = Duration::from_secs(1);

/// Orders of this run, by id, with the version they are shown in.
pub(super) type Screen = BTreeMap<String, u64>;

/// What is to be published, in the order of time.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) run: String,
    pub(super) users: Vec<UserId>,
    pub(super) orders: Vec<OrderId>,
    pub(super) events: Vec<Planned>,
    /// Who may see which version, by order and version.
    named: HashMap<(usize, u64), Named>,
    by_id: HashMap<String, usize>,
}

/// One event.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    /// From the beginning of the run.
    pub(super) due: Duration,
    pub(super) order: usize,
    pub(super) version: u64,
    pub(super) status: String,
    pub(super) named: Named,
    pub(super) kind: Kind,
}

/// Who an event names, as numbers of users: its user, then perhaps a further viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) user: usize,
    pub(super) viewer: Option<usize>,
}

/// What an event is to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// To be shown.
    New,
    /// Comes after a newer one of its order; never to be shown.
    Late,
    /// Comes again; to be shown once.
    Duplicate,
}

impl Named {
    fn has(self, user: usize) -> bool {
        self.user == user || self.viewer == Some(user)
    }
}

impl Plan {
    /// For so many users and orders, as long as `duration`. All ids begin with `check-<run>-`.
    pub(super) fn new(
        run: &str,
        users: usize,
        orders: usize,
        duration: Duration,
        statuses: &[String],
        chance: &mut impl Rng,
    ) -> Self {
        let id = |kind: &str, number: usize| format!("check-{run}-{kind}{number}");
        let users: Vec<UserId> = (0..users)
            .map(|number| UserId::parse(&id("u", number)).expect("a short text without control characters"))
            .collect();
        let ids: Vec<OrderId> = (0..orders)
            .map(|number| OrderId::parse(&id("", number)).expect("a short text without control characters"))
            .collect();
        let mut events = Vec::new();
        for order in 0..orders {
            journey(order, users.len(), duration, statuses, chance, &mut events);
        }
        events.sort_by_key(|event| event.due);
        let named = events.iter().map(|event| ((event.order, event.version), event.named)).collect();
        let by_id = ids.iter().enumerate().map(|(order, id)| (id.to_string(), order)).collect();
        Self { run: run.to_owned(), users, orders: ids, events, named, by_id }
    }

    /// The number of the order, if it is one of this run.
    pub(super) fn order(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// Whether this version of an order names the user.
    pub(super) fn may_see(&self, user: usize, order: usize, version: u64) -> bool {
        self.named.get(&(order, version)).is_some_and(|named| named.has(user))
    }

    /// What a user's screen must show when all events have been published.
    pub(super) fn truth(&self, user: usize) -> Screen {
        let mut newest: HashMap<usize, u64> = HashMap::new();
        for event in &self.events {
            let version = newest.entry(event.order).or_default();
            *version = event.version.max(*version);
        }
        let seen = newest.into_iter().filter(|(order, version)| self.may_see(user, *order, *version));
        seen.map(|(order, version)| (self.orders[order].to_string(), version)).collect()
    }
}

/// The events of one order.
fn journey(
    order: usize,
    users: usize,
    duration: Duration,
    statuses: &[String],
    chance: &mut impl Rng,
    events: &mut Vec<Planned>,
) {
    let mut due = CHANGE_INTERVAL.mul_f64(chance.random());
    let mut named = Named { user: order % users, viewer: None };
    let mut version = 0;
    let status = |version: u64| statuses[(version - 1) as usize % statuses.len()].clone();
    while due < duration {
        version += 1;
        let event = Planned { due, order, version, status: status(version), named, kind: Kind::New };
        let soon = due + CHANGE_INTERVAL.mul_f64(chance.random_range(0.05..0.5));
        match chance.random_range(0..10) {
            0 => events.push(Planned { kind: Kind::Duplicate, due: soon, ..event.clone() }),
            // The next one overtakes it.
            1 if version > 1 => {
                events.push(Planned { kind: Kind::Late, due: soon, ..event.clone() });
                version += 1;
            }
            _ => {}
        }
        events.push(Planned { version, status: status(version), ..event });
        due += CHANGE_INTERVAL.mul_f64(chance.random_range(0.5..1.5));
        // Now and then it changes hands, and somebody else may look, too.
        if chance.random_bool(0.15) {
            let viewer = chance.random_bool(0.5).then(|| chance.random_range(0..users));
            named = Named { user: chance.random_range(0..users), viewer };
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn plan(seed: u64) -> Plan {
        let statuses = ["created".to_owned(), "paid".to_owned()];
        Plan::new("r1", 5, 20, Duration::from_secs(30), &statuses, &mut StdRng::seed_from_u64(seed))
    }

    #[test]
    fn every_order_moves_on_with_late_and_duplicate_events_among_the_new() {
        let plan = plan(1);
        assert!(plan.events.is_sorted_by_key(|event| event.due));
        for kind in [Kind::New, Kind::Late, Kind::Duplicate] {
            assert!(plan.events.iter().any(|event| event.kind == kind), "{kind:?}");
        }
        let mut newest = HashMap::new();
        for event in &plan.events {
            let known = newest.entry(event.order).or_insert(0);
            match event.kind {
                Kind::New => assert!(event.version > *known),
                Kind::Late => assert!(event.version < *known),
                Kind::Duplicate => assert!(event.version <= *known),
            }
            *known = event.version.max(*known);
        }
        assert_eq!(newest.len(), 20);
    }

    #[test]
    fn the_truth_of_a_user_are_the_orders_whose_newest_event_names_them() {
        let plan = plan(2);
        let screens: Vec<Screen> = (0..5).map(|user| plan.truth(user)).collect();
        for (number, order) in plan.orders.iter().enumerate() {
            let last =
                plan.events.iter().filter(|event| event.order == number).max_by_key(|event| event.version).unwrap();
            for (user, screen) in screens.iter().enumerate() {
                let shown = screen.get(order.as_str());
                assert_eq!(shown.copied(), last.named.has(user).then_some(last.version));
            }
        }
        assert!(plan.orders[0].as_str().starts_with("check-r1-") && plan.order(plan.orders[3].as_str()) == Some(3));
    }
}
