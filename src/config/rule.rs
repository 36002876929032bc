//! Rules: how the text of a setting is read, and what a problem says is allowed.

use std::{fmt::Display, ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration};

use secrecy::SecretString;

use super::shown;

/// Reads the text of one setting, or of one item of a list.
pub(super) struct Rule<T> {
    /// Completes "must be …".
    pub(super) allowed: String,
    /// Whether TOML writes the value without quotes.
    pub(super) bare: bool,
    /// What a problem may quote of a text that breaks the rule.
    pub(super) shown: fn(&str) -> Option<&str>,
    parse: Parse<T>,
}

/// The value, or what is wrong with the text where more is known than what is allowed; that repeats nothing of it.
type Parse<T> = Box<dyn Fn(&str) -> Result<T, Option<String>>>;

impl<T> Rule<T> {
    pub(super) fn new(allowed: impl Into<String>, parse: impl Fn(&str) -> Option<T> + 'static) -> Self {
        Self::judging(allowed, move |text| parse(text).ok_or(None))
    }

    /// A rule that says more than what is allowed.
    pub(super) fn judging(
        allowed: impl Into<String>,
        parse: impl Fn(&str) -> Result<T, Option<String>> + 'static,
    ) -> Self {
        Self { allowed: allowed.into(), bare: false, shown: |text| Some(text), parse: Box::new(parse) }
    }

    pub(super) fn parse(&self, text: &str) -> Option<T> {
        (self.parse)(text).ok()
    }

    /// The value, or what is wrong with the text where more is known than what is allowed.
    pub(super) fn examine(&self, text: &str) -> Result<T, Option<String>> {
        (self.parse)(text)
    }

    /// The value, or what is wrong with the text.
    pub(super) fn judge(&self, text: &str) -> Result<T, String> {
        (self.parse)(text).map_err(|reason| reason.unwrap_or_else(|| format!("must be {}", self.allowed)))
    }
}

/// A whole number in a range.
pub(super) fn number<T>(range: RangeInclusive<T>) -> Rule<T>
where
    T: FromStr + PartialOrd + Display + Copy + 'static,
{
    let allowed = format!("a whole number from {} to {}", range.start(), range.end());
    Rule { bare: true, ..Rule::new(allowed, move |text| text.parse().ok().filter(|number| range.contains(number))) }
}

/// A duration in a range, both ends written as durations.
pub(super) fn duration(from: &'static str, to: &'static str) -> Rule<Duration> {
    let read = |text: &str| humantime::parse_duration(text).ok();
    Rule::new(format!("a duration from {from} to {to}, such as 15s or 10m"), move |text| {
        read(text).filter(|given| Some(*given) >= read(from) && Some(*given) <= read(to))
    })
}

/// One of some words.
pub(super) fn one_of<T: Copy + 'static>(words: &'static [(&'static str, T)]) -> Rule<T> {
    let names: Vec<_> = words.iter().map(|(name, _)| *name).collect();
    Rule::new(format!("one of {}", names.join(", ")), |text| {
        words.iter().find(|(name, _)| *name == text).map(|(_, value)| *value)
    })
}

/// The same; of a word that is none of them it is said which is nearest.
pub(super) fn one_of_few<T: Copy + 'static>(words: &'static [(&'static str, T)]) -> Rule<T> {
    let names: Vec<_> = words.iter().map(|(name, _)| *name).collect();
    let allowed = format!("one of {}", names.join(", "));
    let wanted = format!("must be a list, each item {allowed}");
    Rule::judging(allowed, move |text| {
        let found = words.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        let likeness = |name: &&str| strsim::jaro_winkler(&text.to_lowercase(), name);
        let nearest = names.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        let nearest = nearest.filter(|name| likeness(name) > 0.6);
        found.ok_or_else(|| nearest.map(|name| format!("{wanted}; did you mean {name}?")))
    })
}

/// Yes or no.
pub(super) fn boolean() -> Rule<bool> {
    Rule { bare: true, ..one_of(&[("true", true), ("false", false)]) }
}

/// What the type itself reads.
pub(super) fn parsed<T: FromStr + 'static>(allowed: &str) -> Rule<T> {
    Rule::new(allowed, |text| text.parse().ok())
}

/// Text without control characters, not empty, at most `max_chars` long.
pub(super) fn text(max_chars: usize) -> Rule<String> {
    Rule::new(format!("1 to {max_chars} characters, none of them a control character"), move |text| {
        let fits = !text.is_empty() && text.chars().count() <= max_chars && !text.chars().any(char::is_control);
        fits.then(|| text.to_owned())
    })
}

/// A file that can be read.
pub(super) fn readable_file() -> Rule<PathBuf> {
    let rule = Rule::new("the path of a file that can be read", |text| {
        std::fs::File::open(text)
            .and_then(|file| file.metadata())
            .ok()
            .filter(|file| file.is_file())
            .map(|_| text.into())
    });
    Rule { shown: shown::path, ..rule }
}

/// A secret of at least `min_bytes`.
pub(super) fn secret(min_bytes: usize) -> Rule<SecretString> {
    Rule::new(format!("at least {min_bytes} bytes long"), move |text| (text.len() >= min_bytes).then(|| text.into()))
}
