//! A finished WebSocket frame, made once and shared by reference with everyone it goes to.

use bytes::Bytes;
use serde::Serialize;

/// No frame of the wire is longer, header and all: gateways and client libraries end a session above it.
pub const MAX_FRAME_BYTES: usize = 65_536;
/// Room kept for the longest header of an unmasked frame: two bytes and a 64-bit length.
const MAX_HEADER: usize = 10;
const FIN_TEXT: u8 = 0x81;
const FIN_BINARY: u8 = 0x82;
const FIN_CLOSE: u8 = 0x88;
const FIN_PING: u8 = 0x89;
const FIN_PONG: u8 = 0x8a;

/// One unmasked, unfragmented frame (RFC 6455, section 5.2), ready to be written. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    bytes: Bytes,
    header_len: u8,
}

impl Frame {
    /// A text frame that holds `message` as JSON. No message of ours is longer than [`MAX_FRAME_BYTES`]: what it carries is
    /// bounded where it comes in (`no_frame_is_longer_than_the_wire_allows`).
    pub fn json(message: &impl Serialize) -> Self {
        let frame = Self::written(|payload| write_json(payload, message));
        debug_assert!(frame.len() <= MAX_FRAME_BYTES, "{} bytes", frame.len());
        frame
    }

    /// A text frame that holds what `write` appends.
    pub(super) fn written(write: impl FnOnce(&mut Vec<u8>)) -> Self {
        Self::build(FIN_TEXT, write)
    }

    /// A text frame that holds what is there already.
    pub fn text(text: &str) -> Self {
        Self::build(FIN_TEXT, |payload| payload.extend_from_slice(text.as_bytes()))
    }

    /// A binary frame.
    pub fn binary(bytes: &[u8]) -> Self {
        Self::build(FIN_BINARY, |payload| payload.extend_from_slice(bytes))
    }

    /// A Ping without payload.
    pub fn ping() -> Self {
        Self { bytes: Bytes::from_static(&[FIN_PING, 0]), header_len: 2 }
    }

    /// The Pong that answers a Ping with this payload (at most 125 bytes, as control frames are).
    pub fn pong(payload: &[u8]) -> Self {
        Self::build(FIN_PONG, |frame| frame.extend_from_slice(payload))
    }

    /// A Close frame; `None` answers a Close that had no code.
    pub fn close(reason: Option<(u16, &str)>) -> Self {
        Self::build(FIN_CLOSE, |payload| {
            if let Some((code, text)) = reason {
                payload.extend_from_slice(&code.to_be_bytes());
                payload.extend_from_slice(text.as_bytes());
            }
        })
    }

    fn build(first_byte: u8, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut buffer = Vec::with_capacity(512);
        buffer.resize(MAX_HEADER, 0);
        write(&mut buffer);
        let length = buffer.len() - MAX_HEADER;
        let header_len = match length {
            0..=125 => {
                buffer[MAX_HEADER - 1] = length as u8;
                2
            }
            126..=0xffff => {
                buffer[MAX_HEADER - 3] = 126;
                buffer[MAX_HEADER - 2..MAX_HEADER].copy_from_slice(&(length as u16).to_be_bytes());
                4
            }
            _ => {
                buffer[MAX_HEADER - 9] = 127;
                buffer[MAX_HEADER - 8..MAX_HEADER].copy_from_slice(&(length as u64).to_be_bytes());
                10
            }
        };
        buffer[MAX_HEADER - header_len] = first_byte;
        buffer.shrink_to_fit();
        Self { bytes: Bytes::from(buffer).slice(MAX_HEADER - header_len..), header_len: header_len as u8 }
    }

    /// The whole frame, as a WebSocket writes it.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The payload alone.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[usize::from(self.header_len)..]
    }

    /// Length of the whole frame in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never true: a frame has a header.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// Appends `value` as JSON.
pub(super) fn write_json(buffer: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(buffer, value).expect("messages have string keys and writing to memory succeeds");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_the_shortest_form_for_the_length() {
        for (length, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xff, 0xff]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let text = "x".repeat(length);
            let frame = Frame::text(&text);
            assert_eq!(&frame.bytes()[..header.len()], &header[..], "{length}");
            assert_eq!(frame.payload(), text.as_bytes(), "{length}");
            assert_eq!(frame.len(), header.len() + length);
        }
    }

    #[test]
    fn control_frames_are_as_rfc_6455_has_them() {
        assert_eq!(&Frame::ping().bytes()[..], [0x89, 0]);
        assert_eq!(&Frame::pong(b"hi").bytes()[..], [0x8a, 2, b'h', b'i']);
        assert_eq!(&Frame::close(Some((1000, "bye"))).bytes()[..], [0x88, 5, 0x03, 0xe8, b'b', b'y', b'e']);
        assert_eq!(&Frame::close(None).bytes()[..], [0x88, 0]);
    }
}
