//! `database`: where orders, timelines and progress are kept.

use secrecy::SecretString;

use super::{
    database_url::{database_url, shown},
    reader::Section,
    rule::number,
};

/// The SQL database.
#[derive(Debug, Clone)]
pub struct Database {
    /// `postgres://…`, or `sqlite:…` for one instance. Holds a password. Needed wherever the database is.
    pub url: Option<SecretString>,
    /// Connections an instance opens at most. 1 to 1000, default 10.
    pub max_connections: u32,
}

impl Database {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        Self {
            url: section.secret("url", database_url(), shown),
            max_connections: section.value("max_connections", "10", number(1..=1000)),
        }
    }
}
