//! Dead letters as rows. The same for both dialects.

use serde::{Deserialize, Serialize};

use super::{Batch, HeldRecord};

/// A row of `dead_letters`, but for topic and number.
#[derive(Debug)]
pub(super) struct DeadLetterRow<'b> {
    pub(super) epoch: i64,
    pub(super) partition: i32,
    pub(super) log_offset: i64,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) recorded_at: Option<i64>,
    pub(super) key: Option<&'b [u8]>,
    pub(super) held: bool,
    pub(super) value: Option<&'b [u8]>,
    pub(super) headers: Option<String>,
}

impl<'b> DeadLetterRow<'b> {
    /// The dead letters of a batch in log order, partitions in order. Nothing in them can be refused by the database:
    /// what is not known to be text is stored as bytes.
    pub(super) fn of(batch: &'b Batch) -> Vec<Self> {
        let dead_letters = batch
            .partitions
            .iter()
            .flat_map(|part| part.dead_letters.iter().map(move |dead_letter| (part, dead_letter)));
        dead_letters
            .map(|(part, dead_letter)| Self {
                epoch: part.epoch().0.cast_signed(),
                partition: part.partition,
                log_offset: dead_letter.offset,
                code: dead_letter.code,
                message: dead_letter.message.replace('\0', "\u{fffd}"),
                recorded_at: dead_letter.timestamp_millis,
                key: dead_letter.key.as_deref(),
                held: dead_letter.held_record.is_some(),
                value: dead_letter.held_record.as_ref().and_then(|held| held.value.as_deref()),
                headers: dead_letter.held_record.as_ref().map(headers_to_json),
            })
            .collect()
    }
}

/// Names and values, in order.
type Headers = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// The name of a header as it is stored: text where it is text, else its bytes.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Name {
    Text(String),
    Bytes(Vec<u8>),
}

/// Names and values in JSON, as [`headers_from_json`] reads them.
fn headers_to_json(held: &HeldRecord) -> String {
    let name = |name: &[u8]| match std::str::from_utf8(name) {
        Ok(text) => Name::Text(text.to_owned()),
        Err(_) => Name::Bytes(name.to_vec()),
    };
    let headers: Vec<_> = held.headers.iter().map(|(bytes, value)| (name(bytes), value)).collect();
    serde_json::to_string(&headers).expect("texts and numbers always have a JSON form")
}

/// Names and values of a held record, from what was stored of them.
pub(super) fn headers_from_json(json: &str) -> Result<Headers, serde_json::Error> {
    let headers: Vec<(Name, Option<Vec<u8>>)> = serde_json::from_str(json)?;
    let bytes = |name| match name {
        Name::Text(text) => text.into_bytes(),
        Name::Bytes(bytes) => bytes,
    };
    Ok(headers.into_iter().map(|(name, value)| (bytes(name), value)).collect())
}
