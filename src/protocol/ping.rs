//! What clients say to learn whether the connection lives: the `ping` of the wire, and the words that client libraries have
//! built in or that people write by hand. Each is answered in the form it came in, so that whoever waits for it knows it.
//!
//! Pure. `docs/protocol.md` has the list.

use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;

use super::{Message, outbound::RawId};

/// The longest word in quotes; anything longer is no word.
const MAX_WORD_BYTES: usize = r#""keep-alive""#.len();
/// Other words for `ping`. Bare they are answered by themselves, which is what their senders wait for, if for anything.
const OTHER_WORDS: [&str; 3] = ["heartbeat", "keepalive", "keep-alive"];

/// How a client asked for a `pong`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PingForm {
    /// By a word alone, bare or in quotes. This is the answer.
    Word(Box<str>),
    /// By an object that says it.
    Member {
        /// Under this name.
        name: &'static str,
        /// The word that answers it, in its case.
        pong: Box<str>,
    },
}

impl PingForm {
    /// The answer. It echoes the `id` of an object.
    pub fn pong(&self, id: Option<&RawId>) -> Message {
        match self {
            Self::Word(answer) => Message::text(answer),
            Self::Member { name, pong } => Message::json(&Pong { name, pong, id }),
        }
    }
}

struct Pong<'a> {
    name: &'static str,
    pong: &'a str,
    id: Option<&'a RawId>,
}

impl Serialize for Pong<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        if self.name != "type" {
            members.serialize_entry("type", "pong")?;
        }
        members.serialize_entry(self.name, self.pong)?;
        if let Some(id) = self.id {
            members.serialize_entry("id", id)?;
        }
        members.end()
    }
}

/// What a client said about the connection alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sign {
    /// It asks for an answer.
    Ping(PingForm),
    /// It lives: an answer to something of ours, or a keepalive that says nothing.
    Alive,
}

/// Reads a text that is a word alone, bare or in quotes, or nothing but white space.
pub(super) fn word(text: &str) -> Option<Sign> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Some(Sign::Alive);
    }
    if text.len() > MAX_WORD_BYTES {
        return None;
    }
    let word = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    match sign(word)? {
        Said::Ping => Some(Sign::Ping(PingForm::Word(pong_for(text)))),
        Said::OtherWord => Some(Sign::Ping(PingForm::Word(text.into()))),
        Said::Pong => Some(Sign::Alive),
    }
}

/// Reads what an object says under this name.
pub(super) fn member(name: &'static str, said: &str) -> Option<Sign> {
    match sign(said)? {
        Said::Ping => Some(Sign::Ping(PingForm::Member { name, pong: pong_for(said) })),
        Said::OtherWord => Some(Sign::Ping(PingForm::Member { name, pong: "pong".into() })),
        Said::Pong => Some(Sign::Alive),
    }
}

/// Reads an object without the names of the wire: other protocols have others for the kind of a message.
pub(super) fn foreign(object: &str) -> Option<Sign> {
    #[derive(Deserialize)]
    struct Names<'a> {
        #[serde(borrow)]
        event: Option<&'a RawValue>,
        #[serde(borrow)]
        op: Option<&'a RawValue>,
        #[serde(borrow)]
        method: Option<&'a RawValue>,
        #[serde(borrow)]
        kind: Option<&'a RawValue>,
        #[serde(borrow)]
        cmd: Option<&'a RawValue>,
        #[serde(borrow)]
        msg: Option<&'a RawValue>,
    }
    let Names { event, op, method, kind, cmd, msg } = serde_json::from_str(object).ok()?;
    let names = [("event", event), ("op", op), ("method", method), ("kind", kind), ("cmd", cmd), ("msg", msg)];
    names.into_iter().find_map(|(name, said)| member(name, &serde_json::from_str::<String>(said?.get()).ok()?))
}

enum Said {
    Ping,
    OtherWord,
    Pong,
}

fn sign(word: &str) -> Option<Said> {
    if word.eq_ignore_ascii_case("ping") {
        Some(Said::Ping)
    } else if word.eq_ignore_ascii_case("pong") {
        Some(Said::Pong)
    } else {
        OTHER_WORDS.iter().any(|other| word.eq_ignore_ascii_case(other)).then_some(Said::OtherWord)
    }
}

/// `ping` becomes `pong` and `PING` becomes `PONG`, quotes or not.
fn pong_for(ping: &str) -> Box<str> {
    ping.replace('i', "o").replace('I', "O").into()
}

#[cfg(test)]
mod tests {
    use crate::protocol::ClientMessage;

    /// The answer to a text; empty for a sign of life without one.
    fn answer(text: &str) -> String {
        match ClientMessage::parse(text) {
            Ok(ClientMessage::Ping { id, form }) => String::from_utf8(form.pong(id.as_ref()).bytes().to_vec()).unwrap(),
            Ok(ClientMessage::Alive) => String::new(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_ping_is_answered_in_the_form_it_came_in() {
        for (text, pong) in [
            ("ping", "pong"),
            ("PING", "PONG"),
            ("Ping", "Pong"),
            (" ping\r\n", "pong"),
            (r#""ping""#, r#""pong""#),
            (r#""PING""#, r#""PONG""#),
            ("heartbeat", "heartbeat"),
            ("HeartBeat", "HeartBeat"),
            (r#""keepalive""#, r#""keepalive""#),
            ("keep-alive", "keep-alive"),
            (r#""keep-alive""#, r#""keep-alive""#),
            (r#"{"type":"ping"}"#, r#"{"type":"pong"}"#),
            (r#"{"type":"ping","id":7}"#, r#"{"type":"pong","id":7}"#),
            (r#"{"type":"PING"}"#, r#"{"type":"PONG"}"#),
            (r#"{"action":"ping","id":"x"}"#, r#"{"type":"pong","action":"pong","id":"x"}"#),
            (r#"{"event":"ping","payload":{}}"#, r#"{"type":"pong","event":"pong"}"#),
            (r#"{"op":"ping"}"#, r#"{"type":"pong","op":"pong"}"#),
            (r#"{"method":"ping"}"#, r#"{"type":"pong","method":"pong"}"#),
            (r#"{"kind":"ping"}"#, r#"{"type":"pong","kind":"pong"}"#),
            (r#"{"type":"heartbeat"}"#, r#"{"type":"pong"}"#),
            (r#"{"event":"heartbeat"}"#, r#"{"type":"pong","event":"pong"}"#),
        ] {
            assert_eq!(answer(text), pong, "{text}");
        }
    }

    #[test]
    fn signs_of_life_that_ask_nothing_get_nothing() {
        for text in ["", " ", "\n", "pong", "PONG", r#""pong""#, r#"{"type":"pong","id":7}"#, r#"{"event":"pong"}"#] {
            assert_eq!(answer(text), "", "{text:?}");
        }
    }

    #[test]
    fn what_only_looks_like_one_is_refused_as_before() {
        let refused = [
            ("pings", "invalid_json"),
            ("ping ping", "invalid_json"),
            ("\"ping", "invalid_json"),
            ("hello", "invalid_json"),
            ("2", "invalid_message"),
            ("[\"ping\"]", "invalid_message"),
            (r#"{"event":"dance"}"#, "invalid_message"),
            (r#"{"event":{"op":"ping"}}"#, "invalid_message"),
            (r#"{"type":"dance","event":"ping"}"#, "unknown_type"),
            (r#"{"ping":1}"#, "invalid_message"),
        ];
        for (text, code) in refused {
            assert_eq!(ClientMessage::parse(text).unwrap_err().code, code, "{text}");
        }
    }
}
