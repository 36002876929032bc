//! How a session is carried: one file per transport. What all of them share is here: bytes in, what was heard out.

mod bare;
mod websocket;

/// A way to hold a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Transport {
    /// The service's WebSocket
    Websocket,
    /// Frames as they come, without a handshake and without an answer: the raw floor
    #[value(skip)]
    Bare,
}

/// Whom a request is addressed to.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// As in the `Host` header.
    pub(super) host: String,
    /// With its query.
    pub(super) path: String,
}

/// What is made of the beginning of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// More has to come.
    Incomplete,
    /// The session is open; so many bytes were the answer.
    Accepted(usize),
    /// It is not to be.
    Refused(Refusal),
}

/// Why a session was not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: String,
    /// Seconds after which to try again, where that makes sense.
    pub(super) retry_after: Option<u64>,
}

impl Refusal {
    /// For this reason, which may be over in a moment.
    pub(super) fn soon(reason: String) -> Self {
        Self { reason, retry_after: Some(0) }
    }
}

/// One thing that the server said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard<'a> {
    /// A message.
    Text(&'a [u8]),
    /// Wants an answer.
    Ping(&'a [u8]),
    /// Nothing to do about it.
    Nothing,
    /// The server says goodbye, with this code.
    Goodbye(Option<u16>),
}

/// The bytes are not what the transport carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

impl Transport {
    /// What opens a session; empty where nothing is said.
    pub(super) fn request(self, target: &Target, token: &str) -> Vec<u8> {
        match self {
            Self::Websocket => websocket::request(target, token),
            Self::Bare => Vec::new(),
        }
    }

    /// What the server answered.
    pub(super) fn answer(self, bytes: &[u8]) -> Answer {
        match self {
            Self::Websocket => websocket::answer(bytes),
            Self::Bare => Answer::Accepted(0),
        }
    }

    /// The first thing of `bytes` and how many bytes it took; `None` until it has come whole.
    pub(super) fn next(self, bytes: &[u8]) -> Result<Option<(Heard<'_>, usize)>, Broken> {
        match self {
            Self::Websocket | Self::Bare => websocket::next(bytes),
        }
    }

    /// What answers a [`Heard::Ping`].
    pub(super) fn pong(self, ping: &[u8]) -> Vec<u8> {
        match self {
            Self::Websocket => websocket::masked(websocket::PONG, ping),
            Self::Bare => bare::NOTHING,
        }
    }

    /// What asks the server for a sign of life.
    pub(super) fn ping(self) -> Vec<u8> {
        match self {
            Self::Websocket => websocket::masked(websocket::PING, b""),
            Self::Bare => bare::NOTHING,
        }
    }

    /// What says goodbye.
    pub(super) fn goodbye(self) -> Vec<u8> {
        match self {
            Self::Websocket => websocket::masked(websocket::CLOSE, &1000u16.to_be_bytes()),
            Self::Bare => bare::NOTHING,
        }
    }

    /// Whether the other end talks: says welcome, and sends a snapshot.
    pub(super) fn talks(self) -> bool {
        self != Self::Bare
    }
}
