//! A database that does not let us in: which setting, which address, why, and whether waiting cures it.

use std::{collections::HashMap, io::Read, io::Write, net::TcpListener, thread};

use tempfile::TempDir;

use crate::{
    cli::{answer, ordercast},
    parts::{
        free_port,
        postgres::{Database, Postgres},
    },
    world::Service,
};

fn settings(url: &str) -> HashMap<String, String> {
    [
        ("KAFKA__BROKERS", "127.0.0.1:1"),
        ("DATABASE__URL", url),
        ("AUTH__SECRET", "the secret of the tests, long enough"),
        ("HTTP__LISTEN", "127.0.0.1:0"),
        ("OPERATIONS__LISTEN", "127.0.0.1:0"),
        ("SHUTDOWN__SPREAD", "100ms"),
    ]
    .map(|(name, value)| (format!("ORDERCAST__{name}"), value.to_owned()))
    .into()
}

/// Answers whatever comes as an HTTP server does.
fn http_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let _ = socket.read(&mut [0; 1024]);
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    port
}

#[tokio::test]
async fn a_database_that_does_not_let_us_in_is_told_with_its_address_and_the_cause() {
    let server = Postgres::start().await;
    let database = Database::create_on(&server.url()).await;
    for statement in ["create role locked login password 'right'", "create role guest login"] {
        database.run(statement).await;
    }
    server.lock("locked").await;
    let name = database.url().rsplit('/').next().unwrap().to_owned();
    let at = format!("127.0.0.1:{}", server.port());
    let (nobody, http) = (free_port(), http_server());
    for (url, place, cause, level) in [
        (
            format!("postgres://me:canary@127.0.0.1:{nobody}/shop"),
            format!("127.0.0.1:{nobody}/shop"),
            "connection refused",
            "WARN",
        ),
        (
            format!("postgres://postgres@{at}/nowhere"),
            format!("{at}/nowhere"),
            "create it, or correct the URL",
            "ERROR",
        ),
        (format!("postgres://locked:canary@{at}/{name}"), format!("{at}/{name}"), "correct the password", "ERROR"),
        (format!("postgres://nobody@{at}/{name}"), format!("{at}/{name}"), "correct the user", "ERROR"),
        (
            format!("postgres://postgres:canary@{at}/{name}?sslmode=require"),
            format!("{at}/{name}"),
            "TLS is not",
            "ERROR",
        ),
        (
            format!("postgres://me:canary@127.0.0.1:{http}/shop"),
            format!("127.0.0.1:{http}/shop"),
            "is not PostgreSQL",
            "ERROR",
        ),
        ("sqlite:/nowhere/orders.db".to_owned(), "/nowhere/orders.db".to_owned(), "its directory has to exist", "WARN"),
    ] {
        let settings = settings(&url);
        let service = Service::launch(&settings).await;
        let told = [level, "waiting for the database", "database.url", &format!("({place})"), cause];
        let line = service.says(&told).await;
        assert!(!service.output().contains("canary") && !line.contains("pool timed out"), "{line}");
        assert_eq!(service.lines(&["waiting for the database"]).len(), 1, "{}", service.output());
        let given: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let directory = TempDir::new().unwrap();
        let migrated = answer(ordercast(directory.path(), &["migrate"], &given));
        assert_eq!((migrated.code, migrated.stderr.lines().count()), (Some(1), 1), "{}", migrated.stderr);
        assert!(
            migrated.stderr.contains(&format!("({place})")) && migrated.stderr.contains(cause),
            "{}",
            migrated.stderr
        );
    }
}

#[tokio::test]
async fn a_right_that_the_database_does_not_give_is_an_error_of_its_own() {
    let server = Postgres::start().await;
    let database = Database::create_on(&server.url()).await;
    database.run("create role guest login").await;
    let name = database.url().rsplit('/').next().unwrap().to_owned();
    let place = format!("127.0.0.1:{}/{name}", server.port());
    let directory = TempDir::new().unwrap();
    let migrate = |user: &str| {
        let settings = settings(&format!("postgres://{user}@{place}"));
        let given: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        answer(ordercast(directory.path(), &["migrate"], &given)).stderr
    };
    let refused = migrate("guest");
    assert!(refused.contains(&place) && refused.contains("permission denied for schema public"), "{refused}");
    migrate("postgres");
    let service = Service::launch(&settings(&format!("postgres://guest@{place}"))).await;
    let told = ["ERROR", "waiting for the database", "database.url", &place, "permission denied", "grant that right"];
    service.says(&told).await;
}
