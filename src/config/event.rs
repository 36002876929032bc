//! `event`: where in a record the fields of an event stand.

use super::{
    reader::{Reader, Section},
    rule::{Rule, boolean, number},
};

/// The largest version there is.
const MAX_VERSION: u64 = (1 << 53) - 1;

/// How events are read.
#[derive(Debug, Clone)]
pub struct Event {
    /// Whether white space around ids and statuses is left out. Default `false`.
    pub trim: bool,
    /// A version that grows by more is counted. 1 to 2^53 − 1, default 1,000,000.
    pub version_jump: u64,
    /// Where each field stands.
    pub fields: Fields,
}

/// JSON Pointers (RFC 6901) per field; the first that is there and not null wins, `""` is the whole value.
#[derive(Debug, Clone)]
pub struct Fields {
    /// Default `/order_id,/orderId`.
    pub order_id: Vec<String>,
    /// Default `/user_id,/userId`.
    pub user_id: Vec<String>,
    /// Default `/status`.
    pub status: Vec<String>,
    /// Default `/version`.
    pub version: Vec<String>,
    /// Default `/occurred_at,/occurredAt`.
    pub occurred_at: Vec<String>,
    /// Default `/details`.
    pub details: Vec<String>,
    /// Default `/event_id,/eventId`.
    pub event_id: Vec<String>,
    /// Default `/viewers`.
    pub viewers: Vec<String>,
    /// Where an event says that its order is deleted. Default none.
    pub deleted: Vec<String>,
}

impl Event {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let mut section = reader.section("event");
        Self {
            trim: section.value("trim", "false", boolean()),
            version_jump: section.value("version_jump", "1000000", number(1..=MAX_VERSION)),
            fields: Fields::read(reader.section("event.fields")),
        }
    }
}

impl Fields {
    fn read(mut section: Section<'_>) -> Self {
        Self {
            order_id: section.list("order_id", "/order_id,/orderId", pointer()),
            user_id: section.list("user_id", "/user_id,/userId", pointer()),
            status: section.list("status", "/status", pointer()),
            version: section.list("version", "/version", pointer()),
            occurred_at: section.list("occurred_at", "/occurred_at,/occurredAt", pointer()),
            details: section.list("details", "/details", pointer()),
            event_id: section.list("event_id", "/event_id,/eventId", pointer()),
            viewers: section.list("viewers", "/viewers", pointer()),
            deleted: section.list("deleted", "", inner_pointer()),
        }
    }
}

/// Without the one that points at the whole value, so that an empty list can be given.
fn inner_pointer() -> Rule<String> {
    let pointer = pointer();
    Rule::new(pointer.allowed.clone(), move |text| pointer.parse(text).filter(|text| !text.is_empty()))
}

fn pointer() -> Rule<String> {
    Rule::new("a JSON Pointer such as /after/status (`~` is written ~0, `/` in a name ~1)", |text| {
        let escapes_are_known = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        ((text.is_empty() || text.starts_with('/')) && escapes_are_known).then(|| text.to_owned())
    })
}
