//! Rights on a broker that asks who is there: granted and taken away as an administrator would. No client library here can,
//! so the two requests are written by hand.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const CREATE_ACLS: i16 = 30;
const ALLOW: u8 = 3;
const LITERAL: u8 = 3;

/// What a right is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum On {
    Topic(String),
    Group(String),
}

/// What may be done, by its number in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Read = 3,
    Write = 4,
    Create = 5,
    DescribeConfigs = 10,
}

/// A right.
pub type Right = (Operation, On);

/// Gives a user these rights, and returns when the broker has written them down.
pub async fn grant(bootstrap: &str, user: &str, rights: &[Right]) {
    let mut body = Vec::new();
    body.extend((rights.len() as i32).to_be_bytes());
    for (operation, on) in rights {
        let (kind, name) = match on {
            On::Topic(name) => (2, name.as_str()),
            On::Group(name) => (3, name.as_str()),
        };
        body.push(kind);
        push_text(&mut body, name);
        body.push(LITERAL);
        push_text(&mut body, &format!("User:{user}"));
        push_text(&mut body, "*");
        body.extend([*operation as u8, ALLOW]);
    }
    let answer = ask(bootstrap, CREATE_ACLS, &body).await;
    // How long the broker held it back, how many results, and of each its error code first.
    assert_eq!(answer[4..8], (rights.len() as i32).to_be_bytes(), "{answer:?}");
    let mut results = &answer[8..];
    while let [high, low, first, second, rest @ ..] = results {
        assert_eq!((high, low), (&0, &0), "{}", String::from_utf8_lossy(&answer));
        let length = i16::from_be_bytes([*first, *second]).max(0) as usize;
        results = &rest[length..];
    }
}

/// One request in its first version that brokers still speak, and the answer without its header.
async fn ask(bootstrap: &str, key: i16, body: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    request.extend(key.to_be_bytes());
    request.extend(1_i16.to_be_bytes());
    request.extend(7_i32.to_be_bytes());
    push_text(&mut request, "tests");
    request.extend(body);
    let mut stream = TcpStream::connect(bootstrap).await.expect("the broker listens");
    stream.write_all(&(request.len() as i32).to_be_bytes()).await.expect("the broker reads");
    stream.write_all(&request).await.expect("the broker reads");
    let size = stream.read_i32().await.expect("the broker answers");
    let mut answer = vec![0; size as usize];
    stream.read_exact(&mut answer).await.expect("the broker answers");
    answer.split_off(4)
}

fn push_text(to: &mut Vec<u8>, text: &str) {
    to.extend((text.len() as i16).to_be_bytes());
    to.extend(text.as_bytes());
}
