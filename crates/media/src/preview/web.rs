//! The larger form of a preview, on the web: `preview` in the place of a file's name.

use http::{HeaderMap, Response};
use posthaste_gate::{Body, HttpPeer};
use posthaste_im::ext::media_preview::SEGMENT;
use posthaste_im::media;

use super::PreviewError;
use crate::path::Target;
use crate::pictures::Shown;
use crate::refusal::Refusal;
use crate::site::Site;

/// Like the file it goes when its uploader removes it; a day in the reader's own cache is what one has already seen.
const CACHED: &str = "private, max-age=86400";
/// A file that must be gone at a moment is kept nowhere beyond it.
const UNCACHED: &str = "private, no-store";

/// Answers GET and HEAD.
///
/// # Errors
/// There is no such file or nothing to see of it, or too much to do.
pub(crate) async fn get(
    site: &Site,
    target: &Target,
    asked: &HeaderMap,
    peer: HttpPeer,
    is_get: bool,
) -> Result<Response<Body>, Refusal> {
    let file = media::file(&site.node, &target.id).await;
    let file = file
        .map_err(|error| Refusal::of_ledger(error, site.node.now()))?
        .ok_or(Refusal::NotFound)?;
    if file.name == SEGMENT {
        return crate::get::get(site, target, asked, peer, is_get).await;
    }
    let _place = site.download_place(peer)?;
    let preview = site.previews.of(&target.id).await?;
    let small = &preview.picture().ok_or(Refusal::NotFound)?.thumbnail;
    let caching = match file.until {
        Some(_) => UNCACHED,
        None => CACHED,
    };
    let shown = Shown::new(small.kind, small.bytes.clone());
    Ok(shown.answer(asked, is_get, caching))
}

impl From<PreviewError> for Refusal {
    fn from(error: PreviewError) -> Refusal {
        match error {
            PreviewError::NotFound => Refusal::NotFound,
            PreviewError::Busy => Refusal::Busy,
            PreviewError::Store(error) => {
                tracing::warn!(%error, "a file could not be read for its preview");
                Refusal::Unavailable
            }
        }
    }
}
