//! Brokers that are away, or are none: one line when it begins, one when it is over, from all clients together.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use ordercast::store::{PoolLimits, connect};
use tempfile::TempDir;

use crate::{
    cli::{answer, ordercast},
    parts::{free_port, kafka::Broker, postgres::shared_postgres, topic::Topic},
    world::{PATIENCE, Service},
};

async fn settings(brokers: &str, directory: &TempDir) -> HashMap<String, String> {
    let database = format!("sqlite:{}", directory.path().join("orders.db").display());
    let limits = PoolLimits { max_connections: 1, acquire_timeout: PATIENCE, transaction_timeout: PATIENCE };
    connect(&database, limits).unwrap().migrate().await.unwrap();
    [
        ("KAFKA__BROKERS", brokers),
        ("DATABASE__URL", &database),
        ("AUTH__SECRET", "the secret of the tests, long enough"),
        ("HTTP__LISTEN", "127.0.0.1:0"),
        ("OPERATIONS__LISTEN", "127.0.0.1:0"),
        ("SHUTDOWN__SPREAD", "100ms"),
    ]
    .map(|(name, value)| (format!("ORDERCAST__{name}"), value.to_owned()))
    .into()
}

/// All that the log says of Kafka's clients to somebody who does not look closer.
fn complaints(service: &Service) -> Vec<String> {
    let lines = service.output();
    let is_complaint = |line: &&str| line.contains("\"WARN\"") || line.contains("\"ERROR\"");
    // What screens are told is said, too, and is about them.
    lines.lines().filter(is_complaint).filter(|line| !line.contains("may be out of date")).map(str::to_owned).collect()
}

#[tokio::test]
async fn brokers_that_are_away_are_told_once_for_all_clients_and_so_is_their_return() {
    let directory = TempDir::new().unwrap();
    let mut broker = Broker::start().await;
    let topic = Topic::create(&broker.bootstrap(), 1).await;
    let control = format!("{}.control", topic.name());
    Topic::create_named(&broker.bootstrap(), &control, 1, &[("cleanup.policy", "compact")]).await;
    let mut settings = settings(&broker.bootstrap(), &directory).await;
    settings.insert("ORDERCAST__KAFKA__TOPIC".into(), topic.name().to_owned());
    let service = Service::launch(&settings).await;
    service.wait_until_ready().await;
    broker.kill().await;
    // It is told why as well, and that depends on what was under way: a greeting may break off.
    let told = format!("no broker of kafka.brokers ({}) answers: ", broker.bootstrap());
    service.says(&["WARN", &told, "still trying"]).await;
    broker.restart().await;
    service.says(&["INFO", "the brokers answer again"]).await;
    assert_eq!(complaints(&service).len(), 1, "{:#?}", complaints(&service));
    assert_eq!(service.lines(&["the brokers answer again"]).len(), 1);
}

/// Something that is no Kafka, at this address from now on: it reads what comes, and answers so.
fn impostor(says: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let _ = socket.read(&mut [0; 1024]);
            let _ = socket.write_all(says);
        }
    });
    address
}

#[tokio::test]
async fn what_is_no_kafka_is_told_for_what_it_is() {
    let postgres: url::Url = shared_postgres().parse().unwrap();
    let postgres = format!("127.0.0.1:{}", postgres.port().unwrap());
    for (brokers, told) in [
        (postgres, "ERROR\",\"message\":\"no broker of kafka.brokers ({}) answers: what answers there is PostgreSQL"),
        (impostor(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "({}) answers: what answers there is an HTTP server"),
        (impostor(b"SSH-2.0-OpenSSH_9.2p1\r\n"), "({}) answers: what answers there is not Kafka"),
        (
            impostor(b"\x15\x03\x03\x00\x02\x02\x46"),
            "({}) answers: closes the connection at once: it is no Kafka, or wants TLS",
        ),
        (impostor(b""), "({}) answers: closes the connection at once"),
        (format!("127.0.0.1:{}", free_port()), "WARN\",\"message\":\"no broker of kafka.brokers ({}) answers: conn"),
        ("nobody.invalid:9092".to_owned(), "({}) answers: its name cannot be resolved"),
    ] {
        let directory = TempDir::new().unwrap();
        let service = Service::launch(&settings(&brokers, &directory).await).await;
        service.says(&[&told.replace("{}", &brokers)]).await;
        assert_eq!(complaints(&service).len(), 1, "{:#?}", complaints(&service));
    }
}

#[tokio::test]
async fn commands_name_the_brokers_that_do_not_answer_and_the_cause() {
    let directory = TempDir::new().unwrap();
    let brokers = format!("127.0.0.1:{}", free_port());
    let settings = settings(&brokers, &directory).await;
    let given: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for arguments in [
        &["migrate"][..],
        &["publish", "--order", "A-1", "--user", "u-1", "--status", "paid"],
        &["dead-letters", "list"],
    ] {
        let failed = answer(ordercast(directory.path(), arguments, &given));
        assert_eq!(failed.code, Some(1), "{arguments:?}: {}", failed.stderr);
        let told = format!("no broker of kafka.brokers ({brokers}) answers: connection refused");
        assert!(failed.stderr.contains(&told), "{arguments:?}: {}", failed.stderr);
        assert_eq!(failed.stderr.lines().count(), 1, "{arguments:?}: {}", failed.stderr);
    }
}
