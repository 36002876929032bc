//! `ordercast serve` watched from outside: what it writes, what it takes, how it ends.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    process::ExitStatus,
    time::{Duration, Instant},
};

use super::{PATIENCE, World, eventually, metric, process::Served};

/// The running binary; killed when it is dropped.
pub struct Service {
    pub address: SocketAddr,
    pub operations: SocketAddr,
    served: Served,
}

impl Service {
    /// Starts it on the world's topic and database, and waits until it is ready.
    pub async fn start(world: &World) -> Self {
        let service = Self::launch(&world.settings).await;
        service.wait_until_ready().await;
        service
    }

    /// Starts it with these settings alone, and waits until it listens.
    pub async fn launch(settings: &HashMap<String, String>) -> Self {
        let served = Served::start(settings);
        let (address, operations) = served.addresses().await;
        Self { address, operations, served }
    }

    pub async fn wait_until_ready(&self) {
        let url = format!("http://{}/health/ready", self.operations);
        eventually("it is ready", async || reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success()))
            .await;
    }

    /// Waits until a line that it has written has all of these in it, and returns the first.
    pub async fn says(&self, words: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(said) = self.lines(words).into_iter().next() {
                return said;
            }
            assert!(Instant::now() < deadline, "it does not say {words:?}, but:\n{}", self.output());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// All lines that it has written and that have all of these in them.
    pub fn lines(&self, words: &[&str]) -> Vec<String> {
        let output = self.output();
        let fits = |line: &&str| words.iter().all(|word| line.contains(word));
        output.lines().filter(fits).map(str::to_owned).collect()
    }

    /// The value of a metric, labels and all as it is written.
    pub async fn metric(&self, name: &str) -> f64 {
        metric(self.operations, name).await
    }

    /// Every byte it has written.
    pub fn output(&self) -> String {
        self.served.log()
    }

    /// A figure of `/proc/<pid>/status` in KiB.
    pub fn status_kib(&self, field: &str) -> i64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.served.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }

    /// How often each of its threads has given its core back to wait for something, by its name and number.
    pub fn waits_of_threads(&self) -> HashMap<String, u64> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.served.pid())).unwrap();
        let waits = threads.filter_map(|thread| {
            // One that has ended has no figures.
            let status = fs::read_to_string(thread.unwrap().path().join("status")).ok()?;
            let field = |field: &str| status.lines().find_map(|line| line.strip_prefix(field)).map(str::trim);
            let name = format!("{} {}", field("Name:")?, field("Pid:")?);
            Some((name, field("voluntary_ctxt_switches:")?.parse().ok()?))
        });
        waits.collect()
    }

    /// Files and sockets it has open.
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.served.pid())).unwrap().count()
    }

    /// Forgets the peak of its memory.
    pub fn reset_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.served.pid()), "5").unwrap();
    }

    pub fn terminate(&self) {
        self.served.signal("TERM");
    }

    pub async fn ended(&mut self) -> ExitStatus {
        self.served.ended("TERM").await
    }
}
