//! How `ordercast watch` writes things down: one line per change, for people. What others wrote is shown, never obeyed:
//! what would move a terminal's cursor or change its colours is taken out.

use std::{cmp::Reverse, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Map, Value};

use super::{
    client::{Ending, Notice, State},
    wire::Order,
};
use crate::cli::output::clean;

const MAX_DETAILS_CHARS: usize = 60;

/// Writes in one time zone.
#[derive(Debug)]
pub(in crate::cli) struct Screen {
    zone: TimeZone,
}

impl Screen {
    /// For readers in this time zone.
    pub(in crate::cli) fn new(zone: TimeZone) -> Self {
        Self { zone }
    }

    /// The lines of a notice.
    pub(in crate::cli) fn lines(&self, notice: &Notice, now: Timestamp) -> String {
        match notice {
            Notice::State(State::Live) => self.told("live", now),
            Notice::State(State::Stale { reasons, since }) => {
                let since = self.moment(since, now);
                self.told(&format!("stale: {} since {since}", clean(&reasons.join(", "))), now)
            }
            Notice::Table(orders) => self.table(orders, now),
            Notice::Changed { order, from } => self.change(order, from.as_deref(), now),
            Notice::Removed { order_id } => self.told(&format!("{:<12}  removed", clean(order_id)), now),
            Notice::Announcement(content) => self.told(&format!("announcement: {}", clean(content)), now),
            Notice::TokenExpiring { expires_at } => {
                self.told(&format!("the token expires at {}", self.moment(expires_at, now)), now)
            }
            Notice::Refused { code, message } => {
                self.told(&format!("the server refused a message: {} ({})", clean(message), clean(code)), now)
            }
        }
    }

    /// The line that says that there is no connection, and when the next attempt begins.
    pub(in crate::cli) fn reconnecting(&self, ending: &Ending, after: Duration, now: Timestamp) -> String {
        self.told(&format!("reconnecting in {:.1} s: {}", after.as_secs_f64(), why(ending)), now)
    }

    fn told(&self, text: &str, now: Timestamp) -> String {
        format!("{}  {text}", now.to_zoned(self.zone.clone()).strftime("%H:%M:%S"))
    }

    fn table(&self, orders: &[Order], now: Timestamp) -> String {
        let mut newest_first: Vec<&Order> = orders.iter().collect();
        newest_first.sort_by_key(|order| Reverse(order.occurred_at.parse::<Timestamp>().ok()));
        let title = match orders.len() {
            0 => "no orders".to_owned(),
            1 => "1 order".to_owned(),
            number => format!("{number} orders"),
        };
        let rows = newest_first.into_iter().map(|order| self.row(order, &clean(&order.status), now));
        std::iter::once(self.told(&title, now)).chain(rows).collect::<Vec<_>>().join("\n")
    }

    fn change(&self, order: &Order, from: Option<&str>, now: Timestamp) -> String {
        let status = match from {
            Some(from) if from != order.status => format!("{} → {}", clean(from), clean(&order.status)),
            _ => clean(&order.status),
        };
        self.row(order, &status, now)
    }

    fn row(&self, order: &Order, status: &str, now: Timestamp) -> String {
        let (time, details) = (self.moment(&order.occurred_at, now), short(&order.details));
        let line = format!("{time}  {:<12}  {status:<28}  v{:<5}  {details}", clean(&order.order_id), order.version);
        line.trim_end().to_owned()
    }

    /// A time the server sent: today's as on a clock, another with its date.
    fn moment(&self, text: &str, now: Timestamp) -> String {
        let Ok(moment) = text.parse::<Timestamp>() else { return clean(text) };
        let (moment, today) = (moment.to_zoned(self.zone.clone()), now.to_zoned(self.zone.clone()).date());
        let format = if moment.date() == today { "%H:%M:%S" } else { "%Y-%m-%d %H:%M" };
        moment.strftime(format).to_string()
    }
}

/// Why a connection ended, as one phrase.
pub(in crate::cli) fn why(ending: &Ending) -> String {
    let reason = clean(&ending.reason);
    match (ending.code, ending.http_status) {
        (Some(code), _) => format!("{reason} ({code})"),
        (None, Some(status)) => format!("{reason} (HTTP {status})"),
        (None, None) => reason,
    }
}

fn short(details: &Map<String, Value>) -> String {
    let pair = |(name, value): (&String, &Value)| match value.as_str() {
        Some(text) => format!("{name}={text}"),
        None => format!("{name}={value}"),
    };
    let text = clean(&details.iter().map(pair).collect::<Vec<_>>().join(" "));
    match text.char_indices().nth(MAX_DETAILS_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen() -> (Screen, Timestamp) {
        (Screen::new(TimeZone::UTC), "2026-11-21T12:00:00Z".parse().unwrap())
    }

    fn order(status: &str, details: &str) -> Order {
        Order {
            order_id: "A-1".to_owned(),
            status: status.to_owned(),
            version: 3,
            rev: "r".to_owned(),
            occurred_at: "2026-11-21T11:59:58.123Z".to_owned(),
            details: serde_json::from_str(details).unwrap(),
        }
    }

    #[test]
    fn a_change_is_one_line_with_time_order_statuses_version_and_details() {
        let (screen, now) = screen();
        let order = order("shipped", r#"{"carrier":"DHL","items":2}"#);
        let line = screen.lines(&Notice::Changed { order, from: Some("packed".to_owned()) }, now);
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words, ["11:59:58", "A-1", "packed", "→", "shipped", "v3", "carrier=DHL", "items=2"]);
    }

    #[test]
    fn nothing_an_event_says_reaches_the_terminal_as_a_command() {
        let (screen, now) = screen();
        let notice = Notice::Changed { order: order("a\u{9b}b", r#"{"x":"\u001b[31m\n\u202ered"}"#), from: None };
        let line = screen.lines(&notice, now);
        assert!(line.contains("a·b") && line.contains("x=·[31m··red"), "{line:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }

    #[test]
    fn states_are_said_as_they_are() {
        let (screen, now) = screen();
        let (reasons, since) = (vec!["kafka_unavailable".to_owned()], "2026-11-20T08:30:00Z".to_owned());
        let line = screen.lines(&Notice::State(State::Stale { reasons, since }), now);
        assert_eq!(line, "12:00:00  stale: kafka_unavailable since 2026-11-20 08:30");
        let ending = Ending { code: Some(1012), ..Ending::lost("server_restart") };
        let line = screen.reconnecting(&ending, Duration::from_millis(2_140), now);
        assert_eq!(line, "12:00:00  reconnecting in 2.1 s: server_restart (1012)");
    }

    #[test]
    fn a_table_has_the_newest_order_first() {
        let (screen, now) = screen();
        assert_eq!(screen.lines(&Notice::Table(Vec::new()), now), "12:00:00  no orders");
        let old =
            Order { order_id: "A-2".to_owned(), occurred_at: "2026-11-20T09:00:00Z".to_owned(), ..order("paid", "{}") };
        let table = screen.lines(&Notice::Table(vec![old, order("packed", "{}")]), now);
        let firsts: Vec<&str> = table.lines().map(|line| line.split("  ").nth(1).unwrap_or("").trim()).collect();
        assert_eq!(firsts, ["2 orders", "A-1", "A-2"], "{table}");
    }
}
