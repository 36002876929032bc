//! `ordercast serve` as a process of its own, which can be killed and paused.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::{self, File},
    net::SocketAddr,
    process::{Command, ExitStatus, Stdio},
};

use serde_json::Value;
use tempfile::NamedTempFile;

use super::{PATIENCE, eventually};

/// A running `ordercast serve`; killed when dropped.
pub(super) struct Served {
    child: tokio::process::Child,
    log: NamedTempFile,
}

impl Served {
    pub(super) fn start(settings: &HashMap<String, String>) -> Self {
        Self::start_by(&[], settings)
    }

    /// The same by a command that becomes it.
    pub(super) fn start_by(runner: &[OsString], settings: &HashMap<String, String>) -> Self {
        let log = NamedTempFile::new().unwrap();
        let output: File = log.reopen().unwrap();
        // `scripts/soak` has the release.
        let binary = std::env::var_os("ORDERCAST_TEST_PROGRAM");
        let binary = binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_ordercast").into());
        let words: Vec<&OsString> = runner.iter().chain([&binary]).collect();
        let child = tokio::process::Command::new(words[0])
            .args(&words[1..])
            .arg("serve")
            .env_clear()
            // What may have to become it.
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(settings)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// Where it listens: publicly, and for operators.
    pub(super) async fn addresses(&self) -> (SocketAddr, SocketAddr) {
        let mut found = None;
        eventually("the instance says where it listens", async || {
            found = self.log().lines().find_map(addresses);
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    pub(super) fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args([format!("-{signal}"), pid]).status().unwrap().success());
    }

    pub(super) fn resident_bytes(&self) -> usize {
        let pid = self.child.id().expect("it runs");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("every process has a size");
        let kibibytes: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
        kibibytes * 1024
    }

    pub(super) async fn end(mut self, signal: &str) -> ExitStatus {
        self.signal(signal);
        self.ended(signal).await
    }

    /// Waits for the end that `signal` asked for.
    pub(super) async fn ended(&mut self, signal: &str) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("still there after SIG{signal}:\n{}", self.log())).unwrap()
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Every byte it has written.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap()
    }
}

/// A test that fails is told what its instances had to say.
impl Drop for Served {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().filter(|line| !line.contains("session ended")).collect();
            eprintln!("── an instance ──\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}

fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let field = |name: &str| line[name].as_str().or(line["fields"][name].as_str())?.parse().ok();
    let operations = field("operations.listen")?;
    // One that only records has no other.
    Some((field("http.listen").unwrap_or(operations), operations))
}
