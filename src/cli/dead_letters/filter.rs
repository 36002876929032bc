//! Which dead letters are meant.

use std::str::FromStr;

use clap::{Args, builder::PossibleValuesParser};

use crate::{
    domain::{Timestamp, decode::RefusalCode},
    recorder::dead_letters::ListedDeadLetter,
};

/// Arguments that choose; all given ones must hold.
#[derive(Debug, Default, Args)]
pub(super) struct Filter {
    /// Only those that became dead letters for this reason; may be repeated
    #[arg(long, value_parser = PossibleValuesParser::new(RefusalCode::ALL.map(RefusalCode::as_str)))]
    code: Vec<String>,
    /// Only those whose key is this text
    #[arg(long, visible_alias = "key", value_name = "KEY")]
    order: Option<String>,
    /// Only those that became dead letters since then: a duration such as 2h, or a time such as 2026-11-21T09:30:00Z
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only those from this partition of the source topic
    #[arg(long)]
    partition: Option<i32>,
    /// Only the one from this offset of the partition
    #[arg(long, requires = "partition")]
    offset: Option<i64>,
}

/// A record by its place in the source topic: `PARTITION:OFFSET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartitionOffset {
    pub(super) partition: i32,
    pub(super) offset: i64,
}

impl Filter {
    /// Whether nothing is asked for.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self { code, order: None, since: None, partition: None, offset: None } if code.is_empty())
    }

    /// Whether this one is meant.
    pub(super) fn takes(&self, dead_letter: &ListedDeadLetter) -> bool {
        (self.code.is_empty() || self.code.contains(&dead_letter.code))
            && self.order.as_ref().is_none_or(|order| dead_letter.key.as_deref() == Some(order.as_bytes()))
            && self.since.is_none_or(|since| dead_letter.put_aside_at >= since)
            && self.partition.is_none_or(|partition| dead_letter.record.partition == partition)
            && self.offset.is_none_or(|offset| dead_letter.record.offset == offset)
    }
}

impl PartitionOffset {
    /// Of this dead letter's record.
    pub(super) fn of(dead_letter: &ListedDeadLetter) -> Self {
        Self { partition: dead_letter.record.partition, offset: dead_letter.record.offset }
    }
}

impl FromStr for PartitionOffset {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let place = text.split_once(':').and_then(|(partition, offset)| {
            Some(Self { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
        });
        place.ok_or("is not PARTITION:OFFSET, such as 2:104123")
    }
}

impl std::fmt::Display for PartitionOffset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

fn moment(text: &str) -> Result<Timestamp, &'static str> {
    if let Some(moment) = Timestamp::parse_rfc3339(text) {
        return Ok(moment);
    }
    let ago = humantime::parse_duration(text).ok().and_then(|ago| i64::try_from(ago.as_millis()).ok());
    let moment = ago.and_then(|ago| Timestamp::from_millis(Timestamp::now().as_millis().checked_sub(ago)?));
    moment.ok_or("is neither a duration such as 2h nor a time such as 2026-11-21T09:30:00Z")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::RecordId;

    pub(in crate::cli) fn dead_letter() -> ListedDeadLetter {
        ListedDeadLetter {
            record: RecordId { partition: 2, offset: 17, timestamp_millis: 5 },
            code: "not_json".to_owned(),
            message: "expected value at line 1 column 1".to_owned(),
            put_aside_at: Timestamp::parse_rfc3339("2026-11-21T09:30:00Z").unwrap(),
            held: false,
            key: Some(b"A-1".to_vec()),
            value: Some(b"{".to_vec()),
            headers: Vec::new(),
        }
    }

    #[test]
    fn all_that_is_asked_for_must_hold() {
        let since = |text| Filter { since: Some(moment(text).unwrap()), ..Filter::default() };
        assert!(Filter::default().takes(&dead_letter()) && Filter::default().is_empty());
        assert!(since("2026-11-21T10:30:00+01:00").takes(&dead_letter()));
        assert!(!since("2026-11-21T09:30:00.001Z").takes(&dead_letter()));
        let codes = Filter { code: vec!["empty".to_owned(), "not_json".to_owned()], ..Filter::default() };
        assert!(codes.takes(&dead_letter()) && !codes.is_empty());
        assert!(!Filter { partition: Some(2), offset: Some(18), ..codes }.takes(&dead_letter()));
        assert!(!Filter { order: Some("A".to_owned()), ..Filter::default() }.takes(&dead_letter()));
        assert!(Filter { order: Some("A-1".to_owned()), ..Filter::default() }.takes(&dead_letter()));
    }

    #[test]
    fn a_place_reads_back_and_a_moment_is_refused_when_it_is_none() {
        assert_eq!("2:17".parse::<PartitionOffset>().unwrap().to_string(), "2:17");
        for bad in ["2", "2:", ":1", "a:b", "1:2:3"] {
            assert!(bad.parse::<PartitionOffset>().is_err(), "{bad}");
        }
        assert!(moment("yesterday").is_err());
        assert!(moment("1h").unwrap() < Timestamp::now());
    }
}
