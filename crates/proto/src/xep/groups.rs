//! Groups: rooms whose members miss nothing while they are away (`docs/protocol/groups.md`, version 0).

use crate::ns;
use crate::xml::Element;

/// Mentions that an [`Activity`] names at most (§3): a list of chats shows that there are some.
pub const MAX_MENTIONS: usize = 16;
/// Bytes of a position. Archive ids are shorter; UUIDs have 36.
pub const MAX_POSITION_BYTES: usize = 128;

/// How things stand in a group, for one member (§3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// The position of the newest counted message; `None` if there is none.
    pub last: Option<String>,
    /// Its number; 0 if there is none.
    pub count: u64,
    /// The nickname of its sender.
    pub by: Option<String>,
    /// The highest number that the member is known to have seen.
    pub read: u64,
    /// Numbers of messages beyond that which are for the member by name, ascending, at most [`MAX_MENTIONS`].
    pub mentions: Vec<u64>,
}

impl Activity {
    /// Reads the element; `None` if it is no statement of how things stand.
    pub fn read(element: &Element) -> Option<Activity> {
        if !element.is("activity", ns::GROUPS) {
            return None;
        }
        let count = number(element, "count")?;
        let read = match element.attr("read") {
            None => 0,
            Some(_) => number(element, "read")?,
        };
        let last = element.attr("last").map(position);
        // What was counted has a position, and what has none was not counted.
        let last = match (last, count) {
            (None, 0) => None,
            (Some(Some(last)), 1..) => Some(last.to_owned()),
            _ => return None,
        };
        let mut mentions = Vec::new();
        for mention in element.attr("mentions").unwrap_or_default().split(' ') {
            if !mention.is_empty() {
                mentions.push(mention.parse().ok()?);
            }
        }
        mentions.sort_unstable();
        mentions.dedup();
        mentions.retain(|mention| (read + 1..=count).contains(mention));
        let surplus = mentions.len().saturating_sub(MAX_MENTIONS);
        mentions.drain(..surplus);
        Some(Activity {
            last,
            count,
            by: element.attr("by").map(str::to_owned),
            read: read.min(count),
            mentions,
        })
    }

    /// The element.
    pub fn to_element(&self) -> Element {
        let numbers: Vec<String> = self.mentions.iter().map(u64::to_string).collect();
        let some = |numbers: Vec<String>| (!numbers.is_empty()).then(|| numbers.join(" "));
        Element::new("activity", ns::GROUPS)
            .with_attr_opt("last", self.last.clone())
            .with_attr("count", self.count.to_string())
            .with_attr_opt("by", self.by.clone())
            .with_attr_opt("read", (self.read > 0).then(|| self.read.to_string()))
            .with_attr_opt("mentions", some(numbers))
    }
}

/// How far a message has got (§5), the author left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Those who belong to the group.
    pub members: u32,
    /// Of these, those to whom it was delivered.
    pub delivered: u32,
    /// Of these, those who have seen it.
    pub displayed: u32,
}

impl Reach {
    /// Puts the numbers on an element.
    #[must_use]
    pub fn on(self, element: Element) -> Element {
        element
            .with_attr("members", self.members.to_string())
            .with_attr("delivered", self.delivered.to_string())
            .with_attr("displayed", self.displayed.to_string())
    }
}

/// What the author of messages is told of how far they have got (§5): positions and numbers.
pub fn status(messages: impl IntoIterator<Item = (String, Reach)>) -> Element {
    let message = |(id, reach): (String, Reach)| {
        reach.on(Element::new("message", ns::GROUPS).with_attr("id", id))
    };
    Element::new("status", ns::GROUPS).with_children(messages.into_iter().map(message))
}

/// One line of the answer to who has read a message (§5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Who, where that may be known.
    pub jid: Option<String>,
    /// The nickname, where it is known.
    pub nick: Option<String>,
    /// Was the message delivered?
    pub delivered: bool,
    /// Was it seen?
    pub displayed: bool,
}

impl Reader {
    /// The element.
    pub fn to_element(&self) -> Element {
        let yes = |is: bool| is.then_some("true");
        Element::new("member", ns::GROUPS)
            .with_attr_opt("jid", self.jid.clone())
            .with_attr_opt("nick", self.nick.clone())
            .with_attr_opt("delivered", yes(self.delivered))
            .with_attr_opt("displayed", yes(self.displayed))
    }
}

/// What the room adds to a counted message (§2).
pub fn counted(n: u64) -> Element {
    Element::new("counted", ns::GROUPS).with_attr("n", n.to_string())
}

/// The number of a message (§2), given its `<counted/>`.
pub fn counted_number(counted: &Element) -> Option<u64> {
    number(counted, "n")
}

/// A home asks for the number of a message that its owner has seen (§6).
pub fn seen(position: &str) -> Element {
    Element::new("seen", ns::GROUPS).with_attr("id", position)
}

/// Where a client wants to go on when it joins (§4).
pub fn since(position: &str) -> Element {
    Element::new("since", ns::GROUPS).with_attr("id", position)
}

/// More was missed than is sent: what lies between these two is in the archive (§4).
pub fn gap(after: &str, before: &str) -> Element {
    Element::new("gap", ns::GROUPS)
        .with_attr("after", after)
        .with_attr("before", before)
}

/// The position that an element names by its `id`.
pub fn named_position(element: &Element) -> Option<&str> {
    element.attr("id").and_then(position)
}

fn position(text: &str) -> Option<&str> {
    (1..=MAX_POSITION_BYTES)
        .contains(&text.len())
        .then_some(text)
}

fn number(element: &Element, name: &str) -> Option<u64> {
    element.attr(name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(attributes: &str) -> Option<Activity> {
        let xml = format!("<activity xmlns='urn:posthaste:groups:0' {attributes}/>");
        Activity::read(&Element::parse(xml.as_bytes(), ns::CLIENT).unwrap())
    }

    #[test]
    fn how_things_stand_is_read_and_written() {
        let activity = Activity {
            last: Some("a".into()),
            count: 42,
            by: Some("hecate".into()),
            read: 40,
            mentions: vec![41, 42],
        };
        let attributes = "last='a' count='42' by='hecate' read='40' mentions='42 41'";
        assert_eq!(parse(attributes), Some(activity.clone()));
        assert_eq!(Activity::read(&activity.to_element()), Some(activity));
        assert_eq!(parse("count='0'"), Some(Activity::default()));
    }

    #[test]
    fn what_makes_no_sense_is_not_believed() {
        for wrong in [
            "",
            "count='x'",
            "count='-1' last='a'",
            "count='1'",
            "count='0' last='a'",
            "count='1' last=''",
            "count='1' last='a' read='x'",
            "count='1' last='a' mentions='x'",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        let long = format!("count='1' last='{}'", "x".repeat(MAX_POSITION_BYTES + 1));
        assert_eq!(parse(&long), None);
    }

    #[test]
    fn mentions_are_few_unread_and_not_of_the_future() {
        let activity = parse("last='a' count='9' read='12' mentions='3 13'").unwrap();
        assert_eq!((activity.read, activity.mentions), (9, vec![]));
        let all: Vec<String> = (1..100u64).map(|n| n.to_string()).collect();
        let many = format!("last='a' count='50' read='2' mentions='{}'", all.join(" "));
        let expected: Vec<u64> = (35..=50).collect();
        assert_eq!(parse(&many).unwrap().mentions, expected);
    }

    #[test]
    fn a_status_looks_like_this() {
        let reach = Reach {
            members: 12,
            delivered: 12,
            displayed: 7,
        };
        let xml = String::from_utf8(status([("p".into(), reach)]).to_bytes(ns::CLIENT)).unwrap();
        assert_eq!(
            xml,
            "<status xmlns='urn:posthaste:groups:0'><message id='p' members='12' delivered='12' displayed='7'/></status>"
        );
    }
}
