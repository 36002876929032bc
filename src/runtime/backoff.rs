//! Growing pauses between attempts.

use std::time::Duration;

/// Doubles from the first pause to the longest, with jitter, so that those who wait for the same do not come back at once.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    last: Option<Duration>,
}

impl Backoff {
    /// Nothing has failed yet.
    pub fn between(first: Duration, longest: Duration) -> Self {
        Self { first, longest, last: None }
    }

    /// The pause before the next attempt: half of its turn at least.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.last.map_or(self.first, |last| (last * 2).min(self.longest));
        self.last = Some(pause);
        pause.mul_f64(rand::random_range(0.5..1.0))
    }

    /// An attempt went well.
    pub fn reset(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew() {
        let millis = Duration::from_millis;
        let mut backoff = Backoff::between(millis(100), millis(500));
        for turn in [100, 200, 400, 500, 500] {
            let pause = backoff.next_pause();
            assert!((millis(turn) / 2..millis(turn)).contains(&pause), "{turn}: {pause:?}");
        }
        backoff.reset();
        assert!(backoff.next_pause() < millis(100));
    }
}
