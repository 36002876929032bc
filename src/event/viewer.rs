//! Who looks: a user, or the holder of a link to some orders.

use std::{collections::HashSet, sync::Arc};

use super::{OrderId, OrderState, UserId};

/// Orders a token lists.
pub type OrderList = Arc<HashSet<OrderId>>;

/// Whose eyes a session serves. Comes from the token, never from a message of the client.
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
