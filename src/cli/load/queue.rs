//! Which session is opened next, and when: at a pace or as fast as it goes, some again after a while. Pure: time is given.

use std::collections::VecDeque;

use super::clock::SECOND;

/// Seats that are to be opened.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<u32>,
    /// When, in the order of time, and which.
    retries: VecDeque<(u64, u32)>,
    under_way: u32,
    /// So many may be under way.
    at_once: u32,
    pace: Option<Pace>,
}

#[derive(Debug)]
struct Pace {
    since: u64,
    a_second: f64,
    begun: u64,
}

impl Queue {
    /// Of these seats, so many at once and, where that is asked for, so many a second.
    pub(super) fn new(waiting: VecDeque<u32>, at_once: u32, a_second: Option<f64>, now: u64) -> Self {
        let pace = a_second.map(|a_second| Pace { since: now, a_second, begun: 0 });
        Self { waiting, at_once, pace, ..Self::default() }
    }

    /// The next seat whose time has come; it is under way from now on.
    pub(super) fn next(&mut self, now: u64) -> Option<u32> {
        while self.retries.front().is_some_and(|(at, _)| *at <= now) {
            self.waiting.extend(self.retries.pop_front().map(|(_, seat)| seat));
        }
        if self.under_way >= self.at_once || self.waiting.is_empty() {
            return None;
        }
        if let Some(pace) = &mut self.pace {
            if pace.next() > now {
                return None;
            }
            pace.begun += 1;
        }
        self.under_way += 1;
        self.waiting.pop_front()
    }

    /// One that was under way is open.
    pub(super) fn opened(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// One that was under way is not, and is to be tried again at this time, if at all.
    pub(super) fn refused(&mut self, seat: u32, again: Option<u64>) {
        self.opened();
        if let Some(at) = again {
            let place = self.retries.partition_point(|(other, _)| *other <= at);
            self.retries.insert(place, (at, seat));
        }
    }

    /// When there may be something to open that cannot be now, but for what is under way.
    pub(super) fn next_time(&self) -> Option<u64> {
        let retry = self.retries.front().map(|(at, _)| *at);
        let paced = self.pace.as_ref().filter(|_| !self.waiting.is_empty()).map(Pace::next);
        retry.into_iter().chain(paced).min()
    }
}

impl Pace {
    fn next(&self) -> u64 {
        self.since + (self.begun as f64 / self.a_second * SECOND as f64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(queue: &mut Queue, now: u64) -> Vec<u32> {
        std::iter::from_fn(|| queue.next(now)).collect()
    }

    #[test]
    fn so_many_are_under_way_and_the_next_follows_when_one_is_open() {
        let mut queue = Queue::new((0..4).collect(), 2, None, 0);
        assert_eq!((taken(&mut queue, 0), queue.next_time()), (vec![0, 1], None));
        queue.opened();
        assert_eq!(taken(&mut queue, 0), [2]);
    }

    #[test]
    fn a_pace_is_kept_from_its_beginning_on() {
        let mut queue = Queue::new((0..10).collect(), u32::MAX, Some(4.0), 100);
        assert_eq!(taken(&mut queue, 100), [0]);
        assert_eq!(queue.next_time(), Some(100 + SECOND / 4));
        assert_eq!(taken(&mut queue, 100 + SECOND), [1, 2, 3, 4]);
    }

    #[test]
    fn what_was_refused_comes_again_at_its_time_or_never() {
        let mut queue = Queue::new((0..3).collect(), u32::MAX, None, 0);
        assert_eq!(taken(&mut queue, 0), [0, 1, 2]);
        queue.refused(0, Some(20));
        queue.refused(1, None);
        queue.refused(2, Some(10));
        assert_eq!((queue.next_time(), taken(&mut queue, 10)), (Some(10), vec![2]));
        assert_eq!(taken(&mut queue, 20), [0]);
        assert_eq!(queue.next_time(), None);
    }
}
