//! External components (XEP-0114): programs with a domain of their own, beside the server.
//!
//! Each configured domain is claimed at the border for as long as the gate is open, whether its component is there or
//! not: no other server can speak for it, and who writes to a component that is away is told so.

mod connection;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use posthaste_im::border::{Beyond, Parcel};
use posthaste_im::node::Node;
use posthaste_proto::error::{ErrorType, StanzaError};
use posthaste_proto::jid::BareJid;
use tokio::sync::mpsc;

use crate::config::ComponentConfig;
pub(crate) use connection::serve;

/// Stanzas that wait for one component: a burst. One that stays behind refuses the rest, since nobody stores them.
const QUEUE_STANZAS: usize = 4_096;
/// The same in bytes.
const QUEUE_BYTES: usize = 8 * 1024 * 1024;

/// All components, by domain.
#[derive(Default)]
pub(crate) struct Components(HashMap<String, Arc<Place>>);

impl Components {
    /// Places for them at the border.
    pub(crate) fn open(node: &Node, components: &[ComponentConfig]) -> Components {
        let mut places = HashMap::new();
        for config in components {
            let place = Arc::new(Place {
                config: config.clone(),
                line: Mutex::default(),
            });
            node.claim_domain(config.domain.as_str(), place.clone());
            places.insert(config.domain.to_string(), place);
        }
        Components(places)
    }

    /// The place of a domain, if a component may stand for it.
    pub(crate) fn place(&self, domain: &BareJid) -> Option<&Arc<Place>> {
        self.0.get(domain.as_str())
    }
}

/// Where one component stands, or would.
pub(crate) struct Place {
    config: ComponentConfig,
    /// To the connection, while there is one.
    line: Mutex<Option<Line>>,
}

#[derive(Debug)]
struct Line {
    parcels: mpsc::Sender<Parcel>,
    bytes: Arc<AtomicUsize>,
}

impl Place {
    fn line(&self) -> MutexGuard<'_, Option<Line>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the place for one connection; `None` if another one has it.
    fn occupy(self: &Arc<Place>) -> Option<Seat> {
        let mut line = self.line();
        if line.is_some() {
            return None;
        }
        let (sender, parcels) = mpsc::channel(QUEUE_STANZAS);
        let bytes = Arc::<AtomicUsize>::default();
        *line = Some(Line {
            parcels: sender,
            bytes: Arc::clone(&bytes),
        });
        drop(line);
        Some(Seat {
            place: Arc::clone(self),
            parcels,
            bytes,
        })
    }
}

impl Beyond for Place {
    fn pass(&self, parcel: Parcel) -> Result<(), Box<(Parcel, StanzaError)>> {
        let line = self.line();
        let Some(line) = &*line else {
            return Err(Box::new((parcel, away())));
        };
        let length = length(&parcel);
        if line.bytes.load(Ordering::Relaxed) + length > QUEUE_BYTES {
            return Err(Box::new((parcel, slow())));
        }
        line.bytes.fetch_add(length, Ordering::Relaxed);
        line.parcels.try_send(parcel).map_err(|refused| {
            line.bytes.fetch_sub(length, Ordering::Relaxed);
            Box::new(match refused {
                mpsc::error::TrySendError::Full(parcel) => (parcel, slow()),
                mpsc::error::TrySendError::Closed(parcel) => (parcel, away()),
            })
        })
    }
}

/// What a parcel takes of the queue, roughly: its content, and what is around it.
fn length(parcel: &Parcel) -> usize {
    parcel.stanza.content().len() + 256
}

/// The component's place, held by its connection. Dropping it leaves the place to another.
struct Seat {
    place: Arc<Place>,
    parcels: mpsc::Receiver<Parcel>,
    bytes: Arc<AtomicUsize>,
}

impl Seat {
    /// The next parcel for the component.
    async fn next(&mut self) -> Parcel {
        match self.parcels.recv().await {
            Some(parcel) => {
                self.bytes.fetch_sub(length(&parcel), Ordering::Relaxed);
                parcel
            }
            // Its sender is in the place as long as this seat is taken.
            None => std::future::pending().await,
        }
    }

    /// Nothing more comes; answers what was still waiting.
    fn close(&mut self) -> Vec<Parcel> {
        self.parcels.close();
        std::iter::from_fn(|| self.parcels.try_recv().ok()).collect()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        *self.place.line() = None;
    }
}

/// The component may come back: the sender may try again.
fn away() -> StanzaError {
    let mut error = StanzaError::service_unavailable().with_text("the component is away");
    error.kind = ErrorType::Wait;
    error
}

fn slow() -> StanzaError {
    StanzaError::resource_constraint().with_text("the component is too slow")
}

#[cfg(test)]
mod tests {
    use super::*;

    use posthaste_proto::sasl::Secret;
    use posthaste_proto::stanza::{MessageType, Stanza};
    use posthaste_proto::xml::Element;

    use crate::config::Limits;
    use crate::testing::World;

    fn jid(domain: &str) -> BareJid {
        BareJid::parse(domain).unwrap()
    }

    fn message(body: &str) -> Stanza {
        let body = Element::new("body", posthaste_proto::ns::CLIENT).with_text(body);
        let message = Stanza::message(MessageType::Chat).with_child(&body);
        message.from(jid("sender.example")).to(jid("bot.example"))
    }

    /// The two domains of [`message`], and a node.
    async fn two() -> (Arc<Node>, Components) {
        let world = World::new(Limits::default()).await;
        let node = Arc::clone(&world.shared.node);
        let configs = ["bot.example", "sender.example"].map(|domain| ComponentConfig {
            domain: jid(domain),
            secret: Secret::from("secret"),
        });
        let components = Components::open(&node, &configs);
        (node, components)
    }

    fn error(sender: &mut Seat) -> Option<StanzaError> {
        sender
            .parcels
            .try_recv()
            .ok()
            .and_then(|parcel| parcel.stanza.error())
    }

    #[tokio::test]
    async fn a_component_that_reads_nothing_is_refused_more_stanzas() {
        let (node, components) = two().await;
        let bot = components
            .place(&jid("bot.example"))
            .unwrap()
            .occupy()
            .unwrap();
        let mut sender = components
            .place(&jid("sender.example"))
            .unwrap()
            .occupy()
            .unwrap();
        for _ in 0..QUEUE_STANZAS {
            node.enter(message("hi")).await.unwrap();
        }
        assert_eq!(error(&mut sender), None);
        node.enter(message("one more")).await.unwrap();
        assert_eq!(error(&mut sender), Some(slow()));
        drop(bot);
        node.enter(message("anybody?")).await.unwrap();
        assert_eq!(error(&mut sender), Some(away()));
    }

    #[tokio::test]
    async fn long_stanzas_fill_the_queue_sooner() {
        let (node, components) = two().await;
        let mut bot = components
            .place(&jid("bot.example"))
            .unwrap()
            .occupy()
            .unwrap();
        let mut sender = components
            .place(&jid("sender.example"))
            .unwrap()
            .occupy()
            .unwrap();
        let long = message(&"x".repeat(1024 * 1024));
        for _ in 0..8 {
            node.enter(long.clone()).await.unwrap();
        }
        assert_eq!(error(&mut sender), Some(slow()));
        bot.next().await;
        node.enter(long.clone()).await.unwrap();
        assert_eq!(error(&mut sender), None, "what was taken makes room");
    }

    #[tokio::test]
    async fn a_place_is_one_connections() {
        let (_node, components) = two().await;
        let place = components.place(&jid("bot.example")).unwrap();
        let seat = place.occupy().unwrap();
        assert!(place.occupy().is_none());
        drop(seat);
        assert!(place.occupy().is_some());
        assert!(components.place(&jid("other.example")).is_none());
    }
}
