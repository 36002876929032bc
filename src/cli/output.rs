//! The two ways out of a command. Nothing here decorates: what a terminal shows is what a pipe gets.

use std::{
    fmt::Display,
    io::{self, Write},
};

use super::error::CommandError;

/// Writes what was asked for, with a line break, to stdout. Ends the command when the reader has left.
pub(super) fn print(text: impl Display) -> Result<(), CommandError> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => CommandError::ReaderLeft,
        _ => CommandError::Failed(format!("cannot write to stdout: {error}")),
    })
}

/// Tells something beside the output on stderr. When nobody listens there, nothing can be done about it.
pub(super) fn say(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Without what a terminal would obey: control characters, and those that turn the direction of text.
pub(super) fn clean(text: &str) -> String {
    let is_obeyed = |char: char| char.is_control() || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|char| if is_obeyed(char) { '·' } else { char }).collect()
}
