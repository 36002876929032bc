//! The data directory of `ordercast dev`: the orders, the secret of its tokens, and a lock.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use super::{
    files::{SECRET, database_url, read_secret, write_private},
    handover::Handover,
};

const LOCK: &str = "lock";

/// A data directory that belongs to this process.
#[derive(Debug)]
pub(super) struct DataDirectory {
    path: PathBuf,
    /// Held as long as this is.
    _lock: File,
}

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process has it.
    #[error("{}: another `ordercast dev` uses it; give this one its own with --data-dir DIR and --port N", .0.display())]
    InUse(PathBuf),
    /// Something in it cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl DataDirectory {
    /// Takes the directory, and makes it where it is missing. What a killed process left in it that is true no more goes.
    pub(super) fn take(path: &Path) -> Result<Self, DirectoryError> {
        let failed = |error| DirectoryError::Io { path: path.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let lock = File::create(path.join(LOCK)).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => DirectoryError::InUse(path.to_owned()),
            TryLockError::Error(error) => failed(error),
        })?;
        match fs::remove_file(Handover::path(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(Self { path: path.to_owned(), _lock: lock }),
        }
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The secret tokens are signed with: made once, so that tokens outlive a restart.
    pub(super) fn secret(&self) -> Result<String, DirectoryError> {
        let failed = |error| DirectoryError::Io { path: self.path.clone(), error };
        let path = self.path.join(SECRET);
        match read_secret(&self.path) {
            Ok(secret) => Ok(secret),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secret: String = rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect();
                write_private(&path, format!("{secret}\n").as_bytes()).map_err(failed)?;
                Ok(secret)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// The database's address, as `database.url` takes it.
    pub(super) fn database_url(&self) -> String {
        database_url(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_belongs_to_one_process_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a").join("b");
        let taken = DataDirectory::take(&path).unwrap();
        assert!(matches!(DataDirectory::take(&path), Err(DirectoryError::InUse(_))));
        drop(taken);
        DataDirectory::take(&path).unwrap();
    }

    #[test]
    fn the_secret_is_made_once() {
        let directory = tempfile::tempdir().unwrap();
        let secret = DataDirectory::take(directory.path()).unwrap().secret().unwrap();
        assert_eq!(secret.len(), 64);
        assert_eq!(DataDirectory::take(directory.path()).unwrap().secret().unwrap(), secret);
    }

    #[test]
    fn what_a_killed_process_said_about_itself_is_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(Handover::path(directory.path()), "{}").unwrap();
        DataDirectory::take(directory.path()).unwrap();
        assert!(!Handover::path(directory.path()).exists());
    }

    #[test]
    fn characters_that_mean_something_in_an_address_are_escaped() {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDirectory::take(&parent.path().join("50%?#")).unwrap();
        assert!(directory.database_url().ends_with("/50%25%3F%23/orders.db"), "{}", directory.database_url());
    }
}
