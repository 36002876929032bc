//! The simulated shop: who orders what, and how an order gets from one status to the next. Pure.
//!
//! All that is not in the order itself follows from its number, so an order of an earlier run is carried on as it was.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::Timestamp;

/// The statuses an order goes through.
pub(in crate::dev) const JOURNEY: [&str; 6] = ["created", "paid", "packed", "shipped", "out_for_delivery", "delivered"];
/// Where a few end instead.
pub(in crate::dev) const CANCELLED: &str = "cancelled";

const PREFIX: &str = "S-";
const FIRST_NUMBER: u64 = 1001;
const CARRIERS: [&str; 3] = ["DHL", "UPS", "GLS"];
const COURIERS: [&str; 3] = ["c-amira", "c-jonas", "c-wei"];
const ITEMS: [&str; 5] = ["2 × Sencha", "1 × Teapot, 1 × Oolong", "3 × Assam", "1 × Matcha set", "4 × Earl Grey"];
const DELIVERY_TIME: Duration = Duration::from_secs(45 * 60);
/// One order in so many is cancelled.
const CANCELLED_ONE_IN: u64 = 11;

/// Somebody who orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Customer {
    pub(super) user_id: &'static str,
    pub(super) merchant: &'static str,
    /// Orders under way at a time.
    pub(super) orders: usize,
}

/// An order as `GET /orders` shows it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Seen {
    pub(super) order_id: String,
    pub(super) status: String,
    pub(super) terminal: bool,
    pub(super) occurred_at: Timestamp,
    #[serde(default)]
    pub(super) details: Map<String, Value>,
}

impl Seen {
    /// Its number, if the simulator made it.
    fn number(&self) -> Option<u64> {
        self.order_id.strip_prefix(PREFIX)?.parse().ok()
    }

    /// Where it is on its journey; `None` where somebody else has taken it elsewhere.
    fn place(&self) -> Option<usize> {
        JOURNEY.iter().position(|status| *status == self.status)
    }
}

/// What is published: the whole order, without a version, so that its place in the log decides what is newer. Then what
/// others publish of the same order, from the page or by hand, counts as much.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Event {
    pub(super) order_id: String,
    pub(super) user_id: &'static str,
    pub(super) status: &'static str,
    pub(super) occurred_at: Timestamp,
    pub(super) details: Map<String, Value>,
    pub(super) viewers: Vec<&'static str>,
}

/// The number of the next order that begins, after these.
pub(super) fn next_number<'a>(orders: impl IntoIterator<Item = &'a Seen>) -> u64 {
    orders.into_iter().filter_map(Seen::number).max().map_or(FIRST_NUMBER, |number| number + 1)
}

/// What happens next to a customer's orders: a new one begins, or the one that has waited longest moves on. They begin one
/// after the other, so that each is at another place. Only a new one uses `next_number`.
pub(super) fn next_event(customer: &Customer, seen: &[Seen], next_number: &mut u64, now: Timestamp) -> Event {
    let mut open: Vec<(u64, usize, &Seen)> = seen
        .iter()
        .filter(|order| !order.terminal)
        .filter_map(|order| Some((order.number()?, order.place()?, order)))
        .collect();
    open.sort_by_key(|(number, _, order)| (order.occurred_at, *number));
    let newest_has_moved = open.iter().max_by_key(|(number, ..)| *number).is_none_or(|(_, place, _)| *place > 0);
    match open.first() {
        Some((number, place, order)) if open.len() >= customer.orders || !newest_has_moved => {
            let is_cancelled = number % CANCELLED_ONE_IN == 0 && *place == 1;
            let status = if is_cancelled { CANCELLED } else { JOURNEY[(place + 1).min(JOURNEY.len() - 1)] };
            event(customer, *number, status, order.details.clone(), now)
        }
        _ => {
            let number = *next_number;
            *next_number += 1;
            event(customer, number, JOURNEY[0], Map::new(), now)
        }
    }
}

/// The first scene of a new shop: some orders that have come some way already.
pub(super) fn opening(customer: &Customer, next_number: &mut u64, now: Timestamp) -> Vec<Event> {
    let mut events = Vec::new();
    for place in [4, 2].into_iter().take(customer.orders.saturating_sub(1)) {
        let mut details = Map::new();
        for (step, status) in JOURNEY.iter().enumerate().take(place + 1) {
            let ago = i64::try_from((place - step) * 11 * 60_000 + place * 60_000).unwrap_or_default();
            let then = Timestamp::from_millis(now.as_millis() - ago).unwrap_or(now);
            let event = event(customer, *next_number, status, details, then);
            details = event.details.clone();
            events.push(event);
        }
        *next_number += 1;
    }
    events
}

fn event(
    customer: &Customer,
    number: u64,
    status: &'static str,
    mut details: Map<String, Value>,
    now: Timestamp,
) -> Event {
    let courier = pick(&COURIERS, number);
    let mut tell = |name: &str, value: String| drop(details.insert(name.to_owned(), value.into()));
    let mut viewers = vec![customer.merchant];
    match status {
        "created" => {
            tell("items", pick(&ITEMS, number).to_owned());
            tell("total", format!("{}.{}0 EUR", 12 + number * 7 % 60, number % 10));
        }
        "shipped" => {
            let arrival = i64::try_from(DELIVERY_TIME.as_millis()).unwrap_or_default();
            tell("carrier", pick(&CARRIERS, number).to_owned());
            tell("tracking", format!("JD{:010}", number * 7919));
            tell("eta", Timestamp::from_millis(now.as_millis() + arrival).unwrap_or(now).to_string());
        }
        "out_for_delivery" => {
            tell("courier", courier.trim_start_matches("c-").to_owned());
            viewers.push(courier);
        }
        "delivered" => {
            tell("left_at", "front door".to_owned());
            viewers.push(courier);
        }
        CANCELLED => tell("reason", "payment declined".to_owned()),
        _ => {}
    }
    Event {
        order_id: format!("{PREFIX}{number}"),
        user_id: customer.user_id,
        status,
        occurred_at: now,
        details,
        viewers,
    }
}

fn pick(choices: &[&'static str], number: u64) -> &'static str {
    let place = number % choices.len() as u64;
    choices[usize::try_from(place).unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const CUSTOMER: Customer = Customer { user_id: "demo", merchant: "teahouse", orders: 4 };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + second * 1000).unwrap()
    }

    /// A service that believes every event.
    #[derive(Default)]
    struct Service(BTreeMap<String, Seen>);

    impl Service {
        fn take(&mut self, event: &Event) {
            let Event { order_id, status, occurred_at, details, .. } = event.clone();
            let terminal = [JOURNEY[5], CANCELLED].contains(&status);
            self.0
                .insert(order_id.clone(), Seen { order_id, status: status.to_owned(), terminal, occurred_at, details });
        }

        fn seen(&self) -> Vec<Seen> {
            self.0.values().cloned().collect()
        }
    }

    #[test]
    fn every_turn_changes_an_order_and_orders_finish_in_order() {
        let (mut service, mut number) = (Service::default(), FIRST_NUMBER);
        for event in opening(&CUSTOMER, &mut number, at(0)) {
            service.take(&event);
        }
        let mut finished = Vec::new();
        for second in 1..500 {
            let event = next_event(&CUSTOMER, &service.seen(), &mut number, at(second));
            let before = service.0.get(&event.order_id).map(|order| order.status.clone());
            assert_ne!(before.as_deref(), Some(event.status));
            if event.status == JOURNEY[5] {
                finished.push(event.order_id.clone());
            }
            service.take(&event);
            let open = service.0.values().filter(|order| !order.terminal).count();
            assert!((1..=4).contains(&open), "{open}");
        }
        assert!(finished.len() > 50 && finished.is_sorted(), "{finished:?}");
        assert!(service.0.values().any(|order| order.status == CANCELLED));
    }

    #[test]
    fn after_a_restart_it_carries_on_what_it_finds_and_counts_on() {
        let (mut service, mut number) = (Service::default(), FIRST_NUMBER);
        for second in 0..50 {
            let event = next_event(&CUSTOMER, &service.seen(), &mut number, at(second));
            service.take(&event);
        }
        let seen = service.seen();
        assert_eq!(next_number(&seen), number);
        let (mut before, mut after) = (number, next_number(&seen));
        assert_eq!(next_event(&CUSTOMER, &seen, &mut before, at(60)), next_event(&CUSTOMER, &seen, &mut after, at(60)));
    }

    #[test]
    fn orders_of_others_and_orders_others_have_taken_over_are_left_alone() {
        let mut number = 1003;
        let seen = |order_id: &str, status: &str| Seen {
            order_id: order_id.to_owned(),
            status: status.to_owned(),
            terminal: false,
            occurred_at: at(0),
            details: Map::new(),
        };
        let orders = [seen("A-1", "created"), seen("S-1001", "on_hold"), seen("S-1002", "packed")];
        for second in 1..20 {
            let event = next_event(&CUSTOMER, &orders, &mut number, at(second));
            assert!(event.order_id != "A-1" && event.order_id != "S-1001", "{event:?}");
        }
    }

    #[test]
    fn the_courier_sees_the_order_from_the_moment_it_is_out() {
        let viewers = |status| event(&CUSTOMER, 1001, status, Map::new(), at(0)).viewers.len();
        assert_eq!(JOURNEY.map(viewers), [1, 1, 1, 1, 2, 2]);
    }

    #[test]
    fn details_grow_with_the_order_and_keep_what_others_added() {
        let mut details = Map::new();
        details.insert("gift".to_owned(), true.into());
        let shipped = event(&CUSTOMER, 1001, "shipped", details, at(0));
        assert_eq!(shipped.details["gift"], true);
        assert!(shipped.details.contains_key("eta"));
    }
}
