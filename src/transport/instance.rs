//! What all sessions of this instance share: whether its data is fresh, and whether it is leaving.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{protocol::Staleness, session::Departure};

/// State of the instance, as its sessions see it. After a change [`crate::hub::Hub::nudge_all`] wakes them.
#[derive(Debug)]
pub struct Instance {
    staleness: watch::Receiver<Staleness>,
    drain: OnceLock<Drain>,
    departures: AtomicU32,
}

#[derive(Debug, Clone, Copy)]
struct Drain {
    begins: Instant,
    spread: Duration,
}

impl Instance {
    /// An instance that is not leaving.
    pub fn new(staleness: watch::Receiver<Staleness>) -> Self {
        Self { staleness, drain: OnceLock::new(), departures: AtomicU32::new(0) }
    }

    /// What may be stale now.
    pub fn staleness(&self) -> Staleness {
        *self.staleness.borrow()
    }

    /// Begins to leave: sessions end within `spread`.
    pub fn begin_drain(&self, spread: Duration) {
        // A second call changes nothing: the first is under way.
        let _ = self.drain.set(Drain { begins: Instant::now(), spread });
    }

    /// Whether the instance is leaving.
    pub fn is_draining(&self) -> bool {
        self.drain.get().is_some()
    }

    /// The next session's departure, once the instance is leaving. Spread evenly however many ask: each takes the next
    /// step of the golden ratio around the spread, and comes back as far into another spread.
    pub fn departure(&self) -> Option<Departure> {
        let drain = self.drain.get()?;
        let turn = f64::from(self.departures.fetch_add(1, Ordering::Relaxed));
        let golden_ratio = 0.618_033_988_749_895;
        let place = (turn * golden_ratio).fract();
        let back = ((turn + 0.5) * golden_ratio).fract();
        Some(Departure { at: drain.begins + drain.spread.mul_f64(place), reconnect_after: drain.spread.mul_f64(back) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::Timestamp, protocol::StaleReasons};

    #[test]
    fn departures_are_spread_evenly() {
        let fresh = Staleness { reasons: StaleReasons::NONE, since: Timestamp::from_millis(0).unwrap() };
        let (_sender, staleness) = watch::channel(fresh);
        let instance = Instance::new(staleness);
        assert_eq!(instance.departure(), None);
        instance.begin_drain(Duration::from_secs(10));
        let begins = instance.drain.get().unwrap().begins;
        let mut per_second = [0; 10];
        for _ in 0..1000 {
            let departure = instance.departure().unwrap();
            per_second[(departure.at - begins).as_secs() as usize] += 1;
            assert!(departure.reconnect_after < Duration::from_secs(10));
        }
        assert!(per_second.iter().all(|count| (95..=105).contains(count)), "{per_second:?}");
    }
}
