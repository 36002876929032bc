//! How a command ends when it cannot do as asked.

use std::process::ExitCode;

use crate::config::SettingsError;

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The arguments cannot be used together, or not here. One problem per line.
    #[error("{0}")]
    Usage(String),
    /// It was tried and failed.
    #[error("{0}")]
    Failed(String),
    /// Whoever read stdout has left, which ends a command early but is nobody's mistake.
    #[error("stdout was closed")]
    ReaderLeft,
}

impl CommandError {
    /// A failure at run time.
    pub(super) fn failed(reason: impl std::fmt::Display) -> Self {
        Self::Failed(reason.to_string())
    }

    /// What to tell on stderr: every problem at once, one per line.
    pub(super) fn message(&self) -> Option<String> {
        let problems = match self {
            Self::ReaderLeft => return None,
            problems => problems.to_string(),
        };
        Some(problems.lines().map(|problem| format!("error: {problem}")).collect::<Vec<_>>().join("\n"))
    }

    /// What the process ends with.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Settings(_) | Self::Usage(_) => ExitCode::from(2),
            Self::Failed(_) => ExitCode::FAILURE,
            Self::ReaderLeft => ExitCode::SUCCESS,
        }
    }
}
