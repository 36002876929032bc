//! What operators see of sessions and do to them: list, end, announce. Pure; who may ask is decided elsewhere.

use std::net::IpAddr;

use super::{Hub, SessionKey};
use crate::{
    domain::{OrderId, Rev, Timestamp, UserId},
    protocol::{CloseCause, Message},
};

/// Who a session is, besides its viewer. Cheap enough to be kept for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionIdentity {
    /// The `session_id` of its `welcome`.
    pub session_id: Box<str>,
    /// The `jti` of its token.
    pub token_id: Option<Box<str>>,
    /// The `iat` of its token.
    pub issued_at: Option<Timestamp>,
    /// How it is connected.
    pub transport: &'static str,
    /// From where.
    pub address: Option<IpAddr>,
    /// Since when.
    pub connected_at: Timestamp,
    /// Until when its token is good.
    pub expires_at: Timestamp,
}

/// The sessions that something concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionSelector<'a> {
    /// All of a user.
    User(&'a UserId),
    /// The one of this name.
    Session(&'a str),
    /// Those that go on with the token of this `jti`.
    Token(&'a str),
    /// Everybody.
    All,
}

/// One session as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// Who it is.
    pub identity: SessionIdentity,
    /// Its user; `None` for a link.
    pub user: Option<UserId>,
    /// How many orders it shows.
    pub orders: usize,
    /// Bytes of updates that wait for its reader.
    pub pending_bytes: usize,
}

/// What one session shows of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shows {
    /// The session's name.
    pub session_id: Box<str>,
    /// Its user; `None` for a link.
    pub user: Option<UserId>,
    /// The version on its screen, where it is known.
    pub version: Option<u64>,
    /// The state on its screen; `None`: nobody knows which, and it is about to be told.
    pub rev: Option<Rev>,
}

impl Hub {
    /// Ends the sessions of `whom` that `concerns` agrees with. Returns how many.
    pub fn close(
        &mut self,
        whom: SessionSelector<'_>,
        cause: CloseCause,
        concerns: impl Fn(&SessionIdentity) -> bool,
    ) -> usize {
        let mut closed = 0;
        for key in self.matching(whom) {
            let session = &self.registry.sessions[key];
            if session.identity.as_ref().is_some_and(&concerns) {
                closed += 1;
                if session.mailbox.put_close(cause) {
                    self.registry.woken.push(session.mailbox.clone());
                }
            }
        }
        closed
    }

    /// Tells the sessions of `whom` something, once. Returns how many.
    pub fn announce(&mut self, whom: SessionSelector<'_>, announcement: &Message) -> usize {
        let keys = self.matching(whom);
        for key in &keys {
            let mailbox = &self.registry.sessions[*key].mailbox;
            if mailbox.put_announcement(announcement) {
                self.registry.woken.push(mailbox.clone());
            }
        }
        keys.len()
    }

    /// The sessions of `whom`, at most `limit` of them.
    pub fn list(&self, whom: SessionSelector<'_>, limit: usize) -> Vec<SessionInfo> {
        let info = |key: SessionKey| {
            let session = &self.registry.sessions[key];
            Some(SessionInfo {
                identity: session.identity.clone()?,
                user: session.viewer.user().cloned(),
                orders: session.shown.len(),
                pending_bytes: session.mailbox.pending_bytes(),
            })
        };
        self.matching(whom).into_iter().filter_map(info).take(limit).collect()
    }

    /// The sessions that show an order, at most `limit` of them, and what they show of it.
    pub fn shows(&self, order_id: &OrderId, limit: usize) -> Vec<Shows> {
        let keys = self.registry.orders.get(order_id).into_iter().flat_map(|order| &order.sessions);
        let shows = |key: &SessionKey| {
            let session = self.registry.sessions.get(*key)?;
            let shown = session.shown.get(order_id)?;
            Some(Shows {
                session_id: session.identity.as_ref()?.session_id.clone(),
                user: session.viewer.user().cloned(),
                version: shown.version,
                rev: shown.rev,
            })
        };
        keys.filter_map(shows).take(limit).collect()
    }

    /// A session goes on with another token: what is revoked from now on is that one.
    pub fn exchange_token(
        &mut self,
        key: SessionKey,
        token_id: Option<&str>,
        issued_at: Option<Timestamp>,
        expires_at: Timestamp,
    ) {
        self.registry.exchange_token(key, token_id.map(Into::into), issued_at);
        if let Some(identity) = self.registry.sessions.get_mut(key).and_then(|session| session.identity.as_mut()) {
            identity.expires_at = expires_at;
        }
    }

    /// Sessions with an identity.
    fn matching(&self, whom: SessionSelector<'_>) -> Vec<SessionKey> {
        let registry = &self.registry;
        let mut keys = match whom {
            SessionSelector::User(user) => registry.keys_of_user(user),
            SessionSelector::Session(name) => registry.by_name.get(name).copied().into_iter().collect(),
            SessionSelector::Token(token_id) => registry.keys_of_token(token_id),
            SessionSelector::All => registry.sessions.keys().collect(),
        };
        keys.retain(|key| registry.sessions[*key].identity.is_some());
        keys
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::protocol::{Delivery, PendingSnapshot};
    use crate::{
        domain::Viewer,
        hub::{Joining, Mailbox},
        protocol::ServerMessage,
    };

    const AT: &str = "2026-11-21T10:00:00Z";

    fn at() -> Timestamp {
        Timestamp::parse_rfc3339(AT).unwrap()
    }

    fn join(hub: &mut Hub, user: &str, session_id: &str, token_id: Option<&str>) -> (SessionKey, Arc<Mailbox>) {
        let mailbox = Arc::new(Mailbox::new(65_536));
        let identity = SessionIdentity {
            session_id: session_id.into(),
            token_id: token_id.map(Into::into),
            issued_at: None,
            transport: "websocket",
            address: None,
            connected_at: at(),
            expires_at: at(),
        };
        let viewer = Viewer::User { id: UserId::parse(user).unwrap(), only: None };
        let joining = Joining { viewer, mailbox: mailbox.clone(), start: false, place: None, identity: Some(identity) };
        (hub.join(joining).unwrap(), mailbox)
    }

    fn announcement() -> Message {
        ServerMessage::Announcement { content: "we move", timestamp: at() }.message()
    }

    #[test]
    fn sessions_are_ended_by_user_by_name_and_by_token_and_nobody_else_is() {
        let mut hub = Hub::new(1 << 20);
        let (_, one) = join(&mut hub, "u-1", "s-1", Some("t-1"));
        let (_, two) = join(&mut hub, "u-1", "s-2", Some("t-2"));
        let (_, three) = join(&mut hub, "u-2", "s-3", Some("t-2"));
        let user = UserId::parse("u-1").unwrap();
        assert_eq!(hub.close(SessionSelector::User(&user), CloseCause::Revoked, |_| false), 0);
        assert_eq!(hub.close(SessionSelector::Session("s-9"), CloseCause::Disconnected, |_| true), 0);
        assert_eq!(hub.close(SessionSelector::Session("s-1"), CloseCause::Disconnected, |_| true), 1);
        assert_eq!((one.closed(), two.closed(), three.closed()), (Some(CloseCause::Disconnected), None, None));
        assert_eq!(hub.close(SessionSelector::Token("t-2"), CloseCause::Revoked, |_| true), 2);
        assert_eq!(hub.close(SessionSelector::User(&user), CloseCause::Disconnected, |_| true), 2);
        assert_eq!(one.closed(), Some(CloseCause::Disconnected), "the first cause counts");
        assert_eq!((two.closed(), three.closed()), (Some(CloseCause::Revoked), Some(CloseCause::Revoked)));
        assert!(!hub.take_woken().is_empty());
    }

    #[test]
    fn who_left_is_found_no_more_and_an_exchanged_token_is_the_one_that_counts() {
        let mut hub = Hub::new(1 << 20);
        let (gone, _) = join(&mut hub, "u-1", "s-1", Some("t-1"));
        let (stays, _) = join(&mut hub, "u-1", "s-2", Some("t-1"));
        hub.leave(gone);
        assert_eq!(hub.list(SessionSelector::Token("t-1"), 9).len(), 1);
        hub.exchange_token(stays, Some("t-2"), Some(at()), at());
        assert_eq!(hub.list(SessionSelector::Token("t-1"), 9), []);
        let listed = hub.list(SessionSelector::Token("t-2"), 9);
        assert_eq!((&*listed[0].identity.session_id, listed[0].identity.issued_at), ("s-2", Some(at())));
        hub.leave(stays);
        assert!(hub.registry.is_empty());
    }

    #[test]
    fn an_announcement_comes_once_after_the_first_snapshot_and_survives_a_restart_of_the_screen() {
        let mut hub = Hub::new(1 << 20);
        let (key, mailbox) = join(&mut hub, "u-1", "s-1", None);
        assert_eq!(hub.announce(SessionSelector::All, &announcement()), 1);
        assert!(matches!(mailbox.take(), Delivery::Nothing), "the first snapshot comes first");
        hub.restart(key);
        let _ = mailbox.put_snapshot(PendingSnapshot::new(at(), false));
        assert!(matches!(mailbox.take(), Delivery::Snapshot(_)));
        assert!(matches!(mailbox.take(), Delivery::Updates(frames) if frames == [announcement()]));
        assert!(matches!(mailbox.take(), Delivery::Nothing));
        for _ in 0..100 {
            hub.announce(SessionSelector::User(&UserId::parse("u-1").unwrap()), &announcement());
        }
        assert!(matches!(mailbox.take(), Delivery::Updates(frames) if frames.len() == 8));
    }
}
