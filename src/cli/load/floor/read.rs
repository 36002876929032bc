//! The side that reads: the same threads as those of the sessions that are measured.

use std::{
    io::{self, BufRead},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use clap::Args;

use super::{Ready, Seen, answer, next_round};
use crate::cli::load::{
    bottleneck::Busy,
    clock,
    crowd::Crowd,
    names::Names,
    roster::Roster,
    schedule::Schedule,
    tokens::Tokens,
    transport::{Target, Transport},
    worker::{Command, Route},
};

const OPEN_TIMEOUT: Duration = Duration::from_secs(60);
/// What was sent last is there by then, on a machine that is busy with other things too.
const TAIL: Duration = Duration::from_secs(5);

/// Arguments of the reader.
#[derive(Debug, Args)]
pub(in crate::cli) struct Read {
    /// The sender
    #[arg(long)]
    address: SocketAddr,
    /// Sessions to open
    #[arg(long)]
    sessions: u32,
    /// Threads that hold them
    #[arg(long)]
    threads: u32,
    /// Addresses to connect from
    #[arg(long, value_delimiter = ',')]
    source_addresses: Vec<IpAddr>,
}

impl Read {
    pub(super) fn run(self) -> io::Result<()> {
        rlimit::increase_nofile_limit(u64::MAX)?;
        let roster = Arc::new(Roster::new(Names::new("floor"), Tokens::none(), self.sessions, 1, 1));
        let target = Target { host: String::new(), path: String::new() };
        let route = Route {
            transport: Transport::Bare,
            destinations: vec![(self.address, target)],
            sources: self.source_addresses,
            stalling: 0,
        };
        let crowd = Crowd::start(&roster, route, self.threads)?;
        crowd.ask(|| Command::Open { a_second: None, together: false });
        let begun = Instant::now();
        while crowd.live() < u64::from(self.sessions) {
            if begun.elapsed() > OPEN_TIMEOUT {
                return Err(io::Error::other("the raw floor's sessions could not be opened"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        answer(&Ready { port: self.address.port() })?;
        let mut rounds = io::stdin().lock().lines();
        while let Some(round) = next_round(&mut rounds)? {
            crowd.ask(|| Command::Window { from: round.counts_from, to: round.to });
            thread::sleep(clock::until(round.counts_from));
            let busy = Busy::begin();
            thread::sleep(clock::until(round.to));
            let busy = busy.end().reading;
            let schedule = Schedule::new(round.rate, (0, 1), self.sessions, 1, 1);
            let due = schedule.before(round.to - round.from) - schedule.before(round.counts_from - round.from);
            let mut latencies = crowd.findings().latencies;
            let waiting = Instant::now();
            while latencies.count() < due && waiting.elapsed() < TAIL {
                thread::sleep(Duration::from_millis(20));
                latencies = crowd.findings().latencies;
            }
            answer(&Seen { recorded: latencies.recorded(), busy })?;
        }
        Ok(())
    }
}
