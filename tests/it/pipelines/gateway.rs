//! The gateway over a real database: a ticket's use, and what its holder was told of it.

use std::{sync::Arc, time::Duration};

use ordercast::{
    auth::Ticket,
    store::gateway::{self, DatabaseUnavailable, GatewayDependencies, StoreHandle},
};

use super::{faulty::Faulty, instance::Database};

#[tokio::test]
async fn a_ticket_is_put_back_before_its_holder_is_told_where_the_answer_to_the_commit_was_lost() {
    for database in [Database::postgres().await, Database::sqlite().await] {
        let store = Faulty { inner: database.store(), order: "none", user: "nobody", loses_commits: true.into() };
        let (handle, requests) = StoreHandle::open();
        let _worker = gateway::start(GatewayDependencies { store: Arc::new(store), topic: "t".to_owned() }, requests);
        let ticket = Ticket::generate().digest().to_bytes();
        handle.issue_ticket(ticket, "claims".to_owned(), Duration::from_secs(30)).await.unwrap();
        assert_eq!(handle.use_ticket(ticket).await, Err(DatabaseUnavailable));
        assert_eq!(handle.find_ticket(ticket).await, Ok(Some("claims".to_owned())));
        assert_eq!(handle.use_ticket(ticket).await, Ok(true));
        assert_eq!(handle.use_ticket(ticket).await, Ok(false));
    }
}
