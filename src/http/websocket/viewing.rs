//! The speaker of the product: one viewer's session, between its place in the hub and its socket.

use std::{task::Context, time::Instant};

use actix_web::web::{self, Bytes};

use super::{membership::Membership, speaker::Speaker};
use crate::{
    auth::{Flaw, TokenError},
    http::public::Public,
    hub::Delivery,
    protocol::{CloseCause, inbound::Token, outbound::RawId},
    session::{HubRequest, Inbound, Now, RefusedToken, Renewal, Request, Session},
};

/// A viewer who watches.
pub(super) struct Viewing {
    session: Session,
    membership: Membership,
    public: web::Data<Public>,
}

impl Viewing {
    /// A session that has joined the hub.
    pub(super) fn new(session: Session, membership: Membership, public: web::Data<Public>) -> Self {
        Self { session, membership, public }
    }

    fn ask(&mut self, request: Request, now: Now) {
        match request {
            Request::Hub(request) => self.ask_hub(request, now),
            Request::Verify { token, id } => self.refresh(&token, id, now),
        }
    }

    fn ask_hub(&mut self, request: HubRequest, now: Now) {
        self.membership.ask(request, now.wall);
        self.session.on_complete(self.membership.is_complete(), now);
    }

    fn refresh(&mut self, token: &Token, id: Option<RawId>, now: Now) {
        let public = self.public.clone();
        let verified = match public.verifier.verify(token.expose(), now.wall) {
            Ok(principal) if public.revocations.is_revoked(&principal, now.wall) => {
                Err(TokenError::Invalid(Flaw::Revoked))
            }
            verified => verified,
        };
        let renewal = verified
            .as_ref()
            .map(|principal| Renewal { viewer: principal.viewer.clone(), expires_at: principal.expires_at });
        let renewal = renewal.map_err(|error| match error {
            TokenError::Expired | TokenError::KeysUnavailable => refused(error.code(), *error),
            _ => refused("invalid_token", *error),
        });
        let renewed = self.session.on_renewal(renewal, id, now);
        public.metrics.refreshed(renewed.as_ref().map_or_else(|reason| *reason, |_| "accepted"));
        if let Ok(request) = renewed {
            self.ask_hub(request, now);
            if let Ok(principal) = &verified {
                self.membership.exchange_token(principal);
                // A revocation that came between the check and the exchange found the old token here.
                if public.revocations.is_revoked(principal, now.wall) {
                    self.session.close(CloseCause::Revoked, None, now);
                }
            }
        }
    }

    fn hear_instance(&mut self, now: Now) {
        let instance = &self.public.instance;
        if !self.session.is_departing()
            && let Some(departure) = instance.departure()
        {
            self.session.on_departure(departure);
        }
        let staleness = instance.staleness();
        let own = self.membership.mailbox().doubts();
        let since = if staleness.reasons.is_fresh() { now.wall } else { staleness.since };
        self.session.on_stale(staleness.reasons, since, own);
    }

    fn take_deliveries(&mut self, now: Now, cx: &Context<'_>) {
        while self.session.wants_delivery() {
            let delivery = self.membership.mailbox().poll_take(cx);
            if matches!(delivery, Delivery::Nothing) {
                return;
            }
            if let Some(request) = self.session.on_delivery(delivery, now) {
                self.ask_hub(request, now);
            }
            self.session.on_complete(self.membership.is_complete(), now);
        }
    }

    /// The hub ends sessions, whatever else waits for them. Looked at after the mailbox has kept the waker, so that an
    /// end which comes in between is not slept through.
    fn hear_hub(&mut self, now: Now) {
        if let Some(cause) = self.membership.mailbox().closed() {
            self.session.close(cause, None, now);
        }
    }
}

fn refused(code: &'static str, error: TokenError) -> RefusedToken {
    RefusedToken { code, message: error.to_string() }
}

impl Speaker for Viewing {
    fn on_inbound(&mut self, inbound: Inbound<'_>, now: Now) {
        if let Some(request) = self.session.on_inbound(inbound, now) {
            self.ask(request, now);
        }
    }

    /// Deliveries come before deadlines: what a session is to show is shown before it ends because all is done.
    fn poll(&mut self, now: Now, cx: &mut Context<'_>) {
        self.hear_instance(now);
        if self.session.is_completing() {
            self.session.on_complete(self.membership.is_complete(), now);
        }
        self.take_deliveries(now, cx);
        self.hear_hub(now);
        if let Some(request) = self.session.on_time(now) {
            self.ask_hub(request, now);
        }
    }

    fn take_output(&mut self, limit: usize) -> Option<Bytes> {
        self.session.take_output(limit)
    }

    fn deadline(&self, now: Now) -> Instant {
        self.session.deadline(now)
    }

    fn has_ended(&self) -> bool {
        self.session.has_ended()
    }

    fn cause(&self) -> Option<CloseCause> {
        self.session.cause()
    }

    fn on_end(&mut self, cause: CloseCause) {
        let client_code = self.session.client_code().filter(|_| cause == CloseCause::ClientClosed);
        self.membership.end(cause, client_code);
    }
}
