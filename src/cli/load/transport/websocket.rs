//! A WebSocket as a client that wants nothing needs it (RFC 6455): the handshake, frames of a server, masked answers.

use super::{Answer, Broken, Heard, Refusal, Target};

pub(super) const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xa;
const TEXT: u8 = 0x1;

/// The key of RFC 6455's example, and its answer: what is to be kept from caches by chance is not here.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// A longer head of an answer is none.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// A longer frame is none of Ordercast.
const MAX_FRAME_BYTES: u64 = 1 << 20;
/// Any will do against proxies; nothing here passes one that is fooled.
const MASK: [u8; 4] = [0x4c, 0x6f, 0x61, 0x64];

pub(super) fn request(Target { host, path }: &Target, token: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {KEY}\r\nAuthorization: Bearer {token}\r\nUser-Agent: ordercast-load\r\n\r\n"
    )
    .into_bytes()
}

pub(super) fn answer(bytes: &[u8]) -> Answer {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        let reason = "an answer that is not HTTP".to_owned();
        let refused = Answer::Refused(Refusal { reason, retry_after: None });
        return if bytes.len() > MAX_HEAD_BYTES { refused } else { Answer::Incomplete };
    };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse::<u16>().ok());
    let header = |name: &str| {
        let mut headers = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        headers.find(|(its, _)| its.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    };
    match status {
        Some(101) if header("sec-websocket-accept").as_deref() == Some(ACCEPT) => Answer::Accepted(end + 4),
        Some(101) => {
            let reason = "101 without the right Sec-WebSocket-Accept".to_owned();
            Answer::Refused(Refusal { reason, retry_after: None })
        }
        status => {
            let code = problem_code(&bytes[end + 4..]);
            let status = status.map_or("no HTTP".to_owned(), |status| status.to_string());
            let reason = code.map_or(status.clone(), |code| format!("{status} {code}"));
            let tries_again = matches!(status.as_str(), "429" | "503");
            let seconds = header("retry-after").and_then(|value| value.parse().ok()).unwrap_or(1);
            Answer::Refused(Refusal { reason, retry_after: tries_again.then_some(seconds) })
        }
    }
}

/// The stable code of a refusal, where as much of its body has come.
fn problem_code(body: &[u8]) -> Option<String> {
    let from = find(body, b"\"code\":\"")? + 8;
    let length = body[from..].iter().position(|byte| *byte == b'"')?;
    let code = std::str::from_utf8(&body[from..from + length]).ok()?;
    code.chars().all(|c| c.is_ascii_lowercase() || c == '_').then(|| code.to_owned())
}

/// Frames of a server: not masked, and not in fragments, which Ordercast does not send.
pub(super) fn next(bytes: &[u8]) -> Result<Option<(Heard<'_>, usize)>, Broken> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    if first & 0xf0 != 0x80 || second & 0x80 != 0 {
        return Err(Broken);
    }
    let (length, head) = match second {
        126 => match bytes.get(2..4) {
            Some(length) => (u64::from(u16::from_be_bytes([length[0], length[1]])), 4),
            None => return Ok(None),
        },
        127 => match bytes.get(2..10).and_then(|length| length.try_into().ok()) {
            Some(length) => (u64::from_be_bytes(length), 10),
            None => return Ok(None),
        },
        length => (u64::from(length), 2),
    };
    if length > MAX_FRAME_BYTES {
        return Err(Broken);
    }
    let end = head + length as usize;
    let Some(payload) = bytes.get(head..end) else { return Ok(None) };
    let heard = match first & 0x0f {
        TEXT => Heard::Text(payload),
        CLOSE => Heard::Goodbye(payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]))),
        PING => Heard::Ping(payload),
        PONG => Heard::Nothing,
        _ => return Err(Broken),
    };
    Ok(Some((heard, end)))
}

/// A control frame of a client.
pub(super) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(125)];
    let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8];
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Where `needle` begins.
fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_opens_refuses_or_is_not_whole_yet() {
        let opened = format!("HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: {ACCEPT}\r\n\r\n");
        assert_eq!(answer(opened.as_bytes()), Answer::Accepted(opened.len()));
        let with_a_frame = [opened.as_bytes(), &[0x81, 0]].concat();
        assert_eq!(answer(&with_a_frame), Answer::Accepted(opened.len()));
        assert_eq!(answer(&opened.as_bytes()[..20]), Answer::Incomplete);
        assert!(matches!(answer(b"HTTP/1.1 101 x\r\n\r\n"), Answer::Refused(_)));
        assert!(matches!(answer(&[b'x'; MAX_HEAD_BYTES + 1]), Answer::Refused(_)));
        let refused = |text: &str| match answer(text.as_bytes()) {
            Answer::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        };
        let limited = refused("HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\n\r\n{\"code\":\"rate_limited\"}");
        assert_eq!((limited.reason.as_str(), limited.retry_after), ("429 rate_limited", Some(7)));
        let forged = refused("HTTP/1.1 401 Unauthorized\r\n\r\n{\"code\":\"invalid_token\"}");
        assert_eq!((forged.reason.as_str(), forged.retry_after), ("401 invalid_token", None));
    }

    #[test]
    fn frames_come_one_by_one_and_only_whole() {
        let long = [&[0x81, 126, 0x01, 0x00][..], &[b'x'; 256]].concat();
        let bytes = [&[0x81, 2, b'h', b'i', 0x89, 1, b'p', 0x8a, 0, 0x88, 2, 0x03, 0xf4][..], &long].concat();
        let mut rest = &bytes[..];
        let mut heard = Vec::new();
        while let Some((one, taken)) = next(rest).unwrap() {
            heard.push(one);
            rest = &rest[taken..];
        }
        let text = &long[4..];
        let expected =
            [Heard::Text(b"hi"), Heard::Ping(b"p"), Heard::Nothing, Heard::Goodbye(Some(1012)), Heard::Text(text)];
        assert_eq!((heard.as_slice(), rest.len()), (&expected[..], 0));
        for cut in 0..long.len() {
            assert_eq!(next(&long[..cut]), Ok(None), "{cut}");
        }
        let huge = [&[0x81, 127][..], &65_536u64.to_be_bytes(), &vec![b'y'; 65_536]].concat();
        assert_eq!(next(&huge), Ok(Some((Heard::Text(&huge[10..]), huge.len()))));
    }

    #[test]
    fn what_no_server_sends_is_broken() {
        for bytes in
            [&[0x81, 0x81, 0, 0, 0, 0, 1][..], &[0x01, 0], &[0xc1, 0], &[0x82, 0], &[0x81, 127, 9, 9, 9, 9, 9, 9, 9, 9]]
        {
            assert_eq!(next(bytes), Err(Broken), "{bytes:?}");
        }
    }

    #[test]
    fn an_answer_is_masked() {
        let frame = masked(PONG, b"hi");
        assert_eq!(frame[..6], [0x8a, 0x82, MASK[0], MASK[1], MASK[2], MASK[3]]);
        assert_eq!([frame[6] ^ MASK[0], frame[7] ^ MASK[1]], *b"hi");
    }
}
