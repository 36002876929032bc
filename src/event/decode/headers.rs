//! The headers of a record that mean something here, picked out in one pass; all others are ignored.

use std::str;

/// Carries the version that a replayed record had when it was first in the log.
pub const VERSION_HEADER: &str = "ordercast-version";

/// A record's known headers. What is null or not UTF-8 counts as absent; of repeated ones the last counts.
#[derive(Default)]
pub(super) struct Headers<'a> {
    /// `ce_specversion`: the record is a CloudEvent in binary mode.
    pub(super) specversion: Option<&'a str>,
    /// `ce_id`.
    pub(super) cloud_event_id: Option<&'a str>,
    /// `ce_time`.
    pub(super) cloud_event_time: Option<&'a str>,
    /// `id`, as Debezium's outbox router names the event.
    pub(super) id: Option<&'a str>,
    /// `content-type`; Spring writes `contentType`.
    pub(super) content_type: Option<&'a str>,
    /// [`VERSION_HEADER`], unread: a broken one must not pass for an absent one.
    pub(super) version: Option<&'a [u8]>,
}

impl<'a> Headers<'a> {
    pub(super) fn read(headers: &[(&'a str, Option<&'a [u8]>)]) -> Self {
        let mut known = Self::default();
        for (name, value) in headers {
            let text = || value.and_then(|value| str::from_utf8(value).ok());
            match *name {
                "ce_specversion" => known.specversion = text(),
                "ce_id" => known.cloud_event_id = text(),
                "ce_time" => known.cloud_event_time = text(),
                "id" => known.id = text(),
                VERSION_HEADER => known.version = *value,
                _ if name.eq_ignore_ascii_case("content-type") || name.eq_ignore_ascii_case("contentType") => {
                    known.content_type = text();
                }
                _ => {}
            }
        }
        known
    }

    /// Whether the content type names an encoding that is not JSON and not understood: `application/vnd.apache.avro+binary`,
    /// `application/x-protobuf`, `application/cloudevents+avro`, …
    pub(super) fn foreign_encoding(&self) -> Option<&'static str> {
        let media_type = self.content_type?.split(';').next()?.to_ascii_lowercase();
        ["avro", "protobuf"].into_iter().find(|encoding| media_type.contains(encoding))
    }
}
