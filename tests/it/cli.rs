//! The binary as people and scripts call it.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use ordercast::{
    auth::Verifier,
    config::{Sources, load},
    domain::{Timestamp, Viewer},
};
use tempfile::TempDir;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const PATIENCE: Duration = Duration::from_secs(60);

/// A call of the binary in a directory of its own, with no settings but those given.
pub fn ordercast(directory: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ordercast"));
    command.args(arguments).current_dir(directory).env_clear().envs(settings.iter().copied());
    command
}

pub struct Answer {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub fn answer(mut command: Command) -> Answer {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Answer { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

fn call(arguments: &[&str], settings: &[(&str, &str)]) -> Answer {
    let directory = TempDir::new().unwrap();
    answer(ordercast(directory.path(), arguments, settings))
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_missing() {
    for (arguments, told) in [
        (&[][..], "Usage"),
        (&["dance"], "dance"),
        (&["token"], "--user"),
        (&["token", "--user", ""], "--user"),
        (&["token", "--user", "u", "--ttl", "0s"], "at least 1s"),
        (&["publish", "--order", "A-1", "--user", "u"], "--status"),
        (&["publish", "--order", "A-1", "--delete", "--status", "x"], "--delete"),
        (&["publish", "--order", "A-1", "--user", "u", "--status", "x", "--details", "{"], "--details"),
        (&["reset-order"], "ORDER_ID"),
        (&["reset-order", ""], "ORDER_ID"),
        (&["reset-order", "A-1"], "kafka.brokers"),
        (&["watch"], "--url"),
        (&["watch", "--url", "ftp://x", "--token", "t"], "ftp"),
        (&["check", "--url", "http://127.0.0.1:1"], "kafka.brokers"),
        (&["check", "--url", "http://127.0.0.1:1", "--brokers", "127.0.0.1:1"], "auth.secret"),
        (&["check", "--orders", "0"], "--orders"),
        (&["load", "--rate", "0"], "--rate"),
        (&["load", "--sessions", "0"], "--sessions"),
        (&["load", "--shard", "3/2"], "2/6"),
        (&["load", "dance"], "steady"),
        (&["load", "--source-addresses", "127.0.1.9-127.0.1.1"], "127.0.1.1-127.0.1.20"),
        (&["load", "--url", "ftp://x"], "ftp"),
        (&["load", "--url", "http://127.0.0.1:1"], "kafka.brokers"),
        (&["load", "--url", "http://127.0.0.1:1", "--brokers", "127.0.0.1:1"], "auth.secret"),
        (&["load", "--against", "floor"], "--pid"),
        (&["load", "storm", "--against", "floor", "--pid", "1"], "steady"),
        (&["load", "--pid", "4294967295"], "4294967295"),
        (&["load", "--orders-per-session", "0"], "--orders-per-session"),
        (&["load", "--sessions", "3", "--shard", "4/4"], "--sessions"),
        (&["dead-letters"], "Usage"),
        (&["dead-letters", "list"], "kafka.brokers"),
        (&["dead-letters", "list", "--code", "bad"], "not_json"),
        (&["dead-letters", "list", "--since", "soon"], "2h"),
        (&["dead-letters", "list", "--offset", "1"], "--partition"),
        (&["dead-letters", "replay", "17"], "PARTITION:OFFSET"),
        (&["healthcheck", "--config", "nowhere.toml"], "nowhere.toml"),
    ] {
        let answer = call(arguments, &[]);
        assert_eq!(answer.code, Some(2), "{arguments:?}: {}", answer.stderr);
        assert!(answer.stderr.contains(told), "{arguments:?}: {}", answer.stderr);
        assert_eq!(answer.stdout, "", "{arguments:?}");
    }
}

#[test]
fn a_load_that_cannot_be_is_refused_with_what_to_do() {
    let settings = [("ORDERCAST__AUTH__SECRET", SECRET), ("ORDERCAST__KAFKA__BROKERS", "127.0.0.1:1")];
    let http = ["load", "--url", "http://127.0.0.1:1"];
    for (arguments, told) in [
        (&["load", "--url", "wss://127.0.0.1:1"][..], "TLS"),
        (&[&http[..], &["--sessions", "9000000"]].concat(), "ulimit -n"),
        (&[&http[..], &["--tokens", "nowhere"]].concat(), "nowhere"),
        (&[&http[..], &["stall", "--sessions", "2", "--stalled", "2"]].concat(), "--stalled"),
        (&[&http[..], &["--sessions", "2", "--viewers", "3"]].concat(), "--viewers"),
    ] {
        let refused = call(arguments, &settings);
        assert_eq!(refused.code, Some(2), "{arguments:?}: {}", refused.stderr);
        assert!(refused.stderr.contains(told), "{arguments:?}: {}", refused.stderr);
    }
    // A deployment whose events look otherwise.
    let others = [&settings[..], &[("ORDERCAST__EVENT__FIELDS__STATUS", "/after/state")]].concat();
    let refused = call(&http, &others);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("would be refused"), "{}", refused.stderr);
    assert_eq!(call(&["load-floor", "send"], &[]).code, Some(2));
}

#[test]
fn the_version_and_help_are_answers() {
    let version = call(&["--version"], &[]);
    assert_eq!(version.code, Some(0));
    assert!(version.stdout.starts_with(concat!("ordercast ", env!("CARGO_PKG_VERSION"))), "{}", version.stdout);
    let help = call(&["--help"], &[]);
    assert_eq!(help.code, Some(0));
    for command in [
        "serve",
        "dev",
        "token",
        "publish",
        "reset-order",
        "watch",
        "migrate",
        "check",
        "load",
        "config",
        "dead-letters",
        "healthcheck",
    ] {
        assert!(help.stdout.contains(&format!("\n  {command} ")), "{}", help.stdout);
    }
}

#[test]
fn settings_are_refused_all_at_once() {
    let settings = [
        ("ORDERCAST__HTTP__LISTEN", "nowhere"),
        ("ORDERCAST__KAFKA__EPOCH", "minus one"),
        ("ORDERCAST__KAFKA__BROKER", "k:9092"),
    ];
    for command in ["config", "serve"] {
        let refused = call(&[command], &settings);
        assert_eq!(refused.code, Some(2), "{command}");
        for named in ["ORDERCAST__HTTP__LISTEN", "ORDERCAST__KAFKA__EPOCH", "ORDERCAST__KAFKA__BROKERS"] {
            assert!(refused.stderr.contains(named), "{command}: {}", refused.stderr);
        }
        assert!(refused.stderr.lines().count() >= 3, "{}", refused.stderr);
        assert!(refused.stderr.lines().all(|line| line.starts_with("error: ")), "{}", refused.stderr);
    }
}

#[test]
fn a_variable_with_wrong_underscores_is_refused_and_a_strange_one_is_warned_of_by_its_name() {
    let settings = [
        ("ORDERCAST_KAFKA_TOPIC", "canary"),
        ("ORDERCAST_TOPIC", "canary"),
        ("ORDERCAST_PORT", "tcp://10.0.0.1:8080"),
        ("ORDERCAST_PORT_8080_TCP_ADDR", "10.0.0.1"),
    ];
    let refused = call(&["config"], &settings);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    let lines: Vec<&str> = refused.stderr.lines().collect();
    assert_eq!(
        lines,
        [
            "warning: ORDERCAST_TOPIC is not a setting and is not read: settings begin with ORDERCAST__",
            "error: ORDERCAST_KAFKA_TOPIC: is not a setting; did you mean ORDERCAST__KAFKA__TOPIC?",
        ]
    );
    assert_eq!(call(&["config"], &settings[1..]).code, Some(0));
}

#[test]
fn config_shows_what_took_effect_and_no_secret() {
    let shown = call(&["config"], &[("ORDERCAST__AUTH__SECRET", SECRET), ("ORDERCAST__KAFKA__TOPIC", "orders")]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    assert!(shown.stdout.contains("topic = \"orders\" # environment"), "{}", shown.stdout);
    assert!(!shown.stdout.contains(SECRET));
}

#[test]
fn a_token_is_what_a_verifier_with_the_same_settings_takes() {
    let settings = [("ORDERCAST__AUTH__SECRET", SECRET)];
    let printed = call(&["token", "--user", "u-42", "--order", "A-1", "--ttl", "15m"], &settings);
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    let environment = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let settings = load(&Sources { environment, ..Sources::default() }, &[]).unwrap();
    let now = Timestamp::now();
    let principal = Verifier::new(&settings.auth).unwrap().verify(printed.stdout.trim(), now).unwrap();
    let Viewer::User { id, only: Some(only) } = principal.viewer else { panic!("{:?}", principal.viewer) };
    assert_eq!((id.as_str(), only.len()), ("u-42", 1));
    let left = principal.expires_at.as_millis() - now.as_millis();
    assert!((880_000..=900_000).contains(&left), "{left}");
}

#[test]
fn without_a_secret_there_is_no_token() {
    let refused = call(&["token", "--user", "u-42"], &[]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""));
    assert!(refused.stderr.contains("auth.secret"), "{}", refused.stderr);
}

#[test]
fn publish_tells_a_mistake_instead_of_sending_it() {
    let without_brokers = call(&["publish", "--order", "A-1", "--user", "u", "--status", "x"], &[]);
    assert_eq!(without_brokers.code, Some(2));
    assert!(without_brokers.stderr.contains("kafka.brokers"), "{}", without_brokers.stderr);
    let to = ["publish", "--brokers", "127.0.0.1:1", "--order", "A-1", "--user", "u", "--status"];
    for (rest, told) in [(&[""][..], "status"), (&["x", "--details", "[]"], "details")] {
        let refused = call(&[&to, rest].concat(), &[]);
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        assert!(refused.stderr.contains(told), "{}", refused.stderr);
    }
}

#[test]
fn a_reader_that_has_left_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let directory = TempDir::new().unwrap();
    let mut command = ordercast(directory.path(), &["config"], &[]);
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn healthcheck_follows_what_the_instance_says() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let settings = [("ORDERCAST__OPERATIONS__LISTEN", address.as_str())];
    let answers = [("ready", "200 OK", 0), ("ready", "503 Service Unavailable", 1), ("live", "200 OK", 0)];
    let instance = thread::spawn(move || {
        answers.map(|(_, status, _)| {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = socket.read(&mut request).unwrap();
            write!(socket, "HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}").unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        })
    });
    for (question, _, code) in answers {
        let arguments: &[&str] = if question == "live" { &["healthcheck", "--live"] } else { &["healthcheck"] };
        assert_eq!(call(arguments, &settings).code, Some(code));
    }
    for ((question, ..), request) in answers.iter().zip(instance.join().unwrap()) {
        assert!(request.starts_with(&format!("GET /health/{question} ")), "{request}");
    }
    let alone = call(&["healthcheck"], &settings);
    assert_eq!(alone.code, Some(1));
    assert!(alone.stderr.contains(&address), "{}", alone.stderr);
}

/// A process whose stdout is read line by line. Ended when dropped.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(mut command: Command, stderr: &Path) -> Self {
        let stderr = fs::File::create(stderr).unwrap();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    /// The first line from here on that `fits`.
    fn line(&self, fits: impl Fn(&str) -> bool) -> String {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if fits(&line) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("{error}:\n{}", seen.join("\n")),
            }
        }
    }

    fn end(mut self, signal: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([format!("-{signal}"), pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn dev(directory: &Path, arguments: &[&str]) -> Running {
    let command = ordercast(directory, &[&["dev", "--port", "0"], arguments].concat(), &[]);
    let running = Running::start(command, &directory.join("dev.log"));
    running.line(|line| line.contains("Ctrl-C"));
    running
}

fn publish(directory: &Path, order: &str, status: &str) {
    let published =
        answer(ordercast(directory, &["publish", "--order", order, "--user", "demo", "--status", status], &[]));
    assert_eq!(published.code, Some(0), "{}", published.stderr);
    assert!(published.stdout.starts_with("partition "), "{}", published.stdout);
}

#[test]
fn what_is_published_in_one_terminal_is_watched_in_another_and_outlives_a_restart() {
    let directory = TempDir::new().unwrap();
    let here = directory.path();
    let first = dev(here, &["--no-simulator"]);
    let watches = ["websocket", "sse", "poll"].map(|transport| {
        let watch = ordercast(here, &["watch", "--transport", transport], &[]);
        Running::start(watch, &here.join(format!("{transport}.log")))
    });
    watches.iter().for_each(|watch| drop(watch.line(|line| line.ends_with("  live"))));
    for (status, shown) in [("packed", "packed"), ("shipped", "packed → shipped")] {
        publish(here, "A-1", status);
        watches.iter().for_each(|watch| drop(watch.line(|line| line.contains("A-1") && line.contains(shown))));
    }
    assert_eq!(first.end("TERM"), Some(0));
    assert!(!here.join(".ordercast/dev.json").exists());
    for watch in watches {
        watch.line(|line| line.contains("reconnecting"));
        assert_eq!(watch.end("INT"), Some(0));
    }

    let second = dev(here, &["--no-simulator"]);
    let watch = Running::start(ordercast(here, &["watch"], &[]), &here.join("watch.log"));
    watch.line(|line| line.contains("A-1") && line.contains("shipped"));
    let delete = answer(ordercast(here, &["publish", "--order", "A-1", "--delete"], &[]));
    assert_eq!(delete.code, Some(0), "{}", delete.stderr);
    watch.line(|line| line.contains("A-1") && line.ends_with("removed"));
    assert_eq!(second.end("INT"), Some(0));
}

#[test]
fn the_simulator_moves_the_orders_of_the_printed_user() {
    let directory = TempDir::new().unwrap();
    let _dev = dev(directory.path(), &[]);
    let watch = Running::start(ordercast(directory.path(), &["watch", "--json"], &[]), &directory.path().join("log"));
    let welcome = watch.line(|_| true);
    assert!(welcome.contains(r#""type":"welcome""#) && welcome.contains(r#""user_id":"demo""#), "{welcome}");
    for _ in 0..2 {
        let update = watch.line(|line| line.contains(r#""type":"order_status""#) && line.contains("previous_status"));
        assert!(update.contains(r#""order_id":"S-"#), "{update}");
    }
}

#[test]
fn a_taken_port_and_a_taken_directory_are_told() {
    let directory = TempDir::new().unwrap();
    let here = directory.path();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listener = TcpListener::bind(taken).unwrap();
    let port = taken.port().to_string();
    let refused = answer(ordercast(here, &["dev", "--port", &port, "--data-dir", "other"], &[]));
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("http.listen") && refused.stderr.contains("--port"), "{}", refused.stderr);
    drop(listener);

    let _dev = dev(here, &["--no-simulator"]);
    let refused = answer(ordercast(here, &["dev", "--port", "0"], &[]));
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("--data-dir"), "{}", refused.stderr);
}

#[test]
fn watch_ends_with_1_and_the_reason_where_coming_back_is_pointless() {
    let directory = TempDir::new().unwrap();
    let here = directory.path();
    let _dev = dev(here, &["--no-simulator"]);
    for transport in ["websocket", "sse", "poll"] {
        let watch = ["watch", "--token", "not-a-token", "--transport", transport];
        let refused = answer(ordercast(here, &watch, &[]));
        assert_eq!(refused.code, Some(1));
        assert!(refused.stderr.contains("stopped") && refused.stderr.contains("401"), "{}", refused.stderr);
        assert!(!refused.stderr.contains("not-a-token"), "{}", refused.stderr);
    }
}
