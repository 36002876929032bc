//! Server-sent events (WHATWG HTML, 9.2): a session as an answer that does not end. Each message is an event without a name, so
//! that `onmessage` sees all of them; the client has no way to say anything.
//!
//! A browser's EventSource comes back by itself whenever the answer ends, to the same address, and nothing but the status 204
//! ends it for good. So the last event of an end that coming back cannot cure has an id, which EventSource sends along: who comes
//! with such an id is answered 204.

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    body::{BodySize, MessageBody},
    http::header::CACHE_CONTROL,
    web::Bytes,
};
use bytes::{BufMut, BytesMut};

use super::{ViewerConnection, Worker, progress::SendProgress, worker::Alarm};
use crate::{
    protocol::{CloseCause, Closing, ServerMessage},
    session::{Now, Output},
};

/// How operators see it, in the list of sessions and in metrics.
pub const NAME: &str = "sse";
/// The type of the answer.
pub const CONTENT_TYPE: &str = "text/event-stream";
/// Begins the ids of events behind which nobody is to come back.
const STOP: &str = "stop-";
/// What stands for WebSocket's code 1013, "try again later", where there is no session yet that could end.
const TRY_AGAIN: u16 = 1013;
/// When a client is to come back that was told no other time: from here on, within [`RETRY_SPREAD`].
const RETRY: Duration = Duration::from_secs(2);
const RETRY_SPREAD: Duration = Duration::from_secs(3);
/// Bytes put together at once, unless a single message is longer.
const WRITE_BYTES: usize = 16 * 1024;

/// Whether an event's id, as a client sends it when it comes back, says that it must not.
pub fn is_stop(last_event_id: &str) -> bool {
    last_event_id.starts_with(STOP)
}

/// The answer that shows this session. `send_timeout` is the one that ends a reader without progress.
pub fn answer(viewer: ViewerConnection, worker: Rc<Worker>, send_timeout: Duration) -> HttpResponse {
    let body = EventStream {
        viewer,
        alarm: Alarm::new(worker.clone()),
        worker,
        progress: SendProgress::new(send_timeout),
        stage: Stage::Beginning,
    };
    stream().body(body)
}

/// The answer to who cannot have a session now, for this reason: EventSource gives up for good at any status but 200.
pub fn refusal(reason: &'static str, reconnect_after: Duration) -> HttpResponse {
    let after = millis(reconnect_after + RETRY_SPREAD.mul_f64(rand::random()));
    let message =
        ServerMessage::Closing { code: TRY_AGAIN, reason, retry: true, reconnect_after_ms: Some(after) }.message();
    let mut out = BytesMut::new();
    put_retry(&mut out, after);
    put(&mut out, message.bytes());
    stream().body(out.freeze())
}

/// What holds for every such answer: proxies pass on each event as it comes.
fn stream() -> HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    answer
        .content_type(CONTENT_TYPE)
        .insert_header((CACHE_CONTROL, "no-store, no-transform"))
        .insert_header(("X-Accel-Buffering", "no"))
        .force_close();
    answer
}

/// The body of the answer, which actix's dispatcher polls whenever the socket has taken what was written. A client that is
/// gone without a word is found out by the kernel, whose bytes it takes no more.
struct EventStream {
    viewer: ViewerConnection,
    worker: Rc<Worker>,
    alarm: Alarm,
    /// That more is asked for is the sign that bytes were taken.
    progress: SendProgress,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was written.
    Beginning,
    Open,
    /// Nothing is written any more.
    Over,
    /// A panic left it as it is.
    Broken,
}

impl MessageBody for EventStream {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        match catch_unwind(AssertUnwindSafe(|| this.turn(cx))) {
            Ok(turn) => turn.map(|bytes| bytes.map(Ok)),
            // The panic hook has logged and counted it.
            Err(_) => {
                this.stage = Stage::Broken;
                Poll::Ready(None)
            }
        }
    }
}

impl EventStream {
    /// What is to be written next; `None`: nothing any more.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.progress.on_taken();
        let worker = self.worker.clone();
        let mut out = worker.write_buffer();
        loop {
            if matches!(self.stage, Stage::Over | Stage::Broken) {
                return Poll::Ready(None);
            }
            let now = Now::read();
            self.viewer.on_alive(now);
            let rests = self.viewer.poll(now, cx).is_pending();
            self.take_output(&mut out);
            let waits = rests
                && out.len() < WRITE_BYTES
                && self.alarm.poll(self.viewer.deadline(now), now.instant, cx).is_pending();
            if !out.is_empty() {
                self.progress.on_handed_over(now.instant);
                return Poll::Ready(Some(out.split().freeze()));
            }
            if waits {
                return Poll::Pending;
            }
        }
    }

    fn take_output(&mut self, out: &mut BytesMut) {
        if self.stage == Stage::Beginning {
            self.stage = Stage::Open;
            put_retry(out, millis(RETRY + RETRY_SPREAD.mul_f64(rand::random())));
            out.put_u8(b'\n');
        }
        while out.len() < WRITE_BYTES
            && let Some(output) = self.viewer.next_output()
        {
            match output {
                Output::Message(message) => put(out, message.bytes()),
                Output::Closing(closing) => put_closing(out, closing),
                Output::Probe => {}
                Output::End(_) => self.stage = Stage::Over,
            }
        }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        let cause = match self.stage {
            Stage::Broken => CloseCause::InternalError,
            _ => self.viewer.cause().unwrap_or_else(|| self.progress.cause_of_loss(Instant::now())),
        };
        // What panicked once may do so again.
        let _ = catch_unwind(AssertUnwindSafe(|| self.viewer.on_end(cause)));
    }
}

fn put_closing(out: &mut BytesMut, closing: Closing) {
    let message = closing.message();
    // The address, which the client comes back to, has the token in it.
    if closing.cause.is_final_for_token() {
        out.put_slice(format!("id: {STOP}{}\n", closing.cause.code()).as_bytes());
    } else if let Some(after) = closing.reconnect_after {
        put_retry(out, millis(after));
    }
    put(out, message.bytes());
}

fn put_retry(out: &mut BytesMut, millis: u64) {
    out.put_slice(format!("retry: {millis}\n").as_bytes());
}

/// Appends one event. A line break, which `details` may have, begins another line of it.
fn put(out: &mut BytesMut, text: &[u8]) {
    out.reserve(text.len() + 8);
    for line in lines(text) {
        out.put_slice(b"data: ");
        out.put_slice(line);
        out.put_u8(b'\n');
    }
    out.put_u8(b'\n');
}

/// The lines of a text that end with CR LF, LF or CR.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(at) = text.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else { return rest.take() };
        let behind = &text[at..];
        rest = Some(behind.strip_prefix(b"\r\n").unwrap_or(&behind[1..]));
        Some(&text[..at])
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> String {
        let mut out = BytesMut::new();
        put(&mut out, text.as_bytes());
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn each_line_of_a_message_is_a_line_of_its_event() {
        for (text, written) in [
            ("{}", "data: {}\n\n"),
            ("", "data: \n\n"),
            ("a\nb", "data: a\ndata: b\n\n"),
            ("a\r\nb", "data: a\ndata: b\n\n"),
            ("a\rb\n", "data: a\ndata: b\ndata: \n\n"),
            ("\n\r", "data: \ndata: \ndata: \n\n"),
            ("\r\n\r\nü", "data: \ndata: \ndata: ü\n\n"),
        ] {
            assert_eq!(event(text), written, "{text:?}");
        }
    }

    #[test]
    fn an_end_says_when_to_come_back_or_that_nobody_is_to() {
        for (cause, after, begins) in [
            (CloseCause::ServerRestart, Some(Duration::from_millis(1500)), "retry: 1500\ndata: {"),
            (CloseCause::Disconnected, None, "data: {"),
            (CloseCause::TokenExpired, None, "id: stop-4005\ndata: {"),
            (CloseCause::Revoked, None, "id: stop-4503\ndata: {"),
            (CloseCause::Complete, None, "id: stop-4510\ndata: {"),
        ] {
            let mut out = BytesMut::new();
            put_closing(&mut out, Closing { cause, reconnect_after: after });
            let text = String::from_utf8(out.to_vec()).unwrap();
            assert!(text.starts_with(begins) && text.ends_with("}\n\n"), "{text}");
            assert!(text.contains(&format!(r#""code":{}"#, cause.code())), "{text}");
        }
        assert!(is_stop("stop-4503") && !is_stop("") && !is_stop("7"));
    }
}
