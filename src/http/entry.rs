//! The way into the hub, whatever the transport.

use std::rc::Rc;

use actix_web::HttpRequest;

use super::{access::Admission, line::HttpConnection, public::Public, refusal::Refusal};
use crate::transport::{Arrival, Beginning, ViewerConnection};

/// Joins the hub, and only then uses the ticket up, if it is one: whoever is one too many may show it again.
pub(super) async fn enter(
    request: &HttpRequest,
    public: &Public,
    admission: &Admission,
    transport: &'static str,
    beginning: Beginning,
) -> Result<ViewerConnection, Refusal> {
    if public.at_capacity() {
        return Err(Refusal::AtCapacity);
    }
    let arrival = Arrival {
        transport,
        wakes: Some(connection(request).worker().wakes().clone()),
        address: Some(public.client_address(request.head())),
        beginning,
    };
    let viewer =
        ViewerConnection::join(&public.viewers, &admission.principal, arrival).map_err(|_| Refusal::TooManySessions)?;
    admission.redeem(public).await?;
    viewer.open();
    Ok(viewer)
}

/// The connection that a request came over.
pub(super) fn connection(request: &HttpRequest) -> &Rc<HttpConnection> {
    request.conn_data::<Rc<HttpConnection>>().expect("the listener gives every connection one")
}
