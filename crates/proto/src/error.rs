//! Stanza errors (RFC 6120 §8.3) and stream errors (RFC 6120 §4.9), as values and as XML.

use crate::ns;
use crate::xml::{Element, XmlError};

macro_rules! conditions {
    ($(#[$meta:meta])* $name:ident, $($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every condition.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// The element name on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// From the element name on the wire.
            pub fn parse(name: &str) -> Option<$name> {
                match name { $($text => Some($name::$variant),)* _ => None }
            }
        }
    };
}

/// What the sender of a stanza may do about the error (RFC 6120 §8.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// Retry after providing credentials.
    Auth,
    /// Do not retry.
    Cancel,
    /// Proceed: it was only a warning.
    Continue,
    /// Retry after changing what was sent.
    Modify,
    /// Retry after waiting.
    Wait,
}

impl ErrorType {
    /// The value of the `type` attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorType::Auth => "auth",
            ErrorType::Cancel => "cancel",
            ErrorType::Continue => "continue",
            ErrorType::Modify => "modify",
            ErrorType::Wait => "wait",
        }
    }

    /// From the value of the `type` attribute.
    pub fn parse(value: &str) -> Option<ErrorType> {
        use ErrorType::{Auth, Cancel, Continue, Modify, Wait};
        [Auth, Cancel, Continue, Modify, Wait]
            .into_iter()
            .find(|t| t.as_str() == value)
    }
}

conditions! {
    /// Why a stanza could not be processed (RFC 6120 §8.3.3).
    Condition,
    /// Malformed or unprocessable XML.
    BadRequest = "bad-request",
    /// Something with this name exists.
    Conflict = "conflict",
    /// Not implemented here.
    FeatureNotImplemented = "feature-not-implemented",
    /// The sender lacks the permission.
    Forbidden = "forbidden",
    /// The addressee is no longer there.
    Gone = "gone",
    /// Our own failure.
    InternalServerError = "internal-server-error",
    /// No such item.
    ItemNotFound = "item-not-found",
    /// An address that is none.
    JidMalformed = "jid-malformed",
    /// Understood, but does not meet our criteria.
    NotAcceptable = "not-acceptable",
    /// Nobody may do this.
    NotAllowed = "not-allowed",
    /// Credentials needed first.
    NotAuthorized = "not-authorized",
    /// Violates a local policy.
    PolicyViolation = "policy-violation",
    /// Temporarily not there.
    RecipientUnavailable = "recipient-unavailable",
    /// Ask somebody else.
    Redirect = "redirect",
    /// Prior registration needed.
    RegistrationRequired = "registration-required",
    /// The remote server does not exist.
    RemoteServerNotFound = "remote-server-not-found",
    /// The remote server did not answer in time.
    RemoteServerTimeout = "remote-server-timeout",
    /// Too busy or lacking resources.
    ResourceConstraint = "resource-constraint",
    /// No such service at this address.
    ServiceUnavailable = "service-unavailable",
    /// A subscription is needed first.
    SubscriptionRequired = "subscription-required",
    /// Something not in this list; see the application-specific element.
    UndefinedCondition = "undefined-condition",
    /// Out of order.
    UnexpectedRequest = "unexpected-request",
}

/// A stanza error. The constructors set the type that RFC 6120 §8.3.3 gives each condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StanzaError {
    /// What the sender may do.
    pub kind: ErrorType,
    /// What went wrong.
    pub condition: Condition,
    /// For humans, in English.
    pub text: Option<String>,
    /// The new address that goes with `gone` and `redirect`.
    pub address: Option<String>,
    /// An application-specific condition.
    pub app: Option<Box<Element>>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident = $kind:ident $condition:ident,)*) => {
        impl StanzaError {
            $($(#[$doc])* pub fn $name() -> StanzaError {
                StanzaError::new(ErrorType::$kind, Condition::$condition)
            })*
        }
    };
}

constructors! {
    /// `<bad-request/>`, modify.
    bad_request = Modify BadRequest,
    /// `<conflict/>`, cancel.
    conflict = Cancel Conflict,
    /// `<feature-not-implemented/>`, cancel.
    feature_not_implemented = Cancel FeatureNotImplemented,
    /// `<forbidden/>`, auth.
    forbidden = Auth Forbidden,
    /// `<gone/>`, cancel.
    gone = Cancel Gone,
    /// `<internal-server-error/>`, wait: the sender may try again.
    internal_server_error = Wait InternalServerError,
    /// `<item-not-found/>`, cancel.
    item_not_found = Cancel ItemNotFound,
    /// `<jid-malformed/>`, modify.
    jid_malformed = Modify JidMalformed,
    /// `<not-acceptable/>`, modify.
    not_acceptable = Modify NotAcceptable,
    /// `<not-allowed/>`, cancel.
    not_allowed = Cancel NotAllowed,
    /// `<not-authorized/>`, auth.
    not_authorized = Auth NotAuthorized,
    /// `<policy-violation/>`, modify.
    policy_violation = Modify PolicyViolation,
    /// `<recipient-unavailable/>`, wait.
    recipient_unavailable = Wait RecipientUnavailable,
    /// `<registration-required/>`, auth.
    registration_required = Auth RegistrationRequired,
    /// `<remote-server-not-found/>`, cancel.
    remote_server_not_found = Cancel RemoteServerNotFound,
    /// `<remote-server-timeout/>`, wait.
    remote_server_timeout = Wait RemoteServerTimeout,
    /// `<resource-constraint/>`, wait.
    resource_constraint = Wait ResourceConstraint,
    /// `<service-unavailable/>`, cancel.
    service_unavailable = Cancel ServiceUnavailable,
    /// `<subscription-required/>`, auth.
    subscription_required = Auth SubscriptionRequired,
    /// `<unexpected-request/>`, wait.
    unexpected_request = Wait UnexpectedRequest,
}

impl StanzaError {
    /// An error with a type of the caller's choice.
    pub fn new(kind: ErrorType, condition: Condition) -> StanzaError {
        StanzaError {
            kind,
            condition,
            text: None,
            address: None,
            app: None,
        }
    }

    /// The same error with a text for humans.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<String>) -> StanzaError {
        self.text = Some(text.into());
        self
    }

    /// The same error with an application-specific condition.
    #[must_use]
    pub fn with_app(mut self, app: Element) -> StanzaError {
        self.app = Some(Box::new(app));
        self
    }

    /// The `<error/>` child of a stanza.
    pub fn to_element(&self) -> Element {
        let condition = Element::new(self.condition.as_str(), ns::STANZA_ERRORS);
        let condition = match &self.address {
            Some(address) => condition.with_text(address),
            None => condition,
        };
        let mut error = Element::new("error", ns::CLIENT)
            .with_attr("type", self.kind.as_str())
            .with_child(condition);
        if let Some(text) = &self.text {
            error.push_child(
                Element::new("text", ns::STANZA_ERRORS)
                    .with_lang("en")
                    .with_text(text),
            );
        }
        if let Some(app) = &self.app {
            error.push_child((**app).clone());
        }
        error
    }

    /// Reads an `<error/>` child. What is missing or unknown becomes `undefined-condition` and `cancel`.
    pub fn from_element(error: &Element) -> StanzaError {
        let kind = error
            .attr("type")
            .and_then(ErrorType::parse)
            .unwrap_or(ErrorType::Cancel);
        let mut parsed = StanzaError::new(kind, Condition::UndefinedCondition);
        for child in error.children() {
            match (child.ns(), child.name()) {
                (ns::STANZA_ERRORS, "text") => parsed.text = Some(child.text()),
                (ns::STANZA_ERRORS, name) => {
                    parsed.condition =
                        Condition::parse(name).unwrap_or(Condition::UndefinedCondition);
                    parsed.address = Some(child.text()).filter(|text| !text.is_empty());
                }
                _ => parsed.app = Some(Box::new(child.clone())),
            }
        }
        parsed
    }
}

conditions! {
    /// Why a stream had to end (RFC 6120 §4.9.3).
    StreamCondition,
    /// XML that cannot be processed.
    BadFormat = "bad-format",
    /// An undeclared or unsupported prefix.
    BadNamespacePrefix = "bad-namespace-prefix",
    /// A new stream of the same client took this one's place.
    Conflict = "conflict",
    /// The other side is no longer there.
    ConnectionTimeout = "connection-timeout",
    /// This host is no longer served here.
    HostGone = "host-gone",
    /// This host is not served here.
    HostUnknown = "host-unknown",
    /// A stanza lacks a needed address.
    ImproperAddressing = "improper-addressing",
    /// Our own failure.
    InternalServerError = "internal-server-error",
    /// A `from` that is not the sender's.
    InvalidFrom = "invalid-from",
    /// A wrong stream or content namespace.
    InvalidNamespace = "invalid-namespace",
    /// XML that does not fit the schema.
    InvalidXml = "invalid-xml",
    /// Something that needs authentication was sent before it.
    NotAuthorized = "not-authorized",
    /// Ill-formed XML.
    NotWellFormed = "not-well-formed",
    /// Violates a local policy, such as a limit.
    PolicyViolation = "policy-violation",
    /// The remote side of a server-to-server connection failed.
    RemoteConnectionFailed = "remote-connection-failed",
    /// The stream must be negotiated anew.
    Reset = "reset",
    /// The server lacks resources.
    ResourceConstraint = "resource-constraint",
    /// A comment, processing instruction, DTD or entity.
    RestrictedXml = "restricted-xml",
    /// Connect elsewhere.
    SeeOtherHost = "see-other-host",
    /// The server goes down.
    SystemShutdown = "system-shutdown",
    /// Something not in this list.
    UndefinedCondition = "undefined-condition",
    /// Not UTF-8.
    UnsupportedEncoding = "unsupported-encoding",
    /// A mandatory feature is not supported.
    UnsupportedFeature = "unsupported-feature",
    /// A top-level element that is no stanza we know.
    UnsupportedStanzaType = "unsupported-stanza-type",
    /// A stream version that is not supported.
    UnsupportedVersion = "unsupported-version",
}

/// A stream error: whoever sends it closes the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamError {
    /// What went wrong.
    pub condition: StreamCondition,
    /// For humans, in English.
    pub text: Option<String>,
    /// An application-specific condition (XEP-0198 has one).
    pub app: Option<Box<Element>>,
}

impl StreamError {
    /// An error without a text.
    pub fn new(condition: StreamCondition) -> StreamError {
        StreamError {
            condition,
            text: None,
            app: None,
        }
    }

    /// The same error with a text for humans.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<String>) -> StreamError {
        self.text = Some(text.into());
        self
    }

    /// The same error with an application-specific condition.
    #[must_use]
    pub fn with_app(mut self, app: Element) -> StreamError {
        self.app = Some(Box::new(app));
        self
    }

    /// The `<stream:error/>` element.
    pub fn to_element(&self) -> Element {
        let mut error = Element::new("error", ns::STREAM);
        error.push_child(Element::new(self.condition.as_str(), ns::STREAM_ERRORS));
        if let Some(text) = &self.text {
            error.push_child(
                Element::new("text", ns::STREAM_ERRORS)
                    .with_lang("en")
                    .with_text(text),
            );
        }
        if let Some(app) = &self.app {
            error.push_child((**app).clone());
        }
        error
    }

    /// Reads a `<stream:error/>` element; an unknown condition becomes `undefined-condition`.
    pub fn from_element(error: &Element) -> StreamError {
        let mut parsed = StreamError::new(StreamCondition::UndefinedCondition);
        for child in error.children() {
            match (child.ns(), child.name()) {
                (ns::STREAM_ERRORS, "text") => parsed.text = Some(child.text()),
                (ns::STREAM_ERRORS, name) => {
                    parsed.condition =
                        StreamCondition::parse(name).unwrap_or(StreamCondition::UndefinedCondition);
                }
                _ => parsed.app = Some(Box::new(child.clone())),
            }
        }
        parsed
    }
}

impl From<StreamCondition> for StreamError {
    fn from(condition: StreamCondition) -> StreamError {
        StreamError::new(condition)
    }
}

impl From<XmlError> for StreamError {
    /// The stream error that bad XML deserves (RFC 6120 §4.9.3).
    fn from(error: XmlError) -> StreamError {
        let condition = match error {
            XmlError::NotWellFormed(_) => StreamCondition::NotWellFormed,
            XmlError::Restricted(_) => StreamCondition::RestrictedXml,
            XmlError::UndeclaredPrefix => StreamCondition::BadNamespacePrefix,
            XmlError::BadFormat(_) => StreamCondition::BadFormat,
            XmlError::OverLimit(_) => StreamCondition::PolicyViolation,
            // RFC 6120 §4.9.3.22 counts bad UTF-8 here.
            XmlError::UnsupportedEncoding => StreamCondition::UnsupportedEncoding,
        };
        StreamError::new(condition).with_text(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stanza_error_survives_the_wire() {
        let error = StanzaError::not_acceptable()
            .with_text("no <thanks>")
            .with_app(Element::new("blocked", ns::BLOCKING_ERRORS));
        assert_eq!(StanzaError::from_element(&error.to_element()), error);
        let redirect = StanzaError {
            address: Some("xmpp:a@b".into()),
            ..StanzaError::new(ErrorType::Modify, Condition::Redirect)
        };
        assert_eq!(StanzaError::from_element(&redirect.to_element()), redirect);
    }

    #[test]
    fn a_stream_error_survives_the_wire() {
        for &condition in StreamCondition::ALL {
            let error = StreamError::new(condition).with_text("why");
            assert_eq!(StreamError::from_element(&error.to_element()), error);
        }
    }
}
