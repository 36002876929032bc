//! What the schema in Kafka Connect's wrapper says of values, where their JSON alone would be taken for something else: a
//! `Decimal` is Base64, a `Date` a small number.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_read_only_where_it_says_more_than_json() {
        let read = |text: &str| Schema::read(serde_json::from_str(text).unwrap()).map(|schema| schema.logical);
        assert_eq!(read(r#"{"type":"struct","fields":[{"type":"string","field":"a"}]}"#), None);
        assert_eq!(read(r#"{"type":"bytes"}"#), Some(Logical::Bytes));
        assert_eq!(read(r#"{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal"}"#), Some(Logical::Bytes));
        assert_eq!(read(r#"{"type":"int32","name":"io.debezium.time.Year"}"#), Some(Logical::Plain));
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
