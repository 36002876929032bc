//! Whether a delivery costs far more than it should: `scripts/bench-guard`, which starts the servers. Runs `ordercast load
//! steady --against floor` on a served instance and compares ratios of that one run, never times. Without servers it does
//! nothing. Ends with 3 where a limit is broken.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::{
    collections::HashMap,
    process::{Command, Stdio, exit},
    time::{Duration, Instant},
};

use serde_json::Value;

use self::parts::{BINARY, Instance, PATIENCE, free_address, make_database, make_topic};

mod parts;

const BROKEN: i32 = 3;

fn main() {
    let (Ok(kafka), Ok(postgres)) = (std::env::var("ORDERCAST_TEST_KAFKA"), std::env::var("ORDERCAST_TEST_POSTGRES"))
    else {
        println!("scripts/bench-guard starts the servers that this needs");
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let broken = runtime.block_on(run(&kafka, &postgres));
    if !broken.is_empty() {
        println!("{}", broken.join("\n"));
        exit(BROKEN);
    }
}

/// What `scripts/bench-guard` sets.
fn given(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is set by scripts/bench-guard"))
}

/// Runs the load; answers which limits it broke.
async fn run(kafka: &str, postgres: &str) -> Vec<String> {
    let database = make_database(postgres, "guard").await;
    let (public, operations) = (free_address(), free_address());
    let topic = format!("guard-{}", std::process::id());
    let settings: HashMap<&str, &str> = [
        ("ORDERCAST__KAFKA__BROKERS", kafka),
        ("ORDERCAST__KAFKA__TOPIC", &topic),
        ("ORDERCAST__KAFKA__GROUP_ID", &topic),
        ("ORDERCAST__DATABASE__URL", &database),
        ("ORDERCAST__AUTH__SECRET", "the secret of the benchmark, long enough"),
        ("ORDERCAST__HTTP__LISTEN", &public),
        ("ORDERCAST__OPERATIONS__LISTEN", &operations),
        ("ORDERCAST__LOG__LEVEL", "warn"),
    ]
    .into();
    // The server has one core, so that what it loses there cannot be made up elsewhere; the load has the others.
    let ordercast = |cores: &str, arguments: &[&str]| {
        let mut command = Command::new("taskset");
        command.args(["-c", cores, BINARY]).args(arguments).env_clear().envs(&settings);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    };
    make_topic(kafka, &topic).await;
    let cores = std::thread::available_parallelism().unwrap().get();
    let others = if cores > 1 { format!("1-{}", cores - 1) } else { "0".to_owned() };
    assert!(ordercast("0", &["migrate"]).stdout(Stdio::null()).status().unwrap().success());
    let instance = Instance(ordercast("0", &["serve"]).spawn().unwrap());
    let started = Instant::now();
    let ready = format!("http://{operations}/health/ready");
    while !reqwest::get(&ready).await.is_ok_and(|answer| answer.status().is_success()) {
        assert!(started.elapsed() < PATIENCE, "the instance becomes ready");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (url, pid) = (format!("http://{public}"), instance.0.id().to_string());
    let (sessions, rate) = (given("GUARD_SESSIONS"), given("GUARD_RATE"));
    let (seconds, rounds) = (given("GUARD_SECONDS"), given("GUARD_ROUNDS"));
    let what = ["load", "steady", "--against", "floor", "--url", &url, "--pid", &pid, "--json", "-", "--settle", "10s"];
    let how = ["--sessions", &sessions, "--rate", &rate, "--seconds", &seconds, "--rounds", &rounds];
    let mut load = ordercast(&others, &[&what[..], &how[..], &["--source-addresses", "127.0.1.1-127.0.1.20"]].concat());
    let output = load.stderr(Stdio::inherit()).output().unwrap();
    let Ok(report) = serde_json::from_slice::<Value>(&output.stdout) else {
        return vec![format!("the load ended with {} and no report", output.status)];
    };
    judge(&report)
}

fn judge(report: &Value) -> Vec<String> {
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    let least = |share: f64, round: &Value| share.min(number(&round["deliveries"]) / number(&round["due"]));
    let cpu = number(&report["cpu_ratio"]["median"]);
    let delay = number(&report["latency"]["p99"]) / number(&report["acknowledged"]["p99"]);
    let kept_up = report["rounds"].as_array().expect("rounds").iter().fold(1.0, least);
    println!("CPU of a delivery          {cpu:.2} times the floor (at most {})", given("GUARD_MAX_CPU"));
    println!("p99 to the client          {delay:.2} times that to the broker (at most {})", given("GUARD_MAX_DELAY"));
    println!("delivered within the round {kept_up:.3} of what was due (at least {})", given("GUARD_MIN_KEPT_UP"));
    let limit = |name: &str| given(name).parse::<f64>().unwrap_or_else(|_| panic!("{name} is no number"));
    let mut broken: Vec<String> = Vec::new();
    if cpu > limit("GUARD_MAX_CPU") {
        broken.push("a delivery takes too much CPU".to_owned());
    }
    if delay > limit("GUARD_MAX_DELAY") {
        broken.push("a delivery takes too long".to_owned());
    }
    if kept_up < limit("GUARD_MIN_KEPT_UP") {
        broken.push("it does not keep up".to_owned());
    }
    let faults = report["faults"].as_array().expect("faults");
    broken.extend(faults.iter().map(|fault| fault.as_str().unwrap_or_default().to_owned()));
    broken
}
