//! `POST /tickets`: a token for a ticket, which may stand in an address because it is good once, for half a minute.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::{access, public::Public, refusal::Refusal};
use crate::{auth::Ticket, domain::Timestamp};

/// Answers with a ticket. The token is taken from `Authorization` only: from an address it could be taken by others.
pub(super) async fn issue(request: HttpRequest, public: web::Data<Public>) -> Result<HttpResponse, Refusal> {
    #[derive(Serialize)]
    struct Issued<'a> {
        ticket: &'a str,
        expires_at: Timestamp,
    }
    let issued = async {
        public.check_serving()?;
        access::check_origin(&request, &public)?;
        let principal = access::bearer(&request, &public).await?;
        let lifetime = principal.ticket_lifetime(Timestamp::now())?;
        let ticket = Ticket::generate();
        let ends = public.store.issue_ticket(ticket.digest().to_bytes(), principal.to_claims(), lifetime).await?;
        // The database's clock may be ahead.
        Ok((ticket, ends.min(principal.expires_at)))
    };
    let (ticket, expires_at) =
        issued.await.inspect_err(|refusal: &Refusal| public.viewers.metrics.refused(refusal.code()))?;
    Ok(HttpResponse::Created().json(Issued { ticket: ticket.text(), expires_at }))
}
