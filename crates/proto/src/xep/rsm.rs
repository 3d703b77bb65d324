//! Result set management: long answers are asked for a page at a time, from either end.
//!
//! XEP-0059 1.0. Whether a page can be asked for by its place (`<index/>`, §2.5) is each user's to decide.

use thiserror::Error;

use crate::ns;
use crate::xml::Element;

/// Which page is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Page {
    /// The first one.
    #[default]
    First,
    /// What follows the item of this UID (§2.2).
    After(String),
    /// What comes right before the item of this UID (§2.3).
    Before(String),
    /// The last one (§2.4): an empty `<before/>`.
    Last,
    /// What begins at this place, counted from 0 (§2.5).
    Index(u32),
}

/// The `<set/>` of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// At most so many items; 0 asks for the count alone (§2.6).
    pub max: Option<u32>,
    /// Where they begin or end.
    pub page: Page,
}

/// A `<set/>` that asks for nothing that makes sense. The peer's fault.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a result set request with {0}")]
pub struct BadRequest(&'static str);

/// The item that a page was to begin or end at is not there, and its UID does not tell where it was (§2.3.1): the
/// condition is `item-not-found`.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the item that the page was to begin or end at is not there")]
pub struct NotFound;

impl Request {
    /// Reads the `<set/>` in `parent`, a query; without one, the first page of any size is wanted.
    ///
    /// # Errors
    /// A number is none, or more than one page is asked for.
    pub fn read(parent: &Element) -> Result<Request, BadRequest> {
        let Some(set) = parent.child("set", ns::RSM) else {
            return Ok(Request::default());
        };
        let text = |name| set.child(name, ns::RSM).map(Element::text);
        let number = |name| match text(name) {
            Some(text) => text
                .trim()
                .parse::<u32>()
                .map(Some)
                .map_err(|_| BadRequest("a number that is none")),
            None => Ok(None),
        };
        let page = match (text("after"), text("before"), number("index")?) {
            (None, None, None) => Page::First,
            // COMPAT(several clients): an empty `<after/>` is what they send before they have an id.
            (Some(after), None, None) if after.is_empty() => Page::First,
            (Some(after), None, None) => Page::After(after),
            (None, Some(before), None) if before.is_empty() => Page::Last,
            (None, Some(before), None) => Page::Before(before),
            (None, None, Some(index)) => Page::Index(index),
            _ => return Err(BadRequest("more than one page")),
        };
        let max = number("max")?;
        Ok(Request { max, page })
    }

    /// The `<set/>` to send.
    pub fn to_element(&self) -> Element {
        let child = |name: &'static str, text: &str| Element::new(name, ns::RSM).with_text(text);
        let max = self.max.map(|max| child("max", &max.to_string()));
        let page = match &self.page {
            Page::First => None,
            Page::After(uid) => Some(child("after", uid)),
            Page::Before(uid) => Some(child("before", uid)),
            Page::Last => Some(child("before", "")),
            Page::Index(index) => Some(child("index", &index.to_string())),
        };
        Element::new("set", ns::RSM)
            .with_children(max)
            .with_children(page)
    }

    /// Cuts the wanted page, of at most `most` items, out of a list that is whole in memory.
    ///
    /// # Errors
    /// [`NotFound`] when the named item is not in the list.
    pub fn cut<'a, T>(
        &self,
        list: &'a [T],
        uid: impl Fn(&T) -> &str,
        most: usize,
    ) -> Result<(&'a [T], Answer), NotFound> {
        let wanted = self.max.and_then(|max| usize::try_from(max).ok());
        let most = wanted.map_or(most, |wanted| wanted.min(most));
        let place = |of: &str| list.iter().position(|item| uid(item) == of).ok_or(NotFound);
        let from = match &self.page {
            Page::First => 0,
            Page::After(of) => place(of)? + 1,
            Page::Before(of) => {
                let end = place(of)?;
                return Ok(Answer::cut(list, end.saturating_sub(most)..end, uid));
            }
            Page::Last => list.len().saturating_sub(most),
            Page::Index(index) => usize::try_from(*index)
                .unwrap_or(usize::MAX)
                .min(list.len()),
        };
        let end = from.saturating_add(most).min(list.len());
        Ok(Answer::cut(list, from..end, uid))
    }
}

/// The first item of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct First {
    /// Its UID.
    pub uid: String,
    /// Its place in the whole list, if that is known.
    pub index: Option<u32>,
}

/// The `<set/>` of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The first and last item of the page; `None` when it is empty.
    pub first: Option<First>,
    /// The UID of the last one.
    pub last: Option<String>,
    /// How many items there are on all pages, if that is known.
    pub count: Option<u32>,
}

impl Answer {
    /// The answer for a page of which only the ends are known.
    pub fn of_page(ends: Option<(String, String)>) -> Answer {
        let (first, last) = ends.unzip();
        Answer {
            first: first.map(|uid| First { uid, index: None }),
            last,
            count: None,
        }
    }

    fn cut<T>(
        list: &[T],
        range: std::ops::Range<usize>,
        uid: impl Fn(&T) -> &str,
    ) -> (&[T], Answer) {
        let number = |place| u32::try_from(place).unwrap_or(u32::MAX);
        let page = &list[range.clone()];
        let answer = Answer {
            first: page.first().map(|item| First {
                uid: uid(item).to_owned(),
                index: Some(number(range.start)),
            }),
            last: page.last().map(|item| uid(item).to_owned()),
            count: Some(number(list.len())),
        };
        (page, answer)
    }

    /// The `<set/>` to send.
    pub fn to_element(&self) -> Element {
        let child = |name: &'static str, text: &str| Element::new(name, ns::RSM).with_text(text);
        let first = self.first.as_ref().map(|first| {
            child("first", &first.uid)
                .with_attr_opt("index", first.index.map(|index| index.to_string()))
        });
        Element::new("set", ns::RSM)
            .with_children(first)
            .with_children(self.last.as_ref().map(|last| child("last", last)))
            .with_children(self.count.map(|count| child("count", &count.to_string())))
    }

    /// Reads a `<set/>`; `None` if it is none. What makes no sense in it is skipped.
    pub fn read(set: &Element) -> Option<Answer> {
        if !set.is("set", ns::RSM) {
            return None;
        }
        let text = |name| set.child(name, ns::RSM).map(Element::text);
        let first = set.child("first", ns::RSM).map(|first| First {
            uid: first.text(),
            index: first.attr("index").and_then(|index| index.parse().ok()),
        });
        Some(Answer {
            first,
            last: text("last"),
            count: text("count").and_then(|count| count.parse().ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Result<Request, BadRequest> {
        let xml = format!(
            "<query xmlns='a'><set xmlns='http://jabber.org/protocol/rsm'>{content}</set></query>"
        );
        Request::read(&Element::parse(xml.as_bytes(), "").unwrap())
    }

    fn request(max: u32, page: Page) -> Request {
        Request {
            max: Some(max),
            page,
        }
    }

    #[test]
    fn every_page_can_be_asked_for() {
        for (content, wanted) in [
            ("<max>10</max>", request(10, Page::First)),
            ("<max>0</max>", request(0, Page::First)),
            (
                "<max>10</max><after>a</after>",
                request(10, Page::After("a".into())),
            ),
            (
                "<max>10</max><before>a</before>",
                request(10, Page::Before("a".into())),
            ),
            ("<max>10</max><before/>", request(10, Page::Last)),
            ("<max>10</max><after/>", request(10, Page::First)),
            (
                "<max>10</max><index>371</index>",
                request(10, Page::Index(371)),
            ),
            ("", Request::default()),
        ] {
            let found = read(content).unwrap();
            assert_eq!(found, wanted, "{content}");
            let query = Element::new("query", "a").with_child(found.to_element());
            assert_eq!(Request::read(&query).unwrap(), wanted, "{content}, written");
        }
        let none = Element::new("query", "a");
        assert_eq!(Request::read(&none).unwrap(), Request::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for content in [
            "<max>many</max>",
            "<max>-1</max>",
            "<index>x</index>",
            "<max>1</max><after>a</after><before>b</before>",
            "<after>a</after><index>1</index>",
        ] {
            assert!(read(content).is_err(), "{content}");
        }
    }

    #[test]
    fn pages_are_cut_from_either_end() {
        let list = ["a", "b", "c", "d", "e"];
        for (page, wanted, index) in [
            (Page::First, &["a", "b"][..], Some(0)),
            (Page::After("b".into()), &["c", "d"], Some(2)),
            (Page::After("d".into()), &["e"], Some(4)),
            (Page::After("e".into()), &[], None),
            (Page::Before("d".into()), &["b", "c"], Some(1)),
            (Page::Before("b".into()), &["a"], Some(0)),
            (Page::Last, &["d", "e"], Some(3)),
            (Page::Index(3), &["d", "e"], Some(3)),
            (Page::Index(9), &[], None),
        ] {
            let (cut, answer) = request(2, page.clone())
                .cut(&list, |item| item, 100)
                .unwrap();
            assert_eq!(cut, wanted, "{page:?}");
            assert_eq!(answer.first.as_ref().and_then(|first| first.index), index);
            assert_eq!(answer.last.as_deref(), wanted.last().copied());
            assert_eq!(answer.count, Some(5));
            assert_eq!(Answer::read(&answer.to_element()), Some(answer));
        }
        let most = Request::default().cut(&list, |item| item, 3).unwrap();
        assert_eq!(
            most.0.len(),
            3,
            "a page has a bound even if none is asked for"
        );
        let unknown = request(2, Page::After("x".into())).cut(&list, |item| item, 100);
        assert_eq!(unknown.unwrap_err(), NotFound);
        let count = request(0, Page::First)
            .cut(&list, |item| item, 100)
            .unwrap();
        assert_eq!(
            (count.0.len(), count.1.count, count.1.first),
            (0, Some(5), None)
        );
    }

    #[test]
    fn a_page_of_which_only_the_ends_are_known_has_no_count() {
        let answer = Answer::of_page(Some(("a".into(), "b".into())));
        assert_eq!(
            String::from_utf8(answer.to_element().to_bytes("")).unwrap(),
            "<set xmlns='http://jabber.org/protocol/rsm'><first>a</first><last>b</last></set>"
        );
        assert_eq!(Answer::of_page(None), Answer::default());
    }
}
