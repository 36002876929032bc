//! `GET /orders` and `GET /orders/{order_id}`: the same truth as a session's first snapshot, once.
//!
//! Each request joins the hub as a session without a socket, takes what reconcile gives it, and leaves.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Instant};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::header::{CACHE_CONTROL, ContentType},
    web,
};
use tokio::time::timeout;

use super::{
    access::{self, Admission},
    answers::OnItsWay,
    page::{Cut, Page, Single, parse_place},
    public::Public,
    refusal::Refusal,
};
use crate::{
    domain::{ListPlace, OrderId},
    hub::{Joining, Mailbox, SessionKey, SharedHub},
    protocol::{Delivery, PendingSnapshot, StaleReasons},
};

/// Answers `GET /orders`, one page of them.
pub(super) async fn list(request: HttpRequest, public: web::Data<Public>) -> Result<HttpResponse, Refusal> {
    let listed = async {
        let (admission, answer) = begin(&request, &public).await?;
        let after = access::query(&request, "after").map(|after| parse_place(&after)).transpose()?;
        let part = Asked::Part(after.clone(), public.viewers.config.snapshot_page);
        let (snapshot, stale) = read(&public, &admission, part).await?;
        let as_of = snapshot.as_of;
        let list = snapshot.orders.into_values().collect();
        let cut = Cut::of(list, after.as_ref(), snapshot.list_end, public.viewers.config.snapshot_page);
        let now = Instant::now();
        let page = Page::new(answer, cut, after, now)?;
        admission.redeem(&public).await?;
        Ok(json().body(page.into_body(as_of, stale, now)))
    };
    listed.await.inspect_err(|refusal: &Refusal| public.viewers.metrics.refused(refusal.code()))
}

/// Answers `GET /orders/{order_id}`; an unknown and a foreign order alike.
pub(super) async fn one(
    request: HttpRequest,
    order_id: web::Path<String>,
    public: web::Data<Public>,
) -> Result<HttpResponse, Refusal> {
    let found = async {
        let (admission, answer) = begin(&request, &public).await?;
        let order_id = OrderId::parse(&order_id).map_err(|_| Refusal::OrderNotVisible)?;
        let (mut snapshot, _stale) = read(&public, &admission, Asked::One(order_id.clone())).await?;
        let order = snapshot.orders.remove(&order_id).ok_or(Refusal::OrderNotVisible)?;
        let body = Single::new(answer, &order, Instant::now())?;
        admission.redeem(&public).await?;
        Ok(json().body(body))
    };
    found.await.inspect_err(|refusal: &Refusal| public.viewers.metrics.refused(refusal.code()))
}

fn json() -> HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CACHE_CONTROL, "no-store")).insert_header(ContentType::json());
    answer
}

/// Who asks, and a place for the answer.
async fn begin(request: &HttpRequest, public: &Public) -> Result<(Admission, OnItsWay), Refusal> {
    public.check_serving()?;
    access::check_origin(request, public)?;
    let admission = access::admit(request, public).await?;
    let principal = &admission.principal;
    let answer = public.answers.begin(principal.viewer.holder(principal.token_id.as_deref()), Instant::now())?;
    Ok((admission, answer))
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

/// What is asked for.
enum Asked {
    /// So many orders of the list behind a place in it.
    Part(Option<ListPlace>, usize),
    /// An order by name.
    One(OrderId),
}

async fn read(
    public: &Public,
    admission: &Admission,
    asked: Asked,
) -> Result<(PendingSnapshot, StaleReasons), Refusal> {
    let mailbox = Arc::new(Mailbox::new(public.viewers.limits.mailbox_bytes));
    let viewer = admission.principal.viewer.clone();
    let joining = Joining { viewer, mailbox: mailbox.clone(), start: false, place: None, identity: None };
    let key = public
        .viewers
        .hub
        .step(|hub| {
            let key = hub.join(joining)?;
            match asked {
                Asked::Part(after, max_orders) => hub.read_part(key, after, max_orders),
                Asked::One(order_id) => hub.subscribe(key, Some(vec![order_id])),
            }
            Ok(key)
        })
        .map_err(|_: crate::hub::TooManySessions| Refusal::TooManySessions)?;
    let _visit = Visit { hub: public.viewers.hub.clone(), key };
    let snapshot = poll_fn(|cx| match mailbox.poll_take(cx) {
        Delivery::Snapshot(snapshot) => Poll::Ready(snapshot),
        _ => Poll::Pending,
    });
    let snapshot =
        timeout(public.viewers.config.snapshot_timeout, snapshot).await.map_err(|_| Refusal::SnapshotUnavailable)?;
    Ok((snapshot, public.viewers.instance.staleness().reasons.union(mailbox.doubts())))
}
