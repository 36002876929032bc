//! The raw floor: what writing the same bytes to as many sockets costs when nothing else is done. Two processes of their own,
//! so that the CPU of the one that sends is its own, and neither runs out of files.

mod read;
mod send;

use std::{io, net::IpAddr, process::Stdio};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::{latency::Latencies, process};
use crate::cli::error::CommandError;

/// The processes that take part in `ordercast load --against floor`, which starts them. They end with their stdin.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum Floor {
    /// Waits for sessions and sends
    Send(send::Send),
    /// Opens sessions and reads
    Read(read::Read),
}

impl Floor {
    /// Takes part until stdin is closed.
    pub(in crate::cli) fn run(self) -> Result<(), CommandError> {
        match self {
            Self::Send(send) => send.run(),
            Self::Read(read) => read.run(),
        }
        .map_err(CommandError::failed)
    }
}

/// What a process of the floor says when it stands.
#[derive(Debug, Serialize, Deserialize)]
struct Ready {
    port: u16,
}

/// One round, as both are told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Round {
    /// When sending begins, and when it ends.
    pub(super) from: u64,
    pub(super) to: u64,
    /// From when on it counts.
    pub(super) counts_from: u64,
    /// Sends a second.
    pub(super) rate: f64,
    /// The text of each frame. The digits of its due time are replaced.
    pub(super) text: String,
}

/// What the sender did.
#[derive(Debug, Serialize, Deserialize)]
struct Sent {
    sent: u64,
    /// Frames that a socket did not take whole.
    blocked: u64,
}

/// What the reader saw.
#[derive(Debug, Serialize, Deserialize)]
struct Seen {
    /// Microseconds and how often, of what was due in the window.
    recorded: Vec<(u64, u64)>,
    /// How much of the time its threads were busy.
    busy: f64,
}

/// What a round came to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) latencies: Latencies,
    pub(super) busy: f64,
}

/// The running floor; both processes are killed when this is dropped.
pub(super) struct Standing {
    sender: Part,
    reader: Part,
}

struct Part {
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Standing {
    /// Starts both and connects so many sessions. `cores` are those the sender is to run on, where it is not to run where this
    /// process may.
    pub(super) async fn start(
        sessions: u32,
        threads: u32,
        sources: &[IpAddr],
        cores: Option<&str>,
    ) -> Result<Self, CommandError> {
        let sessions = sessions.to_string();
        let mut sender = Part::start(&["send", "--sessions", &sessions], cores)?;
        let Ready { port } = sender.hear().await?;
        let (address, threads) = (format!("127.0.0.1:{port}"), threads.to_string());
        let sources: Vec<String> =
            sources.iter().filter(|source| source.is_loopback()).map(IpAddr::to_string).collect();
        let sources = sources.join(",");
        let mut arguments = vec!["read", "--address", &address, "--sessions", &sessions, "--threads", &threads];
        if !sources.is_empty() {
            arguments.extend(["--source-addresses", &sources]);
        }
        let mut reader = Part::start(&arguments, None)?;
        let _: Ready = sender.hear().await?;
        let _: Ready = reader.hear().await?;
        Ok(Self { sender, reader })
    }

    /// What the sender has used so far, in microseconds of CPU.
    pub(super) fn cpu_micros(&self) -> io::Result<u64> {
        let pid = self.sender.child.id().ok_or_else(|| io::Error::other("the floor's sender has ended"))?;
        Ok(process::usage(&[pid])?.cpu_micros)
    }

    /// Begins a round.
    pub(super) async fn begin(&mut self, round: &Round) -> Result<(), CommandError> {
        self.reader.tell(round).await?;
        self.sender.tell(round).await
    }

    /// Waits for the end of the round.
    pub(super) async fn end(&mut self) -> Result<Outcome, CommandError> {
        let sent: Sent = self.sender.hear().await?;
        let seen: Seen = self.reader.hear().await?;
        if sent.blocked > 0 {
            let blocked = format!("{} of {} frames of the floor met a full socket", sent.blocked, sent.sent);
            return Err(CommandError::Failed(blocked));
        }
        Ok(Outcome { latencies: Latencies::of(&seen.recorded), busy: seen.busy })
    }
}

impl Part {
    fn start(arguments: &[&str], cores: Option<&str>) -> Result<Self, CommandError> {
        let program = std::env::current_exe().map_err(CommandError::failed)?;
        let mut command = match cores {
            Some(cores) => {
                let mut command = Command::new("taskset");
                command.args(["-c", cores]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.arg("load-floor").args(arguments);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).process_group(0).spawn();
        let mut child =
            spawned.map_err(|error| CommandError::Failed(format!("the raw floor cannot be started: {error}")))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else {
            return Err(CommandError::Failed("the raw floor cannot be spoken to".to_owned()));
        };
        Ok(Self { child, stdin, stdout: BufReader::new(stdout).lines() })
    }

    async fn tell(&mut self, what: &impl Serialize) -> Result<(), CommandError> {
        let mut line = serde_json::to_vec(what).map_err(CommandError::failed)?;
        line.push(b'\n');
        self.stdin.write_all(&line).await.map_err(|_| ended())
    }

    async fn hear<T: DeserializeOwned>(&mut self) -> Result<T, CommandError> {
        let line = self.stdout.next_line().await.ok().flatten().ok_or_else(ended)?;
        serde_json::from_str(&line).map_err(|error| CommandError::Failed(format!("the raw floor says {line}: {error}")))
    }
}

fn ended() -> CommandError {
    CommandError::Failed("the raw floor has ended before its time".to_owned())
}

/// Says something on stdout, where the process that started this one listens.
fn answer(what: &impl Serialize) -> io::Result<()> {
    use std::io::Write;
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

/// The next round, or none any more.
fn next_round(lines: &mut impl Iterator<Item = io::Result<String>>) -> io::Result<Option<Round>> {
    let Some(line) = lines.next() else { return Ok(None) };
    serde_json::from_str(&line?).map(Some).map_err(io::Error::other)
}
