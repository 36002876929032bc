//! The headers of a Kafka record with names as bytes. Kafka calls a name a string and checks nothing, so that any
//! producer may write any bytes; rdkafka panics on names that are not UTF-8, in all its readers. This crate asks
//! librdkafka itself. It decides nothing: what a name means is up to who calls.
//!
//! librdkafka ends a name at its first U+0000. What is read here ends there; a record that is copied in rdkafka's own
//! form ([`rdkafka::message::BorrowedHeaders::detach`]) keeps the rest.

use std::{ffi::CStr, ptr, slice};

use rdkafka::{
    bindings::{rd_kafka_header_add, rd_kafka_header_cnt, rd_kafka_header_get_all, rd_kafka_headers_t},
    message::{BorrowedHeaders, BorrowedMessage, Message, OwnedHeaders},
    types::RDKafkaRespErr,
};

/// A header: its name, and its value, which may be null.
pub type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// The headers of a record that was read, in order.
pub fn of_message<'a>(message: &'a BorrowedMessage<'_>) -> Vec<Header<'a>> {
    message.headers().map_or_else(Vec::new, read)
}

/// The headers of a record that was copied or is to be sent, in order.
pub fn of_owned(headers: &OwnedHeaders) -> Vec<Header<'_>> {
    read(headers.as_borrowed())
}

/// Adds a header behind the others.
pub fn with(headers: OwnedHeaders, name: &[u8], value: Option<&[u8]>) -> OwnedHeaders {
    let value_start = value.map_or(ptr::null(), <[u8]>::as_ptr);
    // No slice is longer than `isize::MAX`.
    let (name_size, value_size) = (name.len().cast_signed(), value.map_or(0, <[u8]>::len).cast_signed());
    // SAFETY: the list is alive and nobody else's, since `headers` was given away to this function. Name and value are
    // readable for the sizes that go with them, and librdkafka copies both before it returns. A null value has no size.
    let answer = unsafe {
        rd_kafka_header_add(
            native(headers.as_borrowed()),
            name.as_ptr().cast(),
            name_size,
            value_start.cast(),
            value_size,
        )
    };
    assert_eq!(answer, RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR, "only lists of delivered records are read-only");
    headers
}

/// Not public: anybody can make a `BorrowedHeaders` that is no list. Those of a message and of `OwnedHeaders` are.
fn read(headers: &BorrowedHeaders) -> Vec<Header<'_>> {
    let list = native(headers);
    // SAFETY: the list is alive for as long as `headers` is borrowed, and nothing changes it meanwhile.
    let count = unsafe { rd_kafka_header_cnt(list) };
    (0..count).filter_map(|index| get(headers, index)).collect()
}

fn get(headers: &BorrowedHeaders, index: usize) -> Option<Header<'_>> {
    let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
    // SAFETY: the list as in `read`; the three others are places of this function for what librdkafka answers.
    let answer = unsafe { rd_kafka_header_get_all(native(headers), index, &mut name, &mut value, &mut size) };
    if answer != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return None;
    }
    // SAFETY: librdkafka ends every name with a zero byte, and both name and value live and stay as they are for as long
    // as the list does, of which the result borrows.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes();
    let value = (!value.is_null()).then(|| {
        // SAFETY: as above, and a value that is not null has this many readable bytes.
        unsafe { slice::from_raw_parts(value.cast::<u8>(), size) }
    });
    Some((name, value))
}

/// rdkafka's reference is librdkafka's pointer, under a type without a size: so that it may point to the list again, the
/// pointer is made from the address that librdkafka once gave away.
fn native(headers: &BorrowedHeaders) -> *mut rd_kafka_headers_t {
    ptr::with_exposed_provenance_mut(ptr::from_ref(headers).addr())
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Header as TextHeader;

    use super::*;

    #[test]
    fn names_and_values_are_bytes_and_come_back_in_order() {
        let all: [Header<'_>; 7] = [
            (b"\xff\xfe", Some(b"of no text")),
            (b"plain", Some(b"\x00\xff")),
            (b"plain", None),
            (b"\xff\xfe", Some(b"")),
            (b"", Some(b"of no name")),
            ("h\u{e9}".as_bytes(), Some(b"x")),
            (b"\xc3", None),
        ];
        let headers = all.iter().fold(OwnedHeaders::new(), |headers, (name, value)| with(headers, name, *value));
        assert_eq!(of_owned(&headers), all);
        let copy = headers.clone();
        drop(headers);
        assert_eq!(of_owned(&copy), all, "a copy has its own");
        assert_eq!(of_owned(&copy.as_borrowed().detach()), all, "and keeps every byte");
    }

    #[test]
    fn what_rdkafka_writes_is_read_and_what_is_not_there_is_none() {
        assert!(of_owned(&OwnedHeaders::new()).is_empty());
        let headers = OwnedHeaders::new().insert(TextHeader { key: "id", value: Some("e-1") });
        let headers = with(headers, b"\xff", None).insert(TextHeader { key: "id", value: Some("e-2") });
        assert_eq!(of_owned(&headers), [(&b"id"[..], Some(&b"e-1"[..])), (b"\xff", None), (b"id", Some(b"e-2"))]);
        assert_eq!(get(headers.as_borrowed(), 3), None);
    }

    #[test]
    fn a_name_ends_at_its_first_zero_as_librdkafka_has_it() {
        assert_eq!(of_owned(&with(OwnedHeaders::new(), b"id\0\xff", None)), [(&b"id"[..], None)]);
    }
}
