//! What an administrator orders that only the process can do: to end, or to begin anew. The heart waits until it is
//! due, the server asks for it.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::clock::Timestamp;
use crate::node::Node;

/// What is to become of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// It ends as at a signal.
    ShutDown,
    /// It ends and begins anew.
    Restart,
}

/// The order that waits, and the one that is due.
#[derive(Debug)]
pub(crate) struct Orders {
    waiting: Mutex<Option<(Timestamp, Order)>>,
    due: watch::Sender<Option<Order>>,
}

impl Default for Orders {
    fn default() -> Orders {
        Orders {
            waiting: Mutex::default(),
            due: watch::Sender::new(None),
        }
    }
}

impl Node {
    /// Gives an order for so many milliseconds from now; it takes the place of one that waits.
    pub fn order(&self, order: Order, delay_millis: u64) {
        tracing::warn!(?order, delay_millis, "an administrator's order");
        let due = self.now().plus_millis(delay_millis);
        *self
            .orders
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some((due, order));
    }

    /// Waits until an order is due. Housekeeping looks at the clock.
    pub async fn ordered(&self) -> Order {
        let mut due = self.orders.due.subscribe();
        let given = due.wait_for(Option::is_some).await.map(|order| *order);
        match given {
            Ok(Some(order)) => order,
            // The sender lives as long as the node, which is borrowed here.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    pub(crate) fn check_orders(&self) {
        let mut waiting = self
            .orders
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, order)) = waiting.take_if(|(due, _)| *due <= self.now()) {
            self.orders.due.send_replace(Some(order));
        }
    }
}
