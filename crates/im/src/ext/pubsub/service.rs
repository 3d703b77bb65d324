//! A service for nodes that belong to no account: `pubsub.example.org`, for feeds, communities and programs.
//!
//! XEP-0060 on the same code as the accounts' nodes. Each node has a home of its own, so that a busy one holds up no
//! other. What spans nodes (which there are, and to which an entity belongs) lies in the service's own partition: a
//! directory that is written after the node, and is only a hint where the node itself can be asked. A crash between the
//! two leaves a node that is not listed until it is configured again. Accounts of the service's host create nodes.

use bytes::Bytes;
use posthaste_kv::{Batch, Partition, Scan, Ticket};
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::{BareJid, Jid};
use posthaste_proto::ns;
use posthaste_proto::stanza::{IqType, Kind, Stanza};
use posthaste_proto::xep::disco::{Identity, Info};
use posthaste_proto::xep::pubsub::{Affiliation, Request, read};
use posthaste_proto::xml::Element;
use sha1::{Digest, Sha1};

use super::directory::{self, Entry};
use super::leaf::Leaf;
use super::{Site, configure, discover, existing, items};
use crate::config::{Config, HostConfig, ServiceKind};
use crate::error::WalkError;
use crate::ext::Answer;
use crate::ext::disco::page_of_items;
use crate::node::Node;
use crate::router::Envelope;
use crate::tables;
use crate::walk::Walk;

/// What disco#info says of accounts and not of the service: it knows no presence and no rosters, and makes no nodes by
/// itself.
const OF_ACCOUNTS_ONLY: &[&str] = &[
    "http://jabber.org/protocol/pubsub#access-presence",
    "http://jabber.org/protocol/pubsub#access-roster",
    "http://jabber.org/protocol/pubsub#auto-create",
    "http://jabber.org/protocol/pubsub#auto-subscribe",
    "http://jabber.org/protocol/pubsub#filtered-notifications",
    "http://jabber.org/protocol/pubsub#last-published",
    "http://jabber.org/protocol/pubsub#presence-subscribe",
];

/// What came of a stanza.
type Outcome = Result<(Ticket, Vec<Envelope>), (Stanza, WalkError)>;

/// A stanza to the service.
pub async fn receive(node: &Node, stanza: Stanza) -> Outcome {
    let (Some(from), Some(to)) = (stanza.from.clone(), stanza.to.clone()) else {
        return Ok((Ticket::DURABLE, Vec::new()));
    };
    let payload = match stanza.kind {
        Kind::Iq(IqType::Get | IqType::Set) => stanza.payload(),
        // Nobody waits for results, presence has no meaning here, and a notification that came back is not sent again.
        Kind::Iq(_) | Kind::Presence(_) => return Ok((Ticket::DURABLE, Vec::new())),
        Kind::Message(_) => return Err((stanza, StanzaError::service_unavailable().into())),
    };
    let payload = match payload {
        Ok(payload) => payload,
        Err(error) => return Err((stanza, error.into())),
    };
    if to.local().is_some() || to.resource().is_some() {
        return Err((stanza, StanzaError::service_unavailable().into()));
    }
    let service = Service {
        node,
        site: Site {
            jid: to.to_bare(),
            is_account: false,
        },
        from,
    };
    service.answer(stanza, payload).await
}

struct Service<'n> {
    node: &'n Node,
    site: Site,
    from: Jid,
}

impl Service<'_> {
    async fn answer(&self, stanza: Stanza, payload: Element) -> Outcome {
        match payload.ns() {
            ns::PUBSUB | ns::PUBSUB_OWNER => self.pubsub(stanza, payload).await,
            ns::DISCO_INFO | ns::DISCO_ITEMS => match payload.attr("node") {
                Some(leaf) if !leaf.is_empty() => {
                    let leaf = leaf.to_owned();
                    self.visit(&leaf, stanza, payload).await
                }
                _ => {
                    let answer = self.discover(&payload).await;
                    reply(stanza, answer)
                }
            },
            _ => Err((stanza, StanzaError::service_unavailable().into())),
        }
    }

    async fn pubsub(&self, mut stanza: Stanza, mut payload: Element) -> Outcome {
        let Kind::Iq(kind) = stanza.kind else {
            return Ok((Ticket::DURABLE, Vec::new()));
        };
        let mut request = match read(kind, &payload) {
            Ok(request) => request,
            Err(error) => return Err((stanza, error.into())),
        };
        if let Request::Create { node, .. } = &mut request {
            // §8.1.1: the name decides which home it is, so that it is chosen before.
            let name = node.get_or_insert_with(|| self.node.random_name()).clone();
            payload = named(payload, &name);
            stanza.remove_children(|_| true);
            stanza.push_child(&payload);
            if let Err(error) = self.may_create(&name).await {
                return Err((stanza, error));
            }
        }
        match &request {
            Request::Subscriptions { node: None } => {
                let answer = self.subscriptions().await;
                reply(stanza, answer)
            }
            Request::Affiliations { node: None } => {
                let answer = self.affiliations().await;
                reply(stanza, answer)
            }
            Request::DefaultConfiguration => {
                reply(stanza, Ok(Some(configure::default(&self.site))))
            }
            request => {
                let Some(leaf) = request.node().map(str::to_owned) else {
                    return Err((stanza, StanzaError::bad_request().into()));
                };
                let outcome = self.visit(&leaf, stanza, payload).await?;
                if let Err(error) = self.file(&leaf, request).await {
                    // The node is as it was asked to be; it is only not listed as it should be.
                    tracing::warn!(%error, "the directory of a pubsub service could not be written");
                }
                Ok(outcome)
            }
        }
    }

    /// A walk through the home of one node.
    async fn visit(&self, leaf: &str, stanza: Stanza, payload: Element) -> Outcome {
        let Some(jid) = leaf_home(&self.site.jid, leaf) else {
            return Err((stanza, StanzaError::item_not_found().into()));
        };
        let home = self.node.home(&jid);
        let mut state = match home.lock(self.node).await {
            Ok(state) => state,
            Err(error) => return Err((stanza, error)),
        };
        let mut walk = Walk::new(self.node, &home, &mut state, stanza, None);
        let outcome = answer_at_node(&mut walk, &self.site, payload).await;
        walk.finish(outcome).await
    }

    /// §8.1: accounts of the host may, up to a number.
    async fn may_create(&self, name: &str) -> Result<(), WalkError> {
        let config = self.node.config();
        let is_ours = config
            .service(self.site.jid.as_str())
            .is_some_and(|(host, _)| host.domain.as_str() == self.from.domain());
        if !is_ours || self.from.local().is_none() {
            return Err(StanzaError::forbidden().into());
        }
        let all = self.entries().await?;
        let who = self.from.to_bare();
        let own = all.iter().filter(|entry| *entry.creator == *who.as_str());
        if all.iter().any(|entry| entry.node == name) {
            return Ok(());
        }
        if all.len() >= config.pubsub.service_nodes || own.count() >= config.pubsub.nodes {
            return Err(StanzaError::resource_constraint()
                .with_text("there are too many nodes")
                .into());
        }
        Ok(())
    }

    // ---- across nodes -----------------------------------------------------------------------------

    async fn entries(&self) -> Result<Vec<Entry>, WalkError> {
        let most = self.node.config().pubsub.service_nodes;
        directory::all(self.node.kv(), &tables::partition(&self.site.jid)?, most).await
    }

    /// Keeps the directory in step with what was done at a node.
    async fn file(&self, leaf: &str, request: &Request) -> Result<(), WalkError> {
        let members: Vec<BareJid> = match request {
            Request::Create { .. } | Request::Subscribe { .. } => vec![self.from.to_bare()],
            Request::ChangeSubscribers { changes, .. } => {
                changes.iter().map(|change| change.jid.to_bare()).collect()
            }
            Request::ChangeAffiliates { changes, .. } => {
                changes.iter().map(|change| change.jid.to_bare()).collect()
            }
            Request::Configure { .. } | Request::Delete { .. } => Vec::new(),
            _ => return Ok(()),
        };
        let partition = tables::partition(&self.site.jid)?;
        let mut batch = Batch::new(partition);
        let found = match self.leaf_partition(leaf) {
            Some(home) => Leaf::stored(self.node.kv(), &home, leaf).await?,
            None => None,
        };
        directory::file(&mut batch, leaf, found.as_ref());
        for member in members {
            directory::note_member(&mut batch, &member, leaf);
        }
        self.node.kv().commit(batch)?;
        Ok(())
    }

    fn leaf_partition(&self, leaf: &str) -> Option<Partition> {
        Partition::new(leaf_home(&self.site.jid, leaf)?.as_str()).ok()
    }

    async fn discover(&self, query: &Element) -> Answer {
        if query.is("query", ns::DISCO_INFO) {
            let of_accounts = super::EXT.account_features.iter();
            let features = of_accounts
                .filter(|it| !OF_ACCOUNTS_ONLY.contains(it))
                .chain(&[ns::DISCO_INFO, ns::DISCO_ITEMS, ns::RSM]);
            let info = Info {
                identities: vec![Identity::new(
                    "pubsub",
                    "service",
                    Some("Publish-Subscribe"),
                )],
                features: features.map(|it| (*it).to_owned()).collect(),
                ..Info::default()
            };
            return Ok(Some(info.to_element()));
        }
        if !query.is("query", ns::DISCO_ITEMS) {
            return Err(StanzaError::bad_request().into());
        }
        let mut visible = Vec::new();
        for entry in self.entries().await? {
            if entry.is_open || self.is_affiliated(&entry.node).await? {
                visible.push(entry);
            }
        }
        let item = |entry: &Entry| discover::listed(&self.site.jid, &entry.node, &entry.title);
        page_of_items(query, &visible, |entry| &entry.node, items::MAX_PAGE, item)
    }

    async fn is_affiliated(&self, leaf: &str) -> Result<bool, WalkError> {
        Ok(self.affiliation(leaf).await? >= Affiliation::Member)
    }

    async fn affiliation(&self, leaf: &str) -> Result<Affiliation, WalkError> {
        match self.leaf_partition(leaf) {
            Some(home) => {
                let who = self.from.to_bare();
                super::access::stored_affiliation(self.node.kv(), &home, leaf, &who).await
            }
            None => Ok(Affiliation::None),
        }
    }

    /// The nodes to which whoever asks belongs, or has belonged.
    async fn memberships(&self) -> Result<Vec<String>, WalkError> {
        let most = self.node.config().pubsub.service_nodes;
        let partition = tables::partition(&self.site.jid)?;
        directory::memberships(self.node.kv(), &partition, &self.from.to_bare(), most).await
    }

    /// §5.6: at all nodes.
    async fn subscriptions(&self) -> Answer {
        let who = self.from.to_bare();
        let mut list = Element::new("subscriptions", ns::PUBSUB);
        for leaf in self.memberships().await? {
            let Some(home) = self.leaf_partition(&leaf) else {
                continue;
            };
            let prefix =
                tables::node_key(tables::NODE_SUBSCRIPTION, &leaf, who.as_str().as_bytes());
            let most = self.node.config().sessions_per_account + 1;
            let rows = self
                .node
                .kv()
                .scan(&home, Scan::prefix(&prefix, most))
                .await?;
            for jid in rows.iter().filter_map(|(key, _)| subscribed(key, &leaf)) {
                if jid.to_bare() == who {
                    list.push_child(super::people::subscription(&leaf, &jid, true, ns::PUBSUB));
                }
            }
        }
        Ok(Some(Element::new("pubsub", ns::PUBSUB).with_child(list)))
    }

    /// §5.7: with all nodes.
    async fn affiliations(&self) -> Answer {
        let mut list = Element::new("affiliations", ns::PUBSUB);
        for leaf in self.memberships().await? {
            let affiliation = self.affiliation(&leaf).await?;
            if affiliation != Affiliation::None {
                list.push_child(
                    Element::new("affiliation", ns::PUBSUB)
                        .with_attr("node", leaf)
                        .with_attr("affiliation", affiliation.as_str()),
                );
            }
        }
        Ok(Some(Element::new("pubsub", ns::PUBSUB).with_child(list)))
    }
}

fn subscribed(key: &Bytes, leaf: &str) -> Option<Jid> {
    let prefix = tables::node_key(tables::NODE_SUBSCRIPTION, leaf, b"");
    Jid::parse(std::str::from_utf8(key.strip_prefix(&prefix[..])?).ok()?).ok()
}

/// The request with the name that the service has chosen.
fn named(payload: Element, name: &str) -> Element {
    let mut renamed = Element::new("pubsub", ns::PUBSUB);
    for mut child in payload.into_children() {
        if child.is("create", ns::PUBSUB) {
            child.set_attr("node", name);
        }
        renamed.push_child(child);
    }
    renamed
}

#[allow(
    clippy::result_large_err,
    reason = "an outcome is handed on once, and its stanza goes back to the router"
)]
fn reply(stanza: Stanza, answer: Answer) -> Outcome {
    match answer {
        Ok(answer) => {
            let reply = Envelope::new(stanza.result(answer));
            Ok((Ticket::DURABLE, vec![reply]))
        }
        Err(error) => Err((stanza, error)),
    }
}

async fn answer_at_node(
    walk: &mut Walk<'_>,
    site: &Site,
    payload: Element,
) -> Result<(), WalkError> {
    let place = walk.answer_place();
    let answer = match payload.ns() {
        ns::DISCO_INFO => {
            let leaf = visible(walk, site, &payload).await?;
            Some(discover::info(walk, site, &leaf).await?.to_element())
        }
        ns::DISCO_ITEMS => {
            let leaf = visible(walk, site, &payload).await?;
            Some(discover::contents(walk, site, &leaf).await?.to_element())
        }
        _ => super::answer(walk, site, &payload).await?,
    };
    let result = walk.stanza.result(answer);
    walk.send_answer(place, result);
    Ok(())
}

async fn visible(walk: &Walk<'_>, site: &Site, query: &Element) -> Result<Leaf, WalkError> {
    let leaf = existing(walk, query.attr("node").unwrap_or_default()).await?;
    super::access::may_read(walk, site, &leaf, &super::asker(walk)?).await?;
    Ok(leaf)
}

/// The home of a node: a name of its own beside the service's, made from the node's, which may hold what no JID may.
fn leaf_home(service: &BareJid, leaf: &str) -> Option<BareJid> {
    let local: String = Sha1::digest(leaf)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    BareJid::new(Some(&local), service.domain()).ok()
}

/// The services of a host, as disco#items of the host lists them.
pub fn listed(config: &Config, host: &BareJid) -> Vec<posthaste_proto::xep::disco::Item> {
    let host = config.host(host.as_str());
    let services = host.into_iter().flat_map(HostConfig::announced_services);
    services
        .map(|service| posthaste_proto::xep::disco::Item {
            jid: service.domain.as_str().to_owned(),
            node: None,
            name: Some(
                match service.kind {
                    ServiceKind::PubSub => "Publish-Subscribe",
                    ServiceKind::Rooms => "Rooms",
                    ServiceKind::Upload => "HTTP File Upload",
                }
                .to_owned(),
            ),
        })
        .collect()
}
