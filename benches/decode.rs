//! What decoding a record costs. Fanout pays it for every event of the topic, watched or not.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ordercast::domain::{
    Decoder, Epoch, LogContext, RawRecord, Timestamp,
    decode::{DecoderOptions, FieldPointers},
};

const LOG: LogContext = LogContext { epoch: Epoch(7), accepts_unversioned: true };

const PLAIN: &[u8] = br#"{"order_id":"A-1001","user_id":"u-42","status":"shipped","version":3,"occurred_at":"2026-11-21T09:30:00.000Z","details":{"carrier":"DHL","tracking":"JD0146","eta":"2026-11-23T16:00:00Z"},"event_id":"0f9c2f1e-7d52-4a07-9d0e-0b1f6a1f6f11","viewers":["m-7"]}"#;

const CLOUD_EVENT: &[u8] = br#"{"specversion":"1.0","id":"0f9c2f1e-7d52-4a07-9d0e-0b1f6a1f6f11","source":"/shop/orders","type":"shop.order.shipped","datacontenttype":"application/json","time":"2026-11-21T09:30:00.000Z","data":{"order_id":"A-1001","user_id":"u-42","status":"shipped","version":3,"details":{"carrier":"DHL","tracking":"JD0146","eta":"2026-11-23T16:00:00Z"},"viewers":["m-7"]}}"#;

const CHANGE: &[u8] = br#"{"before":null,"after":{"id":1001,"user_id":42,"state":"shipped","lock_version":3,"updated_at":1795253400000,"carrier":"DHL"},"source":{"version":"3.0.0.Final","connector":"postgresql","name":"shop","ts_ms":1795253400000,"db":"shop","schema":"public","table":"orders","txId":751,"lsn":24023128},"op":"u","ts_ms":1795253400123}"#;

const REFUSED: &[u8] = br#"{"order_id":"A-1001","user_id":"u-42","version":3,"occurred_at":"2026-11-21T09:30:00.000Z","details":{"carrier":"DHL","tracking":"JD0146","eta":"2026-11-23T16:00:00Z"}}"#;

fn record(value: Option<&[u8]>) -> RawRecord<'_> {
    RawRecord {
        partition: 3,
        offset: 1040,
        timestamp_millis: Some(1_795_253_400_000),
        received_at: Timestamp::from_millis(1_795_253_400_123).expect("is in range"),
        key: Some(b"A-1001"),
        value,
        headers: &[],
    }
}

fn decode(criterion: &mut Criterion) {
    let ordinary = Decoder::new(&DecoderOptions::default()).expect("the defaults are valid");
    let at = |pointer: &str| vec![pointer.to_owned()];
    let fields = FieldPointers {
        order_id: at("/after/id"),
        user_id: at("/after/user_id"),
        status: at("/after/state"),
        version: at("/after/lock_version"),
        occurred_at: at("/after/updated_at"),
        ..FieldPointers::default()
    };
    let by_pointer = Decoder::new(&DecoderOptions { fields, ..DecoderOptions::default() }).expect("is valid");

    let mut group = criterion.benchmark_group("decode");
    for (name, decoder, value) in [
        ("plain", &ordinary, Some(PLAIN)),
        ("cloud_event", &ordinary, Some(CLOUD_EVENT)),
        ("change_by_pointer", &by_pointer, Some(CHANGE)),
        ("tombstone", &ordinary, None),
        ("refused", &ordinary, Some(REFUSED)),
    ] {
        let record = record(value);
        assert_eq!(decoder.decode(&record, &LOG).is_ok(), name != "refused");
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |bencher| bencher.iter(|| decoder.decode(black_box(&record), black_box(&LOG))));
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
