//! Records with a null value: the key alone says which order is erased.

use super::*;

fn erased(key: Option<&[u8]>) -> Result<String, RefusalCode> {
    let decoded = decoder().decode(&RawRecord { key, value: None, ..record(b"") }, &LOG);
    let event = decoded.map_err(|refusal| refusal.code)?.event;
    assert!(matches!(event.change, Change::Erase));
    assert_eq!((event.stamp.partition, event.stamp.offset), (3, 1040));
    Ok(event.order_id.to_string())
}

#[test]
fn a_key_names_its_order_in_every_spelling_of_ordinary_serialisers() {
    for (key, order) in [
        ("A-1001", "A-1001"),
        ("1001", "1001"),
        ("007", "007"),
        ("Ü 1", "Ü 1"),
        ("null", "null"),
        (r#""A-1001""#, "A-1001"),
        (r#""A\u002d1001""#, "A-1001"),
        (r#"{"order_id":"A-1001"}"#, "A-1001"),
        (r#"{"orderId":1001,"tenant":"x"}"#, "1001"),
        (r#"{"id":1001}"#, "1001"),
        (r#"{"order_id":null,"id":"A-1001"}"#, "A-1001"),
        (r#"{"id":"row","order_id":"A-1001"}"#, "A-1001"),
        (r#"{"schema":{"type":"string","optional":false},"payload":"A-1001"}"#, "A-1001"),
        (r#"{"schema":{"type":"int64","optional":false},"payload":1001}"#, "1001"),
        (r#"{"schema":{"type":"struct","fields":[]},"payload":{"id":1001}}"#, "1001"),
        ("\0\0\0\0\u{2a}\"A-1001\"", "A-1001"),
        ("\0\0\0\0\u{2a}{\"id\":1001}", "1001"),
        ("\0\0\0\0\u{2a}\"12\"", "12"),
        ("\u{feff}A-1001", "A-1001"),
        ("\u{feff}{\"id\":1001.0}", "1001"),
        ("\0\0\0\0\u{2a}\u{feff}{\"id\":1001}", "1001"),
        (r#""{\"id\":1001}""#, "1001"),
        (r#""{A-1001}""#, "{A-1001}"),
        (
            r#"{"schema":{"type":"struct","fields":[{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"0"},"field":"id"}]},"payload":{"id":"Kg=="}}"#,
            "42",
        ),
        (
            r#"{"schema":{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}},"payload":"EGg="}"#,
            "42",
        ),
    ] {
        assert_eq!(erased(Some(key.as_bytes())).as_deref(), Ok(order), "{key}");
    }
}

#[test]
fn a_key_that_names_no_order_is_a_bad_key() {
    let long = "x".repeat(129);
    let deep = format!("{{\"id\":{}", "[".repeat(100));
    for key in [
        None,
        Some(&b""[..]),
        Some(b"\xff\xfe"),
        Some(b"\0\0\0\0\0\0\x03\xe9"),
        Some(b"\0\0\0\0\x2a\x0cA-1001"),
        Some(b"A\n1"),
        Some(long.as_bytes()),
        Some(b"\"\""),
        Some(b"\"A-1001"),
        Some(b"{\"id\":"),
        Some(b"{}"),
        Some(b"{\"id\":{\"x\":1}}"),
        Some(b"{\"id\":1.5}"),
        Some(b"{\"user_id\":\"u-42\"}"),
        Some(b"[1001]"),
        Some(b"{\"schema\":{},\"payload\":null}"),
        Some(b"\"A\\u0000\""),
        Some(deep.as_bytes()),
    ] {
        assert_eq!(erased(key), Err(RefusalCode::BadKey), "{:?}", key.map(String::from_utf8_lossy));
    }
}

/// Java's serialisers write numbers as bytes, Avro's write the length before a text.
#[test]
fn a_binary_key_erases_nothing() {
    let framed = |bytes: &[u8]| [b"\0\0\0\0\x2a", bytes].concat();
    let mut keys = Vec::new();
    // What of a number looks like text is longer than the rest: "123" and, with quotes, "1".
    let numbers = [3_224_115, 0x0031_3233, 0x0022_3122, 0x2a22_3122, 42, 1 << 40, -1, i64::from(i32::MAX)];
    keys.extend(numbers.map(|number: i64| number.to_be_bytes().to_vec()));
    keys.extend([3_224_115_i32, 42, 1_001, -7].map(|number| number.to_be_bytes().to_vec()));
    keys.extend([42_i16, 1_001, -7].map(|number| number.to_be_bytes().to_vec()));
    keys.extend([123.0_f64, 0.5, -1.0].map(|number| number.to_be_bytes().to_vec()));
    keys.push(123.0_f32.to_be_bytes().to_vec());
    // A UUID as its sixteen bytes.
    keys.push(0x550e_8400_e29b_41d4_a716_4466_5544_0000_u128.to_be_bytes().to_vec());
    keys.push([b"\x0c", &b"A-1001"[..]].concat());
    // Behind a schema id: Avro's longs and texts, of which some lengths look like signs, and Protobuf.
    for bytes in
        [&b"1001"[..], b"123", b"1", b"\x0cA-1001", b"`abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL", b"A-1001"]
    {
        keys.push(framed(bytes));
    }
    keys.extend(
        [&b"\"ABCDEFGHIJKLMNOPQ"[..], b"HA-1001", b"\0\x0a\x06A-1001", b"[1001]", b"", b" {\"id\":1}"].map(framed),
    );
    keys.push([&b"\x03\0"[..], b"0123456789abcdefA-1001"].concat());
    for key in keys {
        assert_eq!(erased(Some(&key)), Err(RefusalCode::BadKey), "{:?}", String::from_utf8_lossy(&key));
    }
    for control in ('\0'..='\u{9f}').filter(|c| c.is_control()) {
        for key in [format!("A{control}1"), format!("{control}A1"), format!("A1{control}"), control.to_string()] {
            assert_eq!(erased(Some(key.as_bytes())), Err(RefusalCode::BadKey), "{key:?}");
        }
    }
}

#[test]
fn white_space_around_an_order_in_a_key_is_left_out_where_the_settings_say_so() {
    let trimming = Decoder::new(&DecoderOptions { trim: true, ..DecoderOptions::default() }).unwrap();
    for key in ["A-1001    ", " A-1001", r#""A-1001  ""#, r#"{"id":"A-1001 "}"#] {
        let record = RawRecord { key: Some(key.as_bytes()), value: None, ..record(b"") };
        assert_eq!(trimming.decode(&record, &LOG).unwrap().event.order_id.as_str(), "A-1001", "{key}");
        assert!(decoder().decode(&record, &LOG).unwrap().event.order_id.as_str() != "A-1001", "{key}");
    }
    let record = RawRecord { key: Some(b"   "), value: None, ..record(b"") };
    assert_eq!(trimming.decode(&record, &LOG).unwrap_err().code, RefusalCode::BadKey);
}

#[test]
fn a_tombstone_with_the_header_resets_its_order() {
    let change = |value: Option<&[u8]>, header: &[u8]| {
        let headers = [("ordercast-reset", Some(header))];
        decoder().decode(&RawRecord { value, headers: &headers, ..record(b"") }, &LOG).unwrap().event.change
    };
    for yes in [&b"true"[..], b"True"] {
        assert!(matches!(change(None, yes), Change::Reset));
    }
    for no in [&b""[..], b"false", b"1", b"\xff"] {
        assert!(matches!(change(None, no), Change::Erase));
    }
    assert!(matches!(change(Some(event_with("").as_bytes()), b"true"), Change::Set(_)), "an event is no tombstone");
}

#[test]
fn an_empty_value_is_no_tombstone() {
    assert_eq!(refusal_code(""), RefusalCode::Empty);
}
