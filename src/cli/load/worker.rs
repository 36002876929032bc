//! One thread that holds many sessions. It waits for all of them at once, reads each once when there is something, and does
//! as it is told.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, SyncSender, TryRecvError},
    },
    time::Duration,
};

use mio::{Events, Poll, Token};

use super::{
    clock::{self, SECOND},
    latency::Latencies,
    message::{self, Message, Said, Update},
    queue::Queue,
    roster::Roster,
    screen::{Screens, Seen},
    seat::{Brought, Seat, State},
    tally::{Findings, Pulse, Standing, Tally, add},
    transport::{Answer, Heard, Refusal, Target, Transport},
};

/// Wakes the thread for a command.
pub(super) const COMMAND: Token = Token(usize::MAX);
/// Connections under way at once, unless all are to come together.
const MAX_OPENING: u32 = 256;
/// So often a session is asked for again.
const MAX_TRIES: u8 = 60;
const RETRY_INTERVAL: u64 = SECOND / 4;
/// An update that waited longer until it was read has waited for this program.
const HELD: u64 = 2_000_000;
const BUFFER_BYTES: usize = 64 * 1024;
const IDLE: Duration = Duration::from_secs(1);

/// Where sessions go to, and how.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) transport: Transport,
    /// Sessions are spread over them.
    pub(super) destinations: Vec<(SocketAddr, Target)>,
    /// Source addresses, the same way; none: the system's choice.
    pub(super) sources: Vec<IpAddr>,
    /// The first so many sessions are to stall.
    pub(super) stalling: u32,
}

/// What a worker is asked for.
pub(super) enum Command {
    /// Open every session that is not there: so many a second, or all together.
    Open { a_second: Option<f64>, together: bool },
    /// From now on latencies are of updates that are due between these moments.
    Window { from: u64, to: u64 },
    /// Break all connections.
    Drop,
    /// Stop reading from the sessions that are to stall; or read from them again.
    Stall(bool),
    /// Say where the sessions stand.
    Stand(SyncSender<Standing>),
    /// Tell what was found.
    Tell(SyncSender<Findings>),
    /// Tell what an update looks like.
    Sample(SyncSender<Option<Vec<u8>>>),
    /// Say goodbye to all, and end.
    Leave,
}

pub(super) struct Worker {
    roster: Arc<Roster>,
    route: Arc<Route>,
    pulse: Arc<Pulse>,
    commands: Receiver<Command>,
    poll: Poll,
    /// This worker, from 0, of so many: it has every so many-th session.
    number: u32,
    of: u32,
    seats: Vec<Seat>,
    screens: Screens,
    tally: Tally,
    latencies: Latencies,
    openings: Latencies,
    window: (u64, u64),
    queue: Queue,
    buffer: Vec<u8>,
    woken_at: u64,
    sample: Option<Vec<u8>>,
}

impl Worker {
    pub(super) fn new(
        roster: Arc<Roster>,
        route: Arc<Route>,
        pulse: Arc<Pulse>,
        commands: Receiver<Command>,
        poll: Poll,
        (number, of): (u32, u32),
    ) -> Self {
        let seats: Vec<Seat> = (number..roster.sessions).step_by(of as usize).map(|_| Seat::new()).collect();
        Self {
            screens: Screens::new(roster.clone(), seats.len()),
            roster,
            route,
            pulse,
            commands,
            poll,
            number,
            of,
            seats,
            tally: Tally::default(),
            latencies: Latencies::new(),
            openings: Latencies::new(),
            window: (0, 0),
            queue: Queue::default(),
            buffer: vec![0; BUFFER_BYTES],
            woken_at: 0,
            sample: None,
        }
    }

    /// Works until it is told to leave. Inputs: sockets, commands, the time for the next connection.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        'work: loop {
            match self.poll.poll(&mut events, Some(self.next_wake())) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            self.woken_at = clock::now();
            for event in &events {
                if event.token() == COMMAND {
                    continue;
                }
                let is_over = event.is_read_closed() || event.is_error();
                self.on_socket(event.token().0 as u32, is_over);
            }
            loop {
                match self.commands.try_recv() {
                    Ok(Command::Leave) | Err(TryRecvError::Disconnected) => break 'work,
                    Ok(command) => self.on_command(command),
                    Err(TryRecvError::Empty) => break,
                }
            }
            self.open_more();
        }
        self.leave();
        Ok(())
    }

    /// The number of the session at this seat among all of the process.
    fn session(&self, seat: u32) -> u32 {
        seat * self.of + self.number
    }

    fn on_command(&mut self, command: Command) {
        // Who asked may have left.
        match command {
            Command::Open { a_second, together } => self.open(a_second, together),
            Command::Window { from, to } => {
                self.window = (from, to);
                self.latencies = Latencies::new();
                self.pulse.held.store(0, Ordering::Relaxed);
            }
            Command::Drop => {
                (0..self.seats.len()).for_each(|seat| self.seats[seat].leave());
                self.queue = Queue::default();
                self.pulse.live.store(0, Ordering::Relaxed);
            }
            Command::Stall(stall) => self.stall(stall),
            Command::Stand(reply) => drop(reply.send(self.standing())),
            Command::Tell(reply) => {
                let (tally, latencies) = (self.tally.clone(), self.latencies.clone());
                drop(reply.send(Findings { tally, latencies, openings: self.openings.clone() }));
            }
            Command::Sample(reply) => drop(reply.send(self.sample.clone())),
            Command::Leave => {}
        }
    }

    fn open(&mut self, a_second: Option<f64>, together: bool) {
        self.openings = Latencies::new();
        let now = clock::now();
        let mut away = VecDeque::new();
        for (number, seat) in self.seats.iter_mut().enumerate().filter(|(_, seat)| seat.state == State::Away) {
            seat.tries = 0;
            // All that come together have come now, whenever it is their turn.
            seat.since = if together { now } else { 0 };
            away.push_back(number as u32);
        }
        let at_once = if together { u32::MAX } else { MAX_OPENING };
        self.queue = Queue::new(away, at_once, a_second.map(|a_second| a_second / f64::from(self.of)), now);
    }

    fn open_more(&mut self) {
        let now = clock::now();
        while let Some(seat) = self.queue.next(now) {
            self.connect(seat, now);
        }
    }

    fn next_wake(&self) -> Duration {
        // The timeout is cut to whole milliseconds.
        self.queue.next_time().map_or(IDLE, clock::until).clamp(Duration::from_millis(1), IDLE)
    }

    fn connect(&mut self, number: u32, now: u64) {
        let session = self.session(number) as usize;
        let (to, _) = self.route.destinations[session % self.route.destinations.len()];
        let from = (!self.route.sources.is_empty()).then(|| self.route.sources[session % self.route.sources.len()]);
        let small = (session as u64) < u64::from(self.route.stalling);
        let seat = &mut self.seats[number as usize];
        seat.tries += 1;
        if seat.since == 0 {
            seat.since = now;
        }
        if let Err(error) = seat.connect(self.poll.registry(), Token(number as usize), to, from, small) {
            self.refuse(number, Refusal::soon(error.to_string()));
        }
    }

    fn on_socket(&mut self, number: u32, is_over: bool) {
        if self.seats[number as usize].state == State::Connecting {
            match self.seats[number as usize].is_connected() {
                Ok(false) => return,
                Ok(true) => self.ask(number),
                Err(error) => return self.refuse(number, Refusal::soon(error.to_string())),
            }
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        loop {
            match self.seats[number as usize].read(&mut buffer) {
                Brought::Bytes(length) => {
                    add(&self.pulse.reads, 1);
                    if self.on_bytes(number, &buffer[..length]) || length < buffer.len() && !is_over {
                        break;
                    }
                }
                Brought::Nothing => break,
                Brought::End => {
                    self.on_end(number, None);
                    break;
                }
            }
        }
        self.buffer = buffer;
    }

    fn ask(&mut self, number: u32) {
        let session = self.session(number);
        let (_, target) = &self.route.destinations[session as usize % self.route.destinations.len()];
        let transport = self.route.transport;
        let seat = &mut self.seats[number as usize];
        if transport.talks() {
            let token = self.roster.tokens.token(session, self.roster.user(session));
            seat.write(&transport.request(target, &token));
            seat.state = State::Asking;
        } else {
            self.on_live(number);
        }
        // It stands already: what is wrong with it shows when it is read.
        let _ = self.seats[number as usize].only_reads(self.poll.registry(), Token(number as usize));
    }

    /// Takes what a read brought. Returns whether the connection is over.
    fn on_bytes(&mut self, number: u32, bytes: &[u8]) -> bool {
        let rest = std::mem::take(&mut self.seats[number as usize].rest);
        let joined;
        let bytes = if rest.is_empty() {
            bytes
        } else {
            joined = [&rest[..], bytes].concat();
            &joined[..]
        };
        let now = clock::now();
        let mut at = 0;
        if self.seats[number as usize].state == State::Asking {
            match self.route.transport.answer(bytes) {
                Answer::Incomplete => {}
                Answer::Accepted(taken) => {
                    at = taken;
                    self.seats[number as usize].state = State::Joining;
                }
                Answer::Refused(refusal) => {
                    self.refuse(number, refusal);
                    return true;
                }
            }
        }
        while self.seats[number as usize].state != State::Asking {
            match self.route.transport.next(&bytes[at..]) {
                Ok(None) => break,
                Ok(Some((heard, taken))) => {
                    at += taken;
                    match heard {
                        Heard::Text(text) => self.on_text(number, text, now),
                        Heard::Ping(ping) => {
                            let pong = self.route.transport.pong(ping);
                            self.seats[number as usize].write(&pong);
                        }
                        Heard::Nothing => {}
                        Heard::Goodbye(code) => {
                            let goodbye = self.route.transport.goodbye();
                            self.seats[number as usize].write(&goodbye);
                            self.on_end(number, Some(code.unwrap_or(1005)));
                            return true;
                        }
                    }
                }
                Err(_) => {
                    self.tally.unreadable += 1;
                    self.on_end(number, None);
                    return true;
                }
            }
        }
        if at < bytes.len() {
            self.seats[number as usize].rest = bytes[at..].to_vec();
        }
        false
    }

    fn on_text(&mut self, number: u32, text: &[u8], now: u64) {
        match message::read(text) {
            Message::Update(update) => {
                if self.sample.is_none() && self.route.transport.talks() {
                    self.sample = Some(text.to_vec());
                }
                self.on_update(number, &update, now);
            }
            Message::Said(said) => self.on_said(number, &said),
            Message::Heartbeat => {}
            Message::Unreadable => self.tally.unreadable += 1,
        }
    }

    fn on_update(&mut self, number: u32, update: &Update<'_>, now: u64) {
        if self.route.transport.talks() {
            let session = self.session(number);
            match self.screens.on_update(number as usize, session, update) {
                Seen::New { merged } => self.tally.merged += u64::from(merged),
                Seen::Duplicate => self.tally.duplicate += 1,
                Seen::Older => self.tally.out_of_order += 1,
                Seen::Foreign => self.tally.foreign += 1,
                Seen::Theirs => return,
            }
        }
        self.tally.deliveries += 1;
        add(&self.pulse.deliveries, 1);
        let Some(due) = update.due.filter(|due| (self.window.0..self.window.1).contains(due)) else { return };
        self.latencies.note(due, now);
        if now.saturating_sub(self.woken_at) > HELD {
            add(&self.pulse.held, 1);
        }
    }

    fn on_said(&mut self, number: u32, said: &Said<'_>) {
        self.tally.foreign += self.screens.on_said(number as usize, self.session(number), said);
        match said {
            Said::Welcome { heartbeat_ms } => {
                self.pulse.heartbeat_ms.fetch_max(*heartbeat_ms, Ordering::Relaxed);
            }
            Said::Snapshot { complete: true, .. } if self.seats[number as usize].state == State::Joining => {
                self.on_live(number);
            }
            Said::Stale => {
                self.tally.stale += 1;
                self.seats[number as usize].stale = true;
            }
            Said::Fresh => self.seats[number as usize].stale = false,
            _ => {}
        }
    }

    fn on_live(&mut self, number: u32) {
        let seat = &mut self.seats[number as usize];
        seat.state = State::Live;
        self.openings.note(seat.since, clock::now());
        self.queue.opened();
        add(&self.pulse.live, 1);
    }

    fn refuse(&mut self, number: u32, Refusal { reason, retry_after }: Refusal) {
        *self.tally.refused.entry(reason).or_default() += 1;
        let seat = &mut self.seats[number as usize];
        seat.leave();
        let again = retry_after.filter(|_| seat.tries < MAX_TRIES);
        self.queue.refused(number, again.map(|seconds| clock::now() + (seconds * SECOND).max(RETRY_INTERVAL)));
    }

    fn on_end(&mut self, number: u32, code: Option<u16>) {
        let seat = &mut self.seats[number as usize];
        match seat.state {
            State::Away => return,
            State::Connecting | State::Asking | State::Joining => {
                let reason = code.map_or("the connection ended".to_owned(), |code| format!("closed with {code}"));
                return self.refuse(number, Refusal::soon(reason));
            }
            State::Live | State::Stalled => {}
        }
        seat.leave();
        if self.session(number) < self.route.stalling {
            self.tally.cut += 1;
        } else if let Some(code) = code {
            *self.tally.closes.entry(code).or_default() += 1;
        } else {
            self.tally.lost += 1;
        }
        let live = self.pulse.live.load(Ordering::Relaxed);
        self.pulse.live.store(live.saturating_sub(1), Ordering::Relaxed);
        self.pulse.last_end.store(clock::now(), Ordering::Relaxed);
        add(&self.pulse.ended, 1);
    }

    fn stall(&mut self, stall: bool) {
        for number in 0..self.seats.len() as u32 {
            if self.session(number) >= self.route.stalling {
                break;
            }
            let seat = &mut self.seats[number as usize];
            if stall && seat.state == State::Live {
                // Nothing depends on it: what would still be read is not asked for.
                let _ = seat.stall(self.poll.registry());
            } else if !stall && seat.state == State::Stalled {
                let _ = seat.resume(self.poll.registry(), Token(number as usize));
                // A server that has cut the connection says so when it is spoken to.
                seat.write(&self.route.transport.ping());
                self.on_socket(number, true);
            }
        }
    }

    fn standing(&self) -> Standing {
        let mut standing = Standing { live: self.pulse.live.load(Ordering::Relaxed), ..Standing::default() };
        for (number, seat) in self.seats.iter().enumerate() {
            let session = self.session(number as u32);
            if session >= self.route.stalling {
                standing.missing += self.screens.missing(number, session);
            }
            standing.stale += u64::from(seat.stale);
        }
        standing
    }

    fn leave(&mut self) {
        let goodbye = self.route.transport.goodbye();
        for seat in self.seats.iter_mut().filter(|seat| matches!(seat.state, State::Joining | State::Live)) {
            seat.write(&goodbye);
        }
    }
}
