//! People and programs publish to nodes, and whoever may is told at once and can look it up later.
//!
//! XEP-0060: Publish-Subscribe, version 1.30.0, on every account (XEP-0163: Personal Eventing Protocol, version 1.2.2,
//! [`pep`]) and, on the same code, as a service of its own ([`service`]). Left out: approval of subscriptions (access
//! model "authorize"), subscription options and ids, item expiry, and collections (XEP-0248).
//!
//! The steps: [`leaf`] is a node in the store, [`access`] says who may do what, [`publish`], [`items`], [`configure`]
//! and [`people`] answer requests, [`notify`] tells whom it concerns, [`discover`] shows what there is.

mod access;
mod configure;
mod directory;
mod discover;
mod items;
mod leaf;
mod notify;
pub(super) mod own;
mod people;
pub mod pep;
mod publish;
pub mod service;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::stanza::{IqType, Kind};
use posthaste_proto::xep::pubsub::{AccessModel, NodeConfig, Request, read};
use posthaste_proto::xml::Element;

use super::{AccountIq, Answer, Asker, Ext};
use crate::error::WalkError;
use crate::walk::Walk;
use leaf::Leaf;

pub use discover::{account_info, account_items};

/// The extension.
pub const EXT: Ext = Ext {
    name: "Publish-Subscribe",
    xep: 60,
    version: "1.30.0",
    host_features: &[],
    account_features: &[
        ns::PUBSUB,
        "http://jabber.org/protocol/pubsub#access-open",
        "http://jabber.org/protocol/pubsub#access-presence",
        "http://jabber.org/protocol/pubsub#access-roster",
        "http://jabber.org/protocol/pubsub#access-whitelist",
        "http://jabber.org/protocol/pubsub#auto-create",
        "http://jabber.org/protocol/pubsub#auto-subscribe",
        "http://jabber.org/protocol/pubsub#config-node",
        "http://jabber.org/protocol/pubsub#config-node-max",
        "http://jabber.org/protocol/pubsub#create-and-configure",
        "http://jabber.org/protocol/pubsub#create-nodes",
        "http://jabber.org/protocol/pubsub#delete-items",
        "http://jabber.org/protocol/pubsub#delete-nodes",
        "http://jabber.org/protocol/pubsub#filtered-notifications",
        "http://jabber.org/protocol/pubsub#instant-nodes",
        "http://jabber.org/protocol/pubsub#item-ids",
        "http://jabber.org/protocol/pubsub#last-published",
        "http://jabber.org/protocol/pubsub#manage-subscriptions",
        "http://jabber.org/protocol/pubsub#member-affiliation",
        "http://jabber.org/protocol/pubsub#meta-data",
        "http://jabber.org/protocol/pubsub#modify-affiliations",
        "http://jabber.org/protocol/pubsub#multi-items",
        "http://jabber.org/protocol/pubsub#outcast-affiliation",
        "http://jabber.org/protocol/pubsub#persistent-items",
        "http://jabber.org/protocol/pubsub#presence-subscribe",
        "http://jabber.org/protocol/pubsub#publish",
        "http://jabber.org/protocol/pubsub#publish-only-affiliation",
        "http://jabber.org/protocol/pubsub#publish-options",
        "http://jabber.org/protocol/pubsub#publisher-affiliation",
        "http://jabber.org/protocol/pubsub#purge-nodes",
        "http://jabber.org/protocol/pubsub#retract-items",
        "http://jabber.org/protocol/pubsub#retrieve-affiliations",
        "http://jabber.org/protocol/pubsub#retrieve-default",
        "http://jabber.org/protocol/pubsub#retrieve-items",
        "http://jabber.org/protocol/pubsub#retrieve-subscriptions",
        "http://jabber.org/protocol/pubsub#rsm",
        "http://jabber.org/protocol/pubsub#subscribe",
    ],
    account_iqs: &[
        claim(IqType::Get, ns::PUBSUB),
        claim(IqType::Set, ns::PUBSUB),
        claim(IqType::Get, ns::PUBSUB_OWNER),
        claim(IqType::Set, ns::PUBSUB_OWNER),
    ],
    host_iqs: &[],
};

const fn claim(kind: IqType, ns: &'static str) -> AccountIq {
    AccountIq {
        kind,
        ns,
        name: "pubsub",
        asker: Asker::Anyone,
        handler: account,
    }
}

/// Affiliations that one node may have, apart from the owner's of an account.
pub const MAX_AFFILIATIONS: usize = 1_000;

/// What an operator lets nodes hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Nodes of one account. Two for each device with end-to-end encryption, and a dozen more.
    pub nodes: usize,
    /// Items of one node, also where its configuration says "max".
    pub items_per_node: u32,
    /// Bytes of one item's payload.
    pub item_bytes: usize,
    /// Bytes of all items of one account, or of one node of a service.
    pub bytes: u64,
    /// Subscriptions by request that one node may have.
    pub subscribers_per_node: u32,
    /// Nodes of one service; of these, one account may create as many as it may have itself.
    pub service_nodes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            nodes: 500,
            items_per_node: 10_000,
            item_bytes: 256 * 1_024,
            bytes: 64 * 1_024 * 1_024,
            subscribers_per_node: 10_000,
            service_nodes: 10_000,
        }
    }
}

/// Where a node lives.
#[derive(Clone, Debug)]
pub struct Site {
    /// The address that answers and sends notifications.
    pub jid: BareJid,
    /// Is it an account, with contacts and presence?
    pub is_account: bool,
}

impl Site {
    /// The account whose home this is.
    pub fn of_account(walk: &Walk<'_>) -> Site {
        Site {
            jid: walk.home.jid.clone(),
            is_account: true,
        }
    }

    /// What a new node of that name is like, if nobody says otherwise.
    fn defaults(&self, node: &str) -> NodeConfig {
        if self.is_account {
            own::defaults(node)
        } else {
            NodeConfig::of_service()
        }
    }

    /// The access models on offer: without a roster there are fewer.
    fn models(&self) -> &'static [AccessModel] {
        if self.is_account {
            AccessModel::ALL
        } else {
            &[AccessModel::Open, AccessModel::Whitelist]
        }
    }
}

fn account<'w>(walk: &'w mut Walk<'_>, pubsub: Element) -> BoxFuture<'w, Answer> {
    async move {
        let site = Site::of_account(walk);
        answer(walk, &site, &pubsub).await
    }
    .boxed()
}

/// Answers a request to the site whose node lives in this home.
///
/// # Errors
/// What the one who asks is to be told; or the store's.
pub(super) async fn answer(walk: &mut Walk<'_>, site: &Site, pubsub: &Element) -> Answer {
    let Kind::Iq(kind) = walk.stanza.kind else {
        return Ok(None);
    };
    let who = asker(walk)?;
    match read(kind, pubsub)? {
        Request::Publish {
            node,
            item,
            options,
        } => publish::publish(walk, site, &who, &node, item, options).await,
        Request::Retract { node, ids, notify } => {
            publish::retract(walk, site, &who, &node, &ids, notify).await
        }
        Request::Purge { node } => publish::purge(walk, site, &who, &node).await,
        Request::Items {
            node,
            ids,
            max_items,
            page,
            paged,
        } => {
            let wanted = items::Wanted {
                ids,
                max_items,
                page,
                paged,
            };
            items::items(walk, site, &who, &node, wanted).await
        }
        Request::Create { node, config } => configure::create(walk, site, &who, node, config).await,
        Request::Configuration { node } => configure::show(walk, site, &who, &node).await,
        Request::Configure { node, form } => {
            configure::configure(walk, site, &who, &node, &form).await
        }
        Request::DefaultConfiguration => Ok(Some(configure::default(site))),
        Request::Delete { node } => configure::delete(walk, site, &who, &node).await,
        request => people::answer(walk, site, &who, request).await,
    }
}

/// Who asks.
fn asker(walk: &Walk<'_>) -> Result<BareJid, WalkError> {
    let from = walk.stanza.from.as_ref();
    Ok(from.ok_or_else(StanzaError::bad_request)?.to_bare())
}

/// The node of that name, which has to be there.
async fn existing(walk: &Walk<'_>, name: &str) -> Result<Leaf, WalkError> {
    Leaf::find(walk, name)
        .await?
        .ok_or_else(|| StanzaError::item_not_found().into())
}
