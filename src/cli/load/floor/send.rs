//! The side that sends: one thread, plain sockets, one `send` for each frame.

use std::{
    io::{self, BufRead, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use clap::Args;

use super::{Ready, Round, Sent, answer, next_round};
use crate::cli::load::{clock, message, schedule::Schedule};

/// It sleeps for so long at least: a wake for each frame would be dearer than the frame, and flatter what is compared.
const TICK: Duration = Duration::from_millis(1);

/// Arguments of the sender.
#[derive(Debug, Args)]
pub(in crate::cli) struct Send {
    /// Sessions to wait for
    #[arg(long)]
    sessions: u32,
}

impl Send {
    pub(super) fn run(self) -> io::Result<()> {
        rlimit::increase_nofile_limit(u64::MAX)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        answer(&Ready { port })?;
        let sockets: Vec<TcpStream> = (0..self.sessions).map(|_| accept(&listener)).collect::<io::Result<_>>()?;
        answer(&Ready { port })?;
        let mut rounds = io::stdin().lock().lines();
        while let Some(round) = next_round(&mut rounds)? {
            answer(&send(&sockets, &round)?)?;
        }
        Ok(())
    }
}

fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (socket, _) = listener.accept()?;
    socket.set_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The same schedule as the service is measured with.
fn send(sockets: &[TcpStream], round: &Round) -> io::Result<Sent> {
    let schedule = Schedule::new(round.rate, (0, 1), sockets.len() as u32, 1, 1);
    let (mut frame, digits) = frame(&round.text)?;
    let mut outcome = Sent { sent: 0, blocked: 0 };
    for event in 0..schedule.before(round.to.saturating_sub(round.from)) {
        let due = round.from + schedule.due(event);
        loop {
            let left = clock::until(due);
            if left.is_zero() {
                break;
            }
            thread::sleep(left.max(TICK));
        }
        frame[digits.clone()].copy_from_slice(format!("{due:0width$}", width = digits.len()).as_bytes());
        let place = schedule.place(event).owner as usize;
        match Write::write(&mut &sockets[place], &frame) {
            Ok(length) if length == frame.len() => {}
            _ => outcome.blocked += 1,
        }
        outcome.sent += 1;
    }
    Ok(outcome)
}

/// The frame of a text, and where its due time stands.
fn frame(text: &str) -> io::Result<(Vec<u8>, std::ops::Range<usize>)> {
    let mut frame = vec![0x81];
    match text.len() {
        length @ 0..=125 => frame.push(length as u8),
        length @ 126..=0xffff => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
        _ => return Err(io::Error::other("a frame that is too long")),
    }
    let head = frame.len();
    frame.extend(text.as_bytes());
    let digits = message::due_digits(text.as_bytes()).filter(|digits| digits.len() >= 19);
    let digits = digits.ok_or_else(|| io::Error::other("a frame that says no due time"))?;
    Ok((frame, head + digits.start..head + digits.end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_as_the_service_writes_it_and_its_due_time_is_found() {
        let text = format!(r#"{{"type":"order_status","details":{{"due":"1795253400000000001"}},"x":"{:y<80}"}}"#, "");
        let (frame, digits) = frame(&text).unwrap();
        assert_eq!((frame[0], frame[1], frame.len()), (0x81, 126, text.len() + 4));
        assert_eq!(&frame[digits], b"1795253400000000001");
        assert!(super::frame("{}").is_err());
    }
}
