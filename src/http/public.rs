//! What the routes of the public listener share.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use actix_web::dev::RequestHead;
use tokio::sync::watch;

use super::{answers::Answers, rate::RequestRate, refusal::Refusal, source::TrustedProxies};
use crate::{auth::Origins, hub::Hub, store::gateway::StoreHandle, transport::ViewerContext};

/// The public side of this instance.
pub struct Public {
    /// What its sessions share.
    pub viewers: Arc<ViewerContext>,
    /// Whether the fanout has caught up once.
    pub ready: watch::Receiver<bool>,
    /// Where tickets are kept.
    pub store: StoreHandle,
    /// Which pages may connect.
    pub origins: Origins,
    /// Whose word about a client's address counts.
    pub proxies: TrustedProxies,
    /// How often an address may ask.
    pub rate: Arc<RequestRate>,
    /// The answers with orders that are on their way.
    pub answers: Arc<Answers>,
}

impl Public {
    /// Whether this instance takes requests for orders now.
    pub fn check_serving(&self) -> Result<(), Refusal> {
        if self.viewers.instance.is_draining() {
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
        self.viewers.hub.look(Hub::open_sessions) >= self.viewers.limits.max_total
    }
}
