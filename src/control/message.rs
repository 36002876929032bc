//! What instances tell each other: the records of the control topic, as JSON. Pure.
//!
//! A record's key is `<kind>:<unique id>`: with one key for two messages, compaction would take one of them away.

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::{
    auth::Revocation,
    domain::{Timestamp, UserId},
    hub::SessionSelector,
};

const REVOCATION: &str = "revocation";
const KICK: &str = "kick";
const ANNOUNCEMENT: &str = "announcement";
/// Longest text of an announcement.
pub const MAX_CONTENT_CHARS: usize = 1_024;

/// One message to all instances, the one that sends it included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlMessage {
    /// Tokens are good no more. Stays until its record is erased.
    Revocation(Revocation),
    /// Sessions end; their clients may come back. Lives for a minute.
    Kick(Kick),
    /// Sessions are told something, once. Lives for a minute.
    Announcement(Announcement),
}

/// Which sessions end. What is unknown in it may narrow whom it means, so it is not read then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Kick {
    /// All of a user.
    User {
        /// The user.
        user_id: UserId,
    },
    /// One.
    Session {
        /// Its name.
        session_id: String,
    },
}

impl Kick {
    /// The sessions, as the hub names them.
    pub fn whom(&self) -> SessionSelector<'_> {
        match self {
            Self::User { user_id } => SessionSelector::User(user_id),
            Self::Session { session_id } => SessionSelector::Session(session_id),
        }
    }
}

/// What sessions are told. What is unknown in it may narrow whom it is for, so it is not read then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announcement {
    /// The text.
    pub content: String,
    /// The one user it is for; `None`: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// When it was made.
    pub timestamp: Timestamp,
}

impl ControlMessage {
    /// A name of its own for the message's record.
    pub fn new_key(&self) -> String {
        format!("{}:{}", self.kind(), Ulid::generate())
    }

    /// What kind of message it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Revocation(_) => REVOCATION,
            Self::Kick(_) => KICK,
            Self::Announcement(_) => ANNOUNCEMENT,
        }
    }

    /// The record's value.
    pub fn encode(&self) -> Vec<u8> {
        let encoded = match self {
            Self::Revocation(revocation) => serde_json::to_vec(revocation),
            Self::Kick(kick) => serde_json::to_vec(kick),
            Self::Announcement(announcement) => serde_json::to_vec(announcement),
        };
        encoded.expect("texts and times always have a JSON form")
    }

    /// Reads a record; `None` if it is of a kind this version does not know, or says something else.
    pub fn decode(key: &str, value: &[u8]) -> Option<Self> {
        let (kind, _) = key.split_once(':')?;
        match kind {
            REVOCATION => serde_json::from_slice(value).ok().map(Self::Revocation),
            KICK => serde_json::from_slice(value).ok().map(Self::Kick),
            ANNOUNCEMENT => {
                let announcement: Announcement = serde_json::from_slice(value).ok()?;
                let fits = announcement.content.chars().count() <= MAX_CONTENT_CHARS;
                fits.then_some(Self::Announcement(announcement))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_as_they_were_and_each_has_a_key_of_its_own() {
        let user_id = UserId::parse("u-1").unwrap();
        let timestamp = Timestamp::parse_rfc3339("2026-11-21T10:00:00Z").unwrap();
        let messages = [
            ControlMessage::Revocation(Revocation::Token { jti: "t-1".into(), expires_at: None }),
            ControlMessage::Revocation(Revocation::User { user_id: user_id.clone(), issued_before: timestamp }),
            ControlMessage::Kick(Kick::User { user_id: user_id.clone() }),
            ControlMessage::Kick(Kick::Session { session_id: "s-1".into() }),
            ControlMessage::Announcement(Announcement { content: "hello".into(), user_id: Some(user_id), timestamp }),
        ];
        for message in messages {
            let key = message.new_key();
            assert_ne!(key, message.new_key());
            assert_eq!(ControlMessage::decode(&key, &message.encode()), Some(message));
        }
    }

    #[test]
    fn an_announcement_that_is_too_long_for_a_frame_is_not_read() {
        let timestamp = Timestamp::parse_rfc3339("2026-11-21T10:00:00Z").unwrap();
        for (chars, fits) in [(MAX_CONTENT_CHARS, true), (MAX_CONTENT_CHARS + 1, false)] {
            let announcement = Announcement { content: "é".repeat(chars), user_id: None, timestamp };
            let message = ControlMessage::Announcement(announcement);
            assert_eq!(ControlMessage::decode("announcement:1", &message.encode()).is_some(), fits, "{chars}");
        }
    }

    #[test]
    fn what_is_none_of_these_is_not_read() {
        for (key, value) in [
            ("revocation:1", "{}"),
            ("revocation:1", r#"{"user_id":"u-1"}"#),
            ("kick:1", r#"{"user_id":""}"#),
            ("kick:1", "nonsense"),
            ("kick:1", r#"{"user_id":"u-1","session_id":"s-1"}"#),
            ("kick:1", r#"{"user_id":"u-1","transport":"sse"}"#),
            ("announcement:1", r#"{"content":"x","timestamp":"2026-11-21T10:00:00Z","userId":"u-1"}"#),
            ("of-tomorrow:1", "{}"),
            ("revocation", r#"{"jti":"t-1"}"#),
        ] {
            assert_eq!(ControlMessage::decode(key, value.as_bytes()), None, "{key} {value}");
        }
    }
}
