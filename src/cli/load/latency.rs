//! How long things took: recorded in microseconds, told as quantiles. Pure.

use hdrhistogram::Histogram;
use serde::Serialize;

/// What took longer counts as having taken an hour.
const LONGEST_MICROS: u64 = 3_600_000_000;
/// A curve has so many points for each nine of its quantiles, up to 99.99 %.
const POINTS_A_NINE: i32 = 10;
const NINES: i32 = 4;

/// Durations that can be added up.
#[derive(Debug, Clone)]
pub(super) struct Latencies(Histogram<u64>);

/// What was recorded, in microseconds.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Curve {
    pub(super) count: u64,
    pub(super) mean: f64,
    pub(super) p50: u64,
    pub(super) p90: u64,
    pub(super) p99: u64,
    #[serde(rename = "p99.9")]
    pub(super) p999: u64,
    #[serde(rename = "p99.99")]
    pub(super) p9999: u64,
    pub(super) max: u64,
    /// Quantile and microseconds, growing.
    pub(super) points: Vec<(f64, u64)>,
}

impl Latencies {
    pub(super) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_MICROS, 3).expect("bounds and digits are within its range"))
    }

    /// Notes how long it was between two moments in nanoseconds; less than nothing is nothing.
    pub(super) fn note(&mut self, from: u64, to: u64) {
        self.0.saturating_record(to.saturating_sub(from) / 1_000);
    }

    /// How many were noted.
    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0 += &other.0;
    }

    /// Values in microseconds and how often each was noted.
    pub(super) fn recorded(&self) -> Vec<(u64, u64)> {
        self.0.iter_recorded().map(|value| (value.value_iterated_to(), value.count_at_value())).collect()
    }

    /// What [`Self::recorded`] gave.
    pub(super) fn of(recorded: &[(u64, u64)]) -> Self {
        let mut latencies = Self::new();
        recorded.iter().for_each(|(micros, count)| latencies.0.saturating_record_n(*micros, *count));
        latencies
    }

    pub(super) fn curve(&self) -> Curve {
        if self.0.is_empty() {
            return Curve::default();
        }
        let at = |quantile| self.0.value_at_quantile(quantile);
        Curve {
            count: self.0.len(),
            mean: self.0.mean(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: self.0.max(),
            points: (0..=NINES * POINTS_A_NINE).map(quantile).map(|quantile| (quantile, at(quantile))).collect(),
        }
    }
}

/// Of the point with this number: 0, then nearer and nearer to 1.
fn quantile(point: i32) -> f64 {
    1.0 - 10f64.powf(-f64::from(point) / f64::from(POINTS_A_NINE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_noted_and_outlive_the_way_to_another_process() {
        let mut latencies = Latencies::new();
        for micros in 1..=1_000u64 {
            latencies.note(5_000, 5_000 + micros * 1_000);
        }
        let curve = latencies.curve();
        assert_eq!((curve.count, curve.p50, curve.p99, curve.max), (1_000, 500, 990, 1_000));
        assert!(curve.points.is_sorted_by_key(|(_, micros)| *micros));
        let other = Latencies::of(&latencies.recorded()).curve();
        assert_eq!((other.count, other.p50, other.p99), (1_000, 500, 990));
    }

    #[test]
    fn nothing_noted_is_no_curve_and_a_clock_set_back_no_hour() {
        assert_eq!(Latencies::new().curve().count, 0);
        let mut latencies = Latencies::new();
        latencies.note(2_000_000, 1_000_000);
        assert!(latencies.curve().max <= 1);
    }
}
