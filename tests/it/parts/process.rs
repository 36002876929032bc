//! One program started by a test and ended with it, whatever way the test ends. The parts beside this file use it; tests do not.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::{PATIENCE, repository};

/// A running part.
pub struct Process {
    child: tokio::process::Child,
    pid: u32,
    log: PathBuf,
    /// The signal that ends the program at once and still lets it leave nothing behind.
    last_signal: &'static str,
}

impl Process {
    /// Starts `tests/parts/<part>`. The programs ask the kernel to end them with the *thread* that started them, so that not
    /// even a killed test leaves one running: call this from the test's own task, never from `spawn_blocking`.
    pub fn start(part: &str, arguments: &[impl AsRef<OsStr>], log: &Path, last_signal: &'static str) -> Self {
        Self::start_by(&[], part, arguments, log, last_signal)
    }

    /// The same by a command that becomes it.
    pub fn start_by(
        runner: &[OsString],
        part: &str,
        arguments: &[impl AsRef<OsStr>],
        log: &Path,
        last_signal: &'static str,
    ) -> Self {
        let part = repository("tests/parts").join(part);
        let words: Vec<&OsStr> = runner.iter().map(OsString::as_os_str).chain([part.as_os_str()]).collect();
        let output = File::options().create(true).append(true).open(log).expect("a log file in the part's directory");
        let child = tokio::process::Command::new(words[0])
            .args(&words[1..])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", part.display()));
        let pid = child.id().expect("a child nobody has waited for has a pid");
        Self { child, pid, log: log.to_owned(), last_signal }
    }

    /// Awaits what `ready` asks for, asking again and again; panics with the program's output if it ends or takes too long.
    pub async fn wait_until<F: Future<Output = bool>>(&mut self, mut ready: impl FnMut() -> F) {
        let deadline = Instant::now() + PATIENCE;
        while !ready().await {
            let ended = self.child.try_wait().expect("a child can be asked");
            assert!(ended.is_none() && Instant::now() < deadline, "not ready ({ended:?}):\n{}", self.output());
            // A foreign program has no event for being ready.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The program's own, whatever became it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends `signal` and awaits the end.
    pub async fn end(&mut self, signal: &str) -> ExitStatus {
        self.resume();
        self.signal(signal);
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let Ok(status) = ended else { panic!("still there after SIG{signal}:\n{}", self.output()) };
        status.expect("a child can be awaited")
    }

    /// Stops the program where it stands, children included: it keeps its connections and answers nothing.
    pub fn pause(&self) {
        self.signal("STOP");
        self.signal_children("STOP");
    }

    /// Lets a paused program go on.
    pub fn resume(&self) {
        self.signal_children("CONT");
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        send(signal, &self.pid.to_string());
    }

    fn signal_children(&self, signal: &str) {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid)).unwrap_or_default();
        children.split_whitespace().for_each(|child| send(signal, child));
    }

    fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        self.resume();
        self.signal(self.last_signal);
        // The directory goes next, so the program must be gone; a drop cannot await.
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The standard library can only kill; every other signal is sent by the shell's command.
fn send(signal: &str, pid: &str) {
    // A process that has just ended by itself is not an error.
    let _ = Command::new("kill").arg(format!("-{signal}")).arg(pid).stderr(Stdio::null()).status();
}
