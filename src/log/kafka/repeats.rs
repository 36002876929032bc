//! Thins out what would be logged again and again. Pure: time is passed in.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// What was said, by its kind. Kinds are few: names and codes, nothing that comes from records.
#[derive(Debug)]
pub(crate) struct Repeats {
    interval: Duration,
    said: HashMap<String, Said>,
}

#[derive(Debug)]
struct Said {
    at: Instant,
    suppressed: u64,
}

impl Repeats {
    /// Each kind is said at once, and then once in such a time.
    pub(crate) fn every(interval: Duration) -> Self {
        Self { interval, said: HashMap::new() }
    }

    /// Whether something of this kind is to be said now, and how often it was not.
    pub(crate) fn admit(&mut self, kind: &str, now: Instant) -> Option<u64> {
        if let Some(said) = self.said.get_mut(kind) {
            if now.saturating_duration_since(said.at) < self.interval {
                said.suppressed += 1;
                return None;
            }
            said.at = now;
            return Some(std::mem::take(&mut said.suppressed));
        }
        self.said.insert(kind.to_owned(), Said { at: now, suppressed: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_said_once_in_a_while_with_the_number_of_repeats() {
        let (interval, start) = (Duration::from_secs(30), Instant::now());
        let mut repeats = Repeats::every(interval);
        assert_eq!(repeats.admit("AllBrokersDown", start), Some(0));
        for millis in 1..=600 {
            assert_eq!(repeats.admit("AllBrokersDown", start + Duration::from_millis(millis * 49)), None);
        }
        assert_eq!(repeats.admit("Resolve", start), Some(0));
        assert_eq!(repeats.admit("AllBrokersDown", start + interval), Some(600));
        assert_eq!(repeats.admit("AllBrokersDown", start + interval * 2), Some(0));
    }
}
