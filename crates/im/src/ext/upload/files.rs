//! The uploader sees what it has uploaded, and what it may, and removes what it does not want to be there any more
//! (`docs/protocol/media.md` §2 and §3).

use posthaste_proto::error::StanzaError;
use posthaste_proto::ns;
use posthaste_proto::xep::rsm;
use posthaste_proto::xml::Element;

use super::Query;
use super::slot::refusal;
use crate::ext::Answer;
use crate::media::usage::{AccountUsage, usage_of};
use crate::media::{self, FileId, Limits, Listed, Page, Purpose, State};

/// Files in one answer, beyond which whoever asks goes on with the next page (XEP-0059).
const MAX_PAGE: usize = 100;

/// `<files/>`: a page of the asker's files, and what it has used of what it may.
pub(super) async fn list(query: &Query<'_>, payload: &Element) -> Answer {
    let account = query.account()?;
    let wanted = rsm::Request::read(payload).map_err(|_| StanzaError::bad_request())?;
    let page = page(&wanted.page)?;
    let most = wanted.max.and_then(|max| usize::try_from(max).ok());
    let most = most.map_or(MAX_PAGE, |most| most.min(MAX_PAGE));
    let files = media::list(query.node, &account, &page, most)
        .await
        .map_err(refusal)?;
    let usage = usage_of(query.node, &account).await?;
    let ends = files.first().zip(files.last());
    let ends = ends.map(|(first, last)| (first.id.to_string(), last.id.to_string()));
    let set = rsm::Answer {
        count: Some(usage.files),
        ..rsm::Answer::of_page(ends)
    };
    let config = query.node.config();
    Ok(Some(
        Element::new("files", ns::MEDIA)
            .with_child(used(&usage))
            .with_child(limits(&config.media))
            .with_children(files.iter().map(|file| shown(query, file)))
            .with_child(set.to_element()),
    ))
}

fn page(page: &rsm::Page) -> Result<Page, StanzaError> {
    let id = |uid: &str| FileId::parse(uid).ok_or_else(StanzaError::item_not_found);
    match page {
        rsm::Page::First => Ok(Page::First),
        rsm::Page::After(uid) => Ok(Page::After(id(uid)?)),
        rsm::Page::Before(uid) => Ok(Page::Before(id(uid)?)),
        rsm::Page::Last => Ok(Page::Last),
        // XEP-0059 §2.5: that is optional, and would take reading everything before it.
        rsm::Page::Index(_) => Err(StanzaError::feature_not_implemented()),
    }
}

fn used(usage: &AccountUsage) -> Element {
    Element::new("usage", ns::MEDIA)
        .with_attr("files", usage.files.to_string())
        .with_attr("bytes", usage.bytes.to_string())
        .with_attr("day-bytes", usage.day_bytes.to_string())
}

fn limits(limits: &Limits) -> Element {
    Element::new("limits", ns::MEDIA)
        .with_attr("files", limits.account_files.to_string())
        .with_attr("bytes", limits.account_bytes.to_string())
        .with_attr("day-bytes", limits.day_bytes.to_string())
        .with_attr("file-bytes", limits.largest().to_string())
}

fn shown(query: &Query<'_>, file: &Listed) -> Element {
    let record = &file.record;
    let purpose = match record.purpose {
        Purpose::Message => "message",
        Purpose::Profile => "profile",
        Purpose::Ephemeral(_) => "ephemeral",
        Purpose::Permanent => "permanent",
    };
    let is_coming = record.state == State::Uploading;
    let content_type = Some(&*record.content_type).filter(|kind| !kind.is_empty());
    Element::new("file", ns::MEDIA)
        .with_attr("id", file.id.as_str())
        .with_attr("url", media::address(query.base, &file.id, &record.name))
        .with_attr("name", &*record.name)
        .with_attr("size", record.size.to_string())
        .with_attr_opt("content-type", content_type)
        .with_attr("purpose", purpose)
        .with_attr("created", record.created.to_string())
        .with_attr_opt("expires", file.expires.map(|at| at.to_string()))
        .with_attr_opt("uploading", is_coming.then_some("true"))
}

/// `<delete url=''/>`: nobody gets it from now on, and it counts no more.
pub(super) async fn delete(query: &Query<'_>, payload: &Element) -> Answer {
    let account = query.account()?;
    let url = payload.attr("url").ok_or_else(StanzaError::bad_request)?;
    // Whose file it is is nobody's business: to a stranger it is as if it were not there.
    let id = media::file_in(query.base, url).ok_or_else(StanzaError::item_not_found)?;
    media::remove(query.node, &account, &id)
        .await
        .map_err(refusal)?;
    Ok(None)
}
