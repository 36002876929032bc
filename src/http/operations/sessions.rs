//! `GET /sessions`: the open sessions of this instance, as operators see them.

use std::net::IpAddr;

use actix_web::{HttpRequest, HttpResponse, Result, web};
use serde::Serialize;

use super::{
    Operations,
    form::{Body, Form},
    guard::Operator,
};
use crate::{
    domain::{Timestamp, UserId},
    hub::{SessionInfo, SessionSelector},
};

/// Sessions in one answer at most.
const MAX_LISTED: usize = 1_000;

/// Answers with those of a user or, without one named, with any.
pub(super) async fn list(
    _: Operator,
    request: HttpRequest,
    body: Body,
    operations: web::Data<Operations>,
) -> Result<HttpResponse> {
    #[derive(Serialize)]
    struct Sessions<'a> {
        instance: &'a str,
        sessions: Vec<Listed>,
    }
    let user = Form::in_query(&request, body, &["user_id"])?.user("user_id")?;
    let whom = user.as_ref().map_or(SessionSelector::All, SessionSelector::User);
    let sessions = operations.hub.step(|hub| hub.list(whom, MAX_LISTED));
    let sessions = sessions.into_iter().map(Listed::from).collect();
    Ok(HttpResponse::Ok().json(Sessions { instance: &operations.name, sessions }))
}

#[derive(Serialize)]
struct Listed {
    session_id: Box<str>,
    user_id: Option<UserId>,
    transport: &'static str,
    address: Option<IpAddr>,
    connected_at: Timestamp,
    expires_at: Timestamp,
    orders: usize,
    pending_bytes: usize,
}

impl From<SessionInfo> for Listed {
    fn from(session: SessionInfo) -> Self {
        let SessionInfo { identity, user, orders, pending_bytes } = session;
        Self {
            session_id: identity.session_id,
            user_id: user,
            transport: identity.transport,
            address: identity.address,
            connected_at: identity.connected_at,
            expires_at: identity.expires_at,
            orders,
            pending_bytes,
        }
    }
}
