//! How a node behaves, and the forms that say so (§8.2, §16.4.4).

use thiserror::Error;

use crate::ns;
use crate::xep::data_form::{DataForm, FORM_TYPE, Field, FieldKind, FieldOption, FormKind};

/// Who may subscribe and read (§4.5). `authorize` is not offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessModel {
    /// Everybody.
    Open,
    /// Whoever may see the owner's presence.
    #[default]
    Presence,
    /// Whoever is in one of certain groups of the owner's roster.
    Roster,
    /// Members, publishers and owners.
    Whitelist,
}

/// Who may publish, apart from owners and publishers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PublishModel {
    /// Nobody else.
    #[default]
    Publishers,
    /// Subscribers.
    Subscribers,
    /// Everybody who may read.
    Open,
}

/// When the last published item is sent without being asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SendLast {
    /// Never.
    Never,
    /// To new subscribers.
    OnSubscription,
    /// To new subscribers, and to each subscriber who comes online.
    #[default]
    OnSubscriptionAndPresence,
}

/// How many items a node keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxItems {
    /// So many; the service's own bound comes on top.
    Number(u32),
    /// As many as the service lets a node have.
    Max,
}

macro_rules! words {
    ($name:ident, $($variant:ident = $word:literal,)*) => {
        impl $name {
            const WORDS: &[&str] = &[$($word,)*];

            /// The word on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }

            /// From the word on the wire.
            pub fn parse(word: &str) -> Option<$name> {
                match word { $($word => Some($name::$variant),)* _ => None }
            }
        }
    };
}

words! { AccessModel, Open = "open", Presence = "presence", Roster = "roster", Whitelist = "whitelist", }
words! { PublishModel, Publishers = "publishers", Subscribers = "subscribers", Open = "open", }
words! {
    SendLast,
    Never = "never",
    OnSubscription = "on_sub",
    OnSubscriptionAndPresence = "on_sub_and_presence",
}

impl MaxItems {
    /// From the word on the wire.
    pub fn parse(word: &str) -> Option<MaxItems> {
        match word {
            "max" => Some(MaxItems::Max),
            number => number.parse().ok().map(MaxItems::Number),
        }
    }

    /// How many that are, where no node keeps more than `most`.
    pub fn at_most(self, most: u32) -> u32 {
        match self {
            MaxItems::Number(number) => number.min(most),
            MaxItems::Max => most,
        }
    }
}

impl std::fmt::Display for MaxItems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MaxItems::Number(number) => number.fmt(f),
            MaxItems::Max => f.write_str("max"),
        }
    }
}

/// The configuration of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Its name for people; empty for none.
    pub title: String,
    /// What it is about; empty for nothing.
    pub description: String,
    /// The namespace of its payloads; empty if nobody said.
    pub payload_type: String,
    /// Who may read.
    pub access: AccessModel,
    /// The groups of [`AccessModel::Roster`].
    pub roster_groups: Vec<String>,
    /// Who may publish.
    pub publish: PublishModel,
    /// Are items kept at all?
    pub persist_items: bool,
    /// How many.
    pub max_items: MaxItems,
    /// Are subscribers told of what is published?
    pub deliver_notifications: bool,
    /// Are they sent the payloads too?
    pub deliver_payloads: bool,
    /// Are they told of every item that is taken back, even if who did it did not ask for that?
    pub notify_retract: bool,
    /// Are they told when the node goes?
    pub notify_delete: bool,
    /// Are they told when it is configured?
    pub notify_config: bool,
    /// When do they get the last item unasked?
    pub send_last: SendLast,
}

impl NodeConfig {
    /// What XEP-0163 §5 recommends for the nodes of an account.
    pub fn of_account() -> NodeConfig {
        NodeConfig {
            title: String::new(),
            description: String::new(),
            payload_type: String::new(),
            access: AccessModel::Presence,
            roster_groups: Vec::new(),
            publish: PublishModel::Publishers,
            persist_items: true,
            max_items: MaxItems::Number(1),
            deliver_notifications: true,
            deliver_payloads: true,
            notify_retract: false,
            notify_delete: true,
            notify_config: false,
            send_last: SendLast::OnSubscriptionAndPresence,
        }
    }

    /// What a general service begins with: readable for all (XEP-0060 §4.5), with some history, and without presence.
    pub fn of_service() -> NodeConfig {
        NodeConfig {
            access: AccessModel::Open,
            max_items: MaxItems::Number(20),
            send_last: SendLast::OnSubscription,
            notify_retract: true,
            ..NodeConfig::of_account()
        }
    }
}

/// What to do with fields that are not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Pass over them, as XEP-0004 §3.2 has it.
    Skip,
    /// Refuse them, as XEP-0060 §7.1.5 has it for publishing options.
    Refuse,
}

/// A field that asks for something that is not offered. The peer's fault.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the field {0} is not known or has a value that is not offered")]
pub struct BadField(pub String);

impl NodeConfig {
    /// Changes what the form names.
    ///
    /// # Errors
    /// A value that is not offered, or, if so wished, an unknown field.
    pub fn apply(&mut self, form: &DataForm, unknown: Unknown) -> Result<(), BadField> {
        for field in form.fields.iter().filter(|field| field.var != FORM_TYPE) {
            match self.set(field) {
                Some(true) => {}
                Some(false) if unknown == Unknown::Skip => {}
                Some(false) | None => return Err(BadField(field.var.clone())),
            }
        }
        Ok(())
    }

    /// `None`: the value is not offered; `Some(false)`: the field is not known.
    fn set(&mut self, field: &Field) -> Option<bool> {
        let value = field.value().unwrap_or_default();
        let text = || value.to_owned();
        match field.var.strip_prefix("pubsub#").unwrap_or_default() {
            "title" => self.title = text(),
            "description" => self.description = text(),
            "type" => self.payload_type = text(),
            "access_model" => self.access = AccessModel::parse(value)?,
            "roster_groups_allowed" => self.roster_groups.clone_from(&field.values),
            "publish_model" => self.publish = PublishModel::parse(value)?,
            "persist_items" => self.persist_items = flag(value)?,
            "max_items" => self.max_items = MaxItems::parse(value)?,
            "deliver_notifications" => self.deliver_notifications = flag(value)?,
            "deliver_payloads" => self.deliver_payloads = flag(value)?,
            "notify_retract" => self.notify_retract = flag(value)?,
            "notify_delete" => self.notify_delete = flag(value)?,
            "notify_config" => self.notify_config = flag(value)?,
            "send_last_published_item" => self.send_last = SendLast::parse(value)?,
            // The only ones there are: nodes are leaves, and events do not wait for who is away.
            "node_type" => return (value == "leaf").then_some(true),
            "notification_type" => return (value == "headline").then_some(true),
            "subscribe" => return flag(value)?.then_some(true),
            _ => return Some(false),
        }
        Some(true)
    }

    /// The whole configuration as a form: to be filled in, or to be read. `models` are the access models on offer.
    pub fn to_form(&self, kind: FormKind, models: &[AccessModel]) -> DataForm {
        let words = |words: &[&str]| -> Vec<FieldOption> {
            let option = |word: &&str| FieldOption {
                label: None,
                value: (*word).to_owned(),
            };
            words.iter().map(option).collect()
        };
        let line = |var: &str, label: &str, value: &str| {
            Field::new(format!("pubsub#{var}"), [value])
                .of_kind(FieldKind::TextSingle)
                .labelled(label)
        };
        let switch = |var: &str, label: &str, on: bool| {
            Field::new(format!("pubsub#{var}"), [if on { "1" } else { "0" }])
                .of_kind(FieldKind::Boolean)
                .labelled(label)
        };
        let choice = |var: &str, label: &str, value: &str, all: Vec<FieldOption>| Field {
            kind: Some(FieldKind::ListSingle),
            options: all,
            ..line(var, label, value)
        };
        let models: Vec<&str> = models.iter().map(|model| model.as_str()).collect();
        let mut form = DataForm::new(kind, ns::PUBSUB_NODE_CONFIG)
            .with_field(line("title", "A name for people", &self.title))
            .with_field(line("description", "What it is about", &self.description))
            .with_field(line(
                "type",
                "Namespace of the payloads",
                &self.payload_type,
            ))
            .with_field(choice(
                "access_model",
                "Who may subscribe and read",
                self.access.as_str(),
                words(&models),
            ));
        if models.contains(&AccessModel::Roster.as_str()) {
            // XEP-0060 §16.4.2 has it as a list; aioxmpp refuses the whole form for anything else.
            let groups = Field::new("pubsub#roster_groups_allowed", &self.roster_groups)
                .of_kind(FieldKind::ListMulti)
                .labelled("Roster groups that may read");
            let chosen: Vec<&str> = self.roster_groups.iter().map(String::as_str).collect();
            form = form.with_field(Field {
                options: words(&chosen),
                ..groups
            });
        }
        form.with_field(choice(
            "publish_model",
            "Who may publish",
            self.publish.as_str(),
            words(PublishModel::WORDS),
        ))
        .with_field(switch("persist_items", "Keep items", self.persist_items))
        .with_field(line(
            "max_items",
            "Items to keep",
            &self.max_items.to_string(),
        ))
        .with_field(switch(
            "deliver_notifications",
            "Tell subscribers",
            self.deliver_notifications,
        ))
        .with_field(switch(
            "deliver_payloads",
            "Send them the payloads",
            self.deliver_payloads,
        ))
        .with_field(switch(
            "notify_retract",
            "Tell them of items taken back",
            self.notify_retract,
        ))
        .with_field(switch(
            "notify_delete",
            "Tell them when the node goes",
            self.notify_delete,
        ))
        .with_field(switch(
            "notify_config",
            "Tell them when it is configured",
            self.notify_config,
        ))
        .with_field(choice(
            "send_last_published_item",
            "When to send the last item",
            self.send_last.as_str(),
            words(SendLast::WORDS),
        ))
        .with_field(choice(
            "notification_type",
            "The type of notifications",
            "headline",
            words(&["headline"]),
        ))
    }
}

impl AccessModel {
    /// Every model.
    pub const ALL: &[AccessModel] = &[
        AccessModel::Open,
        AccessModel::Presence,
        AccessModel::Roster,
        AccessModel::Whitelist,
    ];

    /// The word on the wire of every model.
    pub fn words() -> &'static [&'static str] {
        AccessModel::WORDS
    }
}

/// XML Schema's booleans.
fn flag(value: &str) -> Option<bool> {
    match value {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submitted(fields: &[(&str, &str)]) -> DataForm {
        let form = DataForm::new(FormKind::Submit, ns::PUBSUB_NODE_CONFIG);
        fields.iter().fold(form, |form, (var, value)| {
            form.with_field(Field::new(format!("pubsub#{var}"), [*value]))
        })
    }

    #[test]
    fn a_configuration_comes_back_from_its_form() {
        let config = NodeConfig {
            title: "Musings".to_owned(),
            access: AccessModel::Roster,
            roster_groups: vec!["Friends".to_owned(), "Court".to_owned()],
            max_items: MaxItems::Max,
            notify_config: true,
            send_last: SendLast::Never,
            ..NodeConfig::of_account()
        };
        let form = config.to_form(FormKind::Form, AccessModel::ALL);
        let mut read = NodeConfig::of_service();
        read.apply(&form, Unknown::Refuse).unwrap();
        assert_eq!(read, config);
        let options = &form.field("pubsub#access_model").unwrap().options;
        assert_eq!(options.len(), AccessModel::words().len());
    }

    #[test]
    fn what_is_not_offered_is_refused_and_what_is_not_known_if_so_wished() {
        let mut config = NodeConfig::of_account();
        for field in [
            ("access_model", "authorize"),
            ("max_items", "many"),
            ("persist_items", "yes"),
            ("node_type", "collection"),
            ("notification_type", "normal"),
            ("subscribe", "0"),
        ] {
            let refused = config.apply(&submitted(&[field]), Unknown::Skip);
            assert!(refused.is_err(), "{field:?}");
        }
        let unknown = submitted(&[("body_xslt", "http://example.org/")]);
        assert_eq!(config.apply(&unknown, Unknown::Skip), Ok(()));
        assert!(config.apply(&unknown, Unknown::Refuse).is_err());
        assert_eq!(config, NodeConfig::of_account());
    }

    #[test]
    fn the_service_bounds_what_a_node_keeps() {
        assert_eq!(MaxItems::Max.at_most(100), 100);
        assert_eq!(MaxItems::Number(7).at_most(100), 7);
        assert_eq!(MaxItems::Number(700).at_most(100), 100);
    }
}
