//! Sessions of one instance, as the transport drives them.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{
    flaws::{Flaw, Flaws},
    instance::{Clock, Instance},
};
use crate::{
    domain::{Timestamp, UserId, Viewer},
    hub::{Joining, Mailbox, SessionKey},
    protocol::{ClientMessage, CloseCause, Delivery},
    session::{Beginning, HubRequest, Opening, Output, Request, Session, SessionConfig},
};

/// Time between two heartbeats.
pub(super) const HEARTBEAT: u64 = 10_000;

/// One session, its place in the hub and what the socket has brought.
pub(super) struct Seat {
    session: Session,
    key: SessionKey,
    mailbox: Arc<Mailbox>,
    pub(super) heard: VecDeque<Heard>,
    cause: Option<CloseCause>,
}

/// What came from the client.
#[derive(Debug)]
pub(super) enum Heard {
    Text(String),
    Pong,
    Close,
    Lost,
}

/// A client that has shown its token.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) session: u64,
    pub(super) user: UserId,
    pub(super) waits_for_sync: bool,
    pub(super) mailbox_bytes: usize,
    pub(super) expires_at: Timestamp,
}

/// How every session of the simulation lives.
pub(super) fn rules() -> Arc<SessionConfig> {
    Arc::new(SessionConfig {
        heartbeat_interval: Duration::from_millis(HEARTBEAT),
        snapshot_timeout: Duration::from_secs(10),
        snapshot_page: 2,
        snapshot_bytes: 4_096,
        ..SessionConfig::default()
    })
}

impl Instance {
    /// A client has connected.
    pub(super) fn open(&mut self, arrival: Arrival, rules: Arc<SessionConfig>, clock: Clock) {
        let Arrival { session, user, waits_for_sync, mailbox_bytes, expires_at } = arrival;
        let mailbox = Arc::new(Mailbox::new(mailbox_bytes));
        let joining = Joining {
            viewer: Viewer::User { id: user.clone(), only: None },
            mailbox: mailbox.clone(),
            start: !waits_for_sync,
            place: None,
            identity: None,
        };
        let key = self.hub.step(|hub| hub.join(joining)).expect("there is no limit");
        let session_id = session.to_string();
        let beginning = if waits_for_sync { Beginning::Claims } else { Beginning::Snapshot };
        let opening = Opening { session_id, user: Some(user), expires_at, beginning };
        let core = Session::open(rules, opening, clock.both());
        self.seats.insert(session, Seat { session: core, key, mailbox, heard: VecDeque::new(), cause: None });
    }

    /// One turn of a session: hears its client, the instance and its mailbox, and writes at most `most` things.
    /// Returns what it wrote, and whether it has ended.
    pub(super) fn serve(&mut self, session: u64, most: usize, clock: Clock, flaws: &mut Flaws) -> (Vec<Output>, bool) {
        let now = clock.both();
        let Self { seats, hub, staleness, .. } = self;
        let Some(seat) = seats.get_mut(&session) else { return (Vec::new(), true) };
        let ask = |request: Option<HubRequest>, key| match request {
            Some(HubRequest::Restart) => hub.step(|hub| hub.restart(key)),
            Some(HubRequest::Sync(claims)) => hub.step(|hub| hub.sync(key, claims)),
            Some(HubRequest::Subscribe(orders)) => hub.step(|hub| hub.subscribe(key, orders)),
            Some(HubRequest::Refresh(viewer)) => hub.step(|hub| hub.refresh(key, viewer, now.wall)),
            None => {}
        };
        while let Some(heard) = seat.heard.pop_front()
            && !seat.session.has_ended()
        {
            let request = match &heard {
                Heard::Text(text) => seat.session.on_message(text.len(), || ClientMessage::parse(text), now),
                Heard::Pong => {
                    seat.session.on_noise(0, now);
                    None
                }
                Heard::Close => {
                    seat.session.on_closed(1000);
                    None
                }
                Heard::Lost => {
                    seat.session.on_broken(CloseCause::ConnectionLost);
                    None
                }
            };
            if let Some(Request::Hub(request)) = request {
                ask(Some(request), seat.key);
            }
        }
        let since = if staleness.reasons.is_fresh() { now.wall } else { staleness.since };
        seat.session.on_stale(staleness.reasons, since, seat.mailbox.doubts());
        while seat.session.wants_delivery() {
            let delivery = seat.mailbox.take();
            if matches!(delivery, Delivery::Nothing) {
                break;
            }
            ask(seat.session.on_delivery(in_order(delivery), now), seat.key);
        }
        if let Some(cause) = seat.mailbox.closed() {
            seat.session.close(cause, None);
        }
        ask(seat.session.on_time(now), seat.key);
        let mut written = Vec::new();
        while written.len() < most
            && let Some(output) = seat.session.next_output()
        {
            written.push(output);
        }
        let cause = seat.session.cause();
        if seat.cause.is_some() && seat.cause != cause {
            flaws.push((Flaw::Cause, format!("{:?}, then {cause:?}", seat.cause)));
        }
        seat.cause = cause;
        let ended = seat.session.has_ended();
        if ended {
            if cause.is_none() {
                flaws.push((Flaw::Cause, "ended without a cause".to_owned()));
            }
            let key = seat.key;
            hub.step(|hub| hub.leave(key));
            seats.remove(&session);
        }
        (written, ended)
    }
}

/// The order in which orders come out of a mailbox is chance, and no part of a seed.
fn in_order(mut delivery: Delivery) -> Delivery {
    if let Delivery::Updates(frames) = &mut delivery {
        frames.sort_by_key(|frame| {
            let text = String::from_utf8_lossy(frame.bytes()).into_owned();
            text.split("\"order_id\":\"").nth(1).and_then(|rest| Some(rest.split('"').next()?.to_owned()))
        });
    }
    delivery
}
