//! `dev.json`: where a running `ordercast dev` is to be found, for scripts and for the commands of a second terminal.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::files::{database_url, read_secret, write_private};

const FILE: &str = "dev.json";

/// What the file says. Other programs rely on the names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// The page, and the base of the HTTP endpoints.
    pub url: String,
    /// Where WebSockets connect, without a token.
    pub websocket_url: String,
    /// The base of the operations endpoints.
    pub operations_url: String,
    /// The brokers, as Kafka clients take them.
    pub kafka_brokers: String,
    /// The topic of order-status events.
    pub topic: String,
    /// The demo's customer.
    pub user_id: String,
    /// A token of that customer.
    pub token: String,
}

/// The file is there and cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct UnreadableHandover {
    path: PathBuf,
    reason: String,
}

impl Handover {
    /// The file in this data directory.
    pub fn path(directory: &Path) -> PathBuf {
        directory.join(FILE)
    }

    /// What the file of this data directory says; `None` where there is none.
    pub fn read(directory: &Path) -> Result<Option<Self>, UnreadableHandover> {
        let path = Self::path(directory);
        let refuse = |reason: String| UnreadableHandover { path: path.clone(), reason };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(refuse(format!("cannot be read: {error}"))),
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| refuse(format!("is not what ordercast dev writes: {error}")))
    }

    /// The settings of the running `ordercast dev` of this data directory, for commands that work on what it works on.
    pub fn preset(self, directory: &Path) -> io::Result<Vec<(&'static str, String)>> {
        Ok(vec![
            ("kafka.brokers", self.kafka_brokers),
            ("kafka.topic", self.topic),
            ("database.url", database_url(directory)),
            ("auth.secret", read_secret(directory)?),
        ])
    }

    /// Writes the file in one step, for its owner alone, and removes it when the result is dropped.
    pub fn publish(&self, directory: &Path) -> io::Result<Published> {
        let path = Self::path(directory);
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        write_private(&path, text.as_bytes())?;
        Ok(Published { path })
    }
}

/// The file is there as long as this is.
#[derive(Debug)]
pub struct Published {
    path: PathBuf,
}

impl Drop for Published {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "could not remove the file that says where this ran");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_file_is_there_for_its_owner_alone_as_long_as_dev_runs() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Handover::read(directory.path()).unwrap(), None);
        let handover = Handover {
            url: "http://127.0.0.1:8080".to_owned(),
            websocket_url: "ws://127.0.0.1:8080/order-status".to_owned(),
            operations_url: "http://127.0.0.1:9090".to_owned(),
            kafka_brokers: "127.0.0.1:1".to_owned(),
            topic: "order-status".to_owned(),
            user_id: "demo".to_owned(),
            token: "secret".to_owned(),
        };
        fs::write(directory.path().join("dev.unfinished"), "left by a killed process").unwrap();
        let published = handover.publish(directory.path()).unwrap();
        assert_eq!(Handover::read(directory.path()).unwrap(), Some(handover));
        let mode = fs::metadata(Handover::path(directory.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(published);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
