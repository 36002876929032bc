//! LogRules the pipelines follow, by name, so that the simulation can switch each off and see that it is needed.

/// One rule; what happens without it is in the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum LogRule {
    /// What has not been proved for a while is stale.
    Silence,
    /// What is proved is all that has been acknowledged, not what may be read of it.
    WholeLog,
    /// An answer about the log that is older than progress says nothing of it.
    NewerLook,
    /// An answer about the log is compared with progress as it was known when that was asked for, however long it took.
    OlderReading,
}

/// All rules hold, but one that a test has switched off.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LogRules {
    #[cfg(test)]
    pub(crate) off: Option<LogRule>,
}

impl LogRules {
    #[cfg(test)]
    pub(crate) fn hold(self, rule: LogRule) -> bool {
        self.off != Some(rule)
    }

    #[cfg(not(test))]
    pub(crate) const fn hold(self, _rule: LogRule) -> bool {
        true
    }
}
