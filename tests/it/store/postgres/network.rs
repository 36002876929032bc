//! A database that is away, silent or refuses to be written.

use std::{net::SocketAddr, time::Duration};

use ordercast::store::{InvalidUrl, PoolLimits, StoreError, connect};
use sqlx::{Connection, Executor, PgConnection};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

use crate::store::{
    databases::{Database, LIMITS, somebody_waits},
    drafts::{batch, by_name, part, set},
};

const IMPATIENT: PoolLimits = PoolLimits {
    max_connections: 2,
    acquire_timeout: Duration::from_millis(500),
    transaction_timeout: Duration::from_millis(500),
};

/// Passes bytes on. Silenced, it holds those of all its connections so far for ever, and neither side hangs up.
struct Proxy {
    address: SocketAddr,
    silenced: watch::Sender<u32>,
}

impl Proxy {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (silenced, silences) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = TcpStream::connect(&server).await.unwrap().into_split();
                tokio::spawn(Self::pass(from_client, to_server, silences.clone()));
                tokio::spawn(Self::pass(from_server, to_client, silences.clone()));
            }
        });
        Self { address, silenced }
    }

    async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut silences: watch::Receiver<u32>) {
        let born = *silences.borrow();
        let mut bytes = vec![0; 65536];
        while let Ok(length @ 1..) = from.read(&mut bytes).await {
            if silences.wait_for(|count| *count == born).await.is_err() || to.write_all(&bytes[..length]).await.is_err()
            {
                return;
            }
        }
    }

    fn silence(&self) {
        self.silenced.send_modify(|count| *count += 1);
    }
}

/// The database's url by way of a proxy.
async fn through_proxy(database: &Database) -> (String, Proxy) {
    let mut url: url::Url = database.url.parse().unwrap();
    let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
    let proxy = Proxy::to(server).await;
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(proxy.address.port())).unwrap();
    (url.into(), proxy)
}

#[tokio::test]
async fn a_database_that_is_away_is_no_error_until_it_is_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let store = connect(&format!("postgres://u:secret@127.0.0.1:{port}/d"), IMPATIENT).unwrap();
    let error = store.check_schema().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(error.is_retryable());
    assert!(!format!("{error} {error:?}").contains("secret"));
}

#[test]
fn a_bad_url_is_refused_without_repeating_it() {
    let refused = |url: &str| connect(url, IMPATIENT).map(|_| ()).unwrap_err();
    assert_eq!(refused("mysql://root:secret@h/d"), InvalidUrl::Scheme);
    assert_eq!(refused(""), InvalidUrl::Scheme);
    assert_eq!(refused("sqlite::memory:"), InvalidUrl::InMemory);
    for url in ["postgres://u:secret@h:notaport/d", "postgres://u:secret@h/d?sslmode=secret"] {
        let error = refused(url);
        assert!(matches!(error, InvalidUrl::Malformed), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}

#[tokio::test]
async fn a_silent_database_is_unavailable_in_time_and_keeps_no_place_in_the_pool() {
    let database = Database::postgres().await;
    database.open(1).await;
    let (url, proxy) = through_proxy(&database).await;
    let store = connect(&url, IMPATIENT).unwrap();
    let mut observer = PgConnection::connect(&database.url).await.unwrap();
    let mut held = PgConnection::connect(&database.url).await.unwrap();
    held.execute("begin; update progress set next_offset = 0").await.unwrap();
    // As many calls in the middle of a transaction as the pool has places.
    let calls: Vec<_> = (0..IMPATIENT.max_connections)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.apply(&batch([part(0, 0, [set("A-1", 1, "created")])])).await })
        })
        .collect();
    somebody_waits(&mut observer, i64::from(IMPATIENT.max_connections)).await;
    proxy.silence();
    for call in calls {
        let silent = call.await.unwrap();
        assert!(matches!(silent, Err(StoreError::Unavailable(_))), "{silent:?}");
    }
    held.execute("rollback").await.unwrap();
    // None of the silent connections, which stay silent, still has its place.
    by_name(&store, &["A-1"]).await;
    database.drop().await;
}

/// The recorder's machine vanishes in the middle of a batch: PostgreSQL frees its rows without being told.
#[tokio::test]
async fn locks_of_a_vanished_recorder_are_freed() {
    let database = Database::postgres().await;
    database.open(1).await;
    let (url, proxy) = through_proxy(&database).await;
    let store = connect(&url, PoolLimits { transaction_timeout: Duration::from_secs(2), ..IMPATIENT }).unwrap();
    let mut observer = PgConnection::connect(&database.url).await.unwrap();
    let mut held = PgConnection::connect(&database.url).await.unwrap();
    held.execute(
        "begin; insert into orders (order_id, user_id, viewers, status, terminal, version_number, epoch,
                                    partition, log_offset, occurred_at, timeline)
                values ('A-1', '', '', '', true, 0, 0, 0, 0, 0, '')",
    )
    .await
    .unwrap();
    // It has the lock of progress, and waits for an order.
    let vanished = tokio::spawn(async move { store.apply(&batch([part(0, 0, [set("A-1", 1, "created")])])).await });
    somebody_waits(&mut observer, 1).await;
    proxy.silence();
    held.execute("rollback").await.unwrap();
    // Without the server's own timeout this would wait until the connection breaks, which it does not.
    database.store.apply(&batch([part(0, 0, [set("A-1", 1, "created")])])).await.unwrap();
    let outcome = vanished.await.unwrap();
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    database.drop().await;
}

#[tokio::test]
async fn a_standby_is_an_unavailable_database_whose_connection_is_given_up() {
    let database = Database::postgres().await;
    database.open(1).await;
    let store = connect(&database.url, PoolLimits { max_connections: 1, ..LIMITS }).unwrap();
    let name = database.url.rsplit('/').next().unwrap();
    database.sql(&format!("alter database {name} set default_transaction_read_only = on")).await;
    let first = batch([part(0, 0, [set("A-1", 1, "created")])]);
    let refused = store.apply(&first).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    database
        .sql(&format!(
            "begin; set transaction read write; alter database {name} set default_transaction_read_only = off; commit"
        ))
        .await;
    store.apply(&first).await.unwrap();
    database.drop().await;
}

#[tokio::test]
async fn a_caller_that_no_longer_waits_leaves_nothing_behind() {
    let database = Database::postgres().await;
    database.open(1).await;
    let store = connect(&database.url, PoolLimits { max_connections: 1, ..LIMITS }).unwrap();
    let first = batch([part(0, 0, (0..300).map(|n| set(&format!("A-{n}"), 1, "created")))]);
    // Dropped at each of its awaits, as far as it gets.
    for polls in 0..200 {
        let mut call = Box::pin(store.apply(&first));
        let outcome = tokio::select! {
            biased;
            outcome = &mut call => Some(outcome),
            () = async { for _ in 0..polls { tokio::task::yield_now().await } } => None,
        };
        drop(call);
        match outcome {
            None => {}
            Some(Ok(_)) => break,
            Some(Err(StoreError::LostPartition { .. })) => break, // The commit before was under way when it was dropped.
            Some(Err(error)) => panic!("{error}"),
        }
    }
    let _ = store.apply(&first).await;
    let again = store.apply(&first).await;
    assert!(matches!(again, Err(StoreError::LostPartition { .. })), "{again:?}");
    assert_eq!(database.count("orders").await, 300);
    database.drop().await;
}
