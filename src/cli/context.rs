//! What every command is called with: the settings' sources, and what an `ordercast dev` of this directory left here.

use std::{cell::Cell, ffi::OsString, path::PathBuf};

use super::{error::CommandError, output::say};
use crate::{
    config::{Need, Settings, Sources, load, warnings},
    dev::{DEFAULT_DATA_DIR, Handover},
};

/// The surroundings of a command.
#[derive(Debug)]
pub(super) struct Context {
    config: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
    has_warned: Cell<bool>,
}

impl Context {
    /// Of this settings file and process environment.
    pub(super) fn new(config: Option<PathBuf>, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self { config, environment: environment.into_iter().collect(), has_warned: Cell::new(false) }
    }

    /// The layers of the settings. Says on stderr, once, what may be a mistake in them.
    pub(super) fn sources(&self) -> Result<Sources, CommandError> {
        let sources = Sources::read(self.config.clone(), self.environment.iter().cloned())?;
        if !self.has_warned.replace(true) {
            warnings(&sources).iter().for_each(|warning| say(format_args!("warning: {warning}")));
        }
        Ok(sources)
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
