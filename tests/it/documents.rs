//! Tables and commands of the documents against the code: a reader must be able to believe them.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt};

use ordercast::{
    config,
    domain::{RefusalCode, Timestamp},
    http::refusal::Refusal,
    protocol::{CloseCause, StaleReason},
    telemetry::Metrics,
};

use crate::{house::sources_of, parts::repository};

fn text(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap()
}

/// The rows of the table below this heading, cells trimmed; backticks stay.
fn table(path: &str, heading: &str) -> Vec<Vec<String>> {
    let text = format!("\n{}", text(path));
    let section = text.split(&format!("\n{heading}\n")).nth(1).unwrap_or_else(|| panic!("{path} has no {heading:?}"));
    let rows: Vec<&str> =
        section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|')).collect();
    let cells = |row: &&str| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    rows.iter().skip(2).map(cells).collect()
}

/// Panics unless a table's rows are the code's, in the code's order, and says which lines have to change.
#[track_caller]
fn assert_rows(table: &str, shown: &[String], of_the_code: &[String]) {
    let left_out = |rows: &[String], from: &[String]| -> Vec<String> {
        rows.iter().filter(|row| !from.contains(row)).map(|row| format!("\n  | {row} |")).collect()
    };
    let (missing, unknown) = (left_out(of_the_code, shown), left_out(shown, of_the_code));
    assert!(missing.is_empty(), "{table} lacks:{}\nand has too much:{}", missing.concat(), unknown.concat());
    assert!(unknown.is_empty(), "{table} has too much:{}", unknown.concat());
    let misplaced = shown.iter().zip(of_the_code).find(|(shown, row)| shown != row);
    assert_eq!(misplaced, None, "{table}: rows stand in the order of the code; here stands the first for the second");
    assert_eq!(shown.len(), of_the_code.len(), "{table}: a row stands twice");
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

#[test]
fn the_table_of_settings_is_the_settings() {
    let shown: Vec<String> = table("docs/operations.md", "## Settings")
        .into_iter()
        .map(|row| {
            assert!(row[2].ends_with('.') || row[2].ends_with(')'), "{} has no sentence", row[0]);
            row[..2].join(" | ")
        })
        .collect();
    let settings: Vec<String> = config::defaults()
        .into_iter()
        .map(|(key, default)| {
            let default = default.filter(|default| !default.is_empty());
            [code(&key), default.map_or("–".to_owned(), |default| code(&default))].join(" | ")
        })
        .collect();
    assert_rows("docs/operations.md, Settings", &shown, &settings);
}

#[test]
fn the_table_of_metrics_is_the_metrics() {
    let metrics = Metrics::new(Timestamp::now());
    metrics.fanout.set_lag(0, 0);
    metrics.sessions.offer("websocket");
    metrics.sessions.refused("bad_request");
    let encoded = metrics.encode();
    let mut registered: Vec<String> = encoded
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| match kind {
            "counter" => code(&format!("{name}_total")),
            "info" => code(&format!("{name}_info")),
            _ => code(name),
        })
        .collect();
    let rows = table("docs/operations.md", "## Metrics").into_iter();
    let mut shown: Vec<String> = rows.map(|row| row[0].clone()).collect();
    // They stand in the order of a reader's interest.
    shown.sort();
    registered.sort();
    assert_rows("docs/operations.md, Metrics", &shown, &registered);
}

#[test]
fn the_table_of_endings_is_the_close_causes() {
    let rows = table("docs/protocol.md", "### Close codes").into_iter();
    let shown: Vec<String> = rows.map(|row| row[..3].join(" | ")).collect();
    let retry = |cause: CloseCause| if cause.retry() { "reconnect" } else { "stop" };
    let row = |cause: CloseCause| format!("{} | {} | {}", cause.code(), code(cause.reason()), retry(cause));
    assert_rows("docs/protocol.md, Close codes", &shown, &CloseCause::ALL.map(row));
}

#[test]
fn the_table_of_http_refusals_is_the_refusals() {
    let all = [
        Refusal::BadRequest(""),
        Refusal::MissingToken,
        Refusal::InvalidToken,
        Refusal::ExpiredToken,
        Refusal::OriginNotAllowed,
        Refusal::OrderNotVisible,
        Refusal::NotFound,
        Refusal::MethodNotAllowed,
        Refusal::UpgradeRequired,
        Refusal::TooManySessions,
        Refusal::TooManyRequests,
        Refusal::RateLimited,
        Refusal::NotReady,
        Refusal::Draining,
        Refusal::AtCapacity,
        Refusal::KafkaUnavailable,
        Refusal::DatabaseUnavailable,
        Refusal::KeysUnavailable,
        Refusal::SnapshotUnavailable,
    ];
    let source = text("src/http/refusal.rs");
    let codes = source.split("pub fn code").nth(1).unwrap().split("pub fn ").next().unwrap();
    assert_eq!(codes.matches("=> \"").count(), all.len(), "a refusal is missing in this test");
    let mut shown: Vec<String> =
        table("docs/protocol.md", "### Refusals").into_iter().map(|row| row[..2].join(" | ")).collect();
    let row = |refusal: &Refusal| format!("{} | {}", refusal.status().as_u16(), code(refusal.code()));
    let mut refusals: Vec<String> = all.iter().map(row).collect();
    shown.sort();
    shown.dedup();
    refusals.sort();
    refusals.dedup();
    assert_rows("docs/protocol.md, Refusals", &shown, &refusals);
}

#[test]
fn the_table_of_dead_letters_is_the_refusal_codes() {
    let shown: Vec<String> = table("docs/protocol.md", "### Codes").into_iter().map(|row| row[0].clone()).collect();
    assert_rows("docs/protocol.md, Codes", &shown, &RefusalCode::ALL.map(|refusal| code(refusal.as_str())));
}

#[test]
fn the_page_has_words_for_every_stale_reason() {
    let page = std::fs::read_to_string(repository("src/dev/page/assets/connection.js")).unwrap();
    for reason in StaleReason::ALL.map(StaleReason::as_str) {
        assert!(page.contains(&format!("\n  {reason}: \"")), "connection.js of the page has no words for {reason}");
    }
}

#[test]
fn the_table_of_stale_reasons_is_the_reasons() {
    let shown: Vec<String> = table("docs/protocol.md", "### Stale").into_iter().map(|row| row[0].clone()).collect();
    assert_rows("docs/protocol.md, Stale", &shown, &StaleReason::ALL.map(|reason| code(reason.as_str())));
}

#[test]
fn commands_of_the_readme_exist() {
    let readme = text("README.md");
    for script in ["scripts/dev", "scripts/test", "scripts/soak"] {
        assert!(readme.contains(&format!("\n{script}\n")), "the README does not show {script}");
        let mode = fs::metadata(repository(script)).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script} cannot be run");
    }
}

#[test]
fn tests_named_by_the_threat_model_exist_and_every_threat_names_one() {
    assert_eq!(unknown_tests("docs/security.md"), [""; 0], "docs/security.md names what is no test");
    for threat in table("docs/security.md", "## Threats") {
        assert!(threat.len() == 3 && !named(&threat[2]).is_empty(), "no test shows the answer to: {}", threat[0]);
    }
}

#[test]
fn tests_named_by_the_recipes_exist() {
    assert_eq!(unknown_tests("CONTRIBUTING.md"), [""; 0], "CONTRIBUTING.md names what is no test");
}

/// What a document names like a test, and is none.
fn unknown_tests(document: &str) -> Vec<String> {
    let tests: BTreeSet<String> =
        ["src", "tests"].into_iter().flat_map(sources_of).flat_map(|(_, text)| tests_of(&text)).collect();
    assert!(tests.contains("tests_named_by_the_threat_model_exist_and_every_threat_names_one"));
    named(&text(document)).into_iter().filter(|name| !tests.contains(name)).collect()
}

/// Tests are sentences; nothing else that stands in backticks has that many words.
fn named(text: &str) -> Vec<String> {
    let codes = text.split('`').skip(1).step_by(2).map(str::to_owned);
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    codes.filter(|code| code.chars().all(is_word) && code.matches('_').count() >= 3).collect()
}

/// The names of the functions that are marked as tests.
fn tests_of(source: &str) -> Vec<String> {
    let mut lines = source.lines().map(str::trim);
    let mut names = Vec::new();
    while lines.by_ref().any(|line| line == "#[test]" || line.starts_with("#[tokio::test")) {
        let Some(function) = lines.find(|line| line.contains("fn ")) else { break };
        names.extend(function.split("fn ").nth(1).and_then(|rest| rest.split('(').next()).map(str::to_owned));
    }
    names
}

/// The documents that people read, by their paths.
fn documents() -> Vec<String> {
    let above = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "clients/browser/README.md"];
    let mut documents: Vec<String> = above.map(String::from).into();
    for directory in ["docs", "docs/decisions"] {
        let found = fs::read_dir(repository(directory)).unwrap().map(|entry| entry.unwrap().file_name());
        let found = found.map(|name| format!("{directory}/{}", name.to_str().unwrap()));
        documents.extend(found.filter(|name| name.ends_with(".md")));
    }
    documents
}

/// A change to a longer line cannot be read in a diff.
#[test]
fn prose_is_wrapped_at_120_characters() {
    for document in documents() {
        let mut in_code = false;
        for (number, line) in text(&document).lines().enumerate() {
            in_code ^= line.trim_start().starts_with("```");
            let is_prose = !in_code && !line.trim_start().starts_with('|') && line.contains(' ');
            assert!(!is_prose || line.chars().count() <= 120, "{document}:{}: {line}", number + 1);
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let documents = documents();
    for document in documents {
        let text = text(&document);
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let place = link.split('#').next().unwrap();
            if place.is_empty() || place.contains("://") {
                continue;
            }
            let from = repository(&document);
            assert!(from.parent().unwrap().join(place).exists(), "{document} links to {link}");
        }
    }
}

/// As the repository's, or below `src`. A name without a directory is one beside another that was named.
#[test]
fn files_that_documents_name_in_backticks_exist() {
    for document in documents() {
        for name in text(&document).split('`').skip(1).step_by(2) {
            let is_file = [".rs", ".js", ".mjs", ".yaml", ".toml"].iter().any(|ending| name.ends_with(ending));
            if is_file && name.contains('/') && !name.contains(['<', '*', ' ', '\n']) {
                let there = [name.to_owned(), format!("src/{name}")].iter().any(|path| repository(path).exists());
                assert!(there, "{document} names {name}, which is not there");
            }
        }
    }
}

#[test]
fn every_test_that_the_table_of_faults_names_exists() {
    let sources: String = ["src", "tests/it"].into_iter().flat_map(sources_of).map(|(_, text)| text).collect();
    let rows = table("docs/faults.md", "# Faults");
    assert!(rows.len() > 20);
    for row in rows {
        assert!(row[2] != "–" || row[3] != "–", "{} is tested nowhere", row[0]);
        for test in row[3].split(", ").filter(|test| *test != "–") {
            let name = test.trim_matches('`');
            assert!(sources.contains(&format!("fn {name}(")), "docs/faults.md names {name}, which is no test");
        }
    }
}
