//! Those who never open a session, or open none that they are meant to: what they send is no request, has no end, or is asked
//! for and not read. Each says what was wrong with what it got.

use std::time::Duration;

use rand::{Rng, rngs::SmallRng, seq::IndexedRandom};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::hostile::{Outcome, Raw, connect, opened};
use crate::{
    control,
    world::{Instance, World},
};

/// What the service and the kernels in between may take of a body that nobody asked for.
const MOST_TAKEN: usize = 16 << 20;
/// `session.max_per_link`, as it is unless set.
const SESSIONS_OF_A_LINK: usize = 20;
/// More requests than an address may begin at once (`session.max_handshakes_per_second`), several times.
const FLOOD: usize = 3_000;

/// Bytes that are no request: they are answered by 400 or by nothing, and the connection ends.
pub(super) async fn send_garbage(instance: &Instance, rng: &mut SmallRng) -> Outcome {
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice();
    let garbage =
        [hello, b"GET / HTTP/1.1\r\nHost: x\r\nX: \x01\r\n\r\n", b"\x00\x00\x00\x00", b"NOT HTTP AT ALL\r\n\r\n"];
    let bytes = garbage.choose(rng).expect("there are some");
    let mut stream = connect(instance, rng).await?;
    stream.write_all(bytes).await.map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    if answer.is_empty() || answer.starts_with(b"HTTP/1.1 400") || answer.starts_with(b"HTTP/1.1 408") {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&answer).into_owned())
}

/// A chunk that never ends, behind a request of anybody: it is not read on.
pub(super) async fn send_without_end(instance: &Instance, rng: &mut SmallRng) -> Outcome {
    let line = ["POST /tickets", "GET /orders", "PUT /nothing"].choose(rng).expect("there are some");
    let mut stream = connect(instance, rng).await?;
    let head = format!("{line} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n");
    stream.write_all(head.as_bytes()).await.map_err(|error| error.to_string())?;
    let (mut sent, chunk) = (0, vec![b'x'; 65_536]);
    while let Ok(bytes) = stream.write(&chunk).await {
        sent += bytes;
        if sent > MOST_TAKEN {
            return Err(format!("{sent} bytes were taken"));
        }
    }
    Ok(())
}

/// A page of orders that is asked for and not read: the connection is cut.
pub(super) async fn leave_answers_unread(instance: &Instance, token: &str, rng: &mut SmallRng) -> Outcome {
    let mut stream = connect(instance, rng).await?;
    let request = format!("GET /orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    // A line break in front of the next request is no request yet.
    while stream.write_all(b"\r\n").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// Preflights without end from one address: they have the rate of its other requests.
pub(super) async fn ask_as_a_browser(instance: &Instance, rng: &mut SmallRng) -> Outcome {
    let (mut reading, mut writing) = connect(instance, rng).await?.into_split();
    let preflight = "OPTIONS /orders HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\n\
                     Access-Control-Request-Method: GET\r\n\r\n";
    let mut answers = Vec::new();
    let asks = async {
        for _ in 0..FLOOD {
            if writing.write_all(preflight.as_bytes()).await.is_err() {
                return;
            }
        }
        writing.shutdown().await.ok();
    };
    let (_, _) = tokio::join!(asks, reading.read_to_end(&mut answers));
    let refused = answers.windows(12).any(|head| head == b"HTTP/1.1 429");
    if refused { Ok(()) } else { Err(format!("{} bytes of answers and no refusal", answers.len())) }
}

/// A page of nobody's, with an origin as long as headers may be.
pub(super) async fn come_from_elsewhere(instance: &Instance, rng: &mut SmallRng) -> Outcome {
    let mut stream = connect(instance, rng).await?;
    let origin = format!("https://{}.example", "evil".repeat(rng.random_range(1..7_000)));
    let request = format!("GET /orders HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    let is_refused = answer.starts_with(b"HTTP/1.1 403") || answer.starts_with(b"HTTP/1.1 408");
    if is_refused { Ok(()) } else { Err(String::from_utf8_lossy(&answer).into_owned()) }
}

/// What an operator writes who means one user: it must not be told to everybody.
pub(super) async fn slip(instance: &Instance) -> Outcome {
    let slip = json!({"content": "for one user", "userId": "u-1"});
    match control::operate(instance, Method::POST, "/announcements", Some(slip)).await {
        (400, _) => Ok(()),
        (status, answer) => Err(format!("{status} {answer}")),
    }
}

/// A link that is passed on: so many hold it, and the next is told.
pub(super) async fn pass_a_link_on(instance: &Instance, world: &World, rng: &mut SmallRng) -> Outcome {
    let order = format!("A-{}", rng.random_range(1_000_000..2_000_000));
    let token = world.token_with(None, Some(&[order.as_str()]), Duration::from_secs(3600));
    let mut sessions = Vec::with_capacity(SESSIONS_OF_A_LINK);
    for _ in 0..SESSIONS_OF_A_LINK {
        sessions.push(opened(instance, &token).await?);
    }
    match Raw::open(instance, &token, rng).await {
        Err(head) if head == "HTTP/1.1 429" => Ok(()),
        Err(other) => Err(other),
        Ok(_) => Err("one more was let in".to_owned()),
    }
}
