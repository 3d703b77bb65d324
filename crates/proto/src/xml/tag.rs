//! The inside of a tag: names and attributes.

use super::chars::{self, ATTR_STOP, CLASS, NAME, NAME_START, SPACE};
use super::scan::Scanner;
use super::{XmlError, text};
use crate::ns;
use std::borrow::Cow;

/// The longest name or prefix, in bytes; lets tables keep lengths in 16 bits.
const NAME_BYTES: usize = 1024;

/// An attribute that is not a namespace declaration.
#[derive(Debug, Clone)]
pub struct Attr<'a> {
    /// Name without prefix.
    pub name: &'a str,
    /// Namespace, empty for none.
    pub ns: Cow<'a, str>,
    prefix: &'a str,
    raw: &'a str,
    /// The value is what is written: no references, no white space to resolve.
    plain: bool,
}

impl<'a> Attr<'a> {
    /// The value with references and white space resolved.
    pub fn value(&self) -> Cow<'a, str> {
        if self.plain {
            Cow::Borrowed(self.raw)
        } else {
            text::unescape_attr(self.raw)
        }
    }

    /// Whether this is the attribute `name` without a namespace.
    #[inline]
    pub fn is(&self, name: &str) -> bool {
        self.prefix.is_empty() && self.name == name
    }

    /// Whether this is `xml:lang`.
    pub fn is_lang(&self) -> bool {
        self.prefix == "xml" && self.name == "lang"
    }
}

impl<'a> Scanner<'a> {
    /// Reads up to and including the `>`; tells whether it was `/>`.
    pub(super) fn attributes(&mut self) -> Result<bool, XmlError> {
        self.attrs.clear();
        let bytes = self.text.as_bytes();
        let mut count = 0;
        let mut prefixed = false;
        loop {
            let before = self.at;
            self.skip_space();
            match bytes.get(self.at) {
                Some(b'>') => {
                    self.at += 1;
                    break;
                }
                Some(b'/') if bytes.get(self.at + 1) == Some(&b'>') => {
                    self.at += 2;
                    break;
                }
                None => return Err(XmlError::NotWellFormed("a tag does not end")),
                Some(_) if self.at == before => {
                    return Err(XmlError::NotWellFormed("no space before an attribute"));
                }
                Some(_) => {}
            }
            count += 1;
            if count > self.limits.attributes {
                return Err(XmlError::OverLimit("too many attributes"));
            }
            prefixed |= self.attribute()?;
        }
        if prefixed {
            self.resolve_attributes()?;
        }
        Ok(bytes[self.at - 2] == b'/')
    }

    /// Reads one attribute; tells whether its namespace has to be found.
    fn attribute(&mut self) -> Result<bool, XmlError> {
        let (prefix, name) = self.qname()?;
        self.skip_space();
        if self.text.as_bytes().get(self.at) != Some(&b'=') {
            return Err(XmlError::NotWellFormed("an attribute without a value"));
        }
        self.at += 1;
        self.skip_space();
        let from = self.at + 1;
        let (raw, plain) = self.quoted()?;
        match (prefix, name) {
            ("", "xmlns") => self.scope.declare("", raw, from, self.open.len())?,
            ("xmlns", _) => self.scope.declare(name, raw, from, self.open.len())?,
            _ => {
                if self
                    .attrs
                    .iter()
                    .any(|a| a.name == name && a.prefix == prefix)
                {
                    return Err(XmlError::NotWellFormed("a duplicate attribute"));
                }
                self.attrs.push(Attr {
                    name,
                    ns: Cow::Borrowed(""),
                    prefix,
                    raw,
                    plain,
                });
                return Ok(!prefix.is_empty());
            }
        }
        Ok(false)
    }

    /// Reads a quoted attribute value: what is between the quotes, and whether that is its value.
    fn quoted(&mut self) -> Result<(&'a str, bool), XmlError> {
        let bytes = self.text.as_bytes();
        let Some(&quote @ (b'\'' | b'"')) = bytes.get(self.at) else {
            return Err(XmlError::NotWellFormed("an attribute value without quotes"));
        };
        let from = self.at + 1;
        let mut at = from;
        let mut plain = true;
        loop {
            while at < bytes.len() && CLASS[bytes[at] as usize] & ATTR_STOP == 0 {
                at += 1;
            }
            match bytes.get(at) {
                None => return Err(XmlError::NotWellFormed("an attribute value does not end")),
                Some(&byte) if byte == quote => break,
                Some(b'\'' | b'"') => at += 1,
                Some(b'<') => return Err(XmlError::NotWellFormed("`<` in an attribute value")),
                Some(b'\t' | b'\n' | b'\r') => {
                    plain = false;
                    at += 1;
                }
                Some(b'&') => {
                    plain = false;
                    at += text::reference(&self.text[at..])?.1;
                }
                Some(_) => at += self.special(at)?,
            }
        }
        self.at = at + 1;
        Ok((&self.text[from..at], plain))
    }

    /// Gives prefixed attributes their namespaces and finds duplicates by expanded name.
    fn resolve_attributes(&mut self) -> Result<(), XmlError> {
        for at in 0..self.attrs.len() {
            let (prefix, name) = (self.attrs[at].prefix, self.attrs[at].name);
            let ns = match prefix {
                "" => continue,
                "xml" => Cow::Borrowed(ns::XML),
                _ => {
                    let binding = self.scope.find(prefix).ok_or(XmlError::UndeclaredPrefix)?;
                    let inside = self.open.len() > self.outside;
                    self.relies_on_outside |= inside && binding.depth <= self.outside;
                    binding.uri.clone()
                }
            };
            // Prefix and namespace are not one to one, so names that differ may be equal after expansion.
            let same = |a: &Attr<'_>| a.name == name && !a.prefix.is_empty() && a.ns == ns;
            if self.attrs[..at].iter().any(same) {
                return Err(XmlError::NotWellFormed("a duplicate attribute"));
            }
            self.attrs[at].ns = ns;
        }
        Ok(())
    }

    #[inline]
    pub(super) fn skip_space(&mut self) {
        let bytes = self.text.as_bytes();
        while self.at < bytes.len() && chars::is(bytes[self.at], SPACE) {
            self.at += 1;
        }
    }

    /// Reads a name and splits it at its colon (Namespaces in XML 1.0 §4).
    #[inline]
    pub(super) fn qname(&mut self) -> Result<(&'a str, &'a str), XmlError> {
        let first = self.ncname()?;
        if self.text.as_bytes().get(self.at) != Some(&b':') {
            return Ok(("", first));
        }
        self.at += 1;
        Ok((first, self.ncname()?))
    }

    #[inline]
    fn ncname(&mut self) -> Result<&'a str, XmlError> {
        let bytes = self.text.as_bytes();
        let from = self.at;
        match bytes.get(from) {
            Some(&byte) if chars::is(byte, NAME_START) => self.at += 1,
            Some(0x80..) => self.wide(chars::is_wide_name_start)?,
            _ => return Err(XmlError::NotWellFormed("a bad name")),
        }
        loop {
            while self.at < bytes.len() && chars::is(bytes[self.at], NAME) {
                self.at += 1;
            }
            match bytes.get(self.at) {
                Some(0x80..) => self.wide(chars::is_wide_name)?,
                _ => break,
            }
        }
        if self.at - from > NAME_BYTES {
            return Err(XmlError::OverLimit("name too long"));
        }
        Ok(&self.text[from..self.at])
    }

    /// Reads one character of a name beyond ASCII.
    #[cold]
    fn wide(&mut self, fits: impl Fn(char) -> bool) -> Result<(), XmlError> {
        match self.text[self.at..].chars().next() {
            Some(c) if fits(c) => self.at += c.len_utf8(),
            _ => return Err(XmlError::NotWellFormed("a bad name")),
        }
        Ok(())
    }
}
