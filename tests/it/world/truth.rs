//! What is true: events made by chance, and the fold of them that the test does itself.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde_json::{Value, json};

/// A shop whose orders change by chance, and what is true of them.
#[derive(Clone)]
pub struct Shop {
    rng: SmallRng,
    users: usize,
    orders: Vec<Order>,
    erases: bool,
}

#[derive(Clone, Default)]
struct Order {
    /// The newest version upstream has given.
    newest: u64,
    /// What is known: the newest version that was published, with its event; erased without.
    known: Option<(u64, Option<Value>)>,
    steps: BTreeSet<u64>,
}

impl Shop {
    /// A shop in which every user has three orders on average.
    pub fn new(seed: u64, users: usize) -> Self {
        // `scripts/faults` goes through other events every time.
        let more = std::env::var("ORDERCAST_TEST_SEED").map_or(0, |more| more.parse().expect("a number"));
        let seed = seed.wrapping_add(1_000_u64.wrapping_mul(more));
        Self { rng: SmallRng::seed_from_u64(seed), users, orders: vec![Order::default(); users * 3], erases: true }
    }

    /// The same without tombstones, whose place in the log matters.
    pub fn never_erasing(self) -> Self {
        Self { erases: false, ..self }
    }

    pub fn user(number: usize) -> String {
        format!("u-{number}")
    }

    /// The next events, in the order in which they are to be published. Some are late or double, some move an order to
    /// other users, some erase one.
    pub fn events(&mut self, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.event()).collect()
    }

    fn event(&mut self) -> Value {
        let number = self.rng.random_range(0..self.orders.len());
        let order_id = format!("A-{number}");
        let order = &mut self.orders[number];
        let chance = self.rng.random_range(0..100);
        if chance == 0 && self.erases && order.known.as_ref().is_some_and(|(_, event)| event.is_some()) {
            order.known = order.known.take().map(|(version, _)| (version, None));
            order.steps.clear();
            return json!({"order_id": order_id});
        }
        let version = match chance {
            1..5 if order.newest > 0 => self.rng.random_range(1..=order.newest),
            _ => order.newest + self.rng.random_range(1..3),
        };
        order.newest = order.newest.max(version);
        // An order belongs to a neighbourhood, and now and then somebody else comes to see it.
        let mut named = vec![Self::user(number % self.users)];
        for _ in 0..self.rng.random_range(0..3) {
            named.push(Self::user((number + self.rng.random_range(0..5)) % self.users));
        }
        let event = json!({
            "order_id": order_id, "user_id": named[0], "viewers": named[1..], "version": version,
            "status": format!("s{version}-{}", self.rng.random_range(0..1000)), "details": {"named": named},
        });
        match &mut order.known {
            Some((known, _)) if version <= *known => {}
            known => *known = Some((version, Some(event.clone()))),
        }
        if order.known.as_ref().is_some_and(|(_, event)| event.is_some()) {
            order.steps.insert(version);
        }
        event
    }

    /// What a user's screen is to show: order → (status, version).
    pub fn shown_to(&self, user: &str) -> BTreeMap<String, (String, u64)> {
        let known = self.orders.iter().filter_map(|order| order.known.as_ref()?.1.as_ref());
        let named =
            known.filter(|event| event["details"]["named"].as_array().unwrap().iter().any(|named| named == user));
        named
            .map(|event| (text(event, "order_id"), (text(event, "status"), event["version"].as_u64().unwrap())))
            .collect()
    }

    /// The rows there are to be: order → version, and the steps of its timeline.
    pub fn rows(&self) -> BTreeMap<String, (u64, usize)> {
        let orders = self.orders.iter().enumerate();
        let known = orders.filter_map(|(number, order)| match &order.known {
            Some((version, Some(_))) => Some((format!("A-{number}"), (*version, order.steps.len().min(50)))),
            _ => None,
        });
        known.collect()
    }
}

fn text(event: &Value, field: &str) -> String {
    event[field].as_str().unwrap().to_owned()
}
