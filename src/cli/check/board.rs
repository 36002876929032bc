//! What publisher and viewers of a check tell each other: when each event was published, and what each viewer has seen.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tokio::sync::Notify;

use super::{
    audit::{Audit, Tally},
    plan::{Plan, Screen},
};
use crate::cli::watch::wire::Message;

/// An update that took longer counts as having taken an hour.
const LONGEST_MICROS: u64 = 3_600_000_000;

/// Shared by the publisher, the viewers and whoever judges.
pub(super) struct Board {
    plan: Plan,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    published: HashMap<(usize, u64), Instant>,
    acknowledged: usize,
    audits: Vec<Audit>,
    /// In microseconds.
    latencies: Histogram<u64>,
    /// Connections this program broke itself.
    disturbed: u64,
    /// Why a viewer does not come back, by its number.
    stopped: HashMap<usize, String>,
}

/// Where the check is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) acknowledged: usize,
    pub(super) live: usize,
    pub(super) missing: u64,
    pub(super) surplus: u64,
    pub(super) disturbed: u64,
    pub(super) tally: Tally,
}

/// How long updates took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Latency {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) max: Duration,
}

impl Board {
    pub(super) fn new(plan: Plan, audits: Vec<Audit>) -> Self {
        let latencies =
            Histogram::new_with_bounds(1, LONGEST_MICROS, 3).expect("bounds and digits are within its range");
        let state = State {
            published: HashMap::new(),
            acknowledged: 0,
            audits,
            latencies,
            disturbed: 0,
            stopped: HashMap::new(),
        };
        Self { plan, state: Mutex::new(state), changed: Notify::new() }
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// This version is being given to the broker; the first time counts.
    pub(super) fn on_publishing(&self, order: usize, version: u64, now: Instant) {
        self.lock().published.entry((order, version)).or_insert(now);
    }

    /// The broker has an event.
    pub(super) fn on_acknowledged(&self) {
        self.lock().acknowledged += 1;
    }

    /// A message came to a viewer.
    pub(super) fn on_message(&self, viewer: usize, message: Message, now: Instant) {
        let State { published, audits, latencies, .. } = &mut *self.lock();
        let published = |order, version| published.get(&(order, version)).copied();
        if let Some(took) = audits[viewer].on_message(message, &self.plan, published, now) {
            latencies.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        }
        self.changed.notify_one();
    }

    /// A viewer's connection is gone; `ours`: broken on purpose.
    pub(super) fn on_disconnected(&self, viewer: usize, ours: bool) {
        let mut state = self.lock();
        state.audits[viewer].on_disconnected();
        state.disturbed += u64::from(ours);
    }

    /// A viewer did not read for a while, on purpose: what came meanwhile took no time worth telling.
    pub(super) fn on_stalled(&self, viewer: usize, now: Instant) {
        self.lock().audits[viewer].on_stalled(now);
    }

    /// A viewer was told not to come back.
    pub(super) fn on_stopped(&self, viewer: usize, why: String) {
        self.lock().stopped.insert(viewer, why);
        self.changed.notify_one();
    }

    /// The orders of which an event may be in the log.
    pub(super) fn published_orders(&self) -> Vec<usize> {
        let mut orders: Vec<usize> = self.lock().published.keys().map(|(order, _)| *order).collect();
        orders.sort_unstable();
        orders.dedup();
        orders
    }

    /// Waits until something has come in. Meant for one waiter.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The reasons of those who were told not to come back, each once.
    pub(super) fn stopped(&self) -> Vec<String> {
        let mut reasons: Vec<String> = self.lock().stopped.values().cloned().collect();
        reasons.sort_unstable();
        reasons.dedup();
        reasons
    }

    /// Compares all screens with these truths, by user.
    pub(super) fn standing(&self, truths: &[Screen]) -> Standing {
        let state = self.lock();
        let mut standing = Standing {
            acknowledged: state.acknowledged,
            live: state.audits.iter().filter(|audit| audit.is_live()).count(),
            missing: 0,
            surplus: 0,
            disturbed: state.disturbed,
            tally: Tally::default(),
        };
        for audit in &state.audits {
            let (missing, surplus) = audit.differences(&truths[audit.user()]);
            standing.missing += missing;
            standing.surplus += surplus;
            standing.tally += &audit.tally;
        }
        standing
    }

    /// How long updates took; `None` when there were none.
    pub(super) fn latency(&self) -> Option<Latency> {
        let latencies = &self.lock().latencies;
        let at = |quantile| Duration::from_micros(latencies.value_at_quantile(quantile));
        (!latencies.is_empty()).then(|| Latency { p50: at(0.5), p99: at(0.99), max: at(1.0) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};
    use serde_json::json;

    use super::*;

    #[test]
    fn latencies_of_any_length_are_told_and_what_came_during_a_stall_is_not() {
        let second = Duration::from_secs(1);
        let statuses = ["created".to_owned()];
        let plan = Plan::new("r", 1, 1, 10 * second, &statuses, &mut StdRng::seed_from_u64(1));
        let (board, start) = (Board::new(plan, vec![Audit::new(0, second)]), Instant::now());
        let hears = |message, after| board.on_message(0, serde_json::from_value(message).unwrap(), start + after);
        let update = |version: u64| {
            let order = "check-r-0";
            json!({"type": "order_status", "order_id": order, "status": "s", "version": version, "rev": "r", "occurred_at": "t"})
        };
        hears(
            json!({"type": "snapshot", "partial": false, "first": true, "complete": true, "orders": []}),
            Duration::ZERO,
        );
        assert!(board.latency().is_none());
        board.on_publishing(0, 1, start);
        hears(update(1), 5 * second);
        board.on_publishing(0, 2, start + 6 * second);
        board.on_stalled(0, start + 8 * second);
        hears(update(2), 8 * second);
        let latency = board.latency().unwrap();
        assert!(latency.p50 >= 5 * second && latency.max < 6 * second, "{latency:?}");
        assert_eq!(board.standing(&[Screen::new()]).tally.late, 1);
    }
}
