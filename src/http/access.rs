//! Who is asking: the page's origin and the bearer's token, from the places a request may carry them.

use std::{borrow::Cow, net::IpAddr};

use actix_web::{
    HttpRequest,
    http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN, SEC_WEBSOCKET_PROTOCOL},
};

use super::{public::Public, refusal::Refusal};
use crate::{
    auth::{Presentation, Principal, TokenError},
    event::Timestamp,
};

/// A parameter of the query string, decoded.
pub fn query<'a>(request: &'a HttpRequest, name: &str) -> Option<Cow<'a, str>> {
    url::form_urlencoded::parse(request.query_string().as_bytes())
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// Checks the page's origin. `true`: the request comes from a page, which may connect; `false`: from no page.
pub fn check_origin(request: &HttpRequest, public: &Public) -> Result<bool, Refusal> {
    let Some(origin) = header(request, ORIGIN) else { return Ok(false) };
    let host = forwarded_host(request, public).or_else(|| header(request, HOST));
    if public.origins.allows(origin, host) {
        return Ok(true);
    }
    tracing::info!(http.origin = origin, http.host = host.unwrap_or(""), "refused a page of another origin");
    Err(Refusal::OriginNotAllowed)
}

/// Finds and checks the token.
pub fn principal(request: &HttpRequest, public: &Public) -> Result<Principal, Refusal> {
    let query = query(request, "token");
    let presentation = Presentation {
        query: query.as_deref(),
        authorization: header(request, AUTHORIZATION),
        protocols: header(request, SEC_WEBSOCKET_PROTOCOL),
    };
    let token = presentation.token()?;
    Ok(public.verifier.verify(token, Timestamp::now())?)
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Missing => Self::MissingToken,
            TokenError::Malformed(why) => Self::BadRequest(why),
            TokenError::Invalid => Self::InvalidToken,
            TokenError::Expired => Self::ExpiredToken,
        }
    }
}

fn forwarded_host<'a>(request: &'a HttpRequest, public: &Public) -> Option<&'a str> {
    let peer: IpAddr = request.peer_addr()?.ip();
    let trusted = public.trusted_proxies.iter().any(|network| network.contains(&peer));
    trusted.then(|| header(request, HeaderName::from_static("x-forwarded-host"))).flatten()
}

fn header(request: &HttpRequest, name: HeaderName) -> Option<&str> {
    request.headers().get(name)?.to_str().ok()
}
