//! The files of a data directory, as whoever finds one there reads and writes them.

use std::{fs, io, os::unix::fs::OpenOptionsExt, path::Path};

pub(super) const SECRET: &str = "secret";
pub(super) const ORDERS: &str = "orders.db";

/// The database's address in this data directory.
pub(super) fn database_url(directory: &Path) -> String {
    let path = directory.join(ORDERS).display().to_string();
    format!("sqlite:{}", path.replace('%', "%25").replace('?', "%3F").replace('#', "%23"))
}

/// The secret in this data directory, which was made before.
pub(super) fn read_secret(directory: &Path) -> io::Result<String> {
    Ok(fs::read_to_string(directory.join(SECRET))?.trim().to_owned())
}

/// Writes a file that its owner alone may read: whole, or not at all.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    // One that a killed process left may have another mode.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}
