//! Looks at every frame header as it arrives, before anything is buffered.
//!
//! The parser behind it compares a frame's length with its limit only once the whole frame is in memory; here a length
//! above the limit is refused when its header is read. The same for whatever else RFC 6455 forbids in a header.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix_web::{error::PayloadError, web::Bytes};
use futures_util::Stream;

use crate::protocol::CloseCause;

const MAX_CONTROL_BYTES: u64 = 125;

/// What frames a client may send.
#[derive(Debug, Clone, Copy)]
pub struct FrameRules {
    /// Longest message in bytes, all its fragments together.
    pub max_message_bytes: u64,
    /// Whether binary messages are accepted.
    pub binary: bool,
}

/// What the guard found wrong; shared with the connection.
#[derive(Debug, Clone, Default)]
pub struct Verdict(Rc<Cell<Option<CloseCause>>>);

impl Verdict {
    /// The violation, if there was one.
    pub fn get(&self) -> Option<CloseCause> {
        self.0.get()
    }
}

/// A stream of the client's bytes up to the first header that breaks a rule. What follows is read and thrown away, so
/// that our Close frame is not lost in a reset, which unread bytes would cause.
pub struct FrameGuard<S> {
    bytes: S,
    headers: Headers,
    verdict: Verdict,
}

impl<S> FrameGuard<S> {
    /// Guards `bytes`.
    pub fn new(bytes: S, rules: FrameRules) -> (Self, Verdict) {
        let verdict = Verdict::default();
        (Self { bytes, headers: Headers::new(rules), verdict: verdict.clone() }, verdict)
    }
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Stream for FrameGuard<S> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        while let Some(bytes) = ready!(Pin::new(&mut this.bytes).poll_next(cx)?) {
            if this.verdict.get().is_some() {
                continue;
            }
            let Err((sound, cause)) = this.headers.check(&bytes) else { return Poll::Ready(Some(Ok(bytes))) };
            this.verdict.0.set(Some(cause));
            if sound > 0 {
                return Poll::Ready(Some(Ok(bytes.slice(..sound))));
            }
        }
        Poll::Ready(None)
    }
}

/// Follows frame headers through chunks of any size.
#[derive(Debug)]
struct Headers {
    rules: FrameRules,
    /// The header's bytes so far; the longest that matters are two bytes and a 64-bit length.
    header: [u8; 10],
    header_len: usize,
    /// Masking key and payload still to come of the current frame.
    skip: u64,
    /// Bytes of the current message so far; `None` between messages.
    message_bytes: Option<u64>,
}

impl Headers {
    fn new(rules: FrameRules) -> Self {
        Self { rules, header: [0; 10], header_len: 0, skip: 0, message_bytes: None }
    }

    /// Follows one chunk. An error says how many bytes before the offending frame are sound.
    fn check(&mut self, chunk: &[u8]) -> Result<(), (usize, CloseCause)> {
        let mut at = 0;
        let mut frame_start = 0;
        while at < chunk.len() {
            if self.skip > 0 {
                let step = self.skip.min((chunk.len() - at) as u64);
                self.skip -= step;
                at += step as usize;
                continue;
            }
            if self.header_len == 0 {
                frame_start = at;
            }
            self.header[self.header_len] = chunk[at];
            self.header_len += 1;
            at += 1;
            self.step().map_err(|cause| (frame_start, cause))?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), CloseCause> {
        let [first, second, extended @ ..] = &self.header;
        let (opcode, is_final) = (first & 0x0f, first & 0x80 != 0);
        let is_control = opcode & 0x8 != 0;
        if self.header_len == 1 {
            let known = matches!(opcode, 0..=2 | 8..=10);
            // A continuation needs a message under way, and a new message none.
            let in_turn = is_control || (opcode == 0) == self.message_bytes.is_some();
            let reserved = first & 0x70 != 0;
            if !known || reserved || !in_turn || (is_control && !is_final) {
                return Err(CloseCause::ProtocolError);
            }
            if opcode == 2 && !self.rules.binary {
                return Err(CloseCause::BinaryNotSupported);
            }
            return Ok(());
        }
        let short = u64::from(second & 0x7f);
        if self.header_len == 2 {
            let masked = second & 0x80 != 0;
            // A Close frame has no payload or at least a code.
            if !masked || (is_control && short > MAX_CONTROL_BYTES) || (opcode == 8 && short == 1) {
                return Err(CloseCause::ProtocolError);
            }
        }
        let length = match (short, self.header_len) {
            (126, 4) => u64::from(u16::from_be_bytes([extended[0], extended[1]])),
            (127, 10) => u64::from_be_bytes(*extended),
            (126 | 127, _) => return Ok(()),
            (short, _) => short,
        };
        if !is_control {
            let message_bytes = self.message_bytes.unwrap_or(0).saturating_add(length);
            if message_bytes > self.rules.max_message_bytes {
                return Err(CloseCause::MessageTooBig);
            }
            self.message_bytes = (!is_final).then_some(message_bytes);
        }
        let masking_key = 4;
        self.skip = masking_key + length;
        self.header_len = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: FrameRules = FrameRules { max_message_bytes: 65_536, binary: false };

    fn frame(first: u8, payload_len: usize) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload_len {
            0..=125 => bytes.push(0x80 | payload_len as u8),
            126..=0xffff => {
                bytes.push(0x80 | 126);
                bytes.extend((payload_len as u16).to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend((payload_len as u64).to_be_bytes());
            }
        }
        bytes.resize(bytes.len() + 4 + payload_len, 0);
        bytes
    }

    fn check_in(chunk_len: usize, bytes: &[u8]) -> Result<(), CloseCause> {
        let mut headers = Headers::new(RULES);
        bytes.chunks(chunk_len).try_for_each(|chunk| headers.check(chunk).map_err(|(_, cause)| cause))
    }

    #[test]
    fn sound_frames_pass_in_chunks_of_any_size() {
        let stream: Vec<u8> = [
            frame(0x81, 0),
            frame(0x81, 126),
            frame(0x01, 40_000),
            frame(0x89, 125),
            frame(0x80, 25_536),
            frame(0x8a, 0),
            frame(0x88, 2),
        ]
        .concat();
        for chunk_len in [1, 2, 3, 7, 1000, stream.len()] {
            assert_eq!(check_in(chunk_len, &stream), Ok(()), "{chunk_len}");
        }
    }

    #[test]
    fn a_declared_length_above_the_limit_is_refused_by_its_header_alone() {
        let mut endless = vec![0x81, 0xff];
        endless.extend((1u64 << 40).to_be_bytes());
        assert_eq!(check_in(1, &endless), Err(CloseCause::MessageTooBig));
        let fragments = [frame(0x01, 60_000), frame(0x00, 5_536), frame(0x00, 1)].concat();
        assert_eq!(check_in(4096, &fragments), Err(CloseCause::MessageTooBig));
    }

    #[test]
    fn what_rfc_6455_forbids_in_a_header_is_refused() {
        let cases: [(&str, Vec<u8>, CloseCause); 8] = [
            ("unmasked", vec![0x81, 0x01], CloseCause::ProtocolError),
            ("reserved bit", frame(0xc1, 1), CloseCause::ProtocolError),
            ("unknown opcode", frame(0x83, 1), CloseCause::ProtocolError),
            ("fragmented control frame", frame(0x09, 1), CloseCause::ProtocolError),
            ("long control frame", frame(0x89, 126), CloseCause::ProtocolError),
            ("continuation of nothing", frame(0x80, 1), CloseCause::ProtocolError),
            ("new message inside a message", [frame(0x01, 1), frame(0x81, 1)].concat(), CloseCause::ProtocolError),
            ("binary", frame(0x82, 1), CloseCause::BinaryNotSupported),
        ];
        for (name, bytes, cause) in cases {
            assert_eq!(check_in(1, &bytes), Err(cause), "{name}");
        }
    }

    #[test]
    fn what_came_before_the_offending_frame_passes() {
        let good = frame(0x81, 5);
        let stream = [good.clone(), frame(0x83, 1)].concat();
        assert_eq!(Headers::new(RULES).check(&stream), Err((good.len(), CloseCause::ProtocolError)));
    }
}
