//! Keys that change while an instance runs: files, and a key set that is fetched.

use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use ordercast::domain::Timestamp;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::world::{Instance, World, eventually};

/// Between two fetches of a key set, whoever asks for them.
const MIN_INTERVAL: Duration = Duration::from_secs(5);
const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/");

fn signing_key(name: &str) -> EncodingKey {
    EncodingKey::from_rsa_pem(&fs::read(format!("{KEYS}{name}-private.pem")).unwrap()).unwrap()
}

fn token(kid: &str, name: &str) -> String {
    let expires_at = Timestamp::now().as_millis() / 1000 + 3600;
    let header = Header { kid: Some(kid.into()), ..Header::new(Algorithm::RS256) };
    encode(&header, &json!({"sub": "u-1", "exp": expires_at}), &signing_key(name)).unwrap()
}

async fn status(instance: &Instance, token: &str) -> (u16, Value) {
    let (status, answer) = instance.get("/orders", token).await;
    (status, answer["code"].clone())
}

/// A key server that answers what it is told to; 503 until then.
struct KeyServer {
    url: String,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

const AWAY: &str = "HTTP/1.1 503 Away\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

impl KeyServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new(AWAY.to_owned()));
        let asked = Arc::<AtomicUsize>::default();
        let (told, counted) = (answer.clone(), asked.clone());
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = [0; 2048];
                let _ = socket.read(&mut request).await;
                counted.fetch_add(1, Ordering::Relaxed);
                let answer = told.lock().unwrap().clone();
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        Self { url, answer, asked }
    }

    fn offer(&self, kid: &str, name: &str) {
        let mut key =
            serde_json::to_value(Jwk::from_encoding_key(&signing_key(name), Algorithm::RS256).unwrap()).unwrap();
        key["kid"] = json!(kid);
        self.answer_with(&json!({"keys": [key]}).to_string());
    }

    fn answer_with(&self, body: &str) {
        let length = body.len();
        self.say(&format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"));
    }

    fn redirect_to(&self, place: &str) {
        let head = format!("HTTP/1.1 302 Found\r\nlocation: {place}\r\n");
        self.say(&format!("{head}content-length: 0\r\nconnection: close\r\n\r\n"));
    }

    fn say(&self, answer: &str) {
        answer.clone_into(&mut self.answer.lock().unwrap());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn go_away(&self) {
        self.say(AWAY);
    }
}

#[tokio::test]
async fn a_key_set_is_fetched_followed_and_kept_and_its_server_s_absence_is_never_a_401() {
    let directory = tempfile::tempdir().unwrap();
    let server = KeyServer::start().await;
    let mut world = World::create().await;
    world.settings.remove("ORDERCAST__AUTH__SECRET");
    world.set("auth.algorithms", "RS256");
    world.set("auth.jwks_url", &server.url);
    world.set("auth.jwks_cache_file", directory.path().join("keys.json").to_str().unwrap());
    let instance = world.start().await;
    let (old, new) = (token("k-1", "rsa"), token("k-2", "other-rsa"));
    assert_eq!(status(&instance, &old).await, (503, json!("keys_unavailable")));
    server.offer("k-1", "rsa");
    eventually("the keys are here", async || status(&instance, &old).await.0 == 200).await;
    server.offer("k-2", "other-rsa");
    eventually("the keys have changed", async || status(&instance, &new).await.0 == 200).await;
    assert_eq!(status(&instance, &old).await, (401, json!("invalid_token")));
    server.go_away();
    instance.stop().await;

    let again = world.start().await;
    assert_eq!(status(&again, &new).await.0, 200, "with the set that was kept");
    assert_eq!(status(&again, &old).await, (503, json!("keys_unavailable")));
    assert!(again.metric("ordercast_key_fetch_failures_total").await >= 1.0);
    again.stop().await;
}

#[tokio::test]
async fn a_key_server_that_misbehaves_is_asked_seldom_and_takes_no_good_key_away() {
    let (server, elsewhere) = (KeyServer::start().await, KeyServer::start().await);
    let mut world = World::create().await;
    world.settings.remove("ORDERCAST__AUTH__SECRET");
    world.set("auth.algorithms", "RS256");
    world.set("auth.jwks_url", &server.url);
    server.offer("k-1", "rsa");
    let begun = Instant::now();
    let instance = world.start().await;
    let good = token("k-1", "rsa");
    eventually("the keys are here", async || status(&instance, &good).await.0 == 200).await;
    elsewhere.offer("k-2", "other-rsa");
    let unknown = token("k-2", "other-rsa");
    // Which is the same machine, and not said to be.
    let in_plain = elsewhere.url.replace("127.0.0.1", "0.0.0.0");
    let cases: [(&str, &dyn Fn()); 5] = [
        ("too large", &|| server.answer_with(&format!(r#"{{"keys":[],"pad":"{}"}}"#, "x".repeat(300_000)))),
        ("without an end", &|| server.say("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n{")),
        ("no key set", &|| server.answer_with("[]")),
        ("redirects for ever", &|| server.redirect_to("/keys")),
        ("redirects to where anybody could answer", &|| server.redirect_to(&in_plain)),
    ];
    let (http, url) = (reqwest::Client::new(), format!("http://{}/orders", instance.address));
    let failures = "ordercast_key_fetch_failures_total";
    for (name, misbehave) in cases {
        misbehave();
        let (failed, asked) = (instance.metric(failures).await, server.asked());
        eventually(name, async || {
            // A herd of unknown names at once asks for one fetch, as one does.
            join_all((0..20).map(|_| http.get(&url).bearer_auth(&unknown).send())).await;
            instance.metric(failures).await > failed
        })
        .await;
        let fetches = instance.metric(failures).await - failed;
        // A fetch follows three redirects at most.
        assert!((server.asked() - asked) as f64 <= fetches * 4.0 + 4.0, "{name}: {} asked", server.asked() - asked);
        assert_eq!(status(&instance, &good).await.0, 200, "{name}");
        assert_ne!(status(&instance, &unknown).await.0, 200, "{name}");
    }
    assert_eq!(elsewhere.asked(), 0);
    let seldom = begun.elapsed().as_secs_f64() / MIN_INTERVAL.as_secs_f64() + 2.0;
    let fetches = instance.metric("ordercast_key_fetches_total").await;
    assert!(fetches <= seldom, "{fetches} fetches in {:?}", begun.elapsed());
    instance.stop().await;
}

#[tokio::test]
async fn a_secret_in_a_file_is_replaced_without_a_restart_and_a_bad_one_changes_nothing() {
    let (old, new) = ("the secret that was good until now", "the secret that is good from now on");
    let directory = tempfile::tempdir().unwrap();
    let [file, previous] = ["secret", "previous"].map(|name| directory.path().join(name));
    // As a whole: half a secret would be one change more.
    let put = |path: &Path, secret: &str| {
        let whole = path.with_extension("new");
        fs::write(&whole, secret).unwrap();
        fs::rename(whole, path).unwrap();
    };
    put(&file, old);
    put(&previous, old);
    let mut world = World::create().await;
    world.settings.remove("ORDERCAST__AUTH__SECRET");
    world.set("auth.secret_file", file.to_str().unwrap());
    world.set("auth.previous_secret_file", previous.to_str().unwrap());
    let instance = world.start().await;
    let of_old = world.token("u-1");
    put(&file, new);
    let of_new = world.token("u-1");
    eventually("the new secret is read", async || status(&instance, &of_new).await.0 == 200).await;
    assert_eq!(status(&instance, &of_old).await.0, 200, "the one before is good, too");
    put(&previous, new);
    eventually("the old secret is forgotten", async || status(&instance, &of_old).await.0 == 401).await;
    let failures = "ordercast_key_file_failures_total";
    put(&file, "too short");
    eventually("it is refused", async || instance.metric(failures).await == 1.0).await;
    fs::remove_file(&file).unwrap();
    eventually("it is missed", async || instance.metric(failures).await == 2.0).await;
    assert_eq!((status(&instance, &of_new).await.0, status(&instance, &of_old).await.0), (200, 401));
    put(&file, old);
    eventually("it is read again", async || status(&instance, &of_old).await.0 == 200).await;
    assert_eq!(instance.metric("ordercast_key_file_reads_total").await, 5.0);
    instance.stop().await;
}

#[tokio::test]
async fn key_files_are_read_again_when_they_change_and_bad_ones_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("issuer.pem");
    let put = |name: &str| fs::copy(format!("{KEYS}{name}.pem"), &file).unwrap();
    put("rsa-public");
    let mut world = World::create().await;
    world.settings.remove("ORDERCAST__AUTH__SECRET");
    world.set("auth.algorithms", "RS256");
    world.set("auth.public_key_files", file.to_str().unwrap());
    let instance = world.start().await;
    let (old, new) = (token("issuer", "rsa"), token("issuer", "other-rsa"));
    assert_eq!((status(&instance, &old).await.0, status(&instance, &new).await.0), (200, 401));
    put("other-rsa-public");
    eventually("the file was read again", async || status(&instance, &new).await.0 == 200).await;
    assert_eq!(status(&instance, &old).await.0, 401);
    fs::write(&file, "nonsense").unwrap();
    put("rsa-public");
    eventually("the file was read again", async || status(&instance, &old).await.0 == 200).await;
    instance.stop().await;
}
