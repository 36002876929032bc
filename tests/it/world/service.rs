//! `ordercast serve` as a process of its own, the way it runs in production.

use std::{
    fs,
    net::SocketAddr,
    process::{Command, ExitStatus, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{PATIENCE, World, eventually};

/// The running binary; killed when it is dropped.
pub struct Service {
    pub address: SocketAddr,
    pub operations: SocketAddr,
    child: tokio::process::Child,
    directory: TempDir,
}

impl Service {
    /// Starts it on the world's topic and database, and waits until it is ready.
    pub async fn start(world: &World) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = fs::File::create(directory.path().join("output")).unwrap();
        let child = tokio::process::Command::new(env!("CARGO_BIN_EXE_ordercast"))
            .arg("serve")
            .envs(&world.settings)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let nowhere = "0.0.0.0:0".parse().unwrap();
        let mut service = Self { address: nowhere, operations: nowhere, child, directory };
        eventually("it listens", async || service.listening().is_some()).await;
        (service.address, service.operations) = service.listening().unwrap();
        let url = format!("http://{}/health/ready", service.operations);
        eventually("it is ready", async || reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success()))
            .await;
        service
    }

    /// Where its log says that it listens.
    fn listening(&self) -> Option<(SocketAddr, SocketAddr)> {
        let address = |line: &Value, key| line[key].as_str().and_then(|text| text.parse().ok());
        self.output()
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find_map(|line| Some((address(&line, "http.listen")?, address(&line, "operations.listen")?)))
    }

    /// Every byte it has written.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.directory.path().join("output")).unwrap()).into_owned()
    }

    /// A figure of `/proc/<pid>/status` in KiB.
    pub fn status_kib(&self, field: &str) -> i64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }

    /// Forgets the peak of its memory.
    pub fn reset_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").unwrap();
    }

    pub fn terminate(&self) {
        let sent = Command::new("kill").arg("-TERM").arg(self.pid().to_string()).status().unwrap();
        assert!(sent.success());
    }

    pub async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap()
    }

    fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }
}
