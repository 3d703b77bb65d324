//! Bytes on their way in: from the connection into a staged file, and from there to where the file is kept.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use posthaste_im::media::{self, LedgerError, ObjectName, Slot};
use tokio::time::{Instant, timeout};

use crate::holds::Hold;
use crate::places::Place;
use crate::refusal::Refusal;
use crate::site::Site;
use crate::store::Staged;

/// An upload that one request works on.
pub(crate) struct Intake {
    pub(crate) site: Arc<Site>,
    pub(crate) slot: Slot,
    pub(crate) object: ObjectName,
    pub(crate) staged: Staged,
    pub(crate) hold: Hold,
    pub(crate) place: Place,
}

impl Intake {
    /// How far it is.
    pub(crate) fn offset(&self) -> u64 {
        self.staged.len()
    }

    /// Every byte is there.
    pub(crate) fn is_whole(&self) -> bool {
        self.offset() == self.slot.size
    }

    /// Takes what comes. What has come before anything fails stays, so that the upload can be resumed.
    ///
    /// # Errors
    /// The body breaks off, stalls or is too long; somebody else goes on with it; or the store fails.
    pub(crate) async fn receive(&mut self, mut body: Incoming) -> Result<(), Refusal> {
        let bounds = self.site.bounds;
        let (started, before) = (Instant::now(), self.offset());
        loop {
            let frame = tokio::select! {
                frame = timeout(bounds.silence, body.frame()) => frame,
                () = self.hold.taken_over() => return Err(Refusal::TakenOver),
            };
            let Some(frame) = frame.map_err(|_| Refusal::Stalled)? else {
                return Ok(());
            };
            let frame = frame.map_err(|_| Refusal::Broken)?;
            // Trailers say nothing here.
            let Ok(bytes) = frame.into_data() else {
                continue;
            };
            if bytes.len() as u64 > self.slot.size - self.offset() {
                return Err(Refusal::TooLong(self.slot.size));
            }
            self.staged.write(&bytes).await?;
            let elapsed = started.elapsed();
            let least = bounds.least_speed.saturating_mul(elapsed.as_secs());
            if elapsed > bounds.grace && self.offset() - before < least {
                return Err(Refusal::Stalled);
            }
        }
    }

    /// Makes a file of what has come whole. It goes on if the client leaves now: all that it had to do is done.
    ///
    /// # Errors
    /// The upload is not known any more, or the store failed: then it can be resumed, with nothing left to send.
    pub(crate) async fn complete(self) -> Result<(), Refusal> {
        match tokio::spawn(self.settle()).await {
            Ok(settled) => settled,
            Err(_) => Err(Refusal::Fault),
        }
    }

    async fn settle(self) -> Result<(), Refusal> {
        let Intake {
            site,
            slot,
            object,
            staged,
            hold,
            place,
        } = self;
        let (node, account, id) = (&site.node, &slot.account, &slot.id);
        let refusal = |error| Refusal::of_ledger(error, node.now());
        let sealed = staged.finish().await?;
        let digest = *sealed.digest();
        let adopted = match media::adopt(node, account, id, digest).await {
            Ok(adopted) => adopted,
            Err(error) => {
                sealed.leave().await;
                return Err(refusal(error));
            }
        };
        if adopted {
            // The file is there, whatever becomes of the bytes that were not needed.
            if let Err(error) = sealed.discard().await {
                tracing::warn!(%error, "bytes that are not needed stay until they are swept");
            }
        } else {
            site.store.keep(sealed).await?;
            let finished = media::finish(node, account, id, digest).await;
            if let Err(LedgerError::NotFound) = &finished {
                // It was removed, or swept, a moment ago: nobody knows of these bytes.
                site.store.erase(&object).await?;
            }
            finished.map_err(refusal)?;
        }
        drop((hold, place));
        Ok(())
    }

    /// Leaves what has come for later; a file without a byte is not left lying about.
    pub(crate) async fn leave(self) {
        if self.staged.is_empty()
            && let Err(error) = self.staged.discard().await
        {
            tracing::debug!(%error, "an empty upload's file stays until it is swept");
        }
    }
}
