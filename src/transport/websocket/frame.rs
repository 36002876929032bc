//! Frames as a server writes them: unmasked and unfragmented (RFC 6455, section 5.2).

use bytes::{BufMut, BytesMut};

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Opcode {
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

const FIN: u8 = 0x80;

/// Appends a frame. The payload of a control frame has at most 125 bytes.
pub(super) fn put(buffer: &mut BytesMut, opcode: Opcode, payload: &[u8]) {
    buffer.reserve(10 + payload.len());
    buffer.put_u8(FIN | opcode as u8);
    match payload.len() {
        length @ 0..=125 => buffer.put_u8(length as u8),
        length @ 126..=0xffff => {
            buffer.put_u8(126);
            buffer.put_u16(length as u16);
        }
        length => {
            buffer.put_u8(127);
            buffer.put_u64(length as u64);
        }
    }
    buffer.extend_from_slice(payload);
}

/// Appends a Close; `None` answers a Close that had no code.
pub(super) fn put_close(buffer: &mut BytesMut, reason: Option<(u16, &str)>) {
    let payload = reason.map_or_else(Vec::new, |(code, text)| [&code.to_be_bytes()[..], text.as_bytes()].concat());
    put(buffer, Opcode::Close, &payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(opcode: Opcode, payload: &[u8]) -> BytesMut {
        let mut buffer = BytesMut::new();
        put(&mut buffer, opcode, payload);
        buffer
    }

    #[test]
    fn the_header_has_the_shortest_form_for_the_length() {
        for (length, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xff, 0xff]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let text = vec![b'x'; length];
            let frame = written(Opcode::Text, &text);
            assert_eq!(frame[..header.len()], header[..], "{length}");
            assert_eq!(frame[header.len()..], text[..], "{length}");
        }
    }

    #[test]
    fn control_frames_are_as_rfc_6455_has_them() {
        assert_eq!(written(Opcode::Ping, b"")[..], [0x89, 0]);
        assert_eq!(written(Opcode::Pong, b"hi")[..], [0x8a, 2, b'h', b'i']);
        assert_eq!(written(Opcode::Binary, b"hi")[..], [0x82, 2, b'h', b'i']);
        let mut buffer = BytesMut::new();
        put_close(&mut buffer, Some((1000, "bye")));
        put_close(&mut buffer, None);
        assert_eq!(buffer[..], [0x88, 5, 0x03, 0xe8, b'b', b'y', b'e', 0x88, 0]);
    }
}
