//! One viewer's connection: a session between its registration in the hub and its transport.

use std::{
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use ulid::Ulid;

use super::{
    ViewerContext,
    registration::{Joins, Registration},
};
use crate::{
    auth::{Principal, TokenError},
    hub::{SessionIdentity, TooManySessions, WakeQueue},
    protocol::{ClientMessage, CloseCause, Delivery, MessageError, inbound::Token, outbound::RawId},
    session::{Beginning, HubRequest, Now, Opening, Output, RefusedToken, Renewal, Request, Session},
};

/// A viewer who watches. Dropping it leaves the hub.
pub struct ViewerConnection {
    session: Session,
    registration: Registration,
    context: Arc<ViewerContext>,
}

/// How a viewer comes.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The name of its transport, as operators see it.
    pub transport: &'static str,
    /// Where its worker hears of what the hub has for it; `None`: it is woken on its own.
    pub wakes: Option<Arc<WakeQueue>>,
    /// Where it comes from.
    pub address: Option<IpAddr>,
    /// What its session begins with.
    pub beginning: Beginning,
}

impl ViewerConnection {
    /// Joins the hub. Nothing is counted before it is [opened](Self::open).
    pub fn join(
        context: &Arc<ViewerContext>,
        principal: &Principal,
        arrival: Arrival,
    ) -> Result<Self, TooManySessions> {
        let Arrival { transport, wakes, address, beginning } = arrival;
        let now = Now::read();
        let opening = Opening {
            session_id: Ulid::generate().to_string(),
            user: principal.viewer.user().cloned(),
            expires_at: principal.expires_at,
            beginning,
        };
        let identity = SessionIdentity {
            session_id: opening.session_id.as_str().into(),
            token_id: principal.token_id.as_deref().map(Into::into),
            issued_at: principal.issued_at,
            transport,
            address,
            connected_at: now.wall,
            expires_at: principal.expires_at,
        };
        let lasts = !matches!(beginning, Beginning::Difference(_));
        let start = !beginning.waits();
        let registration = Registration::join(context, wakes, principal, identity, Joins { start, lasts })?;
        let session = Session::open(context.config.clone(), opening, now);
        Ok(Self { session, registration, context: context.clone() })
    }

    /// Nothing refuses it any more: from now on there is an [end](Self::on_end) to be told.
    pub fn open(&self) {
        self.registration.open();
    }

    /// The client said something.
    pub fn on_text(&mut self, text: &str, now: Now) {
        self.hear(text.len(), || ClientMessage::parse(text), now);
    }

    /// Its request says this, as its first word.
    pub fn begin_with(&mut self, message: ClientMessage) {
        self.hear(0, || Ok(message), Now::read());
    }

    fn hear(&mut self, bytes: usize, read: impl FnOnce() -> Result<ClientMessage, MessageError>, now: Now) {
        if let Some(request) = self.session.on_message(bytes, read, now) {
            self.ask(request, now);
        }
    }

    /// The client takes what is sent, and its transport has no other sign of life.
    pub fn on_alive(&mut self, now: Now) {
        self.session.on_alive(now);
    }

    /// The client sent so many bytes that say nothing.
    pub fn on_noise(&mut self, bytes: usize, now: Now) {
        self.session.on_noise(bytes, now);
    }

    /// The client says goodbye, by this code.
    pub fn on_closed(&mut self, code: u16) {
        self.session.on_closed(code);
    }

    /// The connection is of no use any more, or what came over it is not.
    pub fn on_broken(&mut self, cause: CloseCause) {
        self.session.on_broken(cause);
    }

    /// Acts on whatever else has come and on the deadlines that have passed. Pending: the waker of `cx` is kept for what comes;
    /// ready: there is more once the output is out. Deliveries come before deadlines: what a session is to show is shown before
    /// it ends because all is done.
    pub fn poll(&mut self, now: Now, cx: &mut Context<'_>) -> Poll<()> {
        self.hear_instance(now);
        if self.session.is_completing() {
            self.session.on_complete(self.registration.is_complete(), now);
        }
        let taken = self.take_deliveries(now, cx);
        self.hear_hub();
        if let Some(request) = self.session.on_time(now) {
            self.ask_hub(request, now);
        }
        taken
    }

    /// The next thing to write; `None`: nothing, for now. [`Output::End`] comes last.
    pub fn next_output(&mut self) -> Option<Output> {
        self.session.next_output()
    }

    /// When [`poll`](Self::poll) wants to be called at the latest.
    pub fn deadline(&self, now: Now) -> Instant {
        self.session.deadline(now)
    }

    /// Whether what it shows was compared with the truth.
    pub fn has_started(&self) -> bool {
        self.session.has_started()
    }

    /// Why it ends, once that is known.
    pub fn cause(&self) -> Option<CloseCause> {
        self.session.cause()
    }

    /// The connection is over, for this reason: counted, and told by one line of the log. Called once, last.
    pub fn on_end(&mut self, cause: CloseCause) {
        let client_code = self.session.client_code().filter(|_| cause == CloseCause::ClientClosed);
        self.registration.end(cause, client_code);
    }

    fn ask(&mut self, request: Request, now: Now) {
        match request {
            Request::Hub(request) => self.ask_hub(request, now),
            Request::Verify { token, id } => self.refresh(&token, id, now),
        }
    }

    fn ask_hub(&mut self, request: HubRequest, now: Now) {
        self.registration.ask(request, now.wall);
        self.session.on_complete(self.registration.is_complete(), now);
    }

    fn refresh(&mut self, token: &Token, id: Option<RawId>, now: Now) {
        let verified = self.context.verify(token, now.wall);
        let renewal = verified
            .as_ref()
            .map(|principal| Renewal { viewer: principal.viewer.clone(), expires_at: principal.expires_at });
        let renewal = renewal.map_err(|error| match error {
            TokenError::Expired | TokenError::KeysUnavailable => refused(error.code(), *error),
            _ => refused("invalid_token", *error),
        });
        let renewed = self.session.on_renewal(renewal, id, now);
        self.context.metrics.refreshed(renewed.as_ref().map_or_else(|reason| *reason, |_| "accepted"));
        if let Ok(request) = renewed {
            self.ask_hub(request, now);
            if let Ok(principal) = &verified {
                self.registration.exchange_token(principal);
                // A revocation that came between the check and the exchange found the old token here.
                if self.context.is_revoked(principal, now.wall) {
                    self.session.close(CloseCause::Revoked, None);
                }
            }
        }
    }

    fn hear_instance(&mut self, now: Now) {
        let instance = &self.context.instance;
        if !self.session.is_departing()
            && let Some(departure) = instance.departure()
        {
            self.session.on_departure(departure);
        }
        let staleness = instance.staleness();
        let own = self.registration.mailbox().doubts();
        let since = if staleness.reasons.is_fresh() { now.wall } else { staleness.since };
        self.session.on_stale(staleness.reasons, since, own);
    }

    /// Pending: the mailbox is empty and keeps the waker.
    fn take_deliveries(&mut self, now: Now, cx: &Context<'_>) -> Poll<()> {
        while self.session.wants_delivery() {
            let delivery = self.registration.mailbox().poll_take(cx);
            if matches!(delivery, Delivery::Nothing) {
                return Poll::Pending;
            }
            if let Some(request) = self.session.on_delivery(delivery, now) {
                self.ask_hub(request, now);
            }
            self.session.on_complete(self.registration.is_complete(), now);
        }
        Poll::Ready(())
    }

    /// The hub ends sessions, whatever else waits for them. Looked at after the mailbox has kept the waker, so that an end which
    /// comes in between is not slept through.
    fn hear_hub(&mut self) {
        if let Some(cause) = self.registration.mailbox().closed() {
            self.session.close(cause, None);
        }
    }
}

fn refused(code: &'static str, error: TokenError) -> RefusedToken {
    RefusedToken { code, message: error.to_string() }
}
