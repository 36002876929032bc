//! Exactly the rights that `docs/operations.md` names, and with each of them taken away.

use std::collections::HashMap;

use ordercast::store::{PoolLimits, connect};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    cli::{Answer, answer, ordercast},
    parts::{
        kafka::Broker,
        rights::{On, Operation, Right, grant},
        topic::{Record, Topic},
    },
    world::{PATIENCE, Service, eventually},
};

fn settings(broker: &str, user: &str, topic: &str, directory: &TempDir) -> HashMap<String, String> {
    let database = format!("sqlite:{}", directory.path().join(format!("{user}.db")).display());
    [
        ("KAFKA__BROKERS", broker.to_owned()),
        ("KAFKA__TOPIC", topic.to_owned()),
        ("KAFKA__GROUP_ID", user.to_owned()),
        ("KAFKA__PROPERTIES__SECURITY_PROTOCOL", "sasl_plaintext".to_owned()),
        ("KAFKA__PROPERTIES__SASL_MECHANISM", "PLAIN".to_owned()),
        ("KAFKA__PROPERTIES__SASL_USERNAME", user.to_owned()),
        ("KAFKA__PROPERTIES__SASL_PASSWORD", format!("{user}-password")),
        ("DATABASE__URL", database),
        ("AUTH__SECRET", "the secret of the tests, long enough".to_owned()),
        ("HTTP__LISTEN", "127.0.0.1:0".to_owned()),
        ("OPERATIONS__LISTEN", "127.0.0.1:0".to_owned()),
        ("SHUTDOWN__SPREAD", "100ms".to_owned()),
    ]
    .map(|(name, value)| (format!("ORDERCAST__{name}"), value))
    .into()
}

/// What `docs/operations.md` names for `serve`.
fn rights_of_serve(user: &str, topic: &str) -> Vec<Right> {
    let group = |ending: &str| On::Group(format!("{user}{ending}"));
    let topic = |ending: &str| On::Topic(format!("{topic}{ending}"));
    vec![
        (Operation::Read, topic("")),
        (Operation::DescribeConfigs, topic("")),
        (Operation::Read, group("")),
        (Operation::Read, group(".fanout")),
        (Operation::Read, group(".control")),
        (Operation::Write, topic(".dlt")),
        (Operation::Read, topic(".control")),
        (Operation::Write, topic(".control")),
        (Operation::DescribeConfigs, topic(".control")),
    ]
}

/// How the log names a right that this user lacks.
fn told(user: &str, (operation, on): &Right) -> String {
    let operation = match operation {
        Operation::Read => "READ",
        Operation::Write => "WRITE",
        Operation::Create => "CREATE",
        Operation::DescribeConfigs => "DESCRIBE_CONFIGS",
    };
    match on {
        On::Topic(name) => {
            let setting = match name.rsplit_once('.') {
                Some((_, "dlt")) => "kafka.dead_letter_topic",
                Some((_, "control")) => "kafka.control_topic",
                _ => "kafka.topic",
            };
            format!("User:{user} lacks {operation} on the topic {name} ({setting})")
        }
        On::Group(name) => format!("User:{user} lacks {operation} on the group {name} (kafka.group_id)"),
    }
}

async fn announce(service: &Service) -> u16 {
    let url = format!("http://{}/announcements", service.operations);
    let announced = reqwest::Client::new().post(url).json(&json!({"content": "hello"})).send().await;
    announced.unwrap().status().as_u16()
}

async fn serve_with(open: &str, settings: &HashMap<String, String>, rights: &[Right]) -> Service {
    grant(open, &settings["ORDERCAST__KAFKA__GROUP_ID"], rights).await;
    let limits = PoolLimits { max_connections: 1, acquire_timeout: PATIENCE, transaction_timeout: PATIENCE };
    connect(&settings["ORDERCAST__DATABASE__URL"], limits).unwrap().migrate().await.unwrap();
    Service::launch(settings).await
}

/// All at once: each instance is a user of its own, with a group and a database of its own.
#[tokio::test]
async fn serve_needs_the_rights_that_are_documented_and_names_the_one_that_is_missing() {
    let directory = TempDir::new().unwrap();
    let users: Vec<String> = (0..12).map(|number| format!("svc-{number}")).collect();
    let (broker, guarded) = Broker::start_guarded(&users).await;
    let open = broker.bootstrap();
    let topic = Topic::create(&open, 2).await;
    let name = topic.name().to_owned();
    let dead_letters = Topic::create_named(&open, &format!("{name}.dlt"), 1, &[]).await;
    Topic::create_named(&open, &format!("{name}.control"), 1, &[("cleanup.policy", "compact")]).await;
    topic.produce(Record::new("A-1", "{")).await;

    let [well, without @ ..] = &users[..] else { panic!("there are users") };
    let well = serve_with(&open, &settings(&guarded, well, &name, &directory), &rights_of_serve(well, &name)).await;
    let mut services = Vec::new();
    for (index, user) in without.iter().enumerate() {
        let mut rights = rights_of_serve(user, &name);
        let taken: Vec<Right> = match rights.get(index).cloned() {
            Some(right) => vec![right],
            // Besides one at a time: all that lets somebody write, and all about one topic.
            None if index == rights.len() => {
                rights.iter().filter(|(operation, _)| *operation == Operation::Write).cloned().collect()
            }
            None => rights
                .iter()
                .filter(|(_, on)| matches!(on, On::Topic(name) if name.ends_with(".control")))
                .cloned()
                .collect(),
        };
        rights.retain(|right| !taken.contains(right));
        let service = serve_with(&open, &settings(&guarded, user, &name, &directory), &rights).await;
        services.push((user, taken, service));
    }

    well.wait_until_ready().await;
    assert_eq!(announce(&well).await, 202);
    eventually("the dead letter is there", async || dead_letters.watermarks(0).await.1 > 0).await;
    assert_eq!(well.lines(&["lacks"]), Vec::<String>::new());

    for (user, taken, service) in &services {
        match taken.as_slice() {
            [right @ (Operation::Write, On::Topic(topic))] if topic.ends_with(".control") => {
                service.wait_until_ready().await;
                assert_eq!(announce(service).await, 503);
                service.says(&["WARN", &told(user, right)]).await;
            }
            [right @ (Operation::DescribeConfigs, _)] => drop(service.says(&["INFO", &told(user, right)]).await),
            [(Operation::Write, _), (Operation::Write, _)] => {
                service
                    .says(&["ERROR", &format!("User:{user} lacks WRITE on any topic (kafka.dead_letter_topic")])
                    .await;
            }
            [right, ..] => drop(service.says(&["ERROR", &told(user, right)]).await),
            [] => panic!("nothing was taken from {user}"),
        }
    }

    // What is granted is used, without a restart.
    for (user, taken, service) in &services {
        grant(&open, user, taken).await;
        service.wait_until_ready().await;
    }
    eventually("every instance has put its record aside", async || {
        dead_letters.watermarks(0).await.1 >= users.len() as i64
    })
    .await;
}

async fn call(directory: &TempDir, arguments: &[&str], settings: &HashMap<String, String>) -> Answer {
    let given: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let command = ordercast(directory.path(), arguments, &given);
    tokio::task::spawn_blocking(move || answer(command)).await.unwrap()
}

#[tokio::test]
async fn migrate_needs_the_rights_that_are_documented_and_names_the_one_that_is_missing() {
    let directory = TempDir::new().unwrap();
    let users: Vec<String> = (0..5).map(|number| format!("svc-{number}")).collect();
    let (broker, guarded) = Broker::start_guarded(&users).await;
    let open = broker.bootstrap();
    for (index, user) in users.iter().enumerate() {
        let topic = Topic::create(&open, 2).await;
        let name = topic.name().to_owned();
        let (dead_letters, control) = (format!("{name}.dlt"), format!("{name}.control"));
        let mut rights = vec![
            (Operation::Create, On::Topic(dead_letters.clone())),
            (Operation::Create, On::Topic(control.clone())),
            (Operation::DescribeConfigs, On::Topic(name.clone())),
        ];
        let settings = settings(&guarded, user, &name, &directory);
        match index {
            0 => {
                grant(&open, user, &rights).await;
                let migrated = call(&directory, &["migrate"], &settings).await;
                assert_eq!((migrated.code, migrated.stderr.as_str()), (Some(0), ""), "{}", migrated.stdout);
                assert!(migrated.stdout.contains(&format!("the control topic {control} was made")));
                assert!(migrated.stdout.contains("orders restated by lifecycle.terminal: 0"), "{}", migrated.stdout);
            }
            // Who may not make topics finds those that somebody else has made.
            4 => {
                Topic::create_named(&open, &dead_letters, 1, &[]).await;
                Topic::create_named(&open, &control, 1, &[("cleanup.policy", "compact")]).await;
                let rights = [
                    (Operation::Write, On::Topic(dead_letters.clone())),
                    (Operation::Read, On::Topic(control.clone())),
                    (Operation::DescribeConfigs, On::Topic(name.clone())),
                ];
                grant(&open, user, &rights).await;
                let migrated = call(&directory, &["migrate"], &settings).await;
                assert_eq!((migrated.code, migrated.stderr.as_str()), (Some(0), ""), "{}", migrated.stdout);
                assert!(migrated.stdout.contains(&format!("the control topic {control} is there")));
            }
            _ => {
                let taken = rights.remove(index - 1);
                grant(&open, user, &rights).await;
                let migrated = call(&directory, &["migrate"], &settings).await;
                let expected = if taken.0 == Operation::Create { 1 } else { 0 };
                assert_eq!(migrated.code, Some(expected), "{taken:?}: {}", migrated.stderr);
                assert!(migrated.stderr.contains(&told(user, &taken)), "{taken:?}: {}", migrated.stderr);
            }
        }
    }
}

#[tokio::test]
async fn tools_name_the_right_that_is_missing() {
    let directory = TempDir::new().unwrap();
    let user = "svc-0".to_owned();
    let (broker, guarded) = Broker::start_guarded(std::slice::from_ref(&user)).await;
    let open = broker.bootstrap();
    let topic = Topic::create(&open, 1).await;
    let name = topic.name().to_owned();
    let dead_letters = Topic::create_named(&open, &format!("{name}.dlt"), 1, &[]).await;
    dead_letters.produce(Record::new("A-1", "{")).await;
    let settings = settings(&guarded, &user, &name, &directory);
    let limits = PoolLimits { max_connections: 1, acquire_timeout: PATIENCE, transaction_timeout: PATIENCE };
    connect(&settings["ORDERCAST__DATABASE__URL"], limits).unwrap().migrate().await.unwrap();
    let publish: &[&str] = &["publish", "--order", "A-1", "--user", "u-1", "--status", "paid"];
    let reset: &[&str] = &["reset-order", "A-1"];
    let list: &[&str] = &["dead-letters", "list"];
    let write = (Operation::Write, On::Topic(name.clone()));
    let read = (Operation::Read, On::Topic(dead_letters.name().to_owned()));
    let group = (Operation::Read, On::Group(format!("{user}.fanout")));
    for (refused, missing) in [(&[publish, reset][..], &write), (&[list], &read), (&[list], &group)] {
        for arguments in refused {
            let refused = call(&directory, arguments, &settings).await;
            assert_eq!(refused.code, Some(1), "{arguments:?}: {}", refused.stderr);
            assert!(refused.stderr.contains(&told(&user, missing)), "{arguments:?}: {}", refused.stderr);
        }
        grant(&open, &user, std::slice::from_ref(missing)).await;
    }
    for arguments in [publish, reset, list] {
        let done = call(&directory, arguments, &settings).await;
        assert_eq!(done.code, Some(0), "{arguments:?}: {}", done.stderr);
    }
}
