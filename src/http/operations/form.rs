//! What operators ask for, in a body or in a query: fields by name. A slip of the finger must not ask for more than was
//! meant, so what is not known, stands twice or is null is refused, and so is what stands in the other place. Pure.

use std::fmt;

use actix_web::{HttpMessage, HttpRequest, HttpResponse, ResponseError, http::StatusCode, web::Bytes};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

use crate::{
    domain::{Timestamp, UserId},
    http::refusal::Refusal,
};

/// Largest body that is read.
pub(super) const MAX_BODY_BYTES: usize = 16 * 1024;
/// A name this much like a known one was meant to be that.
const LIKENESS: f64 = 0.8;

/// A request's body, or why it could not be had.
pub(super) type Body = Result<Bytes, actix_web::Error>;

/// Why a form is refused, for the operator.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misread(String);

impl Misread {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ResponseError for Misread {
    fn status_code(&self) -> StatusCode {
        StatusCode::BAD_REQUEST
    }

    fn error_response(&self) -> HttpResponse {
        Refusal::BadRequest("").response_saying(&self.0)
    }
}

/// Fields that an operator gave, all of them known.
#[derive(Debug)]
pub(super) struct Form(Vec<(String, Value)>);

impl Form {
    /// The fields of a JSON body, of which there may be these.
    pub(super) fn in_body(request: &HttpRequest, body: Body, known: &[&str]) -> Result<Self, Misread> {
        if !request.query_string().is_empty() {
            return Err(Misread::new("all is said in the body here, and nothing in the query"));
        }
        // A page of another origin cannot send this content type unasked.
        let is_json = request.content_type().eq_ignore_ascii_case("application/json");
        let body = body.ok().filter(|_| is_json);
        Self::of_json(body.as_deref().unwrap_or_default(), known)
    }

    /// The fields of a query, of which there may be these.
    pub(super) fn in_query(request: &HttpRequest, body: Body, known: &[&str]) -> Result<Self, Misread> {
        if body.map_or(true, |body| !body.is_empty()) {
            return Err(Misread::new("all is said in the query here, and nothing in a body"));
        }
        Self::of_query(request.query_string(), known)
    }

    fn of_json(body: &[u8], known: &[&str]) -> Result<Self, Misread> {
        let Fields(fields) = serde_json::from_slice(body).map_err(|_| {
            Misread::new("the body must be a JSON object of the documented form, with content type application/json")
        })?;
        Self(fields).checked(known)
    }

    fn of_query(query: &str, known: &[&str]) -> Result<Self, Misread> {
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect()).checked(known)
    }

    fn checked(self, known: &[&str]) -> Result<Self, Misread> {
        for (index, (name, value)) in self.0.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(unknown(name, known));
            }
            if self.0[..index].iter().any(|(before, _)| before == name) {
                return Err(Misread(format!("{name:?} stands twice")));
            }
            if value.is_null() {
                return Err(Misread(format!("{name:?} is null: leave it out, or give it a value")));
            }
        }
        Ok(self)
    }

    /// An id, as tokens have it: text, or a whole number.
    pub(super) fn id(&mut self, name: &str) -> Result<Option<String>, Misread> {
        self.take(name, |value| match value {
            Value::String(text) => Some(text),
            Value::Number(number) if !number.is_f64() => Some(number.to_string()),
            _ => None,
        })
        .map_err(|()| Misread(format!("{name:?} must be text or a whole number")))
    }

    /// A user's id.
    pub(super) fn user(&mut self, name: &str) -> Result<Option<UserId>, Misread> {
        let id = self.id(name)?.map(|text| UserId::parse(&text));
        id.transpose().map_err(|why| Misread(format!("{name:?} {why}")))
    }

    /// An id of 1 to so many characters.
    pub(super) fn name(&mut self, name: &str, max_chars: usize) -> Result<Option<String>, Misread> {
        bounded(name, self.id(name)?, max_chars)
    }

    /// Text of 1 to so many characters.
    pub(super) fn text(&mut self, name: &str, max_chars: usize) -> Result<Option<String>, Misread> {
        let text = self.take(name, |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        });
        bounded(name, text.map_err(|()| Misread(format!("{name:?} must be text")))?, max_chars)
    }

    /// A moment, as the wire or as a token has it: RFC 3339, or seconds since 1970.
    pub(super) fn moment(&mut self, name: &str) -> Result<Option<Timestamp>, Misread> {
        self.take(name, |value| match value {
            Value::String(text) => Timestamp::parse_rfc3339(&text),
            value => value.as_i64()?.checked_mul(1000).and_then(Timestamp::from_millis),
        })
        .map_err(|()| Misread(format!("{name:?} must be a time: RFC 3339, or a token's seconds since 1970")))
    }

    fn take<T>(&mut self, name: &str, read: impl FnOnce(Value) -> Option<T>) -> Result<Option<T>, ()> {
        let Some(index) = self.0.iter().position(|(given, _)| given == name) else { return Ok(None) };
        read(self.0.swap_remove(index).1).map(Some).ok_or(())
    }
}

fn bounded(name: &str, text: Option<String>, max_chars: usize) -> Result<Option<String>, Misread> {
    match text.as_ref().map_or(1, |text| text.chars().count()) {
        many if (1..=max_chars).contains(&many) => Ok(text),
        _ => Err(Misread(format!("{name:?} must have 1 to {max_chars} characters"))),
    }
}

/// Names the field and the one that was probably meant. A name that is like none is not repeated: an answer quotes nothing that
/// was not meant to be a name.
fn unknown(name: &str, known: &[&str]) -> Misread {
    let plain =
        |name: &str| name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    let likeness = |other: &&&str| {
        let (one, other) = (plain(name), plain(other));
        if strsim::osa_distance(&one, &other) <= 1 { 1.0 } else { strsim::jaro_winkler(&one, &other) }
    };
    let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest.filter(|nearest| name.len() <= 64 && likeness(nearest) >= LIKENESS) {
        Some(nearest) => Misread(format!("{name:?} is not known here; did you mean {nearest:?}?")),
        None if known.is_empty() => Misread::new("nothing can be asked for here"),
        None => Misread(format!("something was given that is not known here; known are {}", listed(known))),
    }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

/// The fields of an object in their order, even where a name stands twice.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["jti", "expires_at", "user_id", "issued_before"];

    fn json(text: &str) -> Result<Form, String> {
        Form::of_json(text.as_bytes(), &KNOWN).map_err(|misread| misread.0)
    }

    #[test]
    fn a_slip_of_the_finger_is_named_with_what_was_meant() {
        for (name, meant) in [
            ("userId", "user_id"),
            ("userid", "user_id"),
            ("UserID", "user_id"),
            ("user-id", "user_id"),
            ("user", "user_id"),
            ("useer_id", "user_id"),
            ("issuedbefore", "issued_before"),
            ("issuedBefore", "issued_before"),
            ("expiresAt", "expires_at"),
            ("expire_at", "expires_at"),
            ("JTI", "jti"),
            ("jit", "jti"),
        ] {
            let wanted = format!("{name:?} is not known here; did you mean {meant:?}?");
            assert_eq!(json(&format!(r#"{{"user_id":"u-1",{name:?}:"x"}}"#)).unwrap_err(), wanted);
            let query = Form::of_query(&format!("user_id=u-1&{name}=x"), &KNOWN);
            assert_eq!(query.unwrap_err(), Misread(wanted));
        }
    }

    #[test]
    fn what_is_like_nothing_is_refused_and_not_repeated() {
        for name in ["secret", "a token that was pasted here", "", &"user_id".repeat(50)] {
            let why = json(&format!(r#"{{{name:?}:1}}"#)).unwrap_err();
            assert!(why.contains(r#"known are "jti", "expires_at", "user_id", "issued_before""#), "{why}");
            assert!(name.is_empty() || !why.contains(name), "{why}");
        }
        assert_eq!(Form::of_query("user_id=u-1", &[]).unwrap_err().0, "nothing can be asked for here");
    }

    #[test]
    fn a_field_that_stands_twice_or_is_null_is_refused() {
        for (text, why) in [
            (r#"{"jti":"a","jti":"b"}"#, r#""jti" stands twice"#),
            (r#"{"jti":"a","\u006ati":"a"}"#, r#""jti" stands twice"#),
            (r#"{"user_id":null}"#, r#""user_id" is null: leave it out, or give it a value"#),
        ] {
            assert_eq!(json(text).unwrap_err(), why);
        }
        let twice = Form::of_query("user_id=u-1&user%5Fid=u-2", &KNOWN);
        assert_eq!(twice.unwrap_err().0, r#""user_id" stands twice"#);
    }

    #[test]
    fn a_body_is_one_object_and_nothing_else() {
        for text in [
            "",
            "null",
            "[]",
            r#"["u-1"]"#,
            r#""u-1""#,
            "{}{}",
            r#"{"jti":"a"}x"#,
            r#"{"jti":"a",}"#,
            "{",
            "\u{feff}{}",
        ] {
            assert!(json(text).unwrap_err().starts_with("the body must be a JSON object"), "{text}");
        }
        assert!(json(" {} \n").is_ok());
    }

    #[test]
    fn values_are_of_the_kind_of_their_field() {
        let mut form = json(r#"{"jti":7,"expires_at":1795253400,"user_id":"u-1"}"#).unwrap();
        assert_eq!(form.id("jti"), Ok(Some("7".to_owned())));
        let expires_at = form.moment("expires_at").unwrap().unwrap();
        assert_eq!(expires_at, Timestamp::parse_rfc3339("2026-11-21T09:30:00Z").unwrap());
        assert_eq!(form.user("user_id"), Ok(UserId::parse("u-1").ok()));
        assert_eq!((form.user("user_id"), form.moment("issued_before")), (Ok(None), Ok(None)));
        for value in ["true", "1.5", "[]", "{}", r#""""#, r#""a\u0000b""#] {
            assert!(json(&format!(r#"{{"user_id":{value}}}"#)).unwrap().user("user_id").is_err(), "{value}");
        }
        for value in ["true", "1.5", r#""""#, r#""1795253400""#, r#""yesterday""#, "1795253400000000", "{}"] {
            assert!(json(&format!(r#"{{"expires_at":{value}}}"#)).unwrap().moment("expires_at").is_err(), "{value}");
        }
        for (value, is_name, is_text) in
            [(r#""""#, false, false), (r#""abcd""#, false, false), (r#""äbc""#, true, true), ("123", true, false)]
        {
            let form = || json(&format!(r#"{{"jti":{value}}}"#)).unwrap();
            assert_eq!((form().name("jti", 3).is_ok(), form().text("jti", 3).is_ok()), (is_name, is_text), "{value}");
        }
    }
}
