//! What is wrong with the settings: every problem at once, each with its key, its value and what is allowed.
//!
//! A secret's value never gets here; who makes a [`Problem`] decides what it shows.

use std::fmt;

/// One thing to put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The settings it is about: one, or all that contradict each other.
    pub keys: Vec<String>,
    text: String,
}

impl Problem {
    /// `place: message`, about one key.
    pub(crate) fn at(key: &str, place: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self { keys: vec![key.to_owned()], text: format!("{place}: {message}") }
    }

    /// Settings that cannot hold together; `message` names them.
    pub(super) fn between(keys: &[&str], message: impl Into<String>) -> Self {
        Self { keys: keys.iter().map(|key| (*key).to_owned()).collect(), text: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The settings cannot be used. Displays one problem per line.
#[derive(Debug, Clone, thiserror::Error)]
pub struct SettingsError {
    /// At least one, in the order of the settings.
    pub problems: Vec<Problem>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{problem}")?;
        }
        Ok(())
    }
}
