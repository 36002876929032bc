//! One WebSocket connection of `ordercast watch`, from the handshake to its end.

use std::{
    io,
    time::{Duration, Instant, SystemTime},
};

use futures_util::{SinkExt, StreamExt};
use tokio::{net::TcpStream, time};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        ClientRequestBuilder, Error, Message,
        http::{HeaderMap, Response, Uri, header::RETRY_AFTER},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use url::Url;

use super::client::{Ending, OPEN_TIMEOUT};

/// How long the server may take to answer a goodbye.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);
/// How often silence is looked at. A clock that stands still while the machine sleeps would not tell.
const SILENCE_CHECK: Duration = Duration::from_secs(1);

/// An open connection.
pub(in crate::cli) struct Connection {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    heard_at: (Instant, SystemTime),
}

impl Connection {
    /// Connects with the token as a header, which stays out of access logs. White space around it is none of it.
    pub(in crate::cli) async fn open(url: &Url, token: &str) -> Result<Self, Ending> {
        let uri: Uri = url.as_str().parse().map_err(|_| Ending::lost("the address cannot be used"))?;
        let request = ClientRequestBuilder::new(uri).with_header("Authorization", format!("Bearer {}", token.trim()));
        match time::timeout(OPEN_TIMEOUT, connect_async(request)).await {
            Ok(Ok((socket, _))) => Ok(Self { socket, heard_at: (Instant::now(), SystemTime::now()) }),
            Ok(Err(Error::Http(answer))) => Err(refused(&answer)),
            Ok(Err(error)) => Err(lost(&error)),
            Err(_) => Err(Ending::lost("no answer")),
        }
    }

    /// The next text message, or how the connection ended. Frames of any kind count against `silence_limit`. Cancel safe.
    pub(in crate::cli) async fn next(&mut self, silence_limit: Duration) -> Result<String, Ending> {
        loop {
            let Ok(frame) = time::timeout(SILENCE_CHECK, self.socket.next()).await else {
                if self.silence() >= silence_limit {
                    return Err(Ending::lost("silence"));
                }
                continue;
            };
            self.heard_at = (Instant::now(), SystemTime::now());
            match frame {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(Message::Close(frame))) => return Err(closed(frame)),
                // Pings are answered by the library.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(lost(&error)),
                None => return Err(Ending::lost("connection lost")),
            }
        }
    }

    /// Sends a text message.
    pub(in crate::cli) async fn send(&mut self, text: String) -> Result<(), Ending> {
        self.socket.send(Message::text(text)).await.map_err(|error| lost(&error))
    }

    /// Says goodbye and waits a moment for the answer.
    pub(in crate::cli) async fn close(mut self) {
        let goodbye = async {
            let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
            if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        };
        // A server that does not answer is left without.
        let _ = time::timeout(GOODBYE_TIMEOUT, goodbye).await;
    }

    /// The longer of what both clocks say: one stands still while the machine sleeps, the other may be set.
    fn silence(&self) -> Duration {
        let (heard_at, heard_at_wall) = self.heard_at;
        heard_at.elapsed().max(heard_at_wall.elapsed().unwrap_or_default())
    }
}

fn closed(frame: Option<CloseFrame>) -> Ending {
    match frame {
        Some(frame) => Ending { code: Some(frame.code.into()), ..Ending::lost(frame.reason.as_str()) },
        None => Ending::lost("closed without a reason"),
    }
}

fn lost(error: &Error) -> Ending {
    match error {
        Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ending::lost("nobody listens there"),
        Error::ConnectionClosed | Error::AlreadyClosed => Ending::lost("connection lost"),
        error => Ending::lost(error.to_string()),
    }
}

fn refused(answer: &Response<Option<Vec<u8>>>) -> Ending {
    #[derive(serde::Deserialize)]
    struct Problem {
        detail: String,
    }
    let problem = answer.body().as_deref().and_then(|body| serde_json::from_slice::<Problem>(body).ok());
    let status = answer.status();
    let reason = problem.map_or_else(|| status.canonical_reason().unwrap_or("refused").to_owned(), |it| it.detail);
    Ending { http_status: Some(status.as_u16()), after: retry_after(answer.headers()), ..Ending::lost(reason) }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}
