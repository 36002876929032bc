//! The rules of the house, read from the sources: which room may name which, which foreign crates each may name, and
//! what every file must keep. A rule that has to be broken is changed here, in the same commit, with the reason.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::parts::repository;

/// A room, and what of the house it may name, in the order of the data. Nobody else may be named.
const ROOMS: [(&str, &[&str]); 19] = [
    ("domain", &[]),
    ("protocol", &["domain"]),
    ("log", &["config", "domain", "protocol", "runtime"]),
    ("hub", &["domain", "protocol"]),
    ("fanout", &["domain", "hub", "log", "protocol", "runtime", "telemetry"]),
    ("store", &["domain", "runtime"]),
    ("recorder", &["config", "domain", "log", "runtime", "store", "telemetry"]),
    ("snapshots", &["domain", "hub", "log", "runtime", "store", "telemetry"]),
    ("control", &["auth", "domain", "hub", "log", "protocol", "runtime", "telemetry"]),
    ("session", &["domain", "protocol"]),
    ("auth", &["config", "domain"]),
    ("transport", &["auth", "domain", "hub", "protocol", "session", "telemetry"]),
    ("http", &["auth", "domain", "hub", "protocol", "telemetry", "transport"]),
    ("config", &[]),
    ("runtime", &[]),
    ("telemetry", &["config", "domain", "protocol"]),
    ("app", ANY),
    ("dev", ANY),
    ("cli", ANY),
];
const ANY: &[&str] = &["*"];

/// Below this path a room may name one more, for this reason.
const EXCEPTIONS: [(&str, &str, &str); 3] = [
    ("http/operations/", "control", "what operators want goes into the control topic"),
    ("http/operations/control.rs", "log", "which may not take it"),
    ("http/", "store", "tickets and traces are asked for at the gateway, which alone may ask SQL for HTTP"),
];

/// Foreign crates that only these rooms name, so that each can be replaced in one place.
const FOREIGN: [(&str, &[&str]); 16] = [
    ("actix_http", &["http", "transport"]),
    ("actix_web", &["app", "dev", "http", "transport"]),
    ("actix_ws", &["transport"]),
    ("clap", &["cli"]),
    ("jiff", &["cli", "domain"]),
    ("jsonwebtoken", &["auth"]),
    // The load generator holds many sockets on one thread.
    ("mio", &["cli"]),
    ("ordercast_headers", &["log"]),
    ("prometheus_client", &["telemetry"]),
    ("rdkafka", &["log"]),
    ("reqwest", &["app", "cli", "dev"]),
    ("socket2", &["cli", "http"]),
    ("sqlx", &["store"]),
    ("tokio_tungstenite", &["cli"]),
    // `config` refuses directives that the log could not use.
    ("tracing_subscriber", &["config", "telemetry"]),
    ("tracing", TRACING),
];

/// What decides without clock, socket or task. Locks live beside: the hub's in `hub/shared.rs`, that of keys which change
/// in `auth/keyring.rs`.
const WITHOUT_RUNTIME: [&str; 5] = ["auth", "domain", "hub", "protocol", "session"];

/// Those that write to the log.
const TRACING: &[&str] = &[
    "app",
    "cli",
    "control",
    "dev",
    "fanout",
    "http",
    "log",
    "recorder",
    "snapshots",
    "store",
    "telemetry",
    "transport",
];

/// Of the store, HTTP sees this alone.
const HTTP_SEES_OF_STORE: &str = "store::gateway";

const MAX_LINES: usize = 400;
/// Too long today. Nothing is added here.
const TO_BE_SPLIT: [&str; 0] = [];

struct Source {
    /// Below `src`.
    path: String,
    room: String,
    text: String,
    /// Without comments and without tests.
    code: String,
}

fn sources() -> Vec<Source> {
    let source = |(path, text): (String, String)| {
        let room = path.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        let code = if is_test(&path) { String::new() } else { code(&text) };
        Source { path, room, text, code }
    };
    // The simulation drives all rooms for the tests, and is none.
    sources_of("src").into_iter().map(source).filter(|source| source.room != "simulation").collect()
}

/// Every Rust file below a directory of the repository, by its path below that.
pub fn sources_of(directory: &str) -> Vec<(String, String)> {
    fn walk(directory: &Path, root: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), text));
            }
        }
    }
    let (root, mut found) = (repository(directory), Vec::new());
    walk(&root, &root, &mut found);
    found
}

fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs") || path.split('/').any(|part| part == "tests" || part == "simulation")
}

/// Lines of code: no comments, no blank lines, and nothing from the module of tests on, which stands last.
fn code(text: &str) -> String {
    let tests = text
        .match_indices(
            "#[cfg(test)]
",
        )
        .map(|(at, _)| at);
    let mut tests = tests.filter(|at| text[*at..].lines().nth(1).is_some_and(|line| line.ends_with("mod tests {")));
    let end = tests.next().unwrap_or(text.len());
    let lines = text[..end].lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// What follows each `crate::` of the code: `hub::Delivery`, and every branch of `crate::{…}` on its own.
fn paths_of_the_house(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => paths.extend(branches(group)),
            None => paths.push(rest.split(|c: char| !is_path(c)).next().unwrap_or_default().to_owned()),
        }
    }
    paths
}

fn is_path(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == ':'
}

/// The top-level items of `a::{b, c}, d}…`, up to the brace that closes the group.
fn branches(group: &str) -> Vec<String> {
    let (mut depth, mut items) = (1, vec![String::new()]);
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        match (depth, c) {
            (0, _) => break,
            (1, ',') => items.push(String::new()),
            _ => items.last_mut().unwrap().push(c),
        }
    }
    items.into_iter().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}

fn first(path: &str) -> &str {
    path.split("::").next().unwrap_or_default()
}

/// Whether the code names the crate: as the beginning of a path.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| is_path(c) || c == '.')
    })
}

#[test]
fn arrows_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = ROOMS.into_iter().collect();
    let mut wrong = BTreeSet::new();
    for source in sources().iter().filter(|source| !["lib", "main"].contains(&source.room.as_str())) {
        let room = source.room.as_str();
        let may = allowed.get(room).unwrap_or_else(|| panic!("{room} is a room without a rule"));
        for path in paths_of_the_house(&source.code) {
            let named = first(&path);
            assert!(allowed.contains_key(named), "{}: crate::{path} is no room", source.path);
            let seen = named == room || may.contains(&named) || *may == ANY;
            let excepted = EXCEPTIONS.iter().any(|(below, also, _)| source.path.starts_with(below) && named == *also);
            let seen =
                (seen || excepted) && (room != "http" || named != "store" || path.starts_with(HTTP_SEES_OF_STORE));
            if !seen {
                wrong.insert(format!("{} names {path}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A room that stands above another is not named by it, over however many steps.
#[test]
fn rooms_make_no_circle() {
    let mut below: BTreeSet<&str> = BTreeSet::new();
    let mut left: Vec<(&str, Vec<&str>)> = ROOMS
        .into_iter()
        .filter(|(_, may)| *may != ANY)
        .map(|(room, may)| {
            let also =
                EXCEPTIONS.iter().filter(|(path, ..)| path.starts_with(&format!("{room}/"))).map(|(_, also, _)| *also);
            (room, may.iter().copied().chain(also).collect())
        })
        .collect();
    while !left.is_empty() {
        let before = left.len();
        let (free, rest): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|(_, names)| names.iter().all(|named| below.contains(named)));
        below.extend(free.iter().map(|(room, _)| *room));
        left = rest;
        assert!(left.len() < before, "a circle among {left:?}");
    }
}

#[test]
fn nobody_but_the_command_line_names_it_and_only_it_and_dev_name_app() {
    for source in sources() {
        for path in paths_of_the_house(&source.code) {
            let may = match first(&path) {
                "cli" => source.room == "cli",
                "app" | "dev" => ["app", "cli", "dev"].contains(&source.room.as_str()),
                _ => true,
            };
            assert!(may, "{} names {path}", source.path);
        }
    }
}

#[test]
fn foreign_crates_stay_in_their_rooms() {
    let mut wrong = BTreeSet::new();
    for source in sources() {
        for (name, rooms) in FOREIGN {
            if !rooms.contains(&source.room.as_str()) && names_crate(&source.code, name) {
                wrong.insert(format!("{} names {name}", source.path));
            }
        }
        if names_crate(&source.code, "rdkafka") && !source.path.starts_with("log/kafka/") {
            wrong.insert(format!("{} names rdkafka", source.path));
        }
        let pure = WITHOUT_RUNTIME.contains(&source.room.as_str())
            && !["hub/shared.rs", "auth/keyring.rs"].contains(&&*source.path);
        if pure && (names_crate(&source.code, "tokio") || names_crate(&source.code, "futures_util")) {
            wrong.insert(format!("{} names a runtime", source.path));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The lines of the other rooms are about brokers, the database and the process.
#[test]
fn every_line_of_http_and_transports_is_one_that_somebody_outside_can_cause_and_asks_before_it_is_written() {
    for source in sources().iter().filter(|source| ["http", "transport"].contains(&source.room.as_str())) {
        let written = ["error!(", "warn!(", "info!(", "debug!(", "trace!("];
        let lines: usize = written.iter().map(|name| source.code.matches(&format!("tracing::{name}")).count()).sum();
        let asked = source.code.matches(".admits(").count() + source.code.matches(".admits_origin(").count();
        assert!(lines <= asked, "{} writes {lines} lines and asks for {asked}", source.path);
    }
}

#[test]
fn every_room_stands_in_the_library_and_in_its_picture() {
    let library = fs::read_to_string(repository("src/lib.rs")).unwrap();
    let rooms: BTreeSet<String> =
        sources().into_iter().map(|source| source.room).filter(|room| !["lib", "main"].contains(&&**room)).collect();
    assert_eq!(rooms, ROOMS.map(|(room, _)| room.to_owned()).into());
    for room in rooms {
        assert!(library.contains(&format!("\npub mod {room};")), "lib.rs does not declare {room}");
        assert!(library.contains(&format!("[`{room}`]")), "the list in lib.rs leaves out {room}");
    }
}

#[test]
fn every_file_says_what_it_is_and_is_short() {
    for source in sources() {
        assert!(source.text.starts_with("//! "), "{} does not open with what it is", source.path);
        let lines = source.code.lines().count();
        let split = TO_BE_SPLIT.contains(&source.path.as_str());
        assert!((lines <= MAX_LINES) != split, "{} has {lines} lines of code", source.path);
    }
}

/// Tables, labels and schemas are made from these lists; the compiler does not miss what one of them leaves out.
#[test]
fn a_list_of_all_variants_has_them_all() {
    let mut lists = 0;
    for source in sources() {
        for (at, _) in source.code.match_indices("const ALL: [Self; ") {
            let (before, list) = source.code.split_at(at);
            let name = before.rsplit("impl ").next().unwrap().split(' ').next().unwrap();
            let listed = list.split('=').nth(1).unwrap().split(';').next().unwrap().matches("Self::").count();
            let body = source.code.split(&format!("enum {name} {{\n")).nth(1).unwrap().split("\n}").next().unwrap();
            let is_variant =
                |line: &&str| line.strip_prefix("    ").is_some_and(|name| name.starts_with(char::is_uppercase));
            let variants = body.lines().filter(is_variant).count();
            assert_eq!(listed, variants, "{}: {name}::ALL does not list every variant of {name}", source.path);
            lists += 1;
        }
    }
    assert!(lists > 5, "{lists}");
}

#[test]
fn both_dialects_have_the_same_migrations() {
    let files = |dialect: &str| -> BTreeSet<_> {
        let found = fs::read_dir(repository(&format!("migrations/{dialect}"))).unwrap();
        found.map(|file| file.unwrap().file_name()).collect()
    };
    assert_eq!(files("postgres"), files("sqlite"), "a migration is one file of the same name in each");
}

#[test]
fn nothing_is_left_to_do_and_nothing_is_unwrapped() {
    for source in sources() {
        for word in ["todo!", "unimplemented!", "dbg!", ".unwrap()", "TODO", "FIXME", "XXX"] {
            assert!(!source.code.contains(word), "{} has {word}", source.path);
        }
        for line in source.text.lines().filter(|line| line.trim_start().starts_with("//")) {
            assert!(!line.contains("TODO") && !line.contains("FIXME"), "{}: {line}", source.path);
        }
    }
}

#[test]
fn the_reader_of_sources_sees_what_it_must() {
    let code = code(
        "//! x\nuse crate::{\n    hub::{Delivery, Hub},\n    config::{self},\n};\nlet x = crate::store::Y;\n#[cfg(test)]\nmod tests {\nuse crate::http;\n}\n",
    );
    assert_eq!(paths_of_the_house(&code), ["hub::{Delivery, Hub}", "config::{self}", "store::Y"]);
    assert!(names_crate("let x: sqlx::Error;", "sqlx"));
    assert!(!names_crate("let x = self.sqlx::y; my_sqlx::z; crate::sqlx::a", "sqlx"));
}
