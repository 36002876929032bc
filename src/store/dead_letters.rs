//! Dead letters as rows. The same for both dialects.

use super::Batch;

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
        let letters =
            batch.partitions.iter().flat_map(|part| part.dead_letters.iter().map(move |letter| (part, letter)));
        letters
            .map(|(part, letter)| Self {
                epoch: part.epoch().0.cast_signed(),
                partition: part.partition,
                log_offset: letter.offset,
                code: letter.code,
                message: letter.message.replace('\0', "\u{fffd}"),
                recorded_at: letter.timestamp_millis,
                key: letter.key.as_deref(),
                held: letter.held_record.is_some(),
                value: letter.held_record.as_ref().and_then(|held| held.value.as_deref()),
                headers: letter.held_record.as_ref().map(|held| {
                    serde_json::to_string(&held.headers).expect("texts and numbers always have a JSON form")
                }),
            })
            .collect()
    }
}
