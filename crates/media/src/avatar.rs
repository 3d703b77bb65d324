//! Avatars on the web, where everybody may see them anyway: `<base>/media/avatar/<bare jid>` is the picture of an account
//! or a room as it is now, `…/<bare jid>/<sha1>` this one for good (`docs/protocol/media.md` §5).
//!
//! Whoever has none, hides it, or is not there at all gets the same answer. What was found is kept for a minute
//! ([`FRESH`]), so that a page with a hundred pictures and a crowd that looks at it cost the homes nothing; an avatar that
//! was taken back is gone after that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::CONTENT_LOCATION;
use http::{HeaderMap, HeaderValue, Response};
use percent_encoding::percent_decode_str;
use posthaste_gate::Body;
use posthaste_im::ext::avatar;
use posthaste_im::media::PATH;
use posthaste_im::node::Node;
use posthaste_proto::jid::BareJid;
use tokio::time::Instant;

use crate::pictures::Shown;
use crate::refusal::Refusal;

/// Where avatars are, below [`PATH`]. No file is called so: its id is longer.
const SEGMENT: &str = "avatar";
/// How long it is believed that somebody's avatar is what it was.
const FRESH: Duration = Duration::from_secs(60);
/// Addresses whose avatar, or whose lack of one, is kept.
const MOST_KEPT: usize = 4_096;
/// Bytes of pictures that are kept: a thousand of the usual size.
const MOST_BYTES: usize = 16 << 20;

/// What is at the address of the one that is there now: it may be another one in a minute.
const CHANGING: &str = "public, max-age=60";
/// What is at the address with the hash never is anything else.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// The avatars that were asked for lately.
#[derive(Debug, Default)]
pub(crate) struct Avatars {
    kept: Mutex<HashMap<BareJid, Kept>>,
}

#[derive(Debug)]
struct Kept {
    since: Instant,
    shown: Option<Arc<Shown>>,
}

impl Kept {
    fn size(&self) -> usize {
        self.shown.as_ref().map_or(0, |shown| shown.size())
    }
}

/// Whose avatar is asked for, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    jid: BareJid,
    hash: Option<String>,
    path: String,
}

impl Wanted {
    /// Reads a path; `None` if it is of no avatar.
    pub(crate) fn of(path: &str) -> Option<Wanted> {
        let rest = path.strip_prefix(PATH)?.strip_prefix('/')?;
        let rest = rest.strip_prefix(SEGMENT)?.strip_prefix('/')?;
        let (jid, hash) = match rest.split_once('/') {
            Some((jid, hash)) => (jid, Some(hash)),
            None => (rest, None),
        };
        let decoded = percent_decode_str(jid).decode_utf8().ok()?;
        Some(Wanted {
            jid: BareJid::parse(&decoded).ok()?,
            hash: hash.map(str::to_owned),
            path: format!("{PATH}/{SEGMENT}/{jid}"),
        })
    }
}

impl Avatars {
    /// Answers GET and HEAD.
    ///
    /// # Errors
    /// There is none that everybody may see, or it is another one by now; or the store fails.
    pub(crate) async fn get(
        &self,
        node: &Node,
        wanted: &Wanted,
        asked: &HeaderMap,
        is_get: bool,
    ) -> Result<Response<Body>, Refusal> {
        let shown = self.find(node, &wanted.jid).await?;
        let shown = shown.ok_or(Refusal::NotFound)?;
        match &wanted.hash {
            Some(hash) if *hash == shown.hash => Ok(shown.answer(asked, is_get, FOR_GOOD)),
            Some(_) => Err(Refusal::NotFound),
            None => {
                let mut response = shown.answer(asked, is_get, CHANGING);
                let place = format!("{}/{}", wanted.path, shown.hash);
                if let Ok(place) = HeaderValue::try_from(place) {
                    response.headers_mut().insert(CONTENT_LOCATION, place);
                }
                Ok(response)
            }
        }
    }

    async fn find(&self, node: &Node, jid: &BareJid) -> Result<Option<Arc<Shown>>, Refusal> {
        if !node.config().is_ours(jid.domain()) {
            return Ok(None);
        }
        let now = Instant::now();
        if let Some(kept) = self.kept().get(jid)
            && now.duration_since(kept.since) < FRESH
        {
            return Ok(kept.shown.clone());
        }
        let found = avatar::public(node, jid).await.map_err(|error| {
            tracing::warn!(%error, "an avatar cannot be read");
            Refusal::Unavailable
        })?;
        let shown = found.map(|it| Arc::new(Shown::new(it.kind, it.bytes)));
        let kept = Kept {
            since: now,
            shown: shown.clone(),
        };
        keep(&mut self.kept(), jid.clone(), kept);
        Ok(shown)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<BareJid, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes room by what is old, and then by what is oldest.
fn keep(all: &mut HashMap<BareJid, Kept>, jid: BareJid, kept: Kept) {
    all.remove(&jid);
    let bytes = |all: &HashMap<BareJid, Kept>| all.values().map(Kept::size).sum::<usize>();
    let is_full = |all: &HashMap<BareJid, Kept>, more: usize| {
        all.len() >= MOST_KEPT || bytes(all) + more > MOST_BYTES
    };
    if is_full(all, kept.size()) {
        let now = kept.since;
        all.retain(|_, old| now.duration_since(old.since) < FRESH);
    }
    if is_full(all, kept.size()) {
        // Half of them at once, so that not every request looks through all.
        let mut ages: Vec<Instant> = all.values().map(|old| old.since).collect();
        ages.sort_unstable();
        let middle = ages.get(ages.len() / 2).copied();
        all.retain(|_, old| middle.is_some_and(|middle| old.since > middle));
    }
    if kept.size() <= MOST_BYTES / 2 {
        all.insert(jid, kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use posthaste_im::media::PictureKind;

    #[test]
    fn an_avatar_is_asked_for_by_address_and_perhaps_hash() {
        let of = |path: &str| Wanted::of(path).map(|it| (it.jid.as_str().to_owned(), it.hash));
        let juliet = || "juliet@example.org".to_owned();
        assert_eq!(
            of("/media/avatar/juliet@example.org"),
            Some((juliet(), None))
        );
        let hashed = of("/media/avatar/juliet%40example.org/abc");
        assert_eq!(hashed, Some((juliet(), Some("abc".to_owned()))));
        for other in [
            "/media/avatar",
            "/media/avatar/",
            "/media/avatars/juliet@example.org",
            "/media/avatar/%ff@example.org",
            "/media/avatar/..%2f@example.org",
            "/media/abcdefghijklmnopqrstuvw7/avatar",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn what_is_kept_has_a_bound() {
        let mut all = HashMap::new();
        let jid = |number: usize| BareJid::parse(&format!("u{number}@example.org")).unwrap();
        let start = Instant::now();
        let kept = |number: usize, size: usize| Kept {
            since: start + Duration::from_millis(number as u64),
            shown: (size > 0).then(|| {
                let bytes = Bytes::from(vec![0; size]);
                Arc::new(Shown::new(PictureKind::Png, bytes))
            }),
        };
        for number in 0..MOST_KEPT + 10 {
            keep(&mut all, jid(number), kept(number, 0));
        }
        assert!(all.len() <= MOST_KEPT && all.contains_key(&jid(MOST_KEPT + 9)));
        assert!(!all.contains_key(&jid(0)));
        for number in 0..40 {
            keep(&mut all, jid(number), kept(10_000 + number, 1 << 20));
        }
        let bytes: usize = all.values().map(Kept::size).sum();
        assert!(bytes <= MOST_BYTES && all.contains_key(&jid(39)));
        keep(&mut all, jid(50), kept(20_000, MOST_BYTES));
        assert!(!all.contains_key(&jid(50)));
    }
}
