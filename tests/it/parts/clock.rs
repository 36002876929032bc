//! A wall clock of one process's own, which a test sets.

use std::{fs, io::Write, os::unix::fs::FileExt, path::PathBuf, process::Command, sync::OnceLock};

use tempfile::{NamedTempFile, TempDir};

use super::repository;

/// The wall clock of every process that is started in its environment.
pub struct Clock {
    added: NamedTempFile,
}

impl Clock {
    /// A clock that is right.
    pub fn create() -> Self {
        let mut added = NamedTempFile::new().expect("a temporary file");
        added.write_all(&0_i64.to_ne_bytes()).expect("eight bytes");
        Self { added }
    }

    /// What a process has to be started with.
    pub fn environment(&self) -> [(String, String); 2] {
        let [library, added] = [library(), self.added.path().to_owned()].map(|path| path.display().to_string());
        [("LD_PRELOAD".to_owned(), library), ("TEST_CLOCK".to_owned(), added)]
    }

    /// Lets the clock be ahead of the true time by so many seconds, from this moment on.
    pub fn set_ahead(&self, seconds: i64) {
        let nanos = (seconds * 1_000_000_000).to_ne_bytes();
        self.added.as_file().write_all_at(&nanos, 0).expect("eight bytes");
    }
}

/// `tests/parts/clock.c`, compiled once by the compiler that Cargo links with.
fn library() -> PathBuf {
    static LIBRARY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = LIBRARY.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let library = directory.path().join("clock.so");
        let source = repository("tests/parts/clock.c");
        let compiled = Command::new("cc").args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
        assert!(compiled.expect("there is a C compiler").success() && fs::exists(&library).unwrap_or_default());
        (directory, library)
    });
    library.clone()
}
