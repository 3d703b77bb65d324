//! Nothing is lost when a connection is: both sides count stanzas and say how far they have got.
//!
//! XEP-0198 version 1.6: the two counters, which go from 2^32-1 back to 0 (§4), and the elements
//! `<enable/>`, `<enabled/>`, `<r/>`, `<a/>`, `<resume/>`, `<resumed/>` and `<failed/>`. What is
//! kept for repetition is the session's matter. Left out: the `location` attribute.

use crate::error::{Condition, StreamCondition, StreamError};
use crate::ns;
use crate::xml::Element;

/// The longest stream management id (§5: SHOULD NOT be longer than 4000 bytes).
pub const MAX_ID_BYTES: usize = 4000;

/// Counts what we send and what the peer has confirmed of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    count: u32,
    acked: u32,
}

impl Sent {
    /// Both counters at zero, as when stream management is enabled.
    pub fn new() -> Sent {
        Sent::default()
    }

    /// Counters as they were stored. The order in which they are given is their order in time:
    /// `acked` was reached before `count`.
    pub fn restore(count: u32, acked: u32) -> Sent {
        Sent { count, acked }
    }

    /// Counts one stanza; its number is the returned value (the first is 1), modulo 2^32.
    pub fn send(&mut self) -> u32 {
        self.count = self.count.wrapping_add(1);
        self.count
    }

    /// The number of the last stanza sent.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The number of the last stanza that the peer has confirmed.
    pub fn acked(&self) -> u32 {
        self.acked
    }

    /// How many stanzas the peer has not confirmed.
    pub fn unacked(&self) -> u32 {
        self.count.wrapping_sub(self.acked)
    }

    /// The peer has handled up to `h`. Returns how many stanzas that confirms anew.
    ///
    /// # Errors
    /// `h` is not between the last confirmed and the last sent stanza: the peer confirms what it
    /// was never sent, or takes back what it confirmed.
    pub fn acknowledge(&mut self, h: u32) -> Result<u32, HandledCountTooHigh> {
        let confirmed = h.wrapping_sub(self.acked);
        if confirmed > self.unacked() {
            return Err(HandledCountTooHigh {
                h,
                send_count: self.count,
            });
        }
        self.acked = h;
        Ok(confirmed)
    }
}

/// The peer confirmed more than it was sent (§6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer acknowledged stanza {h}, but only {send_count} were sent")]
pub struct HandledCountTooHigh {
    /// What the peer said.
    pub h: u32,
    /// What was sent.
    pub send_count: u32,
}

impl From<HandledCountTooHigh> for StreamError {
    fn from(error: HandledCountTooHigh) -> StreamError {
        let app = Element::new("handled-count-too-high", ns::SM)
            .with_attr("h", error.h.to_string())
            .with_attr("send-count", error.send_count.to_string());
        StreamError::new(StreamCondition::UndefinedCondition)
            .with_text(error.to_string())
            .with_app(app)
    }
}

/// Counts the stanzas that we have received and taken responsibility for: our `h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handled(u32);

impl Handled {
    /// The counter at zero, as when stream management is enabled.
    pub fn new() -> Handled {
        Handled::default()
    }

    /// A counter as it was stored.
    pub fn restore(h: u32) -> Handled {
        Handled(h)
    }

    /// Counts so many stanzas.
    pub fn add(&mut self, stanzas: u32) {
        self.0 = self.0.wrapping_add(stanzas);
    }

    /// The value for `<a h=''/>`.
    pub fn h(&self) -> u32 {
        self.0
    }
}

/// `<enable/>`: the client asks for stream management.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Enable {
    /// Whether it wants to be able to resume.
    pub resume: bool,
    /// How many seconds it would like the server to wait for it.
    pub max_seconds: Option<u32>,
}

/// `<enabled/>`: the server's consent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enabled {
    /// The id to resume with; `None` if this session cannot be resumed.
    pub resume_id: Option<String>,
    /// How many seconds the server waits for the client.
    pub max_seconds: Option<u32>,
}

/// `<resume/>`: the client wants its former session back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The former session's id.
    pub previd: String,
    /// How many of the server's stanzas the client has handled.
    pub h: u32,
}

/// `<resumed/>`: it has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The former session's id.
    pub previd: String,
    /// How many of the client's stanzas the server has handled.
    pub h: u32,
}

/// `<failed/>`: stream management could not be enabled or a session not be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Why.
    pub condition: Condition,
    /// How many stanzas the session that timed out had handled, if still known.
    pub h: Option<u32>,
}

/// An element of stream management.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nonza {
    /// `<enable/>`
    Enable(Enable),
    /// `<enabled/>`
    Enabled(Enabled),
    /// `<r/>`
    Request,
    /// `<a h=''/>`
    Ack(u32),
    /// `<resume/>`
    Resume(Resume),
    /// `<resumed/>`
    Resumed(Resumed),
    /// `<failed/>`
    Failed(Failed),
}

/// An element of stream management that does not say what it must. The peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NonzaError {
    /// There is no such element in `urn:xmpp:sm:3`.
    #[error("no element of stream management")]
    Unknown,
    /// The attribute is missing or not of its type.
    #[error("attribute {0} of stream management is missing or wrong")]
    Attribute(&'static str),
}

impl From<NonzaError> for StreamError {
    fn from(error: NonzaError) -> StreamError {
        let condition = match error {
            NonzaError::Unknown => StreamCondition::UnsupportedStanzaType,
            NonzaError::Attribute(_) => StreamCondition::BadFormat,
        };
        StreamError::new(condition).with_text(error.to_string())
    }
}

impl Nonza {
    /// Reads an element of the namespace `urn:xmpp:sm:3`.
    ///
    /// # Errors
    /// The name is unknown, or an attribute is missing or wrong.
    pub fn parse(element: &Element) -> Result<Nonza, NonzaError> {
        if element.ns() != ns::SM {
            return Err(NonzaError::Unknown);
        }
        Ok(match element.name() {
            "enable" => Nonza::Enable(Enable {
                resume: boolean(element, "resume")?,
                max_seconds: max(element)?,
            }),
            "enabled" => Nonza::Enabled(Enabled {
                resume_id: match boolean(element, "resume")? {
                    true => Some(id(element, "id")?),
                    false => None,
                },
                max_seconds: max(element)?,
            }),
            "r" => Nonza::Request,
            "a" => Nonza::Ack(h(element)?.ok_or(NonzaError::Attribute("h"))?),
            "resume" => Nonza::Resume(Resume {
                previd: id(element, "previd")?,
                h: h(element)?.ok_or(NonzaError::Attribute("h"))?,
            }),
            "resumed" => Nonza::Resumed(Resumed {
                previd: id(element, "previd")?,
                h: h(element)?.ok_or(NonzaError::Attribute("h"))?,
            }),
            "failed" => Nonza::Failed(Failed {
                condition: condition(element),
                h: h(element)?,
            }),
            _ => return Err(NonzaError::Unknown),
        })
    }

    /// The element.
    pub fn to_element(&self) -> Element {
        match self {
            Nonza::Enable(enable) => named("enable")
                .with_attr_opt("resume", enable.resume.then_some("true"))
                .with_attr_opt("max", enable.max_seconds.map(|max| max.to_string())),
            Nonza::Enabled(enabled) => enabled.to_element(),
            Nonza::Request => named("r"),
            Nonza::Ack(h) => named("a").with_attr("h", h.to_string()),
            Nonza::Resume(resume) => named("resume")
                .with_attr("h", resume.h.to_string())
                .with_attr("previd", resume.previd.as_str()),
            Nonza::Resumed(resumed) => resumed.to_element(),
            Nonza::Failed(failed) => failed.to_element(),
        }
    }
}

impl Enabled {
    /// The element.
    pub fn to_element(&self) -> Element {
        named("enabled")
            .with_attr_opt("id", self.resume_id.as_deref())
            .with_attr_opt("resume", self.resume_id.as_ref().map(|_| "true"))
            .with_attr_opt("max", self.max_seconds.map(|max| max.to_string()))
    }
}

impl Resumed {
    /// The element.
    pub fn to_element(&self) -> Element {
        named("resumed")
            .with_attr("h", self.h.to_string())
            .with_attr("previd", self.previd.as_str())
    }
}

impl Failed {
    /// A failure for a reason, of a session that nothing is known of.
    pub fn new(condition: Condition) -> Failed {
        Failed { condition, h: None }
    }

    /// The element.
    pub fn to_element(&self) -> Element {
        named("failed")
            .with_attr_opt("h", self.h.map(|h| h.to_string()))
            .with_child(Element::new(self.condition.as_str(), ns::STANZA_ERRORS))
    }
}

fn named(name: &'static str) -> Element {
    Element::new(name, ns::SM)
}

fn condition(failed: &Element) -> Condition {
    failed
        .children()
        .filter(|child| child.ns() == ns::STANZA_ERRORS)
        .find_map(|child| Condition::parse(child.name()))
        .unwrap_or(Condition::UndefinedCondition)
}

/// xs:unsignedInt.
fn h(element: &Element) -> Result<Option<u32>, NonzaError> {
    let parse = |text: &str| text.trim().parse().map_err(|_| NonzaError::Attribute("h"));
    element.attr("h").map(parse).transpose()
}

/// xs:positiveInteger; more seconds than fit are as many as fit.
fn max(element: &Element) -> Result<Option<u32>, NonzaError> {
    let Some(text) = element.attr("max").map(str::trim) else {
        return Ok(None);
    };
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NonzaError::Attribute("max"));
    }
    match text.parse().unwrap_or(u32::MAX) {
        0 => Err(NonzaError::Attribute("max")),
        seconds => Ok(Some(seconds)),
    }
}

/// xs:boolean, false when absent (§3: both spellings of both values).
fn boolean(element: &Element, name: &'static str) -> Result<bool, NonzaError> {
    match element.attr(name).map(str::trim) {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(_) => Err(NonzaError::Attribute(name)),
    }
}

fn id(element: &Element, name: &'static str) -> Result<String, NonzaError> {
    match element.attr(name) {
        Some(id) if !id.is_empty() && id.len() <= MAX_ID_BYTES => Ok(id.to_owned()),
        _ => Err(NonzaError::Attribute(name)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn acknowledging_more_than_was_sent_is_an_error() {
        let mut sent = Sent::new();
        for _ in 0..8 {
            sent.send();
        }
        let error = sent.acknowledge(10).unwrap_err();
        assert_eq!((error.h, error.send_count), (10, 8));
        let error = StreamError::from(error).to_element();
        let app = error.child("handled-count-too-high", ns::SM).unwrap();
        assert_eq!(
            (app.attr("h"), app.attr("send-count")),
            (Some("10"), Some("8"))
        );
        assert_eq!(sent.acknowledge(8), Ok(8));
        assert_eq!(sent.acknowledge(8), Ok(0));
        assert!(
            sent.acknowledge(7).is_err(),
            "what was confirmed stays confirmed"
        );
    }

    #[test]
    fn the_counters_go_from_the_largest_number_to_zero() {
        let mut sent = Sent::restore(u32::MAX, u32::MAX - 1);
        assert_eq!(sent.send(), 0);
        assert_eq!(sent.send(), 1);
        assert_eq!(sent.unacked(), 3);
        assert_eq!(sent.acknowledge(0), Ok(2));
        assert!(sent.acknowledge(u32::MAX).is_err());
        assert!(sent.acknowledge(2).is_err());
        assert_eq!(sent.acknowledge(1), Ok(1));
        let mut handled = Handled::restore(u32::MAX);
        handled.add(2);
        assert_eq!(handled.h(), 1);
    }

    proptest! {
        /// The counters behave like ones that never wrap, seen modulo 2^32.
        #[test]
        fn wrapping_is_invisible(
            start: u32,
            steps in proptest::collection::vec((0u32..50, 0u64..80), 1..40),
        ) {
            let mut sent = Sent::restore(start, start);
            let (mut model_sent, mut model_acked) = (u64::from(start), u64::from(start));
            for (sends, ack) in steps {
                for _ in 0..sends {
                    sent.send();
                    model_sent += 1;
                }
                let claim = model_acked + ack;
                let wire = u32::try_from(claim & u64::from(u32::MAX)).unwrap();
                let result = sent.acknowledge(wire);
                if claim <= model_sent {
                    prop_assert_eq!(result, Ok(u32::try_from(ack).unwrap()));
                    model_acked = claim;
                } else {
                    prop_assert!(result.is_err());
                }
                prop_assert_eq!(u64::from(sent.unacked()), model_sent - model_acked);
                prop_assert_eq!(u64::from(sent.count()), model_sent & u64::from(u32::MAX));
            }
        }

        #[test]
        fn every_nonza_is_read_as_it_was_written(
            resume: bool, max in proptest::option::of(1u32..), h: u32,
            id in "[a-zA-Z0-9 <>&'\"]{1,40}", known: bool, kind in 0usize..7,
        ) {
            let previd = id.clone();
            let nonza = match kind {
                0 => Nonza::Enable(Enable { resume, max_seconds: max }),
                1 => Nonza::Enabled(Enabled { resume_id: resume.then_some(id), max_seconds: max }),
                2 => Nonza::Request,
                3 => Nonza::Ack(h),
                4 => Nonza::Resume(Resume { previd, h }),
                5 => Nonza::Resumed(Resumed { previd, h }),
                _ => Nonza::Failed(Failed {
                    condition: Condition::ItemNotFound,
                    h: known.then_some(h),
                }),
            };
            let bytes = nonza.to_element().to_bytes(ns::CLIENT);
            let element = Element::parse(&bytes, ns::CLIENT).unwrap();
            prop_assert_eq!(Nonza::parse(&element), Ok(nonza));
        }
    }

    #[test]
    fn wrong_attributes_are_named() {
        let parse = |xml: &str| Nonza::parse(&Element::parse(xml.as_bytes(), ns::SM).unwrap());
        for (xml, attribute) in [
            ("<a/>", "h"),
            ("<a h='-1'/>", "h"),
            ("<a h='4294967296'/>", "h"),
            ("<a h='x'/>", "h"),
            ("<resume h='1'/>", "previd"),
            ("<resume h='1' previd=''/>", "previd"),
            ("<resume previd='x'/>", "h"),
            ("<enable resume='yes'/>", "resume"),
            ("<enable max='0'/>", "max"),
            ("<enable max='-1'/>", "max"),
            ("<enabled resume='true'/>", "id"),
        ] {
            assert_eq!(parse(xml), Err(NonzaError::Attribute(attribute)), "{xml}");
        }
        let long = format!("<resume h='1' previd='{}'/>", "x".repeat(MAX_ID_BYTES + 1));
        assert_eq!(parse(&long), Err(NonzaError::Attribute("previd")));
        assert_eq!(parse("<x/>"), Err(NonzaError::Unknown));
        assert_eq!(
            parse("<a xmlns='urn:xmpp:sm:2' h='1'/>"),
            Err(NonzaError::Unknown)
        );
        assert_eq!(parse("<a h='4294967295'/>"), Ok(Nonza::Ack(u32::MAX)));
        let forever = Nonza::Enable(Enable {
            resume: true,
            max_seconds: Some(u32::MAX),
        });
        assert_eq!(parse("<enable resume='1' max='99999999999'/>"), Ok(forever));
    }
}
