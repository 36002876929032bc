//! `ordercast watch`: follows the orders a token may see, as a page would.
//!
//! [`client`] decides, [`connection`] or [`http`] carries, [`screen`] writes down; this file runs them.

pub(super) mod client;
pub(super) mod connection;
mod http;
pub(super) mod screen;
#[cfg(test)]
mod tests;
pub(super) mod wire;

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use jiff::{Timestamp, tz::TimeZone};
use tokio::time;
use url::Url;

use super::{
    block_on,
    context::Context,
    error::CommandError,
    output::{print, say},
    signals::Signals,
};
use client::{Client, Ending, Next, Notice, State, Step};
use connection::Connection;
use http::HttpConnection;
use screen::Screen;

/// How long *live* is held back.
const STALE_MAY_FOLLOW: Duration = Duration::from_millis(100);

/// Arguments of `ordercast watch`.
#[derive(Debug, Args)]
pub(super) struct Watch {
    /// Where the service is: ws://HOST:PORT/order-status, or http://HOST:PORT [default: the `ordercast dev` of this
    /// directory]
    #[arg(long, value_parser = websocket_url)]
    url: Option<Url>,
    /// The token [default: that of the `ordercast dev` of this directory]
    #[arg(long)]
    token: Option<String>,
    /// What to connect by
    #[arg(long, value_enum, default_value_t)]
    transport: Transport,
    /// Print what the server sends as it is, one message per line; everything else goes to stderr
    #[arg(long)]
    json: bool,
}

/// What carries the messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Transport {
    /// A WebSocket
    #[default]
    Websocket,
    /// Server-sent events
    Sse,
    /// Long polling
    Poll,
}

/// A connection by one of them.
enum Way {
    Socket(Box<Connection>),
    Http(Box<HttpConnection>),
}

impl Way {
    async fn open(transport: Transport, mut url: Url, token: &str, client: &Client) -> Result<Self, Ending> {
        match transport {
            Transport::Websocket => {
                if client.waits_for_sync() {
                    url.query_pairs_mut().append_pair("sync", "wait");
                }
                Ok(Self::Socket(Connection::open(&url, token).await?.into()))
            }
            Transport::Sse => Ok(Self::Http(HttpConnection::events(&url, token, client.claims()).await?.into())),
            Transport::Poll => Ok(Self::Http(HttpConnection::polls(&url, token)?.into())),
        }
    }

    async fn next(&mut self, client: &Client) -> Result<String, Ending> {
        match self {
            Self::Socket(socket) => socket.next(client.silence_limit()).await,
            Self::Http(http) => http.next(client.silence_limit(), client.claims()).await,
        }
    }

    /// A request has said all there is to be said.
    async fn send(&mut self, text: String) -> Result<(), Ending> {
        match self {
            Self::Socket(socket) => socket.send(text).await,
            Self::Http(_) => Ok(()),
        }
    }

    async fn close(self) {
        match self {
            Self::Socket(socket) => socket.close().await,
            Self::Http(_) => {}
        }
    }
}

impl Watch {
    /// Watches until it is interrupted, or told not to come back.
    pub(super) fn run(self, context: &Context) -> Result<(), CommandError> {
        let dev = if self.url.is_some() && self.token.is_some() { None } else { context.dev()? };
        let dev_url = dev.as_ref().map(|dev| websocket_url(&dev.websocket_url)).transpose();
        let url = self.url.clone().or(dev_url.map_err(CommandError::Failed)?);
        let token = self.token.clone().or(dev.map(|dev| dev.token));
        let (Some(url), Some(token)) = (url, token) else {
            let reason = "no `ordercast dev` has left its address in this directory: give --url and --token";
            return Err(CommandError::Usage(reason.to_owned()));
        };
        block_on(async {
            let watching =
                Watching { client: Client::default(), screen: Screen::new(TimeZone::system()), watch: &self };
            watching.run(url, token, context).await
        })?
    }
}

struct Watching<'a> {
    client: Client,
    screen: Screen,
    watch: &'a Watch,
}

/// Why a connection is not read any more.
enum Left {
    Interrupted,
    Ended(Ending),
}

impl Watching<'_> {
    async fn run(mut self, url: Url, mut token: String, context: &Context) -> Result<(), CommandError> {
        let mut signals = Signals::listen().map_err(CommandError::failed)?;
        loop {
            let opened = tokio::select! {
                opened = Way::open(self.watch.transport, url.clone(), &token, &self.client) => opened,
                () = signals.next() => return Ok(()),
            };
            let ending = match opened {
                Ok(mut connection) => {
                    let left = tokio::select! {
                        left = self.follow(&mut connection) => left?,
                        () = signals.next() => Left::Interrupted,
                    };
                    connection.close().await;
                    match left {
                        Left::Interrupted => return Ok(()),
                        Left::Ended(ending) => ending,
                    }
                }
                Err(ending) => ending,
            };
            let stopped = || Err(CommandError::Failed(format!("stopped: {}", screen::why(&ending))));
            let after = match self.client.on_ended(&ending, Instant::now(), rand::random()) {
                Next::Stop => return stopped(),
                Next::Reconnect { after, with_new_token } => {
                    if with_new_token {
                        let new = self.new_token(&token, context)?;
                        let Some(new) = new else { return stopped() };
                        token = new;
                    }
                    after
                }
            };
            self.tell(self.screen.reconnecting(&ending, after, Timestamp::now()))?;
            tokio::select! {
                () = time::sleep(after) => {}
                () = signals.next() => return Ok(()),
            }
        }
    }

    /// Shows what comes until the connection ends.
    async fn follow(&mut self, connection: &mut Way) -> Result<Left, CommandError> {
        // Where a `stale` is due it comes right behind the snapshot: *live* is said when none has come.
        let mut held = None;
        loop {
            let next = connection.next(&self.client);
            let next = match &held {
                None => next.await,
                Some(live) => match time::timeout(STALE_MAY_FOLLOW, next).await {
                    Ok(next) => next,
                    Err(_) => {
                        self.show(live)?;
                        held = None;
                        continue;
                    }
                },
            };
            let text = match next {
                Ok(text) => text,
                Err(ending) => return Ok(Left::Ended(ending)),
            };
            if self.watch.json {
                // JSON has line breaks only between its parts.
                print(text.replace(['\n', '\r'], " "))?;
            }
            for step in self.client.on_text(&text, Instant::now()) {
                match step {
                    Step::Show(notice @ Notice::State(State::Live)) => held = Some(notice),
                    Step::Show(notice) => {
                        if matches!(notice, Notice::State(_)) {
                            held = None;
                        }
                        self.show(&notice)?;
                    }
                    Step::Send(text) => {
                        if let Err(ending) = connection.send(text).await {
                            return Ok(Left::Ended(ending));
                        }
                    }
                    Step::End(ending) => return Ok(Left::Ended(ending)),
                }
            }
        }
    }

    fn show(&self, notice: &Notice) -> Result<(), CommandError> {
        // With --json the message itself has been printed; what was concluded from all of them is worth telling.
        if self.watch.json && !matches!(notice, Notice::State(_)) {
            return Ok(());
        }
        self.tell(self.screen.lines(notice, Timestamp::now()))
    }

    /// Writes to stdout, or with --json beside it.
    fn tell(&self, lines: String) -> Result<(), CommandError> {
        if self.watch.json {
            say(lines);
            return Ok(());
        }
        print(lines)
    }

    /// A fixed token cannot be renewed; `ordercast dev` may have written another one.
    fn new_token(&self, expired: &str, context: &Context) -> Result<Option<String>, CommandError> {
        if self.watch.token.is_some() {
            return Ok(None);
        }
        Ok(context.dev()?.map(|dev| dev.token).filter(|token| token != expired))
    }
}

/// Accepts a page's address as well.
pub(super) fn websocket_url(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| error.to_string())?;
    let scheme = match url.scheme() {
        "ws" | "http" => "ws",
        "wss" | "https" => "wss",
        other => return Err(format!("{other}: is not ws, wss, http or https")),
    };
    url.set_scheme(scheme).map_err(|()| "is not an address to connect to".to_owned())?;
    if url.path() == "/" {
        url.set_path("/order-status");
    }
    Ok(url)
}
