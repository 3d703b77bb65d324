//! The keys of what stands beside the server: services outside XMPP, and external components.

use super::{Section, secs};
use crate::config::Component;
use crate::config::value::{Key, Value};
use posthaste_im::ext::external_services::Service;

pub(super) const EXTERNAL_SERVICES: Section = Section {
    name: "external_services",
    doc: &["STUN and TURN servers, which clients ask for before a call (XEP-0215)."],
    keys: &[
        Key {
            name: "services",
            doc: &[
                "Such as \"stun:stun.example.org:3478\", \"turn:turn.example.org:3478?transport=udp\" or",
                "\"turns:turn.example.org:5349?transport=tcp\".",
            ],
            reload: true,
            value: Value::Texts {
                default: &[],
                check: |text| Service::parse(text).map(drop),
                field: |c| &mut c.external_services.services,
            },
        },
        Key {
            name: "secret",
            doc: &[
                "The secret shared with the TURN servers, of which each user's credentials are made (coturn:",
                "use-auth-secret and static-auth-secret). Empty: clients get no credentials. With it this file",
                "is nobody else's to read.",
            ],
            reload: true,
            value: Value::Hidden {
                field: |c| &mut c.external_services.secret,
            },
        },
        Key {
            name: "credentials_lifetime",
            doc: &["How long such credentials are good for."],
            reload: true,
            value: Value::Period {
                default: secs(86_400),
                min: secs(60),
                max: secs(30 * 86_400),
                field: |c| &mut c.external_services.credentials_lifetime,
            },
        },
    ],
};

/// What the example says above `[component."…"]`.
pub(crate) const COMPONENT_DOC: &[&str] = &[
    "External components (XEP-0114), one section each: programs with a domain of their own that",
    "connect to listen.components, such as gateways and bots.",
];

/// The keys of a `[component."…"]` section.
pub(crate) const COMPONENT_KEYS: &[Key<Component>] = &[
    Key {
        name: "secret",
        doc: &["What the component proves to know."],
        reload: false,
        value: Value::Hidden {
            field: |c| &mut c.secret,
        },
    },
    Key {
        name: "name",
        doc: &["What clients show where they list the services of a host (XEP-0030)."],
        reload: false,
        value: Value::Text {
            default: "",
            check: |_| Ok(()),
            field: |c| &mut c.name,
        },
    },
];
