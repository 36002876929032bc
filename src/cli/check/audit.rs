//! One viewer's screen, judged frame by frame against the plan. Pure: frames and time come in as calls.

use std::time::{Duration, Instant};

use super::plan::{Plan, Screen};
use crate::cli::watch::wire::{Message, Order};

/// What was seen, added up over frames, and over viewers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Updates that came.
    pub(super) deliveries: u64,
    /// Updates below the version shown.
    pub(super) out_of_order: u64,
    /// Updates with the version shown.
    pub(super) duplicate: u64,
    /// Updates that took longer than they may.
    pub(super) late: u64,
    /// Orders shown to somebody they do not name.
    pub(super) foreign: u64,
    /// Sessions begun.
    pub(super) sessions: u64,
    /// Times the service said that the screen may be stale.
    pub(super) stale: u64,
}

/// A viewer's screen as the frames of all its sessions left it.
#[derive(Debug)]
pub(super) struct Audit {
    user: usize,
    late_after: Duration,
    shown: Screen,
    /// The first snapshot of the session came whole at this moment.
    live_since: Option<Instant>,
    pub(super) tally: Tally,
}

impl Audit {
    pub(super) fn new(user: usize, late_after: Duration) -> Self {
        Self { user, late_after, shown: Screen::new(), live_since: None, tally: Tally::default() }
    }

    /// Takes one message. Returns how long an update took that the session was there for; `published` says when a
    /// version of an order was given to the broker.
    pub(super) fn on_message(
        &mut self,
        message: Message,
        plan: &Plan,
        published: impl Fn(usize, u64) -> Option<Instant>,
        now: Instant,
    ) -> Option<Duration> {
        match message {
            Message::Welcome { .. } => {
                self.live_since = None;
                self.tally.sessions += 1;
            }
            Message::Snapshot(page) => {
                if page.first && !page.partial {
                    self.shown.clear();
                }
                self.shown.retain(|order, _| !page.removed.contains(order));
                page.orders.iter().for_each(|order| self.show(order, plan));
                if page.complete {
                    self.live_since.get_or_insert(now);
                }
            }
            Message::OrderStatus(order) => return self.on_update(&order, plan, published, now),
            Message::Removed { order_id } => {
                self.shown.remove(&order_id);
            }
            Message::Stale { .. } => self.tally.stale += 1,
            _ => {}
        }
        None
    }

    /// The connection is gone; the screen stays as it is.
    pub(super) fn on_disconnected(&mut self) {
        self.live_since = None;
    }

    /// The session was not read until now.
    pub(super) fn on_stalled(&mut self, now: Instant) {
        self.live_since = self.live_since.map(|_| now);
    }

    /// The number of the user who looks.
    pub(super) fn user(&self) -> usize {
        self.user
    }

    /// Whether a session is there that has had its first snapshot.
    pub(super) fn is_live(&self) -> bool {
        self.live_since.is_some()
    }

    /// Orders of `truth` that are not shown as they are, and orders shown besides.
    pub(super) fn differences(&self, truth: &Screen) -> (u64, u64) {
        let missing = truth.iter().filter(|(order, version)| self.shown.get(*order) != Some(version)).count();
        let surplus = self.shown.keys().filter(|order| !truth.contains_key(*order)).count();
        (missing as u64, surplus as u64)
    }

    fn on_update(
        &mut self,
        order: &Order,
        plan: &Plan,
        published: impl Fn(usize, u64) -> Option<Instant>,
        now: Instant,
    ) -> Option<Duration> {
        self.tally.deliveries += 1;
        match self.shown.get(&order.order_id) {
            Some(shown) if order.version == *shown => self.tally.duplicate += 1,
            Some(shown) if order.version < *shown => self.tally.out_of_order += 1,
            _ => {}
        }
        self.show(order, plan);
        let published_at = published(plan.order(&order.order_id)?, order.version)?;
        if self.live_since? > published_at {
            return None;
        }
        let took = now.saturating_duration_since(published_at);
        self.tally.late += u64::from(took > self.late_after);
        Some(took)
    }

    fn show(&mut self, order: &Order, plan: &Plan) {
        let known = plan.order(&order.order_id);
        self.tally.foreign += u64::from(!known.is_some_and(|known| plan.may_see(self.user, known, order.version)));
        self.shown.insert(order.order_id.clone(), order.version);
    }
}

impl std::ops::AddAssign<&Self> for Tally {
    fn add_assign(&mut self, other: &Self) {
        self.deliveries += other.deliveries;
        self.out_of_order += other.out_of_order;
        self.duplicate += other.duplicate;
        self.late += other.late;
        self.foreign += other.foreign;
        self.sessions += other.sessions;
        self.stale += other.stale;
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};
    use serde_json::{Value, json};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    struct Scene {
        plan: Plan,
        audit: Audit,
        start: Instant,
    }

    impl Scene {
        /// One user, one order, live.
        fn live() -> Self {
            let statuses = ["created".to_owned()];
            let plan = Plan::new("r", 1, 1, 10 * SECOND, &statuses, &mut StdRng::seed_from_u64(1));
            let mut scene = Self { plan, audit: Audit::new(0, SECOND), start: Instant::now() };
            scene.hears(json!({"type": "welcome", "user_id": "u", "heartbeat_ms": 1}), Duration::ZERO);
            scene.hears(snapshot(json!([])), Duration::ZERO);
            scene
        }

        fn hears(&mut self, message: Value, after: Duration) -> Option<Duration> {
            let message = serde_json::from_value(message).unwrap();
            self.audit.on_message(message, &self.plan, |_, _| Some(self.start), self.start + after)
        }
    }

    fn order(id: &str, version: u64) -> Value {
        json!({"type": "order_status", "order_id": id, "status": "s", "version": version, "rev": "r", "occurred_at": "t"})
    }

    fn snapshot(orders: Value) -> Value {
        json!({"type": "snapshot", "partial": false, "first": true, "complete": true, "orders": orders})
    }

    #[test]
    fn an_update_counts_once_with_the_time_it_took() {
        let mut scene = Scene::live();
        assert_eq!(scene.hears(order("check-r-0", 1), SECOND / 2), Some(SECOND / 2));
        assert_eq!(scene.hears(order("check-r-0", 2), 2 * SECOND), Some(2 * SECOND));
        let expected = Tally { deliveries: 2, late: 1, sessions: 1, ..Tally::default() };
        assert_eq!(scene.audit.tally, expected);
    }

    #[test]
    fn what_goes_backwards_comes_twice_or_belongs_to_others_is_counted() {
        let mut scene = Scene::live();
        for message in [order("check-r-0", 2), order("check-r-0", 2), order("check-r-0", 1), order("A-1", 1)] {
            scene.hears(message, Duration::ZERO);
        }
        let Tally { duplicate, out_of_order, foreign, .. } = scene.audit.tally;
        assert_eq!((duplicate, out_of_order, foreign), (1, 1, 1));
        scene.hears(json!({"type": "removed", "order_id": "check-r-0"}), Duration::ZERO);
        scene.hears(order("check-r-0", 1), Duration::ZERO);
        assert_eq!(scene.audit.tally.out_of_order, 1);
    }

    #[test]
    fn what_was_published_before_the_session_was_live_takes_no_time() {
        let mut scene = Scene::live();
        scene.audit.on_disconnected();
        assert!(!scene.audit.is_live());
        scene.hears(snapshot(json!([])), SECOND);
        assert_eq!(scene.hears(order("check-r-0", 1), 2 * SECOND), None);
    }

    #[test]
    fn a_screen_differs_by_what_it_lacks_and_by_what_it_shows_besides() {
        let mut scene = Scene::live();
        scene.hears(snapshot(json!([order("check-r-0", 1), order("check-r-7", 1)])), Duration::ZERO);
        let truth = Screen::from([("check-r-0".to_owned(), 2), ("check-r-1".to_owned(), 1)]);
        assert_eq!(scene.audit.differences(&truth), (2, 1));
    }
}
