//! Who is in the recorders' consumer group, as the brokers describe it.

use std::{fmt, time::Duration};

use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
};

use super::{
    KafkaClients,
    events::ClientEvents,
    lifetime::{create, retire},
};

const TIMEOUT: Duration = Duration::from_secs(3);
/// Members that are named; more are counted.
const MAX_NAMED: usize = 20;

/// A member of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    client_id: String,
    host: String,
    /// The partitions of the topic that it has; `None`: it tells in a way of its own, or has not been given any yet.
    partitions: Option<Vec<i32>>,
}

/// Names the members, or says that the brokers do not. Blocks until they answer, for a few seconds at most.
pub(crate) fn describe(clients: &KafkaClients, group_id: &str, topic: &str) -> String {
    told(members(clients, group_id, topic))
}

fn told(members: KafkaResult<Option<Vec<Member>>>) -> String {
    match members {
        Ok(Some(members)) => named(&members),
        // The list has what may be described and nothing else.
        Ok(None) => {
            "not told: the right to describe the group (DESCRIBE) is missing, or there is no such group".to_owned()
        }
        Err(error) => format!("not told: {error}"),
    }
}

fn members(clients: &KafkaClients, group_id: &str, topic: &str) -> KafkaResult<Option<Vec<Member>>> {
    let client: BaseConsumer<ClientEvents> = create(&clients.inquirer(), clients.events("group"))?;
    let list = client.client().fetch_group_list(Some(group_id), TIMEOUT);
    retire(client);
    let list = list?;
    let group = list.groups().iter().find(|group| group.name() == group_id);
    let members = group.map(|group| {
        let member = |member: &rdkafka::groups::GroupMemberInfo| Member {
            client_id: member.client_id().to_owned(),
            host: member.client_host().trim_start_matches('/').to_owned(),
            partitions: member.assignment().and_then(|assignment| partitions_of(assignment, topic)),
        };
        group.members().iter().map(member).collect::<Vec<_>>()
    });
    // A group that must not be described is listed without members and without a state.
    Ok(members.filter(|members| !members.is_empty() || group.is_some_and(|group| group.state() == "Empty")))
}

fn named(members: &[Member]) -> String {
    let mut named: Vec<String> = members.iter().take(MAX_NAMED).map(Member::to_string).collect();
    if members.is_empty() {
        named.push("nobody".to_owned());
    } else if members.len() > MAX_NAMED {
        named.push(format!("{} more", members.len() - MAX_NAMED));
    }
    named.join("; ")
}

/// Anybody may choose a client id, so it is quoted.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", self.client_id, self.host)?;
        match &self.partitions {
            Some(partitions) => write!(f, " has {partitions:?}"),
            None => Ok(()),
        }
    }
}

/// What the assignment of a consumer gives it of a topic: version, then topics with their partitions, big-endian, as all
/// clients write it.
fn partitions_of(assignment: &[u8], topic: &str) -> Option<Vec<i32>> {
    let mut rest = Bytes(assignment);
    rest.take::<2>()?;
    let mut partitions = Vec::new();
    for _ in 0..i32::from_be_bytes(rest.take()?) {
        let length = usize::try_from(i16::from_be_bytes(rest.take()?)).ok()?;
        let is_topic = rest.slice(length)? == topic.as_bytes();
        for _ in 0..i32::from_be_bytes(rest.take()?) {
            let partition = i32::from_be_bytes(rest.take()?);
            if is_topic {
                partitions.push(partition);
            }
        }
    }
    partitions.sort_unstable();
    Some(partitions)
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.slice(N)?.try_into().ok()
    }

    fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (slice, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(slice)
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::error::{KafkaError, RDKafkaErrorCode};

    use super::*;

    fn assignment(topics: &[(&str, &[i32])]) -> Vec<u8> {
        let mut bytes = vec![0, 1];
        bytes.extend((topics.len() as i32).to_be_bytes());
        for (topic, partitions) in topics {
            bytes.extend((topic.len() as i16).to_be_bytes());
            bytes.extend(topic.as_bytes());
            bytes.extend((partitions.len() as i32).to_be_bytes());
            partitions.iter().for_each(|partition| bytes.extend(partition.to_be_bytes()));
        }
        bytes.extend([0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn an_assignment_tells_which_partitions_of_the_topic_a_member_has() {
        let bytes = assignment(&[("other", &[0, 7]), ("orders", &[2, 1])]);
        assert_eq!(partitions_of(&bytes, "orders"), Some(vec![1, 2]));
        assert_eq!(partitions_of(&assignment(&[]), "orders"), Some(vec![]));
    }

    #[test]
    fn what_is_no_assignment_tells_nothing() {
        let bytes = assignment(&[("orders", &[2, 1])]);
        for end in 0..bytes.len() - 4 {
            assert_eq!(partitions_of(&bytes[..end], "orders"), None, "cut at {end}");
        }
        for other in [&[0xff; 40][..], b"{\"partitions\":[1]}", &[0, 0, 0xff, 0xff, 0xff, 0xff]] {
            assert!(partitions_of(other, "orders").is_none_or(|partitions| partitions.is_empty()), "{other:?}");
        }
    }

    #[test]
    fn what_the_brokers_do_not_tell_is_not_taken_for_an_empty_group() {
        assert_eq!(told(Ok(Some(Vec::new()))), "nobody");
        assert!(told(Ok(None)).starts_with("not told: the right to describe the group (DESCRIBE) is missing"));
        let silent = KafkaError::GroupListFetch(RDKafkaErrorCode::OperationTimedOut);
        assert!(told(Err(silent)).starts_with("not told: "));
    }

    #[test]
    fn members_are_named_on_one_line_and_not_too_many_of_them() {
        let member = |client_id: &str, partitions| Member {
            client_id: client_id.to_owned(),
            host: "10.0.0.7".to_owned(),
            partitions,
        };
        let two = [member("ordercast", Some(vec![0])), member("kafka-python\n2", None)];
        assert_eq!(named(&two), r#""ordercast" at 10.0.0.7 has [0]; "kafka-python\n2" at 10.0.0.7"#);
        assert_eq!(named(&[]), "nobody");
        let many: Vec<Member> = (0..23).map(|_| member("x", Some(vec![]))).collect();
        assert!(named(&many).ends_with("; 3 more"));
    }
}
