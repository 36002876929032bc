//! Keys that change while an instance runs: files, and a key set that is fetched.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use ordercast::event::Timestamp;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::world::{Instance, World, eventually};

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
    answer: Arc<Mutex<Option<String>>>,
}

impl KeyServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new(None::<String>));
        let told = answer.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = [0; 2048];
                let _ = socket.read(&mut request).await;
                let body = told.lock().unwrap().clone();
                let (status, body) = body.map_or(("503 Away", String::new()), |body| ("200 OK", body));
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        Self { url, answer }
    }

    fn offer(&self, kid: &str, name: &str) {
        let mut key =
            serde_json::to_value(Jwk::from_encoding_key(&signing_key(name), Algorithm::RS256).unwrap()).unwrap();
        key["kid"] = json!(kid);
        *self.answer.lock().unwrap() = Some(json!({"keys": [key]}).to_string());
    }

    fn go_away(&self) {
        *self.answer.lock().unwrap() = None;
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
