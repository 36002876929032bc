//! A network that can fail: a TCP proxy on loopback which can be cut, stalled, slowed down and healed. It runs on a thread
//! of its own, so that a test which blocks does not stall it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::{PATIENCE, free_port};

/// The way to one server on loopback; gone with the value.
pub struct Proxy {
    port: u16,
    mode: watch::Sender<Mode>,
    traffic: watch::Receiver<Traffic>,
    bytes: Arc<AtomicU64>,
    deaf_to: Arc<AtomicI32>,
    delay: Arc<AtomicU64>,
}

/// No request of Kafka has this key.
const NO_KEY: i32 = -1;

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Open,
    Stalled,
    Cut,
}

#[derive(Clone, Copy, Default)]
struct Traffic {
    listening: bool,
    accepted: u64,
    open: u64,
}

impl Proxy {
    /// A proxy to `127.0.0.1:<target>`, which need not be there yet.
    pub async fn start(target: u16) -> Self {
        let port = free_port();
        let (mode, mode_seen) = watch::channel(Mode::Open);
        let (traffic_noted, traffic) = watch::channel(Traffic::default());
        let (bytes, delay) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let deaf_to = Arc::new(AtomicI32::new(NO_KEY));
        let link = Link {
            target,
            mode: mode_seen,
            traffic: traffic_noted.into(),
            bytes: bytes.clone(),
            deaf_to: deaf_to.clone(),
            delay: delay.clone(),
        };
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a small runtime");
            runtime.block_on(link.serve(port));
        });
        let proxy = Self { port, mode, traffic, bytes, deaf_to, delay };
        proxy.until(|traffic| traffic.listening).await;
        proxy
    }

    /// Where clients connect.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Resets every connection and refuses new ones; returns when that is so.
    pub async fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
        self.until(|traffic| !traffic.listening && traffic.open == 0).await;
    }

    /// Keeps every connection, accepts new ones, and passes nothing on: the peer is silent, as behind a dead router.
    pub fn stall(&self) {
        self.mode.send_replace(Mode::Stalled);
    }

    /// From now on every byte is so long on its way, each way; however many follow it.
    pub fn slow_down(&self, delay: Duration) {
        self.delay.store(delay.as_millis() as u64, Ordering::Relaxed);
    }

    /// Passes everything on again, what was held back during a stall included; returns when the port listens.
    pub async fn heal(&self) {
        self.mode.send_replace(Mode::Open);
        self.until(|traffic| traffic.listening).await;
    }

    /// Takes Kafka's requests of this key, and never answers them, on connections that are taken from now on: a broker that
    /// does not know the question.
    pub fn ignore_requests(&self, key: i16) {
        self.deaf_to.store(key.into(), Ordering::Relaxed);
    }

    /// Connections taken since the start.
    pub fn accepted(&self) -> u64 {
        self.traffic.borrow().accepted
    }

    /// Connections that are open now.
    pub fn open(&self) -> u64 {
        self.traffic.borrow().open
    }

    /// Bytes passed on since the start, both ways.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    async fn until(&self, condition: impl FnMut(&Traffic) -> bool) {
        let mut traffic = self.traffic.clone();
        let met = tokio::time::timeout(PATIENCE, traffic.wait_for(condition)).await;
        met.expect("the proxy answers").expect("the proxy lives as long as its handle");
    }
}

/// What the proxy's own thread works with. Everything ends when the handle, and with it the mode's sender, is dropped.
#[derive(Clone)]
struct Link {
    target: u16,
    mode: watch::Receiver<Mode>,
    traffic: Arc<watch::Sender<Traffic>>,
    bytes: Arc<AtomicU64>,
    deaf_to: Arc<AtomicI32>,
    delay: Arc<AtomicU64>,
}

impl Link {
    async fn serve(self, port: u16) {
        let mut mode = self.mode.clone();
        while mode.wait_for(|mode| *mode != Mode::Cut).await.is_ok() {
            let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the proxy's own port");
            self.traffic.send_modify(|traffic| traffic.listening = true);
            loop {
                tokio::select! {
                    accepted = listener.accept() => if let Ok((client, _)) = accepted {
                        self.traffic.send_modify(|traffic| (traffic.accepted, traffic.open) = (traffic.accepted + 1, traffic.open + 1));
                        tokio::spawn(self.clone().relay(client));
                    },
                    cut = mode.wait_for(|mode| *mode == Mode::Cut) => match cut {
                        Ok(_) => break,
                        Err(_) => return,
                    },
                }
            }
            drop(listener);
            self.traffic.send_modify(|traffic| traffic.listening = false);
        }
    }

    async fn relay(self, mut client: TcpStream) {
        if let Ok(mut target) = TcpStream::connect(("127.0.0.1", self.target)).await {
            let mut mode = self.mode.clone();
            let cut = tokio::select! {
                _ = self.join(&mut client, &mut target) => false,
                _ = mode.wait_for(|mode| *mode == Mode::Cut) => true,
            };
            if cut {
                // Not an orderly end: both peers get a reset.
                let _ = (client.set_zero_linger(), target.set_zero_linger());
            }
        }
        drop(client);
        self.traffic.send_modify(|traffic| traffic.open -= 1);
    }

    async fn join(&self, client: &mut TcpStream, target: &mut TcpStream) -> io::Result<()> {
        let (client_reads, client_writes) = client.split();
        let (target_reads, target_writes) = target.split();
        let answers = self.pump(target_reads, client_writes);
        match self.deaf_to.load(Ordering::Relaxed) {
            NO_KEY => drop(tokio::try_join!(self.pump(client_reads, target_writes), answers)?),
            key => drop(tokio::try_join!(all_but(key, client_reads, target_writes), answers)?),
        }
        Ok(())
    }

    async fn pump(&self, from: ReadHalf<'_>, to: WriteHalf<'_>) -> io::Result<()> {
        let (sender, receiver) = mpsc::channel(64);
        tokio::try_join!(self.take(from, sender), self.pass_on(receiver, to)).map(drop)
    }

    /// Takes what comes; an empty piece is the end.
    async fn take(&self, mut from: ReadHalf<'_>, pieces: mpsc::Sender<(Instant, Vec<u8>)>) -> io::Result<()> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let length = from.read(&mut buffer).await?;
            let due = Instant::now() + Duration::from_millis(self.delay.load(Ordering::Relaxed));
            if pieces.send((due, buffer[..length].to_vec())).await.is_err() || length == 0 {
                return Ok(());
            }
        }
    }

    async fn pass_on(&self, mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>, mut to: WriteHalf<'_>) -> io::Result<()> {
        let mut mode = self.mode.clone();
        while let Some((due, piece)) = pieces.recv().await {
            sleep_until(due).await;
            mode.wait_for(|mode| *mode != Mode::Stalled).await.map_err(io::Error::other)?;
            if piece.is_empty() {
                break;
            }
            // Counted first: who has received something finds it counted.
            self.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
            to.write_all(&piece).await?;
        }
        to.shutdown().await
    }
}

/// Passes Kafka's requests on, each a length and as many bytes that begin with its key, but those of one key.
async fn all_but(key: i32, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
    loop {
        let length = from.read_u32().await?;
        let mut request = vec![0; length as usize];
        from.read_exact(&mut request).await?;
        if i32::from(i16::from_be_bytes([request[0], request[1]])) != key {
            to.write_u32(length).await?;
            to.write_all(&request).await?;
        }
    }
}
