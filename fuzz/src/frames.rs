//! Frames: in chunks of any size the same is read, it is what a plain reading of RFC 6455 says, and never more is held than
//! a message may have.

use bytes::Bytes;
use ordercast::{
    protocol::CloseCause,
    transport::websocket::{FrameReader, FrameRules, Received},
};

type Read = Result<Received, CloseCause>;

/// The first byte chooses the rules, the second the chunks, the rest is the stream.
pub fn check(input: &[u8]) {
    let Some((&[rules, seed], stream)) = input.split_first_chunk() else { return };
    let rules = FrameRules {
        max_message_bytes: [0, 1, 7, 125, 126, 300, 1000, 65_536][usize::from(rules & 7)],
        max_fragments: [1, 2, 5, 1000][usize::from(rules >> 3 & 3)],
        binary: rules & 0x20 != 0,
    };
    let wanted = plain(rules, stream);
    assert_eq!(read(rules, stream, || usize::MAX), wanted, "whole");
    assert_eq!(read(rules, stream, || 1), wanted, "byte by byte");
    let mut chance = u32::from(seed);
    let by_chance = || {
        chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1 + (chance >> 24) as usize % 32
    };
    assert_eq!(read(rules, stream, by_chance), wanted, "in chunks");
}

fn read(rules: FrameRules, mut stream: &[u8], mut chunk_len: impl FnMut() -> usize) -> Vec<Read> {
    let (mut reader, mut all) = (FrameReader::new(rules), Vec::new());
    while !stream.is_empty() {
        let (chunk, rest) = stream.split_at(chunk_len().min(stream.len()));
        stream = rest;
        reader.push(Bytes::copy_from_slice(chunk));
        while let Some(read) = reader.read() {
            all.push(read);
        }
        // A growing vector may have room for twice what it holds.
        let most = 2 * (rules.max_message_bytes as usize + 125) + 16;
        assert!(reader.held_bytes() <= most, "{} bytes are held, {most} at most", reader.held_bytes());
    }
    assert!(reader.read().is_none(), "what is read is read once");
    all
}

/// Reads a stream that is all there, from RFC 6455: no state but the message under way.
fn plain(rules: FrameRules, mut rest: &[u8]) -> Vec<Read> {
    let (mut all, mut message): (_, Option<Fragments>) = (Vec::new(), None);
    loop {
        match plain_frame(rules, &mut rest, &mut message) {
            Ok(None) => return all,
            Ok(Some(None)) => {}
            Ok(Some(Some(received))) => {
                let is_close = matches!(received, Received::Close(_));
                all.push(Ok(received));
                if is_close {
                    return all;
                }
            }
            Err(cause) => {
                all.push(Err(cause));
                return all;
            }
        }
    }
}

struct Fragments {
    is_text: bool,
    declared: u64,
    count: u32,
    payload: Vec<u8>,
}

/// One frame: `None` where the stream ends in it, `Some(None)` where it is read and its message is not complete.
fn plain_frame(
    rules: FrameRules,
    rest: &mut &[u8],
    message: &mut Option<Fragments>,
) -> Result<Option<Option<Received>>, CloseCause> {
    let Some(&first) = rest.first() else { return Ok(None) };
    let (is_final, opcode, is_control) = (first & 0x80 != 0, first & 0x0f, first & 0x08 != 0);
    let may_come = match opcode {
        0 => message.is_some(),
        1 | 2 => message.is_none(),
        8..=10 => is_final,
        _ => false,
    };
    if !may_come || first & 0x70 != 0 {
        return Err(CloseCause::ProtocolError);
    }
    if opcode == 2 && !rules.binary {
        return Err(CloseCause::BinaryNotSupported);
    }
    let Some(&second) = rest.get(1) else { return Ok(None) };
    let short = second & 0x7f;
    if second & 0x80 == 0 || is_control && short > 125 || opcode == 8 && short == 1 {
        return Err(CloseCause::ProtocolError);
    }
    let length_bytes = [0, 2, 8][usize::from(short.max(125) - 125)];
    let Some(long) = rest.get(2..2 + length_bytes) else { return Ok(None) };
    let length = match long {
        [] => u64::from(short),
        bytes => bytes.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
    };
    // The form has to be the shortest, and 63 bits are all there are.
    let is_minimal = match length_bytes {
        0 => true,
        2 => length >= 126,
        _ => length >= 65_536 && length >> 63 == 0,
    };
    if !is_minimal {
        return Err(CloseCause::ProtocolError);
    }
    if !is_control {
        let fragments = Fragments { is_text: opcode == 1, declared: 0, count: 0, payload: Vec::new() };
        let message = message.get_or_insert(fragments);
        message.declared = message.declared.saturating_add(length);
        message.count += 1;
        if message.declared > rules.max_message_bytes || message.count > rules.max_fragments {
            return Err(CloseCause::MessageTooBig);
        }
    }
    let Some((mask, after)) = rest[2 + length_bytes..].split_first_chunk::<4>() else { return Ok(None) };
    let there = &after[..after.len().min(usize::try_from(length).unwrap_or(usize::MAX))];
    let payload: Vec<u8> = there.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect();
    let is_whole = payload.len() as u64 == length;
    *rest = &after[there.len()..];
    if is_control {
        return if is_whole { plain_control(opcode, payload).map(|control| Some(Some(control))) } else { Ok(None) };
    }
    let fragments = message.as_mut().expect("a data frame belongs to a message");
    fragments.payload.extend(payload);
    let ends = is_whole && is_final;
    if fragments.is_text
        && let Err(error) = std::str::from_utf8(&fragments.payload)
        && (ends || error.error_len().is_some())
    {
        return Err(CloseCause::InvalidUtf8);
    }
    Ok(match (is_whole, is_final) {
        (false, _) => None,
        (true, false) => Some(None),
        (true, true) => message.take().map(|message| {
            Some(match message.is_text {
                true => Received::Text(String::from_utf8(message.payload).expect("it was checked")),
                false => Received::Binary(message.payload),
            })
        }),
    })
}

fn plain_control(opcode: u8, payload: Vec<u8>) -> Result<Received, CloseCause> {
    match (opcode, payload.as_slice()) {
        (9, _) => Ok(Received::Ping(payload)),
        (10, _) => Ok(Received::Pong),
        (_, [high, low, reason @ ..]) => match u16::from_be_bytes([*high, *low]) {
            1000..=1003 | 1007..=1014 | 3000..=4999 if std::str::from_utf8(reason).is_err() => {
                Err(CloseCause::InvalidUtf8)
            }
            code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => Ok(Received::Close(Some(code))),
            _ => Err(CloseCause::ProtocolError),
        },
        _ => Ok(Received::Close(None)),
    }
}
