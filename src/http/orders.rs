//! `GET /orders` and `GET /orders/{order_id}`: the same truth as a session's first snapshot, once.
//!
//! Each request joins the hub as a session without a socket, takes what reconcile gives it, and leaves.

use std::{future::poll_fn, sync::Arc, task::Poll};

use actix_web::{HttpRequest, HttpResponse, http::header::CACHE_CONTROL, web};
use serde::Serialize;
use tokio::time::timeout;

use super::{access, public::Public, refusal::Refusal};
use crate::{
    event::{OrderId, Timestamp, Viewer},
    hub::{Delivery, Joining, Mailbox, PendingSnapshot, SessionKey, SharedHub},
    protocol::{OrderView, StaleReasons, snapshot::sort_newest_first},
};

/// Answers `GET /orders`, one page of them.
pub(super) async fn list(request: HttpRequest, public: web::Data<Public>) -> Result<HttpResponse, Refusal> {
    #[derive(Serialize)]
    struct Orders {
        as_of: Timestamp,
        stale: StaleReasons,
        orders: Vec<OrderView>,
        next: Option<String>,
    }
    let viewer = viewer(&request, &public).await?;
    let after = access::query(&request, "after").map(|after| Place::parse(&after)).transpose()?;
    let (snapshot, stale) = read(&public, viewer, None).await?;
    let mut orders: Vec<OrderView> = snapshot.orders.into_values().collect();
    sort_newest_first(&mut orders);
    if let Some(after) = after {
        orders.retain(|order| after.precedes(order));
    }
    let page = public.rules.snapshot_page;
    let next = orders.get(page).map(|_| format!("/orders?after={}", Place::of(&orders[page - 1])));
    orders.truncate(page);
    Ok(answer(&Orders { as_of: snapshot.as_of, stale, orders, next }))
}

/// Answers `GET /orders/{order_id}`; an unknown and a foreign order alike.
pub(super) async fn one(
    request: HttpRequest,
    order_id: web::Path<String>,
    public: web::Data<Public>,
) -> Result<HttpResponse, Refusal> {
    let viewer = viewer(&request, &public).await?;
    let order_id = OrderId::parse(&order_id).map_err(|_| Refusal::OrderNotVisible)?;
    let (mut snapshot, _stale) = read(&public, viewer, Some(order_id.clone())).await?;
    snapshot.orders.remove(&order_id).map(|order| answer(&order)).ok_or(Refusal::OrderNotVisible)
}

async fn viewer(request: &HttpRequest, public: &Public) -> Result<Viewer, Refusal> {
    let viewer = async {
        public.check_serving()?;
        access::check_origin(request, public)?;
        let admission = access::admit(request, public).await?;
        admission.redeem(public).await?;
        Ok(admission.principal.viewer)
    };
    viewer.await.inspect_err(|refusal: &Refusal| public.metrics.refused(refusal.code()))
}

fn answer(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(body)
}

/// A visitor of the hub; leaves when dropped.
struct Visit {
    hub: Arc<SharedHub>,
    key: SessionKey,
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.hub.step(|hub| hub.leave(self.key));
    }
}

async fn read(
    public: &Public,
    viewer: Viewer,
    only: Option<OrderId>,
) -> Result<(PendingSnapshot, StaleReasons), Refusal> {
    let mailbox = Arc::new(Mailbox::new(public.limits.mailbox_bytes));
    let joining = Joining {
        viewer,
        mailbox: mailbox.clone(),
        start: only.is_none(),
        max_per_user: None,
        closes_oldest: false,
        badge: None,
    };
    let key = public
        .hub
        .step(|hub| {
            let key = hub.join(joining)?;
            if let Some(only) = only {
                hub.subscribe(key, Some(vec![only]));
            }
            Ok(key)
        })
        .map_err(|_: crate::hub::TooManySessions| Refusal::TooManySessions)?;
    let _visit = Visit { hub: public.hub.clone(), key };
    let snapshot = poll_fn(|cx| match mailbox.poll_take(cx) {
        Delivery::Snapshot(snapshot) => Poll::Ready(snapshot),
        _ => Poll::Pending,
    });
    let snapshot = timeout(public.rules.snapshot_timeout, snapshot).await.map_err(|_| Refusal::SnapshotUnavailable)?;
    Ok((snapshot, public.instance.staleness().reasons.union(mailbox.doubts())))
}

/// The place of an order in the list, to read on from: `<occurred_at in ms>:<order id, percent-encoded>`.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    occurred_at: i64,
    order_id: OrderId,
}

impl Place {
    fn of(order: &OrderView) -> Self {
        Self { occurred_at: order.state.occurred_at.as_millis(), order_id: order.state.order_id.clone() }
    }

    fn parse(text: &str) -> Result<Self, Refusal> {
        let (occurred_at, order_id) =
            text.split_once(':').ok_or(Refusal::BadRequest("\"after\" is not a place in the list"))?;
        let occurred_at =
            occurred_at.parse().map_err(|_| Refusal::BadRequest("\"after\" is not a place in the list"))?;
        let order_id =
            OrderId::parse(order_id).map_err(|_| Refusal::BadRequest("\"after\" is not a place in the list"))?;
        Ok(Self { occurred_at, order_id })
    }

    /// Whether `order` comes later in the list.
    fn precedes(&self, order: &OrderView) -> bool {
        let (here, there) = (self.occurred_at, order.state.occurred_at.as_millis());
        there < here || (there == here && order.state.order_id > self.order_id)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let order_id: String = url::form_urlencoded::byte_serialize(self.order_id.as_str().as_bytes()).collect();
        write!(f, "{}:{order_id}", self.occurred_at)
    }
}
