//! What may stand in `database.url`, and what of it may be shown. The drivers pass over parameters that they do not know,
//! or repeat the values of those they refuse, so all are looked at here.

use std::net::IpAddr;

use secrecy::SecretString;
use url::Url;

use super::{
    rule::Rule,
    shown::{STARS, plain},
};

/// How what would end a part of the URL is written.
const ENCODED: &str = "in user, password and database, percent-encode such characters: # as %23, / as %2F, ? as %3F, \
                       @ as %40, : as %3A, % as %25";
const IN_MEMORY: &str = "must name a file: an SQLite database in memory is another one for each connection";
const READ_ONLY: &str = "must not be read-only: Ordercast writes to its database";

/// A parameter.
struct Parameter {
    name: &'static str,
    takes: Takes,
    /// Whether its value may be shown.
    harmless: bool,
}

enum Takes {
    Text,
    Number,
    Address,
    Words(&'static [&'static str]),
}

const fn harmless(name: &'static str, takes: Takes) -> Parameter {
    Parameter { name, takes, harmless: true }
}

const fn secret(name: &'static str) -> Parameter {
    Parameter { name, takes: Takes::Text, harmless: false }
}

const SSL_MODES: Takes = Takes::Words(&["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]);

/// Those that sqlx knows; `options[…]` besides.
const POSTGRES: &[Parameter] = &[
    harmless("application_name", Takes::Text),
    harmless("dbname", Takes::Text),
    harmless("host", Takes::Text),
    harmless("hostaddr", Takes::Address),
    secret("options"),
    secret("password"),
    harmless("port", Takes::Number),
    harmless("ssl-ca", Takes::Text),
    harmless("ssl-cert", Takes::Text),
    secret("ssl-key"),
    harmless("ssl-mode", SSL_MODES),
    harmless("ssl-root-cert", Takes::Text),
    harmless("sslcert", Takes::Text),
    secret("sslkey"),
    harmless("sslmode", SSL_MODES),
    harmless("sslrootcert", Takes::Text),
    harmless("statement-cache-capacity", Takes::Number),
    harmless("user", Takes::Text),
];

/// What others call them.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("ssl", "sslmode"),
    ("tls", "sslmode"),
    ("schema", "options[search_path]"),
    ("currentSchema", "options[search_path]"),
    ("search_path", "options[search_path]"),
    ("username", "user"),
    ("database", "dbname"),
];

const SQLITE: &[Parameter] = &[
    harmless("cache", Takes::Words(&["private", "shared"])),
    harmless("immutable", Takes::Words(&["false", "0", "true", "1"])),
    harmless("mode", Takes::Words(&["rw", "rwc", "ro", "memory"])),
    harmless("vfs", Takes::Text),
];

/// The URL of a database.
pub(super) fn database_url() -> Rule<SecretString> {
    let allowed = "a URL such as postgres://user:password@host:5432/name or sqlite:orders.db";
    Rule::judging(allowed, |text| {
        let judged = match text.split_once(':') {
            Some(("postgres" | "postgresql", _)) => postgres(text),
            Some(("sqlite", rest)) if !rest.is_empty() => sqlite(rest),
            _ => return Err(None),
        };
        judged.map(|()| text.into()).map_err(Some)
    })
}

fn postgres(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL ({error}); {ENCODED}"))?;
    // What stands behind a raw `#`, `/` or `?` of a password still has the `@` that would end it.
    let is_torn = url.fragment().is_some() || url.path().contains('@');
    let query = url.query().unwrap_or_default();
    match parameters(query, POSTGRES) {
        _ if is_torn => Err(format!("is read differently than it is meant; {ENCODED}")),
        Err(_) if query.contains('@') => Err(format!("is read differently than it is meant; {ENCODED}")),
        judged => judged,
    }
}

fn sqlite(rest: &str) -> Result<(), String> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if path.trim_start_matches("//") == ":memory:" {
        return Err(IN_MEMORY.to_owned());
    }
    parameters(query, SQLITE)?;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match (&*name, &*value) {
            ("mode", "memory") => return Err(IN_MEMORY.to_owned()),
            ("mode", "ro") | ("immutable", "true" | "1") => return Err(READ_ONLY.to_owned()),
            _ => {}
        }
    }
    Ok(())
}

/// What is wrong with parameters, all of them; their values are not repeated.
fn parameters(query: &str, known: &[Parameter]) -> Result<(), String> {
    let mut wrong = Vec::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let parameter = known.iter().find(|parameter| parameter.name == name);
        match parameter.map(|parameter| &parameter.takes) {
            None if is_server_option(&name, known) => {}
            None => wrong.push(unknown(&name, known)),
            Some(Takes::Number) if value.parse::<u16>().is_err() => wrong.push(format!("{name} must be a number")),
            Some(Takes::Address) if value.parse::<IpAddr>().is_err() => {
                wrong.push(format!("{name} must be an IP address"));
            }
            Some(Takes::Words(words)) if !words.contains(&value.to_ascii_lowercase().as_str()) => {
                wrong.push(format!("{name} must be one of {}", words.join(", ")));
            }
            Some(_) => {}
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("has wrong parameters: {}", wrong.join("; "))) }
}

fn is_server_option(name: &str, known: &[Parameter]) -> bool {
    name.starts_with("options[") && name.ends_with(']') && known.iter().any(|parameter| parameter.name == "options")
}

fn unknown(name: &str, known: &[Parameter]) -> String {
    let likeness = |other: &str| strsim::jaro_winkler(&name.to_lowercase(), other);
    let nearest = known.iter().map(|parameter| parameter.name).max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let meant = OTHER_NAMES.iter().find(|(other, _)| *other == name).map(|(_, ours)| *ours);
    let names = known.iter().map(|parameter| parameter.name).collect::<Vec<_>>().join(", ");
    format!("{name} is not known; did you mean {}? There are {names}", meant.or(nearest).unwrap_or_default())
}

/// The URL with all starred that may be secret; nothing of a text that is none.
pub(super) fn shown(text: &str) -> String {
    if text.starts_with("sqlite:") {
        return plain(text);
    }
    let Ok(mut url) = Url::parse(text) else { return STARS.to_owned() };
    if url.password().is_some() && url.set_password(Some(STARS)).is_err() {
        return STARS.to_owned();
    }
    if url.query().is_some() {
        let is_harmless = |name: &str| POSTGRES.iter().any(|parameter| parameter.name == name && parameter.harmless);
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let shown = pairs.iter().map(|(name, value)| {
            (name.as_str(), if is_harmless(name) && !value.contains("-----BEGIN") { value.as_str() } else { STARS })
        });
        url.query_pairs_mut().clear().extend_pairs(shown);
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(url: &str) -> String {
        database_url().judge(url).expect_err(url)
    }

    #[test]
    fn what_may_be_secret_in_a_url_is_starred() {
        for (url, seen) in [
            ("postgres://me:s3cret@db:5432/shop", "postgres://me:***@db:5432/shop"),
            (
                "postgres://me@db/shop?sslmode=require&password=s3cret",
                "postgres://me@db/shop?sslmode=require&password=***",
            ),
            ("postgres://db/shop?sslkey=s3cret", "postgres://db/shop?sslkey=***"),
            ("postgres://db/shop?sslpassword=s3cret", "postgres://db/shop?sslpassword=***"),
            ("postgres://db/shop?options=-c%20x=s3cret", "postgres://db/shop?options=***"),
            ("postgres://db/shop?sslrootcert=-----BEGIN", "postgres://db/shop?sslrootcert=***"),
            ("postgres://db/shop", "postgres://db/shop"),
            ("sqlite:orders.db", "sqlite:orders.db"),
            ("s3cret", "***"),
        ] {
            assert_eq!(shown(url), seen);
        }
    }

    #[test]
    fn an_unknown_parameter_is_answered_with_the_nearest_one() {
        for (url, meant) in [
            ("postgres://db/shop?sslmod=verify-full", "sslmode"),
            ("postgres://db/shop?sslmode=require&ssl_root_cert=ca.pem", "sslrootcert"),
            ("postgres://db/shop?SSLMODE=require", "sslmode"),
            ("postgres://db/shop?ssl=true", "sslmode"),
            ("postgres://db/shop?currentSchema=a", "options[search_path]"),
            ("postgres://db/shop?option=s3cret", "options"),
            ("sqlite:orders.db?mod=rwc", "mode"),
        ] {
            let wrong = wrong(url);
            assert!(wrong.contains("is not known") && !wrong.contains("s3cret"), "{wrong}");
            assert!(wrong.contains(&format!("did you mean {meant}?")), "{wrong}");
        }
        for url in ["postgres://db/shop?sslpassword=s3cret", "sqlite:orders.db?key=s3cret"] {
            let wrong = wrong(url);
            assert!(wrong.contains("is not known") && !wrong.contains("s3cret"), "{wrong}");
        }
    }

    #[test]
    fn a_value_that_a_parameter_does_not_take_is_not_repeated() {
        for (url, told) in [
            ("postgres://db/shop?sslmode=s3cret", "verify-full"),
            ("postgres://db/shop?port=s3cret", "port must be a number"),
            ("postgres://db/shop?hostaddr=s3cret", "hostaddr must be an IP address"),
            ("postgres://db/shop?statement-cache-capacity=s3cret", "must be a number"),
            ("sqlite:orders.db?mode=s3cret", "rwc"),
            ("sqlite:orders.db?cache=s3cret", "private, shared"),
            ("sqlite:orders.db?mode=ro", "read-only"),
            ("sqlite:orders.db?immutable=1", "read-only"),
            ("sqlite::memory:", "must name a file"),
            ("sqlite://:memory:", "must name a file"),
            ("sqlite:orders.db?mode=memory", "must name a file"),
        ] {
            let wrong = wrong(url);
            assert!(wrong.contains(told) && !wrong.contains("s3cret"), "{url}: {wrong}");
        }
    }

    #[test]
    fn a_password_that_tears_the_url_apart_is_answered_with_percent_encoding() {
        for password in
            ["s3#cret", "s3/cret", "s3?cret", "12#s3cret", "12/s3cret", "12?s3cret", "12?s=3cret", "s3:[/cret"]
        {
            let wrong = wrong(&format!("postgres://me:{password}@db:5432/shop?sslmode=require"));
            assert!(wrong.contains("percent-encode"), "{password}: {wrong}");
            assert!(!wrong.contains("s3") && !wrong.contains("cret"), "{password}: {wrong}");
        }
        for password in ["s3%23cret", "s3@cret", "s3:cret", "100%", "s3[cret"] {
            let url = format!("postgres://me:{password}@db:5432/shop?user=me@corp");
            assert!(database_url().judge(&url).is_ok(), "{password}");
        }
    }

    #[test]
    fn what_the_drivers_know_is_taken() {
        for url in [
            "postgresql://db/shop?options[search_path]=a&options=-c%20b=c&hostaddr=::1&ssl-mode=VERIFY-FULL",
            "postgres:///shop?host=/var/run/postgresql&port=5433&application_name=x&statement-cache-capacity=0",
            "postgres://%2Fvar%2Frun%2Fpostgresql/shop",
            "sqlite://orders.db?mode=rwc&cache=private&vfs=unix&immutable=false",
        ] {
            assert!(database_url().judge(url).is_ok(), "{url}");
        }
    }
}
