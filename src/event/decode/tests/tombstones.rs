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
        ("\0\0\0\0\u{2a}1001", "1001"),
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

#[test]
fn an_empty_value_is_no_tombstone() {
    assert_eq!(refusal_code(""), RefusalCode::Empty);
}
