//! Takes off what stands around an order event: the marks of serialisers, CloudEvents, Kafka Connect and outboxes.
//! Each at most once, from the outside in, so a value cannot make decode work without end. A string that holds an object
//! is taken for it, once, wherever one of these holds the next.

use std::{borrow::Cow, str};

use super::{
    MAX_VALUE_BYTES, Refusal, RefusalCode,
    document::{Document, Object, string, without_mark},
    fields::Fields,
    headers::Headers,
    occurred_at::{self, Unreadable},
    schema::Schema,
    texts::Texts,
};
use crate::domain::Timestamp;
use base64::{Engine, prelude::BASE64_STANDARD};

/// Confluent's serialisers put this byte and the four of a schema id before what they write.
const CONFLUENT_MAGIC: u8 = 0;
const CONFLUENT_PREFIX_BYTES: usize = 5;

/// AWS Glue's serialisers put this byte, one for the compression and the sixteen of a schema's id before what they write.
const GLUE_MAGIC: u8 = 3;
const GLUE_COMPRESSIONS: [u8; 2] = [0, 5];
const GLUE_PREFIX_BYTES: usize = 18;

/// What a CloudEvent says beside its data.
pub(super) struct CloudEvent<'a> {
    pub(super) id: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
}

impl CloudEvent<'_> {
    /// When the event happened, where its data does not say.
    pub(super) fn occurred_at(&self) -> Result<Option<Timestamp>, Unreadable> {
        self.time.as_deref().map_or(Ok(None), occurred_at::from_text)
    }
}

/// Finds the order event in a record's value.
pub(super) fn unwrap<'a>(
    value: &'a [u8],
    headers: &Headers<'a>,
    fields: &Fields,
    texts: &'a Texts,
) -> Result<(Document<'a>, CloudEvent<'a>), Refusal> {
    let mut document = Document::parse(json_text(value, headers)?, texts)?.unquoted()?;

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
        document = cloud_event_data(&document, object, texts)?.unquoted()?;
    }

    if let Some(payload) = connect_payload(&document) {
        document = payload.unquoted()?;
    }

    if let Some(payload) = outbox_payload(&document)
        && !fields.are_all_in(&mut document)
        && let Ok(mut payload) = payload.unquoted()
        && fields.name_an_order(&mut payload)
    {
        document = payload;
    }
    Ok((document, cloud_event))
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
    let unsupported = |message: String| Err(Refusal::new(RefusalCode::UnsupportedEncoding, message));
    if let Some(encoding) = headers.foreign_encoding() {
        return unsupported(format!("the content type names {encoding}; only JSON is understood"));
    }
    if is_glue(value) {
        return unsupported("the value begins as the serialisers of the AWS Glue registry write it".to_owned());
    }
    let json = match after_schema_id(value) {
        Some(json) if holds_object(json) => json,
        None if value[0] != CONFLUENT_MAGIC => value,
        _ => return unsupported("the value begins with the byte 00 of Avro or Protobuf from a schema registry".into()),
    };
    utf8(json)
}

/// What follows the schema id that Confluent's serialisers write first.
pub(super) fn after_schema_id(bytes: &[u8]) -> Option<&[u8]> {
    let (prefix, rest) = bytes.split_at_checked(CONFLUENT_PREFIX_BYTES)?;
    (prefix[0] == CONFLUENT_MAGIC).then_some(rest)
}

/// Whether bytes behind a schema id are an object in JSON, or one in a string. Avro's and Protobuf's begin otherwise.
fn holds_object(json: &[u8]) -> bool {
    let json = json.strip_prefix("\u{feff}".as_bytes()).unwrap_or(json);
    json.starts_with(b"{") || json.starts_with(b"\"{")
}

fn is_glue(value: &[u8]) -> bool {
    value.len() >= GLUE_PREFIX_BYTES && value[0] == GLUE_MAGIC && GLUE_COMPRESSIONS.contains(&value[1])
}

fn utf8(bytes: &[u8]) -> Result<&str, Refusal> {
    str::from_utf8(bytes).map(without_mark).map_err(not_utf8)
}

fn not_utf8(error: str::Utf8Error) -> Refusal {
    Refusal::new(RefusalCode::NotUtf8, format!("the value is not UTF-8 at byte {}", error.valid_up_to()))
}

/// Told by its content type or by its shape: Python's SDK writes the content type of the data.
fn is_cloud_event(object: &Object<'_>, headers: &Headers<'_>) -> bool {
    (object.get("specversion").is_some() || headers.is_structured_cloud_event())
        && (object.get("data").is_some() || object.get("data_base64").is_some())
}

fn cloud_event_data<'a>(
    document: &Document<'a>,
    cloud_event: &Object<'a>,
    texts: &'a Texts,
) -> Result<Document<'a>, Refusal> {
    if let Some(data) = cloud_event.get("data") {
        return Ok(document.inner(data, None));
    }
    let decoded = cloud_event
        .get("data_base64")
        .and_then(string)
        .and_then(|base64| BASE64_STANDARD.decode(base64.as_bytes()).ok())
        .ok_or_else(|| Refusal::new(RefusalCode::InvalidField, "data_base64 of the CloudEvent is not Base64"))?;
    let data = String::from_utf8(decoded).map_err(|error| not_utf8(error.utf8_error()))?;
    Document::parse(without_mark(texts.keep(data)), texts)
}

/// What Kafka Connect's `JsonConverter` wraps together with its schema.
pub(super) fn connect_payload<'a>(document: &Document<'a>) -> Option<Document<'a>> {
    let object = document.object().filter(|object| is_connect(object))?;
    let payload = object.get("payload")?;
    Some(document.inner(payload, object.get("schema").and_then(Schema::read)))
}

fn is_connect(object: &Object<'_>) -> bool {
    object.has_exactly(&["schema", "payload"])
}

/// What Debezium's outbox router puts beside further columns.
fn outbox_payload<'a>(document: &Document<'a>) -> Option<Document<'a>> {
    let payload = document.object().filter(|object| !is_connect(object))?.get("payload")?;
    Some(document.inner(payload, document.schema_of("payload")))
}
