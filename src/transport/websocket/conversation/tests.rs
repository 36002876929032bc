//! What goes out, byte for byte, for what comes in.

use std::{collections::VecDeque, task::Waker};

use actix_web::{dev::Payload, web::Bytes};

use super::*;

const RULES: FrameRules = FrameRules { max_message_bytes: 1_000, max_fragments: 4, binary: true };

/// Has this to say.
#[derive(Default)]
struct Script {
    output: VecDeque<Outgoing>,
    cause: Option<CloseCause>,
}

impl ConnectionHandler for Script {
    fn on_message(&mut self, message: Incoming<'_>, _now: Now) {
        self.output.push_back(match message {
            Incoming::Text(text) => Outgoing::Text(Bytes::copy_from_slice(text.as_bytes())),
            Incoming::Binary(bytes) => Outgoing::Binary(Bytes::copy_from_slice(bytes)),
        });
    }

    fn on_noise(&mut self, _bytes: usize, _now: Now) {}

    fn on_closed(&mut self, _code: Option<u16>) {
        self.output = [Outgoing::End(CloseCause::ClientClosed)].into();
        self.cause = Some(CloseCause::ClientClosed);
    }

    fn on_broken(&mut self, cause: CloseCause) {
        self.cause.get_or_insert(cause);
    }

    fn poll(&mut self, _now: Now, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn next_outgoing(&mut self) -> Option<Outgoing> {
        self.output.pop_front()
    }

    fn deadline(&self, now: Now) -> Instant {
        now.instant + Duration::from_secs(60)
    }

    fn cause(&self) -> Option<CloseCause> {
        self.cause
    }

    fn on_end(&mut self, _cause: CloseCause) {}
}

/// A masked frame of a client, whose mask is 0.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = 0x80 | u8::try_from(payload.len()).unwrap();
    [&[first, length, 0, 0, 0, 0][..], payload].concat()
}

/// Everything that is written while the client has sent just this and stays.
fn written(input: Vec<u8>, output: Vec<Outgoing>) -> Vec<Vec<u8>> {
    let chunk = futures_util::stream::iter([Ok(Bytes::from(input))]);
    let stream: std::pin::Pin<Box<dyn futures_util::Stream<Item = _>>> =
        Box::pin(futures_util::StreamExt::chain(chunk, futures_util::stream::pending()));
    let payload = Payload::Stream { payload: stream };
    let handler = Script { output: output.into(), cause: None };
    let mut conversation = Conversation::new(handler, payload, RULES, Duration::from_secs(5), Worker::start());
    let mut cx = Context::from_waker(Waker::noop());
    let mut writes = Vec::new();
    loop {
        let mut out = BytesMut::new();
        let turn = conversation.turn(&mut out, &mut cx);
        if !out.is_empty() {
            writes.push(out.to_vec());
        }
        if turn != Turn::Next {
            return writes;
        }
    }
}

#[actix_web::test]
async fn of_several_pings_the_last_is_answered() {
    let pings = [masked(0x89, b"a"), masked(0x89, b"b")].concat();
    assert_eq!(written(pings, vec![]), [b"\x8a\x01b"]);
}

#[actix_web::test]
async fn a_client_s_close_is_answered_and_a_ping_before_it_is_not() {
    let goodbye = [masked(0x89, b"a"), masked(0x88, &1000_u16.to_be_bytes())].concat();
    let answer = [&b"\x88\x0f\x03\xe8"[..], b"client_closed"].concat();
    assert_eq!(written(goodbye, vec![Outgoing::Ping]), [answer]);
}

#[actix_web::test]
async fn a_burst_is_one_write_of_about_16_kib() {
    let text = Bytes::from(vec![b'x'; 1_000]);
    let writes = written(vec![], vec![Outgoing::Text(text); 40]);
    let lengths: Vec<usize> = writes.iter().map(Vec::len).collect();
    assert_eq!(lengths, [17 * 1_004, 17 * 1_004, 6 * 1_004]);
}

#[actix_web::test]
async fn nothing_follows_the_close() {
    let output = vec![Outgoing::End(CloseCause::Complete), Outgoing::Ping];
    let writes = written(masked(0x81, b"later"), output);
    assert_eq!(writes.len(), 1, "{writes:?}");
    assert_eq!(writes[0], [&b"\x88\x0a\x11\x9e"[..], b"complete"].concat());
}
