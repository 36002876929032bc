//! Answers with orders that are on their way to their readers: how many of one viewer, and how much they hold in all.
//!
//! A reader takes an answer as slowly as it likes, so what waits for it is bounded, as a mailbox is. What an order takes counts
//! until it is written. Where there is no room for another answer, those whose readers have taken nothing for longest give
//! theirs up: they end where they are, and say where to read on.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use slotmap::{SlotMap, new_key_type};

use super::refusal::Refusal;
use crate::{domain::Holder, protocol::OrderView, telemetry::AnswerMetrics};

/// Answers that one viewer may have on their way. A page that shows much asks for some at once, and nobody for more.
const MAX_OF_ONE_HOLDER: usize = 20;
/// What an answer takes besides its orders, and before it has any: a visit to the hub.
const ANSWER_BYTES: usize = 4 * 1024;

new_key_type! {
    struct AnswerKey;
}

/// All answers of this instance.
#[derive(Debug)]
pub struct Answers {
    max_bytes: usize,
    /// After how long without progress an answer gives up what it holds, where others need the room.
    patience: Duration,
    metrics: Arc<AnswerMetrics>,
    ledger: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    bytes: usize,
    by_holder: HashMap<Holder, usize>,
    on_their_way: SlotMap<AnswerKey, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// What it takes to its end.
    own_bytes: usize,
    orders: VecDeque<OrderView>,
    /// What the orders take.
    bytes: usize,
    /// When the reader last took something.
    moved: Instant,
    gave_up: bool,
}

/// One answer: its place, and the orders it holds. Gives both back when it is dropped.
#[derive(Debug)]
pub(super) struct OnItsWay {
    answers: Arc<Answers>,
    holder: Holder,
    key: AnswerKey,
}

/// What an answer goes on with.
#[derive(Debug)]
pub(super) enum Next {
    /// This order.
    Order(OrderView),
    /// Nothing: all of its orders were taken.
    Done,
    /// Nothing: it gave up the rest.
    GaveUp,
}

impl Answers {
    /// Room for so many bytes, from which answers without progress for `patience` may be pushed out.
    pub fn new(max_bytes: usize, patience: Duration, metrics: Arc<AnswerMetrics>) -> Arc<Self> {
        Arc::new(Self { max_bytes, patience, metrics, ledger: Mutex::default() })
    }

    /// Begins an answer. Before its orders are read: what waits for the database is bounded, too.
    pub(super) fn begin(self: &Arc<Self>, holder: Holder, now: Instant) -> Result<OnItsWay, Refusal> {
        let mut ledger = self.lock();
        if ledger.by_holder.get(&holder).is_some_and(|many| *many >= MAX_OF_ONE_HOLDER) {
            return Err(Refusal::TooManyRequests);
        }
        self.make_room(&mut ledger, ANSWER_BYTES, now)?;
        *ledger.by_holder.entry(holder.clone()).or_default() += 1;
        let entry = Entry { own_bytes: ANSWER_BYTES, orders: VecDeque::new(), bytes: 0, moved: now, gave_up: false };
        let key = ledger.on_their_way.insert(entry);
        self.note(&mut ledger, ANSWER_BYTES, 0);
        Ok(OnItsWay { answers: self.clone(), holder, key })
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        // Every change is complete before anything can panic.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that `bytes` more have room.
    fn make_room(&self, ledger: &mut Ledger, bytes: usize, now: Instant) -> Result<(), Refusal> {
        let fits = |ledger: &Ledger| ledger.bytes + bytes <= self.max_bytes;
        if fits(ledger) {
            return Ok(());
        }
        let stalled = |entry: &Entry| entry.bytes > 0 && now.saturating_duration_since(entry.moved) >= self.patience;
        let mut stalled: Vec<(Instant, AnswerKey)> = ledger
            .on_their_way
            .iter()
            .filter(|(_, entry)| stalled(entry))
            .map(|(key, entry)| (entry.moved, key))
            .collect();
        stalled.sort_unstable();
        for (_, key) in stalled {
            let entry = &mut ledger.on_their_way[key];
            let given_up = std::mem::take(&mut entry.bytes);
            (entry.orders, entry.gave_up) = (VecDeque::new(), true);
            self.metrics.shortened.inc();
            self.note(ledger, 0, given_up);
            if fits(ledger) {
                return Ok(());
            }
        }
        Err(Refusal::AtCapacity)
    }

    fn note(&self, ledger: &mut Ledger, more: usize, less: usize) {
        ledger.bytes = ledger.bytes + more - less;
        self.metrics.open.set(i64::try_from(ledger.on_their_way.len()).unwrap_or(i64::MAX));
        self.metrics.bytes.set(i64::try_from(ledger.bytes).unwrap_or(i64::MAX));
    }
}

impl OnItsWay {
    /// Keeps these orders for the reader, once.
    pub(super) fn hold(&self, orders: VecDeque<OrderView>, now: Instant) -> Result<(), Refusal> {
        let bytes = orders.iter().map(OrderView::json_bytes).sum();
        let mut ledger = self.answers.lock();
        self.answers.make_room(&mut ledger, bytes, now)?;
        if let Some(entry) = ledger.on_their_way.get_mut(self.key) {
            (entry.orders, entry.bytes, entry.moved) = (orders, bytes, now);
            self.answers.note(&mut ledger, bytes, 0);
        }
        Ok(())
    }

    /// Takes room for so many bytes that are written already.
    pub(super) fn keep(&self, bytes: usize, now: Instant) -> Result<(), Refusal> {
        let mut ledger = self.answers.lock();
        self.answers.make_room(&mut ledger, bytes, now)?;
        if let Some(entry) = ledger.on_their_way.get_mut(self.key) {
            entry.own_bytes += bytes;
            self.answers.note(&mut ledger, bytes, 0);
        }
        Ok(())
    }

    /// What the orders it holds take.
    pub(super) fn held_bytes(&self) -> usize {
        self.answers.lock().on_their_way.get(self.key).map_or(0, |entry| entry.bytes)
    }

    /// Takes the next order out, because the reader has taken what came before.
    pub(super) fn next(&self, now: Instant) -> Next {
        let mut ledger = self.answers.lock();
        let Some(entry) = ledger.on_their_way.get_mut(self.key) else { return Next::Done };
        entry.moved = now;
        let Some(order) = entry.orders.pop_front() else {
            return if entry.gave_up { Next::GaveUp } else { Next::Done };
        };
        let bytes = order.json_bytes();
        entry.bytes -= bytes;
        self.answers.note(&mut ledger, 0, bytes);
        Next::Order(order)
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let mut ledger = self.answers.lock();
        let Some(entry) = ledger.on_their_way.remove(self.key) else { return };
        if let Some(many) = ledger.by_holder.get_mut(&self.holder) {
            *many -= 1;
            if *many == 0 {
                ledger.by_holder.remove(&self.holder);
            }
        }
        self.answers.note(&mut ledger, 0, entry.own_bytes + entry.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{Timestamp, UserId},
        http::page::tests::order,
        telemetry::Metrics,
    };

    const PATIENCE: Duration = Duration::from_secs(10);

    struct Room {
        answers: Arc<Answers>,
        metrics: Metrics,
        begun: Instant,
    }

    impl Room {
        /// Room for so many answers that hold one order each.
        fn for_orders(many: usize) -> Self {
            let metrics = Metrics::new(Timestamp::from_millis(0).unwrap());
            let bytes = many * (ANSWER_BYTES + order(0, 12_000).json_bytes());
            let answers = Answers::new(bytes, PATIENCE, metrics.answers.clone());
            Self { answers, metrics, begun: Instant::now() }
        }

        fn begin(&self, user: &str, after: Duration) -> Result<OnItsWay, Refusal> {
            self.answers.begin(Holder::User(UserId::parse(user).unwrap()), self.begun + after)
        }

        /// An answer that holds one order.
        fn answer(&self, user: &str, after: Duration) -> Result<OnItsWay, Refusal> {
            let answer = self.begin(user, after)?;
            answer.hold(vec![order(0, 12_000)].into(), self.begun + after)?;
            Ok(answer)
        }

        fn figures(&self) -> (i64, i64, u64) {
            let metrics = &self.metrics.answers;
            (metrics.open.get(), metrics.bytes.get(), metrics.shortened.get())
        }
    }

    #[test]
    fn a_viewer_has_as_many_answers_on_their_way_as_are_allowed_and_nobody_else_fewer() {
        let room = Room::for_orders(100);
        let mut some: Vec<_> = (0..20).map(|_| room.begin("u-1", Duration::ZERO).unwrap()).collect();
        assert_eq!(room.begin("u-1", Duration::ZERO).unwrap_err(), Refusal::TooManyRequests);
        let other = room.begin("u-2", Duration::ZERO).unwrap();
        some.pop();
        some.push(room.begin("u-1", Duration::ZERO).unwrap());
        drop((some, other));
        assert_eq!(room.figures(), (0, 0, 0));
        assert!(room.answers.lock().by_holder.is_empty(), "nobody is remembered");
    }

    #[test]
    fn what_all_answers_hold_is_bounded_and_given_back_as_it_is_written() {
        let room = Room::for_orders(2);
        let now = Duration::ZERO;
        let (one, _two) = (room.answer("u-1", now).unwrap(), room.answer("u-2", now).unwrap());
        assert_eq!(room.begin("u-3", now).unwrap_err(), Refusal::AtCapacity, "not even one that waits");
        assert!(matches!(one.next(room.begun), Next::Order(_)));
        let waits = room.begin("u-3", now).unwrap();
        let orders = || vec![order(0, 12_000)].into();
        assert_eq!(waits.hold(orders(), room.begun), Err(Refusal::AtCapacity));
        assert_eq!(waits.keep(10_000, room.begun), Err(Refusal::AtCapacity));
        assert!(matches!(one.next(room.begun), Next::Done));
        drop(one);
        waits.hold(orders(), room.begun).unwrap();
    }

    #[test]
    fn who_has_taken_nothing_for_long_gives_way_where_others_need_the_room_longest_first() {
        let room = Room::for_orders(3);
        let seconds = Duration::from_secs;
        let [oldest, older, new] = [0, 1, 5].map(|at| room.answer(&format!("u-{at}"), seconds(at)).unwrap());
        assert_eq!(room.answer("u-9", seconds(9)).map(drop), Err(Refusal::AtCapacity), "all are young");
        let newcomer = room.answer("u-10", seconds(11)).unwrap();
        assert_eq!(room.figures().2, 2, "the newcomer takes more than one gives up");
        for (answer, gave_up) in [(&oldest, true), (&older, true), (&new, false), (&newcomer, false)] {
            let next = answer.next(room.begun);
            assert_eq!(matches!(next, Next::GaveUp), gave_up, "{next:?}");
        }
        drop((oldest, older, new, newcomer));
        assert_eq!(room.figures(), (0, 0, 2));
    }

    #[test]
    fn whose_reader_moves_keeps_what_it_holds() {
        let room = Room::for_orders(2);
        let slow = room.begin("u-1", Duration::ZERO).unwrap();
        slow.hold((0..2).map(|n| order(n, 12_000)).collect(), room.begun).unwrap();
        let later = room.begun + PATIENCE * 3 / 2;
        assert!(matches!(slow.next(room.begun + PATIENCE), Next::Order(_)));
        let newcomer = room.begin("u-2", PATIENCE * 3 / 2).unwrap();
        assert_eq!(newcomer.hold((0..2).map(|n| order(n, 12_000)).collect(), later), Err(Refusal::AtCapacity));
        assert!(matches!(slow.next(later), Next::Order(_)));
    }
}
