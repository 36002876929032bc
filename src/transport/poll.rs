//! Long polling: a session for as long as one answer takes. Its client says what it shows, and is told what differs, at once or
//! as soon as something does; nothing is kept between two polls, so any instance can answer the next.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::timeout_at;

use super::ViewerConnection;
use crate::{
    protocol::{CloseCause, Message},
    session::{Now, Output},
};

/// How operators see it, in the list of sessions and in metrics.
pub const NAME: &str = "poll";
/// What comes so soon behind the first message goes with it.
const GATHERING: Duration = Duration::from_millis(20);

/// What a poll is answered with.
#[derive(Debug, Default)]
pub struct Polled {
    /// What differs, in the order in which a client is to apply it.
    pub messages: Vec<Message>,
    /// Another poll with the same token would be refused.
    pub is_last: bool,
}

/// Answers a poll: once something differs, and after `wait` in any case, but never before what is shown was compared. Dropping it
/// ends the session.
pub async fn poll(viewer: ViewerConnection, wait: Duration) -> Polled {
    let mut poll = OpenPoll { viewer, polled: Polled::default(), end: None };
    let mut ends = Instant::now() + wait;
    while poll.end.is_none() && (!poll.viewer.has_started() || Instant::now() < ends) {
        let deadline = poll.viewer.deadline(Now::read());
        let at = if poll.viewer.has_started() { deadline.min(ends) } else { deadline };
        let was_empty = poll.polled.messages.is_empty();
        // Not in time: a deadline of the session's, or the poll's.
        let _ = timeout_at(at.into(), poll_fn(|cx| poll.turn(cx))).await;
        if was_empty && !poll.polled.messages.is_empty() {
            ends = ends.min(Instant::now() + GATHERING);
        }
    }
    poll.end.get_or_insert(CloseCause::ClientClosed);
    std::mem::take(&mut poll.polled)
}

struct OpenPoll {
    viewer: ViewerConnection,
    polled: Polled,
    /// Why it is over.
    end: Option<CloseCause>,
}

impl OpenPoll {
    /// Pending: there is nothing to be told.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Now::read();
        // It waits for our answer.
        self.viewer.on_alive(now);
        let rests = self.viewer.poll(now, cx).is_pending();
        let told = self.polled.messages.len();
        while let Some(output) = self.viewer.next_output() {
            match output {
                Output::Message(message) => self.polled.messages.push(message),
                Output::Closing(closing) => {
                    self.polled.is_last = closing.cause.is_final_for_token();
                    self.polled.messages.push(closing.message());
                }
                Output::Probe => {}
                Output::End(cause) => self.end = Some(cause),
            }
        }
        if rests && self.end.is_none() && self.polled.messages.len() == told { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Drop for OpenPoll {
    fn drop(&mut self) {
        self.viewer.on_end(self.end.unwrap_or(CloseCause::ConnectionLost));
    }
}
