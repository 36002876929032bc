//! The headers of a record that mean something here, picked out in one pass; all others are ignored.

use std::str;

use crate::domain::Change;

/// Carries the version that a replayed record had when it was first in the log.
pub const VERSION_HEADER: &str = "ordercast-version";

/// On a tombstone, with the value `true`: the order's version is forgotten with it.
pub const RESET_HEADER: &str = "ordercast-reset";

/// A record's known headers. What is null or not UTF-8 counts as absent; of repeated ones the last counts.
#[derive(Default)]
pub(super) struct Headers<'a> {
    /// `ce_id`, of a CloudEvent in binary mode.
    pub(super) cloud_event_id: Option<&'a str>,
    /// `ce_time`, of a CloudEvent in binary mode.
    pub(super) cloud_event_time: Option<&'a str>,
    /// `id`, as Debezium's outbox router names the event.
    pub(super) id: Option<&'a str>,
    /// `content-type`; Spring writes `contentType`.
    pub(super) content_type: Option<&'a str>,
    /// [`VERSION_HEADER`], unread: a broken one must not pass for an absent one.
    pub(super) version: Option<&'a [u8]>,
    /// [`RESET_HEADER`].
    pub(super) reset: bool,
}

impl<'a> Headers<'a> {
    pub(super) fn read(headers: &[(&'a str, Option<&'a [u8]>)]) -> Self {
        let mut known = Self::default();
        for (name, value) in headers {
            let text = || value.and_then(|value| str::from_utf8(value).ok());
            match *name {
                "ce_id" => known.cloud_event_id = text(),
                "ce_time" => known.cloud_event_time = text(),
                "id" => known.id = text(),
                VERSION_HEADER => known.version = *value,
                RESET_HEADER => known.reset = text().is_some_and(|text| text.eq_ignore_ascii_case("true")),
                _ if name.eq_ignore_ascii_case("content-type") || name.eq_ignore_ascii_case("contentType") => {
                    known.content_type = text();
                }
                _ => {}
            }
        }
        known
    }

    /// What a tombstone with these headers does.
    pub(super) fn erasure(&self) -> Change {
        if self.reset { Change::Reset } else { Change::Erase }
    }

    /// Whether the content type says that the value is a CloudEvent in JSON.
    pub(super) fn is_structured_cloud_event(&self) -> bool {
        self.media_type().is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/cloudevents+json"))
    }

    /// The encoding that the content type names, if it is one that is not understood: `application/x-protobuf`,
    /// `application/vnd.apache.avro+binary`, `application/cloudevents+avro`, …
    pub(super) fn foreign_encoding(&self) -> Option<&'static str> {
        let media_type = self.media_type()?.to_ascii_lowercase();
        ["avro", "protobuf"].into_iter().find(|encoding| media_type.contains(encoding))
    }

    /// The content type without its parameters, and without the quotes of a Spring header mapper that writes JSON.
    fn media_type(&self) -> Option<&'a str> {
        let media_type = self.content_type?.trim_matches('"').split(';').next()?;
        Some(media_type.trim())
    }
}
