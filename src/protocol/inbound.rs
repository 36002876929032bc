//! What a client may say. Never who sees what: that comes from the event and the token.

use std::time::Duration;

use hashbrown::HashMap;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    StaleReasons,
    outbound::RawId,
    ping::{self, PingForm, Sign},
};
use crate::domain::{OrderId, Rev};

/// Most orders a `subscribe` may name.
pub const MAX_SUBSCRIBED: usize = 500;
/// Most orders a `sync` may name.
pub const MAX_SYNCED: usize = 2_000;
/// Longest that a client may wait for something to tell.
const MAX_WAIT_MS: u64 = 50_000;
/// Longest accepted `id` of a message, in bytes of its JSON.
const MAX_ID_BYTES: usize = 64;
/// Deepest accepted nesting of a message; what is known needs two levels.
const MAX_DEPTH: i32 = 16;

/// A well-formed message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientMessage {
    /// Asks for a `pong`.
    Ping {
        /// To be echoed.
        id: Option<RawId>,
        /// How it asked, which says how to answer.
        form: PingForm,
    },
    /// Says that it lives, and asks for nothing.
    Alive,
    /// Says which states the client shows; it gets what differs. A `rev` that is none of ours differs from every state.
    Sync {
        /// The shown orders and their revs; `None` asks for everything.
        orders: Option<HashMap<OrderId, Option<Rev>>>,
        /// To be echoed where it is refused.
        id: Option<RawId>,
    },
    /// Shows only these orders from now on; `None` shows all again.
    Subscribe {
        /// The orders.
        order_ids: Option<Vec<OrderId>>,
        /// The user the older form names, who must be the token's.
        user_id: Option<String>,
        /// To be echoed where it is refused.
        id: Option<RawId>,
    },
    /// Goes on with another token.
    Refresh {
        /// Not verified yet.
        token: Token,
        /// To be echoed where it is refused.
        id: Option<RawId>,
    },
}

/// What a client shows, as it says so in a request of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claims {
    /// The shown orders and their revs; `None`: it shows nothing yet.
    pub orders: Option<HashMap<OrderId, Option<Rev>>>,
    /// Why it calls them stale.
    pub stale: StaleReasons,
    /// How long it waits for something to tell; `None`: it does not say.
    pub wait: Option<Duration>,
}

impl Claims {
    /// Reads a JSON object; what is not known in it is passed over, as in a message.
    pub fn parse(body: &[u8]) -> Result<Self, &'static str> {
        #[derive(Deserialize)]
        struct Fields<'a> {
            #[serde(borrow)]
            orders: Option<&'a RawValue>,
            #[serde(borrow)]
            stale: Option<&'a RawValue>,
            #[serde(borrow)]
            wait_ms: Option<&'a RawValue>,
        }
        let text = str::from_utf8(body).map_err(|_| "the body is not UTF-8")?;
        if is_too_deep(text) {
            return Err("the body is nested more than 16 levels deep");
        }
        let Fields { orders, stale, wait_ms } =
            serde_json::from_str(text).map_err(|_| "the body must be a JSON object")?;
        let orders = orders.map(read_revs).transpose();
        let orders =
            orders.map_err(|_| "\"orders\" must map at most 2000 order ids to revs; leave it out to be shown all")?;
        let names = stale.map_or(Ok(Vec::new()), |stale| serde_json::from_str::<Vec<String>>(stale.get()));
        let names = names.map_err(|_| "\"stale\" must be a list of stale reasons")?;
        let wait_ms =
            wait_ms.map(|wait| serde_json::from_str::<u64>(wait.get()).ok().filter(|wait| *wait <= MAX_WAIT_MS));
        let wait_ms = match wait_ms {
            Some(None) => return Err("\"wait_ms\" must be a whole number of milliseconds from 0 to 50000"),
            Some(wait) => wait,
            None => None,
        };
        Ok(Self {
            orders,
            stale: StaleReasons::named(names.iter().map(String::as_str)),
            wait: wait_ms.map(Duration::from_millis),
        })
    }
}

/// A token as the client sent it. Shows nothing of itself.
#[derive(Debug, Clone)]
pub struct Token(SecretString);

impl Token {
    /// The text, to be verified.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for Token {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}
impl Eq for Token {}

/// Why a client's message was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct MessageError {
    /// The code of the `error` answer.
    pub code: &'static str,
    /// What was wrong and what is accepted.
    pub message: String,
    /// The message's `id`, if it had one.
    pub id: Option<RawId>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    r#type: Option<Text>,
    action: Option<Text>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    orders: Option<&'a RawValue>,
    #[serde(borrow)]
    order_ids: Option<&'a RawValue>,
    #[serde(borrow, rename = "userId")]
    user_id: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<&'a RawValue>,
}

/// A text field that tolerates any other JSON, which then names no known type.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Is(String),
    IsNot(serde::de::IgnoredAny),
}

impl Text {
    fn as_str(&self) -> &str {
        match self {
            Self::Is(text) => text,
            Self::IsNot(_) => "",
        }
    }
}

impl ClientMessage {
    /// Reads one text message.
    pub fn parse(text: &str) -> Result<Self, MessageError> {
        if let Some(sign) = ping::word(text) {
            return Ok(Self::of(sign, None));
        }
        let refuse = |code, message: String| MessageError { code, message, id: None };
        if is_too_deep(text) {
            return Err(refuse("invalid_message", format!("at most {MAX_DEPTH} levels of nesting")));
        }
        let envelope: Envelope<'_> = match serde_json::from_str(text) {
            Ok(envelope) => envelope,
            Err(error) if error.is_data() => {
                return Err(refuse("invalid_message", "a message is a JSON object with a \"type\"".to_owned()));
            }
            Err(error) => {
                let place = format!("line {}, column {}", error.line(), error.column());
                return Err(refuse("invalid_json", format!("this is not JSON ({place})")));
            }
        };
        let id = match envelope.id.filter(|id| id.get() != "null").map(echoed) {
            Some(Some(id)) => Some(id),
            Some(None) => {
                let limit = format!("\"id\" must be a string or a number of at most {MAX_ID_BYTES} bytes");
                return Err(refuse("invalid_message", limit));
            }
            None => None,
        };
        envelope.read(id.clone(), text).map_err(|(code, message)| MessageError { code, message, id })
    }

    fn of(sign: Sign, id: Option<RawId>) -> Self {
        match sign {
            Sign::Ping(form) => Self::Ping { id, form },
            Sign::Alive => Self::Alive,
        }
    }
}

fn echoed(id: &RawValue) -> Option<RawId> {
    let scalar = !id.get().starts_with(['{', '[', 't', 'f']);
    (scalar && id.get().len() <= MAX_ID_BYTES).then(|| RawId(id.to_owned()))
}

type Refusal = (&'static str, String);

impl Envelope<'_> {
    fn read(&self, id: Option<RawId>, text: &str) -> Result<ClientMessage, Refusal> {
        let names = [("type", &self.r#type), ("action", &self.action)];
        let Some((name, said)) = names.into_iter().find_map(|(name, said)| Some((name, said.as_ref()?.as_str())))
        else {
            let sign = ping::foreign(text).map(|sign| ClientMessage::of(sign, id));
            return sign.ok_or_else(|| ("invalid_message", "\"type\" is missing".to_owned()));
        };
        match said {
            "sync" => Ok(ClientMessage::Sync { orders: self.orders.map(read_revs).transpose()?, id }),
            "subscribe" => Ok(ClientMessage::Subscribe {
                order_ids: self.order_ids.map(read_order_ids).transpose()?,
                user_id: self.user_id.map(read_user_id).transpose()?,
                id,
            }),
            "refresh" => Ok(ClientMessage::Refresh { token: self.token.map_or_else(no_token, read_token)?, id }),
            said => match ping::member(name, said) {
                Some(sign) => Ok(ClientMessage::of(sign, id)),
                None => Err(("unknown_type", "known types are ping, sync, subscribe and refresh".to_owned())),
            },
        }
    }
}

fn read_revs(orders: &RawValue) -> Result<HashMap<OrderId, Option<Rev>>, Refusal> {
    let revs: HashMap<OrderId, String> = serde_json::from_str(orders.get())
        .map_err(|_| ("invalid_message", "\"orders\" must map order ids to revs".to_owned()))?;
    if revs.len() > MAX_SYNCED {
        return Err(("sync_too_large", format!("at most {MAX_SYNCED} orders; a full snapshot follows")));
    }
    Ok(revs.into_iter().map(|(order_id, rev)| (order_id, rev.parse().ok())).collect())
}

fn read_order_ids(order_ids: &RawValue) -> Result<Vec<OrderId>, Refusal> {
    let refuse = || ("invalid_message", format!("\"order_ids\" must be a list of at most {MAX_SUBSCRIBED} order ids"));
    let order_ids: Vec<OrderId> = serde_json::from_str(order_ids.get()).map_err(|_| refuse())?;
    if order_ids.len() > MAX_SUBSCRIBED { Err(refuse()) } else { Ok(order_ids) }
}

fn read_user_id(user_id: &RawValue) -> Result<String, Refusal> {
    match serde_json::from_str(user_id.get()) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        Ok(serde_json::Value::Number(number)) => Ok(number.to_string()),
        _ => Err(("invalid_message", "\"userId\" must be a string or a number".to_owned())),
    }
}

/// White space around a token is none of it, as in a handshake.
fn read_token(token: &RawValue) -> Result<Token, Refusal> {
    serde_json::from_str::<String>(token.get()).map(|token| token.trim().to_owned().into()).or_else(|_| no_token())
}

fn no_token() -> Result<Token, Refusal> {
    Err(("invalid_message", "\"token\" must be a string".to_owned()))
}

/// Whether arrays and objects lie deeper in each other than [`MAX_DEPTH`].
fn is_too_deep(json: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Epoch, Stamp};

    fn code(text: &str) -> &'static str {
        ClientMessage::parse(text).unwrap_err().code
    }

    #[test]
    fn both_forms_of_subscribe_are_read() {
        let all = ClientMessage::Subscribe { order_ids: None, user_id: None, id: None };
        assert_eq!(ClientMessage::parse(r#"{"type":"subscribe"}"#), Ok(all));
        for old in [r#"{"action":"subscribe","userId":"123"}"#, r#"{"action":"subscribe","userId":123}"#] {
            let user = ClientMessage::Subscribe { order_ids: None, user_id: Some("123".to_owned()), id: None };
            assert_eq!(ClientMessage::parse(old), Ok(user), "{old}");
        }
    }

    #[test]
    fn a_rev_that_is_none_of_ours_is_kept_as_a_difference() {
        let ClientMessage::Sync { orders: Some(orders), .. } =
            ClientMessage::parse(r#"{"type":"sync","orders":{"A-1":"7-2-1041","A-2":"x"}}"#).unwrap()
        else {
            panic!("a sync with orders")
        };
        assert_eq!(
            orders["A-1"],
            Some(Rev { stamp: Stamp { epoch: Epoch(7), partition: 2, offset: 1041 }, terminal: false })
        );
        assert_eq!(orders["A-2"], None);
    }

    #[test]
    fn refusals_name_their_code_and_echo_the_id() {
        assert_eq!(code("{"), "invalid_json");
        assert_eq!(code("hello"), "invalid_json");
        assert_eq!(code("[]"), "invalid_message");
        assert_eq!(code("{}"), "invalid_message");
        assert_eq!(code(r#"{"type":7}"#), "unknown_type");
        assert_eq!(code(r#"{"type":"ping","id":{}}"#), "invalid_message");
        assert_eq!(code(r#"{"type":"sync","orders":[]}"#), "invalid_message");
        assert_eq!(code(r#"{"type":"subscribe","order_ids":[""]}"#), "invalid_message");
        assert_eq!(code(r#"{"action":"subscribe","userId":[]}"#), "invalid_message");
        let refused = ClientMessage::parse(r#"{"type":"dance","id":"a"}"#).unwrap_err();
        assert_eq!(
            (refused.code, refused.id.map(|id| id.0.get().to_owned())),
            ("unknown_type", Some("\"a\"".to_owned()))
        );
    }

    #[test]
    fn a_refresh_carries_a_token_that_shows_nothing_of_itself() {
        let refresh = ClientMessage::parse(r#"{"type":"refresh","token":"canary"}"#).unwrap();
        assert!(!format!("{refresh:?}").contains("canary"));
        assert_eq!(refresh, ClientMessage::Refresh { token: "canary".to_owned().into(), id: None });
        assert_eq!(ClientMessage::parse(r#"{"type":"refresh","token":" canary\r\n"}"#).as_ref(), Ok(&refresh));
        assert_ne!(ClientMessage::parse(r#"{"type":"refresh","token":"canarY"}"#).as_ref(), Ok(&refresh));
        assert_eq!(code(r#"{"type":"refresh"}"#), "invalid_message");
        assert_eq!(code(r#"{"type":"refresh","token":["canary"]}"#), "invalid_message");
    }

    #[test]
    fn claims_are_read_and_a_slip_in_them_is_named() {
        let claims =
            Claims::parse(br#"{"orders":{"A-1":"7-2-1041","A-2":"x"},"stale":["log_gap"],"wait_ms":50000,"x":1}"#);
        let claims = claims.unwrap();
        assert_eq!(claims.orders.as_ref().map(HashMap::len), Some(2));
        assert!(claims.stale.contains(super::super::StaleReason::LogGap));
        assert_eq!(claims.wait, Some(Duration::from_secs(50)));
        assert_eq!(Claims::parse(b"{}"), Ok(Claims::default()));
        for (body, slip) in [
            (&b""[..], "JSON object"),
            (b"[]", "JSON object"),
            (b"{\xff}", "UTF-8"),
            (br#"{"orders":[]}"#, "\"orders\""),
            (br#"{"stale":"log_gap"}"#, "\"stale\""),
            (br#"{"wait_ms":50001}"#, "\"wait_ms\""),
            (br#"{"wait_ms":-1}"#, "\"wait_ms\""),
            (br#"{"wait_ms":1.5}"#, "\"wait_ms\""),
        ] {
            assert!(Claims::parse(body).unwrap_err().contains(slip), "{body:?}");
        }
        assert!(Claims::parse(&b"[".repeat(60_000)).unwrap_err().contains("nested"));
    }

    #[test]
    fn deep_nesting_is_refused_and_brackets_in_text_are_none() {
        let nested = |depth: usize| format!(r#"{{"type":"ping","x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(ClientMessage::parse(&nested(15)).is_ok());
        assert_eq!(code(&nested(16)), "invalid_message");
        assert_eq!(code(&"[".repeat(60_000)), "invalid_message");
        let text = r#"{"type":"ping","id":"\"[[[[[[[[[[[[[[[[[[\\"}"#;
        assert!(ClientMessage::parse(text).is_ok());
        let closed_in_text = format!(r#"{{"type":"ping","id":"]]]]]]]]]]","x":{}{}}}"#, "[".repeat(16), "]".repeat(16));
        assert_eq!(code(&closed_in_text), "invalid_message");
        let side_by_side = format!(r#"{{"type":"ping","x":[{}[]]}}"#, "[],{},".repeat(50));
        assert!(ClientMessage::parse(&side_by_side).is_ok());
    }

    #[test]
    fn what_is_as_long_as_it_may_be_is_taken_and_what_is_longer_by_one_is_not() {
        let subscribe = |many: usize| {
            let ids: Vec<_> = (0..many).map(|n| format!("A-{n}")).collect();
            serde_json::json!({"type": "subscribe", "order_ids": ids}).to_string()
        };
        assert!(ClientMessage::parse(&subscribe(500)).is_ok());
        assert_eq!(code(&subscribe(501)), "invalid_message");
        // The quotes are part of it.
        let ping = |bytes: usize| serde_json::json!({"type": "ping", "id": "x".repeat(bytes - 2)}).to_string();
        assert!(ClientMessage::parse(&ping(64)).is_ok());
        assert_eq!(code(&ping(65)), "invalid_message");
        let named =
            |bytes: usize| serde_json::json!({"type": "subscribe", "order_ids": ["A".repeat(bytes)]}).to_string();
        assert!(ClientMessage::parse(&named(128)).is_ok());
        assert_eq!(code(&named(129)), "invalid_message");
    }

    #[test]
    fn a_sync_of_too_many_orders_says_so() {
        let sync = |many: usize| {
            let orders: HashMap<String, &str> = (0..many).map(|n| (format!("A-{n}"), "1-0-0")).collect();
            serde_json::json!({"type": "sync", "orders": orders}).to_string()
        };
        assert!(ClientMessage::parse(&sync(2_000)).is_ok());
        assert_eq!(code(&sync(2_001)), "sync_too_large");
    }
}
