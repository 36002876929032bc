//! Who is asking: the page's origin and the bearer's token, from the places a request may carry them.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr},
};

use actix_web::{
    HttpRequest,
    dev::RequestHead,
    http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN, SEC_WEBSOCKET_PROTOCOL},
};
use secrecy::{ExposeSecret, SecretString};

use super::{
    headers::{Said, texts},
    public::Public,
    refusal::Refusal,
};
use crate::{
    auth::{OriginRequest, Origins, Presentation, Principal, TicketDigest, TokenError, UNREADABLE},
    domain::Timestamp,
    store::gateway::DatabaseUnavailable,
    telemetry::{OutsideLine, shown},
};

/// A parameter of the query string, decoded.
pub(super) fn query<'a>(request: &'a HttpRequest, name: &str) -> Option<Cow<'a, str>> {
    url::form_urlencoded::parse(request.query_string().as_bytes())
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// Which page a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// From none.
    Nobody,
    /// From one that may connect.
    Allowed,
    /// From one that may not, or nobody can say from which.
    Foreign,
}

/// Which page a request comes from, and whether it may connect to the host that was asked for.
pub(super) fn page(head: &RequestHead, origins: &Origins) -> Page {
    let headers = head.headers();
    let origin = match Said::once(headers, ORIGIN) {
        Said::Nothing => return Page::Nobody,
        Said::Unreadable => return Page::Foreign,
        Said::Text(origin) => origin,
    };
    let peer = head.peer_addr.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let host = Said::once(headers, HOST).or_empty();
    let forwarded_host = Said::first(headers, HeaderName::from_static("x-forwarded-host")).or_empty();
    if origins.allows(&OriginRequest { origin, host, forwarded_host, peer }) { Page::Allowed } else { Page::Foreign }
}

/// Checks the page's origin. `true`: the request comes from a page, which may connect; `false`: from no page.
pub(super) fn check_origin(request: &HttpRequest, public: &Public) -> Result<bool, Refusal> {
    match page(request.head(), &public.origins) {
        Page::Nobody => Ok(false),
        Page::Allowed => Ok(true),
        Page::Foreign => {
            let said = |name| Said::once(request.headers(), name).or_empty().unwrap_or_default();
            let (origin, host) = (said(ORIGIN), said(HOST));
            if let Some(left_out) = public.viewers.outside.admits_origin(origin) {
                tracing::warn!(
                    http.origin = shown(origin),
                    http.host = shown(host),
                    log.left_out = left_out.told(),
                    "refused a page of another origin; add it to http.allowed_origins"
                );
            }
            Err(Refusal::OriginNotAllowed)
        }
    }
}

/// Who was let in, and the ticket that is still to be used up.
#[derive(Debug)]
pub(super) struct Admission {
    /// Whom the token or the ticket speaks for.
    pub(super) principal: Principal,
    ticket: Option<TicketDigest>,
}

/// Finds and checks the token, or the ticket in its place.
pub(super) async fn admit(request: &HttpRequest, public: &Public) -> Result<Admission, Refusal> {
    let presented = Presentation {
        query: request.query_string(),
        authorization: &headers(request, AUTHORIZATION)?,
        protocols: &headers(request, SEC_WEBSOCKET_PROTOCOL)?,
    };
    let shown = presented.token()?;
    let ticket = TicketDigest::of(shown.expose_secret());
    let principal = match ticket {
        None => verify(&shown, public).await?,
        Some(digest) => {
            let claims = public.store.find_ticket(digest.to_bytes()).await?.ok_or(Refusal::InvalidToken)?;
            Principal::from_claims(&claims, Timestamp::now())?
        }
    };
    check_revocation(&principal, public)?;
    Ok(Admission { principal, ticket })
}

impl Admission {
    /// Uses the ticket up, if it was one. Comes last, after every other check: who is refused may show it again. What revoked
    /// its token meanwhile is looked for once more.
    pub(super) async fn redeem(&self, public: &Public) -> Result<(), Refusal> {
        if let Some(digest) = self.ticket
            && !public.store.use_ticket(digest.to_bytes()).await?
        {
            return Err(Refusal::InvalidToken);
        }
        check_revocation(&self.principal, public)
    }
}

/// Checks the token of the `Authorization` header. A ticket is none: it cannot be changed for another.
pub(super) async fn bearer(request: &HttpRequest, public: &Public) -> Result<Principal, Refusal> {
    let presented = Presentation { authorization: &headers(request, AUTHORIZATION)?, ..Presentation::default() };
    let principal = verify(&presented.token()?, public).await?;
    check_revocation(&principal, public)?;
    Ok(principal)
}

async fn verify(token: &SecretString, public: &Public) -> Result<Principal, TokenError> {
    public.viewers.verifier.verify_fetching(token.expose_secret(), Timestamp::now).await.inspect_err(|error| {
        if let Some(flaw) = error.flaw()
            && let Some(left_out) = public.viewers.outside.admits(OutsideLine::RefusedToken)
        {
            tracing::debug!(auth.flaw = ?flaw, log.left_out = left_out.told(), "refused a token");
        }
    })
}

/// Whether an operator took the token back. Asked again after joining the hub: a revocation that comes between the two
/// ends no session that has not joined.
pub(super) fn check_revocation(principal: &Principal, public: &Public) -> Result<(), Refusal> {
    if public.viewers.revocations.is_revoked(principal, Timestamp::now()) { Err(Refusal::Revoked) } else { Ok(()) }
}

impl From<DatabaseUnavailable> for Refusal {
    fn from(_: DatabaseUnavailable) -> Self {
        Self::DatabaseUnavailable
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Missing => Self::MissingToken,
            TokenError::Invalid(_) => Self::InvalidToken,
            TokenError::Expired => Self::ExpiredToken,
            TokenError::KeysUnavailable => Self::KeysUnavailable,
            TokenError::Malformed(why) => Self::BadRequest(why),
        }
    }
}

fn headers(request: &HttpRequest, name: HeaderName) -> Result<Vec<&str>, TokenError> {
    texts(request.headers(), name).ok_or(TokenError::Malformed(UNREADABLE))
}
