//! Where settings come from: the layers, as values. Reads the file and the environment it is given, nothing global.
//!
//! Later layers win: preset, file, environment. The defaults stand with their settings, one file per section.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    fmt, fs,
    path::PathBuf,
    sync::Arc,
};

use config::{Environment, File, FileFormat, Source, Value, ValueKind};

use super::problem::{Problem, SettingsError};

/// Names the settings file where `--config` does not.
const FILE_VARIABLE: &str = "ORDERCAST_CONFIG";
const PREFIX: &str = "ORDERCAST";
const SEPARATOR: &str = "__";
/// Of the variables that the project's tests and scripts read.
const OWN_PREFIXES: [&str; 3] = ["ORDERCAST_TEST_", "ORDERCAST_SIM_", "ORDERCAST_SOAK_"];
const TRANSPORTS: [&str; 3] = ["TCP", "UDP", "SCTP"];
const LINK_PARTS: [&str; 3] = ["PROTO", "PORT", "ADDR"];

/// The layers above the defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// What a command sets for itself; file and environment override it.
    pub preset: Vec<(&'static str, String)>,
    /// The settings file.
    pub file: Option<SettingsFile>,
    /// Environment variables. Those that begin with `ORDERCAST__` are settings; of others it is said where they look like
    /// some.
    pub environment: HashMap<String, String>,
}

/// A settings file, read.
#[derive(Debug, Clone)]
pub struct SettingsFile {
    /// As problems name it.
    pub path: String,
    /// TOML.
    pub text: String,
}

impl Sources {
    /// Reads the file `--config` (`flag`) or `ORDERCAST_CONFIG` names, and keeps of `variables` (the process
    /// environment, in production) what is meant for Ordercast.
    pub fn read(
        flag: Option<PathBuf>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, SettingsError> {
        let mut problems = Vec::new();
        let mut environment = HashMap::new();
        let mut named = None;
        for (name, value) in variables {
            let Some(name) = name.to_str() else { continue };
            if name == FILE_VARIABLE && !value.is_empty() {
                named = Some(PathBuf::from(value));
            } else if is_setting(name) {
                match value.into_string() {
                    Ok(value) => drop(environment.insert(name.to_owned(), value)),
                    Err(_) => problems.push(Problem::at(name, name, "must be valid UTF-8")),
                }
            } else if name.starts_with(PREFIX) {
                environment.insert(name.to_owned(), value.to_string_lossy().into_owned());
            }
        }
        let file = flag.or(named).and_then(|path| match fs::read_to_string(&path) {
            Ok(text) => Some(SettingsFile { path: path.display().to_string(), text }),
            Err(error) => {
                problems.push(Problem::at("", path.display(), format!("cannot be read: {error}")));
                None
            }
        });
        if problems.is_empty() {
            Ok(Self { preset: Vec::new(), file, environment })
        } else {
            Err(SettingsError { problems })
        }
    }

    /// All layers as one flat map from dotted key to what the last layer gave. The keys are not yet known to be settings.
    pub(super) fn merge(&self, problems: &mut Vec<Problem>) -> BTreeMap<String, Given> {
        let mut given = BTreeMap::new();
        for (key, value) in &self.preset {
            given.insert((*key).to_owned(), Given { raw: Raw::Text(value.clone()), origin: Origin::Preset });
        }
        if let Some(file) = &self.file {
            match File::from_str(&file.text, FileFormat::Toml).collect() {
                Ok(tables) => flatten("", tables, &Origin::File(file.path.as_str().into()), &mut given),
                Err(error) => problems.push(Problem::at("", &file.path, without_source_lines(&error.to_string()))),
            }
        }
        let ours = self.environment.iter().filter(|(name, _)| is_setting(name));
        let environment = Environment::with_prefix(PREFIX)
            .prefix_separator(SEPARATOR)
            .separator(SEPARATOR)
            .source(Some(ours.map(|(name, value)| (name.clone(), value.clone())).collect()));
        match environment.collect() {
            Ok(values) => flatten("", values, &Origin::Environment, &mut given),
            Err(error) => problems.push(Problem::at("", "environment", error)),
        }
        given
    }
}

/// Whether the environment means it as a setting.
fn is_setting(variable: &str) -> bool {
    variable.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with(SEPARATOR))
}

/// What one layer says of one key.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) raw: Raw,
    pub(super) origin: Origin,
}

/// A value as it was written, before its setting says what it means.
#[derive(Debug, Clone)]
pub(super) enum Raw {
    Text(String),
    List(Vec<String>),
    /// A list of tables or of lists, which no setting is.
    Nested,
}

impl From<ValueKind> for Raw {
    fn from(kind: ValueKind) -> Self {
        match kind {
            ValueKind::Array(items) => items
                .into_iter()
                .map(|item| match Self::from(item.kind) {
                    Self::Text(text) => Some(text),
                    _ => None,
                })
                .collect::<Option<_>>()
                .map_or(Self::Nested, Self::List),
            ValueKind::Table(_) => Self::Nested,
            scalar => Self::Text(Value::new(None, scalar).to_string()),
        }
    }
}

/// The layer a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    Preset,
    File(Arc<str>),
    Environment,
}

impl Origin {
    /// The key as this layer spells it, with the place to look for it.
    pub(super) fn place(&self, key: &str) -> String {
        match self {
            Self::File(path) => format!("{key} in {path}"),
            _ => self.spell(key),
        }
    }

    /// The key as this layer spells it.
    pub(super) fn spell(&self, key: &str) -> String {
        if *self == Self::Environment { variable(key) } else { key.to_owned() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Preset => f.write_str("set by the command"),
            Self::File(path) => f.write_str(path),
            Self::Environment => f.write_str("environment"),
        }
    }
}

/// The environment variable of a key: `kafka.brokers` is `ORDERCAST__KAFKA__BROKERS`.
pub fn variable(key: &str) -> String {
    // librdkafka's property names have dots of their own, written as `_` in a variable.
    let (section, property) = match key.strip_prefix("kafka.properties.") {
        Some(property) => ("kafka.properties.", property.replace('.', "_")),
        None => ("", key.to_owned()),
    };
    format!("{PREFIX}{SEPARATOR}{}", format!("{section}{property}").replace('.', SEPARATOR)).to_uppercase()
}

/// Variables that have the prefix and are no settings, nor what the project itself or Kubernetes means by such names: for a
/// Service `ordercast` (or `ordercast-…`) it sets `ORDERCAST_SERVICE_HOST`, `ORDERCAST_PORT_8080_TCP` and more.
pub(super) fn strangers(environment: &HashMap<String, String>) -> Vec<&str> {
    let is_strange = |name: &&str| {
        let Some(rest) = name.strip_prefix(PREFIX) else { return false };
        let is_ours = *name == FILE_VARIABLE || OWN_PREFIXES.iter().any(|own| name.starts_with(own));
        !rest.starts_with(SEPARATOR) && !is_ours
    };
    let mut strange: Vec<&str> = environment.keys().map(String::as_str).filter(is_strange).collect();
    strange.sort_unstable();
    strange
}

/// Whether Kubernetes sets a variable of this name for a Service.
pub(super) fn is_of_kubernetes(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_link = |ports: &str| {
        let mut parts = ports.split('_');
        let is_port =
            parts.next().is_some_and(is_number) && parts.next().is_some_and(|name| TRANSPORTS.contains(&name));
        is_port && parts.next().is_none_or(|last| LINK_PARTS.contains(&last)) && parts.next().is_none()
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.ends_with("_PORT")
        || name.split_once("_PORT_").is_some_and(|(_, ports)| is_link(ports))
}

fn flatten(prefix: &str, table: HashMap<String, Value>, origin: &Origin, given: &mut BTreeMap<String, Given>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value.kind {
            ValueKind::Table(inner) => flatten(&key, inner, origin, given),
            kind => drop(given.insert(key, Given { raw: kind.into(), origin: origin.clone() })),
        }
    }
}

/// A TOML error without the lines of the file it quotes: a secret may stand in them.
fn without_source_lines(message: &str) -> String {
    let is_quote =
        |line: &&str| line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit()).trim_start().starts_with('|');
    message
        .lines()
        .filter(|line| !is_quote(line))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(": ")
}
