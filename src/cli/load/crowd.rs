//! All sessions of a process: the threads that hold them, asked together.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use mio::{Poll, Waker};

use super::{
    latency::Latencies,
    roster::Roster,
    tally::{Findings, Pulse, Standing, Tally},
    worker::{COMMAND, Command, Route, Worker},
};

/// Commands that a thread has not looked at; nobody has more to ask at once.
const MAX_COMMANDS: usize = 16;
/// How long a thread may take to answer: it may be reading.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The threads that hold sessions. They are asked to leave when this is dropped.
pub(super) struct Crowd {
    threads: Vec<Held>,
}

struct Held {
    commands: SyncSender<Command>,
    waker: Waker,
    pulse: Arc<Pulse>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Crowd {
    /// Starts so many threads, which hold no session yet.
    pub(super) fn start(roster: &Arc<Roster>, route: Route, threads: u32) -> io::Result<Self> {
        let route = Arc::new(route);
        let start = |number| {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), COMMAND)?;
            let (commands, asked) = sync_channel(MAX_COMMANDS);
            let pulse = Arc::new(Pulse::default());
            let worker = Worker::new(roster.clone(), route.clone(), pulse.clone(), asked, poll, (number, threads));
            let thread = thread::Builder::new().name(format!("load-read-{number}")).spawn(move || worker.run())?;
            Ok(Held { commands, waker, pulse, thread: Some(thread) })
        };
        Ok(Self { threads: (0..threads).map(start).collect::<io::Result<_>>()? })
    }

    /// Asks every thread.
    pub(super) fn ask(&self, command: impl Fn() -> Command) {
        for held in &self.threads {
            // One that has ended has nothing to do any more.
            let _ = held.commands.send(command());
            let _ = held.waker.wake();
        }
    }

    /// Asks every thread and takes the answers of those that are there.
    fn ask_for<T>(&self, command: impl Fn(SyncSender<T>) -> Command) -> Vec<T> {
        let (reply, answers) = sync_channel(self.threads.len());
        self.ask(|| command(reply.clone()));
        drop(reply);
        (0..self.threads.len()).map_while(|_| answers.recv_timeout(ANSWER_TIMEOUT).ok()).collect()
    }

    /// Where the sessions stand.
    pub(super) fn standing(&self) -> Standing {
        let mut all = Standing::default();
        self.ask_for(Command::Stand).into_iter().for_each(|standing| all += standing);
        all
    }

    /// What was found so far.
    pub(super) fn findings(&self) -> Findings {
        let mut all = Findings { tally: Tally::default(), latencies: Latencies::new(), openings: Latencies::new() };
        for findings in self.ask_for(Command::Tell) {
            all.tally += &findings.tally;
            all.latencies.add(&findings.latencies);
            all.openings.add(&findings.openings);
        }
        all
    }

    /// What an update looks like, once one has come.
    pub(super) fn sample(&self) -> Option<Vec<u8>> {
        self.ask_for(Command::Sample).into_iter().flatten().next()
    }

    pub(super) fn live(&self) -> u64 {
        self.sum(|pulse| &pulse.live)
    }

    pub(super) fn ended(&self) -> u64 {
        self.sum(|pulse| &pulse.ended)
    }

    pub(super) fn deliveries(&self) -> u64 {
        self.sum(|pulse| &pulse.deliveries)
    }

    pub(super) fn reads(&self) -> u64 {
        self.sum(|pulse| &pulse.reads)
    }

    pub(super) fn held(&self) -> u64 {
        self.sum(|pulse| &pulse.held)
    }

    /// When the last session ended; 0: none has.
    pub(super) fn last_end(&self) -> u64 {
        self.threads.iter().map(|held| held.pulse.last_end.load(Ordering::Relaxed)).max().unwrap_or(0)
    }

    /// The interval between two heartbeats, once a session has been told.
    pub(super) fn heartbeat(&self) -> Option<Duration> {
        let longest = self.threads.iter().map(|held| held.pulse.heartbeat_ms.load(Ordering::Relaxed)).max();
        longest.filter(|millis| *millis > 0).map(Duration::from_millis)
    }

    fn sum(&self, of: impl Fn(&Pulse) -> &AtomicU64) -> u64 {
        self.threads.iter().map(|held| of(&held.pulse).load(Ordering::Relaxed)).sum()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.ask(|| Command::Leave);
        for held in &mut self.threads {
            if let Some(thread) = held.thread.take() {
                // What it could not do showed in the sessions.
                let _ = thread.join();
            }
        }
    }
}
