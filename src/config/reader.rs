//! The reader: hands each setting its value, and remembers what there was to know about it.
//!
//! A section asks for its settings one after the other, naming key, default and rule in one place. A value that breaks its rule
//! is noted as a problem and the default stands in, so that all problems are found in one pass. What no section asked
//! for is unknown.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use secrecy::SecretString;

use super::{
    librdkafka,
    problem::Problem,
    rule::Rule,
    shown,
    sources::{Given, Origin, Raw, Sources, is_of_kubernetes, strangers, variable},
};

/// One setting as it took effect.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) section: &'static str,
    pub(super) name: String,
    /// As the environment would write it; `None` where there is none.
    pub(super) default: Option<String>,
    /// As TOML writes it, secrets starred; `None` where nothing is set.
    pub(super) literal: Option<String>,
    pub(super) origin: Origin,
}

impl Entry {
    pub(super) fn key(&self) -> String {
        full_key(self.section, &self.name)
    }
}

/// The whole key of a setting; there is one that stands in no section.
fn full_key(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

/// Reads all sections, then is asked what went wrong.
pub(super) struct Reader {
    given: BTreeMap<String, Given>,
    pub(super) entries: Vec<Entry>,
    pub(super) problems: Vec<Problem>,
    /// Further names of settings already in `entries`: `…_file`.
    file_keys: Vec<String>,
    /// Variables that have the prefix and are no settings.
    strangers: Vec<String>,
    /// What is no mistake for certain.
    pub(super) warnings: Vec<String>,
}

impl Reader {
    pub(super) fn new(sources: &Sources) -> Self {
        let mut problems = Vec::new();
        let given = sources.merge(&mut problems);
        let strangers = strangers(&sources.environment).into_iter().map(str::to_owned).collect();
        Self { given, entries: Vec::new(), problems, file_keys: Vec::new(), strangers, warnings: Vec::new() }
    }

    pub(super) fn section(&mut self, name: &'static str) -> Section<'_> {
        Section { reader: self, name }
    }

    /// Notes every value that no section asked for, with the nearest name that one would have.
    pub(super) fn refuse_unknown(&mut self) {
        let known: Vec<String> = self.entries.iter().map(Entry::key).chain(self.file_keys.iter().cloned()).collect();
        for (key, given) in std::mem::take(&mut self.given) {
            let likeness = |name: &&String| strsim::jaro_winkler(&key, name);
            let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
            let hint = nearest.map(|name| format!("; did you mean {}?", given.origin.spell(name))).unwrap_or_default();
            self.problems.push(Problem::at(&key, given.origin.place(&key), format!("is not a setting{hint}")));
        }
        self.judge_strangers(&known);
    }

    /// Notes every variable that would be a setting, were its underscores right. Others may be meant for somebody else.
    fn judge_strangers(&mut self, known: &[String]) {
        let squashed = |name: &str| name.replace('_', "");
        let properties = librdkafka::names().map(|name| format!("kafka.properties.{name}"));
        let properties = properties.flat_map(|key| [format!("{key}_file"), key]);
        let variables: Vec<String> = known.iter().cloned().chain(properties).map(|key| variable(&key)).collect();
        for name in std::mem::take(&mut self.strangers) {
            match variables.iter().find(|variable| squashed(variable) == squashed(&name)) {
                Some(meant) => {
                    self.problems.push(Problem::at(&name, &name, format!("is not a setting; did you mean {meant}?")));
                }
                None if is_of_kubernetes(&name) => {}
                None => self
                    .warnings
                    .push(format!("{name} is not a setting and is not read: settings begin with ORDERCAST__")),
            }
        }
    }

    /// Notes a contradiction, unless one of its settings has a problem already (its default would be judged).
    pub(super) fn refuse(&mut self, keys: &[&str], message: impl Into<String>) {
        let mut broken = self.problems.iter().flat_map(|problem| &problem.keys);
        if !broken.any(|broken| keys.contains(&broken.trim_end_matches("_file"))) {
            self.problems.push(Problem::between(keys, message));
        }
    }
}

/// One section of the settings, being read.
pub(super) struct Section<'a> {
    reader: &'a mut Reader,
    name: &'static str,
}

impl Section<'_> {
    /// A setting with a default.
    pub(super) fn value<T>(&mut self, name: &str, default: &str, rule: Rule<T>) -> T {
        let (found, origin) = self.single(name, &rule);
        let (text, value) = found.unwrap_or_else(|| {
            let value = rule.parse(default).expect("every default obeys its own rule: loading nothing is tested");
            (default.to_owned(), value)
        });
        self.enter(name, Some(default.to_owned()), Some(literal(&shown::plain(&text), rule.bare)), origin);
        value
    }

    /// A setting that may be absent.
    pub(super) fn optional<T>(&mut self, name: &str, rule: Rule<T>) -> Option<T> {
        let (found, origin) = self.single(name, &rule);
        let (text, value) = found.unzip();
        self.enter(name, None, text.map(|text| literal(&shown::plain(&text), rule.bare)), origin);
        value
    }

    /// A list: an array in TOML, or items with commas between them. Empty text is an empty list, unless it is an item.
    pub(super) fn list<T>(&mut self, name: &str, default: &str, rule: Rule<T>) -> Vec<T> {
        let split = |text: &str| match text {
            "" if rule.parse("").is_none() => Vec::new(),
            _ => text.split(',').map(|item| item.trim().to_owned()).collect(),
        };
        let given = self.take(name);
        let (items, origin) = match given {
            Some(Given { raw: Raw::Text(text), origin }) => (Some(split(&text)), origin),
            Some(Given { raw: Raw::List(items), origin }) => (Some(items), origin),
            Some(Given { raw: Raw::Nested, origin }) => {
                self.note(name, &origin, None, &format!("must be a list, each item {}", rule.allowed));
                (None, Origin::Default)
            }
            None => (None, Origin::Default),
        };
        let items = items.unwrap_or_else(|| split(default));
        let mut values = Vec::with_capacity(items.len());
        for item in &items {
            match rule.examine(item) {
                Ok(value) => values.push(value),
                Err(wanted) => {
                    let wanted = wanted.unwrap_or_else(|| format!("must be a list, each item {}", rule.allowed));
                    self.note(name, &origin, (rule.shown)(item), &wanted);
                }
            }
        }
        let literals: Vec<_> = items.iter().map(|item| literal(&shown::plain(item), rule.bare)).collect();
        self.enter(name, Some(default.to_owned()), Some(format!("[{}]", literals.join(", "))), origin);
        values
    }

    /// A secret, itself or as `<name>_file`; `show` says what may be seen of it.
    pub(super) fn secret(
        &mut self,
        name: &str,
        rule: Rule<SecretString>,
        show: fn(&str) -> String,
    ) -> Option<SecretString> {
        let file_name = format!("{name}_file");
        self.reader.file_keys.push(self.key(&file_name));
        let (found, origin) = match (self.take(name), self.take(&file_name)) {
            (Some(value), Some(file)) => {
                let (name, file_name) = (self.key(name), self.key(&file_name));
                let message = format!(
                    "{} and {}: only one of the two may be given",
                    value.origin.place(&name),
                    file.origin.place(&file_name)
                );
                self.reader.problems.push(Problem::between(&[&name, &file_name], message));
                (None, Origin::Default)
            }
            (None, Some(file)) => (self.read_file(&file_name, &file), file.origin),
            (Some(Given { raw: Raw::Text(text), origin }), None) => (Some(text), origin),
            (Some(Given { origin, .. }), None) => {
                self.note(name, &origin, None, &format!("must be {}", rule.allowed));
                (None, origin)
            }
            (None, None) => (None, Origin::Default),
        };
        let value = found
            .as_ref()
            .and_then(|text| rule.judge(text).map_err(|wrong| self.note(name, &origin, None, &wrong)).ok());
        self.enter(name, None, found.map(|text| literal(&show(&text), false)), origin);
        value
    }

    /// The file a secret is given by, if it is; asked before the secret itself is.
    pub(super) fn file_of(&self, name: &str) -> Option<PathBuf> {
        match &self.reader.given.get(&self.key(&format!("{name}_file")))?.raw {
            Raw::Text(path) => Some(path.into()),
            _ => None,
        }
    }

    /// Everything given below `<section>.<name>.`, with the rest of its key.
    pub(super) fn take_below(&mut self, name: &str) -> Vec<(String, Given)> {
        let prefix = format!("{}.", self.key(name));
        let keys: Vec<_> = self.reader.given.keys().filter(|key| key.starts_with(&prefix)).cloned().collect();
        let take = |key: String| {
            let given = self.reader.given.remove(&key)?;
            Some((key[prefix.len()..].to_owned(), given))
        };
        keys.into_iter().filter_map(take).collect()
    }

    /// The text of the file a `…_file` setting names, without its line break at the end.
    pub(super) fn read_file(&mut self, name: &str, given: &Given) -> Option<String> {
        let Raw::Text(path) = &given.raw else {
            self.note(name, &given.origin, None, "must be the path of a file");
            return None;
        };
        match secret_in(Path::new(path)) {
            Ok(text) => Some(text),
            Err(error) => {
                let wanted = format!("must be the path of a UTF-8 text file that can be read ({error})");
                self.note(name, &given.origin, shown::path(path), &wanted);
                None
            }
        }
    }

    /// Records how a setting took effect.
    pub(super) fn enter(&mut self, name: &str, default: Option<String>, literal: Option<String>, origin: Origin) {
        self.reader.entries.push(Entry { section: self.name, name: name.to_owned(), default, literal, origin });
    }

    /// Notes what is wrong with a value; `value` is left out where it is secret.
    pub(super) fn note(&mut self, name: &str, origin: &Origin, value: Option<&str>, wrong: &str) {
        let key = self.key(name);
        let given = value.map(|value| format!(" = {}", shown::quoted(value))).unwrap_or_default();
        self.reader.problems.push(Problem::at(&key, format!("{}{given}", origin.place(&key)), wrong));
    }

    fn single<T>(&mut self, name: &str, rule: &Rule<T>) -> (Option<(String, T)>, Origin) {
        match self.take(name) {
            None => (None, Origin::Default),
            Some(Given { raw: Raw::Text(text), origin }) => match rule.judge(&text) {
                Ok(value) => (Some((text, value)), origin),
                Err(wrong) => {
                    self.note(name, &origin, (rule.shown)(&text), &wrong);
                    (None, origin)
                }
            },
            Some(Given { origin, .. }) => {
                self.note(name, &origin, None, &format!("must be {}, not a list", rule.allowed));
                (None, origin)
            }
        }
    }

    fn take(&mut self, name: &str) -> Option<Given> {
        let key = self.key(name);
        self.reader.given.remove(&key)
    }

    /// The whole key of one of its settings.
    pub(super) fn key(&self, name: &str) -> String {
        full_key(self.name, name)
    }
}

/// The text of a file that holds a secret, without its line break at the end.
pub(super) fn secret_in(path: &Path) -> io::Result<String> {
    Ok(fs::read_to_string(path)?.trim_end_matches(['\r', '\n']).to_owned())
}

/// A value as TOML writes it. JSON's escapes are TOML's too.
pub(super) fn literal(text: &str, bare: bool) -> String {
    if bare { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}
