//! Apache Kafka: the broker all tests share, and brokers of a test's own that it may kill, pause, restart and cut off.
//! Topics and records are in `topic.rs`.

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tempfile::TempDir;

use super::process::Process;
use super::proxy::Proxy;
use super::{free_port, setting};

/// The bootstrap address of the broker that `scripts/test` started. It stays up: faults need a broker of the test's own.
pub fn shared_broker() -> String {
    setting("ORDERCAST_TEST_KAFKA")
}

/// Brokers of the test's own, gone with the value.
pub struct Cluster {
    brokers: Vec<Broker>,
}

impl Cluster {
    /// Starts `size` brokers that replicate every topic to all, with one replica allowed to be away.
    pub async fn start(size: usize) -> Self {
        let nodes: Vec<Node> = (1..=size).map(Node::new).collect();
        let voters = nodes
            .iter()
            .map(|node| format!("{}@127.0.0.1:{}", node.id, node.controller_port))
            .collect::<Vec<_>>()
            .join(",");
        let cluster_id = ulid::Ulid::generate().to_string()[4..].to_owned();
        let mut brokers = Vec::new();
        for node in nodes {
            brokers.push(Broker::launch(node, &cluster_id, &voters, size, Vec::new()).await);
        }
        for broker in &mut brokers {
            broker.until_ready().await;
        }
        Self { brokers }
    }

    /// The brokers' own addresses, past the proxies.
    pub fn bootstrap(&self) -> String {
        self.brokers.iter().map(Broker::bootstrap).collect::<Vec<_>>().join(",")
    }

    /// The broker with this index, from 0.
    pub fn broker(&mut self, index: usize) -> &mut Broker {
        &mut self.brokers[index]
    }
}

/// One broker of the test's own, gone with the value.
pub struct Broker {
    /// Before its directory, which `node` holds: they are dropped in this order.
    process: Process,
    arguments: Vec<String>,
    proxy: Proxy,
    node: Node,
}

struct Node {
    id: usize,
    port: u16,
    proxied_port: u16,
    controller_port: u16,
    directory: TempDir,
}

impl Node {
    fn new(id: usize) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self { id, port: free_port(), proxied_port: free_port(), controller_port: free_port(), directory }
    }
}

impl Broker {
    /// A cluster of one.
    pub async fn start() -> Self {
        let mut cluster = Cluster::start(1).await;
        cluster.brokers.remove(0)
    }

    /// A cluster of one that asks who is there, and lets them do only what they were [granted](super::rights::grant). Returns the
    /// address where it asks; the password of each is their name and `-password`. By its other addresses all may do everything.
    pub async fn start_guarded(users: &[String]) -> (Self, String) {
        let (node, guarded_port) = (Node::new(1), free_port());
        let voters = format!("1@127.0.0.1:{}", node.controller_port);
        let users: Vec<String> = users.iter().map(|user| format!("user_{user}=\"{user}-password\"")).collect();
        let login = "org.apache.kafka.common.security.plain.PlainLoginModule required";
        let more = vec![
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned(),
            "super.users=User:ANONYMOUS".to_owned(),
            "sasl.enabled.mechanisms=PLAIN".to_owned(),
            format!("listener.name.guarded.plain.sasl.jaas.config={login} {};", users.join(" ")),
            format!("listeners=GUARDED://127.0.0.1:{guarded_port}"),
            format!("advertised.listeners=GUARDED://127.0.0.1:{guarded_port}"),
        ];
        let mut broker = Self::launch(node, "Z3VhcmRlZC1icm9rZXJz", &voters, 1, more).await;
        broker.until_ready().await;
        (broker, format!("127.0.0.1:{guarded_port}"))
    }

    /// The broker's own address: what the test itself uses, so that it sees the broker whatever the proxy does.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.node.port)
    }

    /// The address through the proxy: what the program under test is given. The broker advertises the proxy to those who came by it.
    pub fn proxied(&self) -> String {
        format!("127.0.0.1:{}", self.proxy.port())
    }

    /// The network between the broker and those who came by `proxied`.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// SIGKILL: no goodbye to anybody.
    pub async fn kill(&mut self) {
        self.process.end("KILL").await;
    }

    /// SIGTERM: the orderly end.
    pub async fn stop(&mut self) {
        self.process.end("TERM").await;
    }

    /// Starts a killed or stopped broker again, on the same ports and the same data.
    pub async fn restart(&mut self) {
        self.process = start_process(&self.node, &self.arguments);
        self.until_ready().await;
    }

    /// SIGSTOP: connections stay, answers do not come.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.process.resume();
    }

    /// `more` are properties; listeners among them are added to those that all have.
    async fn launch(node: Node, cluster_id: &str, voters: &str, size: usize, more: Vec<String>) -> Self {
        let proxy = Proxy::start(node.proxied_port).await;
        let Node { id, port, proxied_port, controller_port, directory } = &node;
        let replicas = size.min(3);
        let available = replicas.saturating_sub(1).max(1);
        let mut arguments = vec![
            directory.path().display().to_string(),
            cluster_id.to_owned(),
            port.to_string(),
            controller_port.to_string(),
            format!("node.id={id}"),
            format!("controller.quorum.voters={voters}"),
            format!(
                "listeners=PLAINTEXT://127.0.0.1:{port},PROXIED://127.0.0.1:{proxied_port},CONTROLLER://127.0.0.1:{controller_port}"
            ),
            format!("advertised.listeners=PLAINTEXT://127.0.0.1:{port},PROXIED://127.0.0.1:{}", proxy.port()),
        ];
        // How long a killed broker counts as alive: by default nine seconds, in which neither another takes over nor itself comes back.
        arguments.extend(["broker.session.timeout.ms=2000".to_owned(), "broker.heartbeat.interval.ms=200".to_owned()]);
        for topics in ["default", "offsets.topic", "transaction.state.log"] {
            arguments.push(format!("{topics}.replication.factor={replicas}"));
        }
        for topics in ["min.insync.replicas", "transaction.state.log.min.isr"] {
            arguments.push(format!("{topics}={available}"));
        }
        for property in more {
            let (name, value) = property.split_once('=').expect("a property");
            match arguments.iter_mut().find(|known| known.split_once('=').is_some_and(|(known, _)| known == name)) {
                Some(known) => *known += &format!(",{value}"),
                None => arguments.push(property),
            }
        }
        let process = start_process(&node, &arguments);
        Self { process, arguments, proxy, node }
    }

    /// Awaits that the broker itself answers and is among those it lists: a fenced one is not.
    async fn until_ready(&mut self) {
        let (bootstrap, id) = (self.bootstrap(), self.node.id as i32);
        let ready = || {
            let bootstrap = bootstrap.clone();
            async move {
                tokio::task::spawn_blocking(move || lists_itself(&bootstrap, id)).await.expect("asking does not panic")
            }
        };
        self.process.wait_until(ready).await;
    }
}

fn start_process(node: &Node, arguments: &[String]) -> Process {
    Process::start("kafka", arguments, &node.directory.path().join("log"), "KILL")
}

fn lists_itself(bootstrap: &str, id: i32) -> bool {
    let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", bootstrap).create().expect("a client");
    let metadata = client.fetch_metadata(None, std::time::Duration::from_secs(1));
    metadata.is_ok_and(|metadata| metadata.brokers().iter().any(|broker| broker.id() == id))
}
