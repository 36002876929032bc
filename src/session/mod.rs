//! The session core: one sans-IO state machine that decides everything a session does.
//!
//! Time is an argument, what the client says goes in, messages come out, and requests to the hub are returned, so every rule
//! is tested without a socket. It knows no transport: these feed it and write what [`next_output`](Session::next_output) gives, each in its
//! own way.
//!
//! A session's life: `welcome`, one snapshot, then live; it ends with exactly one [`CloseCause`].

mod completion;
mod expiry;
mod inbound;
mod keepalive;
mod limits;
mod outbox;
mod refresh;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use self::{completion::Completion, expiry::Expiry, keepalive::Keepalive, limits::ClientLimits, outbox::Outbox};
use crate::{
    domain::{OrderId, Rev, Timestamp, UserId, Viewer},
    protocol::{
        self, CloseCause, Closing, Delivery, Message, PageLimits, ServerMessage, StaleReasons, inbound::Token,
        outbound::RawId,
    },
};

pub use refresh::{RefusedToken, Renewal};

/// How long a client that has the first word may take to send its `sync`.
const SYNC_WAIT: Duration = Duration::from_secs(5);

/// The rules of all sessions of this instance, as the settings of the same names say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// Time between two heartbeats; a client silent for two of them is gone.
    pub heartbeat_interval: Duration,
    /// How long a session waits for a snapshot.
    pub snapshot_timeout: Duration,
    /// Most orders in one message of a snapshot.
    pub snapshot_page: usize,
    /// Most bytes of one, unless a single order is larger.
    pub snapshot_bytes: usize,
    /// How long all orders of a link have been terminal when its session ends.
    pub complete_after: Duration,
}

/// What the settings say unless they are set (`sessions_live_by_the_defaults_of_the_settings`).
impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_secs(25),
            snapshot_timeout: Duration::from_secs(5),
            snapshot_page: 500,
            snapshot_bytes: 32 * 1024,
            complete_after: Duration::from_secs(60),
        }
    }
}

/// Who opened a session, and how.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Names the session.
    pub session_id: String,
    /// The token's user; `None` for a link.
    pub user: Option<UserId>,
    /// When the token, and the session with it, ends.
    pub expires_at: Timestamp,
    /// What it begins with.
    pub beginning: Beginning,
}

/// What a session begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// `welcome` and a full snapshot.
    Snapshot,
    /// `welcome`; then the client says first what it shows.
    Claims,
    /// The client says first what it shows, and is told only what differs: no `welcome`, no heartbeat, and nothing as long as
    /// its screen is as it should be. It calls that stale for these reasons.
    Difference(StaleReasons),
}

impl Beginning {
    /// Whether the client has the first word.
    pub fn waits(self) -> bool {
        !matches!(self, Self::Snapshot)
    }
}

/// The two clocks: one for durations, one for what is written down.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Never jumps.
    pub instant: Instant,
    /// May jump.
    pub wall: Timestamp,
}

impl Now {
    /// Reads both clocks.
    pub fn read() -> Self {
        Self { instant: Instant::now(), wall: Timestamp::now() }
    }
}

/// What a session asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Something of the hub.
    Hub(HubRequest),
    /// To verify the token of a `refresh`; the answer goes to [`Session::on_renewal`], with the id.
    Verify {
        /// The token.
        token: Token,
        /// What the client calls its message.
        id: Option<RawId>,
    },
}

impl From<HubRequest> for Request {
    fn from(request: HubRequest) -> Self {
        Self::Hub(request)
    }
}

/// What a session has for its client, for a transport to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A message.
    Message(Message),
    /// Something that makes the client's side answer, where the transport has it: a sign of life that no script has to give.
    Probe,
    /// The last message: why the session ends, which a transport may have to say in words of its own, too.
    Closing(Closing),
    /// The session is over. A client that is still there has been told by the message before.
    End(CloseCause),
}

/// What a session asks of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubRequest {
    /// A full snapshot: where the first word did not come, for a `sync` without orders, after an overflow.
    Restart,
    /// What differs from these states.
    Sync(hashbrown::HashMap<OrderId, Option<Rev>>),
    /// Only these orders from now on, or all again.
    Subscribe(Option<Vec<OrderId>>),
    /// To see as this viewer from now on: the same user or a link as before, perhaps with other orders listed.
    Refresh(Viewer),
}

impl HubRequest {
    /// How many orders it names.
    fn named(&self) -> usize {
        match self {
            Self::Restart => 0,
            Self::Sync(claims) => claims.len(),
            Self::Subscribe(orders) => orders.as_ref().map_or(0, Vec::len),
            Self::Refresh(viewer) => viewer.listed_orders().map_or(0, |orders| orders.len()),
        }
    }
}

/// One session.
#[derive(Debug)]
pub struct Session {
    config: Arc<SessionConfig>,
    user: Option<UserId>,
    phase: Phase,
    snapshot_due: Option<Instant>,
    started: bool,
    keepalive: Keepalive,
    limits: ClientLimits,
    expiry: Expiry,
    completion: Completion,
    outbox: Outbox,
    stale: StaleReasons,
    reported_stale: StaleReasons,
    /// See [`Beginning::Difference`].
    tells_differences_only: bool,
    stale_since: Option<Timestamp>,
    departure: Option<Departure>,
    client_code: Option<u16>,
    /// The viewer of the last `refresh`.
    renewed: Option<Viewer>,
}

/// The instance leaves: when this session is to end, and when its client should come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Departure {
    /// When the session is closed.
    pub at: Instant,
    /// The `reconnect_after_ms` of its `closing`.
    pub reconnect_after: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The client has the first word: nothing was asked of the hub yet.
    AwaitingSync {
        until: Instant,
    },
    Open,
    /// It ends once its output is out.
    Ending {
        cause: CloseCause,
    },
    /// Nothing is left to do.
    Ended {
        cause: CloseCause,
    },
}

impl Session {
    /// Opens a session: its `welcome` is the first output.
    pub fn open(config: Arc<SessionConfig>, opening: Opening, now: Now) -> Self {
        let welcome = ServerMessage::Welcome {
            session_id: &opening.session_id,
            user_id: opening.user.as_ref(),
            heartbeat_ms: u64::try_from(config.heartbeat_interval.as_millis()).unwrap_or(u64::MAX),
            expires_at: opening.expires_at,
            server_time: now.wall,
            protocol: protocol::VERSION,
        };
        let mut outbox = Outbox::default();
        let shown_stale = match opening.beginning {
            Beginning::Snapshot | Beginning::Claims => {
                outbox.push(welcome.message());
                None
            }
            Beginning::Difference(stale) => Some(stale),
        };
        let (phase, snapshot_due) = if opening.beginning.waits() {
            (Phase::AwaitingSync { until: now.instant + SYNC_WAIT }, None)
        } else {
            (Phase::Open, Some(now.instant + config.snapshot_timeout))
        };
        Self {
            keepalive: Keepalive::new(config.heartbeat_interval, now.instant),
            limits: ClientLimits::new(now.instant),
            expiry: Expiry::new(opening.expires_at),
            completion: Completion::default(),
            config,
            user: opening.user,
            phase,
            snapshot_due,
            started: false,
            outbox,
            stale: StaleReasons::NONE,
            reported_stale: shown_stale.unwrap_or_default(),
            tells_differences_only: shown_stale.is_some(),
            stale_since: None,
            departure: None,
            client_code: None,
            renewed: None,
        }
    }

    /// Whether the mailbox should be looked into: not while a snapshot is still going out, so that what waits there can
    /// still be replaced by something newer.
    pub fn wants_delivery(&self) -> bool {
        let open = matches!(self.phase, Phase::Open | Phase::AwaitingSync { .. });
        open && !self.completion.is_near() && !self.outbox.is_sending()
    }

    /// Takes what the mailbox had. May ask the hub for a new start.
    ///
    /// What is to be said besides goes out ahead of it: for a reader that is behind, a delivery waits at all times.
    pub fn on_delivery(&mut self, delivery: Delivery, now: Now) -> Option<HubRequest> {
        self.tell_stale();
        self.tell_expiry(now);
        match delivery {
            Delivery::Nothing => None,
            Delivery::Snapshot(snapshot) => {
                self.snapshot_due = None;
                self.started = true;
                self.limits.snapshot_answered(snapshot.json_bytes());
                if self.tells_differences_only && snapshot.partial && snapshot.is_empty() {
                    return None;
                }
                let limits = PageLimits { orders: self.config.snapshot_page, bytes: self.config.snapshot_bytes };
                self.outbox.push_snapshot(snapshot.into_pages(limits));
                None
            }
            Delivery::Updates(frames) => {
                frames.into_iter().for_each(|frame| self.outbox.push(frame));
                None
            }
            Delivery::NotVisible(orders) => {
                for order_id in &orders {
                    let error = ServerMessage::Error {
                        code: "order_not_visible",
                        message: "this order is not visible now; it will be shown when it is",
                        id: None,
                        order_id: Some(order_id),
                    };
                    self.outbox.push(error.message());
                }
                self.count_error(now);
                None
            }
            Delivery::Overflowed => Some(HubRequest::Restart),
        }
    }

    /// Notes what may be stale: for all of this instance since `since`, and for this session alone.
    pub fn on_stale(&mut self, instance: StaleReasons, since: Timestamp, own: StaleReasons) {
        let reasons = if self.started { instance.union(own) } else { instance };
        if reasons != self.stale {
            if self.stale.is_fresh() {
                self.stale_since = Some(since);
            }
            self.stale = reasons;
        }
    }

    /// Whether the session takes no delivery any more and ends once its output is out, because it is complete. Whoever
    /// drives it asks then whether it still is.
    pub fn is_completing(&self) -> bool {
        self.completion.is_near() && self.cause().is_none()
    }

    /// Notes whether the session is a link whose orders are all terminal now.
    pub fn on_complete(&mut self, complete: bool, now: Now) {
        self.completion.set(complete, now.instant);
    }

    /// The instance leaves. The first word counts.
    pub fn on_departure(&mut self, departure: Departure) {
        self.departure.get_or_insert(departure);
    }

    /// Whether the session knows already that the instance leaves.
    pub fn is_departing(&self) -> bool {
        self.departure.is_some()
    }

    /// Acts on the deadlines that have passed. May ask the hub for the first snapshot.
    pub fn on_time(&mut self, now: Now) -> Option<HubRequest> {
        match self.phase {
            Phase::Ending { .. } | Phase::Ended { .. } => return None,
            Phase::AwaitingSync { until } if now.instant >= until => {
                self.phase = Phase::Open;
                self.snapshot_due = Some(now.instant + self.config.snapshot_timeout);
                return Some(HubRequest::Restart);
            }
            Phase::AwaitingSync { .. } | Phase::Open => {}
        }
        if let Some(departure) = self.departure.filter(|departure| now.instant >= departure.at) {
            self.close(CloseCause::ServerRestart, Some(departure.reconnect_after));
        } else if self.expiry.has_expired(now.wall) {
            self.close(CloseCause::TokenExpired, None);
        } else if self.snapshot_due.is_some_and(|due| now.instant >= due) {
            let after = self.config.snapshot_timeout;
            self.close(CloseCause::SnapshotUnavailable, Some(after));
        } else if self.keepalive.is_dead(now.instant) {
            self.close(CloseCause::HeartbeatTimeout, None);
        } else if self.complete_at().is_some_and(|at| now.instant >= at) && !self.outbox.is_sending() {
            self.close(CloseCause::Complete, None);
        } else {
            if self.complete_at().is_some_and(|at| now.instant >= at) {
                self.completion.draw_near();
            }
            self.tell_expiry(now);
            if self.keepalive.heartbeat_due(now.instant) && !self.tells_differences_only {
                self.outbox.push(ServerMessage::Heartbeat { server_time: now.wall }.message());
                self.outbox.push_probe();
            }
        }
        None
    }

    /// When [`on_time`](Self::on_time) wants to be called next.
    pub fn deadline(&self, now: Now) -> Instant {
        match self.phase {
            Phase::Ending { .. } | Phase::Ended { .. } => now.instant,
            Phase::AwaitingSync { until } => until.min(self.open_deadline(now)),
            Phase::Open => self.open_deadline(now),
        }
    }

    fn open_deadline(&self, now: Now) -> Instant {
        let deadline = self.keepalive.deadline().min(self.expiry.deadline(now, self.started));
        let departure = self.departure.map(|departure| departure.at);
        [self.snapshot_due, departure, self.complete_at()].into_iter().flatten().fold(deadline, Instant::min)
    }

    fn complete_at(&self) -> Option<Instant> {
        self.completion.deadline(self.config.complete_after)
    }

    /// The next thing to write; `None`: nothing, for now. [`Output::End`] comes last.
    pub fn next_output(&mut self) -> Option<Output> {
        if let Some(output) = self.outbox.next() {
            return Some(output);
        }
        if let Phase::Ending { cause } = self.phase {
            self.phase = Phase::Ended { cause };
            return Some(Output::End(cause));
        }
        self.tell_stale();
        self.outbox.next()
    }

    /// Says what has changed about being up to date. Called when nothing else waits to be written, so that who reads slowly
    /// is told how things are, and not how they were.
    fn tell_stale(&mut self) {
        if !self.started || self.cause().is_some() || self.stale == self.reported_stale {
            return;
        }
        self.reported_stale = self.stale;
        let message = match (self.stale.is_fresh(), self.stale_since) {
            (false, Some(since)) => ServerMessage::Stale { since, reasons: self.stale },
            _ => ServerMessage::Fresh,
        };
        self.outbox.push(message.message());
    }

    fn tell_expiry(&mut self, now: Now) {
        if self.started && self.expiry.warns(now.wall) {
            self.outbox.push(ServerMessage::TokenExpiring { expires_at: self.expiry.expires_at() }.message());
        }
    }

    /// Ends the session for a reason of our own: the client is told, where it still listens. The first cause counts.
    pub fn close(&mut self, cause: CloseCause, reconnect_after: Option<Duration>) {
        if self.cause().is_some() {
            return;
        }
        if cause.is_announced() {
            self.outbox.clear();
            self.outbox.push_closing(Closing { cause, reconnect_after });
        }
        self.phase = Phase::Ending { cause };
    }

    /// Whether its first snapshot has come, be it that nothing differs.
    pub fn has_started(&self) -> bool {
        self.started
    }

    /// Whether [`Output::End`] was taken, or there is nobody to take it.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    /// Why the session ends; `None` while it is open.
    pub fn cause(&self) -> Option<CloseCause> {
        match self.phase {
            Phase::Ending { cause } | Phase::Ended { cause } => Some(cause),
            Phase::AwaitingSync { .. } | Phase::Open => None,
        }
    }

    /// The code of the client's Close, where that ended the session; 1005 stands for none.
    pub fn client_code(&self) -> Option<u16> {
        self.client_code
    }
}

#[cfg(test)]
mod tests;
