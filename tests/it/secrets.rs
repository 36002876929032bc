//! Every setting that can hold a secret, made wrong in every way there is: the secret stands in nothing that is written, the
//! command ends with 2, and what is wrong is said.

use std::{
    collections::HashMap,
    fs,
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use ordercast::store::{PoolLimits, connect};
use tempfile::TempDir;

use crate::{
    cli::{answer, ordercast},
    parts::free_port,
    world::{PATIENCE, Service},
};

const CANARY: &str = "canary";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Every command that reads settings, with arguments that are right.
const COMMANDS: [&[&str]; 9] = [
    &["config"],
    &["serve"],
    &["migrate"],
    &["dev", "--port", "0", "--no-simulator"],
    &["publish", "--order", "A-1", "--user", "u-1", "--status", "paid"],
    &["check", "--url", "http://127.0.0.1:1"],
    &["dead-letters", "list"],
    &["token", "--user", "u-1"],
    &["healthcheck"],
];
/// Of these, how many are clients of Kafka.
const OF_KAFKA: usize = 7;

/// Wrong settings, what is said of them, and by how many of the commands.
type Case = (&'static [(&'static str, &'static str)], &'static str, usize);

const CASES: &[Case] = &[
    (&[("AUTH__SECRET", CANARY)], "AUTH__SECRET: must be at least 32", 9),
    (&[("AUTH__PREVIOUS_SECRET", CANARY)], "AUTH__PREVIOUS_SECRET: must be at least 32", 9),
    (&[("AUTH__SECRET_FILE", CANARY)], "AUTH__SECRET", 9),
    (&[("AUTH__PREVIOUS_SECRET_FILE", CANARY)], "AUTH__PREVIOUS_SECRET_FILE: must be the path of a", 9),
    (&[("AUTH__PREVIOUS_SECRET_FILE", "/canary/canary")], "AUTH__PREVIOUS_SECRET_FILE: must be the path of a", 9),
    (&[("AUTH__PUBLIC_KEY_FILES", "-----BEGIN PRIVATE KEY-----canary")], "AUTH__PUBLIC_KEY_FILES: must be a list", 9),
    (&[("AUTH__PUBLIC_KEY_FILES", CANARY)], "AUTH__PUBLIC_KEY_FILES: must be a list", 9),
    (&[("AUTH__JWKS_URL", "https://me:canary@127.0.0.1/keys")], "AUTH__JWKS_URL = ", 9),
    (&[("AUTH__JWKS_URL", "http://login.example/keys?apikey=canary&canary")], "AUTH__JWKS_URL = ", 9),
    (&[("AUTH__SECERT", CANARY)], "did you mean ORDERCAST__AUTH__SECRET?", 9),
    (&[("AUTH__SECRET__X", CANARY)], "is not a setting", 9),
    (&[("OPERATIONS__TOKEN", "oops")], "OPERATIONS__TOKEN: must be at least 8", 9),
    (&[("OPERATIONS__TOKEN_FILE", CANARY)], "OPERATIONS__TOKEN_FILE: must be the path of a", 9),
    (&[("DATABASE__URL", CANARY)], "DATABASE__URL: must be a URL", 9),
    (&[("DATABASE__URL", "mysql://me:canary@db/shop")], "DATABASE__URL: must be a URL", 9),
    (&[("DATABASE__URL", "jdbc:postgresql://db/shop?password=canary")], "DATABASE__URL: must be a URL", 9),
    (&[("DATABASE__URL_FILE", "postgres://me:canary@db/shop")], "DATABASE__URL", 9),
    (&[("DATABASE__URL", "postgres://me:can#ary@db/shop")], "percent-encode", 9),
    (&[("DATABASE__URL", "postgres://me:12/canary@db/shop")], "percent-encode", 9),
    (&[("DATABASE__URL", "postgres://me:12?canary@db/shop")], "percent-encode", 9),
    (&[("DATABASE__URL", "postgres://me:canary@db/shop?sslmod=verify-full")], "did you mean sslmode?", 9),
    (&[("DATABASE__URL", "postgres://me:canary@db/shop?sslmode=canary")], "sslmode must be one of disable", 9),
    (&[("DATABASE__URL", "postgres://db/shop?sslpassword=canary")], "sslpassword is not known", 9),
    (&[("DATABASE__URL", "postgres://db/shop?port=canary&hostaddr=canary")], "hostaddr must be an IP address", 9),
    (&[("DATABASE__URL", "sqlite:orders.db?key=canary")], "key is not known", 9),
    (&[("DATABASE__URL", "sqlite:orders.db?mode=canary")], "mode must be one of rw", 9),
    (&[("KAFKA__BROKERS", "http://me:canary@kafka:9092")], "KAFKA__BROKERS = ", 9),
    (&[("KAFKA__PROPERTIES__SASL_PASSWRD", CANARY)], "did you mean ORDERCAST__KAFKA__PROPERTIES__SASL_PASSWORD?", 9),
    (&[("KAFKA__PROPERTIES__SASL_PASSWRD_FILE", CANARY)], "PROPERTIES__SASL_PASSWORD_FILE?", 9),
    (&[("KAFKA__PROPERTIES__SASL_PASSWORD_FILE", CANARY)], "SASL_PASSWORD_FILE: must be the path of a", 9),
    (&[("KAFKA__PROPERTIES__SSL_TRUSTSTORE_PASSWORD", CANARY)], "use ssl.ca.location", 9),
    (&[("KAFKA__PROPERTIES__SASL_JAAS_CONFIG", "x required password=\"canary\";")], "use sasl.username and sasl.p", 9),
    (&[("KAFKA__PROPERTIES__SECURITY_PROTOCOL", CANARY)], "must be one of plaintext, ssl", 9),
    (&[("KAFKA__PROPERTIES__FETCH_MAX_BYTES", CANARY)], "must be a whole number from 0", 9),
    (&[("KAFKA__PROPERTIES__GROUP_ID", CANARY)], "use kafka.group_id", 9),
    (
        &[("KAFKA__PROPERTIES__SECURITY_PROTOCOL", "ssl"), ("KAFKA__PROPERTIES__SSL_KEY_PEM", "canary-canary")],
        "SSL_KEY_PEM: cannot be used",
        OF_KAFKA,
    ),
    (
        &[
            ("KAFKA__PROPERTIES__SECURITY_PROTOCOL", "ssl"),
            ("KAFKA__PROPERTIES__SSL_KEYSTORE_LOCATION", "/dev/null"),
            ("KAFKA__PROPERTIES__SSL_KEYSTORE_PASSWORD", "canary-canary"),
        ],
        "SSL_KEYSTORE_LOCATION",
        OF_KAFKA,
    ),
    (
        &[
            ("KAFKA__PROPERTIES__SECURITY_PROTOCOL", "sasl_plaintext"),
            ("KAFKA__PROPERTIES__SASL_MECHANISM", "OAUTHBEARER"),
            ("KAFKA__PROPERTIES__ENABLE_SASL_OAUTHBEARER_UNSECURE_JWT", "true"),
            ("KAFKA__PROPERTIES__SASL_OAUTHBEARER_METHOD", "oidc"),
            ("KAFKA__PROPERTIES__SASL_OAUTHBEARER_CLIENT_SECRET", "canary-canary"),
        ],
        "not built in",
        OF_KAFKA,
    ),
];

fn called(directory: &Path, command: &[&str], wrong: &[(&str, &str)]) -> (Option<i32>, String) {
    let good = [
        ("KAFKA__BROKERS", "127.0.0.1:1"),
        ("DATABASE__URL", "sqlite:orders.db"),
        ("AUTH__SECRET", SECRET),
        ("OPERATIONS__LISTEN", "127.0.0.1:1"),
        ("LOG__LEVEL", "trace"),
    ];
    let is_free = |name: &&(&str, &str)| !wrong.iter().any(|(wrong, _)| *wrong == name.0);
    let given: Vec<_> =
        good.iter().filter(is_free).chain(wrong).map(|(name, value)| (format!("ORDERCAST__{name}"), *value)).collect();
    let given: Vec<_> = given.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let answer = answer(ordercast(directory, command, &given));
    (answer.code, answer.stdout + &answer.stderr)
}

#[test]
fn a_wrong_secret_is_told_by_every_command_without_a_part_of_it() {
    let directory = TempDir::new().unwrap();
    for (wrong, told, commands) in CASES {
        for command in &COMMANDS[..*commands] {
            let (code, output) = called(directory.path(), command, wrong);
            assert_eq!(code, Some(2), "{command:?} {wrong:?}: {output}");
            assert!(output.contains(told), "{command:?} {wrong:?}: {output}");
            let values = wrong.iter().map(|(_, value)| *value).filter(|value| value.contains(CANARY));
            let is_leak = values.clone().any(|value| output.contains(value)) || output.contains(CANARY);
            assert!(!is_leak && !output.contains("oops") && !output.contains("can#ary"), "{command:?}: {output}");
        }
    }
}

#[test]
fn a_settings_file_that_cannot_be_read_is_not_quoted() {
    let directory = TempDir::new().unwrap();
    for text in [
        "[auth]\nsecret = canary\n",
        "[auth]\nsecret = \"canary\nissuer = \"x\"\n",
        "[auth]\nsecret = 'canary\n",
        "[auth]\nsecret = \"\"\"canary\n",
        "[auth]\nsecret = \"a\"\nsecret = \"canary\"\n",
        "[auth]\nsecret = \"canary\" canary\n",
        "[auth]\nsecret = [\"canary\"\n",
        "[auth]\nsecret = { x = \"canary\" }\n",
        "[auth]\nsecret = [[\"canary\"]]\n",
        "[database]\nurl = \"postgres://me:canary@db\\z\"\n",
        "[kafka.properties]\n\"sasl.password\" = \"\\ucanary\"\n",
        "[kafka.properties]\nsasl.passwrd = \"canary\"\n",
        "secret: canary\n",
        "canary",
    ] {
        fs::write(directory.path().join("o.toml"), text).unwrap();
        for command in COMMANDS {
            let mut arguments = command.to_vec();
            arguments.extend(["--config", "o.toml"]);
            let answer = answer(ordercast(directory.path(), &arguments, &[]));
            let output = answer.stdout + &answer.stderr;
            assert_eq!(answer.code, Some(2), "{command:?} {text}: {output}");
            assert!(output.contains("o.toml") && !output.contains(CANARY), "{command:?} {text}: {output}");
        }
    }
}

/// Settings that can hold a secret, all good and all in vain: nobody is there, or does not want what is offered.
fn in_vain(more: &[(&str, &str)]) -> HashMap<String, String> {
    let nobody = free_port();
    let database =
        format!("postgres://me:canary-password@127.0.0.1:{nobody}/shop?sslkey=canary-key&options=-c%20canary");
    let given = [
        ("KAFKA__BROKERS", format!("127.0.0.1:{nobody}")),
        ("DATABASE__URL", database),
        ("OPERATIONS__TOKEN", "canary-operations".to_owned()),
        ("HTTP__LISTEN", "127.0.0.1:0".to_owned()),
        ("OPERATIONS__LISTEN", "127.0.0.1:0".to_owned()),
        ("LOG__LEVEL", "trace".to_owned()),
        ("KAFKA__PROPERTIES__DEBUG", "all".to_owned()),
    ];
    let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
    given.into_iter().chain(more).map(|(name, value)| (format!("ORDERCAST__{name}"), value)).collect()
}

#[tokio::test]
async fn what_fails_while_running_is_told_without_the_secret_that_was_used() {
    let directory = TempDir::new().unwrap();
    let there = format!("sqlite:{}", directory.path().join("orders.db").display());
    let limits = PoolLimits { max_connections: 1, acquire_timeout: PATIENCE, transaction_timeout: PATIENCE };
    connect(&there, limits).unwrap().migrate().await.unwrap();
    let hmac = [("AUTH__SECRET", "canary-secret canary-secret canary-secret")];
    let there = [("DATABASE__URL", there.as_str())];
    let without_password = [("DATABASE__URL", "postgres://me@127.0.0.1:1/shop")];
    let passwords = directory.path().join("pgpass");
    fs::write(&passwords, "127.0.0.1:canary-password\n").unwrap();
    fs::set_permissions(&passwords, fs::Permissions::from_mode(0o600)).unwrap();
    let sasl = [
        ("KAFKA__PROPERTIES__SECURITY_PROTOCOL", "sasl_plaintext"),
        ("KAFKA__PROPERTIES__SASL_MECHANISM", "PLAIN"),
        ("KAFKA__PROPERTIES__SASL_USERNAME", "me"),
        ("KAFKA__PROPERTIES__SASL_PASSWORD", "canary-broker-password"),
        ("KAFKA__PROPERTIES__SSL_KEY_PASSWORD", "canary-key-password"),
    ];
    let oauth = [
        ("KAFKA__PROPERTIES__SECURITY_PROTOCOL", "sasl_plaintext"),
        ("KAFKA__PROPERTIES__SASL_MECHANISM", "OAUTHBEARER"),
        ("KAFKA__PROPERTIES__ENABLE_SASL_OAUTHBEARER_UNSECURE_JWT", "true"),
        ("KAFKA__PROPERTIES__SASL_OAUTHBEARER_CONFIG", "canary-config=canary-token"),
    ];
    // Nobody there, a certificate nobody vouches for, an answer that is an error, one that is no key set.
    let answering = |status: &'static str| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut socket in listener.incoming().map_while(Result::ok) {
                let _ = socket.read(&mut [0; 1024]);
                let _ = write!(socket, "HTTP/1.1 {status}\r\nContent-Length: 6\r\nConnection: close\r\n\r\ncanary");
            }
        });
        address
    };
    let [error, no_set, loops] = ["500 Oops", "200 OK", "302 Found\r\nLocation: /canary?apikey=canary"].map(answering);
    let urls = [
        "http://127.0.0.1:1/canary-path?apikey=canary".to_owned(),
        format!("https://{error}/canary-path?apikey=canary"),
        format!("http://{error}/canary-path?apikey=canary"),
        format!("http://{no_set}/canary-path?apikey=canary"),
        format!("http://{loops}/canary-path?apikey=canary"),
        "https://nobody.invalid/keys?apikey=canary".to_owned(),
    ];
    let keys = urls.each_ref().map(|url| [("AUTH__JWKS_URL", url.as_str()), ("AUTH__ALGORITHMS", "RS256")]);
    let of_keys = keys.iter().map(|keys| (keys.to_vec(), "the key set of auth.jwks_url was not had"));
    let of_the_rest = [
        (hmac.to_vec(), "waiting for the database"),
        ([&hmac[..], &without_password].concat(), "waiting for the database"),
        ([&hmac[..], &sasl, &there].concat(), "no broker of kafka.brokers"),
        ([&hmac[..], &oauth, &there].concat(), "Unrecognized sasl.oauthbearer.config beginning at"),
    ];
    let mut logs_everything = false;
    for (settings, told) in of_keys.chain(of_the_rest) {
        let mut settings = in_vain(&settings);
        settings.insert("PGPASSFILE".into(), passwords.display().to_string());
        let mut service = Service::launch(&settings).await;
        service.says(&[told]).await;
        service.terminate();
        service.ended().await;
        let output = service.output();
        logs_everything |= output.contains("DEBUG");
        let leaks: Vec<&str> = output.lines().filter(|line| line.contains(CANARY)).collect();
        assert!(leaks.is_empty(), "{} lines, such as\n{}", leaks.len(), leaks[..leaks.len().min(5)].join("\n"));
    }
    assert!(logs_everything, "nothing of what a log.level of debug adds");
}
