//! What a run was measured on.

use std::fs;

use serde::Serialize;

/// The machine.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) memory_gib: f64,
    pub(super) kernel: String,
    /// The cores this process may use.
    pub(super) own_cores: String,
}

impl Machine {
    /// This one.
    pub(super) fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let of = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
            line.map(|(_, value)| value.trim().to_owned())
        };
        let (cpus, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let kib = of(&memory, "MemTotal").and_then(|kib| kib.trim_end_matches(" kB").parse::<f64>().ok());
        Self {
            cpu: of(&cpus, "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: cpus.lines().filter(|line| line.starts_with("processor")).count(),
            memory_gib: (kib.unwrap_or(0.0) / 1024.0 / 1024.0 * 10.0).round() / 10.0,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            own_cores: super::process::cores("self").unwrap_or_default(),
        }
    }
}
