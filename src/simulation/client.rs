//! A client, as the wire describes it: shows what the last frame said, reconnects, says what it shows. And the judge who
//! reads along.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;

use super::{
    flaws::{Flaw, Flaws},
    topic::Topic,
};
use crate::{
    domain::{Change, Rev},
    hub::simulation::Pages,
    session::Output,
};

/// One order on a screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) version: u64,
    pub(super) rev: String,
}

/// A connection that is open, as the client sees it.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// Which session it is.
    pub(super) session: u64,
    pub(super) instance: usize,
    /// What is on its way.
    pub(super) wire: VecDeque<Output>,
    /// The other end is gone; what is on its way may still be read.
    pub(super) ended: bool,
    pub(super) heard_at: u64,
    /// What the client says next.
    pub(super) says: VecDeque<String>,
    pub(super) pongs: usize,
    /// Since when the screen is called fresh.
    pub(super) fresh_since: Option<u64>,
    welcomed: bool,
    closed: bool,
    pages: Pages,
    claims: bool,
}

/// One tab.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) user: usize,
    pub(super) screen: BTreeMap<String, Seen>,
    pub(super) connection: Option<Connection>,
    pub(super) not_before: u64,
    /// Reads nothing until then.
    pub(super) stalls_until: u64,
    /// Since when it shows what is not true, and is told that it is fresh; by order.
    pub(super) wrong_since: BTreeMap<usize, u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message {
    r#type: String,
    partial: bool,
    first: bool,
    complete: bool,
    orders: Vec<Order>,
    removed: Vec<String>,
    order_id: String,
    status: String,
    version: u64,
    rev: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Order {
    order_id: String,
    status: String,
    version: u64,
    rev: String,
    timeline: Vec<Step>,
}

#[derive(Debug, Deserialize)]
struct Step {
    version: u64,
}

impl Client {
    pub(super) fn new(user: usize) -> Self {
        Self {
            user,
            screen: BTreeMap::new(),
            connection: None,
            not_before: 0,
            stalls_until: 0,
            wrong_since: BTreeMap::new(),
        }
    }

    /// Opens a connection; a tab that shows something says what.
    pub(super) fn connect(&mut self, session: u64, instance: usize, now: u64, claims: bool) {
        let mut connection = Connection { session, instance, heard_at: now, claims, ..Connection::default() };
        if claims {
            let revs: BTreeMap<&str, &str> =
                self.screen.iter().map(|(order, seen)| (order.as_str(), seen.rev.as_str())).collect();
            let revs = serde_json::to_string(&revs).unwrap();
            connection.says.push_back(format!(r#"{{"type":"sync","orders":{revs}}}"#));
        }
        self.connection = Some(connection);
    }

    /// Whether the screen is called fresh, and all that was sent has been read.
    pub(super) fn is_content(&self) -> bool {
        self.connection
            .as_ref()
            .is_some_and(|connection| !connection.ended && connection.is_fresh() && connection.wire.is_empty())
    }

    /// Reads at most `most` things of what is on its way.
    pub(super) fn read(&mut self, most: usize, topic: &Topic, now: u64, flaws: &mut Flaws) {
        for _ in 0..most {
            let Some(connection) = &mut self.connection else { return };
            let Some(output) = connection.wire.pop_front() else { return };
            connection.heard_at = now;
            if connection.closed {
                flaws.push((Flaw::Sequence, format!("{output:?} after the end")));
            }
            match output {
                Output::End(_) => connection.closed = true,
                Output::Probe => connection.pongs += 1,
                Output::Closing(closing) => {
                    let message = closing.message();
                    self.on_text(&String::from_utf8_lossy(message.bytes()), topic, now, flaws);
                }
                Output::Message(message) => {
                    self.on_text(&String::from_utf8_lossy(message.bytes()), topic, now, flaws);
                }
            }
        }
    }

    fn on_text(&mut self, text: &str, topic: &Topic, now: u64, flaws: &mut Flaws) {
        let Some(connection) = &mut self.connection else { return };
        let message: Message = match serde_json::from_str(text) {
            Ok(message) => message,
            Err(error) => return flaws.push((Flaw::Garbled, format!("{error}: {text}"))),
        };
        let kind = message.r#type.as_str();
        let is_of_orders = matches!(kind, "order_status" | "removed" | "stale" | "fresh");
        // The end may come at any moment.
        let misplaced = connection.welcomed == (kind == "welcome")
            || connection.pages.is_in_between() && kind != "snapshot"
            || !connection.pages.has_begun() && is_of_orders;
        if misplaced && kind != "closing" {
            flaws.push((Flaw::Sequence, text.to_owned()));
        }
        match kind {
            "welcome" => connection.welcomed = true,
            "stale" => {
                connection.fresh_since = None;
                // It was said, however late it is read.
                self.wrong_since.clear();
            }
            "fresh" => connection.fresh_since = Some(now),
            "snapshot" => self.on_snapshot(message, topic, now, flaws),
            "order_status" => {
                let order = Order {
                    order_id: message.order_id,
                    status: message.status,
                    version: message.version,
                    rev: message.rev,
                    timeline: Vec::new(),
                };
                self.judge(&order, topic, flaws);
                // What was shown of a log that had been replaced unnoticed is called by the name of a record of the log before.
                let misnamed = |rev: &str| rev.parse().is_ok_and(|rev: Rev| topic.records(rev.stamp).nth(1).is_some());
                if let Some(seen) = self.screen.get(&order.order_id)
                    && order.version <= seen.version
                    && !misnamed(&seen.rev)
                {
                    flaws.push((Flaw::Regress, format!("{seen:?} on the screen, then {text}")));
                }
                self.screen.insert(order.order_id, Seen { version: order.version, rev: order.rev });
            }
            "removed" => drop(self.screen.remove(&message.order_id)),
            "heartbeat" | "closing" | "token_expiring" => {}
            _ => flaws.push((Flaw::Garbled, text.to_owned())),
        }
    }

    fn on_snapshot(&mut self, message: Message, topic: &Topic, now: u64, flaws: &mut Flaws) {
        for order in &message.orders {
            self.judge(order, topic, flaws);
        }
        let Some(connection) = &mut self.connection else { return };
        if !connection.pages.has_begun() {
            // Nothing was said of staleness yet: it would be said before the next update.
            connection.fresh_since = Some(now);
        }
        let wrong = connection.pages.begin(message.first, message.partial, connection.claims);
        flaws.extend(wrong.map(|wrong| (Flaw::Sequence, wrong.to_owned())));
        for order in message.orders {
            connection.pages.list(&order.order_id);
            self.screen.insert(order.order_id, Seen { version: order.version, rev: order.rev });
        }
        for order_id in &message.removed {
            self.screen.remove(order_id);
        }
        if let Some(listed) = connection.pages.end(message.complete) {
            self.screen.retain(|order_id, _| listed.contains(order_id));
        }
    }

    /// Whether a frame says of an order what its record says, to somebody who may hear it.
    fn judge(&self, order: &Order, topic: &Topic, flaws: &mut Flaws) {
        let records = order.rev.parse::<Rev>().ok().into_iter().flat_map(|rev| topic.records(rev.stamp));
        let mut states = records.filter_map(|record| match &record.event.as_ref().ok()?.change {
            Change::Set(state) => Some(state),
            Change::Erase | Change::Reset => None,
        });
        let same_status = states.clone().find(|state| *state.status == *order.status);
        let state = same_status.or_else(|| states.next());
        let Some(state) = state else { return flaws.push((Flaw::Garbled, format!("no record set {order:?}"))) };
        if !state.names(&topic.users[self.user]) {
            flaws.push((Flaw::Leak, format!("{order:?} shown to {}", topic.users[self.user])));
        }
        let same = (&*state.status, state.version.number, state.order_id.as_str())
            == (&*order.status, order.version, &*order.order_id);
        let is_told = order.timeline.is_empty() || order.timeline.iter().any(|step| step.version == order.version);
        let is_sorted = order.timeline.is_sorted_by(|a, b| a.version < b.version);
        if !same || !is_told || !is_sorted {
            flaws.push((Flaw::Garbled, format!("{order:?} of {state:?}")));
        }
    }
}

impl Connection {
    /// Whether the last word was that the screen is up to date.
    pub(super) fn is_fresh(&self) -> bool {
        self.pages.has_begun() && self.fresh_since.is_some()
    }
}
