//! From the client's bytes to messages: RFC 6455 as far as a server reads it.
//!
//! Pure, and strict at the earliest byte: a length above the limit is refused when the header is read, bad text when its
//! first bad byte comes, so no more than a message of the largest size is ever held. Called by a connection with the
//! chunks that the socket gives, of any size.

use std::ops::RangeInclusive;

use actix_web::web::{Buf, Bytes};

use crate::protocol::CloseCause;

const MAX_CONTROL_BYTES: u64 = 125;
/// RFC 6455, 5.2: a length has its shortest form, and the top bit of the longest is 0.
const TWO_BYTES: RangeInclusive<u64> = 126..=0xffff;
const EIGHT_BYTES: RangeInclusive<u64> = 0x1_0000..=u64::MAX >> 1;

/// What frames a client may send.
#[derive(Debug, Clone, Copy)]
pub struct FrameRules {
    /// Longest message in bytes, all its fragments together.
    pub max_message_bytes: u64,
    /// Most fragments of a message; empty ones cost no bytes.
    pub max_fragments: u32,
    /// Whether binary messages are accepted.
    pub binary: bool,
}

/// Something whole that the client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A Ping with its payload.
    Ping(Vec<u8>),
    /// A Pong.
    Pong,
    /// A Close frame with its code. Nothing is read after it.
    Close(Option<u16>),
}

/// Reads one client's frames.
#[derive(Debug)]
pub struct FrameReader {
    rules: FrameRules,
    chunk: Bytes,
    header: Header,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// The message under way, from its first frame on.
    message: Option<Message>,
    /// The payload of a control frame, which may come between the fragments of a message.
    control: Vec<u8>,
    /// A rule was broken, or the client has closed: what follows is thrown away.
    done: bool,
}

/// The header's bytes so far; the longest has two, a 64-bit length and the masking key.
#[derive(Debug, Default)]
struct Header {
    bytes: [u8; 14],
    len: usize,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: Opcode,
    is_final: bool,
    mask: [u8; 4],
    /// Payload read so far, which tells the place in the mask, and still to come.
    read: u64,
    left: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn of(first_byte: u8) -> Option<Self> {
        Some(match first_byte & 0x0f {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

#[derive(Debug)]
struct Message {
    is_text: bool,
    /// Declared by the headers so far.
    declared_bytes: u64,
    fragments: u32,
    payload: Vec<u8>,
    /// How much of a text is known to be UTF-8.
    valid_up_to: usize,
}

impl FrameReader {
    /// A reader at the first frame.
    pub fn new(rules: FrameRules) -> Self {
        Self {
            rules,
            chunk: Bytes::new(),
            header: Header::default(),
            frame: None,
            message: None,
            control: Vec::new(),
            done: false,
        }
    }

    /// Takes the next bytes, once [`read`](Self::read) has nothing more.
    pub fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty(), "the last chunk has been read");
        // Bytes after the end are still taken from the socket: unread ones would turn our Close frame into a reset.
        if !self.done {
            self.chunk = chunk;
        }
    }

    /// Reads on. `None`: more bytes are needed. An error is the last answer.
    pub fn read(&mut self) -> Option<Result<Received, CloseCause>> {
        while !self.done && (!self.chunk.is_empty() || self.frame.is_some_and(|frame| frame.left == 0)) {
            let read = match self.frame {
                Some(frame) => self.read_payload(frame),
                None => self.read_header().map(|()| None),
            };
            let Some(read) = read.transpose() else { continue };
            if matches!(read, Err(_) | Ok(Received::Close(_))) {
                self.done = true;
                self.chunk.clear();
                self.message = None;
            }
            return Some(read);
        }
        None
    }

    /// Room taken by the message or control frame under way. A growing message has room for twice its bytes at most.
    pub fn held_bytes(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.payload.capacity()) + self.control.capacity()
    }

    fn read_header(&mut self) -> Result<(), CloseCause> {
        self.header.bytes[self.header.len] = self.chunk.get_u8();
        self.header.len += 1;
        let [first, second, rest @ ..] = self.header.bytes;
        let opcode = Opcode::of(first).ok_or(CloseCause::ProtocolError)?;
        let (is_final, is_control) = (first & 0x80 != 0, opcode.is_control());
        if self.header.len == 1 {
            // A continuation needs a message under way, and a new message none.
            let in_turn = is_control || (opcode == Opcode::Continuation) == self.message.is_some();
            let reserved = first & 0x70 != 0;
            if reserved || !in_turn || (is_control && !is_final) {
                return Err(CloseCause::ProtocolError);
            }
            if opcode == Opcode::Binary && !self.rules.binary {
                return Err(CloseCause::BinaryNotSupported);
            }
            return Ok(());
        }
        let (masked, short) = (second & 0x80 != 0, u64::from(second & 0x7f));
        // A Close frame has no payload or at least a code.
        if !masked || (is_control && short > MAX_CONTROL_BYTES) || (opcode == Opcode::Close && short == 1) {
            return Err(CloseCause::ProtocolError);
        }
        let (length_bytes, length, lengths) = match short {
            126 => (2, u64::from(u16::from_be_bytes([rest[0], rest[1]])), TWO_BYTES),
            127 => {
                let bytes = [rest[0], rest[1], rest[2], rest[3], rest[4], rest[5], rest[6], rest[7]];
                (8, u64::from_be_bytes(bytes), EIGHT_BYTES)
            }
            short => (0, short, 0..=125),
        };
        // As soon as the length is there, before the mask.
        if self.header.len == 2 + length_bytes {
            if !lengths.contains(&length) {
                return Err(CloseCause::ProtocolError);
            }
            self.declare(opcode, length)?;
        }
        if self.header.len == 2 + length_bytes + 4 {
            let [.., a, b, c, d] = self.header.bytes[..self.header.len] else { return Ok(()) };
            self.frame = Some(Frame { opcode, is_final, mask: [a, b, c, d], read: 0, left: length });
            self.header = Header::default();
        }
        Ok(())
    }

    /// Judges a frame by what its header says.
    fn declare(&mut self, opcode: Opcode, length: u64) -> Result<(), CloseCause> {
        if opcode.is_control() {
            self.control.clear();
            return Ok(());
        }
        let message = self.message.get_or_insert_with(|| Message {
            is_text: opcode == Opcode::Text,
            declared_bytes: 0,
            fragments: 0,
            payload: Vec::new(),
            valid_up_to: 0,
        });
        message.declared_bytes = message.declared_bytes.saturating_add(length);
        message.fragments = message.fragments.saturating_add(1);
        if message.declared_bytes > self.rules.max_message_bytes || message.fragments > self.rules.max_fragments {
            return Err(CloseCause::MessageTooBig);
        }
        Ok(())
    }

    fn read_payload(&mut self, mut frame: Frame) -> Result<Option<Received>, CloseCause> {
        let many = usize::try_from(frame.left).unwrap_or(usize::MAX).min(self.chunk.len());
        let masked = self.chunk.split_to(many);
        let mask = frame.mask.iter().cycle().skip((frame.read % 4) as usize);
        let payload = masked.iter().zip(mask).map(|(byte, mask)| byte ^ mask);
        match &mut self.message {
            Some(message) if !frame.opcode.is_control() => message.extend(payload)?,
            _ => self.control.extend(payload),
        }
        frame.read += many as u64;
        frame.left -= many as u64;
        self.frame = (frame.left > 0).then_some(frame);
        if frame.left > 0 { Ok(None) } else { self.end_frame(frame) }
    }

    fn end_frame(&mut self, frame: Frame) -> Result<Option<Received>, CloseCause> {
        match frame.opcode {
            Opcode::Ping => Ok(Some(Received::Ping(std::mem::take(&mut self.control)))),
            Opcode::Pong => Ok(Some(Received::Pong)),
            Opcode::Close => close_code(&self.control).map(|code| Some(Received::Close(code))),
            _ if !frame.is_final => Ok(None),
            _ => self.message.take().map(Message::finish).transpose(),
        }
    }
}

impl Message {
    fn extend(&mut self, payload: impl Iterator<Item = u8>) -> Result<(), CloseCause> {
        self.payload.extend(payload);
        if !self.is_text {
            return Ok(());
        }
        match std::str::from_utf8(&self.payload[self.valid_up_to..]) {
            Ok(_) => self.valid_up_to = self.payload.len(),
            // A character that goes on in the next bytes.
            Err(error) if error.error_len().is_none() => self.valid_up_to += error.valid_up_to(),
            Err(_) => return Err(CloseCause::InvalidUtf8),
        }
        Ok(())
    }

    fn finish(self) -> Result<Received, CloseCause> {
        if self.is_text {
            String::from_utf8(self.payload).map(Received::Text).map_err(|_| CloseCause::InvalidUtf8)
        } else {
            Ok(Received::Binary(self.payload))
        }
    }
}

/// RFC 6455, sections 5.5.1 and 7.4: a code that may be sent, and a reason that is text.
fn close_code(payload: &[u8]) -> Result<Option<u16>, CloseCause> {
    let Some((code, reason)) = payload.split_first_chunk() else { return Ok(None) };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(CloseCause::ProtocolError);
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(Some(code)),
        Err(_) => Err(CloseCause::InvalidUtf8),
    }
}

#[cfg(test)]
mod tests;
