//! Places: how many sessions one holder may have open, a user as much as all who hold the same link. Pure.

use super::{Hub, Registry, SessionKey};
use crate::{
    domain::{Holder, LinkId},
    protocol::CloseCause,
};

/// A place that a session wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Whose. Stays the same when the session goes on with another token: a link that is exchanged is no way to more places.
    pub holder: Holder,
    /// How many sessions the holder may have open, this one included.
    pub max: usize,
    /// Where that would be one too many, this one is not refused. It counts, and the holder's oldest session ends for it, once
    /// it [takes its place](Hub::take_place).
    pub closes_oldest: bool,
}

/// The user, or all who hold the link, have as many sessions as are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("as many sessions are open as one user or link may have")]
pub struct TooManySessions;

/// How a session stands to the places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It only asks something, and takes none.
    Visitor,
    /// It does not count yet.
    Arriving(Option<LinkId>),
    /// It counts.
    Seated(Option<LinkId>),
}

impl Standing {
    /// The link whose places it takes; `None`: a user's, or nobody's.
    pub(super) fn link(self) -> Option<LinkId> {
        match self {
            Self::Visitor => None,
            Self::Arriving(link) | Self::Seated(link) => link,
        }
    }
}

impl Hub {
    /// A session that joined to close its holder's oldest is let in, after all that could still refuse it: from now on it
    /// counts, and no more than `max` of its holder's do.
    pub fn take_place(&mut self, key: SessionKey, max: usize) {
        self.registry.take_place(key, max);
    }

    /// How many sessions there are, those aside that only ask something.
    pub fn open_sessions(&self) -> usize {
        self.registry.sessions.len() - self.registry.visitors
    }
}

impl Registry {
    /// Whether a session that takes this place is welcome, and how it stands then.
    pub(super) fn admit(&self, place: Option<&Place>) -> Result<Standing, TooManySessions> {
        let Some(Place { holder, max, closes_oldest }) = place else { return Ok(Standing::Visitor) };
        let link = match holder {
            Holder::User(_) => None,
            Holder::Link(link) => Some(*link),
        };
        if *closes_oldest {
            return Ok(Standing::Arriving(link));
        }
        if self.seated(holder).count() >= *max { Err(TooManySessions) } else { Ok(Standing::Seated(link)) }
    }

    /// The sessions of a holder that count, each with its number.
    fn seated(&self, holder: &Holder) -> impl Iterator<Item = (u64, SessionKey)> {
        let keys = match holder {
            Holder::User(user) => self.by_user.get(user),
            Holder::Link(link) => self.by_link_id.get(link),
        };
        let sessions = keys.into_iter().flatten().filter_map(|key| Some((self.sessions.get(*key)?, *key)));
        let seated = sessions.filter(|(session, _)| matches!(session.standing, Standing::Seated(_)));
        seated.map(|(session, key)| (session.joined, key))
    }

    /// Counts a session as its holder's newest, and ends the oldest ones, so that at most `max` are left. They stop to count
    /// at once.
    fn take_place(&mut self, key: SessionKey, max: usize) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let link = session.standing.link();
        let Some(holder) = session.viewer.user().cloned().map(Holder::User).or(link.map(Holder::Link)) else { return };
        self.joined += 1;
        (session.joined, session.standing) = (self.joined, Standing::Seated(link));
        let mut seated: Vec<(u64, SessionKey)> = self.seated(&holder).collect();
        seated.sort_unstable();
        let too_many = seated.len().saturating_sub(max);
        for (_, key) in seated.into_iter().take(too_many) {
            let session = &mut self.sessions[key];
            session.standing = Standing::Arriving(session.standing.link());
            if session.mailbox.put_close(CloseCause::Replaced) {
                self.woken.push(session.mailbox.clone());
            }
        }
    }
}
