//! Refusals over HTTP: `application/problem+json` with a stable code (RFC 9457).

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE},
    },
};
use serde::Serialize;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The request makes no sense as it stands.
    #[error("{0}")]
    BadRequest(&'static str),
    /// No token came with the request.
    #[error("no token: give one as ?token=, as Authorization: Bearer, or as a subprotocol")]
    MissingToken,
    /// The token is not good.
    #[error("the token is not valid here")]
    InvalidToken,
    /// The token was good once.
    #[error("the token has expired: get a new one")]
    ExpiredToken,
    /// The token was good and is revoked. Over HTTP the same as one that was never good.
    #[error("the token is not valid here")]
    Revoked,
    /// A page of this origin may not connect.
    #[error("pages of this origin may not connect; allow it in http.allowed_origins")]
    OriginNotAllowed,
    /// The order is unknown, or not for this viewer.
    #[error("there is no such order, or it is not visible with this token")]
    OrderNotVisible,
    /// Nothing lives at this path.
    #[error("there is nothing here")]
    NotFound,
    /// The request has another method than this path answers.
    #[error("this method is not answered here")]
    MethodNotAllowed,
    /// The request should have been a WebSocket handshake of version 13.
    #[error("connect with a WebSocket of version 13")]
    UpgradeRequired,
    /// The user, or all who hold the link, have as many sessions as are allowed.
    #[error("as many sessions are open with tokens such as this one as are allowed; close one")]
    TooManySessions,
    /// The viewer has as many answers with orders on their way as are allowed.
    #[error("as many answers as are allowed are on their way with tokens such as this one; read them first")]
    TooManyRequests,
    /// The address sends more requests than it may.
    #[error("this address sends more requests than it may; try again in a second")]
    RateLimited,
    /// The instance has not caught up with the log yet.
    #[error("this instance has not caught up yet")]
    NotReady,
    /// The instance is leaving.
    #[error("this instance is leaving; connect again")]
    Draining,
    /// The instance holds as many sessions, or as much of answers that are not read yet, as it may.
    #[error("this instance has no place for more; try again")]
    AtCapacity,
    /// The brokers did not take what is to be told to all instances.
    #[error("the brokers did not take it, or not in time; it may still take effect")]
    KafkaUnavailable,
    /// The database did not answer what the request needs.
    #[error("the database is unavailable; try again")]
    DatabaseUnavailable,
    /// The key that would verify the token cannot be had now.
    #[error("the keys that verify tokens cannot be had now; try again")]
    KeysUnavailable,
    /// The orders could not be read in time.
    #[error("the orders could not be read in time")]
    SnapshotUnavailable,
}

impl Refusal {
    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::MissingToken | Self::InvalidToken | Self::Revoked | Self::ExpiredToken => StatusCode::UNAUTHORIZED,
            Self::OriginNotAllowed => StatusCode::FORBIDDEN,
            Self::OrderNotVisible | Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::TooManySessions | Self::TooManyRequests | Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::NotReady
            | Self::Draining
            | Self::AtCapacity
            | Self::KafkaUnavailable
            | Self::DatabaseUnavailable
            | Self::KeysUnavailable
            | Self::SnapshotUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The stable code, which is the metric label, too.
    pub fn code(self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::MissingToken => "missing_token",
            Self::InvalidToken | Self::Revoked => "invalid_token",
            Self::ExpiredToken => "expired_token",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::OrderNotVisible => "order_not_visible",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::UpgradeRequired => "upgrade_required",
            Self::TooManySessions => "too_many_sessions",
            Self::TooManyRequests => "too_many_requests",
            Self::RateLimited => "rate_limited",
            Self::NotReady => "not_ready",
            Self::Draining => "draining",
            Self::AtCapacity => "at_capacity",
            Self::KafkaUnavailable => "kafka_unavailable",
            Self::DatabaseUnavailable => "database_unavailable",
            Self::KeysUnavailable => "keys_unavailable",
            Self::SnapshotUnavailable => "snapshot_unavailable",
        }
    }

    /// After how many seconds to try again, where that may be of use.
    pub(super) fn retry_after(self) -> Option<u64> {
        match self {
            Self::TooManySessions => Some(30),
            // Every rate is at least one a second, and an answer that is read takes less.
            Self::RateLimited | Self::TooManyRequests => Some(1),
            _ => (self.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(2),
        }
    }

    /// The answer.
    pub fn response(self) -> HttpResponse {
        self.response_saying(&self.to_string())
    }

    /// The answer, with this detail.
    pub(super) fn response_saying(self, detail: &str) -> HttpResponse {
        #[derive(Serialize)]
        struct Problem<'a> {
            r#type: &'static str,
            title: &'static str,
            status: u16,
            detail: &'a str,
            code: &'static str,
        }
        let status = self.status();
        let mut response = HttpResponse::build(status);
        response.content_type("application/problem+json").insert_header((CACHE_CONTROL, "no-store"));
        match self {
            Self::MissingToken => {
                response.insert_header((WWW_AUTHENTICATE, "Bearer"));
            }
            Self::InvalidToken | Self::Revoked | Self::ExpiredToken => {
                response.insert_header((WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""));
            }
            Self::UpgradeRequired => {
                response.insert_header((UPGRADE, "websocket")).insert_header((SEC_WEBSOCKET_VERSION, "13"));
            }
            _ => {}
        }
        if let Some(seconds) = self.retry_after() {
            response.insert_header((RETRY_AFTER, seconds));
        }
        response.json(Problem {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Refused"),
            status: status.as_u16(),
            detail,
            code: self.code(),
        })
    }
}

impl actix_web::ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.status()
    }

    fn error_response(&self) -> HttpResponse {
        self.response()
    }
}
