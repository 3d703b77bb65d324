//! What the XMPP compliance suites ask of a server, and what of it is here: `docs/compliance.md` is written by it
//! (`cargo run -p posthaste-im --example compliance > docs/compliance.md`).
//!
//! XEP-0479: XMPP Compliance Suites 2023, version 0.1.0. Whether a specification is here is said by the table of
//! extensions alone; a test looks whether each one that is has the tests that the page links to.

use super::every;

/// One suite of the XEP, with the rows that ask something of a server.
struct Suite {
    name: &'static str,
    rows: &'static [Row],
}

/// One row: a feature, and what provides it. All of it is needed.
struct Row {
    feature: &'static str,
    /// Is it asked of every server, or of an advanced one only?
    of_every_server: bool,
    providers: &'static [Provider],
}

/// What provides a feature.
enum Provider {
    /// An RFC that this server is made of.
    Rfc(u16),
    /// An extension.
    Xep(u16),
    /// An extension, in group chats.
    InRooms(u16),
}

use Provider::{InRooms, Rfc, Xep};

const fn all(feature: &'static str, providers: &'static [Provider]) -> Row {
    Row {
        feature,
        of_every_server: true,
        providers,
    }
}

const fn advanced(feature: &'static str, providers: &'static [Provider]) -> Row {
    Row {
        feature,
        of_every_server: false,
        providers,
    }
}

/// Group chats (XEP-0045).
const ROOMS: u16 = 45;

const SUITES: &[Suite] = &[
    Suite {
        name: "Core",
        rows: &[
            all("Core features", &[Rfc(6120)]),
            all("TLS", &[Rfc(7590)]),
            advanced("Direct TLS", &[Xep(368)]),
            all("Feature discovery", &[Xep(30)]),
            advanced("Feature broadcasts", &[Xep(115)]),
            all("Server extensibility", &[Xep(114)]),
            advanced("Event publishing", &[Xep(163)]),
        ],
    },
    Suite {
        name: "Web",
        rows: &[all(
            "Web connection mechanisms",
            &[Rfc(7395), Xep(206), Xep(124)],
        )],
    },
    Suite {
        name: "IM",
        rows: &[
            all("Core features", &[Rfc(6121)]),
            advanced("User avatar compatibility", &[Xep(398), Xep(153)]),
            all("vcard-temp", &[Xep(54)]),
            all("Outbound message synchronization", &[Xep(280)]),
            advanced("User blocking", &[Xep(191)]),
            all("Group chat", &[Xep(ROOMS), Xep(249)]),
            advanced(
                "Advanced group chat",
                &[Xep(48), InRooms(313), Xep(402), Xep(410)],
            ),
            advanced("Persistent storage of private data via PubSub", &[Xep(223)]),
            advanced("Private XML storage", &[Xep(49)]),
            advanced("Stream management", &[Xep(198)]),
            advanced("History storage and retrieval", &[Xep(313)]),
            all("File upload", &[Xep(363)]),
        ],
    },
    Suite {
        name: "Mobile",
        rows: &[
            all("Stream management", &[Xep(198)]),
            all("Client state indication", &[Xep(352)]),
            advanced("Third party push notifications", &[Xep(357)]),
        ],
    },
    Suite {
        name: "A/V calling",
        rows: &[all("STUN/TURN server discovery", &[Xep(215)])],
    },
];

/// Tests that are not the transcripts of their own XEP.
const OTHER_TESTS: &[(u16, &str)] = &[
    (48, "crates/im/tests/stories/profile.rs"),
    (114, "tests/interop/test_components.py"),
    (124, "tests/interop/test_bosh.py"),
    (206, "tests/interop/test_bosh.py"),
    (368, "crates/gate/tests/transports.rs"),
    (410, "crates/im/tests/stories/rooms_archive.rs"),
];

const HEAD: &str = "# Compliance\n\n\
    What the XMPP Compliance Suites 2023 (XEP-0479, version 0.1.0) ask of a server, and what of it is here. Made from \
    the table of extensions (`crates/im/src/ext`); do not edit it by hand. Rows that ask something of clients only are \
    left out.\n";

impl Provider {
    fn is_here(&self) -> bool {
        let has = |xep: u16| every().any(|ext| ext.xep == xep);
        match *self {
            Rfc(_) => true,
            Xep(xep) => has(xep),
            InRooms(xep) => has(xep) && has(ROOMS),
        }
    }

    fn name(&self) -> String {
        match *self {
            Rfc(rfc) => format!("RFC {rfc}"),
            Xep(xep) => format!("XEP-{xep:04}"),
            InRooms(xep) => format!("XEP-{xep:04} in rooms"),
        }
    }

    /// Where its tests are, from the repository's root.
    fn tests(&self) -> String {
        match *self {
            Rfc(7395 | 7590) => "crates/gate/tests/transports.rs".to_owned(),
            Rfc(rfc) => format!("tests/transcripts/rfc-{rfc}"),
            InRooms(_) => "crates/im/tests/stories/rooms_archive.rs".to_owned(),
            Xep(xep) => {
                let other = OTHER_TESTS.iter().find(|(of, _)| *of == xep);
                other.map_or_else(
                    || format!("tests/transcripts/xep-{xep:04}"),
                    |(_, path)| (*path).to_owned(),
                )
            }
        }
    }

    fn shown(&self) -> String {
        match self.is_here() {
            true => format!("[{}](../{})", self.name(), self.tests()),
            false => format!("{} (not yet)", self.name()),
        }
    }
}

impl Row {
    fn is_met(&self) -> bool {
        self.providers.iter().all(Provider::is_here)
    }

    fn markdown(&self) -> String {
        let providers: Vec<_> = self.providers.iter().map(Provider::shown).collect();
        format!(
            "| {} | {} | {} | {} |\n",
            self.feature,
            if self.of_every_server {
                "every"
            } else {
                "advanced"
            },
            if self.is_met() { "yes" } else { "no" },
            providers.join(", ")
        )
    }
}

impl Suite {
    fn level(&self) -> &'static str {
        let met = |of_every: bool| {
            let mut rows = self
                .rows
                .iter()
                .filter(|row| row.of_every_server || !of_every);
            rows.all(Row::is_met)
        };
        match (met(false), met(true)) {
            (true, _) => "advanced server",
            (false, true) => "server",
            (false, false) => "not met yet",
        }
    }

    fn markdown(&self) -> String {
        let rows: String = self.rows.iter().map(Row::markdown).collect();
        format!(
            "\n## {}: {}\n\n| Feature | Asked of servers | Here | Specifications and their tests |\n|---|---|---|---|\n{rows}",
            self.name,
            self.level()
        )
    }
}

/// The page in Markdown.
pub fn markdown() -> String {
    let suites = SUITES.iter().map(Suite::markdown);
    std::iter::once(HEAD.to_owned()).chain(suites).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_committed_page_is_current() {
        let committed = include_str!("../../../../docs/compliance.md");
        assert!(
            committed == markdown(),
            "run: cargo run -p posthaste-im --example compliance > docs/compliance.md"
        );
    }

    #[test]
    fn whatever_is_said_to_be_here_has_its_tests() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let rows = SUITES.iter().flat_map(|suite| suite.rows);
        let providers = rows.flat_map(|row| row.providers).filter(|it| it.is_here());
        for provider in providers {
            let tests = root.join(provider.tests());
            assert!(tests.exists(), "{}: {}", provider.name(), tests.display());
        }
    }
}
