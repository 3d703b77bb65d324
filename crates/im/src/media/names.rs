//! The names of files and of the objects that hold their bytes: unguessable, and they say nothing.

use std::fmt;
use std::sync::Arc;

use crate::node::Node;

/// Characters of a name (see [`Node::random_name`]): 120 bits.
const CHARS: usize = 24;

fn is_name(text: &str) -> bool {
    let is_ours = |byte: u8| matches!(byte, b'a'..=b'z' | b'2'..=b'7');
    text.len() == CHARS && text.bytes().all(is_ours)
}

/// What a file is called in its address. Whoever knows it may read the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(Arc<str>);

/// Under which name the bytes of files lie in the object store. Nobody outside is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(Arc<str>);

macro_rules! name {
    ($type:ty) => {
        impl $type {
            /// A new one.
            pub fn random(node: &Node) -> Self {
                Self(node.random_name().into())
            }

            /// Reads one; `None` for every text that could not have been given out.
            pub fn parse(text: &str) -> Option<Self> {
                is_name(text).then(|| Self(text.into()))
            }

            /// The name: 24 letters `a` to `z` and digits `2` to `7`.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(FileId);
name!(ObjectName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_could_have_been_given_out_is_a_name() {
        assert!(FileId::parse("abcdefghijklmnopqrstuvw7").is_some());
        for text in [
            "",
            "abcdefghijklmnopqrstuvw",
            "abcdefghijklmnopqrstuvwxy",
            "../../../../../etc/passwd",
            "ABCDEFGHIJKLMNOPQRSTUVW7",
            "abcdefghijklmnopqrstuv/7",
            "abcdefghijklmnopqrstuv\0a",
        ] {
            assert_eq!(FileId::parse(text), None, "{text}");
            assert_eq!(ObjectName::parse(text), None, "{text}");
        }
    }
}
