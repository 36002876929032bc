//! A database that cannot be had: where it was looked for, and why, in words that say what to do. Never a password.

use std::{fmt, io, sync::Arc};

use sqlx::error::DatabaseError;

/// Where it was looked for, and why it cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    /// `host:port/database` or the path of a file, as `database.url` names it; empty where nobody has said.
    place: Arc<str>,
    cause: String,
}

impl Away {
    pub(super) fn because(cause: impl Into<String>) -> Self {
        Self { place: "".into(), cause: cause.into() }
    }

    /// The same, with the place.
    pub(super) fn at(self, place: &Arc<str>) -> Self {
        Self { place: place.clone(), ..self }
    }
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.place {
            "" => write!(f, ": {}", self.cause),
            place => write!(f, " ({place}): {}", self.cause),
        }
    }
}

/// Why there is no connection.
pub(super) fn of_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => "it closes the connection".to_owned(),
        _ => error.to_string(),
    }
}

/// Without a certificate or key that stood in the URL itself.
pub(super) fn of_tls(error: &(dyn std::error::Error + 'static)) -> String {
    let text = error.to_string();
    let text = text.split("-----BEGIN").next().unwrap_or_default().trim_end();
    format!("TLS is not established: {text} (sslmode, sslrootcert, sslcert and sslkey of the URL)")
}

/// What the server or SQLite says, with what to do where that is known.
pub(super) fn of_refusal(error: &dyn DatabaseError) -> String {
    let message = error.message();
    match error.code().as_deref() {
        Some("3D000") => format!("{message}: create it, or correct the URL"),
        Some("28P01") => format!("{message}: correct the password"),
        Some("28000") => format!("{message}: correct the user, or let it in"),
        Some("42501") => format!("{message}: grant that right"),
        // CANTOPEN
        Some("14") => format!("{message}: its directory has to exist, and to be writable"),
        _ => message.to_owned(),
    }
}
