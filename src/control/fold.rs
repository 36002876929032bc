//! The fold of the control topic: what a record means now. Pure: records and time come in as calls.

use std::collections::BTreeMap;

use super::message::ControlMessage;
use crate::domain::Timestamp;

/// How long kicks and announcements live. An instance that was cut off for longer does not come late with them.
const LIFETIME_MILLIS: i64 = 60_000;

/// One record of the control topic.
#[derive(Debug, Clone, Copy)]
pub(super) struct ControlRecord<'r> {
    pub(super) offset: i64,
    /// When it was sent, by the sender's clock.
    pub(super) sent_at: Timestamp,
    pub(super) key: &'r str,
    /// `None`: the record of this key counts no more.
    pub(super) value: Option<&'r [u8]>,
}

/// What a record asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// To be done.
    Act(ControlMessage),
    /// The record of this key counts no more.
    Erase,
    /// It was for others, or for earlier.
    Past(&'static str),
    /// Of a kind this version does not know.
    Unreadable,
}

/// How far the topic was read, and what of it is to be erased one day.
#[derive(Debug, Default)]
pub(super) struct Fold {
    next_offset: i64,
    /// From here on kicks and announcements act: what lies below was there before this process was ready.
    acts_from: Option<i64>,
    /// The records of kicks and announcements, and when they were sent.
    fleeting: BTreeMap<String, Timestamp>,
}

impl Fold {
    /// Takes the next record.
    pub(super) fn on_record(&mut self, record: &ControlRecord<'_>, now: Timestamp) -> Meaning {
        if record.offset < self.next_offset {
            // The log begins anew: it is another one, and what it holds is news.
            self.acts_from = self.acts_from.map(|_| record.offset);
        }
        self.next_offset = record.offset + 1;
        let Some(value) = record.value else {
            self.fleeting.remove(record.key);
            return Meaning::Erase;
        };
        match ControlMessage::decode(record.key, value) {
            None => Meaning::Unreadable,
            Some(message @ ControlMessage::Revocation(_)) => Meaning::Act(message),
            Some(message) => {
                self.fleeting.insert(record.key.to_owned(), record.sent_at);
                let lives = now.as_millis() - record.sent_at.as_millis() <= LIFETIME_MILLIS;
                let is_news = self.acts_from.is_some_and(|from| record.offset >= from);
                if lives && is_news { Meaning::Act(message) } else { Meaning::Past(message.kind()) }
            }
        }
    }

    /// The end of the log was reached. `true` the first time.
    pub(super) fn on_end(&mut self) -> bool {
        let first = self.acts_from.is_none();
        self.acts_from.get_or_insert(self.next_offset);
        first
    }

    /// Where to read on from.
    pub(super) fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// The records of kicks and announcements that are over, to be erased: compaction would keep them for ever.
    pub(super) fn over(&self, now: Timestamp) -> Vec<String> {
        let is_over = |sent_at: &Timestamp| now.as_millis() - sent_at.as_millis() > LIFETIME_MILLIS;
        self.fleeting.iter().filter(|(_, sent_at)| is_over(sent_at)).map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{auth::Revocation, control::Kick, domain::UserId};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000).unwrap()
    }

    fn kick() -> ControlMessage {
        ControlMessage::Kick(Kick::User { user_id: UserId::parse("u-1").unwrap() })
    }

    fn take(fold: &mut Fold, offset: i64, sent_at: i64, key: &str, value: Option<&[u8]>, now: i64) -> Meaning {
        fold.on_record(&ControlRecord { offset, sent_at: at(sent_at), key, value }, at(now))
    }

    #[test]
    fn revocations_act_from_the_beginning_and_kicks_only_above_where_this_process_became_ready() {
        let mut fold = Fold::default();
        let revocation = ControlMessage::Revocation(Revocation::Token { jti: "t-1".into(), expires_at: None });
        let meaning = take(&mut fold, 3, 0, "revocation:1", Some(&revocation.encode()), 9_000);
        assert_eq!(meaning, Meaning::Act(revocation));
        assert_eq!(take(&mut fold, 4, 100, "kick:1", Some(&kick().encode()), 101), Meaning::Past("kick"));
        assert!(fold.on_end() && !fold.on_end());
        assert_eq!(take(&mut fold, 5, 100, "kick:2", Some(&kick().encode()), 101), Meaning::Act(kick()));
    }

    #[test]
    fn a_kick_that_comes_a_minute_late_does_nothing_and_is_erased_like_any_other() {
        let mut fold = Fold::default();
        fold.on_end();
        assert_eq!(take(&mut fold, 0, 100, "kick:1", Some(&kick().encode()), 160), Meaning::Act(kick()));
        assert_eq!(take(&mut fold, 1, 100, "kick:2", Some(&kick().encode()), 161), Meaning::Past("kick"));
        assert_eq!((fold.over(at(160)), fold.over(at(161))), (vec![], vec!["kick:1".to_owned(), "kick:2".to_owned()]));
        assert_eq!(take(&mut fold, 2, 170, "kick:1", None, 170), Meaning::Erase);
        assert_eq!(fold.over(at(200)), ["kick:2"]);
    }

    #[test]
    fn a_log_that_begins_anew_is_news() {
        let mut fold = Fold::default();
        assert_eq!(take(&mut fold, 7, 100, "kick:1", Some(&kick().encode()), 101), Meaning::Past("kick"));
        assert_eq!(fold.next_offset(), 8);
        fold.on_end();
        assert_eq!(take(&mut fold, 0, 100, "kick:2", Some(&kick().encode()), 101), Meaning::Act(kick()));
        assert_eq!(fold.next_offset(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        let mut fold = Fold::default();
        assert_eq!(take(&mut fold, 0, 0, "of-tomorrow:1", Some(b"{}"), 0), Meaning::Unreadable);
        assert_eq!(fold.next_offset(), 1);
    }
}
