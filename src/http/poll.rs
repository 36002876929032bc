//! `POST /order-status/poll`: what differs from what a client shows, as soon as something does.

use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, web};

use super::{
    access,
    claims::{self, Body},
    entry::{connection, enter},
    page::Single,
    public::Public,
    refusal::Refusal,
};
use crate::{
    protocol::{Claims, ClientMessage},
    transport::{
        Beginning,
        poll::{self, Polled},
    },
};

/// How long a poll waits that does not say how long.
const WAIT: Duration = Duration::from_secs(25);

/// Answers.
pub(super) async fn answer(
    request: HttpRequest,
    body: Body,
    public: web::Data<Public>,
) -> Result<HttpResponse, Refusal> {
    let answer = polled(&request, body, &public).await;
    answer.inspect_err(|refusal| public.viewers.metrics.refused(refusal.code()))
}

async fn polled(request: &HttpRequest, body: Body, public: &Public) -> Result<HttpResponse, Refusal> {
    public.check_serving()?;
    access::check_origin(request, public)?;
    let admission = access::admit(request, public).await?;
    let Claims { orders, stale, wait } = claims::read(request, body)?;
    let mut viewer = enter(request, public, &admission, poll::NAME, Beginning::Difference(stale)).await?;
    viewer.begin_with(ClientMessage::Sync { orders, id: None });
    let connection = connection(request);
    connection.hold();
    let polled = poll::poll(viewer, wait.unwrap_or(WAIT)).await;
    connection.let_go();
    let principal = &admission.principal;
    let now = Instant::now();
    let on_its_way = public.answers.begin(principal.viewer.holder(principal.token_id.as_deref()), now)?;
    let answer = Single::written(on_its_way, json(&polled), now)?;
    Ok(HttpResponse::Ok().content_type("application/json").body(answer))
}

fn json(polled: &Polled) -> Vec<u8> {
    let mut json = br#"{"frames":["#.to_vec();
    for (nth, message) in polled.messages.iter().enumerate() {
        if nth > 0 {
            json.push(b',');
        }
        json.extend_from_slice(message.bytes());
    }
    json.extend_from_slice(br#"],"poll_again":"#);
    json.extend_from_slice(if polled.is_last { b"false}" } else { b"true}" });
    json
}
