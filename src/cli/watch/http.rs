//! What `ordercast watch` does where no WebSocket gets through: server-sent events, or polls. What is shown stands in each
//! request, so there is nothing to be sent besides.

use std::{collections::VecDeque, time::Duration};

use reqwest::{Client, Response, StatusCode, header::RETRY_AFTER};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;
use url::Url;

use super::{
    client::{Ending, OPEN_TIMEOUT},
    wire::Claims,
};

/// How long a poll waits for news.
const POLL: Duration = Duration::from_secs(25);
/// What the client goes by in place of a `welcome`, which polls have none of. Twice that is silence.
const POLLING: &str = r#"{"type":"welcome","user_id":null,"heartbeat_ms":25000}"#;
/// Says that all of it is there, where nothing differs.
const NOTHING_DIFFERS: &str =
    r#"{"type":"snapshot","partial":true,"first":true,"orders":[],"removed":[],"complete":true}"#;

/// A connection over HTTP.
pub(super) struct HttpConnection {
    http: Client,
    url: Url,
    token: String,
    /// Messages that have come and were not taken yet.
    heard: VecDeque<String>,
    source: Source,
}

enum Source {
    Events {
        answer: Response,
        /// Of the event that has not come to its end.
        text: Vec<u8>,
    },
    Polls {
        is_first: bool,
        is_last: bool,
    },
}

#[derive(Deserialize)]
struct Polled {
    frames: Vec<Box<RawValue>>,
    poll_again: bool,
}

impl HttpConnection {
    /// Asks for a stream of events. `url` is that of the WebSocket.
    pub(super) async fn events(url: &Url, token: &str, claims: Claims) -> Result<Self, Ending> {
        let (http, url) = (client()?, beside(url, "events")?);
        let asked = ask(&http, &url, token, &claims);
        let answer = timeout(OPEN_TIMEOUT, asked).await.map_err(|_| Ending::lost("no answer"))??;
        let source = Source::Events { answer, text: Vec::new() };
        Ok(Self { http, url, token: token.to_owned(), heard: VecDeque::new(), source })
    }

    /// Polls, from the first message that is wanted on.
    pub(super) fn polls(url: &Url, token: &str) -> Result<Self, Ending> {
        let (url, token) = (beside(url, "poll")?, token.to_owned());
        let source = Source::Polls { is_first: true, is_last: false };
        Ok(Self { http: client()?, url, token, heard: [POLLING.to_owned()].into(), source })
    }

    /// The next message, or how it ended. `claims` are what is shown by now. Cancel safe: a poll that is left is asked again.
    pub(super) async fn next(&mut self, silence_limit: Duration, claims: Claims) -> Result<String, Ending> {
        while self.heard.is_empty() {
            let more = timeout(silence_limit, self.hear(&claims));
            more.await.unwrap_or_else(|_| Err(Ending::lost("silence")))?;
        }
        Ok(self.heard.pop_front().unwrap_or_default())
    }

    async fn hear(&mut self, claims: &Claims) -> Result<(), Ending> {
        match &mut self.source {
            Source::Events { answer, text } => {
                let chunk = answer.chunk().await.map_err(|error| lost(&error))?;
                text.extend_from_slice(&chunk.ok_or_else(|| Ending::lost("connection lost"))?);
                while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
                    let event: Vec<u8> = text.drain(..end + 2).collect();
                    self.heard.extend(data_of(&String::from_utf8_lossy(&event)));
                }
            }
            Source::Polls { is_last: true, .. } => return Err(Ending::lost("connection lost")),
            Source::Polls { is_first, is_last } => {
                // The first asks how things are, and waits for no news.
                let wait = if *is_first { Duration::ZERO } else { POLL };
                let claims = Claims { wait_ms: Some(wait.as_millis() as u64), ..claims.clone() };
                let answer = ask(&self.http, &self.url, &self.token, &claims).await?;
                let polled: Polled = answer.json().await.map_err(|error| lost(&error))?;
                (*is_first, *is_last) = (false, !polled.poll_again);
                let tells_all = polled.frames.iter().any(|frame| frame.get().contains(r#""type":"snapshot""#));
                self.heard.extend((!tells_all).then(|| NOTHING_DIFFERS.to_owned()));
                self.heard.extend(polled.frames.iter().map(|frame| frame.get().to_owned()));
            }
        }
        Ok(())
    }
}

/// Goes straight to the address, as the WebSocket does.
fn client() -> Result<Client, Ending> {
    Client::builder().no_proxy().build().map_err(|error| Ending::lost(error.to_string()))
}

/// The address beside that of the WebSocket.
fn beside(url: &Url, name: &str) -> Result<Url, Ending> {
    let mut url = url.clone();
    let scheme = if url.scheme() == "wss" { "https" } else { "http" };
    let path = format!("{}/{name}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url.set_scheme(scheme).map_err(|()| Ending::lost("the address cannot be used"))?;
    Ok(url)
}

async fn ask(http: &Client, url: &Url, token: &str, claims: &Claims) -> Result<Response, Ending> {
    let answer =
        http.post(url.clone()).bearer_auth(token.trim()).json(claims).send().await.map_err(|error| lost(&error))?;
    if answer.status() == StatusCode::OK { Ok(answer) } else { Err(refused(answer).await) }
}

async fn refused(answer: Response) -> Ending {
    let status = answer.status();
    let after = answer.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
    let problem: Option<serde_json::Value> = answer.json().await.ok();
    let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
    let reason = detail.or(status.canonical_reason()).unwrap_or("refused").to_owned();
    Ending { http_status: Some(status.as_u16()), after: after.map(Duration::from_secs), ..Ending::lost(reason) }
}

fn lost(error: &reqwest::Error) -> Ending {
    // Its own text has the address in it.
    Ending::lost(if error.is_connect() { "nobody listens there" } else { "connection lost" })
}

/// The message of an event, if it has one.
fn data_of(event: &str) -> Option<String> {
    let lines: Vec<&str> = event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}
