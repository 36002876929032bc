//! Dead letters.

use ordercast::{
    domain::Epoch,
    store::{DeadLetter, HeldRecord, MAX_DEAD_LETTERS_READ, RecordId, Relocation, connect_to_dead_letters},
};

use super::{
    databases::{Database, LIMITS, LOG_ID, TOPIC},
    drafts::{batch, part},
};

fn dead_letter(offset: i64) -> DeadLetter {
    DeadLetter {
        offset,
        code: "rejected_by_store",
        message: "expected value".into(),
        timestamp_millis: Some(-5),
        key: Some(b"A-1\0\xff".to_vec()),
        held_record: None,
    }
}

async fn refuse(database: &Database, partition: i32, read_from: i64, dead_letters: Vec<DeadLetter>) {
    let mut part = part(partition, read_from, []);
    part.next_offset = read_from + dead_letters.len() as i64;
    part.dead_letters = dead_letters;
    database.store.apply(&batch([part])).await.unwrap();
}

/// Puts progress back, as a database restored from a backup would.
async fn rewind(database: &Database) {
    let from = database.store.progress(TOPIC, 0).await.unwrap().progress[0].clone();
    let mut to = from.clone();
    to.next_offset = 0;
    let relocation = Relocation { topic: TOPIC.into(), from, to, lost_range: None, partition_count: None };
    database.store.relocate(&relocation).await.unwrap();
}

pub(super) async fn dead_letters_are_numbered_and_read_on_from(database: &Database) {
    database.open(2).await;
    refuse(database, 1, 0, vec![dead_letter(0), dead_letter(1)]).await;
    let reading = database.store.progress(TOPIC, i64::MAX).await.unwrap();
    assert_eq!((reading.dead_letters.len(), reading.last_dead_letter), (0, 2));
    refuse(database, 0, 0, vec![dead_letter(0)]).await;
    let heard = database.store.progress(TOPIC, reading.last_dead_letter).await.unwrap();
    let [refused] = heard.dead_letters[..] else { panic!("{heard:?}") };
    assert_eq!((refused.partition, refused.offset, refused.epoch), (0, 0, Epoch::of(LOG_ID, 0)));
    assert_eq!(refused.id, heard.last_dead_letter);
    assert!(database.store.progress(TOPIC, refused.id).await.unwrap().dead_letters.is_empty());

    let many = MAX_DEAD_LETTERS_READ + 5;
    refuse(database, 0, 1, (1..=many).map(dead_letter).collect()).await;
    let first = database.store.progress(TOPIC, refused.id).await.unwrap().dead_letters;
    assert_eq!(first.len() as i64, MAX_DEAD_LETTERS_READ);
    let rest = database.store.progress(TOPIC, first.last().unwrap().id).await.unwrap().dead_letters;
    assert_eq!(rest.iter().map(|refused| refused.offset).collect::<Vec<_>>(), (many - 4..=many).collect::<Vec<_>>());
}

pub(super) async fn a_dead_letter_told_again_is_one_row_with_a_new_number(database: &Database) {
    database.open(1).await;
    refuse(database, 0, 0, vec![dead_letter(0), dead_letter(1)]).await;
    let before = database.store.progress(TOPIC, 0).await.unwrap();
    rewind(database).await;
    refuse(database, 0, 0, vec![dead_letter(0)]).await;
    assert_eq!(database.count("dead_letters").await, 2);
    let after = database.store.progress(TOPIC, before.last_dead_letter).await.unwrap();
    assert_eq!(after.dead_letters.iter().map(|refused| refused.offset).collect::<Vec<_>>(), [0]);
}

pub(super) async fn what_the_store_calls_unordered_is_told_as_what_it_refuses(database: &Database) {
    database.open(1).await;
    let coded = |offset, code| DeadLetter { code, ..dead_letter(offset) };
    let dead_letters =
        vec![coded(0, "not_json"), coded(1, "unordered"), coded(2, "rejected_by_store"), coded(3, "bad_key")];
    refuse(database, 0, 0, dead_letters).await;
    let told = database.store.progress(TOPIC, 0).await.unwrap();
    assert_eq!(told.dead_letters.iter().map(|refused| refused.offset).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(told.last_dead_letter, 4);
}

pub(super) async fn a_held_record_is_kept_byte_for_byte(database: &Database) {
    database.open(1).await;
    let value: Vec<u8> = (0..=255).collect();
    let headers = vec![(b"trace \0 'id'".to_vec(), Some(vec![0, 255])), (b"none".to_vec(), None)];
    let held = DeadLetter {
        message: "broken \0 text \u{1F4A5}".into(),
        held_record: Some(HeldRecord { value: Some(value.clone()), headers: headers.clone() }),
        ..dead_letter(0)
    };
    let held_tombstone = DeadLetter {
        key: None,
        timestamp_millis: None,
        held_record: Some(HeldRecord { value: None, headers: Vec::new() }),
        ..dead_letter(1)
    };
    refuse(database, 0, 0, vec![held, held_tombstone, dead_letter(2)]).await;
    rewind(database).await;
    refuse(database, 0, 0, vec![dead_letter(0)]).await; // This time the topic takes it: the row still has it.

    let hex = |column| {
        if database.is_postgres() { format!("upper(encode({column}, 'hex'))") } else { format!("hex({column})") }
    };
    let rows = database
        .sql(&format!(
            "select log_offset, {}, {}, headers, cast(held as integer), code, recorded_at from dead_letters order by log_offset",
            hex("key"),
            hex("value")
        ))
        .await;
    let text = |row: usize, column: usize| rows[row][column].clone().unwrap_or_default();
    assert_eq!(text(0, 1), "412D3100FF");
    assert_eq!(text(0, 2), value.iter().map(|byte| format!("{byte:02X}")).collect::<String>());
    // As text, for whoever reads the table by hand.
    let read: Vec<(String, Option<Vec<u8>>)> = serde_json::from_str(&text(0, 3)).unwrap();
    assert_eq!(read.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect::<Vec<_>>(), headers);
    assert_eq!((text(0, 4), text(0, 5), text(0, 6)), ("1".into(), "rejected_by_store".into(), "-5".into()));
    assert_eq!((text(1, 1), text(1, 2), text(1, 3), text(1, 4)), ("".into(), "".into(), "[]".into(), "1".into()));
    assert_eq!((text(2, 2), rows[2][3].clone(), text(2, 4)), ("".into(), None, "0".into()));
}

pub(super) async fn held_dead_letters_come_back_whole_and_a_replay_is_remembered(database: &Database) {
    database.open(1).await;
    let held = |offset| {
        let headers =
            vec![(b"trace".to_vec(), Some(vec![0, 255])), (b"\xff\xfe".to_vec(), None), (b"none".to_vec(), None)];
        DeadLetter { held_record: Some(HeldRecord { value: Some(vec![offset as u8]), headers }), ..dead_letter(offset) }
    };
    let all = (0..45).map(|offset| if offset == 3 { dead_letter(3) } else { held(offset) }).collect();
    refuse(database, 0, 0, all).await;
    let store = connect_to_dead_letters(&database.url, LIMITS).unwrap();
    let (mut read, mut after) = (Vec::new(), 0);
    loop {
        let page = store.held_dead_letters(TOPIC, after).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.id;
        read.extend(page);
    }
    assert_eq!(read.iter().map(|dead_letter| dead_letter.record.offset).filter(|offset| *offset != 3).count(), 44);
    let first = &read[0];
    assert_eq!((first.key.clone(), Some(&first.held_record)), (dead_letter(0).key, held(0).held_record.as_ref()));
    assert_eq!((first.code.as_str(), first.record.timestamp_millis), ("rejected_by_store", -5));

    let record = RecordId { partition: 0, offset: 3, timestamp_millis: -5 };
    assert_eq!(store.epoch_of(TOPIC, record).await.unwrap(), Some(Epoch::of(LOG_ID, 0)));
    let elsewhere = RecordId { timestamp_millis: 9, ..record };
    assert_eq!(store.epoch_of(TOPIC, elsewhere).await.unwrap(), None);
    assert!(store.begin_replay(TOPIC, record, false).await.unwrap());
    assert!(!store.begin_replay(TOPIC, record, false).await.unwrap());
    assert_eq!(store.replays(TOPIC).await.unwrap()[0].sent_to, None);
    store.end_replay(TOPIC, record, Some((0, 77))).await.unwrap();
    let [replay] = store.replays(TOPIC).await.unwrap()[..] else { panic!() };
    assert_eq!((replay.record, replay.sent_to), (record, Some((0, 77))));
    assert!(store.begin_replay(TOPIC, record, true).await.unwrap());
    store.end_replay(TOPIC, record, None).await.unwrap();
    assert!(store.replays(TOPIC).await.unwrap().is_empty());
}

pub(super) async fn dead_letters_are_found_by_key_newest_first(database: &Database) {
    database.open(2).await;
    let other = DeadLetter { key: Some(b"A-2".to_vec()), ..dead_letter(1) };
    let keyless = DeadLetter { key: None, ..dead_letter(3) };
    refuse(database, 0, 0, vec![dead_letter(0), other, dead_letter(2), keyless]).await;
    let keys = [dead_letter(0).key.unwrap(), b"none".to_vec()];
    let found = database.store.dead_letters_of(TOPIC, &keys).await.unwrap();
    assert_eq!(found.iter().map(|dead_letter| dead_letter.offset).collect::<Vec<_>>(), [2, 0]);
    assert_eq!((found[0].partition, &*found[0].code, found[0].recorded_at), (0, "rejected_by_store", Some(-5)));
    assert!(database.store.dead_letters_of("another", &keys).await.unwrap().is_empty());
}
