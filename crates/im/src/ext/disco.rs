//! Clients find out what the server and its accounts can do, and whom to write to about the server.
//!
//! XEP-0030: Service Discovery, version 2.5.0; XEP-0128 for the form of XEP-0157: Contact Addresses, version 1.1.1;
//! the server's own capabilities (XEP-0115, version 1.6.0 §6.3). The answers are made from the table of extensions.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthaste_proto::error::StanzaError;
use posthaste_proto::ns;
use posthaste_proto::stanza::IqType;
use posthaste_proto::xep::caps::Caps;
use posthaste_proto::xep::data_form::{DataForm, Field, FieldKind, FormKind};
use posthaste_proto::xep::disco::{Identity, Info, Item, Items};
use posthaste_proto::xep::rsm;
use posthaste_proto::xml::Element;

use super::{AccountIq, Answer, Asker, Ext, HostIq, HostQuery, commands, every, pubsub};
use crate::config::Config;
use crate::contacts;
use crate::error::WalkError;
use crate::walk::Walk;

/// The extension.
pub const EXT: Ext = Ext {
    name: "Service Discovery",
    xep: 30,
    version: "2.5.0",
    host_features: &[ns::DISCO_INFO, ns::DISCO_ITEMS],
    account_features: &[ns::DISCO_INFO, ns::DISCO_ITEMS],
    account_iqs: &[
        AccountIq {
            kind: IqType::Get,
            ns: ns::DISCO_INFO,
            name: "query",
            asker: Asker::Anyone,
            handler: account_info,
        },
        AccountIq {
            kind: IqType::Get,
            ns: ns::DISCO_ITEMS,
            name: "query",
            asker: Asker::Anyone,
            handler: account_items,
        },
    ],
    host_iqs: &[
        HostIq {
            kind: IqType::Get,
            ns: ns::DISCO_INFO,
            name: "query",
            handler: host_info,
        },
        HostIq {
            kind: IqType::Get,
            ns: ns::DISCO_ITEMS,
            name: "query",
            handler: host_items,
        },
    ],
};

/// What the server calls itself in capabilities (XEP-0115 §4).
const CAPS_NODE: &str = "https://posthaste.example/server";
/// The form of XEP-0157.
const SERVER_INFO: &str = "http://jabber.org/network/serverinfo";

/// The `<c/>` of a host for stream features (XEP-0115 §6.3): a client that knows the hash need not ask. `registration`
/// is that host's setting. `None` if a configured contact address has characters that cannot be hashed.
pub fn server_caps(config: &Config, registration: bool) -> Option<Element> {
    let info = server(config, registration);
    Some(Caps::of(&info, CAPS_NODE).ok()?.to_element())
}

fn server(config: &Config, registration: bool) -> Info {
    let announced = every()
        .flat_map(|ext| ext.host_features)
        // XEP-0077 §4: a feature of hosts that allow it, and an offer that is refused helps nobody.
        .filter(|feature| registration || **feature != ns::REGISTER);
    Info {
        node: None,
        identities: vec![Identity::new("server", "im", Some("Posthaste"))],
        features: features(announced),
        forms: contact_addresses(config).into_iter().collect(),
    }
}

/// A page of a list of items, as it was asked for (XEP-0059); of at most `most`, by `uid`.
///
/// # Errors
/// `<bad-request/>` for what is no page, `<item-not-found/>` for one that begins nowhere.
pub(super) fn page_of_items<T>(
    query: &Element,
    all: &[T],
    uid: impl Fn(&T) -> &str,
    most: usize,
    item: impl Fn(&T) -> Item,
) -> Answer {
    let wanted = rsm::Request::read(query).map_err(|_| StanzaError::bad_request())?;
    let cut = wanted.cut(all, uid, most);
    let (page, set) = cut.map_err(|_| StanzaError::item_not_found())?;
    let is_cut = page.len() < all.len() || query.child("set", ns::RSM).is_some();
    let items = Items {
        node: None,
        items: page.iter().map(item).collect(),
    };
    let set = is_cut.then(|| set.to_element());
    Ok(Some(items.to_element().with_children(set)))
}

fn features<'a>(all: impl Iterator<Item = &'a &'static str>) -> Vec<String> {
    let mut features: Vec<String> = all.map(|feature| (*feature).to_owned()).collect();
    features.sort_unstable();
    features.dedup();
    features
}

/// XEP-0157: one field per kind of address.
fn contact_addresses(config: &Config) -> Option<DataForm> {
    let mut kinds: Vec<&str> = config
        .contacts
        .iter()
        .map(|(kind, _)| kind.as_str())
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.is_empty() {
        return None;
    }
    let addresses = |wanted: &str| -> Vec<String> {
        config
            .contacts
            .iter()
            .filter(|(kind, _)| kind == wanted)
            .map(|(_, uri)| uri.clone())
            .collect()
    };
    let form = DataForm::new(FormKind::Result, SERVER_INFO);
    Some(kinds.into_iter().fold(form, |form, kind| {
        form.with_field(Field::new(kind, addresses(kind)).of_kind(FieldKind::ListMulti))
    }))
}

fn host_info<'q>(query: &'q HostQuery<'q>, asked: Element) -> BoxFuture<'q, Answer> {
    async move {
        let config = query.node.config();
        let host = config.host(query.host.as_str());
        let info = server(&config, host.is_some_and(|host| host.registration));
        let caps_node = Caps::of(&info, CAPS_NODE)
            .ok()
            .map(|caps| caps.disco_node());
        match asked.attr("node") {
            // XEP-0115 §6.2: asked by the node of the capabilities it gets the same answer.
            Some(node) if Some(node) != caps_node.as_deref() => {
                let info = commands::info(query, node).ok_or_else(StanzaError::item_not_found)?;
                Ok(Some(info?.to_element()))
            }
            node => Ok(Some(
                Info {
                    node: node.map(str::to_owned),
                    ..info
                }
                .to_element(),
            )),
        }
    }
    .boxed()
}

fn host_items<'q>(query: &'q HostQuery<'q>, asked: Element) -> BoxFuture<'q, Answer> {
    async move {
        match asked.attr("node") {
            Some(ns::COMMANDS) => Ok(Some(commands::items(query)?.to_element())),
            Some(_) => Err(StanzaError::item_not_found().into()),
            None => Ok(Some(services(query).to_element())),
        }
    }
    .boxed()
}

/// What belongs to a host: its services and components.
fn services(query: &HostQuery<'_>) -> Items {
    let config = query.node.config();
    let components = config.components_of(query.host.as_str());
    let components = components.map(|component| Item {
        jid: component.domain.to_string(),
        node: None,
        name: component.name.clone(),
    });
    let services = pubsub::service::listed(&config, query.host);
    Items {
        node: None,
        items: services.into_iter().chain(components).collect(),
    }
}

/// §9: whoever may not see the owner's presence is not told that there is an account.
async fn check_asker(walk: &Walk<'_>) -> Result<(), WalkError> {
    let from = walk
        .stanza
        .from
        .as_ref()
        .ok_or_else(StanzaError::bad_request)?;
    if contacts::may_see_presence(walk, &from.to_bare()).await? {
        return Ok(());
    }
    Err(StanzaError::service_unavailable().into())
}

fn account_info<'w>(walk: &'w mut Walk<'_>, asked: Element) -> BoxFuture<'w, Answer> {
    async move {
        check_asker(walk).await?;
        if let Some(node) = asked.attr("node") {
            return Ok(Some(pubsub::account_info(walk, node).await?.to_element()));
        }
        let info = Info {
            identities: vec![
                Identity::new("account", "registered", None),
                // XEP-0163 §6.1
                Identity::new("pubsub", "pep", None),
            ],
            features: features(every().flat_map(|ext| ext.account_features)),
            ..Info::default()
        };
        Ok(Some(info.to_element()))
    }
    .boxed()
}

fn account_items<'w>(walk: &'w mut Walk<'_>, asked: Element) -> BoxFuture<'w, Answer> {
    async move {
        check_asker(walk).await?;
        let items = pubsub::account_items(walk, asked.attr("node")).await?;
        Ok(Some(items.to_element()))
    }
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_has_capabilities_and_contact_addresses() {
        let address = |kind: &str, uri: &str| (kind.to_owned(), uri.to_owned());
        let config = Config {
            contacts: vec![
                address("support-addresses", "xmpp:help@example.org"),
                address("abuse-addresses", "mailto:abuse@example.org"),
                address("support-addresses", "https://example.org/help"),
            ],
            ..Config::default()
        };
        let info = server(&config, true);
        assert!(
            Caps::read(&server_caps(&config, true).unwrap())
                .unwrap()
                .is_proved_by(&info)
        );
        let form = &info.forms[0];
        assert_eq!(form.form_type(), Some(SERVER_INFO));
        assert_eq!(form.field("support-addresses").unwrap().values.len(), 2);
        assert_eq!(
            form.field("abuse-addresses").unwrap().value(),
            Some("mailto:abuse@example.org")
        );
        assert!(server(&Config::default(), true).forms.is_empty());
    }
}
