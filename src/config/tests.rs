//! What is refused, and in which words.

use super::{Need, Settings, SettingsError, SettingsFile, Sources, load};

fn given(variables: &[(&str, &str)]) -> Sources {
    let environment = variables.iter().map(|(key, value)| (super::variable(key), (*value).to_owned())).collect();
    Sources { environment, ..Sources::default() }
}

fn problems(result: Result<Settings, SettingsError>) -> Vec<String> {
    result.err().map(|error| error.problems.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn nothing_given_is_sound_where_nothing_is_needed() {
    let settings = load(&Sources::default(), &[]).unwrap();
    assert_eq!(settings.kafka.stale_after.as_secs(), 10);
    assert_eq!(
        settings.lifecycle.terminal,
        ["delivered", "cancelled", "refunded", "returned", "completed", "done", "closed"]
    );
    assert!(settings.kafka.brokers.is_empty() && settings.lifecycle.statuses.is_empty());
}

#[test]
fn all_problems_are_told_at_once_with_key_value_and_what_is_allowed() {
    let file =
        SettingsFile { path: "o.toml".into(), text: "[session]\nmailbox_bytes = 100\n[kafka]\ntopics = 1".into() };
    let sources =
        Sources { file: Some(file), ..given(&[("session.heartbeat_interval", "0s"), ("auth.secret", "short")]) };
    assert_eq!(
        problems(load(&sources, &[Need::Brokers, Need::Database, Need::TokenKeys])),
        [
            "ORDERCAST__AUTH__SECRET: must be at least 32 bytes long",
            "ORDERCAST__SESSION__HEARTBEAT_INTERVAL = \"0s\": must be a duration from 100ms to 1h, such as 15s or 10m",
            "session.mailbox_bytes in o.toml = \"100\": must be a whole number from 32768 to 67108864",
            "kafka.topics in o.toml: is not a setting; did you mean kafka.topic?",
            "kafka.brokers: must be given (as ORDERCAST__KAFKA__BROKERS)",
            "database.url: must be given (as ORDERCAST__DATABASE__URL)",
        ]
    );
}

#[test]
fn an_unknown_setting_is_answered_with_the_nearest_one() {
    for (unknown, nearest) in [
        ("ORDERCAST__KAFKA__BROKER", "ORDERCAST__KAFKA__BROKERS"),
        ("ORDERCAST__KAFKA_BROKERS", "ORDERCAST__KAFKA__BROKERS"),
        ("ORDERCAST__DATABASE__URI", "ORDERCAST__DATABASE__URL"),
        ("ORDERCAST__AUTH__SECRET_FLIE", "ORDERCAST__AUTH__SECRET_FILE"),
        ("ORDERCAST__EVENT__FIELDS__STATE", "ORDERCAST__EVENT__FIELDS__STATUS"),
    ] {
        let sources = Sources { environment: [(unknown.to_owned(), "x".to_owned())].into(), ..Sources::default() };
        let wanted = format!("{unknown}: is not a setting; did you mean {nearest}?");
        assert_eq!(problems(load(&sources, &[])), [wanted]);
    }
}

#[test]
fn only_names_with_the_prefix_and_two_underscores_are_read() {
    let names =
        ["ORDERCAST_PORT", "ORDERCAST_SERVICE_HOST", "ORDERCAST", "ordercast__kafka__brokr", "XORDERCAST__A__B"];
    let environment = names.map(|name| (name.to_owned(), "x".to_owned())).into();
    assert_eq!(problems(load(&Sources { environment, ..Sources::default() }, &[])), Vec::<String>::new());
}

#[test]
fn a_setting_but_for_its_underscores_is_refused_with_the_right_name() {
    for (given, meant) in [
        ("ORDERCAST_KAFKA_TOPIC", "ORDERCAST__KAFKA__TOPIC"),
        ("ORDERCAST_KAFKA__TOPIC", "ORDERCAST__KAFKA__TOPIC"),
        ("ORDERCASTKAFKATOPIC", "ORDERCAST__KAFKA__TOPIC"),
        ("ORDERCAST_AUTH_SECRET_FILE", "ORDERCAST__AUTH__SECRET_FILE"),
        ("ORDERCAST_EVENT_FIELDS_ORDER_ID", "ORDERCAST__EVENT__FIELDS__ORDER_ID"),
        ("ORDERCAST_KAFKA_PROPERTIES_SASL_PASSWORD", "ORDERCAST__KAFKA__PROPERTIES__SASL_PASSWORD"),
        ("ORDERCAST_KAFKA_PROPERTIES_SASL_PASSWORD_FILE", "ORDERCAST__KAFKA__PROPERTIES__SASL_PASSWORD_FILE"),
    ] {
        let sources = Sources { environment: [(given.to_owned(), "canary".to_owned())].into(), ..Sources::default() };
        assert_eq!(problems(load(&sources, &[])), [format!("{given}: is not a setting; did you mean {meant}?")]);
    }
}

#[test]
fn other_names_with_the_prefix_are_warned_of_unless_they_are_known_to_be_others() {
    let warned = |name: &str| {
        let sources = Sources { environment: [(name.to_owned(), "canary".to_owned())].into(), ..Sources::default() };
        assert!(load(&sources, &[]).is_ok(), "{name}");
        super::warnings(&sources).join("\n")
    };
    for name in ["ORDERCAST_TOPIC", "ORDERCAST_PORT_8080_TCP_X", "ORDERCAST_PORTS", "ORDERCAST_PORT_X_TCP"] {
        let warning = warned(name);
        assert!(warning.starts_with(name) && !warning.contains("canary"), "{name}: {warning}");
    }
    for name in [
        "ORDERCAST_PORT",
        "ORDERCAST_PORT_8080_TCP",
        "ORDERCAST_PORT_8080_TCP_ADDR",
        "ORDERCAST_PORT_8125_UDP_PROTO",
        "ORDERCAST_SERVICE_HOST",
        "ORDERCAST_SERVICE_PORT",
        "ORDERCAST_SERVICE_PORT_OPERATIONS",
        "ORDERCAST_KAFKA_SERVICE_HOST",
        "ORDERCAST_KAFKA_PORT_9092_TCP_PORT",
        "ORDERCAST_CONFIG",
        "ORDERCAST_TEST_KAFKA",
        "ORDERCAST_SIM_SEED",
        "ORDERCAST_SOAK_SECONDS",
        "PATH",
    ] {
        assert_eq!(warned(name), "", "{name}");
    }
}

#[test]
fn every_mistake_in_a_librdkafka_property_is_told_at_once_without_its_value() {
    let variables = [
        ("kafka.properties.sasl.passwrd", "canary"),
        ("kafka.properties.sasl.passwrd_file", "/nowhere"),
        ("kafka.properties.sasl.jaas.config", "canary"),
        ("kafka.properties.ssl.truststore.password", "canary"),
        ("kafka.properties.security.protocol", "canary"),
        ("kafka.properties.fetch.max.bytes", "canary"),
        ("kafka.properties.linger.ms", "1000000"),
        ("kafka.properties.debug", "broker,canary"),
        ("kafka.properties.something.else", "canary"),
        ("kafka.topic", "no topic"),
    ];
    let told = problems(load(&given(&variables), &[]));
    let starts = |name: &str| told.iter().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{told:#?}"));
    for (name, rest) in [
        (
            "SASL_PASSWRD",
            ": is not a property of librdkafka; did you mean ORDERCAST__KAFKA__PROPERTIES__SASL_PASSWORD?",
        ),
        (
            "SASL_PASSWRD_FILE",
            ": is not a property of librdkafka; did you mean ORDERCAST__KAFKA__PROPERTIES__SASL_PASSWORD_FILE?",
        ),
        ("SASL_JAAS_CONFIG", ": is a property of Java's clients, which librdkafka does not have: use sasl.username"),
        ("SSL_TRUSTSTORE_PASSWORD", ": is a property of Java's clients, which librdkafka does not have: use ssl.ca."),
        ("SECURITY_PROTOCOL", ": must be one of plaintext, ssl, sasl_plaintext, sasl_ssl"),
        ("FETCH_MAX_BYTES", ": must be a whole number from 0 to 2147483135"),
        ("LINGER_MS", ": must be a number from 0 to 900000"),
        ("DEBUG", ": must be some of generic, broker"),
        ("SOMETHING_ELSE", ": is not a property of librdkafka"),
    ] {
        let line = starts(&format!("ORDERCAST__KAFKA__PROPERTIES__{name}:"));
        assert!(line.contains(rest), "{line}");
    }
    assert!(starts("ORDERCAST__KAFKA__TOPIC").contains("no topic"));
    assert_eq!(told.len(), variables.len(), "{told:#?}");
    assert!(!told.join("\n").contains("canary"), "{told:#?}");
}

#[test]
fn contradictions_name_both_settings() {
    const KEY_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    type Given = &'static [(&'static str, &'static str)];
    let cases: &[(Given, &[&str])] = &[
        (&[("http.listen", "127.0.0.1:9090")], &["http.listen", "operations.listen"]),
        (&[("http.listen", "0.0.0.0:9090")], &["http.listen", "operations.listen"]),
        (&[("kafka.topic", "a"), ("kafka.dead_letter_topic", "a")], &["kafka.topic", "kafka.dead_letter_topic"]),
        (&[("auth.jwks_url", "https://login.example/keys")], &["auth.algorithms", "auth.jwks_url"]),
        (&[("auth.jwks_cache_file", "keys.json")], &["auth.jwks_cache_file", "auth.jwks_url"]),
        (&[("kafka.control_topic", "order-status")], &["kafka.topic", "kafka.control_topic"]),
        (&[("auth.secret", SECRET), ("auth.public_key_files", KEY_FILE)], &["auth.secret", "auth.public_key_files"]),
        (&[("auth.public_key_files", KEY_FILE)], &["auth.algorithms", "auth.public_key_files"]),
        (&[("auth.secret", SECRET), ("auth.algorithms", "HS256,RS256")], &["auth.algorithms", "auth.secret"]),
        (&[("auth.previous_secret", SECRET)], &["auth.previous_secret", "auth.secret"]),
    ];
    for (variables, keys) in cases {
        let error = load(&given(variables), &[]).unwrap_err();
        assert_eq!(error.problems.len(), 1, "{error}");
        assert_eq!(error.problems[0].keys, *keys);
        assert!(keys.iter().all(|key| error.to_string().contains(key)), "{error}");
    }
}

#[test]
fn ports_that_cannot_meet_are_no_contradiction() {
    for (public, operations) in
        [("0.0.0.0:0", "127.0.0.1:0"), ("127.0.0.1:80", "127.0.0.2:80"), ("0.0.0.0:80", "0.0.0.0:81")]
    {
        let variables = [("http.listen", public), ("operations.listen", operations)];
        assert_eq!(problems(load(&given(&variables), &[])), Vec::<String>::new());
    }
}

#[test]
fn each_need_is_told_when_it_is_missing() {
    for (need, keys) in [
        (Need::Brokers, &["kafka.brokers"][..]),
        (Need::Database, &["database.url"]),
        (Need::Secret, &["auth.secret"]),
        (Need::TokenKeys, &["auth.secret", "auth.public_key_files", "auth.jwks_url"]),
    ] {
        assert_eq!(load(&Sources::default(), &[need]).unwrap_err().problems[0].keys, keys);
    }
}

#[test]
fn values_that_break_their_rule_are_refused() {
    for (key, bad) in [
        ("http.listen", "localhost:8080"),
        ("http.listen", "8080"),
        ("http.allowed_origins", "shop.example"),
        ("http.allowed_origins", "https://shop.example/path"),
        ("http.allowed_origins", "https://a.*.example"),
        ("http.allowed_origins", "https://*.*.example"),
        ("http.allowed_origins", "NULL"),
        ("http.allowed_origins", "file:"),
        ("http.allowed_origins", "file:///home"),
        ("http.keep_alive", "0s"),
        ("http.keep_alive", "2h"),
        ("http.trusted_proxies", "10.0.0.0/33"),
        ("kafka.brokers", "a:9092, ,b:9092"),
        ("kafka.brokers", "a:9092,"),
        ("kafka.brokers", "http://a:9092"),
        ("kafka.brokers", "kafka://a:9092"),
        ("kafka.brokers", "a"),
        ("kafka.brokers", "a:"),
        ("kafka.brokers", ":9092"),
        ("kafka.brokers", "a:0"),
        ("kafka.brokers", "a:65536"),
        ("kafka.brokers", "a:+9092"),
        ("kafka.brokers", "a:9092/topic"),
        ("kafka.brokers", "::1:9092"),
        ("kafka.brokers", "[::1]"),
        ("kafka.topic", "order status"),
        ("kafka.missing_version", "Offset"),
        ("kafka.epoch", "-1"),
        ("database.url", "mysql://db/shop"),
        ("database.url", "sqlite:"),
        ("auth.algorithms", "none"),
        ("auth.algorithms", "HS256,hs512"),
        ("auth.public_key_files", "/nowhere/key.pem"),
        ("auth.issuer", ""),
        ("auth.leeway", "31s"),
        ("auth.leeway", "5"),
        ("event.fields.status", "status"),
        ("event.fields.status", "/a~2b"),
        ("session.max_per_user", "0"),
        ("session.max_per_user", "many"),
        ("log.format", "xml"),
        ("log.level", "inof"),
        ("log.level", "info,ordercast=loud"),
    ] {
        let error = load(&given(&[(key, bad)]), &[]).expect_err(&format!("{key} = {bad}"));
        assert_eq!(error.problems.len(), 1, "{error}");
        assert_eq!(error.problems[0].keys, [key]);
    }
}

#[test]
fn values_that_obey_their_rule_are_accepted() {
    for (key, good) in [
        ("http.listen", "[::]:8080"),
        ("http.allowed_origins", "*"),
        ("http.allowed_origins", "https://shop.example, https://*.shop.example:8443,capacitor://localhost"),
        ("http.trusted_proxies", "10.0.0.0/8,fd00::/8,192.168.1.7"),
        ("auth.algorithms", "HS256,HS512"),
        ("event.fields.details", ""),
        ("event.fields.status", "/after/st~1atus,/status"),
        ("lifecycle.terminal", ""),
        ("lifecycle.statuses", "created,Out For Delivery"),
        ("kafka.brokers", "SSL://kafka-1:9093,kafka_2.example:9092, [::1]:9092"),
        ("log.level", "warn,ordercast::hub=debug,[session{id}]=trace"),
        ("session.terminal_window", "0s"),
    ] {
        assert_eq!(problems(load(&given(&[(key, good)]), &[])), Vec::<String>::new(), "{key} = {good}");
    }
}

#[test]
fn the_whole_value_is_a_pointer_and_an_empty_list_is_none() {
    let settings = load(&given(&[("event.fields.details", ""), ("lifecycle.terminal", "")]), &[]).unwrap();
    assert_eq!(settings.event.fields.details, [""]);
    assert!(settings.lifecycle.terminal.is_empty());
}

#[test]
fn every_reserved_property_is_refused_by_name() {
    for (property, _) in super::RESERVED_PROPERTIES {
        let key = format!("kafka.properties.{property}");
        let error = load(&given(&[(&key, "x")]), &[]).unwrap_err();
        assert_eq!(error.problems[0].keys, [key]);
        assert!(error.to_string().contains("must be left to Ordercast"), "{error}");
    }
}

#[test]
fn a_property_is_read_under_each_of_its_spellings() {
    for text in [
        "[kafka.properties]\n\"sasl.password\" = \"x\"",
        "[kafka.properties]\nsasl_password = \"x\"",
        "kafka.properties.sasl.password = \"x\"",
    ] {
        let file = Some(SettingsFile { path: "o.toml".into(), text: text.into() });
        let settings = load(&Sources { file, ..Sources::default() }, &[]).unwrap();
        assert_eq!(settings.kafka.properties["sasl.password"].expose(), "x", "{text}");
    }
}

#[test]
fn what_a_command_sets_for_itself_gives_way_to_file_and_environment() {
    let preset = vec![("kafka.on_log_regression", "reset".to_owned()), ("kafka.topic", "preset".to_owned())];
    let settings = load(&Sources { preset, ..given(&[("kafka.topic", "mine")]) }, &[]).unwrap();
    assert_eq!(settings.kafka.on_log_regression, super::OnLogRegression::Reset);
    assert_eq!(settings.kafka.topic, "mine");
}

#[test]
fn an_instance_runs_both_pipelines_unless_one_is_named() {
    let runs = |text: &str| load(&given(&[("pipelines", text)]), &[]).unwrap().pipelines;
    for (text, push, record) in [
        ("push,record", true, true),
        ("record, push", true, true),
        ("push", true, false),
        ("record", false, true),
        ("push,push", true, false),
    ] {
        assert_eq!((runs(text).push, runs(text).record), (push, record), "{text}");
    }
    assert!(load(&Sources::default(), &[]).unwrap().pipelines.are_all());
    let text = "pipelines = [\"record\"]\n[kafka]\ntopic = \"t\"".to_owned();
    let file = Sources { file: Some(SettingsFile { path: "o.toml".into(), text }), ..Sources::default() };
    assert!(!load(&file, &[]).unwrap().pipelines.push);
    let shown = super::effective_toml(&file).unwrap();
    assert!(shown.starts_with("pipelines = [\"record\"] # o.toml\n\n["), "{shown}");
}

#[test]
fn pipelines_that_make_no_sense_are_told_with_what_would() {
    let wrong = |text: &str, needs: &[Need]| problems(load(&given(&[("pipelines", text)]), needs));
    assert_eq!(wrong("", &[]), ["pipelines: must name push, record or both: an instance without any does nothing"]);
    let list = "must be a list, each item one of push, record";
    for (text, meant) in [("pusch", "; did you mean push?"), ("Recorder", "; did you mean record?"), ("zzz", "")] {
        assert_eq!(wrong(text, &[]), [format!("ORDERCAST__PIPELINES = {text:?}: {list}{meant}")]);
    }
    assert_eq!(wrong("push", &[Need::AllPipelines]), ["pipelines = push: this command runs both, push and record"]);
    assert!(wrong("push,record", &[Need::AllPipelines]).is_empty());
    assert!(wrong("push", &[Need::TokenKeys])[0].starts_with("auth.secret or "));
    assert!(wrong("record", &[Need::TokenKeys]).is_empty(), "nobody shows it a token");
}
