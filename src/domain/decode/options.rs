//! What the settings decide about decoding. Checked once, when the [`Decoder`](super::Decoder) is made.

use std::fmt;

/// The default of `lifecycle.terminal`.
const TERMINAL: [&str; 7] = ["delivered", "cancelled", "refunded", "returned", "completed", "done", "closed"];

/// Settings of a [`Decoder`](super::Decoder).
#[derive(Debug, Clone)]
pub struct DecoderOptions {
    /// `event.fields.<name>`: where each field stands.
    pub fields: FieldPointers,
    /// `event.trim`: whether white space around ids and statuses is left out.
    pub trim: bool,
    /// `kafka.missing_version`.
    pub missing_version: MissingVersion,
    /// `lifecycle.statuses`: the statuses an event may have; none stands for any.
    pub statuses: Vec<String>,
    /// `lifecycle.terminal`: the statuses after which nothing more is expected.
    pub terminal: Vec<String>,
}

/// The documented defaults of all these settings.
impl Default for DecoderOptions {
    fn default() -> Self {
        Self {
            fields: FieldPointers::default(),
            trim: false,
            missing_version: MissingVersion::default(),
            statuses: Vec::new(),
            terminal: TERMINAL.map(String::from).into(),
        }
    }
}

/// JSON Pointers (RFC 6901) per field; the first that leads to something other than null wins.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the field of its name")]
pub struct FieldPointers {
    pub order_id: Vec<String>,
    pub user_id: Vec<String>,
    pub status: Vec<String>,
    pub version: Vec<String>,
    pub occurred_at: Vec<String>,
    pub details: Vec<String>,
    pub event_id: Vec<String>,
    pub viewers: Vec<String>,
    pub deleted: Vec<String>,
}

/// The fields' own names, in snake_case and in camelCase; nothing says that an order is deleted.
impl Default for FieldPointers {
    fn default() -> Self {
        let at = |pointers: &[&str]| pointers.iter().map(ToString::to_string).collect();
        Self {
            order_id: at(&["/order_id", "/orderId"]),
            user_id: at(&["/user_id", "/userId"]),
            status: at(&["/status"]),
            version: at(&["/version"]),
            occurred_at: at(&["/occurred_at", "/occurredAt"]),
            details: at(&["/details"]),
            event_id: at(&["/event_id", "/eventId"]),
            viewers: at(&["/viewers"]),
            deleted: Vec::new(),
        }
    }
}

/// What becomes of an event without a version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MissingVersion {
    /// Its place in the log is its version: offset + 1.
    #[default]
    Offset,
    /// It is refused as `missing_version`.
    DeadLetter,
}

/// A setting that decoding cannot work with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {value:?} {problem}")]
pub struct InvalidSetting {
    /// The setting: `event.fields.status`, `lifecycle.terminal`, …
    pub key: String,
    /// The one value of its list that is wrong.
    pub value: String,
    /// What is wrong with it, as the end of a sentence that begins with the value.
    pub problem: String,
}

impl InvalidSetting {
    pub(super) fn new(key: impl Into<String>, value: &str, problem: impl fmt::Display) -> Self {
        Self { key: key.into(), value: value.into(), problem: problem.to_string() }
    }
}
