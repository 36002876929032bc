//! Names of a run's users and orders: by them they are known again, and can be found by whoever cleans up. Pure.

use crate::domain::{OrderId, UserId};

/// Which order: the place of the user whose it is, and its number among theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) owner: u32,
    pub(super) number: u32,
}

/// The names of one run of one process. No two runs share any.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(run: &str) -> Self {
        Self { prefix: format!("load-{run}-") }
    }

    /// The user of a session.
    pub(super) fn user(&self, place: u32) -> UserId {
        UserId::parse(&format!("{}u{place}", self.prefix)).expect("a short text without control characters")
    }

    /// An order's id: `load-<run>-<owner>-<number>`.
    pub(super) fn order(&self, place: Place) -> OrderId {
        let id = format!("{}{}-{}", self.prefix, place.owner, place.number);
        OrderId::parse(&id).expect("a short text without control characters")
    }

    /// The order of this id, if it is one of the run.
    pub(super) fn place(&self, id: &[u8]) -> Option<Place> {
        let rest = id.strip_prefix(self.prefix.as_bytes())?;
        let dash = rest.iter().position(|byte| *byte == b'-')?;
        Some(Place { owner: number(&rest[..dash])?, number: number(&rest[dash + 1..])? })
    }
}

/// Decimal digits, and nothing else.
pub(super) fn number<N: TryFrom<u64>>(digits: &[u8]) -> Option<N> {
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    let value = digits.iter().try_fold(0u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    });
    N::try_from(value?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_known_by_its_id_and_one_of_another_run_is_not() {
        let (names, place) = (Names::new("r1"), Place { owner: 14_999, number: 2 });
        assert_eq!(names.place(names.order(place).as_str().as_bytes()), Some(place));
        for foreign in ["load-r2-1-1", "A-1", "load-r1-1", "load-r1-1-", "load-r1--1", "load-r1-1-x", "load-r1-u7"] {
            assert_eq!(names.place(foreign.as_bytes()), None, "{foreign}");
        }
        assert_eq!(names.user(3).as_str(), "load-r1-u3");
    }

    #[test]
    fn a_number_is_digits_that_fit() {
        assert_eq!(number::<u64>(b"1795253400000000000"), Some(1_795_253_400_000_000_000));
        assert_eq!(number::<u32>(b"4294967296"), None);
        assert_eq!(number::<u64>(b"99999999999999999999"), None);
        assert_eq!(number::<u64>(b""), None);
        assert_eq!(number::<u64>(b"-1"), None);
    }
}
