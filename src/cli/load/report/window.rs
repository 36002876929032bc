//! One round: what came between two moments, and what the server used between the same two.

use serde::Serialize;

use crate::cli::load::{bottleneck::Share, latency::Curve};

/// A round.
#[derive(Debug, Clone, Serialize)]
pub(in crate::cli::load) struct Window {
    pub(in crate::cli::load) name: String,
    /// How long it was.
    pub(in crate::cli::load) seconds: f64,
    /// Deliveries that were due in it.
    pub(in crate::cli::load) due: u64,
    /// Updates that came in it.
    pub(in crate::cli::load) deliveries: u64,
    /// Reads that brought something.
    pub(in crate::cli::load) reads: u64,
    pub(in crate::cli::load) cpu_micros: Option<u64>,
    pub(in crate::cli::load) resident_kib: Option<u64>,
    /// Of those that were due in it, whenever they came.
    pub(in crate::cli::load) latency: Curve,
    pub(in crate::cli::load) acknowledged: Curve,
    /// From when an event was due to when it was given to the producer.
    pub(in crate::cli::load) lateness: Curve,
    pub(in crate::cli::load) busy: Share,
    /// What was measured beside it.
    pub(in crate::cli::load) beside: Option<Beside>,
}

/// The same of the raw floor.
#[derive(Debug, Clone, Serialize)]
pub(in crate::cli::load) struct Beside {
    pub(in crate::cli::load) deliveries: u64,
    pub(in crate::cli::load) cpu_micros: u64,
    pub(in crate::cli::load) latency: Curve,
}

/// Of several rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(in crate::cli::load) struct Spread {
    pub(in crate::cli::load) median: f64,
    pub(in crate::cli::load) min: f64,
    pub(in crate::cli::load) max: f64,
}

impl Window {
    /// Microseconds of the server for each delivery. Where there are shards, the server works for all of them, and each has as
    /// many deliveries.
    pub(in crate::cli::load) fn cpu_per_delivery(&self, shards: f64) -> Option<f64> {
        let deliveries = self.deliveries as f64 * shards;
        self.cpu_micros.filter(|_| self.deliveries > 0).map(|micros| micros as f64 / deliveries)
    }

    pub(in crate::cli::load) fn a_second(&self) -> f64 {
        self.deliveries as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    /// How many times as much CPU a delivery takes as one of the floor.
    pub(in crate::cli::load) fn cpu_ratio(&self) -> Option<f64> {
        let floor = self.beside.as_ref()?.cpu_per_delivery()?;
        self.cpu_per_delivery(1.0).map(|micros| micros / floor)
    }

    pub(in crate::cli::load) fn p99_ratio(&self) -> Option<f64> {
        let floor = self.beside.as_ref()?.latency.p99;
        (floor > 0).then(|| self.latency.p99 as f64 / floor as f64)
    }
}

impl Beside {
    pub(in crate::cli::load) fn cpu_per_delivery(&self) -> Option<f64> {
        let measured = self.deliveries > 0 && self.cpu_micros > 0;
        measured.then(|| self.cpu_micros as f64 / self.deliveries as f64)
    }
}

impl Spread {
    pub(in crate::cli::load) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Some(Self { median, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_median_between_the_least_and_the_most() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of(vec![4.0, 1.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn what_a_delivery_takes_is_told_where_there_is_one() {
        let curve = |p99| Curve { p99, ..Curve::default() };
        let beside = Beside { deliveries: 1_000, cpu_micros: 10_000, latency: curve(200) };
        let mut window = Window {
            name: "round 1".to_owned(),
            seconds: 2.0,
            due: 2_000,
            deliveries: 2_000,
            reads: 2_000,
            cpu_micros: Some(60_000),
            resident_kib: None,
            latency: curve(600),
            acknowledged: curve(1),
            lateness: curve(1),
            busy: Share::default(),
            beside: Some(beside),
        };
        assert_eq!((window.cpu_per_delivery(1.0), window.cpu_per_delivery(3.0)), (Some(30.0), Some(10.0)));
        assert_eq!((window.cpu_ratio(), window.p99_ratio()), (Some(3.0), Some(3.0)));
        assert_eq!(window.a_second(), 1_000.0);
        window.deliveries = 0;
        assert_eq!(window.cpu_ratio(), None);
    }
}
