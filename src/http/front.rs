//! What every request of the public listener passes before its path is looked at: sizes, its address's rate, and CORS.
//!
//! The origins that may open a WebSocket may read all other answers, too, and send whatever headers they like. A page of
//! another origin is answered as anybody, without a word about CORS, so its browser keeps the answer from it.

use actix_web::{
    HttpResponse,
    body::MessageBody,
    dev::{RequestHead, ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
            ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
        },
    },
    middleware::Next,
    web,
};

use super::{
    access::{Page, page},
    events,
    public::Public,
    refusal::Refusal,
};

/// Longest path and query together: room for a token of the largest size, percent-encoded.
const MAX_TARGET_BYTES: usize = 32 * 1024;
/// Most bytes of headers: room for a token of the largest size twice, and for a browser's cookies.
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// What this listener answers.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST");
/// For pages that do not say which they mean to send. `*` alone leaves the credentials out.
const ANY_HEADER: HeaderValue = HeaderValue::from_static("*, Authorization");
const EXPOSED: HeaderValue = HeaderValue::from_static("Retry-After");
/// A browser may keep a preflight's answer.
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("600");
const VARIES: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers");

/// Lets a request in, if it is of a sensible size and its address does not ask too often. Preflights count, too.
pub(super) async fn admit(
    public: web::Data<Public>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let head = request.head();
    let may_read = match page(head, &public.origins) {
        Page::Allowed => head.headers().get(ORIGIN).cloned(),
        Page::Nobody | Page::Foreign => None,
    };
    let early = match check(head, &public) {
        Err(refusal) => {
            public.viewers.metrics.refused(refusal.code());
            Some(events::refuse(head, refusal))
        }
        Ok(()) => is_preflight(head).then(|| preflight(head, may_read.is_some())),
    };
    let mut response = match early {
        Some(answer) => request.into_response(answer).map_into_right_body(),
        None => next.call(request).await?.map_into_left_body(),
    };
    let headers = response.headers_mut();
    headers.append(VARY, VARIES);
    if let Some(origin) = may_read {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    Ok(response)
}

fn check(head: &RequestHead, public: &Public) -> Result<(), Refusal> {
    let header_bytes: usize = head.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let target_bytes = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target_bytes > MAX_TARGET_BYTES {
        Err(Refusal::BadRequest("the address of the request is too long"))
    } else if header_bytes > MAX_HEADER_BYTES {
        Err(Refusal::BadRequest("the headers of the request are too long"))
    } else if !public.rate.admits(public.client_address(head)) {
        Err(Refusal::RateLimited)
    } else {
        Ok(())
    }
}

fn is_preflight(head: &RequestHead) -> bool {
    let headers = head.headers();
    head.method == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The same for everybody, but for the words that a browser waits for.
fn preflight(head: &RequestHead, may_read: bool) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    if may_read {
        answer
            .insert_header((ACCESS_CONTROL_ALLOW_METHODS, METHODS))
            .insert_header((ACCESS_CONTROL_ALLOW_HEADERS, asked_headers(head.headers())))
            .insert_header((ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS));
    }
    answer.finish()
}

/// Those that the page asks for: browsers of some years ago do not know `*`.
fn asked_headers(headers: &HeaderMap) -> HeaderValue {
    let mut asked = headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS);
    match (asked.next(), asked.next()) {
        (Some(names), None) if !names.is_empty() && names.to_str().is_ok() => names.clone(),
        _ => ANY_HEADER,
    }
}
