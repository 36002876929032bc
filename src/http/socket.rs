//! Options of an accepted socket, set before a byte is read.

use std::{io, net::Shutdown, time::Duration};

use actix_web::rt::net::TcpStream;
use socket2::{SockRef, TcpKeepalive};

/// What a stalled reader may cost in the kernel. Linux doubles the value for its own bookkeeping.
const SEND_BUFFER_BYTES: usize = 32 * 1024;
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);

/// Bounds what a slow or vanished peer costs.
///
/// `TCP_USER_TIMEOUT` is what ends a reader that stalls: when it has acknowledged nothing, or left its window closed,
/// for `send_timeout`, the kernel ends the connection. It measures progress byte by byte, which nothing above the
/// socket can.
pub(super) fn prepare(stream: &TcpStream, send_timeout: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_TIME);
    socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_send_buffer_size(SEND_BUFFER_BYTES))
        .and_then(|()| socket.set_tcp_user_timeout(Some(send_timeout)))
        .and_then(|()| socket.set_tcp_keepalive(&keepalive))
}

/// Ends a connection at once, so that it costs nothing more.
pub(super) fn refuse(stream: &TcpStream) {
    // An error means that it is gone already.
    let _ = SockRef::from(stream).shutdown(Shutdown::Both);
}
