//! What a client says it shows, in the body of a request.

use actix_web::{HttpMessage, HttpRequest, web::Bytes};

use super::refusal::Refusal;
use crate::protocol::Claims;

/// A request's body, or why it could not be had.
pub(super) type Body = Result<Bytes, actix_web::Error>;

/// Reads them. A page of another origin cannot send this content type unasked.
pub(super) fn read(request: &HttpRequest, body: Body) -> Result<Claims, Refusal> {
    if !request.content_type().eq_ignore_ascii_case("application/json") {
        return Err(Refusal::BadRequest("the body must be a JSON object, with content type application/json"));
    }
    let body = body.map_err(|_| Refusal::BadRequest("the body could not be read: at most 64 KiB, within 5 seconds"))?;
    Claims::parse(&body).map_err(Refusal::BadRequest)
}
