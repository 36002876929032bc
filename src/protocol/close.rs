//! Why a session ended: one cause fixes the close code, the last frame, the log line and the metric label.

use std::time::Duration;

use super::{Message, ServerMessage};

/// The one recorded reason of a session's end. A client reconnects after every code but 1002, 1003, 1007, 1009, 1010
/// and 4500–4999; after one below 4500 also where it had no `welcome` and no `closing`, because a gateway may have made it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCause {
    /// The client closed.
    ClientClosed,
    /// The connection ended without a Close frame.
    ConnectionLost,
    /// The client broke RFC 6455.
    ProtocolError,
    /// The client sent a binary message.
    BinaryNotSupported,
    /// The client sent text that is not UTF-8.
    InvalidUtf8,
    /// The client sent, or announced, a message over the limit.
    MessageTooBig,
    /// A bug on our side ended this session.
    InternalError,
    /// The instance is leaving.
    ServerRestart,
    /// No snapshot could be had in time.
    SnapshotUnavailable,
    /// The token expired.
    TokenExpired,
    /// The client took nothing for `session.send_timeout`.
    SlowConsumer,
    /// An operator ended the session.
    Disconnected,
    /// The client was silent for two heartbeats.
    HeartbeatTimeout,
    /// The client sent more messages than it may.
    TooManyMessages,
    /// The user has as many sessions as are allowed; told to a browser after the upgrade.
    TooManySessions,
    /// The token is missing or not valid; told to a browser after the upgrade.
    InvalidToken,
    /// The token, or all older tokens of its user, were revoked.
    Revoked,
    /// The user opened a newer session than may be open at once.
    Replaced,
    /// All orders of a link are terminal.
    Complete,
    /// Ten messages within a minute that were answered by errors.
    TooManyErrors,
}

impl CloseCause {
    /// Every cause.
    pub const ALL: [Self; 20] = [
        Self::ClientClosed,
        Self::ConnectionLost,
        Self::ProtocolError,
        Self::BinaryNotSupported,
        Self::InvalidUtf8,
        Self::MessageTooBig,
        Self::InternalError,
        Self::ServerRestart,
        Self::SnapshotUnavailable,
        Self::TokenExpired,
        Self::SlowConsumer,
        Self::Disconnected,
        Self::HeartbeatTimeout,
        Self::TooManyMessages,
        Self::TooManySessions,
        Self::InvalidToken,
        Self::Revoked,
        Self::Replaced,
        Self::Complete,
        Self::TooManyErrors,
    ];

    /// The WebSocket close code; of the client's own close the most common one. `ConnectionLost` is what RFC 6455 calls 1006 and is never sent.
    pub fn code(self) -> u16 {
        match self {
            Self::ClientClosed => 1000,
            Self::ProtocolError => 1002,
            Self::BinaryNotSupported => 1003,
            Self::ConnectionLost => 1006,
            Self::InvalidUtf8 => 1007,
            Self::MessageTooBig => 1009,
            Self::InternalError => 1011,
            Self::ServerRestart => 1012,
            Self::SnapshotUnavailable => 1013,
            Self::TokenExpired => 4005,
            Self::SlowConsumer => 4008,
            Self::Disconnected => 4011,
            Self::HeartbeatTimeout => 4012,
            Self::TooManyMessages => 4013,
            Self::TooManySessions => 4014,
            Self::InvalidToken => 4500,
            Self::Revoked => 4503,
            Self::Replaced => 4504,
            Self::Complete => 4510,
            Self::TooManyErrors => 4513,
        }
    }

    /// The reason text, which is the metric label, too.
    pub fn reason(self) -> &'static str {
        match self {
            Self::ClientClosed => "client_closed",
            Self::ConnectionLost => "connection_lost",
            Self::ProtocolError => "protocol_error",
            Self::BinaryNotSupported => "binary_not_supported",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::MessageTooBig => "message_too_big",
            Self::InternalError => "internal_error",
            Self::ServerRestart => "server_restart",
            Self::SnapshotUnavailable => "snapshot_unavailable",
            Self::TokenExpired => "token_expired",
            Self::SlowConsumer => "slow_consumer",
            Self::Disconnected => "disconnected",
            Self::HeartbeatTimeout => "heartbeat_timeout",
            Self::TooManyMessages => "too_many_messages",
            Self::TooManySessions => "too_many_sessions",
            Self::InvalidToken => "invalid_token",
            Self::Revoked => "revoked",
            Self::Replaced => "replaced",
            Self::Complete => "complete",
            Self::TooManyErrors => "too_many_errors",
        }
    }

    /// Whether the client should connect again: what its code says to every client.
    pub fn retry(self) -> bool {
        !matches!(self.code(), 1002 | 1003 | 1007 | 1009 | 1010 | 4500..=4999)
    }

    /// Whether the token that was shown will not do a second time, whatever the code says.
    pub fn is_final_for_token(self) -> bool {
        !self.retry() || self == Self::TokenExpired
    }

    /// Whether a `closing` frame and a Close frame are sent: not when the client is gone or has said goodbye itself.
    pub fn is_announced(self) -> bool {
        !matches!(self, Self::ClientClosed | Self::ConnectionLost)
    }
}

/// Why a session ends, as its client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// The reason.
    pub cause: CloseCause,
    /// When to come back, where the server wants to say.
    pub reconnect_after: Option<Duration>,
}

impl Closing {
    /// The `closing` message.
    pub fn message(self) -> Message {
        let Self { cause, reconnect_after } = self;
        let reconnect_after_ms = reconnect_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        let (code, reason, retry) = (cause.code(), cause.reason(), cause.retry());
        ServerMessage::Closing { code, reason, retry, reconnect_after_ms }.message()
    }
}

/// What stands for the code of a Close frame without one (RFC 6455, 7.4.1); never sent.
pub const NO_CODE: u16 = 1005;

/// What a client's own Close says, as far as metrics tell codes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientCode {
    /// 1000.
    Normal,
    /// 1001: the page or the program was left.
    GoingAway,
    /// 1002: we broke RFC 6455, says the client.
    ProtocolError,
    /// 1003.
    UnsupportedData,
    /// A Close frame without a code.
    NoCode,
    /// 1007.
    InvalidData,
    /// 1008.
    PolicyViolation,
    /// 1009: a frame of ours was larger than the client takes.
    MessageTooBig,
    /// 1011.
    InternalError,
    /// 3000 to 4999: what the application means by it.
    Application,
    /// Any other that may be sent.
    Other,
}

impl ClientCode {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Normal,
        Self::GoingAway,
        Self::ProtocolError,
        Self::UnsupportedData,
        Self::NoCode,
        Self::InvalidData,
        Self::PolicyViolation,
        Self::MessageTooBig,
        Self::InternalError,
        Self::Application,
        Self::Other,
    ];

    /// The kind of a code; [`NO_CODE`] stands for none.
    pub fn of(code: u16) -> Self {
        match code {
            1000 => Self::Normal,
            1001 => Self::GoingAway,
            1002 => Self::ProtocolError,
            1003 => Self::UnsupportedData,
            NO_CODE => Self::NoCode,
            1007 => Self::InvalidData,
            1008 => Self::PolicyViolation,
            1009 => Self::MessageTooBig,
            1011 => Self::InternalError,
            3000..=4999 => Self::Application,
            _ => Self::Other,
        }
    }

    /// The metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::GoingAway => "going_away",
            Self::ProtocolError => "protocol_error",
            Self::UnsupportedData => "unsupported_data",
            Self::NoCode => "no_code",
            Self::InvalidData => "invalid_data",
            Self::PolicyViolation => "policy_violation",
            Self::MessageTooBig => "message_too_big",
            Self::InternalError => "internal_error",
            Self::Application => "application",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_cause_has_its_own_code_and_reason() {
        let codes: HashSet<u16> = CloseCause::ALL.iter().map(|cause| cause.code()).collect();
        let reasons: HashSet<&str> = CloseCause::ALL.iter().map(|cause| cause.reason()).collect();
        assert_eq!((codes.len(), reasons.len()), (CloseCause::ALL.len(), CloseCause::ALL.len()));
    }

    #[test]
    fn every_code_that_a_client_may_send_has_one_kind_and_every_kind_a_code() {
        let codes = [NO_CODE].into_iter().chain(1000..=1003).chain(1007..=1014).chain(3000..=4999);
        let kinds: HashSet<ClientCode> = codes.map(ClientCode::of).collect();
        assert_eq!(kinds, ClientCode::ALL.into());
        let names: HashSet<&str> = ClientCode::ALL.map(ClientCode::as_str).into();
        assert_eq!(names.len(), ClientCode::ALL.len());
        assert_eq!(ClientCode::of(1009).as_str(), "message_too_big");
    }

    #[test]
    fn retry_agrees_with_the_code() {
        assert!(CloseCause::TokenExpired.retry());
        assert!(CloseCause::ServerRestart.retry());
        assert!(CloseCause::Disconnected.retry());
        assert!(!CloseCause::InvalidToken.retry());
        assert!(!CloseCause::Revoked.retry());
        assert!(!CloseCause::ProtocolError.retry());
        assert!(!CloseCause::Complete.retry());
    }

    #[test]
    fn only_who_is_gone_or_said_goodbye_is_told_nothing() {
        let told_nothing: Vec<CloseCause> = CloseCause::ALL.into_iter().filter(|cause| !cause.is_announced()).collect();
        assert_eq!(told_nothing, [CloseCause::ClientClosed, CloseCause::ConnectionLost]);
    }
}
