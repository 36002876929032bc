//! Readers that stall beside two hundred that do not.

use std::{
    collections::HashMap,
    fs,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::join_all};
use serde_json::{Value, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use super::raw_by;
use crate::world::{Service, World, eventually};

const READERS: usize = 200;
/// Readers that see the same orders; an event names at most 64 viewers.
const GROUP: usize = 50;
const STALLED: [&str; 3] = ["stalled-0", "stalled-1", "stalled-2"];
const EVENTS: usize = 48;
const PAUSE: Duration = Duration::from_millis(40);
const ROUNDS: usize = 4;

/// When each event was sent, by its number.
type Sent = Arc<Vec<OnceLock<Instant>>>;

fn group(event: usize) -> usize {
    event % (READERS / GROUP)
}

/// Reads until every event of its group was shown; answers how long each took. An update that was overtaken by a snapshot
/// is shown by that.
async fn read_all(address: String, group_number: usize, sent: Sent, started: Arc<AtomicUsize>) -> Vec<Duration> {
    let (mut socket, _) = connect_async(address).await.expect("a handshake");
    let mine = (0..sent.len()).filter(|event| group(*event) == group_number).count();
    let mut took: HashMap<usize, Duration> = HashMap::new();
    let mut is_live = false;
    while took.len() < mine {
        let Some(Ok(message)) = socket.next().await else { panic!("a healthy reader was ended") };
        let Message::Text(text) = message else { continue };
        if text.contains(r#""first":true"#) && !std::mem::replace(&mut is_live, true) {
            started.fetch_add(1, Ordering::Relaxed);
        }
        for (place, mark) in text.match_indices(r#""mark":"#) {
            let digits = text[place + mark.len()..].split(|c: char| !c.is_ascii_digit()).next().unwrap();
            let event: usize = digits.parse().unwrap();
            let sent = sent[event].get().expect("nothing is shown before it was sent");
            took.entry(event).or_insert_with(|| sent.elapsed());
        }
    }
    socket.close(None).await.ok();
    while socket.next().await.is_some_and(|message| message.is_ok()) {}
    took.into_values().collect()
}

fn event(number: usize) -> Value {
    let group = group(number);
    let mut viewers: Vec<String> = (group * GROUP..(group + 1) * GROUP).map(|reader| format!("u-{reader}")).collect();
    viewers.extend(STALLED.map(String::from));
    let details = json!({"mark": number, "pad": "x".repeat(6_000)});
    json!({"order_id": format!("A-{number}"), "user_id": "shop", "viewers": viewers, "status": "paid", "details": details})
}

/// A session that never reads.
async fn stall(service: &Service, token: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    raw_by(socket, service, token).await
}

/// Bytes that wait in the kernel for a client of this port, as `/proc/net/tcp` says; `None`: the service has no such
/// connection any more.
fn unread_bytes(service: &Service, client: &TcpStream) -> Option<usize> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let (local, remote) = (service.address.port(), client.local_addr().unwrap().port());
    let ends = |place: &str, port: u16| place.ends_with(&format!(":{port:04X}"));
    table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find_map(|row| {
        let is_it = row.len() > 4 && ends(row[1], local) && ends(row[2], remote) && row[3] == "01";
        is_it.then(|| usize::from_str_radix(row[4].split(':').next().unwrap(), 16).unwrap())
    })
}

/// What waits in the mailboxes of the stalled.
async fn pending_bytes(service: &Service) -> Vec<u64> {
    let listed: Value =
        reqwest::get(format!("http://{}/sessions", service.operations)).await.unwrap().json().await.unwrap();
    let sessions = listed["sessions"].as_array().unwrap().iter();
    let stalled = sessions.filter(|one| STALLED.contains(&one["user_id"].as_str().unwrap()));
    stalled.map(|one| one["pending_bytes"].as_u64().unwrap()).collect()
}

async fn slow_consumers(service: &Service) -> usize {
    service.metric(r#"ordercast_sessions_closed_total{cause="slow_consumer"}"#).await as usize
}

/// One round: everybody comes, events flow, everybody has seen all of them. Answers the 99th percentile.
async fn round(world: &World, service: &Service, stalls: bool) -> Duration {
    let sent: Sent = Arc::new((0..EVENTS).map(|_| OnceLock::new()).collect());
    let started = Arc::<AtomicUsize>::default();
    let readers: Vec<JoinHandle<Vec<Duration>>> = (0..READERS)
        .map(|reader| {
            let token = world.token(&format!("u-{reader}"));
            let address = format!("ws://{}/order-status?token={token}", service.address);
            tokio::spawn(read_all(address, reader / GROUP, sent.clone(), started.clone()))
        })
        .collect();
    eventually("everybody is there", async || started.load(Ordering::Relaxed) == READERS).await;
    let (files, ended) = (service.open_files(), slow_consumers(service).await);
    let mut stalled = Vec::new();
    for user in STALLED.iter().filter(|_| stalls) {
        stalled.push(stall(service, &world.token(user)).await);
    }
    for number in 0..EVENTS {
        sent[number].set(Instant::now()).unwrap();
        world.publish(event(number)).await;
        tokio::time::sleep(PAUSE).await;
        for client in &stalled {
            assert!(unread_bytes(service, client) <= Some(64 * 1024), "in the kernel");
        }
        if number % 12 == 11 {
            assert!(pending_bytes(service).await.iter().all(|bytes| *bytes <= 64 * 1024), "in the mailbox");
        }
    }
    let mut took: Vec<Duration> = Vec::new();
    for reader in join_all(readers).await {
        took.extend(reader.expect("everybody has seen everything"));
    }
    assert_eq!(took.len(), EVENTS * GROUP, "all of it");
    if stalls {
        eventually("the stalled are ended", async || slow_consumers(service).await == ended + STALLED.len()).await;
        eventually("their sockets are closed", async || {
            stalled.iter().all(|client| unread_bytes(service, client).is_none())
                && service.open_files() + READERS <= files + 8
        })
        .await;
    }
    // The next round begins with the same orders' next life.
    let erasures: Vec<_> = (0..EVENTS).map(|number| json!({"order_id": format!("A-{number}")})).collect();
    world.publish_all(&erasures).await;
    eventually("they are erased", async || world.database.number("select count(*) from orders").await == Some(0)).await;
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_readers_that_stall_and_they_cost_a_fixed_amount_for_a_while() {
    let mut world = World::create().await;
    world.set("session.send_timeout", "2s");
    let service = Service::start(&world).await;
    let mut percentiles = [Vec::new(), Vec::new()];
    for number in 0..ROUNDS {
        let stalls = number % 2 == 1;
        percentiles[usize::from(stalls)].push(round(&world, &service, stalls).await);
    }
    let medians = percentiles.each_mut().map(|rounds| {
        rounds.sort_unstable();
        rounds[rounds.len() / 2]
    });
    eprintln!("99th percentile of {READERS} readers: {:?} alone, {:?} beside stalled ones", medians[0], medians[1]);
    // A reader that is waited for costs seconds, a busy machine a few times as much as a calm one.
    assert!(medians[1] < medians[0] * 8, "{percentiles:?}");
}
