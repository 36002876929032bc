//! How dead letters are written down: a table for people, one JSON object per line for programs. What others wrote is
//! shown, never obeyed.

use std::collections::HashMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use super::filter::PartitionOffset;
use crate::{
    cli::output::clean,
    domain::Timestamp,
    recorder::dead_letters::ListedDeadLetter,
    store::{RecordId, Replay},
};

/// What the widest line has room for.
const WIDTH: usize = 100;
const MAX_KEY_CHARS: usize = 20;
const HEADINGS: [&str; 6] = ["PUT ASIDE (UTC)", "RECORD", "CODE", "KEY", "REPLAYED", "WHY"];

/// The replays there were, by record.
pub(super) type Replays = HashMap<RecordId, Replay>;

/// The table, with a line of headings.
pub(super) fn table(dead_letters: &[ListedDeadLetter], replays: &Replays) -> String {
    let rows: Vec<[String; 6]> = dead_letters.iter().map(|dead_letter| row(dead_letter, replays)).collect();
    let headings = HEADINGS.map(str::to_owned);
    let lines = || std::iter::once(&headings).chain(&rows);
    let widths: [usize; 5] =
        std::array::from_fn(|column| lines().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let left = WIDTH.saturating_sub(widths.iter().sum::<usize>() + 2 * widths.len()).max(20);
    let line = |row: &[String; 6]| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line += &format!("{cell:<width$}  ");
        }
        line += &short(&row[5], left);
        line.trim_end().to_owned()
    };
    lines().map(line).collect::<Vec<_>>().join("\n")
}

/// One dead letter in one line, for where nothing is lined up.
pub(super) fn line(dead_letter: &ListedDeadLetter) -> String {
    short(
        &clean(&format!(
            "{}  {}  {}  {}",
            PartitionOffset::of(dead_letter),
            dead_letter.code,
            key(dead_letter),
            dead_letter.message
        )),
        WIDTH,
    )
}

fn row(dead_letter: &ListedDeadLetter, replays: &Replays) -> [String; 6] {
    [
        minute(dead_letter.put_aside_at),
        PartitionOffset::of(dead_letter).to_string(),
        dead_letter.code.clone(),
        key(dead_letter),
        replayed(dead_letter, replays),
        dead_letter.message.clone(),
    ]
    .map(|cell| clean(&cell))
}

fn key(dead_letter: &ListedDeadLetter) -> String {
    dead_letter.key.as_ref().map_or_else(|| "-".to_owned(), |key| short(&String::from_utf8_lossy(key), MAX_KEY_CHARS))
}

fn replayed(dead_letter: &ListedDeadLetter, replays: &Replays) -> String {
    let first = dead_letter.first();
    match replays.get(&first).map(|replay| replay.sent_to) {
        _ if first != dead_letter.record => format!("is {}:{}", first.partition, first.offset),
        None => "-".to_owned(),
        Some(Some((partition, offset))) => format!("as {partition}:{offset}"),
        Some(None) => "perhaps".to_owned(),
    }
}

/// One dead letter with all there is to know, as one line.
pub(super) fn json_line(dead_letter: &ListedDeadLetter, replays: &Replays) -> String {
    let record = dead_letter.record;
    let first = dead_letter.first();
    let replay = replays.get(&first).map(|replay| {
        let (partition, offset) = replay.sent_to.unzip();
        json!({ "at": replay.begun_at, "partition": partition, "offset": offset })
    });
    let headers = dead_letter.headers.iter().map(|(name, value)| {
        let mut header = Map::new();
        bytes(&mut header, "name", Some(name));
        bytes(&mut header, "value", value.as_deref());
        Value::Object(header)
    });
    let mut line = Map::new();
    let mut put = |name: &str, value: Value| drop(line.insert(name.to_owned(), value));
    put("partition", json!(record.partition));
    put("offset", json!(record.offset));
    put("timestamp", json!(Timestamp::from_millis(record.timestamp_millis).filter(|at| at.as_millis() >= 0)));
    put("put_aside_at", json!(dead_letter.put_aside_at));
    put("code", json!(dead_letter.code));
    put("message", json!(dead_letter.message));
    put("held_in_database", json!(dead_letter.held));
    put("replay", json!(replay));
    put("replay_of", json!((first != record).then(|| json!({"partition": first.partition, "offset": first.offset}))));
    put("headers", headers.collect());
    bytes(&mut line, "key", dead_letter.key.as_deref());
    bytes(&mut line, "value", dead_letter.value.as_deref());
    Value::Object(line).to_string()
}

/// Text where it is text, base64 under another name where it is not.
fn bytes(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    let (name, value) = match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => (name.to_owned(), Value::Null),
        Some((_, Ok(text))) => (name.to_owned(), json!(text)),
        Some((bytes, Err(_))) => (format!("{name}_base64"), json!(BASE64_STANDARD.encode(bytes))),
    };
    object.insert(name, value);
}

fn minute(moment: Timestamp) -> String {
    moment.to_string().get(..16).map_or_else(|| moment.to_string(), |minute| minute.replace('T', " "))
}

fn short(text: &str, max_chars: usize) -> String {
    if text.chars().count() <= max_chars {
        return text.to_owned();
    }
    text.chars().take(max_chars.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::dead_letters::filter::tests::dead_letter;

    fn replays(sent_to: Option<(i32, i64)>) -> Replays {
        let record = dead_letter().record;
        HashMap::from([(record, Replay { record, begun_at: Timestamp::from_millis(0).unwrap(), sent_to })])
    }

    #[test]
    fn a_table_fits_a_hundred_columns_whatever_was_sent() {
        let wide = ListedDeadLetter {
            code: "unsupported_encoding".to_owned(),
            key: Some(b"\x1b[31m a key that somebody made very long".to_vec()),
            message: "a reason ".repeat(30),
            ..dead_letter()
        };
        let table = table(&[dead_letter(), wide], &replays(Some((2, 90))));
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{table}");
        assert!(!table.contains('\x1b'), "{table}");
        assert!(lines[0].starts_with("PUT ASIDE (UTC)   RECORD  CODE"), "{table}");
        let words: Vec<&str> = lines[1].split_whitespace().take(7).collect();
        assert_eq!(words, ["2026-11-21", "09:30", "2:17", "not_json", "A-1", "as", "2:90"], "{table}");
    }

    #[test]
    fn json_tells_every_byte() {
        let dead_letter = ListedDeadLetter {
            value: Some(vec![0xff]),
            headers: vec![
                (b"a".to_vec(), Some(b"b".to_vec())),
                (b"none".to_vec(), None),
                (b"\xff\xfe".to_vec(), Some(b"c".to_vec())),
            ],
            ..dead_letter()
        };
        let line: Value = serde_json::from_str(&json_line(&dead_letter, &replays(None))).unwrap();
        assert_eq!((&line["key"], &line["value_base64"]), (&json!("A-1"), &json!("/w==")));
        assert_eq!(
            line["headers"],
            json!([
                {"name": "a", "value": "b"},
                {"name": "none", "value": null},
                {"name_base64": "//4=", "value": "c"},
            ])
        );
        assert_eq!(line["replay"]["offset"], Value::Null);
        assert_eq!((&line["partition"], &line["offset"]), (&json!(2), &json!(17)));
    }
}
