//! The fields of an order event: where each may stand, and the rule its value must keep.

use std::{borrow::Cow, fmt};

use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::{
    FieldPointers, InvalidSetting, Refusal, RefusalCode,
    document::{Document, integer, kind, present, string},
    occurred_at::{self, Unreadable},
    pointer::Pointer,
};
use crate::event::{OrderId, Timestamp, UserId, ids, version::MAX_VERSION};

/// Longest accepted status, in characters.
pub const MAX_STATUS_CHARS: usize = 64;
/// Largest accepted `details`, in bytes of their JSON text.
pub const MAX_DETAILS_BYTES: usize = 16 * 1024;
/// Most further viewers that one event may name.
pub const MAX_VIEWERS: usize = 64;

/// The fields of an order event, each with its places.
#[derive(Debug)]
pub(super) struct Fields {
    order_id: Field,
    user_id: Field,
    status: Field,
    version: Field,
    occurred_at: Field,
    details: Field,
    event_id: Field,
    viewers: Field,
}

/// One field: the first of its pointers that leads to something other than null leads to its value.
#[derive(Debug)]
struct Field {
    name: &'static str,
    pointers: Box<[Pointer]>,
}

impl Fields {
    /// Reads the settings' pointers; what is wrong with them is added to `problems`.
    pub(super) fn new(pointers: &FieldPointers, problems: &mut Vec<InvalidSetting>) -> Self {
        let mut field = |name, pointers| Field::new(name, pointers, problems);
        let fields = Self {
            order_id: field("order_id", &pointers.order_id),
            user_id: field("user_id", &pointers.user_id),
            status: field("status", &pointers.status),
            version: field("version", &pointers.version),
            occurred_at: field("occurred_at", &pointers.occurred_at),
            details: field("details", &pointers.details),
            event_id: field("event_id", &pointers.event_id),
            viewers: field("viewers", &pointers.viewers),
        };
        for required in [&fields.order_id, &fields.user_id, &fields.status] {
            if required.pointers.is_empty() && !problems.iter().any(|problem| problem.key == required.setting()) {
                problems.push(InvalidSetting::new(required.setting(), "", "names no place for a required field"));
            }
        }
        fields
    }

    pub(super) fn order_id(&self, event: &mut Document<'_>) -> Result<OrderId, Refusal> {
        let text = self.order_id.text(self.order_id.required(event)?)?;
        OrderId::parse(&text).map_err(|error| self.order_id.invalid(error))
    }

    pub(super) fn user_id(&self, event: &mut Document<'_>) -> Result<UserId, Refusal> {
        let text = self.user_id.text(self.user_id.required(event)?)?;
        UserId::parse(&text).map_err(|error| self.user_id.invalid(error))
    }

    pub(super) fn status(&self, event: &mut Document<'_>) -> Result<SmolStr, Refusal> {
        let text = self.status.text(self.status.required(event)?)?;
        check_status(&text).map_err(|problem| self.status.invalid(problem))?;
        Ok(text.into())
    }

    pub(super) fn version(&self, event: &mut Document<'_>) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.version.find(event) else { return Ok(None) };
        match text_of(value).and_then(|text| version_number(&text)) {
            Some(number) => Ok(Some(number)),
            None => Err(self.version.invalid(format_args!("must be a whole number from 0 to {MAX_VERSION}"))),
        }
    }

    pub(super) fn occurred_at(&self, event: &mut Document<'_>) -> Result<Option<Timestamp>, Unreadable> {
        self.occurred_at.find(event).map(occurred_at::read).transpose()
    }

    pub(super) fn details(&self, event: &mut Document<'_>) -> Result<Option<Box<RawValue>>, Refusal> {
        let Some(value) = self.details.find(event) else { return Ok(None) };
        let text = value.get();
        if !text.starts_with('{') {
            return Err(self.details.invalid(format_args!("must be an object, not {}", kind(value))));
        }
        if text.len() > MAX_DETAILS_BYTES {
            let message = format!("details has {} bytes, at most {MAX_DETAILS_BYTES} are accepted", text.len());
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        Ok(Some(value.to_owned()))
    }

    pub(super) fn event_id(&self, event: &mut Document<'_>) -> Result<Option<Box<str>>, Refusal> {
        let Some(value) = self.event_id.find(event) else { return Ok(None) };
        let text = self.event_id.text(value)?;
        ids::check(&text).map_err(|error| self.event_id.invalid(error))?;
        Ok(Some(text.into()))
    }

    /// The further viewers, without repeats and without the order's own user.
    pub(super) fn viewers(&self, event: &mut Document<'_>, user: &UserId) -> Result<Box<[UserId]>, Refusal> {
        let Some(value) = self.viewers.find(event) else { return Ok(Box::default()) };
        let items: Vec<&RawValue> = serde_json::from_str(value.get())
            .map_err(|_| self.viewers.invalid(format_args!("must be an array, not {}", kind(value))))?;
        if items.len() > MAX_VIEWERS {
            return Err(self
                .viewers
                .invalid(format_args!("has {} items, at most {MAX_VIEWERS} are accepted", items.len())));
        }
        let mut viewers = Vec::with_capacity(items.len());
        for item in items.into_iter().filter_map(present) {
            let viewer = UserId::parse(&self.viewers.text(item)?)
                .map_err(|error| self.viewers.invalid(format_args!("has an item that {error}")))?;
            if viewer != *user && !viewers.contains(&viewer) {
                viewers.push(viewer);
            }
        }
        Ok(viewers.into())
    }
}

impl Field {
    fn new(name: &'static str, pointers: &[String], problems: &mut Vec<InvalidSetting>) -> Self {
        let mut field = Self { name, pointers: Box::default() };
        let mut read = |text: &String| {
            text.parse().map_err(|error| problems.push(InvalidSetting::new(field.setting(), text, error))).ok()
        };
        field.pointers = pointers.iter().filter_map(&mut read).collect();
        field
    }

    fn setting(&self) -> String {
        format!("event.fields.{}", self.name)
    }

    fn find<'a>(&self, event: &mut Document<'a>) -> Option<&'a RawValue> {
        self.pointers.iter().find_map(|pointer| event.find(pointer))
    }

    fn required<'a>(&self, event: &mut Document<'a>) -> Result<&'a RawValue, Refusal> {
        self.find(event).ok_or_else(|| {
            let places: Vec<_> = self.pointers.iter().map(ToString::to_string).collect();
            let message = format!("{} is missing (looked at {})", self.name, places.join(", "));
            Refusal::new(RefusalCode::MissingField, message)
        })
    }

    fn text<'a>(&self, value: &'a RawValue) -> Result<Cow<'a, str>, Refusal> {
        text_of(value)
            .ok_or_else(|| self.invalid(format_args!("must be a string or a whole number, not {}", kind(value))))
    }

    fn invalid(&self, problem: impl fmt::Display) -> Refusal {
        Refusal::new(RefusalCode::InvalidField, format!("{} {problem}", self.name))
    }
}

/// A string's text, or the digits of a whole number.
pub(super) fn text_of(value: &RawValue) -> Option<Cow<'_, str>> {
    string(value).or_else(|| integer(value).map(Cow::Borrowed))
}

/// Reads a version from decimal digits.
pub(super) fn version_number(text: &str) -> Option<u64> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_decimal { text.parse().ok().filter(|number| *number <= MAX_VERSION) } else { None }
}

/// What an event's status and a configured one must both keep.
pub(super) fn check_status(status: &str) -> Result<(), String> {
    if status.is_empty() {
        return Err("is empty".into());
    }
    if status.len() > MAX_STATUS_CHARS && status.chars().count() > MAX_STATUS_CHARS {
        return Err(format!("is longer than {MAX_STATUS_CHARS} characters"));
    }
    if ids::has_control(status) {
        return Err("contains a control character".into());
    }
    Ok(())
}
