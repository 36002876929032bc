//! What `ordercast dev` sets for itself, below file and environment, so that any of it can be set otherwise.

use super::directory::DataDirectory;
use crate::config::{Need, Settings, SettingsError, Sources, load};

/// The settings of `dev`, without brokers unless somebody gave some.
pub(super) fn settings(
    mut sources: Sources,
    directory: &DataDirectory,
    secret: &str,
    port: Option<u16>,
) -> Result<Settings, SettingsError> {
    // Who moves the page probably runs beside another one.
    let operations = if port.is_some() { "127.0.0.1:0" } else { "127.0.0.1:9090" };
    sources.preset = [
        // Not for other machines: everybody gets a token.
        ("http.listen", "127.0.0.1:8080"),
        ("operations.listen", operations),
        ("http.allowed_origins", "*"),
        ("database.url", &directory.database_url()),
        ("auth.secret", secret),
        // The embedded broker begins a new log at every start.
        ("kafka.on_log_regression", "reset"),
        // The simulator delivers orders in minutes, and nobody wants to see a day of them.
        ("session.terminal_window", "10m"),
        // There is no second instance to protect from everybody coming at once.
        ("shutdown.spread", "0s"),
        // The screen is for the text that tells how to begin.
        ("log.level", "info,actix_server=warn"),
    ]
    .map(|(key, value)| (key, value.to_owned()))
    .into();
    let mut settings = load(&sources, &[Need::Database, Need::Secret, Need::AllPipelines])?;
    if let Some(port) = port {
        settings.http.listen.set_port(port);
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OnLogRegression;

    fn of(environment: &[(&str, &str)], port: Option<u16>) -> Settings {
        let directory = tempfile::tempdir().unwrap();
        let taken = DataDirectory::take(directory.path()).unwrap();
        let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        settings(Sources { environment, ..Sources::default() }, &taken, &"s".repeat(32), port).unwrap()
    }

    #[test]
    fn it_needs_no_settings_and_takes_any() {
        let settings = of(&[], None);
        assert_eq!(settings.http.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.kafka.on_log_regression, OnLogRegression::Reset);
        assert!(settings.kafka.brokers.is_empty());
        let given = of(&[("ORDERCAST__HTTP__LISTEN", "0.0.0.0:8000"), ("ORDERCAST__KAFKA__BROKERS", "k:9092")], None);
        assert_eq!(given.http.listen.to_string(), "0.0.0.0:8000");
        assert_eq!(given.kafka.brokers, ["k:9092"]);
    }

    #[test]
    fn the_port_of_the_command_line_wins_and_moves_the_operations_out_of_the_way() {
        let settings = of(&[("ORDERCAST__HTTP__LISTEN", "0.0.0.0:8000")], Some(9090));
        assert_eq!(settings.http.listen.to_string(), "0.0.0.0:9090");
        assert_eq!(settings.operations.listen.port(), 0);
    }
}
