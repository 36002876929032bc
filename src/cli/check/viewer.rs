//! One viewer of a check: connects, reads, and breaks its own connection now and then, as networks and people do.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::board::Board;
use crate::cli::watch::{
    client::{Client, Ending, Next, Step},
    connection::Connection,
    screen::why,
};

/// How long a viewer that does not read takes nothing.
const STALL: Duration = Duration::from_secs(2);
/// How long a viewer that broke its connection stays away at most.
const LONGEST_ABSENCE: Duration = Duration::from_secs(1);

/// Somebody who watches.
pub(super) struct Viewer {
    pub(super) number: usize,
    pub(super) url: Url,
    pub(super) token: String,
    pub(super) board: Arc<Board>,
    /// How long it leaves its connection alone, on average.
    pub(super) peace: Duration,
    /// From then on it does so for good.
    pub(super) calm: CancellationToken,
    /// Asks it to leave.
    pub(super) stop: CancellationToken,
}

/// Why a connection is not read any more.
enum Left {
    Stopped,
    Broken { politely: bool },
    Ended(Ending),
}

impl Viewer {
    /// Watches until it is stopped, or told not to come back.
    pub(super) async fn watch(self) {
        let mut client = Client::default();
        loop {
            let mut url = self.url.clone();
            if client.waits_for_sync() {
                url.query_pairs_mut().append_pair("sync", "wait");
            }
            let opened = tokio::select! {
                opened = Connection::open(&url, &self.token) => opened,
                () = self.stop.cancelled() => return,
            };
            let left = match opened {
                Ok(connection) => self.follow(&mut client, connection).await,
                Err(ending) => Left::Ended(ending),
            };
            let ours = matches!(left, Left::Broken { .. });
            self.board.on_disconnected(self.number, ours);
            let ending = match left {
                Left::Stopped => return,
                Left::Broken { .. } => Ending { after: Some(absence()), ..Ending::lost("broken on purpose") },
                Left::Ended(ending) => ending,
            };
            match client.on_ended(&ending, Instant::now(), rand::random()) {
                Next::Reconnect { after, with_new_token: false } => tokio::select! {
                    () = sleep(after) => {}
                    () = self.stop.cancelled() => return,
                },
                Next::Stop | Next::Reconnect { with_new_token: true, .. } => {
                    self.board.on_stopped(self.number, why(&ending));
                    return;
                }
            }
        }
    }

    /// Inputs: messages, the end of peace, stop.
    async fn follow(&self, client: &mut Client, mut connection: Connection) -> Left {
        let left = 'connected: loop {
            let peace = sleep(self.peace.mul_f64(rand::random_range(0.5..1.5)));
            tokio::pin!(peace);
            loop {
                let text = tokio::select! {
                    text = connection.next(client.silence_limit()) => text,
                    () = &mut peace, if !self.calm.is_cancelled() => break,
                    () = self.stop.cancelled() => break 'connected Left::Stopped,
                };
                match text {
                    Ok(text) => {
                        if let Some(ending) = self.take(client, &mut connection, &text).await {
                            break 'connected Left::Ended(ending);
                        }
                    }
                    Err(ending) => break 'connected Left::Ended(ending),
                }
            }
            match rand::random_range(0..3) {
                0 => {
                    sleep(STALL).await;
                    self.board.on_stalled(self.number, Instant::now());
                }
                kind => break Left::Broken { politely: kind == 1 },
            }
        };
        if matches!(left, Left::Stopped | Left::Broken { politely: true }) {
            connection.close().await;
        }
        left
    }

    async fn take(&self, client: &mut Client, connection: &mut Connection, text: &str) -> Option<Ending> {
        let now = Instant::now();
        if let Ok(message) = serde_json::from_str(text) {
            self.board.on_message(self.number, message, now);
        }
        for step in client.on_text(text, now) {
            match step {
                Step::Show(_) => {}
                Step::Send(text) => {
                    if let Err(ending) = connection.send(text).await {
                        return Some(ending);
                    }
                }
                Step::End(ending) => return Some(ending),
            }
        }
        None
    }
}

fn absence() -> Duration {
    LONGEST_ABSENCE.mul_f64(rand::random())
}
