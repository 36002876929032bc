//! `POST /demo/events`: publishes what the page's form holds, byte for byte, after asking the decoder about it, so that a
//! mistake is told by its field instead of dead-lettered.

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::{StatusCode, header::CACHE_CONTROL},
    web,
};
use serde::Serialize;

use super::Page;
use crate::{
    domain::{
        Epoch, Timestamp,
        decode::{Decoder, LogContext, RawRecord, Refusal},
    },
    log::kafka::producer::{Outgoing, ProduceError},
};

pub(super) async fn publish(
    request: HttpRequest,
    body: Result<web::Bytes, actix_web::Error>,
    page: web::Data<Page>,
) -> HttpResponse {
    // A page of another origin can send anything else without being asked first.
    if !request.content_type().eq_ignore_ascii_case("application/json") {
        return problem(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "the body must be application/json",
        );
    }
    let Ok(value) = body else {
        return problem(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "an event has at most 256 KiB");
    };
    let order_id = match check(&page.decoder, &value) {
        Ok(order_id) => order_id,
        Err(refusal) => return problem(StatusCode::UNPROCESSABLE_ENTITY, refusal.code.as_str(), &refusal.message),
    };
    let record = Outgoing { key: Some(order_id.as_bytes()), value: Some(&value), ..Outgoing::default() };
    match page.producer.produce(&page.topic, &record).await {
        Ok(delivered) => {
            #[derive(Serialize)]
            struct Taken {
                partition: i32,
                offset: i64,
            }
            let taken = Taken { partition: delivered.partition, offset: delivered.offset };
            HttpResponse::Accepted().insert_header((CACHE_CONTROL, "no-store")).json(taken)
        }
        Err(error @ ProduceError::TooLarge) => problem(StatusCode::PAYLOAD_TOO_LARGE, "too_large", &error.to_string()),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, "kafka_unavailable", &error.to_string()),
    }
}

/// The order an event is about, which becomes the record's key, if fanout and recorder would take it.
fn check(decoder: &Decoder, value: &[u8]) -> Result<String, Refusal> {
    let record = RawRecord {
        partition: 0,
        offset: 0,
        timestamp_millis: None,
        received_at: Timestamp::now(),
        // The order's id, once it is known; until then any.
        key: Some(b"order"),
        value: Some(value),
        headers: &[],
    };
    let log = LogContext { epoch: Epoch(0), accepts_unversioned: true };
    decoder.decode(&record, &log).map(|decoded| decoded.event.order_id.to_string())
}

fn problem(status: StatusCode, code: &str, detail: &str) -> HttpResponse {
    #[derive(Serialize)]
    struct Problem<'a> {
        r#type: &'static str,
        title: &'a str,
        status: u16,
        detail: &'a str,
        code: &'a str,
    }
    let title = status.canonical_reason().unwrap_or("Refused");
    HttpResponse::build(status)
        .content_type("application/problem+json")
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(Problem { r#type: "about:blank", title, status: status.as_u16(), detail, code })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::decode::DecoderOptions;

    #[test]
    fn a_mistake_is_told_by_the_name_of_its_field() {
        let decoder = Decoder::new(&DecoderOptions::default()).unwrap();
        let good = br#"{"order_id":"A-1","user_id":"demo","status":"paid"}"#;
        assert_eq!(check(&decoder, good).unwrap(), "A-1");
        for (field, event) in [
            ("order_id", r#"{"user_id":"demo","status":"paid"}"#),
            ("user_id", r#"{"order_id":"A-1","user_id":"","status":"paid"}"#),
            ("status", r#"{"order_id":"A-1","user_id":"demo","status":""}"#),
            ("details", r#"{"order_id":"A-1","user_id":"demo","status":"paid","details":[]}"#),
            ("viewers", r#"{"order_id":"A-1","user_id":"demo","status":"paid","viewers":[{}]}"#),
        ] {
            let refusal = check(&decoder, event.as_bytes()).unwrap_err();
            assert!(refusal.message.contains(field), "{field}: {}", refusal.message);
        }
    }
}
