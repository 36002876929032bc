//! Decode: one record of the order-status topic becomes an [`OrderEvent`], or a [`Refusal`] with a stable code.
//!
//! Pure and total: no input panics, and the same input always gives the same answer. Fanout and recorder both call
//! [`Decoder::decode`], so they accept the same records; what the store could refuse is refused here. It does not judge
//! whether an event is newer than what is known: that is the [fold](super::fold).
//!
//! The steps, one file each:
//!
//! ```text
//! record ─► key                        a null value: a tombstone, whose key names the order
//!        └► unwrap ─► fields           anything else: what stands around the event comes off, then field by field
//!             │         ├ occurred_at
//!             │         └ pointer      where the settings say a field stands
//!             │         ├ logical      what the schema in a wrapper says of a value
//!             │         └ details      what every reader of a frame can read
//!             ├ headers
//!             └ document ─► text       JSON, opened only as far as somebody looks
//! ```

use std::sync::Arc;

use smol_str::SmolStr;

use super::{Change, Epoch, Lifecycle, OrderEvent, OrderState, Stamp, Timestamp, Version, VersionKind, ids};
use document::Document;
use fields::Fields;
use headers::Headers;
use occurred_at::Unreadable;
use texts::Texts;

mod details;
mod document;
mod fields;
mod headers;
mod key;
mod logical;
mod number;
mod occurred_at;
mod options;
mod pointer;
mod refusal;
mod schema;
mod text;
mod texts;
mod unwrap;

#[cfg(test)]
mod tests;

pub use details::stored as stored_details;
pub use fields::{MAX_DETAILS_BYTES, MAX_STATUS_CHARS, MAX_VIEWERS};
pub use headers::{RESET_HEADER, VERSION_HEADER};
pub use options::{DecoderOptions, FieldPointers, InvalidSetting, MissingVersion};
pub use refusal::{Refusal, RefusalCode};
pub use text::MAX_DEPTH;

/// Largest accepted value, in bytes.
pub const MAX_VALUE_BYTES: usize = 256 * 1024;

/// A record as it came from the broker.
#[derive(Debug, Clone, Copy)]
pub struct RawRecord<'a> {
    /// The partition it was read from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its own timestamp; 0 and less count as none.
    pub timestamp_millis: Option<i64>,
    /// When this process received it: what remains where neither event nor record says when it happened.
    pub received_at: Timestamp,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Names and values, in order.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// What decode must know of the log a record stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogContext {
    /// The life of the log.
    pub epoch: Epoch,
    /// Whether events without a version may take it from the log: only while the topic's partition count is the one
    /// under which that began, since another count sends an order's records to another partition.
    pub accepts_unversioned: bool,
}

/// A record that can be used.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// What it says.
    pub event: OrderEvent,
    /// It had an `occurred_at` that cannot be read or meant, and got the record's timestamp instead; or it needed the
    /// record's, and that cannot be meant. Worth counting.
    pub occurred_at_unreadable: bool,
}

/// Decodes records by the rules of the settings. Made once, shared by all who decode.
#[derive(Debug)]
pub struct Decoder {
    fields: Fields,
    lifecycle: Arc<Lifecycle>,
    missing_version: MissingVersion,
    trim: bool,
}

impl Decoder {
    /// Checks the settings; all that is wrong with them is told at once.
    pub fn new(options: &DecoderOptions) -> Result<Self, Vec<InvalidSetting>> {
        let mut problems = Vec::new();
        let fields = Fields::new(&options.fields, options.trim, &mut problems);
        for (key, names) in [("lifecycle.statuses", &options.statuses), ("lifecycle.terminal", &options.terminal)] {
            for name in names {
                if let Err(problem) = fields::check_status(name) {
                    problems.push(InvalidSetting::new(key, name, problem));
                } else if name.trim() != name {
                    problems.push(InvalidSetting::new(key, name, "begins or ends with a space"));
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let lifecycle = Arc::new(Lifecycle::new(&options.statuses, &options.terminal));
        Ok(Self { fields, lifecycle, missing_version: options.missing_version, trim: options.trim })
    }

    /// The statuses as this decodes them.
    pub fn lifecycle(&self) -> &Arc<Lifecycle> {
        &self.lifecycle
    }

    /// Decodes and validates one record.
    pub fn decode(&self, record: &RawRecord<'_>, log: &LogContext) -> Result<Decoded, Refusal> {
        let stamp = Stamp { epoch: log.epoch, partition: record.partition, offset: record.offset };
        match record.value {
            Some(value) => self.decode_order(value, record, log, stamp),
            None => {
                let order_id = key::order_id(record.key, self.trim)?;
                let change = Headers::read(record.headers).erasure();
                Ok(Decoded { event: OrderEvent { order_id, stamp, change }, occurred_at_unreadable: false })
            }
        }
    }

    fn decode_order(
        &self,
        value: &[u8],
        record: &RawRecord<'_>,
        log: &LogContext,
        stamp: Stamp,
    ) -> Result<Decoded, Refusal> {
        let headers = Headers::read(record.headers);
        let texts = Texts::default();
        let (mut event, cloud_event) = unwrap::unwrap(value, &headers, &self.fields, &texts)?;
        let event = &mut event;

        let order_id = self.fields.order_id(event)?;
        if self.fields.deleted(event) {
            let event = OrderEvent { order_id, stamp, change: headers.erasure() };
            return Ok(Decoded { event, occurred_at_unreadable: false });
        }
        let user_id = self.fields.user_id(event)?;
        let status = self.status(event)?;
        let version = self.version(event, record, &headers, log)?;
        let viewers = self.fields.viewers(event, &user_id)?;
        let details = self.fields.details(event)?;

        let event_id = match self.fields.event_id(event)? {
            None => [cloud_event.id.as_deref(), headers.id]
                .into_iter()
                .flatten()
                .find(|id| ids::check(id).is_ok())
                .map(Box::from),
            sent => sent,
        };
        let sent_at = match self.fields.occurred_at(event) {
            Ok(None) => cloud_event.occurred_at(),
            sent_at => sent_at,
        };
        let (occurred_at, occurred_at_unreadable) = record.moment_of(sent_at);

        let state = OrderState {
            terminal: self.lifecycle.is_terminal(&status),
            order_id: order_id.clone(),
            user_id,
            viewers,
            status,
            version,
            stamp,
            occurred_at,
            details,
            event_id,
        };
        let event = OrderEvent { order_id, stamp, change: Change::Set(state.into()) };
        Ok(Decoded { event, occurred_at_unreadable })
    }

    fn status(&self, event: &mut Document<'_>) -> Result<SmolStr, Refusal> {
        let status = self.fields.status(event)?;
        if !self.lifecycle.knows(&status) {
            let message = format!("status {status:?} is not one of lifecycle.statuses");
            return Err(Refusal::new(RefusalCode::UnknownStatus, message));
        }
        Ok(status)
    }

    /// The event's own version or, without one, its place in the log.
    fn version(
        &self,
        event: &mut Document<'_>,
        record: &RawRecord<'_>,
        headers: &Headers<'_>,
        log: &LogContext,
    ) -> Result<Version, Refusal> {
        if let Some(number) = self.fields.version(event)? {
            return Ok(Version { kind: VersionKind::Field, number });
        }
        let refused = |code, message: &str| Err(Refusal::new(code, message));
        if self.missing_version == MissingVersion::DeadLetter {
            return refused(RefusalCode::MissingVersion, "version is missing, and kafka.missing_version asks for it");
        }
        if !log.accepts_unversioned {
            let message = "version is missing, and the partition count has changed, so log order says nothing";
            return refused(RefusalCode::Unordered, message);
        }
        // librdkafka spreads records with an empty key over all partitions, as it does with a null one.
        if record.key.is_none_or(<[u8]>::is_empty) {
            let message = "version and key are missing, so log order says nothing";
            return refused(RefusalCode::Unordered, message);
        }
        let number = match headers.version {
            None => Some(record.offset.saturating_add(1).max(0).unsigned_abs()),
            Some(first) => std::str::from_utf8(first).ok().and_then(fields::version_number),
        };
        match number {
            Some(number) => Ok(Version { kind: VersionKind::Log(log.epoch), number }),
            None => refused(RefusalCode::InvalidField, "the header ordercast-version is not a version"),
        }
    }
}

impl RawRecord<'_> {
    /// When an event happened that says so, and whether a time had to be passed over. What lies a day ahead of the record
    /// cannot be meant: it would stand above all that really happens until then.
    fn moment_of(&self, sent: Result<Option<Timestamp>, Unreadable>) -> (Timestamp, bool) {
        let own = self.timestamp_millis.filter(|millis| *millis > 0).map(Timestamp::nearest);
        let sound = own.filter(|own| !occurred_at::is_far_ahead(*own, self.received_at));
        let recorded = sound.unwrap_or(self.received_at);
        match sent {
            Ok(Some(sent)) if !occurred_at::is_far_ahead(sent, recorded) => (sent, false),
            Ok(None) => (recorded, own != sound),
            Ok(Some(_)) | Err(Unreadable) => (recorded, true),
        }
    }
}
