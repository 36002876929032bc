//! The properties of librdkafka that the settings know: the same that the bundled one has, with the same ranges.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use ordercast::{
    config::{self, Sources, allowed_for, is_harmless, variable},
    log::kafka::KafkaClients,
};
use rdkafka::ClientConfig;
use serde_json::Value;

/// Name and range of every property in librdkafka's own list that can be set by name. A name that stands twice is a
/// consumer's or producer's and a topic's; the first is the one that is set.
fn documented() -> BTreeMap<String, String> {
    let list = fs::read_to_string(sources_of_librdkafka().join("CONFIGURATION.md")).unwrap();
    let mut properties = BTreeMap::new();
    for line in list.lines().filter(|line| line.contains("*Type: ") && !line.contains("see dedicated API")) {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        if !columns[0].contains('_') {
            properties.entry(columns[0].to_owned()).or_insert_with(|| columns[2].to_owned());
        }
    }
    properties
}

fn sources_of_librdkafka() -> PathBuf {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let version = run("rustc", &["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    // Packages that are for other platforms only may never have been fetched.
    let only_here = ["metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", host];
    let metadata = run(&cargo, &only_here);
    let packages: Value = serde_json::from_str(&metadata).unwrap();
    let packages = packages["packages"].as_array().unwrap();
    let found = packages.iter().find(|package| package["name"] == "rdkafka-sys").unwrap();
    PathBuf::from(found["manifest_path"].as_str().unwrap()).with_file_name("librdkafka")
}

fn problems(properties: &[(String, String)]) -> Vec<String> {
    let environment =
        properties.iter().map(|(name, value)| (variable(&format!("kafka.properties.{name}")), value.clone()));
    let sources = Sources { environment: environment.collect(), ..Sources::default() };
    let wrong = |error: config::SettingsError| error.problems.iter().map(ToString::to_string).collect();
    match config::load(&sources, &[]) {
        Err(error) => wrong(error),
        Ok(settings) => KafkaClients::new(&settings.kafka).err().map(wrong).unwrap_or_default(),
    }
}

fn is_taken_by_librdkafka(name: &str, value: &str) -> bool {
    ClientConfig::new().set(name, value).create_native_config().is_ok()
}

#[test]
fn every_property_of_librdkafka_is_known_with_what_it_takes() {
    let documented = documented();
    assert!(documented.len() > 150, "{}", documented.len());
    let unknown = ["sasl.nonsense".to_owned()];
    for name in documented.keys().chain(&unknown) {
        let is_known =
            !problems(&[(name.clone(), "\u{1}".into())]).join("").contains("is not a property of librdkafka");
        assert_eq!(is_known, documented.contains_key(name), "{name}");
    }
    for (name, range) in documented {
        let Some((from, to)) = range.split_once(" .. ") else {
            let words: Vec<&str> = range.split(", ").filter(|word| !word.is_empty()).collect();
            let allowed = allowed_for(&name).unwrap_or_default();
            assert!(words.iter().all(|word| allowed.contains(word)), "{name}: {allowed}");
            assert_eq!(words.is_empty(), allowed.is_empty(), "{name}: {allowed}");
            continue;
        };
        assert!(allowed_for(&name).unwrap().ends_with(&format!("number from {from} to {to}")), "{name}");
        let (from, to): (i64, i64) = (from.parse().unwrap(), to.parse().unwrap());
        for (value, taken) in [(from, true), (to, true), (from - 1, false), (to + 1, false)] {
            let value = value.to_string();
            let refused = problems(&[(name.clone(), value.clone())]).join("");
            let is_ours = !refused.contains("must be a") || refused.contains("must be left");
            assert!(is_ours == taken || refused.contains("must be left"), "{name} = {value}: {refused}");
            // Beyond 32 bits it takes what is left of the number.
            if i32::try_from(to + 1).is_ok() {
                assert_eq!(is_taken_by_librdkafka(&name, &value), taken, "{name} = {value}");
            }
        }
    }
}

#[test]
fn what_librdkafka_holds_secret_itself_is_held_secret() {
    let code = fs::read_to_string(sources_of_librdkafka().join("src/rdkafka_conf.c")).unwrap();
    let mut found = 0;
    for (at, _) in code.match_indices("| _RK_SENSITIVE,") {
        let name = code[at..].split('"').nth(1).unwrap();
        // Which file and whose credentials is worth seeing.
        if !["ssl.key.location", "sasl.username"].contains(&name) {
            assert!(!is_harmless(name), "{name}");
            found += 1;
        }
    }
    assert!(found > 5, "{found}");
}

#[test]
fn what_only_librdkafka_can_find_out_is_told_with_where_it_was_given_and_without_a_value() {
    for (properties, told) in [
        (
            &[("security.protocol", "sasl_ssl")][..],
            "SASL_MECHANISM: must be given where security.protocol asks for SASL",
        ),
        (
            &[("security.protocol", "sasl_ssl"), ("sasl.mechanism", "canary")],
            "ORDERCAST__KAFKA__PROPERTIES__SASL_MECHANISM: must be PLAIN, SCRAM",
        ),
        (&[("security.protocol", "sasl_ssl"), ("sasl.mechanism", "PLAIN")], "sasl.username"),
        (
            &[("security.protocol", "ssl"), ("ssl.key.pem", "canary-canary")],
            "ORDERCAST__KAFKA__PROPERTIES__SSL_KEY_PEM: cannot be used: ssl.key.pem failed",
        ),
        (
            &[("security.protocol", "ssl"), ("ssl.ca.pem", "canary-canary")],
            "ORDERCAST__KAFKA__PROPERTIES__SSL_CA_PEM: cannot be used",
        ),
        (
            &[("security.protocol", "ssl"), ("ssl.ca.location", "/nowhere")],
            "ORDERCAST__KAFKA__PROPERTIES__SSL_CA_LOCATION: cannot be used",
        ),
        (&[("max.poll.interval.ms", "1000")], "ORDERCAST__KAFKA__PROPERTIES__MAX_POLL_INTERVAL_MS: cannot be used"),
        (
            &[("https.ca.pem", "canary-canary")],
            "ORDERCAST__KAFKA__PROPERTIES__HTTPS_CA_PEM: asks for what is not built",
        ),
        (&[("topic.blacklist", "^(canary")], "ORDERCAST__KAFKA__PROPERTIES__TOPIC_BLACKLIST: has a value"),
    ] {
        let given: Vec<_> = properties.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let wrong = problems(&given).join("\n");
        assert!(wrong.contains(told), "{properties:?}: {wrong}");
        assert!(!wrong.contains("canary"), "{properties:?}: {wrong}");
    }
}
