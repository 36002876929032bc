//! The fields of an order event: where each may stand, and the rule its value must keep.

use std::{borrow::Cow, fmt};

use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::{
    FieldPointers, InvalidSetting, Refusal, RefusalCode, details,
    document::{Document, Found, kind, present, string},
    logical, number,
    occurred_at::{self, Unreadable},
    pointer::Pointer,
    schema::{Logical, Unit},
};
use crate::domain::{OrderId, Timestamp, UserId, ids, version::MAX_VERSION};

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
    deleted: Field,
    /// Whether white space around ids and statuses is left out.
    trim: bool,
}

/// One field: the first of its pointers that leads to something other than null leads to its value.
#[derive(Debug)]
struct Field {
    name: &'static str,
    pointers: Box<[Pointer]>,
}

impl Fields {
    /// Reads the settings' pointers; what is wrong with them is added to `problems`.
    pub(super) fn new(pointers: &FieldPointers, trim: bool, problems: &mut Vec<InvalidSetting>) -> Self {
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
            deleted: field("deleted", &pointers.deleted),
            trim,
        };
        for required in [&fields.order_id, &fields.user_id, &fields.status] {
            if required.pointers.is_empty() && !problems.iter().any(|problem| problem.key == required.setting()) {
                problems.push(InvalidSetting::new(required.setting(), "", "names no place for a required field"));
            }
        }
        fields
    }

    /// Whether all that an event needs is in a document.
    pub(super) fn are_all_in(&self, document: &mut Document<'_>) -> bool {
        [&self.order_id, &self.user_id, &self.status].into_iter().all(|field| field.find(document).is_some())
    }

    /// Whether a document names an order.
    pub(super) fn name_an_order(&self, document: &mut Document<'_>) -> bool {
        self.order_id.find(document).is_some()
    }

    /// Whether the event says that its order is deleted: by `true`, or by the `d` of a change event.
    pub(super) fn deleted(&self, event: &mut Document<'_>) -> bool {
        let Some(Found { value, .. }) = self.deleted.find(event) else { return false };
        let text = string(value);
        let text = text.as_deref().unwrap_or(value.get());
        text.eq_ignore_ascii_case("true") || text == "d"
    }

    pub(super) fn order_id(&self, event: &mut Document<'_>) -> Result<OrderId, Refusal> {
        let text = self.text(&self.order_id, self.order_id.required(event)?)?;
        OrderId::parse(&text).map_err(|error| self.order_id.invalid(error))
    }

    pub(super) fn user_id(&self, event: &mut Document<'_>) -> Result<UserId, Refusal> {
        let text = self.text(&self.user_id, self.user_id.required(event)?)?;
        UserId::parse(&text).map_err(|error| self.user_id.invalid(error))
    }

    pub(super) fn status(&self, event: &mut Document<'_>) -> Result<SmolStr, Refusal> {
        let text = self.text(&self.status, self.status.required(event)?)?;
        check_status(&text).map_err(|problem| self.status.invalid(problem))?;
        Ok(text.into())
    }

    pub(super) fn version(&self, event: &mut Document<'_>) -> Result<Option<u64>, Refusal> {
        let Some(found) = self.version.find(event) else { return Ok(None) };
        let text = match found.logical {
            // A moment that is a number grows as a version does.
            Logical::Moment(unit) if unit != Unit::Text => number::whole(found.value.get()),
            _ => self.text(&self.version, found).ok(),
        };
        match text.and_then(|text| version_number(&text)) {
            Some(number) => Ok(Some(number)),
            None => Err(self.version.invalid(format_args!("must be a whole number from 0 to {MAX_VERSION}"))),
        }
    }

    pub(super) fn occurred_at(&self, event: &mut Document<'_>) -> Result<Option<Timestamp>, Unreadable> {
        self.occurred_at.find(event).map_or(Ok(None), occurred_at::read)
    }

    pub(super) fn details(&self, event: &mut Document<'_>) -> Result<Option<Box<RawValue>>, Refusal> {
        let Some(found) = self.details.find(event) else { return Ok(None) };
        let value = event.unquote(found.value)?;
        if present(value).is_none() {
            return Ok(None);
        }
        if !value.get().starts_with('{') {
            return Err(self.details.invalid(format_args!("must be an object, not {}", kind(value))));
        }
        let text = details::passed_on(value.get()).map_err(|problem| self.details.invalid(problem))?;
        if text.len() > MAX_DETAILS_BYTES {
            let message = format!("details has {} bytes, at most {MAX_DETAILS_BYTES} are accepted", text.len());
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        match text {
            Cow::Borrowed(_) => Ok(Some(value.to_owned())),
            Cow::Owned(text) => RawValue::from_string(text).map(Some).map_err(|error| self.details.invalid(error)),
        }
    }

    /// Upstream's name of the event. A text that is no id names nothing: nobody decides anything by it.
    pub(super) fn event_id(&self, event: &mut Document<'_>) -> Result<Option<Box<str>>, Refusal> {
        let Some(found) = self.event_id.find(event) else { return Ok(None) };
        let text = self.text(&self.event_id, found)?;
        Ok(ids::check(&text).is_ok().then(|| text.into()))
    }

    /// The further viewers, without repeats and without the order's own user.
    pub(super) fn viewers(&self, event: &mut Document<'_>, user: &UserId) -> Result<Box<[UserId]>, Refusal> {
        let Some(found) = self.viewers.find(event) else { return Ok(Box::default()) };
        let value = event.unquote(found.value)?;
        let items: Option<Vec<&RawValue>> = serde_json::from_str(value.get())
            .map_err(|_| self.viewers.invalid(format_args!("must be an array, not {}", kind(value))))?;
        let items = items.unwrap_or_default();
        if items.len() > MAX_VIEWERS {
            return Err(self
                .viewers
                .invalid(format_args!("has {} items, at most {MAX_VIEWERS} are accepted", items.len())));
        }
        let mut viewers = Vec::with_capacity(items.len());
        for item in items.into_iter().filter_map(present) {
            let item = Found { logical: found.items, ..Found::plain(item) };
            let viewer = UserId::parse(&self.text(&self.viewers, item)?)
                .map_err(|error| self.viewers.invalid(format_args!("has an item that {error}")))?;
            if viewer != *user && !viewers.contains(&viewer) {
                viewers.push(viewer);
            }
        }
        Ok(viewers.into())
    }

    fn text<'a>(&self, field: &Field, found: Found<'a>) -> Result<Cow<'a, str>, Refusal> {
        let text = logical::text(found).map_err(|problem| field.invalid(problem))?;
        Ok(match text {
            Cow::Borrowed(text) if self.trim => Cow::Borrowed(text.trim()),
            Cow::Owned(text) if self.trim => Cow::Owned(text.trim().to_owned()),
            text => text,
        })
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

    fn find<'a>(&self, event: &mut Document<'a>) -> Option<Found<'a>> {
        self.pointers.iter().find_map(|pointer| event.find(pointer))
    }

    fn required<'a>(&self, event: &mut Document<'a>) -> Result<Found<'a>, Refusal> {
        self.find(event).ok_or_else(|| {
            let places: Vec<_> = self.pointers.iter().map(ToString::to_string).collect();
            let message = format!("{} is missing (looked at {})", self.name, places.join(", "));
            Refusal::new(RefusalCode::MissingField, message)
        })
    }

    fn invalid(&self, problem: impl fmt::Display) -> Refusal {
        Refusal::new(RefusalCode::InvalidField, format!("{} {problem}", self.name))
    }
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
