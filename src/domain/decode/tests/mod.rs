//! Decode by what producers write, by rule, by refusal, and by what holds for any input.

use std::sync::Arc;

use super::{Decoded, Decoder, DecoderOptions, LogContext, RawRecord, Refusal, RefusalCode};
use crate::domain::{self, Change, Epoch, OrderState, Timestamp};

mod accepted;
mod connect;
mod producers;
mod properties;
mod refusals;
mod rules;
mod settings;
mod tombstones;

const LOG: LogContext = LogContext { epoch: Epoch(7), accepts_unversioned: true };

/// The record's own timestamp: 2026-11-21T09:30:00Z.
const RECORD_MILLIS: i64 = 1_795_253_400_000;

fn record(value: &[u8]) -> RawRecord<'_> {
    RawRecord {
        partition: 3,
        offset: 1040,
        timestamp_millis: Some(RECORD_MILLIS),
        received_at: Timestamp::from_millis(RECORD_MILLIS + 55).unwrap(),
        key: Some(b"A-1001"),
        value: Some(value),
        headers: &[],
    }
}

fn decoder() -> Decoder {
    Decoder::new(&DecoderOptions::default()).unwrap()
}

fn try_decode(value: &str) -> Result<Decoded, Refusal> {
    decoder().decode(&record(value.as_bytes()), &LOG)
}

/// The order that a record sets, with the default settings.
fn decode(record: &RawRecord<'_>) -> Arc<OrderState> {
    set(decoder().decode(record, &LOG).unwrap_or_else(|refusal| panic!("{refusal}")))
}

fn set(decoded: Decoded) -> Arc<OrderState> {
    match decoded.event.change {
        Change::Set(state) => state,
        Change::Erase | Change::Reset => panic!("expected an order, got a tombstone"),
    }
}

/// A complete event with more members put into it.
fn event_with(members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!(r#"{{"order_id":"A-1001","user_id":"u-42","status":"shipped","version":3{comma}{members}}}"#)
}

fn refusal_code(value: &str) -> RefusalCode {
    match try_decode(value) {
        Ok(decoded) => panic!("accepted {value}: {decoded:?}"),
        Err(refusal) => refusal.code,
    }
}
