//! When each event is due, and of which order it is. Pure. Open loop: nothing here depends on how it goes.

use super::{clock::SECOND, names::Place};

/// The events of one process: its part of those of all shards.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    /// Events a second of all shards together.
    pub(super) rate: f64,
    /// This process, from 0, of so many.
    pub(super) shard: u32,
    pub(super) shards: u32,
    /// Sessions of this process, and orders of each.
    pub(super) sessions: u32,
    pub(super) orders: u32,
    /// Events that come to one session at once.
    pub(super) bunch: u32,
    /// How far it is from one session to the next one; shares no factor with their number.
    stride: u64,
}

impl Schedule {
    pub(super) fn new(rate: f64, (shard, shards): (u32, u32), sessions: u32, orders: u32, bunch: u32) -> Self {
        Self { rate, shard, shards, sessions, orders, bunch, stride: stride(sessions) }
    }

    /// When this process's event `i` is due, from the beginning on, in nanoseconds. Of all shards' events, number `i` is due
    /// at `(i + 1) / rate`, bunches as a whole.
    pub(super) fn due(&self, event: u64) -> u64 {
        let bunch = event / u64::from(self.bunch) * u64::from(self.shards) + u64::from(self.shard);
        let events = (bunch + 1) * u64::from(self.bunch);
        (events as f64 / self.rate * SECOND as f64) as u64
    }

    /// Of which order event `i` is: every session once before any comes again, neighbours far from each other.
    pub(super) fn place(&self, event: u64) -> Place {
        let (bunch, of_bunch) = (event / u64::from(self.bunch), event % u64::from(self.bunch));
        let sessions = u64::from(self.sessions);
        let (round, turn) = (bunch / sessions, bunch % sessions);
        let number = (round * u64::from(self.bunch) + of_bunch) % u64::from(self.orders);
        Place { owner: (turn * self.stride % sessions) as u32, number: number as u32 }
    }

    /// So many events touch every order once.
    pub(super) fn once(&self) -> u64 {
        let bunches = u64::from(self.orders).div_ceil(u64::from(self.bunch));
        u64::from(self.sessions) * bunches * u64::from(self.bunch)
    }

    /// Events that are due before this, from the beginning on, in nanoseconds.
    pub(super) fn before(&self, moment: u64) -> u64 {
        let guess = moment as f64 / SECOND as f64 * self.rate / f64::from(self.shards);
        let mut events = (guess as u64).saturating_add(2 * u64::from(self.bunch));
        while events > 0 && self.due(events - 1) >= moment {
            events -= 1;
        }
        events
    }
}

/// About 0.618 of the way round, without a common factor.
fn stride(sessions: u32) -> u64 {
    let sessions = u64::from(sessions);
    let from = (sessions as f64 * 0.618) as u64;
    (from.max(1)..=sessions.max(1)).find(|stride| gcd(*stride, sessions) == 1).unwrap_or(1)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn event_i_is_due_at_i_plus_one_by_the_rate() {
        let schedule = Schedule::new(8_000.0, (0, 1), 15_000, 1, 1);
        assert_eq!((schedule.due(0), schedule.due(7_999)), (125_000, SECOND));
        assert_eq!((schedule.before(SECOND), schedule.before(SECOND + 1)), (7_999, 8_000));
        assert_eq!(schedule.before(0), 0);
    }

    #[test]
    fn shards_share_the_events_of_one_schedule() {
        let all = Schedule::new(100.0, (0, 1), 10, 1, 1);
        let parts = [0, 1, 2].map(|shard| Schedule::new(100.0, (shard, 3), 10, 1, 1));
        let mut dues: Vec<u64> = parts.iter().flat_map(|part| (0..100).map(|event| part.due(event))).collect();
        dues.sort_unstable();
        assert_eq!(dues, (0..300).map(|event| all.due(event)).collect::<Vec<_>>());
    }

    #[test]
    fn every_order_comes_once_before_any_comes_again() {
        for (sessions, orders, bunch) in [(1, 1, 1), (7, 3, 1), (15_000, 1, 1), (10, 5, 5), (10, 1, 5), (6, 3, 2)] {
            let schedule = Schedule::new(10.0, (0, 1), sessions, orders, bunch);
            let once = schedule.once();
            let places: Vec<_> = (0..once).map(|event| schedule.place(event)).collect();
            let distinct: HashSet<_> = places.iter().map(|place| (place.owner, place.number)).collect();
            assert_eq!(distinct.len(), (sessions * orders) as usize, "{sessions} {orders} {bunch}");
        }
    }

    #[test]
    fn a_bunch_comes_to_one_session_at_one_moment() {
        let schedule = Schedule::new(100.0, (0, 1), 10, 5, 5);
        assert!((0..5).all(|event| schedule.due(event) == schedule.due(0)));
        assert!(schedule.due(5) > schedule.due(4));
        let owners: HashSet<u32> = (0..5).map(|event| schedule.place(event).owner).collect();
        assert_eq!(owners.len(), 1);
    }
}
