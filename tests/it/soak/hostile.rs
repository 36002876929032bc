//! Those who break every rule there is, again and again, each from an address of its own, and what each of them is to get.

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_tungstenite::tungstenite::Error;
use tokio_util::sync::CancellationToken;

use super::{Field, strangers};
use crate::{
    control,
    world::{Instance, PATIENCE, Screen},
};

/// Whose large orders those watch who read nothing.
pub const STALLED: &str = "stalled";

const MASK: [u8; 4] = [0x5a, 0x00, 0xff, 0x31];

/// What was wrong with what they got.
pub(super) type Outcome = Result<(), String>;

/// The service waits so long for a request's head, and says 408. Where this machine was too busy to send one in that time, it
/// is told and is nobody's fault.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const TOO_BUSY: &str = "attempts that this machine was too busy to finish";

pub struct Hostile {
    tasks: JoinSet<()>,
    stop: CancellationToken,
    tally: Arc<Mutex<Tally>>,
}

/// How often each got what it should.
#[derive(Default, Clone)]
pub struct Tally {
    counts: BTreeMap<&'static str, u64>,
    wrong: Vec<String>,
}

impl Tally {
    pub fn wrong(&self) -> impl Iterator<Item = String> {
        self.wrong.clone().into_iter()
    }

    fn note(&mut self, name: &'static str, outcome: Outcome) {
        match outcome {
            Ok(()) => *self.counts.entry(name).or_default() += 1,
            Err(wrong) if wrong == TOO_BUSY => *self.counts.entry(TOO_BUSY).or_default() += 1,
            Err(wrong) => {
                eprintln!("        {name}: {wrong}");
                self.wrong.push(format!("{name}: {wrong}"));
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counts.iter().try_for_each(|(name, count)| writeln!(f, "{count:>8}  {name}"))
    }
}

/// What they do.
#[derive(Clone, Copy)]
enum Act {
    ReadNothing,
    HalfAHandshake,
    BreakFrames,
    Flood,
    TalkNonsense,
    ForgeTokens,
    UseTicketsTwice,
    UseRevokedTokens,
    BeKicked,
    ClaimForeignOrders,
    AskForEverything,
    SendGarbage,
    SendWithoutEnd,
    LeaveAnswersUnread,
    AskAsABrowser,
    PassALinkOn,
    ComeFromElsewhere,
    Slip,
}

/// What they do, how many of them at once, the pause between two times, and what comes of it.
const ACTS: [(Act, u64, u64, &str); 18] = [
    (Act::ReadNothing, 4, 500, "readers that read nothing cut"),
    (Act::HalfAHandshake, 3, 50, "half handshakes let go"),
    (Act::BreakFrames, 4, 100, "frames that break the rules answered with their close code"),
    (Act::Flood, 2, 500, "floods of messages ended"),
    (Act::TalkNonsense, 2, 500, "talkers of nonsense ended"),
    (Act::ForgeTokens, 1, 50, "forged tokens refused"),
    (Act::UseTicketsTwice, 1, 300, "tickets good for one session"),
    (Act::UseRevokedTokens, 1, 500, "revoked tokens ended on the other instance"),
    (Act::BeKicked, 1, 500, "sessions ended by an operator of the other instance"),
    (Act::ClaimForeignOrders, 1, 200, "claims of foreign orders answered with nothing"),
    (Act::AskForEverything, 1, 500, "those who ask for everything again and again ended"),
    (Act::SendGarbage, 2, 50, "bytes that are no request let go"),
    (Act::SendWithoutEnd, 2, 200, "bodies without end not read on"),
    (Act::LeaveAnswersUnread, 2, 500, "answers that nobody reads cut"),
    (Act::AskAsABrowser, 1, 1000, "floods of preflights refused"),
    (Act::PassALinkOn, 1, 1000, "links that are passed on refused"),
    (Act::ComeFromElsewhere, 1, 50, "pages of foreign origins refused"),
    (Act::Slip, 1, 500, "slips of an operator refused"),
];

impl Hostile {
    pub fn begin(field: &Arc<Field>) -> Self {
        let (mut tasks, stop, tally) = (JoinSet::new(), CancellationToken::new(), Arc::<Mutex<Tally>>::default());
        for (act, many, pause, name) in ACTS {
            for seed in 0..many {
                let (field, stop, tally) = (field.clone(), stop.clone(), tally.clone());
                tasks.spawn(async move {
                    let mut rng = SmallRng::seed_from_u64(seed);
                    while !stop.is_cancelled() {
                        let done = timeout(PATIENCE, act.perform(&field, &mut rng)).await;
                        tally.lock().unwrap().note(name, done.unwrap_or_else(|_| Err("nothing came".to_owned())));
                        let _ = timeout(Duration::from_millis(pause), stop.cancelled()).await;
                    }
                });
            }
        }
        Self { tasks, stop, tally }
    }

    /// Lets each finish what it does.
    pub async fn end(self) -> Tally {
        self.stop.cancel();
        self.tasks.join_all().await;
        self.tally.lock().unwrap().clone()
    }
}

impl Act {
    async fn perform(self, field: &Field, rng: &mut SmallRng) -> Outcome {
        let here = rng.random_range(0..2);
        let (here, there) = (&field.instances[here], &field.instances[1 - here]);
        match self {
            Self::ReadNothing => {
                let stalled = Raw::open(here, &field.world.token(STALLED), rng).await?;
                stalled.until_cut().await
            }
            Self::HalfAHandshake => half_a_handshake(here, rng).await,
            Self::BreakFrames => break_frames(here, &field.world.token("breaker"), rng).await,
            Self::Flood => {
                let ping = frame(0x81, br#"{"type":"ping"}"#);
                Raw::open(here, &field.world.token("flood"), rng).await?.until_closed(&ping.repeat(200), 4013).await
            }
            Self::TalkNonsense => {
                let nonsense = frame(0x81, b"nonsense");
                Raw::open(here, &field.world.token("nonsense"), rng)
                    .await?
                    .until_closed(&nonsense.repeat(12), 4513)
                    .await
            }
            Self::AskForEverything => {
                // At once, so that none of the answers can be there before the next is asked for.
                let sync = frame(0x81, br#"{"type":"sync"}"#);
                Raw::open(here, &field.world.token("greedy"), rng).await?.until_closed(&sync.repeat(20), 4513).await
            }
            Self::SendGarbage => strangers::send_garbage(here, rng).await,
            Self::SendWithoutEnd => strangers::send_without_end(here, rng).await,
            Self::LeaveAnswersUnread => strangers::leave_answers_unread(here, &field.world.token(STALLED), rng).await,
            Self::AskAsABrowser => strangers::ask_as_a_browser(here, rng).await,
            Self::PassALinkOn => strangers::pass_a_link_on(here, &field.world, rng).await,
            Self::ComeFromElsewhere => strangers::come_from_elsewhere(here, rng).await,
            Self::Slip => strangers::slip(here).await,
            Self::ForgeTokens => {
                let good = field.world.token("u-1");
                let (signed, _) = good.rsplit_once('.').expect("a token has parts");
                let forged = ["not.a.token".to_owned(), format!("{signed}."), format!("{signed}.{}", "A".repeat(43))];
                let unknown_ticket = format!("oct_{}", "A".repeat(43));
                let shown = [&forged[..], &[unknown_ticket]].concat();
                refused(here, shown.choose(rng).expect("there are some")).await
            }
            Self::UseTicketsTwice => {
                let (status, issued) = control::ticket(here, &field.world.token("tickets")).await;
                let ticket = issued["ticket"].as_str().ok_or_else(|| format!("{status}: {issued}"))?;
                let _first = opened(there, ticket).await?;
                refused(here, ticket).await
            }
            Self::UseRevokedTokens => {
                let token_id = format!("t-{}", rng.random::<u64>());
                let mut screen = opened(here, &field.world.token_named("revoked", &token_id)).await?;
                let soon = ordercast::domain::Timestamp::now().as_millis() + 20_000;
                let soon = ordercast::domain::Timestamp::from_millis(soon).expect("is in range").to_string();
                let revocation = json!({"jti": token_id, "expires_at": soon});
                operate(there, Method::POST, "/revocations", Some(revocation)).await?;
                expect_code(screen.close_code().await, 4503)
            }
            Self::BeKicked => {
                let user = format!("kicked-{}", rng.random_range(0..1000));
                let mut screen = opened(here, &field.world.token(&user)).await?;
                operate(there, Method::DELETE, &format!("/sessions?user_id={user}"), None).await?;
                expect_code(screen.close_code().await, 4011)
            }
            Self::ClaimForeignOrders => {
                let mut screen = opened(here, &field.world.token("curious")).await?;
                for round in 0..5 {
                    let rev =
                        format!("{:x}-{}-{}", rng.random::<u64>(), rng.random_range(0..3), rng.random_range(0..9999));
                    let claims: BTreeMap<_, _> = (0..180).map(|order| (format!("A-{order}"), &rev)).collect();
                    screen.forget_frames();
                    screen.send(json!({"type": "sync", "orders": claims})).await;
                    screen.send(json!({"type": "ping", "id": round})).await;
                    let is_answer = |frame: &Value| frame["type"] == "snapshot";
                    screen.try_until("the answer", |screen| screen.frames.iter().any(is_answer)).await?;
                    let snapshot = screen.frames.iter().find(|frame| frame["type"] == "snapshot").expect("it came");
                    if snapshot["orders"] != json!([]) || snapshot["removed"].as_array().map(Vec::len) != Some(180) {
                        return Err(format!("{snapshot}"));
                    }
                }
                Ok(())
            }
        }
    }
}

async fn operate(instance: &Instance, method: Method, path: &str, body: Option<Value>) -> Outcome {
    match control::operate(instance, method, path, body).await {
        (202, _) => Ok(()),
        (status, answer) => Err(format!("{path}: {status} {answer}")),
    }
}

pub(super) async fn opened(instance: &Instance, token: &str) -> Result<Screen, String> {
    let begun = Instant::now();
    let connected = Screen::connect(instance.address, &format!("token={token}")).await;
    let mut screen = connected.map_err(|error| failed(&error, begun))?;
    screen.try_until("the first snapshot", Screen::has_snapshot).await?;
    Ok(screen)
}

async fn refused(instance: &Instance, token: &str) -> Outcome {
    let begun = Instant::now();
    match Screen::connect(instance.address, &format!("token={token}")).await {
        Err(Error::Http(answer)) if answer.status() == 401 => Ok(()),
        Err(error) => Err(failed(&error, begun)),
        Ok(_) => Err("was let in".to_owned()),
    }
}

fn failed(error: &Error, begun: Instant) -> String {
    match error {
        Error::Http(answer) if answer.status() == 408 && begun.elapsed() >= HEAD_TIMEOUT => TOO_BUSY.to_owned(),
        error => error.to_string(),
    }
}

fn expect_code(code: Option<u16>, wanted: u16) -> Outcome {
    if code == Some(wanted) { Ok(()) } else { Err(format!("closed with {code:?} instead of {wanted}")) }
}

/// A socket from any of the many addresses that loopback has, so that nobody shares the good ones' limits.
pub(super) async fn connect(instance: &Instance, rng: &mut SmallRng) -> Result<TcpStream, String> {
    let source = Ipv4Addr::new(127, rng.random_range(1..255), rng.random(), rng.random_range(1..255));
    let connecting = async {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4096)?;
        socket.bind(SocketAddr::from((source, 0)))?;
        socket.connect(instance.address).await
    };
    connecting.await.map_err(|error| error.to_string())
}

/// Half of them go away, the others wait until they are let go.
async fn half_a_handshake(instance: &Instance, rng: &mut SmallRng) -> Outcome {
    let mut stream = connect(instance, rng).await?;
    stream.write_all(b"GET /order-status HTTP/1.1\r\nHost: x\r\nUpgr").await.map_err(|error| error.to_string())?;
    if rng.random() {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
    }
    Ok(())
}

async fn break_frames(instance: &Instance, token: &str, rng: &mut SmallRng) -> Outcome {
    let huge = [&[0x81, 0xff][..], &(1u64 << 40).to_be_bytes(), &MASK, &[0; 4096]].concat();
    let cases = [
        (vec![0x81, 0x01, b'x'], 1002),
        (frame(0xc1, b"reserved bit"), 1002),
        // A length that is not in its shortest form.
        ([&[0x81, 0xfe, 0x00, 0x04][..], &MASK, b"ping"].concat(), 1002),
        (frame(0x83, b"unknown opcode"), 1002),
        (frame(0x09, b"fragmented ping"), 1002),
        (frame(0x88, &999u16.to_be_bytes()), 1002),
        (frame(0x82, b"binary"), 1003),
        (frame(0x81, b"\xff"), 1007),
        (huge, 1009),
        (frame(0x01, b"").into_iter().chain(frame(0x00, b"").repeat(1100)).collect(), 1009),
    ];
    let (bytes, code) = cases.choose(rng).expect("there are some").clone();
    Raw::open(instance, token, rng).await?.until_closed(&bytes, code).await
}

/// A session without anything in between that keeps to the rules.
pub(super) struct Raw {
    stream: TcpStream,
}

impl Raw {
    pub(super) async fn open(instance: &Instance, token: &str, rng: &mut SmallRng) -> Result<Self, String> {
        let begun = Instant::now();
        let mut stream = connect(instance, rng).await?;
        let handshake = format!(
            "GET /order-status?token={token} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(handshake.as_bytes()).await.map_err(|error| error.to_string())?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.map_err(|error| error.to_string())?;
        match &head {
            b"HTTP/1.1 101" => Ok(Self { stream }),
            b"HTTP/1.1 408" if begun.elapsed() >= HEAD_TIMEOUT => Err(TOO_BUSY.to_owned()),
            _ => Err(String::from_utf8_lossy(&head).into_owned()),
        }
    }

    /// Says something now and then, so that it counts as alive, and reads nothing until the server ends it.
    async fn until_cut(mut self) -> Outcome {
        while self.stream.write_all(&frame(0x8a, b"")).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// Sends this and reads to the end, where this Close frame is to stand.
    async fn until_closed(self, bytes: &[u8], code: u16) -> Outcome {
        let (mut reading, mut writing) = self.stream.into_split();
        let mut answer = Vec::new();
        // The server may end it before it has all.
        let (_, _) = tokio::join!(writing.write_all(bytes), reading.read_to_end(&mut answer));
        let close = answer.windows(4).rposition(|close| close[0] == 0x88 && close[2..] == code.to_be_bytes());
        close.map(|_| ()).ok_or_else(|| {
            let said = String::from_utf8_lossy(&answer[answer.len().saturating_sub(200)..]).into_owned();
            format!("no Close with {code}, but {said:?}")
        })
    }
}

/// A masked frame of at most 125 bytes.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let masked = payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    [first, 0x80 | payload.len() as u8].into_iter().chain(MASK).chain(masked).collect()
}
