//! Extensions that have no file of their own, because what they ask for is how the server works anyway: the log, the
//! weight of messages, the gate's streams. Here they are named, and announced where they say so.

use posthaste_proto::ns;

use super::Ext;

/// Named for the list, not announced by service discovery (streams announce themselves).
pub(super) const fn named(name: &'static str, xep: u16, version: &'static str) -> Ext {
    Ext {
        name,
        xep,
        version,
        host_features: &[],
        account_features: &[],
        account_iqs: &[],
        host_iqs: &[],
    }
}

/// What the heart does without a file: see [`crate::log`], [`crate::catch_up`], [`crate::weight`] and
/// [`crate::session`].
pub const HEART: &[&Ext] = &[
    &named("Data Forms", 4, "2.13.2"),
    // Nodes of personal eventing, which pass through; what is configured for them is [`super::pubsub`]'s.
    &named("Bookmark Storage", 48, "1.2"),
    &named("User Location", 80, "1.10.0"),
    &named("User Avatar", 84, "1.1.4"),
    &named("User Mood", 107, "1.2.2"),
    &named("User Nickname", 172, "1.1"),
    &named(
        "Best Practices for Persistent Storage of Public Data via Publish-Subscribe",
        222,
        "1.0",
    ),
    &named(
        "Best Practices for Persistent Storage of Private Data via Publish-Subscribe",
        223,
        "1.1.1",
    ),
    &named("vCard4 Over XMPP", 292, "0.12.0"),
    &named("OMEMO Encryption", 384, "0.9.1"),
    &named("Chat State Notifications", 85, "2.1"),
    &named("Service Discovery Extensions", 128, "1.0.1"),
    &named("Roster Item Exchange", 144, "1.1.1"),
    &named("vCard-Based Avatars", 153, "1.1.1"),
    &named("Contact Addresses for XMPP Services", 157, "1.1.1"),
    &Ext {
        // §4
        host_features: &["msgoffline"],
        ..named("Best Practices for Handling Offline Messages", 160, "1.0.1")
    },
    &named("Message Delivery Receipts", 184, "1.4.0"),
    &named("Stream Management", 198, "1.6.3"),
    &Ext {
        host_features: &[ns::DELAY],
        ..named("Delayed Delivery", 203, "2.0")
    },
    &named("Stanza Forwarding", 297, "1.0"),
    &named("Displayed Markers", 333, "1.0.0"),
    &Ext {
        host_features: &[ns::HINTS],
        ..named("Message Processing Hints", 334, "1.0.0")
    },
    &named("Client State Indication", 352, "1.0.0"),
    &Ext {
        // §5: whoever may ask an account learns that its ids can be trusted.
        host_features: &[ns::STANZA_ID],
        account_features: &[ns::STANZA_ID],
        ..named("Unique and Stable Stanza IDs", 359, "0.7.0")
    },
];

/// What the gate does.
pub const GATE: &[&Ext] = &[
    &named("Jabber Component Protocol", 114, "1.6"),
    &named(
        "Bidirectional-streams Over Synchronous HTTP (BOSH)",
        124,
        "1.11.2",
    ),
    &named(
        "Discovering Alternative XMPP Connection Methods",
        156,
        "1.4.0",
    ),
    &named("XMPP Over BOSH", 206, "1.4"),
    &named(
        "Best Practices for Use of SASL EXTERNAL with Certificates",
        178,
        "1.2",
    ),
    &named("Dialback Key Generation and Validation", 185, "1.0"),
    &named("Server Dialback", 220, "1.1.1"),
    &named("Impact of TLS and DNSSEC on Dialback", 344, "0.4"),
    &named("SRV records for XMPP over TLS", 368, "1.1.0"),
    &named("Bind 2", 386, "1.1.0"),
    &named("Extensible SASL Profile", 388, "1.0.4"),
    &named("SASL Channel-Binding Type Capability", 440, "1.0.0"),
    &named("SASL SCRAM Downgrade Protection", 474, "0.5.0"),
    &named("Stream Limits Advertisement", 478, "0.2.0"),
    &named("SASL Upgrade Tasks", 480, "0.2.0"),
    &named("Fast Authentication Streamlining Tokens", 484, "0.2.0"),
];
