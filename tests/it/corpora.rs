//! What fuzzing has found worth keeping, tried again by every run of the tests: needs neither nightly Rust nor servers.

use std::{collections::BTreeSet, fs};

use crate::parts::repository;

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

/// A target, and the function that it calls.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 5] = [
    ("decode", fuzz::decode::check),
    ("frames", fuzz::frames::check),
    ("message", fuzz::message::check),
    ("sync", fuzz::sync::check),
    ("token", fuzz::token::check),
];

const MAX_FILES: usize = 60;
const MAX_BYTES: usize = 100 * 1024;

#[test]
fn every_corpus_is_kept_small_and_breaks_no_rule() {
    for (name, check) in TARGETS {
        let directory = repository("fuzz/corpus").join(name);
        let files = fs::read_dir(directory).unwrap_or_else(|_| panic!("{name} has a corpus"));
        let paths: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
        assert!((20..=MAX_FILES).contains(&paths.len()), "{name} has {} files", paths.len());
        let mut bytes = 0;
        for path in paths {
            let input = fs::read(&path).unwrap();
            bytes += input.len();
            eprintln!("{}", path.display());
            check(&input);
        }
        assert!(bytes <= MAX_BYTES, "{name} has {bytes} bytes");
    }
}

#[test]
fn every_target_is_tried_here() {
    let names = |directory: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(repository(directory)).unwrap().map(|entry| entry.unwrap().file_name());
        entries.map(|name| name.to_str().unwrap().trim_end_matches(".rs").to_owned()).collect()
    };
    let tried: BTreeSet<String> = TARGETS.map(|(name, _)| name.to_owned()).into();
    assert_eq!(names("fuzz/fuzz_targets"), tried);
    assert_eq!(names("fuzz/corpus"), tried);
}
