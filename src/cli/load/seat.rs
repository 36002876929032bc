//! One session's socket, and what it is doing.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr},
};

use mio::{Interest, Registry, Token, net::TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

/// What the system gives at least; a session that is to stall has to fill it.
const SMALL_BUFFER: usize = 4 * 1024;

/// Where a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Not there, and not wanted.
    Away,
    /// The connection is being made.
    Connecting,
    /// It was asked for; the answer has not come.
    Asking,
    /// It is open; the first snapshot has not come.
    Joining,
    /// It is open, and complete.
    Live,
    /// The same, but nobody reads.
    Stalled,
}

/// A place for one session.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) state: State,
    stream: Option<TcpStream>,
    /// The beginning of what has not come whole.
    pub(super) rest: Vec<u8>,
    /// When the connection was begun.
    pub(super) since: u64,
    pub(super) tries: u8,
    pub(super) stale: bool,
}

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Brought {
    /// So many bytes.
    Bytes(usize),
    /// Nothing more for now.
    Nothing,
    /// The connection is over.
    End,
}

impl Seat {
    pub(super) fn new() -> Self {
        Self { state: State::Away, stream: None, rest: Vec::new(), since: 0, tries: 0, stale: false }
    }

    /// Begins a connection, from this address where one is given; `small`: one that takes little unread.
    pub(super) fn connect(
        &mut self,
        registry: &Registry,
        token: Token,
        to: SocketAddr,
        from: Option<IpAddr>,
        small: bool,
    ) -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if small {
            socket.set_recv_buffer_size(SMALL_BUFFER)?;
        }
        if let Some(from) = from {
            socket.bind(&SocketAddr::new(from, 0).into())?;
        }
        match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() != Some(IN_PROGRESS) && error.kind() != io::ErrorKind::WouldBlock => {
                return Err(error);
            }
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.stream = Some(stream);
        self.state = State::Connecting;
        self.rest = Vec::new();
        self.stale = false;
        Ok(())
    }

    /// Whether the connection stands; an error says why it never will.
    pub(super) fn is_connected(&self) -> io::Result<bool> {
        let Some(stream) = &self.stream else { return Ok(false) };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// From now on there is nothing to write.
    pub(super) fn only_reads(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.stream {
            Some(stream) => registry.reregister(stream, token, Interest::READABLE),
            None => Ok(()),
        }
    }

    /// From now on nobody reads.
    pub(super) fn stall(&mut self, registry: &Registry) -> io::Result<()> {
        self.state = State::Stalled;
        match &mut self.stream {
            Some(stream) => registry.deregister(stream),
            None => Ok(()),
        }
    }

    /// Reads again.
    pub(super) fn resume(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.state = State::Live;
        match &mut self.stream {
            Some(stream) => registry.register(stream, token, Interest::READABLE),
            None => Ok(()),
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Brought {
        let Some(stream) = &mut self.stream else { return Brought::End };
        loop {
            match stream.read(buffer) {
                Ok(0) => return Brought::End,
                Ok(length) => return Brought::Bytes(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Brought::Nothing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Brought::End,
            }
        }
    }

    /// Writes a little. What a socket does not take is not worth waiting for: the next read tells that it is gone.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if let Some(stream) = &mut self.stream {
            let _ = stream.write(bytes);
        }
    }

    /// Lets the connection go, as it is.
    pub(super) fn leave(&mut self) {
        self.stream = None;
        self.state = State::Away;
        self.rest = Vec::new();
        self.stale = false;
    }
}

/// `EINPROGRESS`, on every Linux but MIPS and SPARC.
const IN_PROGRESS: i32 = 115;
