//! Versions decide which of two events is newer; stamps say which record set a state.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};

/// Largest version number: 2^53 − 1, the largest whole number every JSON reader holds exactly.
pub const MAX_VERSION: u64 = (1 << 53) - 1;

/// Names one life of the topic's log: a topic that is made anew has another epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch of the `generation`-th log of this name. Every instance computes the same.
    pub fn of(log_id: &str, generation: i32) -> Self {
        let digest = Sha256::new().chain_update(log_id).chain_update(generation.to_be_bytes()).finalize();
        let (head, _) = digest.as_slice().split_at(8);
        // None has the epoch 0, which a version has that was reset.
        Self(head.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)).max(1))
    }
}

/// Where a version number comes from. Numbers are compared within one kind only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VersionKind {
    /// The event's own `version` field.
    Field,
    /// The record's place in the log of this epoch: offset + 1.
    Log(Epoch),
}

/// An order's own growing number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    /// Where the number comes from.
    pub kind: VersionKind,
    /// 0 to [`MAX_VERSION`].
    pub number: u64,
}

impl Version {
    /// The version of an order that was reset: of a kind that no event has, so that every event supersedes it.
    pub const RESET: Self = Self { kind: VersionKind::Log(Epoch(0)), number: 0 };

    /// Whether an event of this version replaces what `known` set: its number is greater, or of another kind, in
    /// which case log order decides and the later record wins.
    pub fn supersedes(self, known: Self) -> bool {
        self.kind != known.kind || self.number > known.number
    }
}

/// Names the record that set a state. Two states of an order are the same if their stamps are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The life of the log.
    pub epoch: Epoch,
    /// The record's partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
}

impl Stamp {
    /// Whether this is `other` or a later record of the same log.
    pub fn is_at_or_after(self, other: Self) -> bool {
        (self.epoch, self.partition) == (other.epoch, other.partition) && self.offset >= other.offset
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}-{}", self.epoch.0, self.partition, self.offset)
    }
}

/// On the wire the opaque `rev`: names a state as viewers are told it. The record that set it, and whether its status is a
/// terminal one, which goes by settings: once those are others, what a client shows from before differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rev {
    /// The record that set the state.
    pub stamp: Stamp,
    /// Whether it is told as a terminal one.
    pub terminal: bool,
}

const TERMINAL: &str = "-t";

impl fmt::Display for Rev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.stamp, if self.terminal { TERMINAL } else { "" })
    }
}

impl FromStr for Rev {
    type Err = InvalidRev;

    fn from_str(text: &str) -> Result<Self, InvalidRev> {
        let stamp = text.strip_suffix(TERMINAL);
        Ok(Self { stamp: stamp.unwrap_or(text).parse()?, terminal: stamp.is_some() })
    }
}

/// The text is no `rev` of this service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a rev")]
pub struct InvalidRev;

impl FromStr for Stamp {
    type Err = InvalidRev;

    fn from_str(text: &str) -> Result<Self, InvalidRev> {
        let mut parts = text.splitn(3, '-');
        let mut next = || parts.next().ok_or(InvalidRev);
        let (epoch, partition, offset) = (next()?, next()?, next()?);
        Ok(Self {
            epoch: Epoch(u64::from_str_radix(epoch, 16).map_err(|_| InvalidRev)?),
            partition: partition.parse().map_err(|_| InvalidRev)?,
            offset: offset.parse().map_err(|_| InvalidRev)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELD: VersionKind = VersionKind::Field;
    const LOG: VersionKind = VersionKind::Log(Epoch(7));

    fn version(kind: VersionKind, number: u64) -> Version {
        Version { kind, number }
    }

    #[test]
    fn a_greater_number_or_another_kind_supersedes() {
        assert!(version(FIELD, 3).supersedes(version(FIELD, 2)));
        assert!(!version(FIELD, 3).supersedes(version(FIELD, 3)));
        assert!(!version(FIELD, 2).supersedes(version(FIELD, 3)));
        assert!(version(FIELD, 2).supersedes(version(LOG, 1000)));
        assert!(version(LOG, 1).supersedes(version(VersionKind::Log(Epoch(8)), 1000)));
    }

    #[test]
    fn everything_supersedes_a_version_that_was_reset() {
        for newer in [version(FIELD, 0), version(LOG, 1), version(VersionKind::Log(Epoch::of("log", 0)), 0)] {
            assert!(newer.supersedes(Version::RESET), "{newer:?}");
        }
    }

    #[test]
    fn a_rev_reads_back_as_its_stamp_and_whether_it_is_terminal() {
        let stamp = Stamp { epoch: Epoch(u64::MAX), partition: 2, offset: 1041 };
        for rev in [false, true].map(|terminal| Rev { stamp, terminal }) {
            assert_eq!(rev.to_string().parse(), Ok(rev));
        }
        assert_eq!(stamp.to_string().parse(), Ok(Rev { stamp, terminal: false }), "as it was before");
        for bad in ["", "-t", "k7-2-1041", "1-2", "1-2-x", "1-2-3-4", "1-2-3-t-t"] {
            assert_eq!(bad.parse::<Rev>(), Err(InvalidRev), "{bad}");
        }
    }

    #[test]
    fn at_or_after_a_record_is_itself_and_what_follows_in_the_same_partition_of_the_same_log() {
        let stamp = |epoch, partition, offset| Stamp { epoch: Epoch(epoch), partition, offset };
        let follows = |other: Stamp| other.is_at_or_after(stamp(7, 0, 5));
        assert!(follows(stamp(7, 0, 5)) && follows(stamp(7, 0, 6)));
        assert!(!follows(stamp(7, 0, 4)) && !follows(stamp(7, 1, 6)) && !follows(stamp(8, 0, 6)));
    }

    #[test]
    fn each_log_and_each_life_of_one_has_an_epoch_of_its_own() {
        let mut epochs: Vec<u64> = (0..3).flat_map(|life| ["a", "b"].map(|log| Epoch::of(log, life).0)).collect();
        epochs.sort_unstable();
        epochs.dedup();
        assert_eq!(epochs.len(), 6);
        assert_eq!(Epoch::of("a", 1), Epoch::of("a", 1));
    }
}
