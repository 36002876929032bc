//! Who looks: a user, or the holder of a link to some orders.

use std::{collections::HashSet, fmt, sync::Arc};

use sha2::{Digest, Sha256};

use super::{OrderId, OrderState, UserId};

/// Orders a token lists.
pub type OrderList = Arc<HashSet<OrderId>>;

/// Who a session serves. Comes from the token, never from a message of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Viewer {
    /// Sees the orders whose newest event names the user; of these only `only`, where the token has such a list.
    User {
        /// The user.
        id: UserId,
        /// The token's list, which narrows what the user sees.
        only: Option<OrderList>,
    },
    /// Sees the orders its token lists, whatever events name.
    Link {
        /// The token's list.
        orders: OrderList,
    },
}

impl Viewer {
    /// Whether this viewer may see the order in this state.
    pub fn may_see(&self, state: &OrderState) -> bool {
        match self {
            Self::User { id, only } => {
                only.as_ref().is_none_or(|only| only.contains(&state.order_id)) && state.names(id)
            }
            Self::Link { orders } => orders.contains(&state.order_id),
        }
    }

    /// Whose places this viewer takes, who came with a token of this id.
    pub fn holder(&self, token_id: Option<&str>) -> Holder {
        match self {
            Self::User { id, .. } => Holder::User(id.clone()),
            Self::Link { orders } => Holder::Link(LinkId::of(token_id, orders)),
        }
    }

    /// The user; `None` for a link.
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Self::User { id, .. } => Some(id),
            Self::Link { .. } => None,
        }
    }

    /// The orders the token names, which are answered at any age.
    pub fn listed_orders(&self) -> Option<&OrderList> {
        match self {
            Self::User { only, .. } => only.as_ref(),
            Self::Link { orders } => Some(orders),
        }
    }
}

/// Whose places something takes: limits count what one of them holds, however many tokens it comes with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A user, whatever the user's tokens list.
    User(UserId),
    /// Everybody who holds the same link.
    Link(LinkId),
}

/// Names a link: by the id of its token or, where that has none, by the orders it lists. A digest, because some lists are long.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkId([u8; 16]);

impl LinkId {
    fn of(token_id: Option<&str>, orders: &HashSet<OrderId>) -> Self {
        let mut digest = Sha256::new();
        match token_id {
            Some(token_id) => digest.update(format!("token {token_id}")),
            None => {
                let mut orders: Vec<&str> = orders.iter().map(OrderId::as_str).collect();
                orders.sort_unstable();
                // An id has no control characters, so it ends here and nowhere else.
                digest.update("orders");
                orders.iter().for_each(|order| digest.update(format!("\n{order}")));
            }
        }
        let mut id = [0; 16];
        id.copy_from_slice(&digest.finalize()[..16]);
        Self(id)
    }
}

impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkId(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{fold::tests::FIELD, order::tests::state};

    fn holder(token_id: Option<&str>, orders: &[&str]) -> Holder {
        let orders = orders.iter().map(|order| OrderId::parse(order).unwrap()).collect();
        Viewer::Link { orders: Arc::new(orders) }.holder(token_id)
    }

    #[test]
    fn a_link_is_known_by_its_token_s_id_or_else_by_its_orders_in_whatever_order() {
        let many: Vec<String> = (0..100).map(|n| format!("A-{n}")).collect();
        let forth: Vec<&str> = many.iter().map(String::as_str).collect();
        let back: Vec<&str> = forth.iter().rev().copied().collect();
        assert_eq!(holder(None, &forth), holder(None, &back));
        assert_eq!(holder(Some("t-1"), &["A-1"]), holder(Some("t-1"), &["A-2"]));
        for (one, other) in [
            (holder(None, &["A-1"]), holder(None, &["A-2"])),
            (holder(None, &["A-1"]), holder(None, &["A-1", "A-2"])),
            (holder(None, &["A", "B"]), holder(None, &["A B"])),
            (holder(Some("t-1"), &["A-1"]), holder(Some("t-2"), &["A-1"])),
            (holder(Some("A-1"), &["A-1"]), holder(None, &["A-1"])),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn a_user_is_one_holder_whatever_a_token_lists_or_is_called() {
        let id = UserId::parse("u-1").unwrap();
        let all = Viewer::User { id: id.clone(), only: None };
        let some = Viewer::User { id: id.clone(), only: Some(Arc::default()) };
        assert_eq!(all.holder(Some("t-1")), some.holder(None));
        assert_eq!(all.holder(None), Holder::User(id));
    }

    #[test]
    fn a_user_sees_what_names_it_and_its_list_narrows_that_and_a_link_sees_its_list_whoever_is_named() {
        let state = state(FIELD, &["u-7"]);
        let list = |order: &str| Arc::new(HashSet::from([OrderId::parse(order).unwrap()]));
        let user = |id: &str, only| Viewer::User { id: UserId::parse(id).unwrap(), only };
        let (own, other) = ("A-1001", "A-1002");
        for (viewer, sees) in [
            (user("u-42", None), true),
            (user("u-7", None), true),
            (user("u-8", None), false),
            (user("u-7", Some(list(own))), true),
            (user("u-7", Some(list(other))), false),
            (user("u-8", Some(list(own))), false),
            (user("u-7", Some(Arc::default())), false),
            (Viewer::Link { orders: list(own) }, true),
            (Viewer::Link { orders: list(other) }, false),
        ] {
            assert_eq!(viewer.may_see(&state), sees, "{viewer:?}");
        }
    }

    #[test]
    fn a_link_has_no_user_and_only_a_token_with_a_list_names_orders() {
        let id = UserId::parse("u-1").unwrap();
        let list: OrderList = Arc::new(HashSet::from([OrderId::parse("A-1").unwrap()]));
        let all = Viewer::User { id: id.clone(), only: None };
        let some = Viewer::User { id: id.clone(), only: Some(list.clone()) };
        let link = Viewer::Link { orders: list.clone() };
        assert_eq!([&all, &some, &link].map(Viewer::user), [Some(&id), Some(&id), None]);
        assert_eq!([&all, &some, &link].map(Viewer::listed_orders), [None, Some(&list), Some(&list)]);
    }
}
