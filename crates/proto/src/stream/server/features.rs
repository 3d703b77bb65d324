//! What the server offers at each point of a negotiation.

use super::bind::ExpectBind;
use super::login::{ExpectLogin, Login};
use super::upgrade;
use super::{SessionLimits, Shared, State};
use crate::ns;
use crate::sasl::downgrade::Advertised;
use crate::sasl::{HtBinding, Mechanism};
use crate::xml::Element;

/// A stream has been opened: the features, and what may follow.
pub(super) fn begin(shared: &mut Shared, login: Option<Login>) -> State {
    match login {
        None => {
            let features = before_login(shared);
            shared.out.features(&features);
            State::Login(ExpectLogin)
        }
        Some(login) => {
            let features = before_session(shared);
            shared.out.features(&features);
            State::Bind(ExpectBind::new(login))
        }
    }
}

fn features() -> Element {
    Element::new("features", ns::STREAM)
}

fn before_login(shared: &Shared) -> Element {
    let mut features = features();
    if shared.transport.starttls {
        let mut starttls = Element::new("starttls", ns::TLS);
        if !shared.transport.secure {
            starttls.push_child(Element::new("required", ns::TLS));
        }
        features.push_child(starttls);
    }
    let mechanisms = mechanisms(shared);
    if !mechanisms.is_empty() {
        features.push_child(
            Element::new("mechanisms", ns::SASL).with_children(named(ns::SASL, &mechanisms)),
        );
        features.push_child(
            Element::new("authentication", ns::SASL2)
                .with_children(named(ns::SASL2, &mechanisms))
                .with_child(inline(shared))
                .with_children(upgrades(shared)),
        );
        if !shared.transport.bindings.is_empty() {
            features.push_child(channel_bindings(shared));
        }
    }
    if offers_registration(shared) {
        features.push_child(Element::new("register", ns::REGISTER_FEATURE));
    }
    let limits = SessionLimits {
        stanza_bytes: Some(shared.policy.limits.stanza_bytes),
        // Until there is a session it is the whole time to log in that counts, not silence.
        idle_seconds: None,
    };
    features.with_children(announced(limits))
}

/// XEP-0478: what goes over these limits ends the stream, so that a client had better know them.
fn announced(limits: SessionLimits) -> Option<Element> {
    let number =
        |name, value: u64| Element::new(name, ns::STREAM_LIMITS).with_text(&value.to_string());
    let max_bytes = limits
        .stanza_bytes
        .and_then(|bytes| u64::try_from(bytes).ok());
    let children = [
        max_bytes.map(|bytes| number("max-bytes", bytes)),
        limits
            .idle_seconds
            .map(|seconds| number("idle-seconds", seconds)),
    ];
    children.iter().any(Option::is_some).then(|| {
        Element::new("limits", ns::STREAM_LIMITS).with_children(children.into_iter().flatten())
    })
}

/// The mechanisms for this connection, in our order of preference; none where it is not secure.
pub(super) fn mechanisms(shared: &Shared) -> Vec<Mechanism> {
    if !shared.transport.secure {
        return Vec::new();
    }
    let possible = |mechanism: &Mechanism| match mechanism {
        Mechanism::Scram { plus: true, .. } => !shared.transport.bindings.is_empty(),
        Mechanism::Scram { plus: false, .. } | Mechanism::Plain => true,
        Mechanism::External => shared.transport.certified.iter().any(|jid| {
            shared
                .host
                .as_ref()
                .is_some_and(|h| h.domain.as_str() == jid.domain())
        }),
        Mechanism::Ht(_) => false,
    };
    let enabled = &shared.policy.mechanisms;
    Mechanism::ALL
        .into_iter()
        .filter(|m| enabled.contains(m) && possible(m))
        .collect()
}

/// The mechanisms for FAST tokens on this connection (XEP-0484 §3.1).
pub(super) fn fast_mechanisms(shared: &Shared) -> Vec<HtBinding> {
    if !shared.policy.fast || !shared.transport.secure {
        return Vec::new();
    }
    let has = |binding: &HtBinding| match binding.binding_type() {
        Some(kind) => shared.transport.bindings.get(kind).is_some(),
        None => true,
    };
    HtBinding::ALL.into_iter().filter(has).collect()
}

/// What XEP-0474 lets the client verify.
pub(super) fn advertised(shared: &Shared) -> Advertised {
    Advertised {
        mechanisms: mechanisms(shared)
            .iter()
            .map(|m| m.name().to_owned())
            .collect(),
        channel_bindings: shared
            .transport
            .bindings
            .types()
            .map(|t| t.name().to_owned())
            .collect(),
    }
}

pub(super) fn offers_registration(shared: &Shared) -> bool {
    shared.transport.secure && shared.host.as_ref().is_some_and(|host| host.registration)
}

fn named<'a>(
    namespace: &'static str,
    mechanisms: &'a [Mechanism],
) -> impl Iterator<Item = Element> + 'a {
    mechanisms
        .iter()
        .map(move |m| Element::new("mechanism", namespace).with_text(m.name()))
}

fn channel_bindings(shared: &Shared) -> Element {
    let types = shared.transport.bindings.types().map(|kind| {
        Element::new("channel-binding", ns::SASL_CHANNEL_BINDING).with_attr("type", kind.name())
    });
    Element::new("sasl-channel-binding", ns::SASL_CHANNEL_BINDING).with_children(types)
}

/// XEP-0480 §2.1.
fn upgrades(shared: &Shared) -> impl Iterator<Item = Element> {
    upgrade::offered(shared)
        .map(|hash| Element::new("upgrade", ns::SASL_UPGRADE).with_text(&upgrade::task_name(hash)))
}

/// What can be done within SASL2's one round trip.
fn inline(shared: &Shared) -> Element {
    let feature = |var| Element::new("feature", ns::BIND2).with_attr("var", var);
    let in_bind = Element::new("inline", ns::BIND2)
        .with_children([ns::CARBONS, ns::CSI, ns::SM].map(feature));
    let mut inline = Element::new("inline", ns::SASL2)
        .with_child(Element::new("bind", ns::BIND2).with_child(in_bind));
    if shared.policy.resumption {
        inline.push_child(Element::new("sm", ns::SM));
    }
    let fast = fast_mechanisms(shared);
    if !fast.is_empty() {
        let names = fast.into_iter().map(|binding| {
            Element::new("mechanism", ns::FAST).with_text(Mechanism::Ht(binding).name())
        });
        inline.push_child(Element::new("fast", ns::FAST).with_children(names));
    }
    inline
}

/// The features of an authenticated stream that has no session yet.
pub(super) fn before_session(shared: &Shared) -> Element {
    // RFC 3921's session is a no-op that old clients want to see.
    let session =
        Element::new("session", ns::SESSION).with_child(Element::new("optional", ns::SESSION));
    features()
        .with_child(Element::new("bind", ns::BIND))
        .with_child(session)
        .with_children(in_session(shared, false).into_children())
}

/// The features of a stream with a session. Stream management that is on is not offered again: clients (@xmpp/client 0.14)
/// take the offer for a chance to resume.
pub(super) fn in_session(shared: &Shared, is_managed: bool) -> Element {
    let sm = (!is_managed).then(|| Element::new("sm", ns::SM));
    let of_host = shared
        .host
        .iter()
        .flat_map(|host| host.session_features.iter());
    features()
        .with_children(sm)
        .with_children(of_host.cloned())
        .with_children(announced(shared.policy.session_limits))
}
