//! Why a record cannot be used. The codes are wire: dead letters carry them, metrics are labelled with them.

use std::fmt;

/// The stable code of a refused record, as the dead letter's `x-error-code` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// The value has no bytes (a null value is a tombstone, not this).
    Empty,
    /// The value is not UTF-8.
    NotUtf8,
    /// The value is not JSON.
    NotJson,
    /// The value or its `details` are over their limit.
    TooLarge,
    /// Objects and arrays are nested too deep.
    TooDeep,
    /// A required field is absent or null.
    MissingField,
    /// A field has a value that its rule forbids.
    InvalidField,
    /// The event has no version and the settings require one.
    MissingVersion,
    /// The event has no version and the log cannot stand in for it.
    Unordered,
    /// A tombstone's key names no order.
    BadKey,
    /// The status is not among those configured.
    UnknownStatus,
    /// The value is Avro or Protobuf.
    UnsupportedEncoding,
    /// The store refused what decode had accepted. Never said by decode.
    RejectedByStore,
}

impl RefusalCode {
    /// Every code, for metrics that begin at 0 and for tables in documents.
    pub const ALL: [Self; 13] = [
        Self::Empty,
        Self::NotUtf8,
        Self::NotJson,
        Self::TooLarge,
        Self::TooDeep,
        Self::MissingField,
        Self::InvalidField,
        Self::MissingVersion,
        Self::Unordered,
        Self::BadKey,
        Self::UnknownStatus,
        Self::UnsupportedEncoding,
        Self::RejectedByStore,
    ];

    /// The code as written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotUtf8 => "not_utf8",
            Self::NotJson => "not_json",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::MissingField => "missing_field",
            Self::InvalidField => "invalid_field",
            Self::MissingVersion => "missing_version",
            Self::Unordered => "unordered",
            Self::BadKey => "bad_key",
            Self::UnknownStatus => "unknown_status",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::RejectedByStore => "rejected_by_store",
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// For machines.
    pub code: RefusalCode,
    /// For a person: what is wrong and where. Of the payload it quotes a status at most.
    pub message: String,
}

impl Refusal {
    pub(super) fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}
