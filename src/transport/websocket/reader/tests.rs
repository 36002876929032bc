//! Frames in chunks of any size, and what is refused at which byte.

use super::*;

const RULES: FrameRules = FrameRules { max_message_bytes: 65_536, max_fragments: 1000, binary: false };
const MASK: [u8; 4] = [0x5a, 0x00, 0xff, 0x31];

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn zeros(first: u8, length: usize) -> Vec<u8> {
    frame(first, &vec![b'0'; length])
}

/// All that is read of `bytes`, and how many bytes had been pushed when the last of it came.
fn read_in(chunk_len: usize, bytes: &[u8]) -> (Vec<Result<Received, CloseCause>>, usize) {
    let mut reader = FrameReader::new(RULES);
    let (mut all, mut pushed, mut last) = (Vec::new(), 0, 0);
    for chunk in bytes.chunks(chunk_len) {
        reader.push(Bytes::copy_from_slice(chunk));
        pushed += chunk.len();
        while let Some(read) = reader.read() {
            all.push(read);
            last = pushed;
        }
    }
    (all, last)
}

fn text(text: &str) -> Result<Received, CloseCause> {
    Ok(Received::Text(text.to_owned()))
}

#[test]
fn messages_are_the_same_in_chunks_of_any_size() {
    let euro = "€".as_bytes();
    let stream = [
        frame(0x81, b""),
        frame(0x81, "κόσμε".as_bytes()),
        frame(0x01, &euro[..1]),
        frame(0x89, b"between"),
        frame(0x00, b""),
        frame(0x80, &euro[1..]),
        zeros(0x81, 126),
        zeros(0x81, 65_536),
        frame(0x8a, b"x"),
        frame(0x88, &[0x03, 0xe8, b'o', b'k']),
        frame(0x81, b"after the end"),
    ]
    .concat();
    let wanted = vec![
        text(""),
        text("κόσμε"),
        Ok(Received::Ping(b"between".to_vec())),
        text("€"),
        text(&"0".repeat(126)),
        text(&"0".repeat(65_536)),
        Ok(Received::Pong),
        Ok(Received::Close(Some(1000))),
    ];
    for chunk_len in [1, 2, 3, 7, 1000, stream.len()] {
        assert_eq!(read_in(chunk_len, &stream).0, wanted, "{chunk_len}");
    }
}

#[test]
fn a_declared_length_above_the_limit_is_refused_by_its_header_alone() {
    let mut endless = vec![0x81, 0xff];
    endless.extend((1u64 << 40).to_be_bytes());
    assert_eq!(read_in(1, &endless), (vec![Err(CloseCause::MessageTooBig)], 10));
    let fragments = [zeros(0x01, 60_000), zeros(0x00, 5_536), zeros(0x00, 1)].concat();
    assert_eq!(read_in(4096, &fragments).0, [Err(CloseCause::MessageTooBig)]);
}

#[test]
fn fragments_are_counted_even_if_they_are_empty() {
    let stream = [frame(0x01, b""), frame(0x00, b"").repeat(998), frame(0x80, b"")].concat();
    assert_eq!(read_in(4096, &stream).0, [text("")]);
    let stream = [frame(0x01, b""), frame(0x00, b"").repeat(1000)].concat();
    assert_eq!(read_in(4096, &stream).0, [Err(CloseCause::MessageTooBig)]);
}

#[test]
fn what_rfc_6455_forbids_in_a_header_is_refused() {
    let long = |length: u64| [vec![0x81, 0xff], length.to_be_bytes().to_vec()].concat();
    let cases: [(&str, Vec<u8>, CloseCause); 15] = [
        ("unmasked", vec![0x81, 0x01], CloseCause::ProtocolError),
        ("reserved bit", vec![0xc1], CloseCause::ProtocolError),
        ("unknown opcode", vec![0x83], CloseCause::ProtocolError),
        ("unknown control opcode", vec![0x8b], CloseCause::ProtocolError),
        ("fragmented control frame", vec![0x09], CloseCause::ProtocolError),
        ("long control frame", vec![0x89, 0xfe], CloseCause::ProtocolError),
        ("close with half a code", vec![0x88, 0x81], CloseCause::ProtocolError),
        ("continuation of nothing", vec![0x80], CloseCause::ProtocolError),
        ("new message inside a message", [frame(0x01, b"a"), vec![0x81]].concat(), CloseCause::ProtocolError),
        ("binary", vec![0x82], CloseCause::BinaryNotSupported),
        ("23 bytes in two bytes", vec![0x81, 0xfe, 0x00, 0x17], CloseCause::ProtocolError),
        ("125 bytes in two bytes of a fragment", vec![0x01, 0xfe, 0x00, 0x7d], CloseCause::ProtocolError),
        ("none in eight bytes", long(0), CloseCause::ProtocolError),
        ("65,535 bytes in eight bytes", long(0xffff), CloseCause::ProtocolError),
        ("the top bit of eight bytes", long(1 << 63 | 0x1_0000), CloseCause::ProtocolError),
    ];
    for (name, bytes, cause) in cases {
        let (read, at) = read_in(1, &bytes);
        assert_eq!((read, at), (vec![Err(cause)], bytes.len()), "{name}: by the last of these bytes");
    }
}

#[test]
fn bad_text_is_refused_at_its_first_bad_byte_over_fragments_too() {
    let good_then_bad = [frame(0x01, b"ok \xf4"), frame(0x80, b"\x90 and much more")].concat();
    let (read, at) = read_in(1, &good_then_bad);
    assert_eq!(read, [Err(CloseCause::InvalidUtf8)]);
    assert_eq!(good_then_bad.len() - at, b" and much more".len());
    for bad in [&b"\xc0\x80"[..], b"\xed\xa0\x80", b"\xff", b"ends in \xe2\x82"] {
        assert_eq!(read_in(3, &frame(0x81, bad)).0, [Err(CloseCause::InvalidUtf8)], "{bad:?}");
    }
}

#[test]
fn a_close_has_a_code_that_may_be_sent_and_a_reason_that_is_text() {
    let close = |code: u16, reason: &[u8]| read_in(1, &frame(0x88, &[&code.to_be_bytes(), reason].concat())).0;
    assert_eq!(read_in(1, &frame(0x88, b"")).0, [Ok(Received::Close(None))]);
    for code in [1000, 1003, 1007, 1014, 3000, 4999] {
        assert_eq!(close(code, b"bye"), [Ok(Received::Close(Some(code)))]);
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        assert_eq!(close(code, b""), [Err(CloseCause::ProtocolError)], "{code}");
    }
    assert_eq!(close(1000, b"\xff"), [Err(CloseCause::InvalidUtf8)]);
}

#[test]
fn what_came_before_the_offending_frame_is_read_and_nothing_after() {
    let stream = [frame(0x81, b"good"), frame(0x83, b""), frame(0x81, b"late")].concat();
    assert_eq!(read_in(stream.len(), &stream).0, [text("good"), Err(CloseCause::ProtocolError)]);
}

#[test]
fn a_control_frame_may_have_125_bytes() {
    assert_eq!(read_in(1, &zeros(0x89, 125)).0, [Ok(Received::Ping(vec![b'0'; 125]))]);
    assert_eq!(read_in(1, &frame(0x8a, &[0; 125])).0, [Ok(Received::Pong)]);
    assert_eq!(read_in(1, &[0x88, 0xfe]).0, [Err(CloseCause::ProtocolError)], "126 are too many");
}

#[test]
fn what_a_message_and_a_control_frame_within_it_take_is_held_until_they_are_read() {
    let mut reader = FrameReader::new(RULES);
    assert_eq!(reader.held_bytes(), 0);
    let mut take = |bytes: &[u8]| {
        reader.push(Bytes::copy_from_slice(bytes));
        let read = reader.read();
        (read, reader.held_bytes())
    };
    let (none, message) = take(&zeros(0x01, 1_000));
    assert!(none.is_none() && (1_000..=2_000).contains(&message), "{message}");
    let ping = zeros(0x89, 100);
    let (none, both) = take(&ping[..ping.len() - 1]);
    assert!(none.is_none() && (message + 99..=message + 200).contains(&both), "{both}");
    let (read, after) = take(&ping[ping.len() - 1..]);
    assert_eq!((read, after), (Some(Ok(Received::Ping(vec![b'0'; 100]))), message));
    let (read, after) = take(&frame(0x80, b""));
    assert_eq!((read, after), (Some(text(&"0".repeat(1_000))), 0));
}
