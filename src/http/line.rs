//! A connection as the HTTP server reads and writes it: the socket, with the bounds that actix-http does not have.
//!
//! actix-http gives the first request of a connection a deadline, and no other; and it ends connections with bytes unread, which
//! resets them and may take the answer with it. Here every request's head has a deadline, what comes behind it is read so
//! far and no farther, an answer that says `Connection: close` is the last, and the end lets the client read it.
//!
//! ```text
//!            first byte            `conduct` begins       answer handed over       answer written
//! Head ─────────────────► Head ───────────────► Request ───────────────► Answered ─────┬────────► Idle ──► Head
//! (accepted)                                       │                                  └────────► Ended
//!                                                  ├► Session: a WebSocket keeps its own time
//!                                                  └► Leaving: its socket goes on without the server
//! ```

use std::{
    cell::{Cell, RefCell},
    io,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use actix_web::rt::net::TcpStream;
use futures_util::{FutureExt, future::LocalBoxFuture};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::{pending::Permit, rate::RequestRate};
use crate::{
    telemetry::{ConnectionMetrics, Cut},
    transport::{
        Worker,
        websocket::{Afterwards, Carrier},
    },
};

/// Time a client may take to send a request's head.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes read behind a request's head, its body and what is sent ahead of the answer, before the answer is written. Far more
/// than any body may have.
const READ_AHEAD_BYTES: usize = 256 * 1024;
/// How long the end of a connection waits for the client's, so that the last answer is not lost to a reset.
const LINGER: Duration = Duration::from_secs(1);
/// What is read and thrown away meanwhile.
const LINGER_BYTES: usize = 256 * 1024;

/// What a connection is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinePhase {
    /// A request is awaited, or its head is being read; nothing gives way here.
    Head,
    /// A request is answered.
    Request,
    /// Its answer was handed over and is not written yet.
    Answered,
    /// Another request may come.
    Idle,
    /// A WebSocket.
    Session,
    /// A WebSocket whose socket is taken from the server as soon as it has written the answer.
    Leaving,
    /// The last answer was written.
    Ended,
}

/// What all connections of a listener share.
#[derive(Debug)]
pub(super) struct House {
    /// How long a connection may wait for its next request.
    pub(super) keep_alive: Duration,
    /// Who sends too much.
    pub(super) rate: Arc<RequestRate>,
    /// Counts connections that were cut.
    pub(super) metrics: Arc<ConnectionMetrics>,
    /// Carries the sessions of this thread.
    pub(super) worker: Rc<Worker>,
    /// What carries a WebSocket.
    pub(super) websocket: Carrier,
}

/// One connection's client: what its [`Line`] and its requests know together.
pub(super) struct HttpConnection {
    house: Rc<House>,
    /// Where it comes from; `None`: from a proxy of ours.
    address: Option<IpAddr>,
    permit: Permit,
    phase: Cell<LinePhase>,
    phase_began: Cell<Instant>,
    /// An answer has said that it is the last.
    closing: Cell<bool>,
    /// Bytes read since the request under way began.
    ahead: Cell<usize>,
    /// Wakes the connection, which waits for another phase.
    paused: RefCell<Option<Waker>>,
    /// What follows on the bare socket, and that.
    afterwards: RefCell<Option<Afterwards<TcpStream>>>,
    socket: RefCell<Option<TcpStream>>,
}

impl HttpConnection {
    pub(super) fn new(house: Rc<House>, address: Option<IpAddr>, permit: Permit) -> Rc<Self> {
        Rc::new(Self {
            house,
            address,
            permit,
            phase: Cell::new(LinePhase::Head),
            phase_began: Cell::new(Instant::now()),
            closing: Cell::new(false),
            ahead: Cell::new(0),
            paused: RefCell::default(),
            afterwards: RefCell::default(),
            socket: RefCell::default(),
        })
    }

    fn enter(&self, phase: LinePhase) {
        self.phase.set(phase);
        self.phase_began.set(Instant::now());
        self.ahead.set(0);
        if let Some(waker) = self.paused.take() {
            waker.wake();
        }
    }

    /// A request begins.
    pub(super) fn begin(&self) {
        self.enter(LinePhase::Request);
    }

    /// Its answer says that it is the connection's last.
    pub(super) fn close(&self) {
        self.closing.set(true);
    }

    /// Whether the last answer has been given: what was sent behind its request is not answered.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// The answer was handed over.
    pub(super) fn end(&self) {
        if self.phase.get() == LinePhase::Request {
            self.enter(LinePhase::Answered);
        }
    }

    /// Waits until the last answer is written; what the server says after that is not.
    pub(super) fn poll_written(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.is_closing() || matches!(self.phase.get(), LinePhase::Session | LinePhase::Leaving | LinePhase::Ended)
        {
            return Poll::Ready(());
        }
        self.end();
        self.paused.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// The connection holds a session now, carried by the answer.
    pub(super) fn hold_session(&self) {
        self.permit.leave();
        self.enter(LinePhase::Session);
    }

    /// The request under way holds a session.
    pub(super) fn hold(&self) {
        self.permit.leave();
    }

    /// It does so no more. Where there is no place for the connection among those without one, its answer is the last.
    pub(super) fn let_go(&self) {
        match self.permit.come_back() {
            Some(true) => self.house.metrics.cut(Cut::GaveWay),
            Some(false) => {}
            None => self.close(),
        }
    }

    /// The answer is a session that ends with the connection.
    pub(super) fn stream(&self) {
        self.hold();
        self.close();
    }

    /// The connection becomes a session's that goes on without the server: nothing more is read for it.
    pub(super) fn leave(&self) {
        self.permit.leave();
        self.enter(LinePhase::Leaving);
    }

    /// The server has only its answer left to write; this is to follow.
    pub(super) fn hand_over(&self, afterwards: Afterwards<TcpStream>) {
        self.afterwards.replace(Some(afterwards));
    }

    /// What follows the server's part of the connection, if anything does.
    pub(super) fn take_over(&self) -> Option<LocalBoxFuture<'static, ()>> {
        let (afterwards, socket) = (self.afterwards.take()?, self.socket.take()?);
        Some(afterwards(socket))
    }

    /// Who carries the sessions of this thread.
    pub(super) fn worker(&self) -> &Rc<Worker> {
        &self.house.worker
    }

    /// What is to carry a WebSocket.
    pub(super) fn carrier(&self) -> Carrier {
        self.house.websocket
    }

    /// What came could not be read as a request.
    pub(super) fn on_unreadable(&self) {
        self.house.metrics.cut(Cut::Unreadable);
        if let Some(address) = self.address {
            self.house.rate.charge(address);
        }
    }
}

/// A head that did not come in time. The server answers the first of a connection itself (408).
impl Drop for HttpConnection {
    fn drop(&mut self) {
        if self.phase.get() == LinePhase::Head && self.phase_began.get().elapsed() >= REQUEST_TIMEOUT {
            self.house.metrics.cut(Cut::TooSlow);
        }
    }
}

/// The socket of one connection.
pub(super) struct Line {
    /// `None`: it was taken from the server.
    stream: Option<TcpStream>,
    connection: Rc<HttpConnection>,
    /// Ends a head, or a rest, that takes too long; not that of the first head, which the server times itself.
    timer: Option<Pin<Box<Sleep>>>,
    linger: Option<Linger>,
}

#[derive(Debug)]
struct Linger {
    timer: Pin<Box<Sleep>>,
    left: usize,
}

impl Line {
    pub(super) fn new(stream: TcpStream, connection: Rc<HttpConnection>) -> Self {
        Self { stream: Some(stream), connection, timer: None, linger: None }
    }

    pub(super) fn connection(&self) -> &Rc<HttpConnection> {
        &self.connection
    }

    fn set_timer(&mut self, after: Duration) {
        let deadline = tokio::time::Instant::now() + after;
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(deadline),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(deadline))),
        }
    }

    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        self.timer.as_mut().is_some_and(|timer| timer.poll_unpin(cx).is_ready())
    }

    /// Bytes have come, or the end of them.
    fn on_read(&mut self, bytes: usize) -> Heard {
        match self.connection.phase.get() {
            LinePhase::Idle if bytes > 0 => {
                if !self.connection.permit.rise() {
                    return Heard::TooLate;
                }
                self.connection.enter(LinePhase::Head);
                self.set_timer(REQUEST_TIMEOUT);
            }
            LinePhase::Request | LinePhase::Answered => self.connection.ahead.set(self.connection.ahead.get() + bytes),
            _ => {}
        }
        Heard::InTime
    }

    /// All that was handed over has been written.
    fn on_written(&mut self, cx: &mut Context<'_>) {
        if self.connection.phase.get() != LinePhase::Answered {
            return;
        }
        if self.connection.is_closing() {
            self.connection.enter(LinePhase::Ended);
            // The server has to see the end even if it was sent more requests.
            cx.waker().wake_by_ref();
        } else {
            self.connection.enter(LinePhase::Idle);
            self.connection.permit.rest(cx.waker());
            self.set_timer(self.connection.house.keep_alive);
            if self.is_overdue(cx) {
                cx.waker().wake_by_ref();
            }
        }
    }
}

/// The socket, which nobody should ask for once it has left.
fn stream(stream: &mut Option<TcpStream>) -> io::Result<Pin<&mut TcpStream>> {
    stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
}

/// Whether bytes came before the connection had to give way.
#[derive(PartialEq, Eq)]
enum Heard {
    InTime,
    TooLate,
}

/// An end that nobody sent: nothing more is read.
const END: Poll<io::Result<()>> = Poll::Ready(Ok(()));

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.connection.phase.get() {
            LinePhase::Session => this.timer = None,
            LinePhase::Leaving => return Poll::Pending,
            LinePhase::Ended => return END,
            LinePhase::Idle if this.connection.permit.gave_way() => return END,
            LinePhase::Request | LinePhase::Answered if this.connection.ahead.get() >= READ_AHEAD_BYTES => {
                this.connection.paused.replace(Some(cx.waker().clone()));
                return Poll::Pending;
            }
            _ => {}
        }
        let before = buffer.filled().len();
        if stream(&mut this.stream)?.poll_read(cx, buffer)?.is_ready() {
            if this.on_read(buffer.filled().len() - before) == Heard::TooLate {
                buffer.set_filled(before);
            }
            return END;
        }
        match this.connection.phase.get() {
            LinePhase::Head | LinePhase::Idle if this.is_overdue(cx) => END,
            _ => Poll::Pending,
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.connection.phase.get() {
            LinePhase::Ended => Poll::Ready(Ok(bytes.len())),
            _ => stream(&mut this.stream)?.poll_write(cx, bytes),
        }
    }

    /// The server asks for this once it has written all it has.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(stream(&mut this.stream)?.poll_flush(cx))?;
        this.on_written(cx);
        END
    }

    /// Ends our side and, behind a last answer, waits a moment for the client's: bytes that are still unread when a socket is
    /// closed reset the connection, and a reset may overtake the answer. Sessions have waited already, and a socket that leaves stays
    /// as it is.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream: line, connection, linger, .. } = self.get_mut();
        if connection.phase.get() == LinePhase::Leaving {
            connection.socket.replace(line.take());
            return END;
        }
        if linger.is_none() {
            ready!(stream(line)?.poll_shutdown(cx))?;
            if connection.phase.get() == LinePhase::Session || !connection.is_closing() {
                return END;
            }
        }
        let linger =
            linger.get_or_insert_with(|| Linger { timer: Box::pin(tokio::time::sleep(LINGER)), left: LINGER_BYTES });
        let mut bytes = [0; 4096];
        while linger.timer.poll_unpin(cx).is_pending() && linger.left > 0 {
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(stream(line)?.poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
            linger.left = linger.left.saturating_sub(buffer.filled().len());
        }
        END
    }
}
