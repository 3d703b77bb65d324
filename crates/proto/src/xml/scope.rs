//! The namespace declarations in scope (Namespaces in XML 1.0).

use super::{StreamContext, XmlError, text};
use crate::ns;
use smallvec::SmallVec;
use std::borrow::Cow;

/// The longest namespace name, in bytes, as written. Trees repeat it for every element.
const NAMESPACE_BYTES: usize = 512;

/// One declaration.
#[derive(Debug)]
pub(super) struct Binding<'a> {
    /// Empty for the default namespace.
    pub(super) prefix: &'a str,
    /// Borrowed if it is written without references.
    pub(super) uri: Cow<'a, str>,
    /// Where the namespace name stands in the input; meaningless for what the stream declared.
    pub(super) written: (usize, usize),
    /// Depth of the element that declares it; 0 for the stream.
    pub(super) depth: usize,
}

/// All declarations in scope.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    /// Outermost first.
    bindings: SmallVec<[Binding<'a>; 6]>,
    /// One more than the place of the default namespace; 0 if there is none.
    default: usize,
    /// How many declarations there may be.
    limit: usize,
}

impl<'a> Scope<'a> {
    /// What a stream declares for everything in it.
    pub(super) fn of_stream(context: &'a StreamContext, limit: usize) -> Scope<'a> {
        let mut scope = Scope {
            bindings: SmallVec::new(),
            default: 0,
            limit,
        };
        let outside = |prefix, uri| Binding {
            prefix,
            uri: Cow::Borrowed(uri),
            written: (0, 0),
            depth: 0,
        };
        if !context.default_ns.is_empty() {
            scope.push(outside("", &context.default_ns));
        }
        if context.stream_prefix {
            scope.push(outside("stream", ns::STREAM));
        }
        for (prefix, uri) in &context.prefixes {
            scope.push(outside(prefix, uri));
        }
        scope
    }

    /// The declaration that a prefix (or none) refers to.
    #[inline]
    pub(super) fn find(&self, prefix: &str) -> Option<&Binding<'a>> {
        if prefix.is_empty() {
            return self.bindings.get(self.default.wrapping_sub(1));
        }
        self.bindings.iter().rev().find(|b| b.prefix == prefix)
    }

    /// Takes the declaration of `prefix` as `raw`, which begins at `from`, on the element at `depth` (§2.2, §3, §5).
    pub(super) fn declare(
        &mut self,
        prefix: &'a str,
        raw: &'a str,
        from: usize,
        depth: usize,
    ) -> Result<(), XmlError> {
        let uri = text::unescape_attr(raw);
        // As it is meant, not as it is written: written by us it may take more bytes, and must be read again.
        if uri.len() > NAMESPACE_BYTES {
            return Err(XmlError::OverLimit("namespace name too long"));
        }
        let reserved =
            uri == ns::XMLNS || (uri == ns::XML) != (prefix == "xml") || prefix == "xmlns";
        if reserved {
            return Err(XmlError::NotWellFormed("a reserved namespace declared"));
        }
        if uri.is_empty() && !prefix.is_empty() {
            return Err(XmlError::NotWellFormed("a prefix undeclared"));
        }
        let mut same_element = self.bindings.iter().rev().take_while(|b| b.depth == depth);
        if same_element.any(|b| b.prefix == prefix) {
            return Err(XmlError::NotWellFormed("a duplicate attribute"));
        }
        if self.bindings.len() >= self.limit {
            return Err(XmlError::OverLimit("too many namespaces"));
        }
        self.push(Binding {
            prefix,
            uri,
            written: (from, from + raw.len()),
            depth,
        });
        Ok(())
    }

    fn push(&mut self, binding: Binding<'a>) {
        let is_default = binding.prefix.is_empty();
        self.bindings.push(binding);
        if is_default {
            self.default = self.bindings.len();
        }
    }

    /// How many declarations there are.
    pub(super) fn len(&self) -> usize {
        self.bindings.len()
    }

    /// Forgets all but the outermost `len` declarations.
    #[inline]
    pub(super) fn truncate(&mut self, len: usize) {
        if self.bindings.len() > len {
            self.bindings.truncate(len);
            self.default = self
                .bindings
                .iter()
                .rposition(|b| b.prefix.is_empty())
                .map_or(0, |at| at + 1);
        }
    }

    /// All declarations, outermost first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Binding<'a>> {
        self.bindings.iter()
    }
}
