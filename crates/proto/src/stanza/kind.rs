//! The three kinds of stanza and their types (RFC 6121 §4.7.1, §5.2.2; RFC 6120 §8.2.3).

/// Element name and `type` attribute together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `<message/>`
    Message(MessageType),
    /// `<presence/>`
    Presence(PresenceType),
    /// `<iq/>`
    Iq(IqType),
}

/// The types of a message. No or an unknown type means normal (RFC 6121 §5.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the variants are the RFC's words")]
pub enum MessageType {
    Normal,
    Chat,
    Groupchat,
    Headline,
    Error,
}

/// The types of a presence; no type means available.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the variants are the RFC's words")]
pub enum PresenceType {
    Available,
    Unavailable,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
    Probe,
    Error,
}

/// The types of an IQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the variants are the RFC's words")]
pub enum IqType {
    Get,
    Set,
    Result,
    Error,
}

impl Kind {
    /// The element name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Message(_) => "message",
            Kind::Presence(_) => "presence",
            Kind::Iq(_) => "iq",
        }
    }

    /// The `type` attribute, if one has to be written.
    pub fn type_attr(self) -> Option<&'static str> {
        match self {
            Kind::Message(MessageType::Normal) | Kind::Presence(PresenceType::Available) => None,
            Kind::Message(kind) => Some(kind.as_str()),
            Kind::Presence(kind) => Some(kind.as_str()),
            Kind::Iq(kind) => Some(kind.as_str()),
        }
    }

    /// Whether the type is `error`.
    pub fn is_error(self) -> bool {
        matches!(
            self,
            Kind::Message(MessageType::Error)
                | Kind::Presence(PresenceType::Error)
                | Kind::Iq(IqType::Error)
        )
    }
}

impl MessageType {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            MessageType::Normal => "normal",
            MessageType::Chat => "chat",
            MessageType::Groupchat => "groupchat",
            MessageType::Headline => "headline",
            MessageType::Error => "error",
        }
    }

    /// From the `type` attribute.
    pub fn from_attr(value: Option<&str>) -> MessageType {
        match value {
            Some("chat") => MessageType::Chat,
            Some("groupchat") => MessageType::Groupchat,
            Some("headline") => MessageType::Headline,
            Some("error") => MessageType::Error,
            _ => MessageType::Normal,
        }
    }
}

impl PresenceType {
    /// The word on the wire; of `Available`, which has none, the word RFC 6121 uses.
    pub fn as_str(self) -> &'static str {
        match self {
            PresenceType::Available => "available",
            PresenceType::Unavailable => "unavailable",
            PresenceType::Subscribe => "subscribe",
            PresenceType::Subscribed => "subscribed",
            PresenceType::Unsubscribe => "unsubscribe",
            PresenceType::Unsubscribed => "unsubscribed",
            PresenceType::Probe => "probe",
            PresenceType::Error => "error",
        }
    }

    /// From the `type` attribute; `None` if it is unknown.
    pub fn from_attr(value: Option<&str>) -> Option<PresenceType> {
        Some(match value {
            None => PresenceType::Available,
            Some("unavailable") => PresenceType::Unavailable,
            Some("subscribe") => PresenceType::Subscribe,
            Some("subscribed") => PresenceType::Subscribed,
            Some("unsubscribe") => PresenceType::Unsubscribe,
            Some("unsubscribed") => PresenceType::Unsubscribed,
            Some("probe") => PresenceType::Probe,
            Some("error") => PresenceType::Error,
            Some(_) => return None,
        })
    }
}

impl IqType {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            IqType::Get => "get",
            IqType::Set => "set",
            IqType::Result => "result",
            IqType::Error => "error",
        }
    }

    /// From the `type` attribute; `None` if it is missing or unknown.
    pub fn from_attr(value: Option<&str>) -> Option<IqType> {
        Some(match value? {
            "get" => IqType::Get,
            "set" => IqType::Set,
            "result" => IqType::Result,
            "error" => IqType::Error,
            _ => return None,
        })
    }
}
