//! Multi-user chat: what a person is to a room and may do in it, and the payloads by which rooms are entered and run.
//!
//! XEP-0045, version 1.35.5.

pub mod admin;
pub mod config;
pub mod info;
mod join;
mod nick;
pub mod owner;
pub mod register;
mod status;
mod user;
pub mod voice;

pub use config::RoomConfig;
pub use join::{History, Join};
pub use nick::Nick;
pub use status::Status;
pub use user::{Actor, Continue, Decline, Destroy, Invite, Item, User};

use crate::xml::Element;

/// Longest reason that a room keeps or passes on, in bytes: a few sentences. It is stored with each ban and shown to
/// all occupants.
pub const MAX_REASON_BYTES: usize = 1_024;

macro_rules! words {
    ($(#[$meta:meta])* $name:ident, $($(#[$doc:meta])* $variant:ident = $word:literal,)*) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All of them, the least first.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

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

words! {
    /// What a user is to a room, whether there or not (§5.2). Each can do what those before it can.
    Affiliation,
    /// Banned.
    Outcast = "outcast",
    /// Nothing in particular.
    None = "none",
    /// On the list of a members-only room.
    Member = "member",
    /// Runs the room.
    Admin = "admin",
    /// Has made it, or was given it.
    Owner = "owner",
}

words! {
    /// What an occupant may do as long as it is there (§5.1). Each can do what those before it can.
    Role,
    /// Is not there.
    None = "none",
    /// Listens.
    Visitor = "visitor",
    /// Speaks.
    Participant = "participant",
    /// Keeps order.
    Moderator = "moderator",
}

/// The text of a child in the same namespace, if there is such a child.
fn child_text(element: &Element, name: &str) -> Option<String> {
    element.child(name, element.ns()).map(Element::text)
}

/// A child that holds a text.
fn text_child(name: &'static str, ns: &'static str, text: Option<&str>) -> Option<Element> {
    text.map(|text| Element::new(name, ns).with_text(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for &affiliation in Affiliation::ALL {
            assert_eq!(Affiliation::parse(affiliation.as_str()), Some(affiliation));
        }
        for &role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("Moderator"), None);
        assert!(Affiliation::Outcast < Affiliation::None && Role::Visitor < Role::Participant);
    }
}
