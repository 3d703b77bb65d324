//! Service discovery payloads: what an address is, what it can do, and what belongs to it.
//!
//! XEP-0030 2.5.0 and the forms of XEP-0128 1.0. Paging of items (XEP-0059) is left out.

use super::data_form::DataForm;
use crate::ns;
use crate::xml::Element;

/// What an address is (XEP-0030 §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The kind of thing: `server`, `client`, `account`, …
    pub category: String,
    /// The kind of that kind: `im`, `pc`, `registered`, …
    pub kind: String,
    /// The language of the name.
    pub lang: Option<String>,
    /// Words for people.
    pub name: Option<String>,
}

impl Identity {
    /// An identity without a language.
    pub fn new(category: &str, kind: &str, name: Option<&str>) -> Identity {
        Identity {
            category: category.to_owned(),
            kind: kind.to_owned(),
            lang: None,
            name: name.map(str::to_owned),
        }
    }
}

/// The answer to a disco#info request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// The node that was asked for.
    pub node: Option<String>,
    /// What the address is.
    pub identities: Vec<Identity>,
    /// What it can do.
    pub features: Vec<String>,
    /// More about it (XEP-0128).
    pub forms: Vec<DataForm>,
}

impl Info {
    /// Reads a disco#info `<query/>`; `None` if it is none. Children that make no sense are skipped.
    pub fn read(query: &Element) -> Option<Info> {
        if !query.is("query", ns::DISCO_INFO) {
            return None;
        }
        let mut info = Info {
            node: query.attr("node").map(str::to_owned),
            ..Info::default()
        };
        for child in query.children() {
            if child.is("identity", ns::DISCO_INFO) {
                info.identities.extend(read_identity(child));
            } else if child.is("feature", ns::DISCO_INFO) {
                info.features.extend(child.attr("var").map(str::to_owned));
            } else {
                info.forms.extend(DataForm::read(child));
            }
        }
        Some(info)
    }

    /// The `<query/>` to answer with.
    pub fn to_element(&self) -> Element {
        let mut query = query(ns::DISCO_INFO, self.node.as_deref());
        for identity in &self.identities {
            let mut element = Element::new("identity", ns::DISCO_INFO)
                .with_attr("category", &*identity.category)
                .with_attr("type", &*identity.kind)
                .with_attr_opt("name", identity.name.as_deref());
            if let Some(lang) = &identity.lang {
                element = element.with_lang(&**lang);
            }
            query = query.with_child(element);
        }
        for feature in &self.features {
            query = query
                .with_child(Element::new("feature", ns::DISCO_INFO).with_attr("var", &**feature));
        }
        for form in &self.forms {
            query = query.with_child(form.to_element());
        }
        query
    }
}

fn read_identity(element: &Element) -> Option<Identity> {
    Some(Identity {
        category: element.attr("category")?.to_owned(),
        kind: element.attr("type")?.to_owned(),
        lang: element.lang().map(str::to_owned),
        name: element.attr("name").map(str::to_owned),
    })
}

/// One thing that belongs to an address (XEP-0030 §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its address.
    pub jid: String,
    /// Its node at that address.
    pub node: Option<String>,
    /// Words for people.
    pub name: Option<String>,
}

/// The answer to a disco#items request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Items {
    /// The node that was asked for.
    pub node: Option<String>,
    /// What belongs to it.
    pub items: Vec<Item>,
}

impl Items {
    /// The `<query/>` to answer with.
    pub fn to_element(&self) -> Element {
        let mut query = query(ns::DISCO_ITEMS, self.node.as_deref());
        for item in &self.items {
            let element = Element::new("item", ns::DISCO_ITEMS)
                .with_attr("jid", &*item.jid)
                .with_attr_opt("node", item.node.as_deref())
                .with_attr_opt("name", item.name.as_deref());
            query = query.with_child(element);
        }
        query
    }
}

fn query(namespace: &'static str, node: Option<&str>) -> Element {
    Element::new("query", namespace).with_attr_opt("node", node)
}

#[cfg(test)]
mod tests {
    use super::super::data_form::{Field, FormKind};
    use super::*;

    #[test]
    fn an_answer_comes_back_as_it_was_sent() {
        let info = Info {
            node: Some("urn:example#1".to_owned()),
            identities: vec![
                Identity {
                    lang: Some("en".to_owned()),
                    ..Identity::new("client", "pc", Some("Psi"))
                },
                Identity::new("account", "registered", None),
            ],
            features: vec![ns::DISCO_INFO.to_owned(), ns::DISCO_ITEMS.to_owned()],
            forms: vec![
                DataForm::new(FormKind::Result, "urn:example")
                    .with_field(Field::new("os", ["Mac"])),
            ],
        };
        let mut xml = Vec::new();
        info.to_element().write(&mut xml, ns::CLIENT);
        assert_eq!(
            Info::read(&Element::parse(&xml, ns::CLIENT).unwrap()),
            Some(info)
        );
    }

    #[test]
    fn items_carry_what_they_have() {
        let node = Some("music".to_owned());
        let items = Items {
            node: node.clone(),
            items: vec![Item {
                jid: "catalog.shakespeare.lit".to_owned(),
                node,
                name: Some("Songs".to_owned()),
            }],
        };
        let query = items.to_element();
        assert_eq!(query.attr("node"), Some("music"));
        let item = query.child("item", ns::DISCO_ITEMS).unwrap();
        assert_eq!(item.attr("jid"), Some("catalog.shakespeare.lit"));
        assert_eq!(
            (item.attr("node"), item.attr("name")),
            (Some("music"), Some("Songs"))
        );
    }
}
