//! One JSON value, opened only as far as somebody looks: an object is split into its members, their values stay text.
//! So `details` keep every byte, and what nobody asks for costs no more than being skipped.

use std::{borrow::Cow, fmt, ptr};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    Refusal, RefusalCode, number,
    pointer::Pointer,
    schema::{Logical, Schema},
    text,
    texts::Texts,
};

/// A JSON value with its members in reach.
pub(super) struct Document<'a> {
    text: &'a str,
    root: Container<'a>,
    /// Inner containers that pointers have led through: each is opened once.
    opened: Vec<(&'a RawValue, Container<'a>)>,
    /// What Kafka Connect says of its values.
    schema: Option<Schema<'a>>,
    texts: &'a Texts,
}

enum Container<'a> {
    Object(Object<'a>),
    Array(Vec<&'a RawValue>),
    Scalar,
}

/// An object's members as they stand in the text.
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A value that a pointer has led to.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) value: &'a RawValue,
    pub(super) logical: Logical,
    /// What its items are, if it is an array.
    pub(super) items: Logical,
}

impl<'a> Found<'a> {
    /// A value of which no schema says anything.
    pub(super) fn plain(value: &'a RawValue) -> Self {
        Self { value, logical: Logical::Plain, items: Logical::Plain }
    }
}

impl<'a> Document<'a> {
    /// Accepts any JSON text that passes [`text::check`].
    pub(super) fn parse(text: &'a str, texts: &'a Texts) -> Result<Self, Refusal> {
        text::check(text)?;
        // serde_json names line and column and never quotes the text when it only splits it.
        let root = Container::parse(text).map_err(|error| Refusal::new(RefusalCode::NotJson, error.to_string()))?;
        Ok(Self { text, root, opened: Vec::new(), schema: None, texts })
    }

    /// A value inside this document, and what is said of it.
    pub(super) fn inner(&self, value: &'a RawValue, schema: Option<Schema<'a>>) -> Self {
        Self { text: value.get(), root: Container::open(value), opened: Vec::new(), schema, texts: self.texts }
    }

    /// The members, if the value is an object.
    pub(super) fn object(&self) -> Option<&Object<'a>> {
        match &self.root {
            Container::Object(object) => Some(object),
            Container::Array(_) | Container::Scalar => None,
        }
    }

    /// What the value holds, if it is a string that seems to hold an object.
    pub(super) fn held(&self) -> Option<Result<Self, Refusal>> {
        let held = match self.root {
            Container::Scalar => self.value().and_then(held_text)?,
            Container::Object(_) | Container::Array(_) => return None,
        };
        held.starts_with('{').then(|| Self::parse(self.texts.keep(held), self.texts))
    }

    /// What a string holds, if that is an object; any other value as it is.
    pub(super) fn unquoted(self) -> Result<Self, Refusal> {
        self.held().unwrap_or(Ok(self))
    }

    /// What a string holds, if that is an object, an array or null; any other value as it is.
    pub(super) fn unquote(&self, value: &'a RawValue) -> Result<&'a RawValue, Refusal> {
        let Some(text) = held_text(value) else { return Ok(value) };
        let text = self.texts.keep(text);
        text::check(text)?;
        Ok(serde_json::from_str(text).unwrap_or(value))
    }

    /// The value as a whole, unless it is null.
    pub(super) fn whole(&self) -> Option<Found<'a>> {
        self.value().and_then(present).map(|value| self.found(value, self.schema.as_ref()))
    }

    /// A member that is there and not null.
    pub(super) fn member(&self, name: &str) -> Option<Found<'a>> {
        let value = self.object()?.get(name)?;
        Some(self.found(value, self.schema.as_ref().and_then(|schema| schema.member(name))))
    }

    /// The value a pointer leads to; `None` also for `null`, which means absent. On its way it may pass one string that
    /// holds an object.
    pub(super) fn find(&mut self, pointer: &Pointer) -> Option<Found<'a>> {
        let Some((first, inner)) = pointer.tokens().split_first() else { return self.whole() };
        let (mut value, mut may_unquote) = (self.root.member(first)?, true);
        for token in inner {
            value = self.open(value, &mut may_unquote).member(token)?;
        }
        let schema = self.schema.as_ref().and_then(|schema| schema.at(pointer.tokens()));
        present(value).map(|value| self.found(value, schema))
    }

    /// What is said of a member.
    pub(super) fn schema_of(&self, name: &str) -> Option<Schema<'a>> {
        self.schema.as_ref()?.member(name).cloned()
    }

    fn found(&self, value: &'a RawValue, schema: Option<&Schema<'a>>) -> Found<'a> {
        let Some(schema) = schema else { return Found::plain(value) };
        Found { value, logical: schema.logical, items: schema.items() }
    }

    fn value(&self) -> Option<&'a RawValue> {
        serde_json::from_str(self.text).ok()
    }

    fn open(&mut self, value: &'a RawValue, may_unquote: &mut bool) -> &Container<'a> {
        let unquotes = is_string(value) && std::mem::take(may_unquote);
        let known = self.opened.iter().position(|(opened, _)| ptr::eq(*opened, value));
        let index = known.unwrap_or_else(|| {
            let held = if unquotes { self.unquote(value).unwrap_or(value) } else { value };
            self.opened.push((value, Container::open(held)));
            self.opened.len() - 1
        });
        &self.opened[index].1
    }
}

impl<'a> Container<'a> {
    fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        Ok(match text.trim_start().as_bytes().first() {
            Some(b'{') => Self::Object(serde_json::from_str(text)?),
            Some(b'[') => Self::Array(serde_json::from_str(text)?),
            _ => {
                serde_json::from_str::<&RawValue>(text)?;
                Self::Scalar
            }
        })
    }

    /// Opens a value whose text has been checked with the document around it.
    fn open(value: &'a RawValue) -> Self {
        Self::parse(value.get()).unwrap_or(Self::Scalar)
    }

    fn member(&self, token: &str) -> Option<&'a RawValue> {
        match self {
            Self::Object(object) => object.member(token),
            Self::Array(items) => items.get(array_index(token)?).copied(),
            Self::Scalar => None,
        }
    }
}

impl<'a> Object<'a> {
    /// The value of a member that is there and not null. Of members of one name the last counts, as everywhere.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.member(name).and_then(present)
    }

    /// Whether these names, and no others, are its members.
    pub(super) fn has_exactly(&self, names: &[&str]) -> bool {
        self.0.len() == names.len() && names.iter().all(|name| self.member(name).is_some())
    }

    fn member(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| *value)
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                // Room for an ordinary event in one allocation.
                let mut members = Vec::with_capacity(12);
                while let Some((Name(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// A string's text; `None` for any other value.
pub(super) fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let inner = value.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(value.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// The members of a value that is an object.
pub(super) fn object_of(value: &RawValue) -> Option<Object<'_>> {
    match Container::open(value) {
        Container::Object(object) => Some(object),
        Container::Array(_) | Container::Scalar => None,
    }
}

/// The text of a string that seems to hold an object, an array or null: it remains to be seen whether that is JSON.
fn held_text(value: &RawValue) -> Option<String> {
    let text = string(value)?;
    let held = without_mark(&text).trim_ascii();
    (held.starts_with(['{', '[']) || held == "null").then(|| held.to_owned())
}

fn is_string(value: &RawValue) -> bool {
    value.get().starts_with('"')
}

/// A text without the mark of its byte order, which some writers put before it.
pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// What a value is, for a message.
pub(super) fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ if number::whole(value.get()).is_some() => "a whole number",
        _ => "a number with a fraction or an exponent",
    }
}

/// `null` means absent.
pub(super) fn present(value: &RawValue) -> Option<&RawValue> {
    (value.get() != "null").then_some(value)
}

/// RFC 6901: digits without a leading zero.
fn array_index(token: &str) -> Option<usize> {
    let plain = token.bytes().all(|byte| byte.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
    if plain { token.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str, pointer: &str) -> Option<String> {
        let texts = Texts::default();
        let mut document = Document::parse(text, &texts).unwrap();
        document.find(&pointer.parse().unwrap()).map(|found| found.value.get().to_owned())
    }

    #[test]
    fn pointers_lead_through_objects_and_arrays() {
        let text = r#" {"a": {"b": [10, {"c/d": "x"}], "": 1}, "e": 1.50} "#;
        assert_eq!(find(text, "/e").as_deref(), Some("1.50"));
        assert_eq!(find(text, "/a/").as_deref(), Some("1"));
        assert_eq!(find(text, "/a/b/0").as_deref(), Some("10"));
        assert_eq!(find(text, "/a/b/1/c~1d").as_deref(), Some("\"x\""));
        assert_eq!(find(text, "").as_deref(), Some(text.trim()));
        for nowhere in ["/x", "/e/x", "/a/b/2", "/a/b/-", "/a/b/00", "/a/b/+1", "/a/b/", "/a/b/99999999999999999999"] {
            assert_eq!(find(text, nowhere), None, "{nowhere}");
        }
        assert_eq!(find("[[7]]", "/0/0").as_deref(), Some("7"));
        assert_eq!(find("7", "").as_deref(), Some("7"));
        assert_eq!(find("null", ""), None);
    }

    #[test]
    fn pointers_lead_through_one_string_that_holds_an_object_and_no_further() {
        let text = r#"{"after":"{\"id\":1,\"list\":[7],\"inner\":\"{\\\"id\\\":2}\"}","list":" [1] ","x":"{"}"#;
        assert_eq!(find(text, "/after/id").as_deref(), Some("1"));
        assert_eq!(find(text, "/after/list/0").as_deref(), Some("7"));
        assert_eq!(find(text, "/after/inner").as_deref(), Some(r#""{\"id\":2}""#));
        assert_eq!(find(text, "/after/inner/id"), None);
        assert_eq!(find(text, "/list/0").as_deref(), Some("1"));
        assert_eq!(find(text, "/x/0"), None);
        let deeper = r#"{"a":{"b":"{\"c\":1}"}}"#;
        assert_eq!(find(deeper, "/a/b/c").as_deref(), Some("1"), "what is no string takes nothing away");
    }

    #[test]
    fn every_value_is_called_what_it_is() {
        for (text, called) in [
            ("{}", "an object"),
            ("[]", "an array"),
            (r#""7""#, "a string"),
            ("true", "a boolean"),
            ("false", "a boolean"),
            ("null", "null"),
            ("-7", "a whole number"),
            ("7.0", "a whole number"),
            ("0.7", "a number with a fraction or an exponent"),
            ("1e400", "a number with a fraction or an exponent"),
        ] {
            assert_eq!(kind(serde_json::from_str(text).unwrap()), called, "{text}");
        }
    }

    #[test]
    fn of_repeated_members_the_last_counts_even_if_null() {
        assert_eq!(find(r#"{"a":1,"a":2}"#, "/a").as_deref(), Some("2"));
        assert_eq!(find(r#"{"a":1,"\u0061":2}"#, "/a").as_deref(), Some("2"));
        assert_eq!(find(r#"{"a":1,"a":null}"#, "/a"), None);
        assert_eq!(find(r#"{"a":{"b":1},"a":{"c":2}}"#, "/a/b"), None);
    }

    #[test]
    fn only_json_is_parsed() {
        for text in
            ["", " ", "{", "{}{}", "{\"a\":1,}", "{a:1}", "'a'", "nul", "01", "NaN", "\u{feff}{}", "{\"a\":\"\0\"}"]
        {
            let texts = Texts::default();
            let refusal = Document::parse(text, &texts).err().map(|refusal| refusal.code);
            assert_eq!(refusal, Some(RefusalCode::NotJson), "{text:?}");
        }
    }
}
