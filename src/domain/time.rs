//! Moments, as the wire writes them: RFC 3339 in UTC with milliseconds.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A moment in milliseconds since 1970-01-01T00:00:00Z, within the years -9999 to 9999.
///
/// Clients read years of four digits. So a moment before the year 0001, which a row may hold, is written as the first
/// moment of that year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The last moment that can be written in every time zone.
    const LAST: Self = Self(253_402_207_200_000);

    /// The first moment of the year 0001.
    pub const YEAR_ONE: Self = Self(-62_135_596_800_000);

    /// The moment `millis` after the Unix epoch; `None` outside the years -9999 to 9999.
    pub fn from_millis(millis: i64) -> Option<Self> {
        jiff::Timestamp::from_millisecond(millis).ok().map(|_| Self(millis))
    }

    /// Reads RFC 3339 with any offset; fractions below a millisecond are cut off.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let parsed: jiff::Timestamp = text.parse().ok()?;
        Some(Self(parsed.as_millisecond()))
    }

    /// The moment `millis` after the Unix epoch, or the nearest there is: what a row holds is not refused.
    pub fn nearest(millis: i64) -> Self {
        Self(millis.clamp(jiff::Timestamp::MIN.as_second() * 1000, Self::LAST.0))
    }

    /// Whether clients can read it: no year before 0001.
    pub fn is_readable(self) -> bool {
        self >= Self::YEAR_ONE
    }

    /// Milliseconds since the Unix epoch.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// The moment on the machine's clock. Only for the edges: pure code is given the time.
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_millisecond())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = (*self).clamp(Self::YEAR_ONE, Self::LAST).0;
        let moment = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
        write!(f, "{moment:.3}")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse_rfc3339(&text).ok_or_else(|| D::Error::custom("expected an RFC 3339 time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_in_utc_with_milliseconds() {
        let moment = Timestamp::parse_rfc3339("2026-11-21T10:30:00.1239+01:00").unwrap();
        assert_eq!(moment.to_string(), "2026-11-21T09:30:00.123Z");
        assert_eq!(Timestamp::from_millis(0).unwrap().to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_millis(i64::MAX), None);
    }

    #[test]
    fn no_moment_is_written_with_another_year_than_0001_to_9999() {
        for (millis, written) in [
            (i64::MIN, "0001-01-01T00:00:00.000Z"),
            (-99_999_999_999_000, "0001-01-01T00:00:00.000Z"),
            (-62_135_596_800_001, "0001-01-01T00:00:00.000Z"),
            (-62_135_596_799_999, "0001-01-01T00:00:00.001Z"),
            (i64::MAX, "9999-12-30T22:00:00.000Z"),
        ] {
            assert_eq!(Timestamp::nearest(millis).to_string(), written, "{millis}");
        }
        assert_eq!(Timestamp::nearest(5).as_millis(), 5);
        let last = Timestamp::parse_rfc3339("9999-12-30T22:00:00.999Z").unwrap();
        assert_eq!(last.to_string(), "9999-12-30T22:00:00.000Z");
    }
}
