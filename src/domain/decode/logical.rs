//! What the schema in Kafka Connect's wrapper says of a value, where its JSON alone would be taken for something else:
//! a `Decimal` is Base64, a `Date` a small number.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    document::{Found, kind, object_of, string},
    number,
};

/// Longest decimal, in bytes: more digits than an id may have.
const MAX_DECIMAL_BYTES: usize = 64;
/// One of these stands in every schema that has anything to say here.
const SIGNS: [&str; 4] = ["\"bytes\"", "connect.data.", "debezium.time.", "VariableScaleDecimal"];

/// What a value is by its schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Logical {
    /// What its JSON says.
    #[default]
    Plain,
    /// Bytes that are no number: in JSON their Base64.
    Bytes,
    /// A number: the Base64 of its unscaled digits, or the number itself.
    Decimal {
        /// How many of the digits stand behind the point.
        scale: i32,
    },
    /// The same as an object of `scale` and `value`.
    VariableDecimal,
    /// A moment.
    Moment(Unit),
    /// A time of day or a duration.
    Time,
}

/// How a moment is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Days since 1970.
    Days,
    /// Milliseconds since 1970.
    Millis,
    /// Microseconds since 1970.
    Micros,
    /// Nanoseconds since 1970.
    Nanos,
    /// As text.
    Text,
}

/// A schema, as far as it is needed.
#[derive(Debug, Clone, Default)]
pub(super) struct Schema<'a> {
    pub(super) logical: Logical,
    fields: Vec<(Cow<'a, str>, Self)>,
    /// Of an array or a map.
    items: Option<Box<Self>>,
}

/// A schema as `JsonConverter` writes it.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    r#type: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    field: Option<Text<'a>>,
    #[serde(borrow)]
    parameters: Option<Parameters<'a>>,
    #[serde(borrow)]
    fields: Option<Vec<Written<'a>>>,
    #[serde(borrow)]
    items: Option<Box<Written<'a>>>,
    #[serde(borrow)]
    values: Option<Box<Written<'a>>>,
}

#[derive(Deserialize)]
struct Parameters<'a> {
    #[serde(borrow)]
    scale: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Schema<'a> {
    /// Reads a schema; `None` where it says nothing that JSON does not.
    pub(super) fn read(schema: &'a RawValue) -> Option<Self> {
        let has_signs = SIGNS.iter().any(|sign| schema.get().contains(sign));
        let written: Option<Written<'a>> = if has_signs { serde_json::from_str(schema.get()).ok() } else { None };
        written.map(Self::of)
    }

    fn of(written: Written<'a>) -> Self {
        let logical = written.logical();
        let named = |field: Written<'a>| {
            let name = field.field.as_ref().map_or(Cow::Borrowed(""), |name| name.0.clone());
            (name, Self::of(field))
        };
        Self {
            logical,
            fields: written.fields.into_iter().flatten().map(named).collect(),
            items: written.items.or(written.values).map(|items| Box::new(Self::of(*items))),
        }
    }

    /// The schema of what these tokens lead to.
    pub(super) fn at(&self, tokens: &[Box<str>]) -> Option<&Self> {
        tokens.iter().try_fold(self, |schema, token| schema.member(token))
    }

    /// The schema of a field, or of the items of an array or a map.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        let field = self.fields.iter().find(|(field, _)| field == name).map(|(_, schema)| schema);
        field.or(self.items.as_deref())
    }

    /// What the items of an array are.
    pub(super) fn items(&self) -> Logical {
        self.items.as_ref().map_or(Logical::Plain, |items| items.logical)
    }
}

impl Written<'_> {
    fn logical(&self) -> Logical {
        let text = |text: &Option<Text<'_>>| text.as_ref().map_or(String::new(), |text| text.0.clone().into_owned());
        let scale = || self.parameters.as_ref().and_then(|parameters| text(&parameters.scale).parse().ok());
        let name = text(&self.name);
        if let Some(name) = name.strip_prefix("org.apache.kafka.connect.data.") {
            return match name {
                "Decimal" => scale().map_or(Logical::Bytes, |scale| Logical::Decimal { scale }),
                "Date" => Logical::Moment(Unit::Days),
                "Timestamp" => Logical::Moment(Unit::Millis),
                _ => Logical::Time,
            };
        }
        if let Some(name) = name.strip_prefix("io.debezium.time.") {
            return match name {
                "Date" => Logical::Moment(Unit::Days),
                "Timestamp" => Logical::Moment(Unit::Millis),
                "MicroTimestamp" => Logical::Moment(Unit::Micros),
                "NanoTimestamp" => Logical::Moment(Unit::Nanos),
                "ZonedTimestamp" | "IsoTimestamp" | "IsoDate" => Logical::Moment(Unit::Text),
                "Year" => Logical::Plain,
                _ => Logical::Time,
            };
        }
        match (name.as_str(), text(&self.r#type).as_str()) {
            ("io.debezium.data.VariableScaleDecimal", _) => Logical::VariableDecimal,
            (_, "bytes") => Logical::Bytes,
            _ => Logical::Plain,
        }
    }
}

/// The text of an id or a status: a string's, or the digits of a whole number.
pub(super) fn text<'a>(found: Found<'a>) -> Result<Cow<'a, str>, String> {
    let no_text = |what: &str| Err(format!("is {what} by its schema, and must be a string or a whole number"));
    let value = found.value;
    match found.logical {
        Logical::Plain => string(value)
            .or_else(|| number::whole(value.get()))
            .ok_or_else(|| format!("must be a string or a whole number, not {}", kind(value))),
        Logical::Decimal { .. } | Logical::VariableDecimal => {
            let digits = decimal(found).and_then(|decimal| Some(number::whole(&decimal)?.into_owned()));
            digits.map_or_else(|| no_text("no whole Decimal"), |digits| Ok(Cow::Owned(digits)))
        }
        Logical::Bytes => no_text("bytes"),
        Logical::Moment(_) | Logical::Time => no_text("a time"),
    }
}

/// A decimal as JSON would write a number.
pub(super) fn decimal(found: Found<'_>) -> Option<Cow<'_, str>> {
    let (value, scale) = match found.logical {
        Logical::Decimal { scale } => (found.value, scale),
        Logical::VariableDecimal => {
            let object = object_of(found.value)?;
            (object.get("value")?, object.get("scale")?.get().parse().ok()?)
        }
        _ => return None,
    };
    let Some(base64) = string(value) else { return Some(Cow::Borrowed(value.get())) };
    let bytes = BASE64_STANDARD.decode(base64.as_bytes()).ok().filter(|bytes| bytes.len() <= MAX_DECIMAL_BYTES)?;
    let digits = digits(&bytes)?;
    Some(Cow::Owned(format!("{digits}e{}", i64::from(scale).saturating_neg())))
}

/// The decimal digits of a whole number in two's complement, the highest byte first.
fn digits(bytes: &[u8]) -> Option<String> {
    let is_negative = bytes.first()? & 0x80 != 0;
    let mut digits: Vec<u8> = vec![0];
    for byte in bytes {
        // Of a negative number -n this makes n - 1.
        let byte = if is_negative { !byte } else { *byte };
        shift_in(&mut digits, 256, byte);
    }
    if is_negative {
        shift_in(&mut digits, 1, 1);
    }
    let digits: String = digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect();
    Some(if is_negative { format!("-{digits}") } else { digits })
}

/// Multiplies a number, lowest digit first, and adds to it.
fn shift_in(digits: &mut Vec<u8>, times: u32, plus: u8) {
    let mut carry = u32::from(plus);
    for digit in digits.iter_mut() {
        let value = u32::from(*digit) * times + carry;
        // A remainder of 10 fits.
        *digit = (value % 10) as u8;
        carry = value / 10;
    }
    while carry > 0 {
        digits.push((carry % 10) as u8);
        carry /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_of_twos_complement() {
        for (base64, number) in [
            ("Kg==", Some("42")),
            ("AA==", Some("0")),
            ("/w==", Some("-1")),
            ("gA==", Some("-128")),
            ("AIA=", Some("128")),
            ("AQAAAAAAAAAA", Some("18446744073709551616")),
            ("/wAAAAAAAAAA", Some("-18446744073709551616")),
            ("", None),
        ] {
            let bytes = BASE64_STANDARD.decode(base64).unwrap();
            assert_eq!(digits(&bytes).as_deref(), number, "{base64}");
        }
        for number in [i64::MIN, i64::MAX, -1_000, 1_000, 255, 256, -255, -256, -257] {
            assert_eq!(digits(&number.to_be_bytes()), Some(number.to_string()));
        }
    }

    #[test]
    fn a_schema_is_read_only_where_it_says_more_than_json() {
        let read = |text: &str| Schema::read(serde_json::from_str(text).unwrap()).map(|schema| schema.logical);
        assert_eq!(read(r#"{"type":"struct","fields":[{"type":"string","field":"a"}]}"#), None);
        assert_eq!(read(r#"{"type":"bytes"}"#), Some(Logical::Bytes));
        assert_eq!(read(r#"{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal"}"#), Some(Logical::Bytes));
        assert_eq!(read("null"), None);
    }

    #[test]
    fn a_schema_is_followed_through_structs_arrays_and_maps() {
        let text = r#"{"type":"struct","name":"x","fields":[
            {"type":"struct","field":"after","fields":[
                {"type":"int32","name":"io.debezium.time.Date","version":1,"field":"day"},
                {"type":"array","items":{"type":"bytes"},"optional":true,"field":"list"},
                {"type":"map","keys":{"type":"string"},"values":{"type":"int64","name":"org.apache.kafka.connect.data.Timestamp"},"field":"map"}
            ]}]}"#;
        let schema = Schema::read(serde_json::from_str(text).unwrap()).unwrap();
        let at = |tokens: &[&str]| {
            let tokens: Vec<Box<str>> = tokens.iter().map(|token| (*token).into()).collect();
            schema.at(&tokens).map(|schema| (schema.logical, schema.items()))
        };
        assert_eq!(at(&["after", "day"]), Some((Logical::Moment(Unit::Days), Logical::Plain)));
        assert_eq!(at(&["after", "list"]), Some((Logical::Plain, Logical::Bytes)));
        assert_eq!(at(&["after", "list", "0"]), Some((Logical::Bytes, Logical::Plain)));
        assert_eq!(at(&["after", "map", "x"]), Some((Logical::Moment(Unit::Millis), Logical::Plain)));
        assert_eq!(at(&["after", "none"]), None);
        assert_eq!(at(&["before", "day"]), None);
    }
}
