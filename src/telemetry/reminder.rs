//! How often something that lasts is told. Pure: time is passed in.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How often one reason is told.
const INTERVAL: Duration = Duration::from_secs(60);

/// What was told, and when.
#[derive(Debug, Default)]
pub struct Reminder(HashMap<String, Instant>);

impl Reminder {
    /// Whether this reason is to be told now: it is new, or was told a minute ago.
    pub fn is_due(&mut self, reason: &str, now: Instant) -> bool {
        self.0.retain(|_, told_at| now.saturating_duration_since(*told_at) < INTERVAL);
        let is_due = !self.0.contains_key(reason);
        if is_due {
            self.0.insert(reason.to_owned(), now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_told_once_a_minute() {
        let (mut reminder, start) = (Reminder::default(), Instant::now());
        let mut told = |reason: &str| {
            let seconds = (0..150).filter(|second| reminder.is_due(reason, start + Duration::from_secs(*second)));
            seconds.collect::<Vec<u64>>()
        };
        assert_eq!(told("a"), [0, 60, 120]);
        let mut reminder = Reminder::default();
        assert!(reminder.is_due("a", start) && reminder.is_due("b", start));
        assert!(!reminder.is_due("a", start + Duration::from_secs(59)));
    }
}
