//! What has been published can be read: all of it, the newest, by id or by page (XEP-0060 §6.5).

use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::ns;
use posthaste_proto::xep::rsm::{self, First, Page};
use posthaste_proto::xml::Element;

use super::leaf::{Leaf, StoredItem};
use super::{Site, access, existing};
use crate::error::WalkError;
use crate::ext::Answer;
use crate::walk::Walk;

/// Items in one answer. Whoever wants more asks for the next page.
pub(super) const MAX_PAGE: usize = 1_000;
/// Bytes of payloads in one answer, unless its only item is larger; a few times what a session's queue holds.
const MAX_ANSWER_BYTES: usize = 512 * 1_024;

/// Which items are wanted.
pub(super) struct Wanted {
    /// These; all if it is empty.
    pub ids: Vec<String>,
    /// The newest so many.
    pub max_items: Option<u32>,
    /// A page of them.
    pub page: rsm::Request,
    /// Was a page asked for?
    pub paged: bool,
}

/// §6.5
pub(super) async fn items(
    walk: &mut Walk<'_>,
    site: &Site,
    who: &BareJid,
    node: &str,
    wanted: Wanted,
) -> Answer {
    let leaf = existing(walk, node).await?;
    access::may_read(walk, site, &leaf, who).await?;
    let (items, first_index) = if wanted.ids.is_empty() {
        select(walk, &leaf, &wanted).await?
    } else {
        (by_id(walk, &leaf, &wanted.ids).await?, None)
    };
    let mut list = Element::new("items", ns::PUBSUB).with_attr("node", node);
    for item in &items {
        list.push_child(item.to_item(site.jid.as_str())?.to_element(ns::PUBSUB));
    }
    let cut_short = wanted.ids.is_empty()
        && wanted.max_items.is_none()
        && items.len() < usize::try_from(leaf.items).unwrap_or(usize::MAX);
    let set = (wanted.paged || cut_short).then(|| {
        let first = items.first().map(|item| First {
            uid: item.id.clone(),
            index: first_index,
        });
        let last = items.last().map(|item| item.id.clone());
        let count = Some(leaf.items);
        rsm::Answer { first, last, count }.to_element()
    });
    Ok(Some(
        Element::new("pubsub", ns::PUBSUB)
            .with_child(list)
            .with_children(set),
    ))
}

/// §6.5.8; what is not there is left out, unless nothing is (§6.5.9.12).
async fn by_id(walk: &Walk<'_>, leaf: &Leaf, ids: &[String]) -> Result<Vec<StoredItem>, WalkError> {
    let mut found = Vec::new();
    for id in ids {
        found.extend(leaf.item(walk, id).await?);
    }
    if found.is_empty() {
        return Err(StanzaError::item_not_found().into());
    }
    within_bounds(&mut found, false);
    Ok(found)
}

/// The wanted items, oldest first, and the place of the first one if it is known.
async fn select(
    walk: &Walk<'_>,
    leaf: &Leaf,
    wanted: &Wanted,
) -> Result<(Vec<StoredItem>, Option<u32>), WalkError> {
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let most = wanted.page.max.map_or(MAX_PAGE, count).min(MAX_PAGE);
    // §6.5.7: the most recent ones.
    if let (Some(newest), false) = (wanted.max_items, wanted.paged) {
        let mut items = leaf.newest(walk, None, count(newest).min(MAX_PAGE)).await?;
        within_bounds(&mut items, true);
        return Ok((items, None));
    }
    if most == 0 {
        return Ok((Vec::new(), None));
    }
    let (mut items, is_end_wanted, index) = match &wanted.page.page {
        // §6.5.4: what does not fit into an answer to one who knows no pages is the old.
        Page::First if !wanted.paged => (leaf.newest(walk, None, most).await?, true, None),
        Page::First => (leaf.scan(walk, 0, None, most).await?, false, Some(0)),
        Page::After(id) => {
            let after = place(walk, leaf, id).await? + 1;
            (leaf.scan(walk, after, None, most).await?, false, None)
        }
        Page::Before(id) => {
            let before = place(walk, leaf, id).await?;
            (leaf.newest(walk, Some(before), most).await?, true, None)
        }
        Page::Last => (leaf.newest(walk, None, most).await?, true, None),
        Page::Index(index) => {
            let skipped = count(*index);
            let rows = leaf
                .scan(walk, 0, None, skipped.saturating_add(most))
                .await?;
            let page = rows.into_iter().skip(skipped).collect();
            (page, false, Some(*index))
        }
    };
    within_bounds(&mut items, is_end_wanted);
    Ok((items, index))
}

/// XEP-0059 §2.2: one that is not there begins no page.
async fn place(walk: &Walk<'_>, leaf: &Leaf, id: &str) -> Result<u64, WalkError> {
    let item = leaf.item(walk, id).await?;
    Ok(item.ok_or_else(StanzaError::item_not_found)?.number)
}

/// Leaves out what would make the answer too long, at the end that matters less.
fn within_bounds(items: &mut Vec<StoredItem>, is_end_wanted: bool) {
    let mut bytes = 0;
    let mut fits = |item: &StoredItem| {
        bytes += item.payload.len();
        bytes <= MAX_ANSWER_BYTES
    };
    if is_end_wanted {
        let kept = items.iter().rev().take_while(|item| fits(item)).count();
        items.drain(..items.len() - kept.max(1).min(items.len()));
    } else {
        let kept = items.iter().take_while(|item| fits(item)).count();
        items.truncate(kept.max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use bytes::Bytes;

    #[test]
    fn an_answer_has_a_bound_and_at_least_one_item() {
        let item = |number: u64, bytes: usize| StoredItem {
            number,
            id: number.to_string(),
            published_at: Timestamp(0),
            publisher: String::new(),
            payload: Bytes::from(vec![b' '; bytes]),
        };
        let half = MAX_ANSWER_BYTES / 2;
        let three = vec![item(1, half), item(2, half), item(3, half)];
        for (is_end_wanted, left) in [(true, [2, 3]), (false, [1, 2])] {
            let mut items = three.clone();
            within_bounds(&mut items, is_end_wanted);
            let numbers: Vec<u64> = items.iter().map(|item| item.number).collect();
            assert_eq!(numbers, left);
            let mut large = vec![item(1, MAX_ANSWER_BYTES + 1)];
            within_bounds(&mut large, is_end_wanted);
            assert_eq!(large.len(), 1);
            within_bounds(&mut Vec::new(), is_end_wanted);
        }
    }
}
