//! Every code a record can be refused with, and what the message tells.

use super::*;
use crate::domain::decode::{MAX_DEPTH, MAX_DETAILS_BYTES, MAX_VALUE_BYTES};

#[test]
fn values_that_are_no_event_have_a_code_each() {
    let long = |length: usize| format!("{}{}", event_with(""), " ".repeat(length));
    let nested =
        |depth: usize| event_with(&format!(r#""details":{}{}"#, r#"{"a":"#.repeat(depth) + "1", "}".repeat(depth)));
    for (value, code) in [
        (String::new(), RefusalCode::Empty),
        (" \n".into(), RefusalCode::NotJson),
        ("hello".into(), RefusalCode::NotJson),
        ("order_id=A-1001".into(), RefusalCode::NotJson),
        ("<order/>".into(), RefusalCode::NotJson),
        ("\u{feff}".into(), RefusalCode::NotJson),
        ("\u{feff}\u{feff}{}".into(), RefusalCode::NotJson),
        ("\u{3}\0".into(), RefusalCode::NotJson),
        ("\u{3}\u{1}0123456789abcdef{}".into(), RefusalCode::NotJson),
        (event_with("").replace('}', ""), RefusalCode::NotJson),
        (event_with("") + "{}", RefusalCode::NotJson),
        (event_with("\"x\":NaN"), RefusalCode::NotJson),
        (event_with("\"x\":\"\0\""), RefusalCode::NotJson),
        ("\u{1f}\u{8b}\u{8}".into(), RefusalCode::NotJson),
        (long(MAX_VALUE_BYTES), RefusalCode::TooLarge),
        (nested(MAX_DEPTH), RefusalCode::TooDeep),
        ("[".repeat(100_000), RefusalCode::TooDeep),
        ("null".into(), RefusalCode::MissingField),
        ("42".into(), RefusalCode::MissingField),
        ("\"hello\"".into(), RefusalCode::MissingField),
        ("[]".into(), RefusalCode::MissingField),
        ("{}".into(), RefusalCode::MissingField),
        ("\0\0\0\0\u{2a}\u{c}A-1001\u{8}u-42".into(), RefusalCode::UnsupportedEncoding),
        ("\0\0\0\0\u{2a}\0\n\u{6}A-1".into(), RefusalCode::UnsupportedEncoding),
        ("\0".into(), RefusalCode::UnsupportedEncoding),
        ("\0\0\0\0\u{2a}\"A-1001\"".into(), RefusalCode::UnsupportedEncoding),
        ("\u{3}\x000123456789abcdef{}".into(), RefusalCode::UnsupportedEncoding),
        ("\u{3}\u{5}0123456789abcdef".into(), RefusalCode::UnsupportedEncoding),
    ] {
        assert_eq!(refusal_code(&value), code, "{:.60}", value);
    }
    assert!(try_decode(&long(MAX_VALUE_BYTES - event_with("").len())).is_ok());
    assert!(try_decode(&nested(MAX_DEPTH - 1)).is_ok());
    let latin1 = decoder().decode(&record(b"{\"order_id\":\"\xdc\"}"), &LOG).unwrap_err();
    assert_eq!(latin1.to_string(), "not_utf8: the value is not UTF-8 at byte 13");
    let utf16 = decoder().decode(&record(b"\xff\xfe{\0}\0"), &LOG).unwrap_err();
    assert_eq!(utf16.code, RefusalCode::NotUtf8);
}

#[test]
fn a_content_type_of_another_encoding_is_refused_as_such() {
    for content_type in
        ["application/vnd.apache.avro+binary", "Application/X-Protobuf; v=1", "application/cloudevents+avro"]
    {
        for name in ["content-type", "Content-Type", "contentType"] {
            let headers = [(name, Some(content_type.as_bytes()))];
            let refusal =
                decoder().decode(&RawRecord { headers: &headers, ..record(b"\x0cA-1001") }, &LOG).unwrap_err();
            assert_eq!(refusal.code, RefusalCode::UnsupportedEncoding, "{name}: {content_type}");
        }
    }
}

#[test]
fn required_fields_must_be_there() {
    for (name, value) in [
        ("order_id", r#"{"user_id":"u","status":"s","version":1}"#),
        ("order_id", r#"{"order_id":null,"user_id":"u","status":"s","version":1}"#),
        ("user_id", r#"{"order_id":"A","status":"s","version":1}"#),
        ("status", r#"{"order_id":"A","user_id":"u","version":1}"#),
    ] {
        let refusal = try_decode(value).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::MissingField, "{value}");
        assert!(refusal.message.starts_with(name), "{refusal}");
    }
    let refusal = try_decode("{}").unwrap_err();
    assert_eq!(refusal.to_string(), "missing_field: order_id is missing (looked at /order_id, /orderId)");
}

#[test]
fn a_field_with_a_value_against_its_rule_is_named() {
    let ids = (0..65).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    let long = "x".repeat(129);
    let none = ["4.2", "1e-3", "1e400", "true", "{}", "[]"].map(String::from);
    let text = [&none[..], &[r#""""#, r#""a\nb""#, r#""a\u007fb""#].map(String::from)].concat();
    let rules: [(&str, Vec<String>); 7] = [
        ("order_id", [&text[..], &[format!("\"{long}\"")]].concat()),
        ("user_id", [&text[..], &[format!("\"{long}\"")]].concat()),
        ("status", [&text[..], &[format!("\"{}\"", &long[..65]), "1".repeat(65)]].concat()),
        ("event_id", none.into()),
        (
            "version",
            [
                "-1",
                "3.5",
                "-3.0",
                "1e16",
                "9007199254740992",
                "\"\"",
                "\"3.0\"",
                "\"v3\"",
                "\"+3\"",
                "\" 3\"",
                "true",
                "{}",
            ]
            .map(String::from)
            .into(),
        ),
        ("details", ["1", "\"\"", "\"x\"", "\"[]\"", "\"{\"", "[]", "false"].map(String::from).into()),
        (
            "viewers",
            [
                "\"m-7\"",
                "\"\"",
                "\"{}\"",
                "\"[\"",
                "{}",
                "[[]]",
                "[4.2]",
                "[\"\"]",
                "[\"m-7\",{}]",
                &format!("[{ids}]"),
            ]
            .map(String::from)
            .into(),
        ),
    ];
    for (name, values) in rules {
        for value in values {
            // Of repeated members the last counts.
            let refusal = try_decode(&event_with(&format!(r#""{name}":{value}"#))).unwrap_err();
            assert_eq!(refusal.code, RefusalCode::InvalidField, "{name}: {value}");
            assert!(refusal.message.starts_with(name), "{refusal}");
        }
    }
}

#[test]
fn a_status_is_measured_in_characters() {
    let status = |characters: usize| try_decode(&event_with(&format!(r#""status":"{}""#, "ü".repeat(characters))));
    assert_eq!(set(status(64).unwrap()).status.len(), 128);
    assert_eq!(status(65).unwrap_err().message, "status is longer than 64 characters");
}

#[test]
fn a_row_whose_payload_names_no_order_is_refused_for_what_the_row_lacks() {
    let missing = |value: &str| try_decode(value).unwrap_err().message;
    let row = r#"{"order_id":"A-1","payload":PAYLOAD,"eventType":"x"}"#;
    assert!(missing(&row.replace("PAYLOAD", r#"{"weight":3}"#)).starts_with("user_id is missing"));
    assert!(missing(&row.replace("PAYLOAD", r#"{"order_id":"A-1","user_id":"u"}"#)).starts_with("status is missing"));
}

#[test]
fn messages_say_what_is_wrong_and_what_is_allowed() {
    for (members, message) in [
        (
            r#""order_id":4.2"#,
            "order_id must be a string or a whole number, not a number with a fraction or an exponent",
        ),
        (r#""user_id":{"id":1}"#, "user_id must be a string or a whole number, not an object"),
        (r#""version":"v3""#, "version must be a whole number from 0 to 9007199254740991"),
        (r#""details":[1]"#, "details must be an object, not an array"),
        (r#""details":"x""#, "details must be an object, not a string"),
        (r#""viewers":true"#, "viewers must be an array, not a boolean"),
        (r#""details":{"total":1e400}"#, "details holds a number that no double holds"),
        (r#""viewers":["a",""]"#, "viewers has an item that is empty"),
        (r#""note":"a\u0000""#, "a string contains U+0000 at byte 78 of the value"),
    ] {
        assert_eq!(try_decode(&event_with(members)).unwrap_err().message, message, "{members}");
    }
}

#[test]
fn no_string_anywhere_contains_u0000_or_half_a_surrogate_pair() {
    for escape in [r"\u0000", r"\ud83d", r"\ude9a"] {
        for members in [
            format!(r#""status":"a{escape}""#),
            format!(r#""details":{{"a":["b{escape}"]}}"#),
            format!(r#""details":{{"a{escape}":1}}"#),
            format!(r#""viewers":["{escape}"]"#),
            format!(r#""unknown":"{escape}""#),
        ] {
            assert_eq!(refusal_code(&event_with(&members)), RefusalCode::InvalidField, "{members}");
        }
        let embedded = serde_json::to_string(&event_with(&format!(r#""details":{{"a":"{escape}"}}"#))).unwrap();
        assert_eq!(refusal_code(&embedded), RefusalCode::InvalidField, "{embedded}");
    }
}

#[test]
fn details_over_their_limit_are_too_large() {
    let details =
        |length: usize| event_with(&format!(r#""details":{{"a":"{}"}}"#, "x".repeat(length - r#"{"a":""}"#.len())));
    assert!(try_decode(&details(MAX_DETAILS_BYTES)).is_ok());
    let refusal = try_decode(&details(MAX_DETAILS_BYTES + 1)).unwrap_err();
    assert_eq!(refusal.to_string(), "too_large: details has 16385 bytes, at most 16384 are accepted");
    let spread = details(MAX_DETAILS_BYTES).replace("{\"a\"", "{\n\"a\"");
    assert!(try_decode(&spread).is_ok(), "what is passed on counts");
}

#[test]
fn without_version_and_log_order_an_event_is_unordered() {
    let value = br#"{"order_id":"A-1001","user_id":"u-42","status":"shipped"}"#;
    let code = |record: RawRecord<'_>, log| decoder().decode(&record, &log).map_err(|refusal| refusal.code).err();
    assert_eq!(code(record(value), LOG), None);
    let keyless = RawRecord { key: None, ..record(value) };
    assert_eq!(code(keyless, LOG), Some(RefusalCode::Unordered));
    assert_eq!(code(RawRecord { key: Some(b""), ..record(value) }, LOG), Some(RefusalCode::Unordered));
    let grown = LogContext { accepts_unversioned: false, ..LOG };
    assert_eq!(code(record(value), grown), Some(RefusalCode::Unordered));
    let replayed = [("ordercast-version", Some(&b"7"[..]))];
    assert_eq!(code(RawRecord { headers: &replayed, ..record(value) }, grown), Some(RefusalCode::Unordered));
    let versioned = event_with("");
    assert_eq!(code(RawRecord { key: None, ..record(versioned.as_bytes()) }, grown), None);
}

#[test]
fn broken_base64_is_an_invalid_field() {
    assert_eq!(refusal_code(r#"{"specversion":"1.0","data_base64":"%%%"}"#), RefusalCode::InvalidField);
    assert_eq!(refusal_code(r#"{"specversion":"1.0","data_base64":"/w=="}"#), RefusalCode::NotUtf8);
    assert_eq!(refusal_code(r#"{"specversion":"1.0","data_base64":"e30="}"#), RefusalCode::MissingField);
}

#[test]
fn the_codes_are_the_documented_ones() {
    let codes: Vec<_> = RefusalCode::ALL.map(RefusalCode::as_str).into();
    let documented = "empty not_utf8 not_json too_large too_deep missing_field invalid_field missing_version unordered \
                      bad_key unknown_status unsupported_encoding rejected_by_store";
    assert_eq!(codes.join(" "), documented);
}
