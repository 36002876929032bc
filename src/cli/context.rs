//! What every command is called with: the settings' sources, and what an `ordercast dev` of this directory left here.

use std::{ffi::OsString, path::PathBuf};

use super::{error::CommandError, output::say};
use crate::{
    config::{Need, Settings, Sources, load},
    dev::{DEFAULT_DATA_DIR, Handover},
};

/// The surroundings of a command.
#[derive(Debug)]
pub(super) struct Context {
    config: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
}

impl Context {
    /// Of this settings file and process environment.
    pub(super) fn new(config: Option<PathBuf>, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self { config, environment: environment.into_iter().collect() }
    }

    /// The layers of the settings.
    pub(super) fn sources(&self) -> Result<Sources, CommandError> {
        Ok(Sources::read(self.config.clone(), self.environment.iter().cloned())?)
    }

    /// The settings, checked for a command with these needs.
    pub(super) fn settings(&self, needs: &[Need]) -> Result<Settings, CommandError> {
        Ok(load(&self.sources()?, needs)?)
    }

    /// The settings; where they name no brokers, below them those of the `ordercast dev` of the current directory.
    pub(super) fn settings_or_dev(&self, needs: &[Need]) -> Result<Settings, CommandError> {
        let mut sources = self.sources()?;
        if load(&sources, &[])?.kafka.brokers.is_empty()
            && let Some(dev) = self.dev()?
        {
            sources.preset = dev.preset(&PathBuf::from(DEFAULT_DATA_DIR)).map_err(CommandError::failed)?;
        }
        Ok(load(&sources, needs)?)
    }

    /// Where the `ordercast dev` of the current directory listens, if there is one. Says on stderr that it is used.
    pub(super) fn dev(&self) -> Result<Option<Handover>, CommandError> {
        let directory = PathBuf::from(DEFAULT_DATA_DIR);
        let handover = Handover::read(&directory).map_err(CommandError::failed)?;
        if handover.is_some() {
            say(format_args!("using {}", Handover::path(&directory).display()));
        }
        Ok(handover)
    }
}
