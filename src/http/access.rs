//! Who is asking: the page's origin and the bearer's token, from the places a request may carry them.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr},
};

use actix_web::{
    HttpRequest,
    dev::RequestHead,
    http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL},
};
use secrecy::ExposeSecret;

use super::{public::Public, refusal::Refusal};
use crate::{
    auth::{OriginRequest, Origins, Presentation, Principal, TokenError},
    event::Timestamp,
};

/// A parameter of the query string, decoded.
pub(super) fn query<'a>(request: &'a HttpRequest, name: &str) -> Option<Cow<'a, str>> {
    url::form_urlencoded::parse(request.query_string().as_bytes())
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// Checks the page's origin. `true`: the request comes from a page, which may connect; `false`: from no page.
pub(super) fn check_origin(request: &HttpRequest, public: &Public) -> Result<bool, Refusal> {
    let Some(origin) = header(request, ORIGIN) else { return Ok(false) };
    if allows_origin(&public.origins, origin, request.head()) {
        return Ok(true);
    }
    let host = header(request, HOST).unwrap_or("");
    tracing::info!(http.origin = origin, http.host = host, "refused a page of another origin");
    Err(Refusal::OriginNotAllowed)
}

/// Whether a page of `origin` may connect to the host that was asked for.
pub(super) fn allows_origin(origins: &Origins, origin: &str, head: &RequestHead) -> bool {
    let header = |name| head.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let peer = head.peer_addr.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let (host, forwarded_host) = (header(HOST), header(HeaderName::from_static("x-forwarded-host")));
    origins.allows(&OriginRequest { origin, host, forwarded_host, peer })
}

/// Finds and checks the token.
pub(super) fn principal(request: &HttpRequest, public: &Public) -> Result<Principal, Refusal> {
    let presented = Presentation {
        query: request.query_string(),
        authorization: &headers(request, AUTHORIZATION),
        protocols: &headers(request, SEC_WEBSOCKET_PROTOCOL),
    };
    let checked = presented.token().and_then(|token| public.verifier.verify(token.expose_secret(), Timestamp::now()));
    checked.map_err(|error| {
        if let Some(flaw) = error.flaw() {
            tracing::debug!(auth.flaw = ?flaw, "refused a token");
        }
        Refusal::from(error)
    })
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Missing => Self::MissingToken,
            TokenError::Invalid(_) => Self::InvalidToken,
            TokenError::Expired => Self::ExpiredToken,
            TokenError::Malformed(why) => Self::BadRequest(why),
        }
    }
}

fn header(request: &HttpRequest, name: HeaderName) -> Option<&str> {
    request.headers().get(name)?.to_str().ok()
}

fn headers(request: &HttpRequest, name: HeaderName) -> Vec<&str> {
    request.headers().get_all(name).filter_map(|value| value.to_str().ok()).collect()
}
