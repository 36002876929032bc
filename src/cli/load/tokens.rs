//! The tokens of a run's sessions: signed here, or read from a file, a line each.

use std::{fs, path::Path, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::{
    auth::{Grant, Signer},
    cli::error::CommandError,
    domain::{Timestamp, UserId},
};

/// Where tokens come from.
pub(super) enum Tokens {
    /// None are asked for.
    None,
    /// Signed when they are needed, good for so long.
    Signed { signer: Signer, good_for: Duration },
    /// By the places of their users.
    Listed(Vec<(UserId, String)>),
}

impl Tokens {
    /// Of those who show none.
    pub(super) fn none() -> Self {
        Self::None
    }

    /// Reads a file: every `shards`-th line that is not empty, from line `shard` on. The users are those that the tokens name
    /// in this claim, each once.
    pub(super) fn read(path: &Path, claim: &str, (shard, shards): (u32, u32)) -> Result<Self, CommandError> {
        let problem = |problem: String| CommandError::Usage(format!("--tokens {}: {problem}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| problem(error.to_string()))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut listed = Vec::new();
        let mut users = std::collections::HashSet::new();
        for (number, token) in lines.enumerate() {
            let user = user_of(token, claim)
                .ok_or_else(|| problem(format!("token {} names no user in its claim {claim}", number + 1)))?;
            if !users.insert(user.clone()) {
                return Err(problem(format!("token {} is another one of its user; each is to have one", number + 1)));
            }
            if number as u32 % shards == shard {
                listed.push((user, token.to_owned()));
            }
        }
        Ok(Self::Listed(listed))
    }

    /// How many sessions they are enough for; `None`: for any number.
    pub(super) fn count(&self) -> Option<usize> {
        match self {
            Self::Listed(listed) => Some(listed.len()),
            Self::None | Self::Signed { .. } => None,
        }
    }

    /// The user at this place, where tokens say who that is.
    pub(super) fn user(&self, place: u32) -> Option<UserId> {
        match self {
            Self::Listed(listed) => listed.get(place as usize).map(|(user, _)| user.clone()),
            Self::None | Self::Signed { .. } => None,
        }
    }

    /// A token of this user at this place.
    pub(super) fn token(&self, place: u32, user: UserId) -> String {
        match self {
            Self::None => String::new(),
            Self::Listed(listed) => listed.get(place as usize).map(|(_, token)| token.clone()).unwrap_or_default(),
            Self::Signed { signer, good_for } => {
                let issued_at = Timestamp::now();
                let lifetime = i64::try_from(good_for.as_millis()).unwrap_or(i64::MAX);
                let expires_at = Timestamp::nearest(issued_at.as_millis().saturating_add(lifetime));
                signer.sign(&Grant { user: Some(user), orders: None, issued_at, expires_at, token_id: None })
            }
        }
    }
}

/// Whom a JWT speaks for, by its claims, which the service will check.
fn user_of(token: &str, claim: &str) -> Option<UserId> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let user = match claims.get(claim)? {
        Value::String(user) => user.clone(),
        Value::Number(user) => user.to_string(),
        _ => return None,
    };
    UserId::parse(&user).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    fn read(lines: &[String], shard: (u32, u32)) -> Result<Tokens, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(lines.join("\n").as_bytes()).unwrap();
        Tokens::read(file.path(), "sub", shard).map_err(|error| error.to_string())
    }

    #[test]
    fn shards_share_the_lines_of_a_file() {
        let lines = [token(r#"{"sub":"a"}"#), String::new(), token(r#"{"sub":17}"#), token(r#"{"sub":"c"}"#)];
        let users = |shard| {
            let tokens = read(&lines, (shard, 2)).unwrap();
            (0..2).filter_map(|place| tokens.user(place)).map(|user| user.to_string()).collect::<Vec<_>>()
        };
        assert_eq!((users(0), users(1)), (vec!["a".to_owned(), "c".to_owned()], vec!["17".to_owned()]));
    }

    #[test]
    fn a_token_without_a_user_and_a_user_with_two_are_told_with_their_number() {
        let wrong = |lines: &[String]| read(lines, (0, 1)).err().unwrap();
        assert!(wrong(&[token(r#"{"sub":"a"}"#), token(r#"{"orders":["x"]}"#)]).contains("token 2 names no user"));
        assert!(wrong(&["nonsense".to_owned()]).contains("token 1 names no user"));
        assert!(wrong(&[token(r#"{"sub":"a"}"#), token(r#"{"sub":"a"}"#)]).contains("token 2 is another one"));
        assert!(Tokens::read(Path::new("nowhere"), "sub", (0, 1)).is_err());
    }
}
