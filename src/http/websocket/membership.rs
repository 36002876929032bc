//! A session's place in the hub: left when it is dropped, and with one log line that says why.

use std::{sync::Arc, time::Instant};

use crate::{
    hub::{Joining, Mailbox, SessionKey, SharedHub, TooManySessions},
    protocol::CloseCause,
    session::HubRequest,
    telemetry::SessionMetrics,
};

/// Membership of one open session.
#[derive(Debug)]
pub(super) struct Membership {
    hub: Arc<SharedHub>,
    key: SessionKey,
    mailbox: Arc<Mailbox>,
    session_id: String,
    joined: Instant,
    metrics: Arc<SessionMetrics>,
}

impl Membership {
    /// Joins the hub.
    pub(super) fn join(
        hub: Arc<SharedHub>,
        joining: Joining,
        session_id: String,
        metrics: Arc<SessionMetrics>,
    ) -> Result<Self, TooManySessions> {
        let mailbox = joining.mailbox.clone();
        let key = hub.step(|hub| hub.join(joining))?;
        Ok(Self { hub, key, mailbox, session_id, joined: Instant::now(), metrics })
    }

    /// The socket is open: from now on there is an end to be told.
    pub(super) fn open(&self) {
        self.metrics.opened();
    }

    /// Where its deliveries are.
    pub(super) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// Passes on what the session asks of the hub.
    pub(super) fn ask(&self, request: HubRequest) {
        self.hub.step(|hub| match request {
            HubRequest::Restart => hub.restart(self.key),
            HubRequest::Sync(claims) => hub.sync(self.key, claims),
            HubRequest::Subscribe(orders) => hub.subscribe(self.key, orders),
        });
    }

    /// Leaves after [`open`](Self::open), for this reason.
    pub(super) fn end(&mut self, cause: CloseCause) {
        let orders = self.hub.step(|hub| {
            let orders = hub.shown_orders(self.key);
            hub.leave(self.key);
            orders
        });
        self.metrics.closed(cause);
        tracing::info!(
            session.id = %self.session_id,
            session.cause = cause.reason(),
            session.code = cause.code(),
            session.seconds = self.joined.elapsed().as_secs(),
            session.orders = orders,
            "session ended"
        );
    }
}

/// Also of who never opened: a ticket that somebody else was quicker to use, a handshake that fails.
impl Drop for Membership {
    fn drop(&mut self) {
        self.hub.step(|hub| hub.leave(self.key));
    }
}
