//! A session's registration in the hub: left when it is dropped, and with one log line that says why.

use std::{sync::Arc, time::Instant};

use super::ViewerContext;
use crate::{
    auth::Principal,
    domain::Timestamp,
    hub::{Joining, Mailbox, SessionIdentity, SessionKey, SharedHub, TooManySessions, WakeQueue},
    protocol::{ClientCode, CloseCause},
    session::HubRequest,
    telemetry::{OutsideLine, OutsideLog, SessionMetrics},
};

/// The registration of one open session.
#[derive(Debug)]
pub(super) struct Registration {
    hub: Arc<SharedHub>,
    key: SessionKey,
    mailbox: Arc<Mailbox>,
    session_id: Box<str>,
    transport: &'static str,
    is_link: bool,
    lasts: bool,
    /// Its holder's oldest sessions are to end for it, so that so many are left.
    replaces: Option<usize>,
    joined: Instant,
    metrics: Arc<SessionMetrics>,
    outside: Arc<OutsideLog>,
}

/// How a session joins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joins {
    /// It is to have a full snapshot.
    pub(super) start: bool,
    /// It is to stay. One that comes for a single answer ends no other for its place, or two pages would end each other for ever;
    /// and that it was answered is nothing to be told.
    pub(super) lasts: bool,
}

impl Registration {
    /// Joins the hub.
    pub(super) fn join(
        context: &ViewerContext,
        wakes: Option<Arc<WakeQueue>>,
        principal: &Principal,
        identity: SessionIdentity,
        Joins { start, lasts }: Joins,
    ) -> Result<Self, TooManySessions> {
        let ViewerContext { hub, limits, metrics, outside, .. } = context;
        let (hub, metrics, outside) = (hub.clone(), metrics.clone(), outside.clone());
        let (session_id, transport) = (identity.session_id.clone(), identity.transport);
        let (viewer, mut place) = (principal.viewer.clone(), limits.place(principal));
        place.closes_oldest &= lasts;
        let is_link = viewer.user().is_none();
        let replaces = place.closes_oldest.then_some(place.max);
        let mailbox = Arc::new(Mailbox::woken_by(wakes, limits.mailbox_bytes));
        let joining = Joining { viewer, mailbox: mailbox.clone(), start, place: Some(place), identity: Some(identity) };
        let key = hub.step(|hub| hub.join(joining))?;
        Ok(Self {
            hub,
            key,
            mailbox,
            session_id,
            transport,
            is_link,
            lasts,
            replaces,
            joined: Instant::now(),
            metrics,
            outside,
        })
    }

    /// Nothing refuses it any more: from now on there is an end to be told. Whoever has to go for it goes only now, because
    /// one that is refused, such as a ticket's second use, must end nobody.
    pub(super) fn open(&self) {
        if let Some(max) = self.replaces {
            self.hub.step(|hub| hub.take_place(self.key, max));
        }
        self.metrics.opened(self.transport);
    }

    /// Where its deliveries are.
    pub(super) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// Whether it is a link's session whose orders are all terminal now.
    pub(super) fn is_complete(&self) -> bool {
        self.is_link && self.hub.step(|hub| hub.is_complete(self.key))
    }

    /// Passes on what the session asks of the hub.
    pub(super) fn ask(&self, request: HubRequest, now: Timestamp) {
        self.hub.step(|hub| match request {
            HubRequest::Restart => hub.restart(self.key),
            HubRequest::Sync(claims) => hub.sync(self.key, claims),
            HubRequest::Subscribe(orders) => hub.subscribe(self.key, orders),
            HubRequest::Refresh(viewer) => hub.refresh(self.key, viewer, now),
        });
    }

    /// The session goes on with this principal's token.
    pub(super) fn exchange_token(&self, principal: &Principal) {
        let token_id = principal.token_id.as_deref();
        self.hub.step(|hub| hub.exchange_token(self.key, token_id, principal.issued_at, principal.expires_at));
    }

    /// Leaves after [`open`](Self::open), for this reason. `client_code` is that of the client's Close, where that was it. Its
    /// line is left out where too many end in one second.
    pub(super) fn end(&mut self, cause: CloseCause, client_code: Option<u16>) {
        let orders = self.hub.step(|hub| {
            let orders = hub.shown_orders(self.key);
            hub.leave(self.key);
            orders
        });
        self.metrics.closed(self.transport, cause);
        if let Some(code) = client_code {
            self.metrics.closed_by_client(ClientCode::of(code));
        }
        if !self.lasts && cause == CloseCause::ClientClosed {
            return;
        }
        let Some(left_out) = self.outside.admits(OutsideLine::SessionEnded) else { return };
        tracing::info!(
            session.id = %self.session_id,
            session.cause = cause.reason(),
            session.code = client_code.unwrap_or(cause.code()),
            session.seconds = self.joined.elapsed().as_secs(),
            session.orders = orders,
            log.left_out = left_out.told(),
            "session ended"
        );
    }
}

/// Also of who never opened: a ticket that somebody else was quicker to use, a handshake that fails.
impl Drop for Registration {
    fn drop(&mut self) {
        self.hub.step(|hub| hub.leave(self.key));
    }
}
