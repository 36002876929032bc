//! The parts themselves: what the other tests rely on them to do, they do.

use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::parts::browser;
use crate::parts::kafka::{Broker, Cluster, shared_broker};
use crate::parts::postgres::{Database, Postgres};
use crate::parts::proxy::Proxy;
use crate::parts::topic::{Record, Topic};

#[tokio::test]
async fn records_are_read_as_they_were_written() {
    let topic = Topic::create(&shared_broker(), 2).await;
    let record =
        Record::new("A-1", r#"{"status":"placed"}"#).partition(1).timestamp(1_700_000_000_000).header("id", "e-1");
    assert_eq!(topic.produce(record).await, (1, 0));
    assert_eq!(topic.produce(Record::tombstone("A-1").partition(1)).await, (1, 1));
    assert_eq!(topic.produce(Record::keyless("x").partition(1)).await, (1, 2));

    let written = topic.read(3).await;
    assert_eq!((written[0].partition, written[0].offset, written[0].timestamp), (1, 0, Some(1_700_000_000_000)));
    assert_eq!(written[0].value.as_deref(), Some(&br#"{"status":"placed"}"#[..]));
    assert_eq!(written[0].headers, [(b"id".to_vec(), Some(b"e-1".to_vec()))]);
    assert_eq!((written[1].key.as_deref(), &written[1].value), (Some(&b"A-1"[..]), &None));
    assert_eq!(written[2].key, None);
}

#[tokio::test]
async fn many_records_keep_their_order() {
    let topic = Topic::create(&shared_broker(), 1).await;
    let records: Vec<_> = (0..1_000).map(|n| Record::new("A-1", n.to_string())).collect();
    let offsets: Vec<_> = topic.produce_all(&records).await.into_iter().map(|(_, offset)| offset).collect();
    assert_eq!(offsets, (0..1_000).collect::<Vec<_>>());
    assert_eq!(topic.read(1_000).await[999].value.as_deref(), Some(&b"999"[..]));
}

#[tokio::test]
async fn aborted_records_are_in_the_log_and_are_not_read() {
    let topic = Topic::create(&shared_broker(), 1).await;
    topic.abort(&[Record::new("A-1", "aborted")]).await;
    topic.commit(&[Record::new("A-1", "committed")]).await;
    assert_eq!(topic.read(1).await[0].offset, 2);
    assert_eq!(topic.watermarks(0).await, (0, 4));

    let _open = topic.begin(&[Record::new("A-1", "open")]).await;
    assert_eq!(topic.watermarks(0).await, (0, 5));
}

#[tokio::test]
async fn a_topic_grows_expires_and_goes() {
    let name = format!("named-{}", ulid::Ulid::generate());
    let topic = Topic::create_named(&shared_broker(), &name, 1, &[("max.message.bytes", "100000")]).await;
    topic.produce_all(&[Record::keyless("a"), Record::keyless("b"), Record::keyless("c")]).await;
    topic.expire_below(0, 2).await;
    assert_eq!(topic.watermarks(0).await, (2, 3));
    topic.grow_to(2).await;
    let same = Topic::existing(&shared_broker(), topic.name());
    assert_eq!(same.produce(Record::keyless("d").partition(1)).await, (1, 0));
    topic.delete().await;
}

#[tokio::test]
async fn a_killed_broker_comes_back_with_its_records() {
    let mut broker = Broker::start().await;
    let topic = Topic::create(&broker.bootstrap(), 1).await;
    topic.produce(Record::new("A-1", "before")).await;
    broker.kill().await;
    broker.restart().await;
    topic.produce(Record::new("A-1", "after")).await;
    broker.stop().await;
    broker.restart().await;
    let values: Vec<_> = topic.read(2).await.into_iter().filter_map(|written| written.value).collect();
    assert_eq!(values, [b"before".to_vec(), b"after".to_vec()]);
}

#[tokio::test]
async fn clients_of_the_proxied_address_stay_behind_the_proxy() {
    let broker = Broker::start().await;
    let direct = Topic::create(&broker.bootstrap(), 1).await;
    let proxied = Topic::existing(&broker.proxied(), direct.name());
    proxied.produce(Record::keyless("seen by the proxy")).await;
    let bytes = broker.proxy().bytes();
    assert!(bytes > 0);

    broker.proxy().cut().await;
    direct.produce(Record::keyless("past the proxy")).await;
    assert_eq!(broker.proxy().bytes(), bytes);

    broker.proxy().heal().await;
    broker.pause();
    let waiting = tokio::spawn(async move { proxied.produce(Record::keyless("after the pause")).await });
    broker.resume();
    assert_eq!(waiting.await.expect("no panic"), (0, 2));
}

#[tokio::test]
async fn a_cluster_outlives_one_of_its_brokers() {
    let mut cluster = Cluster::start(3).await;
    let topic = Topic::create(&cluster.bootstrap(), 3).await;
    cluster.broker(0).kill().await;
    for partition in 0..3 {
        topic.produce(Record::keyless("still here").partition(partition)).await;
    }
    assert_eq!(topic.read(3).await.len(), 3);
}

#[tokio::test]
async fn each_database_is_its_own_and_goes_with_its_value() {
    let (one, other) = (Database::create().await, Database::create().await);
    execute(&one.url(), "create table orders (id int)").await.expect("an empty database");
    execute(&other.url(), "create table orders (id int)").await.expect("another empty database");
    let url = one.url();
    drop(one);
    let gone = execute(&url, "select 1").await.expect_err("the database is gone");
    assert_eq!(gone.as_database_error().and_then(|error| error.code()).as_deref(), Some("3D000"));
}

#[tokio::test]
async fn a_crashed_server_comes_back_with_what_was_committed() {
    let mut server = Postgres::start().await;
    let database = Database::create_on(&server.url()).await;
    execute(&database.url(), "create table orders (id int)").await.expect("a table");
    server.crash().await;
    execute(&database.url(), "select * from orders").await.expect_err("nobody listens");
    server.restart().await;
    execute(&database.url(), "select * from orders").await.expect("the table has outlived the crash");
    server.stop().await;
    server.restart().await;
    execute(&database.url(), "select * from orders").await.expect("and the stop");
}

#[tokio::test]
async fn a_paused_server_keeps_its_connections_and_answers_nothing() {
    let server = Postgres::start().await;
    let mut connection = PgConnection::connect(&server.url()).await.expect("a connection");
    server.pause();
    {
        let mut answer = std::pin::pin!(sqlx::raw_sql("select 1").execute(&mut connection));
        // No event tells that nothing comes; an answer within this time would fail the test.
        let silence = tokio::time::timeout(std::time::Duration::from_millis(200), &mut answer).await;
        assert!(silence.is_err());
        server.resume();
        answer.await.expect("the answer comes after all");
    }
    let proxy = Proxy::start(server.port()).await;
    let database = Database::create_on(&server.url()).await;
    assert_eq!(database.port(), server.port());
    execute(&database.url_by_port(proxy.port()), "select 1").await.expect("the way through a proxy");
    proxy.cut().await;
    execute(&database.url_by_port(proxy.port()), "select 1").await.expect_err("the way is cut");
}

#[tokio::test]
async fn a_proxy_can_be_cut_stalled_and_healed() {
    let proxy = Proxy::start(echo().await).await;
    let connect = || TcpStream::connect(("127.0.0.1", proxy.port()));
    let mut connection = connect().await.expect("it listens");
    exchange(&mut connection).await;
    assert_eq!((proxy.accepted(), proxy.open(), proxy.bytes()), (1, 1, 8));

    proxy.stall();
    connection.write_all(b"more").await.expect("the kernel takes it");
    let mut late = connect().await.expect("it still accepts");
    late.write_all(b"late").await.expect("the kernel takes it");
    let silence = tokio::time::timeout(std::time::Duration::from_millis(200), connection.read_u8()).await;
    assert!(silence.is_err() && proxy.bytes() == 8);
    proxy.heal().await;
    assert_eq!((read(&mut connection).await, read(&mut late).await), (*b"more", *b"late"));

    proxy.cut().await;
    let reset = connection.read_u8().await.expect_err("a reset");
    assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
    connect().await.expect_err("it refuses");
    assert_eq!(proxy.open(), 0);
    proxy.heal().await;
    exchange(&mut connect().await.expect("it listens again")).await;
}

#[tokio::test]
async fn chromium_opens_a_page() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}/", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        let page = "<h1>…</h1><script>document.querySelector('h1').textContent = 'shipped'</script>";
        let response = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{page}",
            page.len()
        );
        while let Ok((mut client, _)) = listener.accept().await {
            let _ = client.read(&mut [0; 4096]).await;
            let _ = client.write_all(response.as_bytes()).await;
        }
    });
    assert_eq!(browser::run("opens_a_page.mjs", &[&address]).await.trim(), "shipped");
}

async fn execute(url: &str, statement: &'static str) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(statement).execute(&mut connection).await.map(drop)
}

/// A server that sends back what it gets.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reads, mut writes) = client.split();
                tokio::io::copy(&mut reads, &mut writes).await
            });
        }
    });
    port
}

async fn exchange(connection: &mut TcpStream) {
    connection.write_all(b"ping").await.expect("an open connection");
    assert_eq!(read(connection).await, *b"ping");
}

async fn read(connection: &mut TcpStream) -> [u8; 4] {
    let mut bytes = [0; 4];
    connection.read_exact(&mut bytes).await.expect("an answer");
    bytes
}
