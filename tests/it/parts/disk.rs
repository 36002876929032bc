//! A small disk for one process, which a test fills.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
};

use tempfile::TempDir;

use super::repository;

/// A disk that exists for the command it is given to, and for those who look through that process.
pub struct SmallDisk {
    directory: TempDir,
    size: &'static str,
}

impl SmallDisk {
    /// A disk of this size, as `mount` takes it.
    pub fn of(size: &'static str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // The command may run as another user.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("an own directory");
        Self { directory, size }
    }

    /// What a command has to be started by.
    pub fn runner(&self) -> Vec<OsString> {
        vec![repository("tests/parts/small-disk").into(), self.directory.path().into(), self.size.into()]
    }

    /// A file on the disk, for the process itself.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The same file for everybody, through the process that has the disk.
    pub fn seen_through(&self, pid: u32, name: &str) -> PathBuf {
        let path = self.path(name);
        PathBuf::from(format!("/proc/{pid}/root")).join(path.strip_prefix("/").expect("an absolute path"))
    }

    /// Takes all room there is.
    pub fn fill(&self, pid: u32) {
        let mut ballast = File::create(self.seen_through(pid, "ballast")).expect("a file on the disk");
        let full = io::copy(&mut io::repeat(0), &mut ballast).expect_err("no disk is endless");
        assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
    }

    /// Gives it back.
    pub fn make_room(&self, pid: u32) {
        fs::remove_file(self.seen_through(pid, "ballast")).expect("the disk was filled");
    }
}
