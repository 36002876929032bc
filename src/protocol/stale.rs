//! Why a screen may be out of date.

use serde::{Serialize, Serializer};

/// One reason for which data may be stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum StaleReason {
    /// No partition's end could be queried for `kafka.stale_after`.
    KafkaUnavailable = 1,
    /// The fanout is behind the log, or the session started before its snapshot could be proved complete, or it waits for
    /// one because its reader was too slow for updates.
    CatchingUp = 2,
    /// A transaction in a partition has been open for longer than `kafka.stale_after`: what was published behind its first
    /// record cannot be read yet.
    OpenTransaction = 32,
    /// The session shows an order that could not be read for 30 s.
    DatabaseUnavailable = 4,
    /// A partition is halted: its log was replaced by an older or other one.
    LogRegression = 8,
    /// A partition is halted: records were deleted before they were stored.
    LogGap = 16,
}

impl StaleReason {
    /// All reasons, in the order in which frames list them.
    pub const ALL: [Self; 6] = [
        Self::KafkaUnavailable,
        Self::CatchingUp,
        Self::OpenTransaction,
        Self::DatabaseUnavailable,
        Self::LogRegression,
        Self::LogGap,
    ];

    /// The name on the wire and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KafkaUnavailable => "kafka_unavailable",
            Self::CatchingUp => "catching_up",
            Self::OpenTransaction => "open_transaction",
            Self::DatabaseUnavailable => "database_unavailable",
            Self::LogRegression => "log_regression",
            Self::LogGap => "log_gap",
        }
    }
}

/// A set of reasons; empty means fresh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StaleReasons(u8);

impl StaleReasons {
    /// No reason: fresh.
    pub const NONE: Self = Self(0);

    /// Those of these names. A name that is none of ours makes it another set than any that is told.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let foreign = 1 << 7;
        names.into_iter().fold(Self::NONE, |Self(all), name| {
            let known = StaleReason::ALL.into_iter().find(|reason| reason.as_str() == name);
            Self(all | known.map_or(foreign, |reason| reason as u8))
        })
    }

    /// Whether nothing is stale.
    pub fn is_fresh(self) -> bool {
        self.0 == 0
    }

    /// Whether `reason` is among them.
    pub fn contains(self, reason: StaleReason) -> bool {
        self.0 & reason as u8 != 0
    }

    /// Adds or removes one reason.
    pub fn set(&mut self, reason: StaleReason, present: bool) {
        if present {
            self.0 |= reason as u8;
        } else {
            self.0 &= !(reason as u8);
        }
    }

    /// The reasons of both.
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The reasons, in a fixed order.
    pub fn iter(self) -> impl Iterator<Item = StaleReason> {
        StaleReason::ALL.into_iter().filter(move |reason| self.contains(*reason))
    }
}

impl FromIterator<StaleReason> for StaleReasons {
    fn from_iter<I: IntoIterator<Item = StaleReason>>(reasons: I) -> Self {
        let mut set = Self::NONE;
        reasons.into_iter().for_each(|reason| set.set(reason, true));
        set
    }
}

impl Serialize for StaleReasons {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(StaleReason::as_str))
    }
}

/// What may be stale on a whole instance, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Staleness {
    /// The reasons; none: fresh.
    pub reasons: StaleReasons,
    /// When the first of them came.
    pub since: crate::domain::Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_known_by_their_names_and_a_foreign_one_is_no_silence() {
        let names: Vec<&str> = StaleReason::ALL.map(StaleReason::as_str).into();
        assert_eq!(StaleReasons::named(names), StaleReasons::from_iter(StaleReason::ALL));
        assert_eq!(StaleReasons::named([]), StaleReasons::NONE);
        let foreign = StaleReasons::named(["log_gap", "eclipse"]);
        assert!(foreign.contains(StaleReason::LogGap) && foreign != StaleReasons::named(["log_gap"]));
        assert!(!StaleReasons::named(["eclipse"]).is_fresh());
    }

    #[test]
    fn each_reason_comes_and_goes_without_the_others() {
        for (at, reason) in StaleReason::ALL.into_iter().enumerate() {
            let mut reasons = StaleReasons::NONE;
            assert!(reasons.is_fresh());
            reasons.set(reason, true);
            reasons.set(reason, true);
            assert!(!reasons.is_fresh());
            assert_eq!(reasons.iter().collect::<Vec<_>>(), [reason]);

            let others: StaleReasons = StaleReason::ALL.into_iter().filter(|other| *other != reason).collect();
            assert_eq!(others.union(reasons).iter().collect::<Vec<_>>(), StaleReason::ALL);
            let mut all = others.union(reasons);
            all.set(reason, false);
            all.set(reason, false);
            assert_eq!(all, others, "{at}");
            assert!(!all.contains(reason) && !all.is_fresh());
        }
    }

    #[test]
    fn frames_list_the_reasons_by_name_and_always_in_the_same_order() {
        let reasons = StaleReasons::from_iter([StaleReason::LogGap, StaleReason::CatchingUp]);
        assert_eq!(serde_json::to_string(&reasons).unwrap(), r#"["catching_up","log_gap"]"#);
        assert_eq!(serde_json::to_string(&StaleReasons::NONE).unwrap(), "[]");
    }
}
