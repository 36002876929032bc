//! Settings as a user gives them: the example file, a file and an environment together, secrets from files.

use std::{collections::HashMap, ffi::OsString, fs};

use ordercast::{
    config::{self, Need, Sources, variable},
    domain::decode::FieldPointers,
};
use secrecy::ExposeSecret;

const SECRET: &str = "canary-canary-canary-canary-canary";

fn environment(variables: &[(&str, &str)]) -> Sources {
    let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sources { environment, ..Sources::default() }
}

#[test]
fn the_example_names_every_setting_with_its_default_and_a_sentence() {
    let example = include_str!("../../.env.example");
    let lines: Vec<&str> = example.lines().collect();
    let mut shown = HashMap::new();
    for (index, line) in lines.iter().enumerate() {
        let Some((name, value)) = line.trim_start_matches("# ").split_once('=') else { continue };
        if name.starts_with("ORDERCAST__") && !name.contains("__PROPERTIES__") {
            assert!(lines[index - 1].starts_with("# ") && lines[index - 1].ends_with('.'), "{name} has no sentence");
            assert!(shown.insert(name, (value, line.starts_with('#'))).is_none(), "{name} stands twice");
        }
    }
    for (key, default) in config::defaults() {
        let name = variable(&key);
        let (value, commented_out) = shown.remove(name.as_str()).unwrap_or_else(|| panic!(".env.example lacks {name}"));
        assert_eq!(value, default.clone().unwrap_or_default(), "{name}");
        assert!(default.is_some() || commented_out, "{name} has no default, so the example must not set it");
    }
    assert!(shown.is_empty(), ".env.example has what is no setting: {shown:?}");
}

#[test]
fn the_example_can_be_used_as_it_is() {
    let set = include_str!("../../.env.example").lines().filter(|line| !line.starts_with('#'));
    let variables: Vec<_> = set.filter_map(|line| line.split_once('=')).collect();
    let with_it = config::effective_toml(&environment(&variables)).unwrap().replace("# environment", "# default");
    assert_eq!(with_it, config::effective_toml(&Sources::default()).unwrap());
}

#[test]
fn the_environment_overrides_the_file_and_the_file_the_defaults() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ordercast.toml");
    let text = r#"
        [kafka]
        brokers = ["one:9092", "two:9092"]
        topic = "from-file"
        properties = { "security.protocol" = "SASL_SSL" }
        [session]
        max_per_user = 7
    "#;
    fs::write(&path, text).unwrap();
    let variables = [
        ("ORDERCAST_CONFIG", path.to_str().unwrap()),
        ("ORDERCAST__KAFKA__TOPIC", "from-environment"),
        ("ORDERCAST__KAFKA__PROPERTIES__SASL_PASSWORD", SECRET),
        ("ORDERCAST_PORT", "tcp://10.0.0.1:8080"),
        ("PATH", "/bin"),
    ];
    let sources =
        Sources::read(None, variables.map(|(name, value)| (OsString::from(name), OsString::from(value)))).unwrap();
    let settings = config::load(&sources, &[Need::Brokers]).unwrap();
    assert_eq!(settings.kafka.brokers, ["one:9092", "two:9092"]);
    assert_eq!(settings.kafka.topic, "from-environment");
    assert_eq!(settings.kafka.dead_letter_topic, "from-environment.dlt");
    assert_eq!(settings.kafka.control_topic, "from-environment.control");
    assert_eq!(settings.kafka.properties["security.protocol"].expose(), "SASL_SSL");
    assert_eq!(settings.kafka.properties["sasl.password"].expose(), SECRET);
    assert_eq!(settings.session.max_per_user, 7);
    assert_eq!(settings.session.snapshot_page, 500);
    assert_eq!(settings.session.snapshot_bytes, 32_768);
}

#[test]
fn a_settings_file_that_is_not_there_is_named() {
    let error = Sources::read(Some("/nowhere/ordercast.toml".into()), []).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/ordercast.toml: cannot be read"), "{error}");
}

#[test]
fn a_secret_may_stand_in_a_file_and_is_then_read_without_its_line_break() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    fs::write(&path, format!("{SECRET}\n")).unwrap();
    let path = path.to_str().unwrap();
    let settings = config::load(
        &environment(&[
            ("ORDERCAST__AUTH__SECRET_FILE", path),
            ("ORDERCAST__DATABASE__URL", "postgres://db/shop"),
            ("ORDERCAST__KAFKA__PROPERTIES__SASL_PASSWORD_FILE", path),
        ]),
        &[Need::Secret, Need::Database],
    )
    .unwrap();
    assert_eq!(settings.auth.secret.unwrap().expose_secret(), SECRET);
    assert_eq!(settings.kafka.properties["sasl.password"].expose(), SECRET);

    let both = [("ORDERCAST__AUTH__SECRET_FILE", path), ("ORDERCAST__AUTH__SECRET", SECRET)];
    let error = config::load(&environment(&both), &[Need::Secret]).unwrap_err().to_string();
    let wanted = "ORDERCAST__AUTH__SECRET and ORDERCAST__AUTH__SECRET_FILE: only one of the two may be given";
    assert_eq!(error, wanted);
}

#[test]
fn no_secret_is_ever_shown() {
    let secrets = environment(&[
        ("ORDERCAST__AUTH__SECRET", SECRET),
        ("ORDERCAST__AUTH__PREVIOUS_SECRET", SECRET),
        ("ORDERCAST__OPERATIONS__TOKEN", SECRET),
        ("ORDERCAST__DATABASE__URL", "postgres://me:canary@db/shop"),
        ("ORDERCAST__KAFKA__PROPERTIES__SASL_PASSWORD", "canary"),
        ("ORDERCAST__KAFKA__PROPERTIES__SSL_KEY_PEM", "canary"),
        ("ORDERCAST__KAFKA__PROPERTIES__SECURITY_PROTOCOL", "SASL_SSL"),
    ]);
    let toml = config::effective_toml(&secrets).unwrap();
    assert!(!toml.contains("canary"), "{toml}");
    assert!(toml.contains(r#"url = "postgres://me:***@db/shop" # environment"#), "{toml}");
    assert!(toml.contains(r#""security.protocol" = "SASL_SSL" # environment"#), "{toml}");
    let settings = config::load(&secrets, &[]).unwrap();
    assert!(!format!("{settings:?}").contains("canary"));

    let bad = environment(&[
        ("ORDERCAST__AUTH__SECRET", "canary"),
        ("ORDERCAST__AUTH__SECERT", "canary"),
        ("ORDERCAST__DATABASE__URL", "canary"),
        ("ORDERCAST__KAFKA__PROPERTIES__GROUP_ID", "canary"),
    ]);
    let error = config::load(&bad, &[]).unwrap_err();
    assert_eq!(error.problems.len(), 4, "{error}");
    assert!(!error.to_string().contains("canary"), "{error}");

    let mut broken = environment(&[]);
    let text = "[auth]\nsecret = \"canary\nissuer = \"x\"".to_owned();
    broken.file = Some(config::SettingsFile { path: "o.toml".into(), text });
    let error = config::load(&broken, &[Need::Brokers]).unwrap_err().to_string();
    assert!(error.starts_with("o.toml: ") && error.contains("line 2") && !error.contains("canary"), "{error}");
}

#[test]
fn what_config_prints_is_toml() {
    let set = environment(&[
        ("ORDERCAST__KAFKA__BROKERS", "a:1,b:2"),
        ("ORDERCAST__KAFKA__PROPERTIES__CLIENT_ID", "back\\slash \"quoted\""),
        ("ORDERCAST__EVENT__FIELDS__DETAILS", ""),
    ]);
    let printed = config::effective_toml(&set).unwrap();
    let file = config::SettingsFile { path: "printed.toml".into(), text: printed.clone() };
    let again = Sources { file: Some(file), ..Sources::default() };
    let reprinted = config::effective_toml(&again).unwrap();
    let values = |toml: &str| toml.lines().map(|line| line.split(" # ").next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(values(&printed), values(&reprinted));
}

#[test]
fn the_default_fields_are_those_the_decoder_knows() {
    let fields = config::load(&Sources::default(), &[]).unwrap().event.fields;
    let known = FieldPointers::default();
    let ids = [(fields.order_id, known.order_id), (fields.user_id, known.user_id), (fields.event_id, known.event_id)];
    let rest = [(fields.status, known.status), (fields.version, known.version), (fields.details, known.details)];
    let more =
        [(fields.occurred_at, known.occurred_at), (fields.viewers, known.viewers), (fields.deleted, known.deleted)];
    for (set, known) in ids.into_iter().chain(rest).chain(more) {
        assert_eq!(set, known);
    }
}
