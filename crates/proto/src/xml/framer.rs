//! Finds where the top-level elements of a stream end, in a few bytes of state and without ever looking at a byte twice.
//!
//! The framer follows quotes, tags and CDATA sections only as far as it needs for that; [`super::Scanner`] validates
//! what it cuts. It does refuse at once what can never become valid, so that a bad peer need not be waited for.

use super::chars::{self, SPACE};
use super::scan::forbidden;
use super::{Limits, XmlError};

/// What stands at the start of the unread bytes. Consume the given number of bytes before the next push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Nothing whole yet.
    Incomplete,
    /// White space between elements (a keep-alive, RFC 6120 §4.6.1).
    Whitespace(usize),
    /// The stream's start tag with the XML declaration before it, if any; for [`super::OpenTag::parse`].
    StreamOpen(usize),
    /// One whole top-level element.
    Element(usize),
    /// The stream's end tag.
    StreamClose(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between tags.
    Outside,
    /// Inside the XML declaration.
    Declaration,
    /// Inside a start tag.
    StartTag,
    /// Inside a start tag, after a `/`.
    Slash,
    /// Inside a value in single quotes.
    Apostrophe,
    /// Inside a value in double quotes.
    Quote,
    /// Inside an end tag.
    EndTag,
    /// Inside a CDATA section.
    Cdata,
}

/// Cuts a stream into elements; see the module comment. One per stream: make a new one at a stream restart.
#[derive(Debug, Clone)]
pub struct Framer {
    /// How far the unread bytes have been looked at.
    at: u32,
    depth: u16,
    state: State,
    /// The stream's start tag has been told.
    opened: bool,
    /// An XML declaration has begun in this stream.
    declared: bool,
}

impl Default for Framer {
    fn default() -> Framer {
        Framer::new()
    }
}

impl Framer {
    /// A framer that expects the stream's start tag.
    pub fn new() -> Framer {
        Framer {
            at: 0,
            depth: 0,
            state: State::Outside,
            opened: false,
            declared: false,
        }
    }

    /// Looks at all unread bytes; those seen by an earlier push must come again, followed by new ones.
    ///
    /// # Errors
    /// The bytes cannot become a valid stream, or an element exceeds `limits`.
    pub fn push(&mut self, unread: &[u8], limits: &Limits) -> Result<Frame, XmlError> {
        // Positions are 32 bits wide.
        let limit = limits.stanza_bytes.min(u32::MAX as usize / 2);
        let window = &unread[..unread.len().min(limit + 1)];
        let frame = self.advance(window, limits)?;
        match frame {
            Frame::Incomplete if window.len() > limit => {
                Err(XmlError::OverLimit("element too long"))
            }
            Frame::StreamOpen(n) | Frame::Element(n) | Frame::StreamClose(n) if n > limit => {
                Err(XmlError::OverLimit("element too long"))
            }
            Frame::Incomplete => Ok(frame),
            _ => {
                self.at = 0;
                Ok(frame)
            }
        }
    }

    fn advance(&mut self, unread: &[u8], limits: &Limits) -> Result<Frame, XmlError> {
        let mut at = self.at as usize;
        loop {
            let step = match self.state {
                State::Outside if self.depth == 0 => self.between_elements(unread, &mut at)?,
                State::Outside => self.in_content(unread, &mut at)?,
                State::Declaration => self.in_declaration(unread, &mut at)?,
                State::StartTag | State::Slash => self.in_start_tag(unread, &mut at, limits)?,
                State::Apostrophe | State::Quote => self.in_value(unread, &mut at)?,
                State::EndTag => self.in_end_tag(unread, &mut at)?,
                State::Cdata => self.in_cdata(unread, &mut at),
            };
            match step {
                Step::Next => {}
                Step::More => {
                    // Cannot truncate: `push` limits the window.
                    self.at = u32::try_from(at).unwrap_or(u32::MAX);
                    return Ok(Frame::Incomplete);
                }
                Step::Found(frame) => return Ok(frame),
            }
        }
    }

    fn between_elements(&mut self, unread: &[u8], at: &mut usize) -> Result<Step, XmlError> {
        // After an XML declaration `at` is behind it; otherwise white space is told apart before anything else.
        while let Some(&byte) = unread.get(*at) {
            if chars::is(byte, SPACE) {
                *at += 1;
                continue;
            }
            if *at > 0 && !self.declared {
                return Ok(Step::Found(Frame::Whitespace(*at)));
            }
            return self.top_level(unread, at);
        }
        match *at {
            0 => Ok(Step::More),
            n if !self.declared => Ok(Step::Found(Frame::Whitespace(n))),
            _ => Ok(Step::More),
        }
    }

    fn top_level(&mut self, unread: &[u8], at: &mut usize) -> Result<Step, XmlError> {
        match &unread[*at..] {
            [b'<'] => Ok(Step::More),
            [b'<', b'/', ..] if self.opened => self.enter(State::EndTag, at, 2),
            [b'<', b'/', ..] => Err(XmlError::NotWellFormed(
                "an end tag before the stream has begun",
            )),
            [b'<', b'?', rest @ ..] => self.question(rest, at),
            [b'<', b'!', ..] => {
                let markup = &unread[*at..];
                // Long enough to name it, or not what it could become.
                let undecided = [b"<!--".as_slice(), b"<!DOCTYPE", b"<![CDATA["]
                    .iter()
                    .any(|m| m.starts_with(markup));
                if undecided {
                    Ok(Step::More)
                } else {
                    Err(forbidden(markup))
                }
            }
            [b'<', ..] => self.enter(State::StartTag, at, 1),
            [0xFE | 0xFF | 0, ..] => Err(XmlError::UnsupportedEncoding),
            _ => Err(XmlError::BadFormat("text outside an element")),
        }
    }

    /// An XML declaration may be the very first thing of a stream; everything else with `<?` is forbidden.
    fn question(&mut self, rest: &[u8], at: &mut usize) -> Result<Step, XmlError> {
        const RESTRICTED: XmlError = XmlError::Restricted("a processing instruction");
        if self.opened || self.declared || *at > 0 {
            return Err(RESTRICTED);
        }
        match rest {
            [b'x', b'm', b'l', space, ..] if chars::is(*space, SPACE) => {
                self.declared = true;
                self.enter(State::Declaration, at, "<?xml ".len())
            }
            [] | [b'x'] | [b'x', b'm'] | [b'x', b'm', b'l'] => Ok(Step::More),
            _ => Err(RESTRICTED),
        }
    }

    fn enter(&mut self, state: State, at: &mut usize, length: usize) -> Result<Step, XmlError> {
        self.state = state;
        *at += length;
        Ok(Step::Next)
    }

    fn in_declaration(&mut self, unread: &[u8], at: &mut usize) -> Result<Step, XmlError> {
        let Some(found) = memchr::memchr(b'>', &unread[*at..]) else {
            *at = unread.len();
            return Ok(Step::More);
        };
        *at += found + 1;
        if unread[*at - 2] != b'?' {
            return Err(XmlError::NotWellFormed("a bad XML declaration"));
        }
        self.state = State::Outside;
        Ok(Step::Next)
    }

    fn in_content(&mut self, unread: &[u8], at: &mut usize) -> Result<Step, XmlError> {
        let Some(found) = memchr::memchr(b'<', &unread[*at..]) else {
            *at = unread.len();
            return Ok(Step::More);
        };
        *at += found;
        match &unread[*at..] {
            [_] => Ok(Step::More),
            [_, b'/', ..] => self.enter(State::EndTag, at, 2),
            [_, b'?', ..] => Err(XmlError::Restricted("a processing instruction")),
            markup @ [_, b'!', ..] => {
                if markup.starts_with(b"<![CDATA[") {
                    return self.enter(State::Cdata, at, "<![CDATA[".len());
                }
                let undecided = [b"<!--".as_slice(), b"<!DOCTYPE", b"<![CDATA["]
                    .iter()
                    .any(|m| m.starts_with(markup));
                if undecided {
                    Ok(Step::More)
                } else {
                    Err(forbidden(markup))
                }
            }
            _ => self.enter(State::StartTag, at, 1),
        }
    }

    fn in_start_tag(
        &mut self,
        unread: &[u8],
        at: &mut usize,
        limits: &Limits,
    ) -> Result<Step, XmlError> {
        while let Some(&byte) = unread.get(*at) {
            *at += 1;
            match (self.state, byte) {
                (State::Slash, b'>') => return self.tag_done(*at, true, limits),
                (State::Slash, _) => return Err(XmlError::NotWellFormed("`/` inside a tag")),
                (_, b'>') => return self.tag_done(*at, false, limits),
                (_, b'/') => self.state = State::Slash,
                (_, b'\'') => return self.enter(State::Apostrophe, at, 0),
                (_, b'"') => return self.enter(State::Quote, at, 0),
                (_, b'<') => return Err(XmlError::NotWellFormed("`<` inside a tag")),
                _ => {}
            }
        }
        Ok(Step::More)
    }

    fn tag_done(&mut self, end: usize, empty: bool, limits: &Limits) -> Result<Step, XmlError> {
        self.state = State::Outside;
        if !self.opened {
            if empty {
                return Err(XmlError::BadFormat("a stream that ends at once"));
            }
            self.opened = true;
            self.declared = false;
            return Ok(Step::Found(Frame::StreamOpen(end)));
        }
        if usize::from(self.depth) >= limits.depth.min(usize::from(u16::MAX)) {
            return Err(XmlError::OverLimit("too deep"));
        }
        match (empty, self.depth) {
            (true, 0) => Ok(Step::Found(Frame::Element(end))),
            (true, _) => Ok(Step::Next),
            (false, depth) => {
                self.depth = depth + 1;
                Ok(Step::Next)
            }
        }
    }

    fn in_value(&mut self, unread: &[u8], at: &mut usize) -> Result<Step, XmlError> {
        let quote = if self.state == State::Quote {
            b'"'
        } else {
            b'\''
        };
        match memchr::memchr2(quote, b'<', &unread[*at..]) {
            None => {
                *at = unread.len();
                Ok(Step::More)
            }
            Some(found) if unread[*at + found] == b'<' => {
                Err(XmlError::NotWellFormed("`<` in an attribute value"))
            }
            Some(found) => self.enter(State::StartTag, at, found + 1),
        }
    }

    fn in_end_tag(&mut self, unread: &[u8], at: &mut usize) -> Result<Step, XmlError> {
        match memchr::memchr2(b'>', b'<', &unread[*at..]) {
            None => {
                *at = unread.len();
                Ok(Step::More)
            }
            Some(found) if unread[*at + found] == b'<' => {
                Err(XmlError::NotWellFormed("`<` inside a tag"))
            }
            Some(found) => {
                *at += found + 1;
                self.state = State::Outside;
                match self.depth {
                    0 => Ok(Step::Found(Frame::StreamClose(*at))),
                    1 => {
                        self.depth = 0;
                        Ok(Step::Found(Frame::Element(*at)))
                    }
                    depth => {
                        self.depth = depth - 1;
                        Ok(Step::Next)
                    }
                }
            }
        }
    }

    fn in_cdata(&mut self, unread: &[u8], at: &mut usize) -> Step {
        match memchr::memmem::find(&unread[*at..], b"]]>") {
            Some(found) => {
                *at += found + "]]>".len();
                self.state = State::Outside;
                Step::Next
            }
            None => {
                // The last two bytes may begin the end; they are the only ones seen twice.
                *at = (*at).max(unread.len().saturating_sub(2));
                Step::More
            }
        }
    }
}

enum Step {
    Next,
    More,
    Found(Frame),
}
