//! What the files hold: different in each, known without having been kept, so that every byte that comes back is compared.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// The part that all files have in common; it is repeated.
const PATTERN_BYTES: usize = 1 << 20;

/// What is handed to the connection at once.
const PIECE_BYTES: usize = 256 * 1024;

/// What is handed to it when the upload is paced: small enough for an even flow.
const PACED_PIECE_BYTES: usize = 16 * 1024;

const ID_BYTES: usize = 16;

/// A file of this run.
#[derive(Clone)]
pub(super) struct Content {
    /// Its first bytes: no two files are alike, so that no server stores one instead of two.
    id: [u8; ID_BYTES],
    pub(super) size: u64,
}

impl Content {
    /// A file that nobody has seen yet.
    pub(super) fn new(size: u64) -> anyhow::Result<Content> {
        let mut id = [0; ID_BYTES];
        getrandom::fill(&mut id).map_err(std::io::Error::from)?;
        Ok(Content { id, size })
    }

    /// A name for it.
    pub(super) fn name(&self) -> String {
        format!("{:032x}.bin", u128::from_be_bytes(self.id))
    }

    /// Up to `most` bytes from `at` on; none at the end.
    fn piece(&self, at: u64, most: usize) -> Bytes {
        let left = usize::try_from(self.size.saturating_sub(at)).unwrap_or(usize::MAX);
        match usize::try_from(at) {
            Ok(at) if at < ID_BYTES => {
                Bytes::copy_from_slice(&self.id[at..ID_BYTES.min(at.saturating_add(left))])
            }
            _ => {
                let from = place(at);
                pattern().slice(from..from + most.min(left).min(PATTERN_BYTES - from))
            }
        }
    }

    /// Are these the bytes that the file has from `at` on?
    pub(super) fn has(&self, mut at: u64, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let piece = self.piece(at, bytes.len());
            if piece.is_empty() || !bytes.starts_with(&piece) {
                return false;
            }
            at += piece.len() as u64;
            bytes = &bytes[piece.len()..];
        }
        true
    }

    /// The file as a request's body, at this many bytes a second or as fast as it is taken; what has been taken is added
    /// to `moved`.
    pub(super) fn body(
        &self,
        pace: Option<u64>,
        moved: &Arc<AtomicU64>,
    ) -> BoxBody<Bytes, Infallible> {
        BoxBody::new(Upload {
            content: self.clone(),
            at: 0,
            pace: pace.map(|rate| Pace::new(rate).timer()),
            moved: Arc::clone(moved),
        })
    }
}

/// Where in the pattern the byte `at` of a file is.
fn place(at: u64) -> usize {
    usize::try_from(at % PATTERN_BYTES as u64).unwrap_or(0)
}

fn pattern() -> &'static Bytes {
    static PATTERN: OnceLock<Bytes> = OnceLock::new();
    PATTERN.get_or_init(|| {
        // Marsaglia's xorshift: nothing that could be compressed, the same in every process.
        let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut words = Vec::with_capacity(PATTERN_BYTES);
        while words.len() < PATTERN_BYTES {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            words.extend_from_slice(&state.to_le_bytes());
        }
        Bytes::from(words)
    })
}

/// When which byte is due.
pub(super) struct Pace {
    started: Instant,
    bytes_per_second: f64,
}

impl Pace {
    pub(super) fn new(bytes_per_second: u64) -> Pace {
        Pace {
            started: Instant::now(),
            bytes_per_second: crate::report::as_f64(bytes_per_second.max(1)),
        }
    }

    /// When so many bytes may have gone.
    pub(super) fn due(&self, bytes: u64) -> Instant {
        let seconds = crate::report::as_f64(bytes) / self.bytes_per_second;
        self.started + Duration::from_secs_f64(seconds)
    }

    fn timer(self) -> (Pace, Pin<Box<Sleep>>) {
        let now = Box::pin(sleep_until(self.started));
        (self, now)
    }
}

/// A file on its way.
struct Upload {
    content: Content,
    at: u64,
    pace: Option<(Pace, Pin<Box<Sleep>>)>,
    moved: Arc<AtomicU64>,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let at = self.at;
        let mut most = PIECE_BYTES;
        if let Some((pace, timer)) = &mut self.pace {
            ready!(timer.as_mut().poll(cx));
            most = PACED_PIECE_BYTES;
            timer.as_mut().reset(pace.due(at + most as u64));
        }
        let piece = self.content.piece(at, most);
        self.at += piece.len() as u64;
        self.moved.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.at >= self.content.size
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.content.size - self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn whole(content: &Content) -> Bytes {
        let moved = Arc::default();
        let body = content.body(None, &moved).collect().await.unwrap();
        assert_eq!(moved.load(Ordering::Relaxed), content.size);
        body.to_bytes()
    }

    #[tokio::test]
    async fn what_is_uploaded_is_what_is_expected_back() {
        let size = 3 * PATTERN_BYTES as u64 / 2 + 5;
        let content = Content::new(size).unwrap();
        let bytes = whole(&content).await;
        assert_eq!(bytes.len() as u64, size);
        for at in [0, 7, 16, 70_001] {
            assert!(content.has(at as u64, &bytes[at..]), "{at}");
        }
    }

    #[tokio::test]
    async fn a_wrong_byte_one_out_of_place_and_one_too_many_are_seen() {
        let content = Content::new(100_000).unwrap();
        let bytes = whole(&content).await;
        for wrong in [3, 99_999] {
            let mut bytes = bytes.to_vec();
            bytes[wrong] ^= 1;
            assert!(!content.has(0, &bytes), "{wrong}");
        }
        assert!(!content.has(1, &bytes[2..]));
        assert!(!content.has(99_999, &[bytes[99_999], 0]));
        assert!(!Content::new(100_000).unwrap().has(0, &bytes));
    }

    #[tokio::test]
    async fn a_paced_upload_takes_its_time() {
        // The first piece goes at once, the second is due after 40 ms.
        let content = Content::new(2 * PACED_PIECE_BYTES as u64).unwrap();
        let started = Instant::now();
        let pace = Some(PACED_PIECE_BYTES as u64 * 25);
        let body = content.body(pace, &Arc::default()).collect().await.unwrap();
        assert_eq!(body.to_bytes().len(), 2 * PACED_PIECE_BYTES);
        assert!(started.elapsed() >= Duration::from_millis(40));
    }
}
