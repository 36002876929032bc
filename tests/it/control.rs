//! What one instance tells the others: revocations, kicks, announcements.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use ordercast::domain::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use tokio_tungstenite::tungstenite::Error;

use crate::{
    parts::{kafka::shared_broker, postgres::Database, proxy::Proxy},
    world::{Instance, Screen, World, eventually},
};

/// Asks an instance's operations listener.
pub async fn operate(instance: &Instance, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    operate_as(None, instance, method, path, body).await
}

async fn operate_as(
    token: Option<&str>,
    instance: &Instance,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let mut request = reqwest::Client::new().request(method, format!("http://{}{path}", instance.operations));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

async fn post(instance: &Instance, path: &str, body: Value) {
    let (status, answer) = operate(instance, Method::POST, path, Some(body)).await;
    assert_eq!(status, 202, "{answer}");
}

/// Waits until an instance knows that so many are revoked.
async fn knows(instance: &Instance, revocations: usize) {
    eventually("the revocation is known", async || {
        let (_, answer) = operate(instance, Method::GET, "/revocations", None).await;
        answer["revocations"].as_array().is_some_and(|list| list.len() == revocations)
    })
    .await;
}

async fn refused(instance: &Instance, token: &str) -> bool {
    let (status, problem) = instance.get("/orders", token).await;
    status == 401 && problem["code"] == "invalid_token"
}

/// Asks and hears: what was on its way before has come by then.
async fn still_open(screen: &mut Screen) {
    let id = screen.frames.len();
    screen.send(json!({"type": "ping", "id": id})).await;
    screen.until("the pong", |screen| screen.frames.iter().any(|frame| frame["id"] == id)).await;
}

fn announcements(screen: &Screen) -> Vec<&str> {
    let frames = screen.frames.iter().filter(|frame| frame["type"] == "announcement");
    frames.map(|frame| frame["content"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_revoked_token_ends_its_sessions_everywhere_and_opens_no_more_across_restarts_until_it_is_lifted() {
    let world = World::create().await;
    let (one, two) = tokio::join!(world.start(), world.start());
    let stolen = world.token_named("u-1", "t-1");
    let mut here = Screen::open(one.address, &stolen).await;
    let mut there = Screen::open(two.address, &stolen).await;
    let mut other = Screen::open(one.address, &world.token_named("u-1", "t-2")).await;
    post(&one, "/revocations", json!({"jti": "t-1"})).await;
    assert_eq!((here.close_code().await, there.close_code().await), (Some(4503), Some(4503)));
    let closing = there.frames.last().unwrap();
    assert_eq!((&closing["reason"], &closing["retry"]), (&json!("revoked"), &json!(false)));
    still_open(&mut other).await;
    assert!(other.frames.iter().all(|frame| frame["type"] != "closing"));
    for instance in [&one, &two] {
        assert!(refused(instance, &stolen).await);
        let Err(Error::Http(answer)) = Screen::connect(instance.address, &format!("token={stolen}")).await else {
            panic!("a revoked token opened a session")
        };
        assert_eq!(answer.status(), 401);
    }
    two.stop().await;
    let again = world.start().await;
    assert!(refused(&again, &stolen).await, "a revocation holds across restarts");
    assert_eq!(operate(&again, Method::DELETE, "/revocations?jti=t-1", None).await, (202, json!({"lifted": 1})));
    knows(&one, 0).await;
    Screen::open(one.address, &stolen).await;
    one.stop().await;
    again.stop().await;
}

#[tokio::test]
async fn a_page_with_a_revoked_token_is_told_after_the_upgrade() {
    let mut world = World::create().await;
    world.set("http.allowed_origins", "https://shop.example");
    let instance = world.start().await;
    post(&instance, "/revocations", json!({"jti": "t-1", "expires_at": "2999-01-01T00:00:00Z"})).await;
    knows(&instance, 1).await;
    let token = world.token_named("u-1", "t-1");
    let mut page = Screen::of_page(instance.address, "https://shop.example", &token).await;
    assert_eq!(page.close_code().await, Some(4503));
    assert_eq!(page.frames.len(), 1, "no welcome: {:?}", page.frames);
    instance.stop().await;
}

#[tokio::test]
async fn a_user_s_older_tokens_are_revoked_and_later_ones_are_good() {
    let world = World::create().await;
    let (one, two) = tokio::join!(world.start(), world.start());
    let mut screen = world.watch(&two, "u-1").await;
    let mut stranger = world.watch(&two, "u-2").await;
    post(&one, "/revocations", json!({"user_id": "u-1"})).await;
    assert_eq!(screen.close_code().await, Some(4503));
    still_open(&mut stranger).await;
    assert!(stranger.frames.iter().all(|frame| frame["type"] != "closing"));
    knows(&one, 1).await;
    assert!(refused(&one, &world.token_issued("u-1", -60)).await);
    assert!(refused(&one, &world.token_issued("u-1", 2)).await, "by a clock that is ahead");
    assert!(refused(&one, &world.token_issued("u-1", 60)).await, "by none that is right");
    assert!(refused(&one, &world.token_issued("u-2", 60)).await, "whoever it is for");
    assert!(!refused(&one, &world.token_issued("u-2", -60)).await);
    assert!(!refused(&one, &world.token_issued("u-2", 2)).await);
    // Said again for an earlier moment it changes nothing.
    post(&one, "/revocations", json!({"user_id": "u-1", "issued_before": "2020-01-01T00:00:00Z"})).await;
    eventually("both are read", async || {
        one.metric(r#"ordercast_control_records_total{kind="revocation"}"#).await == 2.0
    })
    .await;
    assert!(refused(&one, &world.token_issued("u-1", -60)).await);
    // Those issued later than clocks may differ are good, and their sessions stay.
    let mut screen = Screen::open(one.address, &world.token_issued("u-3", -50)).await;
    let mut ahead = Screen::open(one.address, &world.token_issued("u-3", -97)).await;
    let moment = Timestamp::from_millis(Timestamp::now().as_millis() - 100_000).unwrap();
    post(&two, "/revocations", json!({"user_id": "u-3", "issued_before": moment})).await;
    assert_eq!(ahead.close_code().await, Some(4503));
    still_open(&mut screen).await;
    for (issued_at, is_refused) in [(-200, true), (-97, true), (-50, false)] {
        assert_eq!(refused(&one, &world.token_issued("u-3", issued_at)).await, is_refused, "{issued_at}");
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn an_operator_ends_sessions_by_user_or_by_name_wherever_they_are_and_they_may_come_back() {
    let world = World::create().await;
    let (one, two) = tokio::join!(world.start(), world.start());
    let mut here = world.watch(&one, "u-1").await;
    let mut there = world.watch(&two, "u-1").await;
    let mut named = world.watch(&two, "u-2").await;
    let (_, listed) = operate(&two, Method::GET, "/sessions?user_id=u-2", None).await;
    let session = &listed["sessions"][0];
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(session["session_id"], named.frames[0]["session_id"]);
    assert_eq!((&session["user_id"], &session["transport"]), (&json!("u-2"), &json!("websocket")));
    assert_eq!((&session["orders"], &session["address"]), (&json!(0), &json!("127.0.0.1")));
    assert!(listed["instance"].is_string() && session["connected_at"].is_string());

    let path = format!("/sessions?session_id={}", session["session_id"].as_str().unwrap());
    assert_eq!(operate(&one, Method::DELETE, &path, None).await.0, 202);
    assert_eq!(named.close_code().await, Some(4011));
    assert_eq!(operate(&one, Method::DELETE, "/sessions?user_id=u-1", None).await.0, 202);
    assert_eq!((here.close_code().await, there.close_code().await), (Some(4011), Some(4011)));
    let closing = here.frames.last().unwrap();
    assert_eq!((&closing["reason"], &closing["retry"]), (&json!("disconnected"), &json!(true)));
    let ended = r#"ordercast_sessions_closed_total{cause="disconnected"}"#;
    eventually("the ends are counted", async || two.metric(ended).await == 2.0).await;
    let mut back = world.watch(&one, "u-1").await;
    let fresh = world.start().await;
    let mut elsewhere = world.watch(&fresh, "u-1").await;
    still_open(&mut back).await;
    still_open(&mut elsewhere).await;
    for screen in [back, elsewhere] {
        assert!(screen.frames.iter().all(|frame| frame["type"] != "closing"), "a kick is never replayed");
    }
    for path in ["/sessions", "/sessions?user_id=u-1&session_id=s", "/sessions?user_id="] {
        assert_eq!(operate(&one, Method::DELETE, path, None).await.0, 400, "{path}");
    }
    for instance in [one, two, fresh] {
        instance.stop().await;
    }
}

#[tokio::test]
async fn an_announcement_is_told_once_to_who_is_there_and_to_nobody_later() {
    let world = World::create().await;
    let (one, two) = tokio::join!(world.start(), world.start());
    let mut here = world.watch(&one, "u-1").await;
    let mut there = world.watch(&two, "u-2").await;
    post(&one, "/announcements", json!({"content": "for u-2", "user_id": "u-2"})).await;
    post(&two, "/announcements", json!({"content": "we move at noon 🛵"})).await;
    here.until("the announcement", |screen| !announcements(screen).is_empty()).await;
    there.until("both announcements", |screen| announcements(screen).len() == 2).await;
    assert_eq!(announcements(&here), ["we move at noon 🛵"]);
    assert_eq!(announcements(&there), ["for u-2", "we move at noon 🛵"]);
    assert!(here.frames.last().unwrap()["timestamp"].is_string());
    let fresh = world.start().await;
    for (instance, user) in [(&one, "u-1"), (&fresh, "u-2")] {
        let mut later = world.watch(instance, user).await;
        still_open(&mut later).await;
        assert_eq!(announcements(&later), [""; 0]);
    }
    for content in [String::new(), "x".repeat(1_025)] {
        let (status, problem) = operate(&one, Method::POST, "/announcements", Some(json!({"content": content}))).await;
        assert_eq!((status, &problem["code"]), (400, &json!("bad_request")));
    }
    for instance in [one, two, fresh] {
        instance.stop().await;
    }
}

/// The status of an answer, and what it says.
async fn told(instance: &Instance, method: Method, path: &str, body: Option<Value>) -> (u16, String) {
    let (status, problem) = operate(instance, method, path, body).await;
    assert!(status != 400 || problem["code"] == "bad_request", "{problem}");
    (status, problem["detail"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_slip_of_an_operator_s_finger_hits_nobody() {
    let world = World::create().await;
    let instance = world.start().await;
    let mut screen = world.watch(&instance, "u-1").await;
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    let far = "2999-01-01T00:00:00Z";
    let slips = [
        (&post, "/announcements", Some(json!({"content": "for u-9", "userId": "u-9"})), "user_id"),
        (&post, "/announcements", Some(json!({"content": "for u-9", "user": "u-9"})), "user_id"),
        (&post, "/announcements", Some(json!({"content": "for u-9", "user_id": null})), "user_id"),
        (&post, "/announcements?user_id=u-9", Some(json!({"content": "for u-9"})), "body"),
        (&post, "/announcements", Some(json!({"content": "for one", "jti": "t-9"})), "known"),
        (&post, "/announcements", Some(json!(["for all"])), "object"),
        (
            &post,
            "/revocations",
            Some(json!({"user_id": "u-1", "issuedbefore": "2020-01-01T00:00:00Z"})),
            "issued_before",
        ),
        (&post, "/revocations", Some(json!({"user_id": "u-1", "issued_before": null})), "issued_before"),
        (&post, "/revocations", Some(json!({"user_id": "u-1", "expires_at": far})), "issued_before"),
        (&post, "/revocations", Some(json!({"jti": "t-1", "issued_before": far})), "issued_before"),
        (&post, "/revocations", Some(json!({"jti": "t-1", "user_id": "u-1"})), "either"),
        (&post, "/revocations", Some(json!({"jti": "t-1", "expiresAt": far})), "expires_at"),
        (&post, "/revocations?jti=t-1", Some(json!({"user_id": "u-1"})), "body"),
        (&delete, "/sessions?userId=u-1", None, "user_id"),
        (&delete, "/sessions?user_id=u-1&sessionId=s-1", None, "session_id"),
        (&delete, "/sessions?user_id=u-1&user_id=u-2", None, "twice"),
        (&delete, "/sessions?user_id=u-1", Some(json!({"session_id": "s-1"})), "query"),
        (&delete, "/sessions?session_id=", None, "session_id"),
        (&delete, "/revocations?userId=u-1", None, "user_id"),
        (&delete, "/revocations?user_id=u-1&issued_before=0", None, "known"),
        (&delete, "/revocations?user_id=u-1", Some(json!({"jti": "t-1"})), "body"),
        (&get, "/sessions?userId=u-9", None, "user_id"),
        (&get, "/sessions?limit=1", None, "known"),
        (&get, "/sessions", Some(json!({"user_id": "u-9"})), "query"),
        (&get, "/revocations?user_id=u-9", None, "nothing"),
    ];
    for (method, path, body, word) in slips {
        let (status, detail) = told(&instance, method.clone(), path, body.clone()).await;
        assert!(status == 400 && detail.contains(word), "{method} {path} {body:?}: {status} {detail}");
    }
    let twice = reqwest::Client::new()
        .post(format!("http://{}/announcements", instance.operations))
        .header("content-type", "application/json; charset=utf-8")
        .body(r#"{"content":"x","user_id":"u-9","user_id":"u-1"}"#);
    assert_eq!(twice.send().await.unwrap().status(), 400);
    still_open(&mut screen).await;
    assert_eq!(announcements(&screen), [""; 0]);
    for kind in ["revocation", "kick", "announcement", "unreadable"] {
        assert_eq!(instance.metric(&format!("ordercast_control_records_total{{kind={kind:?}}}")).await, 0.0, "{kind}");
    }
    // A body is as good as a query to lift a revocation, and a number is as good an id as in a token.
    self::post(&instance, "/revocations", json!({"user_id": 7})).await;
    knows(&instance, 1).await;
    assert_eq!(operate(&instance, Method::DELETE, "/revocations", Some(json!({"user_id": "7"}))).await.0, 202);
    knows(&instance, 0).await;
    instance.stop().await;
}

#[tokio::test]
async fn with_an_operations_token_only_who_shows_it_is_an_operator_and_health_stays_open() {
    let mut world = World::create().await;
    world.set("operations.token", "the word of the day");
    let instance = world.start().await;
    for (method, path) in [
        (Method::GET, "/sessions"),
        (Method::DELETE, "/sessions?user_id=u-1"),
        (Method::GET, "/revocations"),
        (Method::DELETE, "/revocations?jti=t-1"),
    ] {
        for (token, status) in [(None, 401), (Some("another word"), 401)] {
            let (got, problem) = operate_as(token, &instance, method.clone(), path, None).await;
            assert_eq!(got, status, "{method} {path} {problem}");
        }
        let (got, _) = operate_as(Some("the word of the day"), &instance, method.clone(), path, None).await;
        assert!((200..300).contains(&got), "{method} {path} {got}");
    }
    for path in ["/revocations", "/announcements"] {
        assert_eq!(operate(&instance, Method::POST, path, Some(json!({"content": "x", "jti": "x"}))).await.0, 401);
    }
    assert_eq!(instance.health().await.0, 200);
    instance.metric("ordercast_revocations").await;
    instance.stop().await;
}

#[tokio::test]
async fn without_an_operations_token_a_listener_that_others_reach_has_no_such_endpoints() {
    let mut world = World::create().await;
    world.set("operations.listen", "0.0.0.0:0");
    let instance = world.start().await;
    assert_eq!(operate(&instance, Method::GET, "/sessions", None).await.0, 404);
    assert_eq!(operate(&instance, Method::POST, "/announcements", Some(json!({"content": "x"}))).await.0, 404);
    assert_eq!(instance.health().await.0, 200);
    instance.stop().await;
}

#[tokio::test]
async fn an_instance_is_not_ready_while_its_control_topic_would_forget_revocations() {
    let mut world = World::create().await;
    world.set("kafka.control_topic", world.topic.name().to_owned().as_str());
    let settings = ordercast::config::Sources { environment: world.settings.clone(), ..Default::default() };
    assert!(ordercast::config::load(&settings, &[]).is_err(), "the source topic cannot be the control topic");
    world.set("kafka.control_topic", &format!("{}.dlt", world.topic.name()));
    world.set("kafka.dead_letter_topic", &format!("{}.elsewhere", world.topic.name()));
    let instance = world.launch().await;
    eventually("the fanout has caught up", async || {
        instance.health().await.1["stale"].as_array().is_some_and(Vec::is_empty)
    })
    .await;
    assert_eq!(instance.health().await.0, 503);
    instance.stop().await;
}

#[tokio::test]
async fn after_a_refresh_the_new_token_is_the_one_that_can_be_revoked() {
    let world = World::create().await;
    let instance = world.start().await;
    let mut screen = Screen::open(instance.address, &world.token_named("u-1", "t-1")).await;
    let refresh = async |screen: &mut Screen, token_id: &str, answer: &str| {
        screen.send(json!({"type": "refresh", "token": world.token_named("u-1", token_id)})).await;
        screen.until(answer, |screen| screen.frames.last().is_some_and(|frame| frame["type"] == answer)).await;
    };
    refresh(&mut screen, "t-2", "token_refreshed").await;
    for (revocations, token_id) in [(1, "t-1"), (2, "t-3")] {
        post(&instance, "/revocations", json!({"jti": token_id})).await;
        knows(&instance, revocations).await;
    }
    still_open(&mut screen).await;
    refresh(&mut screen, "t-3", "error").await;
    assert_eq!(screen.frames.last().unwrap()["code"], "invalid_token");
    post(&instance, "/revocations", json!({"jti": "t-2"})).await;
    assert_eq!(screen.close_code().await, Some(4503));
    instance.stop().await;
}

pub async fn ticket(instance: &Instance, token: &str) -> (u16, Value) {
    let url = format!("http://{}/tickets", instance.address);
    let answer = reqwest::Client::new().post(url).bearer_auth(token).send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

#[tokio::test]
async fn a_ticket_opens_one_session_on_any_instance_as_its_token_would() {
    let mut world = World::create().await;
    world.set("session.max_per_user", "2");
    let (one, two) = tokio::join!(world.start(), world.start());
    world.publish(json!({"order_id": "A-1", "user_id": "u-1", "status": "created", "version": 1})).await;
    let token = world.token_named("u-1", "t-1");
    let (status, issued) = ticket(&one, &token).await;
    let shown = issued["ticket"].as_str().unwrap().to_owned();
    assert!(status == 201 && shown.starts_with("oct_") && issued["expires_at"].is_string(), "{issued}");
    // Many show it at once, on both instances: one gets in.
    let query = format!("token={shown}");
    let tries = (0..6).map(|index| Screen::connect([&one, &two][index % 2].address, &query));
    let (opened, refused): (Vec<_>, Vec<_>) = join_all(tries).await.into_iter().partition(Result::is_ok);
    assert_eq!(opened.len(), 1);
    for error in refused.into_iter().filter_map(Result::err) {
        let Error::Http(answer) = error else { panic!("{error}") };
        assert!([401, 429].contains(&answer.status().as_u16()), "{answer:?}");
    }
    let mut screen = opened.into_iter().next().unwrap().unwrap();
    screen.expect_status("A-1", "created").await;

    // Who is one too many may show it again.
    let (_, issued) = ticket(&two, &world.token("u-2")).await;
    let shown = issued["ticket"].as_str().unwrap().to_owned();
    let (first, second) = (world.watch(&one, "u-2").await, world.watch(&one, "u-2").await);
    let Err(Error::Http(answer)) = Screen::connect(one.address, &format!("token={shown}")).await else {
        panic!("one session too many")
    };
    assert_eq!(answer.status(), 429);
    drop((first, second));
    eventually("it opens once there is room", async || {
        Screen::connect(one.address, &format!("token={shown}")).await.is_ok()
    })
    .await;

    // Revoking the token takes back its tickets, and a ticket is changed for no other.
    let (_, issued) = ticket(&one, &token).await;
    let shown = issued["ticket"].as_str().unwrap().to_owned();
    assert_eq!(ticket(&one, &shown).await.0, 401);
    post(&one, "/revocations", json!({"jti": "t-1"})).await;
    knows(&two, 1).await;
    assert!(refused_by(&two, &shown).await);
    assert_eq!(ticket(&two, &token).await.0, 401);
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_ticket_ends_no_later_than_its_token_and_is_not_to_be_had_for_one_that_has_ended() {
    let mut world = World::create().await;
    world.set("auth.leeway", "30s");
    let instance = world.start().await;
    let user = |seconds: i64| world.token_until("u-1", seconds);
    let (status, problem) = ticket(&instance, &user(-10)).await;
    assert_eq!((status, &problem["code"]), (401, &json!("expired_token")));
    // The same token still opens a session, which then hears that its time is over.
    assert_eq!(refused_status(&instance, &user(-10)).await, None);
    let ends_by = Timestamp::now().as_millis() + 20_000;
    let (status, issued) = ticket(&instance, &user(20)).await;
    let ends = Timestamp::parse_rfc3339(issued["expires_at"].as_str().unwrap()).unwrap();
    assert!(status == 201 && ends.as_millis() <= ends_by + 1_000, "{issued}");
    assert_eq!(refused_status(&instance, issued["ticket"].as_str().unwrap()).await, None);
    instance.stop().await;
}

#[tokio::test]
async fn who_loses_the_race_for_a_ticket_replaces_nobody() {
    let mut world = World::create().await;
    world.set("session.max_per_user", "1");
    world.set("session.per_user_policy", "close_oldest");
    let (one, two) = tokio::join!(world.start(), world.start());
    for round in 0..5 {
        let user = format!("u-{round}");
        let (_, issued) = ticket(&one, &world.token(&user)).await;
        let query = format!("token={}", issued["ticket"].as_str().unwrap());
        let tries = (0..8).map(|index| Screen::connect([&one, &two][index % 2].address, &query));
        let mut opened: Vec<Screen> = join_all(tries).await.into_iter().filter_map(Result::ok).collect();
        assert_eq!(opened.len(), 1);
        still_open(&mut opened[0]).await;
        assert!(opened[0].frames.iter().all(|frame| frame["type"] != "closing"), "{:?}", opened[0].frames);
        let mut listed = 0;
        for instance in [&one, &two] {
            let (_, answer) = operate(instance, Method::GET, &format!("/sessions?user_id={user}"), None).await;
            listed += answer["sessions"].as_array().unwrap().len();
        }
        assert_eq!(listed, 1);
    }
    // With a token there is no race to lose: the newest stays on each instance.
    let mut older = world.watch(&one, "u-9").await;
    let mut newer = world.watch(&one, "u-9").await;
    assert_eq!(older.close_code().await, Some(4504));
    still_open(&mut newer).await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn without_the_database_tickets_are_refused_as_unavailable_and_stay_good() {
    let database = Database::create().await;
    let proxy = Proxy::start(database.port()).await;
    let mut world = World::on(&shared_broker(), database).await;
    world.set("database.url", &world.database.url_by_port(proxy.port()));
    world.set("http.allowed_origins", "https://shop.example");
    let instance = world.start().await;
    let token = world.token("u-1");
    let shown = ticket(&instance, &token).await.1["ticket"].as_str().unwrap().to_owned();
    proxy.cut().await;
    let url = format!("http://{}/tickets", instance.address);
    let answer = reqwest::Client::new().post(url).bearer_auth(&token).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (503, &"2".parse().unwrap()));
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "database_unavailable");
    let Err(Error::Http(answer)) = Screen::connect(instance.address, &format!("token={shown}")).await else {
        panic!("a ticket that nobody could look up opened a session")
    };
    assert_eq!(answer.status(), 503);
    let problem: Value = serde_json::from_slice(answer.body().as_ref().unwrap()).unwrap();
    assert_eq!(problem["code"], "database_unavailable");
    let (status, problem) = instance.get("/orders", &shown).await;
    assert_eq!((status, &problem["code"]), (503, &json!("database_unavailable")));
    let refused = r#"ordercast_handshakes_refused_total{code="database_unavailable"}"#;
    assert_eq!(instance.metric(refused).await, 3.0);
    // A token needs no database to be let in.
    assert_eq!(refused_status(&instance, &token).await, None);
    proxy.heal().await;
    // Where that took longer than the ticket is good, another one is.
    eventually("tickets are to be had again", async || {
        let (status, issued) = ticket(&instance, &token).await;
        status == 201 && refused_status(&instance, issued["ticket"].as_str().unwrap()).await.is_none()
    })
    .await;
    instance.stop().await;
}

/// The status of a handshake that was refused.
async fn refused_status(instance: &Instance, shown: &str) -> Option<u16> {
    match Screen::connect(instance.address, &format!("token={shown}")).await {
        Ok(_) => None,
        Err(Error::Http(answer)) => Some(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

/// How long what operators ask for may take to be seen on every instance: five times what is promised.
const REACH: Duration = Duration::from_secs(5);

#[tokio::test]
async fn what_operators_ask_for_is_seen_on_every_instance_soon() {
    let world = World::create().await;
    let (one, two) = tokio::join!(world.start(), world.start());
    let mut took = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..8 {
        let user = format!("u-{round}");
        let mut here = world.watch(&one, &user).await;
        let mut there = world.watch(&two, &user).await;
        let begun = Instant::now();
        post(&one, "/announcements", json!({"content": "now", "user_id": user})).await;
        here.until("the announcement", |screen| !announcements(screen).is_empty()).await;
        there.until("the announcement", |screen| !announcements(screen).is_empty()).await;
        took[0].push(begun.elapsed());
        let begun = Instant::now();
        assert_eq!(operate(&one, Method::DELETE, &format!("/sessions?user_id={user}"), None).await.0, 202);
        assert_eq!((here.close_code().await, there.close_code().await), (Some(4011), Some(4011)));
        took[1].push(begun.elapsed());
        let mut here = Screen::open(one.address, &world.token_named(&user, &user)).await;
        let mut there = Screen::open(two.address, &world.token_named(&user, &user)).await;
        let begun = Instant::now();
        post(&one, "/revocations", json!({"jti": user})).await;
        assert_eq!((here.close_code().await, there.close_code().await), (Some(4503), Some(4503)));
        took[2].push(begun.elapsed());
    }
    took.iter_mut().for_each(|took| took.sort_unstable());
    eprintln!("announcements, kicks and revocations reached two instances after {took:?}");
    // One pause of a busy machine is nobody's fault.
    assert!(took.iter().all(|took| took[took.len() / 2] < REACH), "{took:?}");
    one.stop().await;
    two.stop().await;
}

async fn refused_by(instance: &Instance, ticket: &str) -> bool {
    matches!(Screen::connect(instance.address, &format!("token={ticket}")).await,
        Err(Error::Http(answer)) if answer.status() == 401)
}

#[tokio::test]
async fn a_trace_follows_an_order_from_the_log_to_the_screens() {
    let world = World::create().await;
    let instance = world.start().await;
    let mut screen = world.watch(&instance, "u-1").await;
    for (version, status) in [(1, "created"), (2, "paid")] {
        world.publish(json!({"order_id": "A/1", "user_id": "u-1", "status": status, "version": version})).await;
    }
    let bad = world.topic.produce(crate::parts::topic::Record::new("A/1", "{".to_owned())).await;
    screen.expect_status("A/1", "paid").await;
    let trace = async || operate(&instance, Method::GET, "/orders/A%2F1/trace", None).await.1;
    eventually("SQL holds it all", async || {
        let trace = trace().await;
        trace["steps"].as_array().is_some_and(|steps| steps.len() == 2)
            && trace["dead_letters"][0]["code"] == "not_json"
    })
    .await;
    let trace = trace().await;
    assert_eq!((&trace["stored"], &trace["status"], &trace["version"]), (&json!("order"), &json!("paid"), &json!(2)));
    assert_eq!(trace["steps"][0]["status"], "created");
    assert_eq!((&trace["partition"], &trace["dead_letters"][0]["partition"]), (&json!(bad.0), &json!(bad.0)));
    assert_eq!(trace["dead_letters"][0]["offset"], json!(bad.1));
    assert_eq!(trace["sessions"][0]["session_id"], screen.frames[0]["session_id"]);
    assert_eq!(trace["sessions"][0]["version"], 2);
    let (status, unknown) = operate(&instance, Method::GET, "/orders/nothing/trace", None).await;
    assert_eq!((status, &unknown["stored"], &unknown["sessions"]), (200, &json!("unknown"), &json!([])));
    instance.stop().await;
}

/// Lets nobody write to the tickets for as long as it is there.
struct Locked(PgConnection);

impl Locked {
    async fn in_database(world: &World) -> Self {
        let mut connection = PgConnection::connect(&world.database.url()).await.unwrap();
        connection.execute("begin; select 1 from tickets for update").await.unwrap();
        Self(connection)
    }

    /// Waits until somebody waits for it.
    async fn until_somebody_waits(&mut self) {
        let waiting = "select count(*) from pg_stat_activity
                       where datname = current_database() and wait_event_type = 'Lock'";
        for _ in 0..1_000 {
            // Within a transaction PostgreSQL goes on telling what it told first.
            self.0.execute("select pg_stat_clear_snapshot()").await.unwrap();
            if sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut self.0).await.unwrap() > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("nobody waits");
    }
}

#[tokio::test]
async fn a_ticket_stays_good_for_who_was_told_that_the_database_was_too_slow() {
    let world = World::create().await;
    let instance = world.start().await;
    let token = world.token("u-1");
    let shown = ticket(&instance, &token).await.1["ticket"].as_str().unwrap().to_owned();
    let for_orders = ticket(&instance, &token).await.1["ticket"].as_str().unwrap().to_owned();
    let mut lock = Locked::in_database(&world).await;
    let (handshake, (orders, problem)) =
        tokio::join!(refused_status(&instance, &shown), instance.get("/orders", &for_orders));
    assert_eq!((handshake, orders, &problem["code"]), (Some(503), 503, &json!("database_unavailable")));
    lock.0.execute("rollback").await.unwrap();
    assert_eq!(refused_status(&instance, &shown).await, None, "it was told to come again");
    assert!(refused_by(&instance, &shown).await, "and is good once");
    assert_eq!(instance.get("/orders", &for_orders).await.0, 200);
    assert_eq!(instance.get("/orders", &for_orders).await.0, 401);
    instance.stop().await;
}

#[tokio::test]
async fn a_token_that_is_revoked_while_its_ticket_is_used_opens_nothing() {
    let world = World::create().await;
    let instance = world.start().await;
    let token = world.token_named("u-1", "t-1");
    let shown = ticket(&instance, &token).await.1["ticket"].as_str().unwrap().to_owned();
    let mut lock = Locked::in_database(&world).await;
    let revoked = async {
        lock.until_somebody_waits().await;
        post(&instance, "/revocations", json!({"jti": "t-1"})).await;
        knows(&instance, 1).await;
        lock.0.execute("rollback").await.unwrap();
    };
    let (handshake, ()) = tokio::join!(refused_status(&instance, &shown), revoked);
    assert_eq!(handshake, Some(401), "it has joined, and is looked at again");
    instance.stop().await;
}

#[tokio::test]
async fn a_ticket_whose_use_nobody_heard_of_is_good_again() {
    let world = World::create().await;
    let instance = world.start().await;
    let shown = ticket(&instance, &world.token("u-1")).await.1["ticket"].as_str().unwrap().to_owned();
    let mut lock = Locked::in_database(&world).await;
    let query = format!("token={shown}");
    {
        let mut hasty = std::pin::pin!(Screen::connect(instance.address, &query));
        tokio::select! {
            _ = &mut hasty => panic!("the tickets are locked"),
            () = lock.until_somebody_waits() => {}
        }
    }
    eventually("its request is over", async || {
        let (_, listed) = operate(&instance, Method::GET, "/sessions?user_id=u-1", None).await;
        listed["sessions"] == json!([])
    })
    .await;
    lock.0.execute("rollback").await.unwrap();
    eventually("the ticket opens a session", async || Screen::connect(instance.address, &query).await.is_ok()).await;
    assert!(refused_by(&instance, &shown).await);
    instance.stop().await;
}

#[tokio::test]
async fn a_ticket_is_used_up_for_orders_that_are_shown_and_for_no_refusal() {
    let world = World::create().await;
    let instance = world.start().await;
    world.publish(json!({"order_id": "A-1", "user_id": "u-1", "status": "created", "version": 1})).await;
    eventually("it is stored", async || world.database.number("select count(*) from orders").await == Some(1)).await;
    let shown = ticket(&instance, &world.token("u-1")).await.1["ticket"].as_str().unwrap().to_owned();
    for (path, status) in
        [("/orders/B-1", 404), ("/orders?after=nowhere", 400), ("/orders/A-1", 200), ("/orders/A-1", 401)]
    {
        assert_eq!(instance.get(path, &shown).await.0, status, "{path}");
    }
    instance.stop().await;
}
