//! The deadlines of all connections of one worker, on a timing wheel: setting one costs no system call, no lock and no
//! allocation of its own, and the worker wakes for all of a tick together.
//!
//! Pure: time is passed in. An alarm may go off early, never late by more than a tick; whoever is woken looks at its clock.

use std::{
    task::Waker,
    time::{Duration, Instant},
};

use slotmap::{SlotMap, new_key_type};

/// Deadlines are kept to this.
const TICK: Duration = Duration::from_millis(50);
/// Later deadlines go off after so many ticks: 51 seconds, two of the usual heartbeats.
const SLOTS: u64 = 1024;

new_key_type! {
    /// One alarm that is set.
    pub(super) struct AlarmKey;
}

/// The wheel.
#[derive(Debug)]
pub(super) struct Alarms {
    began: Instant,
    /// By tick, modulo [`SLOTS`]. Keys of alarms that are not set any more go with their slot.
    slots: Box<[Vec<AlarmKey>]>,
    set: SlotMap<AlarmKey, Alarm>,
    /// All slots up to this tick are empty.
    passed: u64,
    /// The next tick whose slot is not empty; `None`: there is none.
    next: Option<u64>,
}

#[derive(Debug)]
struct Alarm {
    tick: u64,
    waker: Waker,
}

impl Alarms {
    pub(super) fn new(now: Instant) -> Self {
        let slots = (0..SLOTS).map(|_| Vec::new()).collect();
        Self { began: now, slots, set: SlotMap::with_key(), passed: 0, next: None }
    }

    /// Sets an alarm. `waker` is woken at `at`, rounded up to a tick, or earlier.
    pub(super) fn set(&mut self, at: Instant, waker: &Waker) -> AlarmKey {
        let tick = self.tick_of(at);
        let key = self.set.insert(Alarm { tick, waker: waker.clone() });
        self.slots[(tick % SLOTS) as usize].push(key);
        self.next = Some(self.next.map_or(tick, |next| next.min(tick)));
        key
    }

    /// Whether an alarm is set that will wake `waker` at `at` or earlier.
    pub(super) fn covers(&self, key: AlarmKey, at: Instant, waker: &Waker) -> bool {
        self.set.get(key).is_some_and(|alarm| alarm.tick <= self.tick_of(at) && alarm.waker.will_wake(waker))
    }

    pub(super) fn unset(&mut self, key: AlarmKey) {
        self.set.remove(key);
    }

    /// When [`take_due`](Self::take_due) has something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next.map(|tick| self.began + TICK.saturating_mul(u32::try_from(tick).unwrap_or(u32::MAX)))
    }

    /// Takes out whoever is to be woken by now.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Waker> {
        let current = (now.saturating_duration_since(self.began).as_nanos() / TICK.as_nanos()) as u64;
        let mut due = Vec::new();
        while let Some(tick) = self.next.filter(|tick| *tick <= current) {
            let keys = std::mem::take(&mut self.slots[(tick % SLOTS) as usize]);
            due.extend(keys.into_iter().filter_map(|key| self.set.remove(key)).map(|alarm| alarm.waker));
            self.passed = tick;
            self.next = (tick + 1..=tick + SLOTS).find(|tick| !self.slots[(tick % SLOTS) as usize].is_empty());
        }
        self.passed = self.passed.max(current);
        due
    }

    fn tick_of(&self, at: Instant) -> u64 {
        let tick = at.saturating_duration_since(self.began).as_nanos().div_ceil(TICK.as_nanos()) as u64;
        tick.clamp(self.passed + 1, self.passed + SLOTS - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl std::task::Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn an_alarm_goes_off_within_a_tick_of_its_time_and_one_that_is_too_far_off_early() {
        let start = Instant::now();
        for after in [0, 1, 50, 51, 999, 25_000, 50_000, 3_600_000].map(Duration::from_millis) {
            let mut alarms = Alarms::new(start);
            alarms.set(start + after, Waker::noop());
            let next = alarms.next().unwrap();
            assert!(next <= start + after + TICK, "{after:?}");
            assert!(next >= start + after.min(TICK.saturating_mul(SLOTS as u32 - 1)), "{after:?}");
            assert!(alarms.take_due(next - Duration::from_nanos(1)).is_empty());
            assert_eq!(alarms.take_due(next).len(), 1);
            assert_eq!((alarms.next(), alarms.set.len()), (None, 0));
        }
    }

    #[test]
    fn every_alarm_goes_off_once_however_late_the_worker_looks() {
        let (start, mut alarms) = (Instant::now(), Alarms::new(Instant::now()));
        let waker = Waker::from(Arc::new(Wakes::default()));
        let (mut set, mut went_off, mut now) = (0, 0, start);
        for step in 0..20_000_u64 {
            let (after, pause) = (step * 7_919 % 70_000, [1, 3, 700, 90_000][(step % 97 % 4) as usize]);
            let at = now + Duration::from_millis(after);
            let key = alarms.set(at, &waker);
            if step % 5 == 0 {
                alarms.unset(key);
            } else {
                set += 1;
                assert!(alarms.covers(key, at, &waker) && alarms.covers(key, at + TICK, &waker));
            }
            if step % 11 == 0 {
                now += Duration::from_millis(pause);
                went_off += alarms.take_due(now).len();
                assert!(alarms.next().is_none_or(|next| next > now), "step {step}");
            }
        }
        went_off += alarms.take_due(now + Duration::from_secs(120)).len();
        assert_eq!((went_off, alarms.next()), (set, None));
    }

    #[test]
    fn an_alarm_that_is_set_for_another_or_for_later_covers_nothing() {
        let (start, mut alarms) = (Instant::now(), Alarms::new(Instant::now()));
        let other = Waker::from(Arc::new(Wakes::default()));
        let at = start + Duration::from_secs(9);
        let key = alarms.set(at, &other);
        assert!(!alarms.covers(key, at, Waker::noop()));
        assert!(!alarms.covers(key, at - Duration::from_secs(1), &other));
        alarms.unset(key);
        assert!(!alarms.covers(key, at, &other));
    }
}
