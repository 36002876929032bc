//! What `ordercast dev` says when it is ready: all that is needed to begin, on one screen.

use super::handover::Handover;

/// What the text speaks of.
#[derive(Debug)]
pub(super) struct Greeting<'a> {
    /// How this program is called from the current directory.
    pub(super) command: &'a str,
    /// Where everything is.
    pub(super) handover: &'a Handover,
    /// Where the files are, and whether that is where other commands look by themselves.
    pub(super) data_dir: &'a str,
    /// See [`data_dir`](Self::data_dir).
    pub(super) is_default_dir: bool,
    /// The broker is the embedded one.
    pub(super) embedded: bool,
    /// The simulator runs.
    pub(super) simulator: bool,
}

impl Greeting<'_> {
    /// The text.
    pub(super) fn text(&self) -> String {
        let Handover { url, websocket_url, operations_url, kafka_brokers, topic, user_id, token } = self.handover;
        let (command, data_dir) = (self.command, self.data_dir);
        let (to_broker, to_service) = if self.is_default_dir {
            (String::new(), String::new())
        } else {
            (format!(" --brokers {kafka_brokers} --topic {topic}"), format!(" --url {websocket_url} --token {token}"))
        };
        let broker =
            if self.embedded { "embedded, for any Kafka client" } else { "as set; the simulator stays away from it" };
        let simulator = if self.simulator { "moves an order every few seconds" } else { "off" };
        let event = format!(r#"{{"order_id":"A-1","user_id":"{user_id}","status":"shipped"}}"#);
        format!(
            "
ordercast dev is ready. It is NOT FOR PRODUCTION: one process, and everybody who reaches the page gets a token.

  page        {url}
  broker      {kafka_brokers}   topic {topic} ({broker})
  health      {operations_url}/health/ready   metrics {operations_url}/metrics
  files       {data_dir}: orders stay, dev.json has all of this for scripts
  simulator   {simulator}
  token       (user {user_id}) {token}

Publish, from a second terminal:

  {command} publish{to_broker} --order A-1 --user {user_id} --status shipped
  echo '{event}' | kcat -P -b {kafka_brokers} -t {topic} -k A-1

Watch:

  {command} watch{to_service}
  websocat '{websocket_url}?token={token}'

Ctrl-C ends it.
"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handover() -> Handover {
        Handover {
            url: "http://127.0.0.1:8080".to_owned(),
            websocket_url: "ws://127.0.0.1:8080/order-status".to_owned(),
            operations_url: "http://127.0.0.1:9090".to_owned(),
            kafka_brokers: "127.0.0.1:4711".to_owned(),
            topic: "order-status".to_owned(),
            user_id: "demo".to_owned(),
            token: "e".repeat(130),
        }
    }

    fn greeting(handover: &Handover) -> Greeting<'_> {
        Greeting {
            command: "ordercast",
            handover,
            data_dir: ".ordercast",
            is_default_dir: true,
            embedded: true,
            simulator: true,
        }
    }

    #[test]
    fn the_text_fits_a_screen_of_80_by_30() {
        let text = greeting(&handover()).text();
        let rows: usize = text.lines().map(|line| line.chars().count().div_ceil(80).max(1)).sum();
        assert!(rows <= 30, "{rows}\n{text}");
    }

    #[test]
    fn commands_find_a_directory_of_its_own_by_their_arguments() {
        let handover = handover();
        let text = Greeting { is_default_dir: false, ..greeting(&handover) }.text();
        assert!(text.contains("ordercast publish --brokers 127.0.0.1:4711 --topic order-status --order A-1"), "{text}");
        assert!(text.contains("ordercast watch --url ws://127.0.0.1:8080/order-status --token e"), "{text}");
    }
}
