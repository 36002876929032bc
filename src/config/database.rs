//! `database`: where orders, timelines and progress are kept.

use secrecy::SecretString;
use url::Url;

use super::{
    reader::{STARS, Section},
    rule::{Rule, number},
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
            url: section.secret("url", url(), without_password),
            max_connections: section.value("max_connections", "10", number(1..=1000)),
        }
    }
}

fn url() -> Rule<SecretString> {
    Rule::new("a URL such as postgres://user:password@host:5432/name or sqlite:orders.db", |text| {
        let is_postgres = |url: Url| matches!(url.scheme(), "postgres" | "postgresql");
        let is_url = match text.strip_prefix("sqlite:") {
            Some(path) => !path.is_empty(),
            None => Url::parse(text).is_ok_and(is_postgres),
        };
        is_url.then(|| text.into())
    })
}

/// The URL with every password starred; nothing of a text that is no URL.
fn without_password(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return STARS.to_owned() };
    if url.password().is_some() && url.set_password(Some(STARS)).is_err() {
        return STARS.to_owned();
    }
    if url.query().is_some() {
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let shown = pairs.iter().map(|(name, value)| match name.contains("password") {
            true => (name.as_str(), STARS),
            false => (name.as_str(), value.as_str()),
        });
        url.query_pairs_mut().clear().extend_pairs(shown);
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_a_url_are_starred() {
        for (url, shown) in [
            ("postgres://me:s3cret@db:5432/shop", "postgres://me:***@db:5432/shop"),
            (
                "postgres://me@db/shop?sslmode=require&password=s3cret",
                "postgres://me@db/shop?sslmode=require&password=***",
            ),
            ("postgres://db/shop", "postgres://db/shop"),
            ("sqlite:orders.db", "sqlite:orders.db"),
            ("s3cret", "***"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
