//! What the routes of the public listener share.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use actix_web::dev::RequestHead;
use tokio::sync::watch;

use super::{answers::Answers, instance::Instance, rate::RequestRate, refusal::Refusal, source::TrustedProxies};
use crate::{
    auth::{Origins, Principal, RevocationList, Verifier},
    event::Holder,
    hub::{Hub, Place, SharedHub},
    ingest::desk::Desk,
    session::Rules,
    telemetry::{OutsideLog, SessionMetrics},
};

/// The public side of this instance.
pub struct Public {
    /// Where sessions join.
    pub hub: Arc<SharedHub>,
    /// Freshness and drain.
    pub instance: Arc<Instance>,
    /// Whether the fanout has caught up once.
    pub ready: watch::Receiver<bool>,
    /// Checks tokens.
    pub verifier: Arc<Verifier>,
    /// Which good tokens are good no more.
    pub revocations: Arc<RevocationList>,
    /// Where tickets are kept.
    pub desk: Desk,
    /// Which pages may connect.
    pub origins: Origins,
    /// Whose word about a client's address counts.
    pub proxies: TrustedProxies,
    /// How often an address may ask.
    pub rate: Arc<RequestRate>,
    /// The answers with orders that are on their way.
    pub answers: Arc<Answers>,
    /// The rules of every session.
    pub rules: Arc<Rules>,
    /// The limits of every session.
    pub limits: Limits,
    /// Counts sessions and refusals.
    pub metrics: Arc<SessionMetrics>,
    /// Says which lines are written that somebody outside can cause.
    pub outside: Arc<OutsideLog>,
}

/// What sessions may take, as the settings of the same names say.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `session.mailbox_bytes`.
    pub mailbox_bytes: usize,
    /// `session.max_per_user`.
    pub max_per_user: usize,
    /// `session.max_per_link`.
    pub max_per_link: usize,
    /// `session.per_user_policy` is `close_oldest`.
    pub closes_oldest: bool,
    /// `session.max_total`.
    pub max_total: usize,
    /// `session.send_timeout`.
    pub send_timeout: Duration,
}

impl Limits {
    /// The place that a session with this principal's token takes.
    pub fn place(&self, principal: &Principal) -> Place {
        let holder = principal.viewer.holder(principal.token_id.as_deref());
        let max = match holder {
            Holder::User(_) => self.max_per_user,
            Holder::Link(_) => self.max_per_link,
        };
        Place { holder, max, closes_oldest: self.closes_oldest }
    }
}

impl Public {
    /// Whether this instance takes requests for orders now.
    pub fn check_serving(&self) -> Result<(), Refusal> {
        if self.instance.is_draining() {
            return Err(Refusal::Draining);
        }
        if !*self.ready.borrow() {
            return Err(Refusal::NotReady);
        }
        Ok(())
    }

    /// The address a request comes from, behind trusted proxies.
    pub fn client_address(&self, head: &RequestHead) -> IpAddr {
        let peer = head.peer_addr.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        self.proxies.client(peer, head.headers())
    }

    /// Whether there are as many sessions as there may be. Answers with orders have a bound of their own.
    pub fn at_capacity(&self) -> bool {
        self.hub.look(Hub::open_sessions) >= self.limits.max_total
    }
}
