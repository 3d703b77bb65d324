//! What the requests of the media service share.

use std::sync::Arc;
use std::time::Duration;

use posthaste_gate::HttpPeer;
use posthaste_im::clock::Timestamp;
use posthaste_im::media::{self, LedgerError, ObjectName, Record, Slot, State};
use posthaste_im::node::Node;
use tokio::time::{Instant, sleep};

use crate::avatar::Avatars;
use crate::bounds::Bounds;
use crate::holds::{Hold, Holds};
use crate::intake::Intake;
use crate::path::Target;
use crate::places::{Place, Places};
use crate::preview::{self, Previews};
use crate::refusal::Refusal;
use crate::store::{Staged, Store, StoreError};

/// Time for the disk to take what was written when a request was given up, and how often to look.
const WRITING: Duration = Duration::from_secs(10);
const WRITING_LOOK: Duration = Duration::from_millis(10);

/// The service's parts.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) node: Arc<Node>,
    pub(crate) store: Arc<Store>,
    pub(crate) bounds: Bounds,
    pub(crate) holds: Arc<Holds>,
    pub(crate) uploads: Arc<Places>,
    pub(crate) downloads: Arc<Places>,
    pub(crate) previews: Previews,
    pub(crate) avatars: Avatars,
}

/// How far the upload of a slot is.
pub(crate) enum Progress {
    /// Nothing has been sent.
    Fresh,
    /// Something has.
    UnderWay(Record),
    /// The file is there.
    Done,
}

impl Site {
    pub(crate) fn new(node: Arc<Node>, store: Arc<Store>, bounds: Bounds) -> Arc<Site> {
        let previews = Previews::new(&node, Arc::clone(&store), preview::Bounds::default());
        node.set_painter(Arc::new(previews.clone()));
        Arc::new(Site {
            previews,
            avatars: Avatars::default(),
            node,
            store,
            holds: Arc::default(),
            uploads: Places::new(bounds.uploads, bounds.uploads_per_address),
            downloads: Places::new(bounds.downloads, bounds.downloads_per_address),
            bounds,
        })
    }

    /// The slot of an address, whether or not it is too late to begin with it.
    ///
    /// # Errors
    /// There is none, it is none of ours, or it is of another address.
    pub(crate) async fn slot(&self, target: &Target) -> Result<Slot, Refusal> {
        let token = target.slot.as_deref().ok_or(Refusal::Forged)?;
        let key = media::slot_key(&self.node).await;
        let key = key.map_err(|error| Refusal::of_ledger(error, self.node.now()))?;
        // At the beginning of time no slot has expired.
        let slot = Slot::verify(token, &key, Timestamp(0))?;
        if slot.id != target.id || slot.name != target.name {
            return Err(Refusal::Forged);
        }
        Ok(slot)
    }

    /// Whether the slot may still be used for the first time.
    pub(crate) fn is_fresh(&self, slot: &Slot) -> bool {
        self.node.now() <= slot.expires
    }

    pub(crate) fn upload_place(&self, peer: HttpPeer) -> Result<Place, Refusal> {
        self.uploads.take(peer.address.ip()).ok_or(Refusal::Busy)
    }

    pub(crate) fn download_place(&self, peer: HttpPeer) -> Result<Place, Refusal> {
        self.downloads.take(peer.address.ip()).ok_or(Refusal::Busy)
    }

    /// The upload of a slot, taken from whatever request works on it.
    pub(crate) async fn hold(&self, slot: &Slot) -> Result<Hold, Refusal> {
        let hold = self.holds.take(&slot.id).await;
        hold.ok_or(Refusal::TakenOver)
    }

    /// How far the upload of a slot is.
    ///
    /// # Errors
    /// It is too late for it.
    pub(crate) async fn progress(&self, slot: &Slot) -> Result<Progress, Refusal> {
        let now = self.node.now();
        let record = match media::progress(&self.node, slot).await {
            // It was given up, or removed.
            Err(LedgerError::Used) => return Err(Refusal::Expired),
            progress => progress.map_err(|error| Refusal::of_ledger(error, now))?,
        };
        match record {
            None if self.is_fresh(slot) => Ok(Progress::Fresh),
            None => Err(Refusal::Expired),
            Some(record) if record.state == State::Stored => Ok(Progress::Done),
            Some(record) if now > self.deadline(&record) => Err(Refusal::Expired),
            Some(record) => Ok(Progress::UnderWay(record)),
        }
    }

    /// When an upload has to be done.
    pub(crate) fn deadline(&self, record: &Record) -> Timestamp {
        let seconds = u64::from(self.node.config().media.upload_seconds);
        record.created.plus_millis(seconds * 1_000)
    }

    /// Begins an upload: from now on its slot is used.
    ///
    /// # Errors
    /// A quota of the account is reached, or it is gone; or the store fails.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        slot: Slot,
        hold: Hold,
        place: Place,
    ) -> Result<Intake, Refusal> {
        let claimed = media::claim(&self.node, &slot).await;
        let claimed = claimed.map_err(|error| Refusal::of_ledger(error, self.node.now()))?;
        let object = claimed.object;
        let staged = self.store.create(&object).await;
        let staged = match staged {
            Ok(staged) => staged,
            Err(error) => {
                let given_back = media::abandon(&self.node, &slot.account, &slot.id).await;
                if let Err(error) = given_back {
                    tracing::debug!(%error, "an upload without a file stays until it is swept");
                }
                return Err(error.into());
            }
        };
        Ok(self.intake(slot, hold, place, (object, staged)))
    }

    /// Goes on with an upload: where it was, or from its beginning if nothing is left of it.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn go_on(
        self: &Arc<Self>,
        slot: Slot,
        record: Record,
        hold: Hold,
        place: Place,
    ) -> Result<Intake, Refusal> {
        let object = record.object;
        let staged = match when_free(|| self.store.reopen(&object)).await? {
            Some(staged) => staged,
            None => self.store.create(&object).await?,
        };
        Ok(self.intake(slot, hold, place, (object, staged)))
    }

    /// Throws away what has come of an upload, and begins it again.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn restart(
        self: &Arc<Self>,
        slot: Slot,
        record: Record,
        hold: Hold,
        place: Place,
    ) -> Result<Intake, Refusal> {
        let object = record.object;
        let staged = when_free(|| self.store.create(&object)).await?;
        Ok(self.intake(slot, hold, place, (object, staged)))
    }

    /// A request that works on what is staged.
    pub(crate) fn intake(
        self: &Arc<Self>,
        slot: Slot,
        hold: Hold,
        place: Place,
        (object, staged): (ObjectName, Staged),
    ) -> Intake {
        Intake {
            site: Arc::clone(self),
            slot,
            object,
            staged,
            hold,
            place,
        }
    }
}

/// Asks the store for what nobody else may be writing. The request that wrote it before may have been given up in the
/// midst of a write, which goes on by itself: that is waited for.
///
/// # Errors
/// The store fails, or takes too long.
pub(crate) async fn when_free<T, F: Future<Output = Result<T, StoreError>>>(
    ask: impl Fn() -> F,
) -> Result<T, Refusal> {
    let until = Instant::now() + WRITING;
    loop {
        match ask().await {
            Err(StoreError::Busy) if Instant::now() < until => sleep(WRITING_LOOK).await,
            answer => return Ok(answer?),
        }
    }
}
