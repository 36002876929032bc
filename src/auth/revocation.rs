//! Which tokens are revoked: the fold of what operators said, by maximum. Pure; `control` keeps it current.
//!
//! Grows with what operators revoke, and shrinks when that ends by itself or is lifted.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{PoisonError, RwLock},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::Principal;
use crate::domain::{Timestamp, UserId};

/// How long a token's revocation outlives the token: longer than the largest `auth.leeway`, and than clocks may differ.
const AFTERLIFE: Duration = Duration::from_secs(60);

/// One thing an operator revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Revocation {
    /// One token.
    Token {
        /// Its id.
        jti: String,
        /// When it would have ended by itself; without this it stays revoked until that is lifted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
    },
    /// The tokens of a user that were issued at this moment or before, give or take the leeway for clocks, or do not say when
    /// they were.
    User {
        /// The user.
        user_id: UserId,
        /// Tokens whose `iat` is later by more than the leeway are good.
        issued_before: Timestamp,
    },
}

impl Revocation {
    /// Whom it is about.
    pub fn subject(&self) -> Subject {
        match self {
            Self::Token { jti, .. } => Subject::Token(jti.clone()),
            Self::User { user_id, .. } => Subject::User(user_id.clone()),
        }
    }

    /// Whether a token of the subject, issued at this moment by a clock that may be ahead by `leeway`, is revoked.
    fn covers(&self, issued_at: Option<Timestamp>, leeway: Duration, now: Timestamp) -> bool {
        match self {
            Self::Token { .. } => !self.is_over(now),
            Self::User { issued_before, .. } => {
                let until = issued_before.as_millis().saturating_add(leeway.as_millis() as i64);
                issued_at.is_none_or(|issued_at| issued_at.as_millis() <= until)
            }
        }
    }

    fn is_over(&self, now: Timestamp) -> bool {
        let Self::Token { expires_at: Some(expires_at), .. } = self else { return false };
        now.as_millis() >= expires_at.as_millis().saturating_add(AFTERLIFE.as_millis() as i64)
    }

    /// Of two of the same subject: whether this one revokes no more than the other.
    fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Token { expires_at: one, .. }, Self::Token { expires_at: other, .. }) => {
                other.is_none_or(|other| one.is_some_and(|one| one <= other))
            }
            (Self::User { issued_before: one, .. }, Self::User { issued_before: other, .. }) => one <= other,
            _ => false,
        }
    }
}

/// Whom revocations are about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// The token of this `jti`.
    Token(String),
    /// A user.
    User(UserId),
}

/// What is revoked, by the keys of the records that say so.
#[derive(Debug, Default)]
pub struct Revocations {
    subjects: HashMap<String, Subject>,
    by_subject: BTreeMap<Subject, BTreeMap<String, Revocation>>,
}

impl Revocations {
    /// A record says that this is revoked.
    pub fn insert(&mut self, key: &str, revocation: Revocation) {
        self.remove(key);
        let subject = revocation.subject();
        self.subjects.insert(key.to_owned(), subject.clone());
        self.by_subject.entry(subject).or_default().insert(key.to_owned(), revocation);
    }

    /// A tombstone says that the record counts no more. Whether there was one.
    pub fn remove(&mut self, key: &str) -> bool {
        let Some(subject) = self.subjects.remove(key) else { return false };
        if let Some(records) = self.by_subject.get_mut(&subject) {
            records.remove(key);
            if records.is_empty() {
                self.by_subject.remove(&subject);
            }
        }
        true
    }

    /// Whether the principal's token is revoked.
    fn is_revoked(&self, principal: &Principal, leeway: Duration, now: Timestamp) -> bool {
        if self.by_subject.is_empty() {
            return false;
        }
        let covers = |revocation: &Revocation| revocation.covers(principal.issued_at, leeway, now);
        let covered = |subject| self.of(&subject).is_some_and(covers);
        principal.token_id.clone().is_some_and(|jti| covered(Subject::Token(jti)))
            || principal.viewer.user().is_some_and(|user| covered(Subject::User(user.clone())))
    }

    /// What is revoked, one for each subject.
    pub fn list(&self, now: Timestamp) -> Vec<Revocation> {
        let revocations = self.by_subject.keys().filter_map(|subject| self.of(subject));
        revocations.filter(|revocation| !revocation.is_over(now)).cloned().collect()
    }

    /// The records about a subject.
    pub fn keys_of(&self, subject: &Subject) -> Vec<String> {
        self.by_subject.get(subject).into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }

    /// Records that matter no more: of tokens that have ended, and those that another of the same subject covers.
    pub fn spent(&self, now: Timestamp) -> Vec<String> {
        let mut spent = Vec::new();
        for records in self.by_subject.values() {
            let kept = largest(records).map(|(key, _)| key);
            let is_spent = |key: &String, record: &Revocation| Some(key) != kept || record.is_over(now);
            spent.extend(records.iter().filter(|(key, record)| is_spent(key, record)).map(|(key, _)| key.clone()));
        }
        spent
    }

    /// How many subjects there are.
    pub fn len(&self) -> usize {
        self.by_subject.len()
    }

    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.by_subject.is_empty()
    }

    /// The maximum of all that is said of a subject.
    fn of(&self, subject: &Subject) -> Option<&Revocation> {
        largest(self.by_subject.get(subject)?).map(|(_, revocation)| revocation)
    }
}

fn largest(records: &BTreeMap<String, Revocation>) -> Option<(&String, &Revocation)> {
    records.iter().reduce(|largest, next| if next.1.is_within(largest.1) { largest } else { next })
}

/// The set as the control topic's reader and all who check tokens share it.
#[derive(Debug)]
pub struct RevocationList {
    /// `auth.leeway`.
    leeway: Duration,
    revocations: RwLock<Revocations>,
}

impl RevocationList {
    /// Nothing is revoked; `leeway` is how far the clock of who issues tokens may be ahead.
    pub fn new(leeway: Duration) -> Self {
        Self { leeway, revocations: RwLock::default() }
    }

    /// Whether the principal's token is revoked.
    pub fn is_revoked(&self, principal: &Principal, now: Timestamp) -> bool {
        self.read(|revocations| revocations.is_revoked(principal, self.leeway, now))
    }

    /// Whether a revocation takes back a token of its subject that was issued at this moment.
    pub fn covers(&self, revocation: &Revocation, issued_at: Option<Timestamp>, now: Timestamp) -> bool {
        revocation.covers(issued_at, self.leeway, now)
    }

    /// Looks into the set.
    pub fn read<T>(&self, look: impl FnOnce(&Revocations) -> T) -> T {
        // A change is complete before anything can panic.
        look(&self.revocations.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the set.
    pub fn write<T>(&self, change: impl FnOnce(&mut Revocations) -> T) -> T {
        change(&mut self.revocations.write().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Viewer;

    const LEEWAY: Duration = Duration::from_secs(5);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000).unwrap()
    }

    fn principal(user: &str, jti: Option<&str>, issued_at: Option<i64>) -> Principal {
        Principal {
            viewer: Viewer::User { id: UserId::parse(user).unwrap(), only: None },
            expires_at: at(10_000),
            issued_at: issued_at.map(at),
            token_id: jti.map(Into::into),
        }
    }

    fn token(jti: &str, expires_at: Option<i64>) -> Revocation {
        Revocation::Token { jti: jti.into(), expires_at: expires_at.map(at) }
    }

    fn user(user_id: &str, issued_before: i64) -> Revocation {
        Revocation::User { user_id: UserId::parse(user_id).unwrap(), issued_before: at(issued_before) }
    }

    #[test]
    fn a_token_is_revoked_by_its_id_until_it_would_have_ended_anyway() {
        let mut revocations = Revocations::default();
        assert!(!revocations.is_revoked(&principal("u-1", Some("t-1"), None), LEEWAY, at(0)));
        revocations.insert("k-1", token("t-1", Some(100)));
        for (jti, now, revoked) in
            [(Some("t-1"), 50, true), (Some("t-1"), 130, true), (Some("t-1"), 160, false), (Some("t-2"), 50, false)]
        {
            assert_eq!(
                revocations.is_revoked(&principal("u-1", jti, Some(1)), LEEWAY, at(now)),
                revoked,
                "{jti:?} {now}"
            );
        }
        assert!(!revocations.is_revoked(&principal("u-1", None, Some(1)), LEEWAY, at(50)));
        assert_eq!(revocations.spent(at(159)), Vec::<String>::new());
        assert_eq!((revocations.spent(at(160)), revocations.list(at(160))), (vec!["k-1".to_owned()], vec![]));
    }

    #[test]
    fn a_user_s_tokens_with_an_iat_later_than_clocks_may_differ_are_good_and_those_without_are_not() {
        let mut revocations = Revocations::default();
        revocations.insert("k-1", user("u-1", 100));
        for (who, issued_at, revoked) in [
            ("u-1", Some(99), true),
            ("u-1", Some(100), true),
            ("u-1", Some(105), true),
            ("u-1", Some(106), false),
            ("u-1", None, true),
            ("u-2", None, false),
        ] {
            assert_eq!(
                revocations.is_revoked(&principal(who, None, issued_at), LEEWAY, at(9_000)),
                revoked,
                "{who} {issued_at:?}"
            );
        }
        assert!(revocations.remove("k-1") && !revocations.remove("k-1"));
        assert!(!revocations.is_revoked(&principal("u-1", None, None), LEEWAY, at(0)) && revocations.is_empty());
    }

    #[test]
    fn a_token_of_a_clock_that_is_ahead_does_not_outlive_its_user_s_revocation() {
        let revocation = user("u-1", 100);
        for (leeway, last_covered) in [(0, 100), (5, 105), (30, 130)] {
            let list = RevocationList::new(Duration::from_secs(leeway));
            list.write(|revocations| revocations.insert("k-1", revocation.clone()));
            for (issued_at, revoked) in [(last_covered, true), (last_covered + 1, false)] {
                let (token, now) = (principal("u-1", None, Some(issued_at)), at(100));
                assert_eq!(list.is_revoked(&token, now), revoked, "{leeway} {issued_at}");
                assert_eq!(list.covers(&revocation, token.issued_at, now), revoked, "open sessions, too");
            }
        }
    }

    #[test]
    fn what_is_said_twice_folds_by_maximum_in_whatever_order_and_the_rest_is_spent() {
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let mut revocations = Revocations::default();
            for index in order {
                revocations.insert(&format!("u{index}"), user("u-1", [50, 100, 75][index]));
                revocations.insert(&format!("t{index}"), token("t-1", [Some(50), None, Some(75)][index]));
            }
            assert_eq!(revocations.list(at(0)), [token("t-1", None), user("u-1", 100)]);
            assert_eq!(revocations.len(), 2);
            let mut spent = revocations.spent(at(9_000));
            spent.sort();
            assert_eq!(spent, ["t0", "t2", "u0", "u2"]);
            spent.iter().for_each(|key| assert!(revocations.remove(key)));
            assert!(revocations.is_revoked(&principal("u-1", None, Some(100)), LEEWAY, at(0)));
            assert_eq!(revocations.keys_of(&Subject::Token("t-1".into())), ["t1"]);
        }
    }

    #[test]
    fn one_of_two_equal_records_is_spent() {
        let mut revocations = Revocations::default();
        revocations.insert("a", user("u-1", 100));
        revocations.insert("b", user("u-1", 100));
        assert_eq!(revocations.spent(at(0)), ["b"]);
    }

    #[test]
    fn of_two_ends_of_a_token_the_later_one_counts_and_of_equal_ones_one_is_spent() {
        for order in [[50, 75], [75, 50]] {
            let mut revocations = Revocations::default();
            for end in order {
                revocations.insert(&format!("t-{end}"), token("t-1", Some(end)));
            }
            assert_eq!((revocations.list(at(0)), revocations.len()), (vec![token("t-1", Some(75))], 1));
            assert_eq!(revocations.spent(at(0)), ["t-50"]);
        }
        let mut revocations = Revocations::default();
        for key in ["a", "b"] {
            revocations.insert(key, token("t-1", Some(50)));
        }
        assert_eq!(revocations.spent(at(0)), ["b"]);
        assert!(!revocations.is_empty());
    }
}
