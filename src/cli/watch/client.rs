//! What a client of the wire decides: what to show, when to say that it may be out of date, whether to come back, and when.
//!
//! Pure: no socket, no clock, no chance. The connection beside it feeds it; the screen writes its [`Notice`]s down.

use std::time::{Duration, Instant};

use super::wire::{Claims, Message, Order, Orders, Page, SYNC_ALL, sync};

const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(20);
/// A session that lived this long proves that connecting works: the backoff starts anew.
const PROVEN_SESSION: Duration = Duration::from_secs(30);
/// From the first byte sent to `welcome`.
pub(in crate::cli) const OPEN_TIMEOUT: Duration = Duration::from_secs(20);

/// Something to show.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cli) enum Notice {
    /// What may be said about the orders from now on.
    State(State),
    /// All orders, read anew.
    Table(Vec<Order>),
    /// An order came or changed; with the status it was shown with.
    Changed { order: Order, from: Option<String> },
    /// An order is not, or no longer, to be seen.
    Removed { order_id: String },
    /// An operator says something to everybody.
    Announcement(String),
    /// The token ends soon.
    TokenExpiring { expires_at: String },
    /// The server refused a message of ours.
    Refused { code: String, message: String },
}

/// What may be said about the orders shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum State {
    /// They are the truth.
    Live,
    /// The server cannot prove that they are.
    Stale { reasons: Vec<String>, since: String },
}

/// What to do after a message.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cli) enum Step {
    /// Show it.
    Show(Notice),
    /// Send this text.
    Send(String),
    /// Leave this connection.
    End(Ending),
}

/// How a connection, or an attempt at one, ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cli) struct Ending {
    /// The close code, where there was one.
    pub(in crate::cli) code: Option<u16>,
    /// The HTTP status of a refused handshake.
    pub(in crate::cli) http_status: Option<u16>,
    /// Why, in a few words.
    pub(in crate::cli) reason: String,
    /// When to come back, where the server said so.
    pub(in crate::cli) after: Option<Duration>,
}

impl Ending {
    /// One without a word from the server.
    pub(in crate::cli) fn lost(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..Self::default() }
    }

    /// Whether coming back is pointless. Every close code not named here, known or not, means: come back. Before the server
    /// was `heard`, those below 4500 may be made up by a gateway that took the connection before it asked the server.
    fn is_final(&self, heard: bool) -> bool {
        let is_stop_code = |code| match code {
            1002 | 1003 | 1007 | 1009 | 1010 => heard,
            code => matches!(code, 4500..=4999),
        };
        // A refusal over HTTP, which this client sees as no browser does, meets the same request again.
        let is_refusal = |status| matches!(status, 300..=499) && !matches!(status, 408 | 429);
        self.code.is_some_and(is_stop_code) || self.http_status.is_some_and(is_refusal)
    }
}

/// What follows an ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Next {
    /// Connect again.
    Reconnect {
        /// After this time.
        after: Duration,
        /// The old token is of no use any more.
        with_new_token: bool,
    },
    /// Do not come back.
    Stop,
}

/// The client's side of the wire.
#[derive(Debug, Default)]
pub(in crate::cli) struct Client {
    orders: Orders,
    /// Whose orders they are: a user, or nobody for a link. `None` before the first `welcome`.
    user: Option<Option<String>>,
    /// Attempts and short sessions in a row.
    failures: u32,
    /// The server itself has spoken on this connection, by `welcome` or `closing`.
    heard: bool,
    session: Option<Session>,
}

/// From `welcome` on.
#[derive(Debug)]
struct Session {
    welcomed_at: Instant,
    heartbeat: Duration,
    /// Its first snapshot has come whole.
    complete: bool,
    /// What was said last.
    said: Option<State>,
}

impl Client {
    /// Whether the server should wait for a `sync` instead of sending everything.
    pub(in crate::cli) fn waits_for_sync(&self) -> bool {
        sync(&self.orders).is_some()
    }

    /// What is shown, for a request to say it.
    pub(in crate::cli) fn claims(&self) -> Claims {
        let said = self.session.as_ref().and_then(|session| session.said.as_ref());
        let stale = match said {
            Some(State::Stale { reasons, .. }) => reasons.as_slice(),
            _ => &[],
        };
        Claims::of(&self.orders, stale)
    }

    /// How long the connection may be silent before it counts as dead.
    pub(in crate::cli) fn silence_limit(&self) -> Duration {
        self.session.as_ref().map_or(OPEN_TIMEOUT, |session| session.heartbeat * 2)
    }

    /// Takes one text message of the server.
    pub(in crate::cli) fn on_text(&mut self, text: &str, now: Instant) -> Vec<Step> {
        let Ok(message) = serde_json::from_str(text) else {
            return vec![Step::End(Ending::lost("a message that cannot be read"))];
        };
        match message {
            Message::Welcome { user_id, heartbeat_ms } => self.on_welcome(user_id, heartbeat_ms, now),
            Message::Snapshot(page) => self.on_snapshot(page),
            Message::OrderStatus(order) => vec![self.show(order)],
            Message::Removed { order_id } => self.remove(order_id).into_iter().collect(),
            Message::Stale { since, reasons } => self.judge(State::Stale { reasons, since }),
            Message::Fresh => self.judge(State::Live),
            Message::Announcement { content } => vec![Step::Show(Notice::Announcement(content))],
            Message::TokenExpiring { expires_at } => vec![Step::Show(Notice::TokenExpiring { expires_at })],
            Message::Error { code, message } => vec![Step::Show(Notice::Refused { code, message })],
            // No update follows, so nothing is live from here on; the Close frame may take its time.
            Message::Closing { code, reason, reconnect_after_ms } => {
                self.heard = true;
                let after = reconnect_after_ms.map(Duration::from_millis);
                vec![Step::End(Ending { code: Some(code), reason, after, http_status: None })]
            }
            Message::Other => Vec::new(),
        }
    }

    /// Takes the end of a connection or an attempt. `chance` is from 0 to 1.
    pub(in crate::cli) fn on_ended(&mut self, ending: &Ending, now: Instant, chance: f64) -> Next {
        let (session, heard) = (self.session.take(), std::mem::take(&mut self.heard));
        if session.is_some_and(|session| now.saturating_duration_since(session.welcomed_at) >= PROVEN_SESSION) {
            self.failures = 0;
        }
        if ending.is_final(heard) {
            return Next::Stop;
        }
        let longest = FIRST_BACKOFF.saturating_mul(2u32.saturating_pow(self.failures)).min(MAX_BACKOFF);
        self.failures = self.failures.saturating_add(1);
        // Full jitter, so that many clients do not come back together.
        let after = ending.after.unwrap_or_else(|| longest.mul_f64(chance));
        Next::Reconnect { after, with_new_token: ending.code == Some(4005) }
    }

    fn on_welcome(&mut self, user: Option<String>, heartbeat_ms: u64, now: Instant) -> Vec<Step> {
        let heartbeat = Duration::from_millis(heartbeat_ms);
        self.heard = true;
        self.session = Some(Session { welcomed_at: now, heartbeat, complete: false, said: None });
        let mut steps = Vec::new();
        let mut request = sync(&self.orders);
        if self.user.as_ref().is_some_and(|before| *before != user) {
            // Another viewer's orders are nothing to compare with.
            let gone = std::mem::take(&mut self.orders).into_keys();
            steps.extend(gone.map(|order_id| Step::Show(Notice::Removed { order_id })));
            request = request.map(|_| SYNC_ALL.to_owned());
        }
        self.user = Some(user);
        steps.extend(request.map(Step::Send));
        steps
    }

    /// A full snapshot begins by forgetting everything; a partial one touches only what it names.
    fn on_snapshot(&mut self, page: Page) -> Vec<Step> {
        let mut steps = Vec::new();
        if page.partial {
            steps.extend(page.removed.into_iter().filter_map(|order_id| self.remove(order_id)));
            for order in page.orders {
                // One that is shown already comes for its timeline alone, which is not shown here.
                if self.orders.get(&order.order_id).is_none_or(|shown| shown.rev != order.rev) {
                    steps.push(self.show(order));
                }
            }
        } else {
            if page.first {
                self.orders.clear();
            }
            self.orders.extend(page.orders.into_iter().map(|order| (order.order_id.clone(), order)));
            if page.complete {
                steps.push(Step::Show(Notice::Table(self.orders.values().cloned().collect())));
            }
        }
        if let Some(session) = self.session.as_mut().filter(|session| page.complete && !session.complete) {
            session.complete = true;
            // A `stale` follows right behind where one is due.
            steps.extend(self.judge(State::Live));
        }
        steps
    }

    /// Says `state` unless it was said; before the snapshot is complete there is nothing to say it of.
    fn judge(&mut self, state: State) -> Vec<Step> {
        let Some(session) = self.session.as_mut().filter(|session| session.complete) else { return Vec::new() };
        if session.said.as_ref() == Some(&state) {
            return Vec::new();
        }
        session.said = Some(state.clone());
        vec![Step::Show(Notice::State(state))]
    }

    /// Replaces the order as it is told, whatever its version.
    fn show(&mut self, order: Order) -> Step {
        let before = self.orders.insert(order.order_id.clone(), order.clone());
        Step::Show(Notice::Changed { order, from: before.map(|before| before.status) })
    }

    fn remove(&mut self, order_id: String) -> Option<Step> {
        self.orders.remove(&order_id).map(|_| Step::Show(Notice::Removed { order_id }))
    }
}
