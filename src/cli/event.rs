//! An order event as any producer would write it, for the commands that publish some.

use serde::Serialize;
use serde_json::value::RawValue;

use super::error::CommandError;
use crate::{
    app::decoder_options,
    config::Settings,
    domain::{
        Epoch, OrderId, Timestamp, UserId,
        decode::{Decoder, LogContext, RawRecord},
    },
};

/// The value of an event's record. Every event carries the whole order: what is absent is none.
#[derive(Debug, Serialize)]
pub(super) struct Event<'a> {
    pub(super) order_id: &'a OrderId,
    pub(super) user_id: &'a UserId,
    pub(super) status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<u64>,
    pub(super) occurred_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) details: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) viewers: &'a [UserId],
}

impl Event<'_> {
    /// The bytes of the value.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("its keys are strings, and writing to memory succeeds")
    }
}

/// Decodes the record as the service would decode it, so that a mistake is told instead of dead-lettered.
pub(super) fn check(settings: &Settings, order: &OrderId, value: Option<&[u8]>) -> Result<(), CommandError> {
    let decoder = Decoder::new(&decoder_options(settings)).map_err(|problems| {
        CommandError::Usage(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    let record = RawRecord {
        partition: 0,
        offset: 0,
        timestamp_millis: None,
        received_at: Timestamp::now(),
        key: Some(order.as_str().as_bytes()),
        value,
        headers: &[],
    };
    let log = LogContext { epoch: Epoch(0), accepts_unversioned: true };
    match decoder.decode(&record, &log) {
        Ok(_) => Ok(()),
        Err(refusal) => Err(CommandError::Usage(format!("would be refused: {refusal}"))),
    }
}
