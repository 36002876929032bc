//! One-time tickets.

use std::time::Duration;

use ordercast::event::Timestamp;

use super::databases::Database;

const LONG: Duration = Duration::from_secs(30);

pub(super) async fn a_ticket_is_found_until_it_is_used_and_one_of_many_uses_it(database: &Database) {
    let store = &database.store;
    let expires_at = store.issue_ticket(b"one", "claims", LONG).await.unwrap();
    assert!(expires_at > Timestamp::now());
    for _ in 0..2 {
        assert_eq!(store.find_ticket(b"one").await.unwrap().as_deref(), Some("claims"));
    }
    assert_eq!(store.find_ticket(b"other").await.unwrap(), None);
    assert!(!store.use_ticket(b"other").await.unwrap());
    let users: Vec<_> = (0..4)
        .map(|_| {
            let store = database.another_store();
            tokio::spawn(async move { store.use_ticket(b"one").await.unwrap() })
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
    assert!(!store.use_ticket(b"over").await.unwrap());
    assert_eq!((store.forget_tickets().await.unwrap(), store.forget_tickets().await.unwrap()), (1, 0));
    assert!(store.use_ticket(b"good").await.unwrap());
}
