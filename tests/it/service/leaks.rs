//! Secrets and personal data in every input, searched for in every output.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{
    Client, Method,
    header::{AUTHORIZATION, COOKIE},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{connect_async, tungstenite::client::IntoClientRequest};

use super::raw;
use crate::{
    parts::{proxy::Proxy, repository, topic::Record},
    world::{Screen, Service, World, eventually, scrape},
};

/// Stands in whatever must not come out again.
const CANARY: &str = "canary";
const USER: &str = "canary-user";
const OPERATOR: &str = "canary-operations-token";
/// Causes of an end that cannot be brought about from outside, or not in an instance that does well: a bug, and what
/// `where_a_session_cannot_begin_nothing_leaks_either` brings about.
const ELSEWHERE: [&str; 3] = ["internal_error", "snapshot_unavailable", "too_many_sessions"];

async fn world_of_canaries() -> World {
    let mut world = World::create().await;
    let url = world.settings["ORDERCAST__DATABASE__URL"].replacen("postgres@", "postgres:canary-password@", 1);
    assert!(url.contains("canary-password"));
    for (key, value) in [
        ("database.url", url.as_str()),
        ("auth.secret", "canary-secret canary-secret canary-secret"),
        ("auth.previous_secret", "canary-previous canary-previous canary"),
        ("operations.token", OPERATOR),
        ("kafka.properties.sasl.password", "canary-broker-password"),
        ("http.trusted_proxies", "127.0.0.0/8"),
        ("session.heartbeat_interval", "1s"),
        ("session.send_timeout", "1s"),
        ("session.complete_after", "1s"),
        ("session.max_per_user", "3"),
        ("session.per_user_policy", "close_oldest"),
        ("log.level", "trace,actix_http=trace"),
    ] {
        world.set(key, value);
    }
    let pad = "canary ".repeat(1_500);
    let mut orders: Vec<Value> = (0..60)
        .map(|n| json!({"order_id": format!("L-{n}"), "user_id": "canary-slow", "status": "paid", "details": {"pad": pad}}))
        .collect();
    orders.push(json!({"order_id": "A-1", "user_id": USER, "status": "paid", "version": 1,
        "details": {"name": "canary-name"}, "viewers": ["canary-viewer"]}));
    orders.push(json!({"order_id": "A-9", "user_id": USER, "status": "delivered", "version": 1}));
    world.publish_all(&orders).await;
    world.topic.produce(Record::new("A-2", r#"{"order_id":"A-2","user_id":"canary-user","#)).await;
    world.topic.produce(Record::new("A-3", r#"{"order_id":"A-3","status":{"canary-status":1}}"#)).await;
    world
}

/// An answer: its headers as they must be, and nothing of the input in it unless it is what was asked for.
async fn checked(what: &str, answer: reqwest::Response) -> String {
    for (name, value) in
        [("cache-control", "no-store"), ("referrer-policy", "no-referrer"), ("x-content-type-options", "nosniff")]
    {
        assert_eq!(answer.headers().get(name).map(|value| value.as_bytes()), Some(value.as_bytes()), "{what}");
    }
    assert!(!format!("{:?}", answer.headers()).contains(CANARY), "{what}: {:?}", answer.headers());
    let status = answer.status();
    let body = answer.text().await.unwrap();
    assert!(status.is_success() || !body.contains(CANARY), "{what}: {body}");
    body
}

async fn ask_the_public_side(service: &Service, token: &str) {
    let http = Client::new();
    for path in ["/orders", "/orders/A-1", "/order-status", "/orders/canary-order", "/canary-path", "/tickets"] {
        for credential in [token, "canary.bad.token", "oct_canary", &format!("canary{}", "x".repeat(9_000))] {
            let url = format!("http://{}{path}", service.address);
            let asks = [
                http.get(format!("{url}?token={credential}&canary-query=1&after=canary")),
                http.get(&url).header(AUTHORIZATION, format!("Bearer {credential}")),
                http.get(&url).header(AUTHORIZATION, format!("Basic {credential}")),
                http.post(&url).header(AUTHORIZATION, format!("Bearer {credential}")).body("canary-body"),
                http.get(&url).header("Sec-WebSocket-Protocol", format!("ordercast.v1, bearer.{credential}")),
                http.get(&url).header("Sec-WebSocket-Protocol", format!("bearer.{credential}")),
            ];
            for ask in asks {
                let ask = ask
                    .header(COOKIE, "session=canary-cookie")
                    .header("X-Forwarded-For", "canary-forwarded, 192.0.2.1")
                    .header("X-Forwarded-Host", "canary-forwarded")
                    .header("Forwarded", "for=canary-forwarded;host=canary-forwarded");
                checked(path, ask.send().await.unwrap()).await;
            }
        }
    }
}

/// A ticket, had and used up; its text, which nobody else may see either.
async fn use_a_ticket(service: &Service, token: &str) -> String {
    let url = format!("http://{}/tickets", service.address);
    let issued = Client::new().post(url).bearer_auth(token).send().await.unwrap();
    let issued: Value = serde_json::from_str(&checked("a ticket", issued).await).unwrap();
    let ticket = issued["ticket"].as_str().unwrap().to_owned();
    Screen::open(service.address, &ticket).await;
    let Err(_) = Screen::connect(service.address, &format!("token={ticket}")).await else { panic!("used twice") };
    ticket
}

async fn operate(service: &Service, operator: &str, method: Method, path: &str, body: Option<Value>) -> u16 {
    let url = format!("http://{}{path}", service.operations);
    let mut ask = Client::new().request(method, url).bearer_auth(operator);
    if let Some(body) = body {
        ask = ask.json(&body);
    }
    let answer = ask.send().await.unwrap();
    let status = answer.status().as_u16();
    checked(path, answer).await;
    status
}

async fn ask_the_operations_side(service: &Service) {
    for operator in [OPERATOR, "canary-wrong-operator"] {
        for (method, path, body) in [
            (Method::GET, "/sessions?user_id=canary-user", None),
            (Method::GET, "/sessions?user_id=canary%00", None),
            (Method::DELETE, "/sessions?user_id=canary-nobody", None),
            (Method::DELETE, "/sessions?session_id=canary-nobody", None),
            (Method::GET, "/orders/A-1/trace", None),
            (Method::GET, "/orders/A-2/trace", None),
            (Method::GET, "/revocations", None),
            (Method::POST, "/revocations", Some(json!({"jti": "canary-jti", "expires_at": "canary"}))),
            (Method::POST, "/revocations", Some(json!({"jti": "canary-jti"}))),
            (Method::POST, "/revocations", Some(json!({"user_id": "canary-nobody"}))),
            (Method::DELETE, "/revocations?user_id=canary-nobody", None),
            (Method::POST, "/announcements", Some(json!({"content": "canary-content", "user_id": USER}))),
            (Method::POST, "/announcements", Some(json!({"content": "canary ".repeat(1_000)}))),
            (Method::POST, "/announcements", Some(json!({"canary": "canary-content"}))),
            (Method::PUT, "/canary-path", Some(json!("canary-body"))),
        ] {
            let status = operate(service, operator, method, path, body).await;
            assert!(operator == OPERATOR || status == 401 || status == 404, "{path}: {status}");
        }
    }
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    // A mask of zeros: what is sent can be read as it is.
    [&[first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0], payload].concat()
}

async fn to_its_end(mut stream: TcpStream) {
    let mut read = Vec::new();
    tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut read)).await.expect("it ends").ok();
}

/// One session for every way to end, as far as they can be had from outside.
async fn end_in_every_way(world: &World, service: &Service) {
    let token = world.token(USER);
    for bytes in [
        frame(0x88, b"\x03\xe8canary-reason"),
        frame(0x88, b"\x03\xf1canary-reason"),
        frame(0x83, b"canary"),
        frame(0x82, b"canary"),
        frame(0x81, b"canary\xff"),
        [&[0x81, 0xff, 0, 0, 1, 0, 0, 0, 0, 0][..], &b"canary".repeat(9)].concat(),
        frame(0x89, b"canary").repeat(80),
        frame(0x81, b"canary").repeat(12),
    ] {
        let mut stream = raw(service, &token).await;
        stream.write_all(&bytes).await.unwrap();
        to_its_end(stream).await;
    }
    drop(raw(service, &token).await);
    let mut screen = Screen::open(service.address, &token).await;
    screen.expect_status("A-1", "paid").await;
    for message in [
        json!({"type": "refresh", "token": world.token(USER)}),
        json!({"type": "refresh", "token": "canary.bad.refresh"}),
        json!({"type": "canary-type", "id": "canary-id"}),
        json!({"type": "sync", "orders": {"canary-order": "canary-rev"}}),
        json!({"type": "subscribe", "order_ids": ["canary-order"]}),
        json!({"action": "subscribe", "userId": "canary-other"}),
        json!({"type": "refresh", "token": world.token("canary-other")}),
    ] {
        screen.send(message).await;
    }
    assert_eq!(screen.close_code().await, Some(4500));
    let mut revoked = Screen::open(service.address, &world.token_named(USER, "canary-revoked")).await;
    let body = json!({"jti": "canary-revoked"});
    assert_eq!(operate(service, OPERATOR, Method::POST, "/revocations", Some(body)).await, 202);
    assert_eq!(revoked.close_code().await, Some(4503));
    let mut ended = Screen::open(service.address, &world.token(USER)).await;
    assert_eq!(operate(service, OPERATOR, Method::DELETE, "/sessions?user_id=canary-user", None).await, 202);
    assert_eq!(ended.close_code().await, Some(4011));
    let mut many = Vec::new();
    for _ in 0..4 {
        many.push(Screen::open(service.address, &world.token("canary-many")).await);
    }
    assert_eq!(many[0].close_code().await, Some(4504));
    let soon = world.token_with(Some(USER), None, Duration::from_secs(2));
    assert_eq!(Screen::open(service.address, &soon).await.close_code().await, Some(4005));
    let link = world.token_with(None, Some(&["A-9"]), Duration::from_secs(600));
    assert_eq!(Screen::open(service.address, &link).await.close_code().await, Some(4510));
    to_its_end(raw(service, &token).await).await;
    let stalled = raw(service, &world.token("canary-slow")).await;
    eventually("the stalled reader is ended", async || closed(service, "slow_consumer").await > 0.0).await;
    drop(stalled);
}

async fn closed(service: &Service, cause: &str) -> f64 {
    service.metric(&format!("ordercast_sessions_closed_total{{cause=\"{cause}\"}}")).await
}

#[tokio::test]
async fn no_token_secret_or_personal_datum_leaves_the_process() {
    let world = world_of_canaries().await;
    let mut service = Service::start(&world).await;
    let token = world.token(USER);
    ask_the_public_side(&service, &token).await;
    let ticket = use_a_ticket(&service, &token).await;
    ask_the_operations_side(&service).await;
    end_in_every_way(&world, &service).await;
    let told = page(&service, "canary.bad.page").await;
    assert!(!told.contains(CANARY), "{told}");
    let _last = Screen::open(service.address, &token).await;
    for cause in ordercast::protocol::CloseCause::ALL.map(|cause| cause.reason()) {
        let happened = closed(&service, cause).await > 0.0;
        assert!(
            happened || cause == "server_restart" || ELSEWHERE.contains(&cause),
            "no session ended by {cause}: let `end_in_every_way` end one so, or add it to ELSEWHERE with the reason"
        );
    }
    let metrics = scrape(service.operations).await.unwrap();
    assert!(!metrics.contains(CANARY), "{metrics}");
    service.terminate();
    assert_eq!(service.ended().await.code(), Some(0));
    no_leaks(&service, &[token.rsplit('.').next().unwrap(), &ticket]);
    let output = service.output();
    let says = |line: &str| line.contains("client_closed") && line.contains("1009");
    assert!(output.lines().any(says), "the code of a client's own Close stands in the line of its end");
}

/// Neither the canary nor one of these secrets stands in what the service has written.
fn no_leaks(service: &Service, secrets: &[&str]) {
    let output = service.output();
    assert!(output.contains("TRACE") && output.contains("session ended"), "everything was logged");
    let is_leak = |line: &&str| line.contains(CANARY) || secrets.iter().any(|secret| line.contains(secret));
    let leaks: Vec<&str> = output.lines().filter(is_leak).collect();
    assert!(leaks.is_empty(), "{} lines, such as\n{}", leaks.len(), leaks[..leaks.len().min(5)].join("\n"));
}

/// What a page of the service's own origin is told to the end of its connection.
async fn page(service: &Service, token: &str) -> String {
    let mut page = format!("ws://{}/order-status?token={token}", service.address).into_client_request().unwrap();
    page.headers_mut().insert("Origin", format!("http://{}", service.address).parse().unwrap());
    let (mut page, _) = connect_async(page).await.unwrap();
    let mut told = String::new();
    while let Some(Ok(message)) = page.next().await {
        told += &message.to_string();
    }
    told
}

#[tokio::test]
async fn where_a_session_cannot_begin_nothing_leaks_either() {
    let mut world = world_of_canaries().await;
    let proxy = Proxy::start(world.database.port()).await;
    let url = world.database.url_by_port(proxy.port()).replacen("postgres@", "postgres:canary-password@", 1);
    for (key, value) in [
        ("database.url", url.as_str()),
        ("session.max_per_user", "1"),
        ("session.per_user_policy", "reject"),
        ("session.snapshot_timeout", "1s"),
        ("session.heartbeat_interval", "15s"),
    ] {
        world.set(key, value);
    }
    let mut service = Service::start(&world).await;
    let open = Screen::open(service.address, &world.token(USER)).await;
    let told = page(&service, &world.token(USER)).await;
    assert!(told.contains("too_many_sessions") && !told.contains(CANARY), "{told}");
    drop(open);
    proxy.stall();
    let mut early = Screen::connect(service.address, &format!("token={}", world.token("canary-early"))).await.unwrap();
    assert_eq!(early.close_code().await, Some(1013));
    eventually("it is counted", async || closed(&service, "snapshot_unavailable").await > 0.0).await;
    proxy.heal().await;
    service.terminate();
    assert_eq!(service.ended().await.code(), Some(0));
    no_leaks(&service, &[]);
}

#[tokio::test]
async fn settings_are_printed_without_secrets_and_a_private_key_is_refused_without_being_quoted() {
    let mut world = world_of_canaries().await;
    let printed = world.call(&["config"]).await;
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    assert!(printed.stdout.contains("***") && !printed.stdout.contains(CANARY), "{}", printed.stdout);
    for key in ["auth.secret", "auth.previous_secret"] {
        world.settings.remove(&ordercast::config::variable(key));
    }
    let private = repository("tests/keys/rsa-private.pem");
    let pem = std::fs::read_to_string(&private).unwrap();
    let lines: Vec<&str> = pem.lines().filter(|line| !line.starts_with('-')).collect();
    world.set("auth.algorithms", "RS256");
    world.set("auth.public_key_files", private.to_str().unwrap());
    for command in ["config", "serve"] {
        let answer = world.call(&[command]).await;
        let output = answer.stdout + &answer.stderr;
        assert!(!lines.iter().any(|line| output.contains(line)) && !output.contains(CANARY), "{output}");
        assert!(command == "config" || (answer.code == Some(2) && output.contains("private key")), "{output}");
    }
}
