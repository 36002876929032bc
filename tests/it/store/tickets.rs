//! One-time tickets.

use std::time::Duration;

use ordercast::{
    domain::Timestamp,
    store::{Store, TicketUse, UsedTicket},
};

use super::databases::Database;

const LONG: Duration = Duration::from_secs(30);

/// What was used, if it was.
async fn used(store: &dyn Store, digest: &[u8]) -> Option<UsedTicket> {
    match store.use_ticket(digest, &|| true).await.unwrap() {
        TicketUse::Used(ticket) => Some(ticket),
        TicketUse::NotGood => None,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn a_ticket_is_found_until_it_is_used_and_one_of_many_uses_it(database: &Database) {
    let store = &database.store;
    let expires_at = store.issue_ticket(b"one", "claims", LONG).await.unwrap();
    assert!(expires_at > Timestamp::now());
    for _ in 0..2 {
        assert_eq!(store.find_ticket(b"one").await.unwrap().as_deref(), Some("claims"));
    }
    assert_eq!(store.find_ticket(b"other").await.unwrap(), None);
    assert_eq!(used(&**store, b"other").await, None);
    let users: Vec<_> = (0..4)
        .map(|_| {
            let store = database.another_store();
            tokio::spawn(async move { used(&*store, b"one").await.is_some() })
        })
        .collect();
    let mut winners = 0;
    for user in users {
        winners += usize::from(user.await.unwrap());
    }
    assert_eq!(winners, 1);
    assert_eq!(store.find_ticket(b"one").await.unwrap(), None);
}

pub(super) async fn a_ticket_that_is_over_is_good_for_nothing_and_cleaned_away(database: &Database) {
    let store = &database.store;
    store.issue_ticket(b"over", "claims", Duration::ZERO).await.unwrap();
    store.issue_ticket(b"good", "claims", LONG).await.unwrap();
    assert_eq!(store.find_ticket(b"over").await.unwrap(), None);
    assert_eq!(used(&**store, b"over").await, None);
    assert_eq!((store.forget_tickets().await.unwrap(), store.forget_tickets().await.unwrap()), (1, 0));
    assert!(used(&**store, b"good").await.is_some());
}

pub(super) async fn a_ticket_is_as_good_as_before_where_its_use_is_withdrawn(database: &Database) {
    let store = &database.store;
    store.issue_ticket(b"one", "claims", LONG).await.unwrap();
    let withdrawn = store.use_ticket(b"one", &|| false).await.unwrap();
    assert!(matches!(withdrawn, TicketUse::Withdrawn), "{withdrawn:?}");
    assert!(used(&**store, b"one").await.is_some());
    assert!(matches!(store.use_ticket(b"one", &|| false).await.unwrap(), TicketUse::Withdrawn));
}

pub(super) async fn a_ticket_that_is_put_back_is_as_it_was_and_stays_as_it_is_where_it_is_there(database: &Database) {
    let store = &database.store;
    let expires_at = store.issue_ticket(b"one", "claims", LONG).await.unwrap();
    let ticket = used(&**store, b"one").await.unwrap();
    let wanted = UsedTicket { digest: b"one".into(), claims: "claims".into(), expires_at: expires_at.as_millis() };
    assert_eq!(ticket, wanted);
    for claims in ["claims", "other"] {
        store.restore_ticket(&UsedTicket { claims: claims.into(), ..ticket.clone() }).await.unwrap();
        assert_eq!(store.find_ticket(b"one").await.unwrap().as_deref(), Some("claims"));
    }
    assert_eq!(used(&**store, b"one").await, Some(ticket.clone()));
    let over = UsedTicket { expires_at: 0, ..ticket };
    store.restore_ticket(&over).await.unwrap();
    assert_eq!(used(&**store, b"one").await, None, "its time is over all the same");
}
