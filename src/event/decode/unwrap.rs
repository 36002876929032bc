//! Takes off what stands around an order event: the marks of serialisers, CloudEvents, Kafka Connect and outboxes.
//! Each at most once, from the outside in, so a value cannot make decode work without end.

use std::{borrow::Cow, cell::OnceCell, str};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    MAX_VALUE_BYTES, Refusal, RefusalCode,
    document::{Document, Object, string},
    headers::Headers,
    occurred_at::Unreadable,
};
use crate::event::Timestamp;

/// Confluent's serialisers put this byte and the four of a schema id before what they write.
const CONFLUENT_MAGIC: u8 = 0;
const CONFLUENT_PREFIX_BYTES: usize = 5;

/// What a CloudEvent says beside its data.
pub(super) struct CloudEvent<'a> {
    pub(super) id: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
}

impl CloudEvent<'_> {
    /// When the event happened, where its data does not say.
    pub(super) fn occurred_at(&self) -> Result<Option<Timestamp>, Unreadable> {
        self.time.as_deref().map(|time| Timestamp::parse_rfc3339(time).ok_or(Unreadable)).transpose()
    }
}

/// Texts that unwrapping had to make; the event's fields borrow from them.
#[derive(Default)]
pub(super) struct Texts {
    data: OnceCell<Vec<u8>>,
    embedded: OnceCell<String>,
}

/// Finds the order event in a record's value.
pub(super) fn unwrap<'a>(
    value: &'a [u8],
    headers: &Headers<'a>,
    texts: &'a Texts,
) -> Result<(Document<'a>, CloudEvent<'a>), Refusal> {
    let mut document = Document::parse(json_text(value, headers)?)?;

    let structured = document.object().filter(|object| is_cloud_event(object, headers));
    let cloud_event = match structured {
        Some(object) => CloudEvent { id: object.get("id").and_then(string), time: object.get("time").and_then(string) },
        // In binary mode the value is the data.
        None => CloudEvent {
            id: headers.cloud_event_id.map(Cow::Borrowed),
            time: headers.cloud_event_time.map(Cow::Borrowed),
        },
    };
    if let Some(object) = structured {
        document = cloud_event_data(object, texts)?;
    }

    let payload = document.object().and_then(connect_payload);
    if let Some(payload) = payload {
        document = payload;
    }

    match embedded_object(&document) {
        Some(text) => Ok((Document::parse(texts.embedded.get_or_init(|| text))?, cloud_event)),
        None => Ok((document, cloud_event)),
    }
}

/// The value as text, without the schema id of Confluent's JSON serialiser.
fn json_text<'a>(value: &'a [u8], headers: &Headers<'_>) -> Result<&'a str, Refusal> {
    if value.is_empty() {
        return Err(Refusal::new(RefusalCode::Empty, "the value has no bytes"));
    }
    if value.len() > MAX_VALUE_BYTES {
        let message = format!("the value has {} bytes, at most {MAX_VALUE_BYTES} are accepted", value.len());
        return Err(Refusal::new(RefusalCode::TooLarge, message));
    }
    if let Some(encoding) = headers.foreign_encoding() {
        let message = format!("the content type names {encoding}; only JSON is understood");
        return Err(Refusal::new(RefusalCode::UnsupportedEncoding, message));
    }
    let json = match after_schema_id(value) {
        Some(json) if json.starts_with(b"{") => json,
        None if value[0] != CONFLUENT_MAGIC => value,
        _ => {
            let message = "the value begins with the byte 00 of Avro or Protobuf from a schema registry";
            return Err(Refusal::new(RefusalCode::UnsupportedEncoding, message));
        }
    };
    utf8(json)
}

/// What follows the schema id that Confluent's serialisers write first.
pub(super) fn after_schema_id(bytes: &[u8]) -> Option<&[u8]> {
    let (prefix, rest) = bytes.split_at_checked(CONFLUENT_PREFIX_BYTES)?;
    (prefix[0] == CONFLUENT_MAGIC).then_some(rest)
}

fn utf8(bytes: &[u8]) -> Result<&str, Refusal> {
    str::from_utf8(bytes).map_err(|error| {
        Refusal::new(RefusalCode::NotUtf8, format!("the value is not UTF-8 at byte {}", error.valid_up_to()))
    })
}

/// Told by its content type or by its shape: Python's SDK writes the content type of the data.
fn is_cloud_event(object: &Object<'_>, headers: &Headers<'_>) -> bool {
    (object.get("specversion").is_some() || headers.is_structured_cloud_event())
        && (object.get("data").is_some() || object.get("data_base64").is_some())
}

fn cloud_event_data<'a>(cloud_event: &Object<'a>, texts: &'a Texts) -> Result<Document<'a>, Refusal> {
    if let Some(data) = cloud_event.get("data") {
        return Ok(Document::of(data));
    }
    let decoded = cloud_event
        .get("data_base64")
        .and_then(string)
        .and_then(|base64| BASE64_STANDARD.decode(base64.as_bytes()).ok())
        .ok_or_else(|| Refusal::new(RefusalCode::InvalidField, "data_base64 of the CloudEvent is not Base64"))?;
    Document::parse(utf8(texts.data.get_or_init(|| decoded))?)
}

/// What Kafka Connect's `JsonConverter` wraps together with its schema.
pub(super) fn connect_payload<'a>(object: &Object<'a>) -> Option<Document<'a>> {
    let payload = if object.has_exactly(&["schema", "payload"]) { object.get("payload") } else { None };
    payload.map(Document::of)
}

/// The text of a JSON string that holds a JSON object, as Debezium's outbox router writes an unexpanded payload.
fn embedded_object(document: &Document<'_>) -> Option<String> {
    let text = document.string()?;
    text.trim_start().starts_with('{').then(|| text.into_owned())
}
